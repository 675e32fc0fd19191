"""Our MCP server on standard input and output: one client, one principal."""

from mcp_core.protocol.server.portal import Portal
from mcp_core.protocol.server.seal import Seal


async def serve_stdio(portal: Portal, seal: Seal) -> None:
    """Serve until the client closes its end; nothing but MCP is written to standard output.

    Args:
        portal: Of whoever the client is; closed when this returns.
        seal: For what clients of the stateless era carry.

    Raises:
        NotFound: There is no such virtual server.
        UmbrellaError: The node cannot be reached.
    """
    from mcp.server.stdio import stdio_server

    from mcp_core.protocol.server.server import make_server

    try:
        publication = await portal.catalogue.publication()
        server = make_server(lambda _: portal, seal, "" if publication is None else publication.instructions)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
    finally:
        await portal.close()
