"""Our MCP server: a pure translation between MCP and the node's commands, for stdio and HTTP alike.

names, wire, seal        pure: public names, forms of the wire, sealed states
line, feed               to the node, and what happens there
catalogue, changes       what one principal is offered, and what of it changes
portal                   all of that together, for one principal within one virtual server
calls, offered,
backchannel              the handlers
tasks, task_news, skills the extensions
server, stdio, http      the SDK's server with them, and its two transports
"""
