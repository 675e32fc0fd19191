"""A stdio server of the older era, written against the wire alone, that asks in the middle of a call.

`hold` is answered only after the next `ask`; `ask` puts its argument `kind` to the client first, and answers with what
the client said. `lie` breaks its own output schema. `say` logs.
"""

import json
import sys

ANY = {"type": "object"}
OUTPUT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS = [
    {"name": "hold", "inputSchema": ANY},
    {"name": "ask", "inputSchema": ANY},
    {"name": "say", "inputSchema": ANY},
    {"name": "lie", "inputSchema": ANY, "outputSchema": OUTPUT},
    {"name": "locked", "inputSchema": ANY},
    {"name": "big", "inputSchema": ANY},
]
ASKED = {
    "form": (
        "elicitation/create",
        {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}},
    ),
    "url": (
        "elicitation/create",
        {"mode": "url", "message": "Open", "url": "https://x.example", "elicitationId": "1"},
    ),
    "sampling": (
        "sampling/createMessage",
        {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5},
    ),
    "roots": ("roots/list", {}),
}
CAPABILITIES = {
    "tools": {},
    "logging": {},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
}
claimed: dict[str, object] = {}
held: list[object] = []
asking: dict[object, object] = {}
opened: list[bool] = []
subscribed: set[str] = set()


def say(message: dict[str, object]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def answer(request: object, text: str, **more: object) -> None:
    say({"id": request, "result": {"content": [{"type": "text", "text": text}], **more}})


def call(request: object, name: str, arguments: dict[str, str]) -> None:
    if name == "hold":
        held.append(request)
    elif name == "ask":
        method, params = ASKED[arguments["kind"]]
        asking[f"q{request}"] = request
        say({"id": f"q{request}", "method": method, "params": params})
    elif name == "say":
        say(
            {
                "method": "notifications/message",
                "params": {"level": "warning", "data": "careful", "logger": "old"},
            }
        )
        for uri in sorted(subscribed):
            say({"method": "notifications/resources/updated", "params": {"uri": uri}})
        answer(request, json.dumps(sorted(claimed)))
    elif name == "lie":
        answer(request, "four", structuredContent={"n": "four"})
    elif name == "big":
        answer(request, "x" * int(arguments["size"]))
    elif opened:
        answer(request, "opened")
    else:
        opened.append(True)
        page = {"mode": "url", "message": "Log in", "url": "https://x.example/login", "elicitationId": "2"}
        say({"id": request, "error": {"code": -32042, "message": "open", "data": {"elicitations": [page]}}})


for line in sys.stdin:
    message = json.loads(line)
    method, request = message.get("method"), message.get("id")
    if request in asking:
        answer(asking.pop(request), json.dumps(message.get("result") or message["error"]))
        while held:
            answer(held.pop(), "held")
    elif method == "initialize":
        claimed.update(message["params"]["capabilities"])
        info = {"name": "old", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "serverInfo": info}
        say({"id": request, "result": result})
    elif method == "tools/list":
        say({"id": request, "result": {"tools": TOOLS}})
    elif method == "tools/call":
        call(request, message["params"]["name"], message["params"].get("arguments") or {})
    elif method == "resources/list":
        at = int((message.get("params") or {}).get("cursor", 0))
        page = [{"uri": f"old://{at}", "name": str(at), "size": at, "annotations": {"priority": 0.5}}]
        say({"id": request, "result": {"resources": page, **({"nextCursor": str(at + 1)} if at < 2 else {})}})
    elif method == "resources/read":
        say({"id": request, "error": {"code": -32002, "message": "Resource not found"}})
    elif method in {"resources/subscribe", "resources/unsubscribe"}:
        uri = message["params"]["uri"]
        (subscribed.add if method == "resources/subscribe" else subscribed.discard)(uri)
        say({"id": request, "result": {}})
    elif method == "logging/setLevel":
        say({"id": request, "result": {}})
    elif request is not None:  # resources/templates/list and prompts/list among them
        say({"id": request, "error": {"code": -32601, "message": "Method not found"}})
