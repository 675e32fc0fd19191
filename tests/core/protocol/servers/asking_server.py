"""A server of the newer era that asks, tells and changes; made with the official SDK, over stdio or HTTP.

Usage: asking_server.py stdio | asking_server.py http PORT
"""

import asyncio
import os
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.request_state import RequestStateSecurity
from mcp_types import (
    CallToolResult,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    Icon,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    ToolAnnotations,
)

FORM = {
    "type": "object",
    "properties": {"day": {"type": "string"}, "seats": {"type": "integer", "default": 2}},
    "required": ["day"],
}
keys = RequestStateSecurity(keys=[b"0" * 32]) if "sealed" in sys.argv else None
server = MCPServer("asking", instructions="Ask me anything.", request_state_security=keys)


@server.tool()
async def book(city: str, ctx: Context) -> str | InputRequiredResult:
    """Ask for a day, then book."""
    if ctx.input_responses is None:
        form = ElicitRequestFormParams(message=f"When to {city}?", requested_schema=FORM)
        return InputRequiredResult(input_requests={"when": ElicitRequest(params=form)}, request_state="one")
    answer = ctx.input_responses["when"]
    return f"{city} {ctx.request_state} {answer.action} {sorted((answer.content or {}).items())}"


@server.tool(annotations=ToolAnnotations(idempotent_hint=False))
async def pay(ledger: str, order: str, seconds: float, ctx: Context) -> str | InputRequiredResult:
    """Ask, then do what must not be done twice, and take a while."""
    if ctx.input_responses is None:
        form = ElicitRequestFormParams(message=f"Pay {order}?", requested_schema=FORM)
        return InputRequiredResult(input_requests={"pay": ElicitRequest(params=form)}, request_state="asked")
    with Path(ledger).open("a") as file:
        file.write(f"{order}\n")
    await asyncio.sleep(seconds)
    return "paid"


@server.tool()
async def interview(ctx: Context) -> str | InputRequiredResult:
    """Ask for everything at once."""
    if ctx.input_responses is None:
        said = SamplingMessage(role="user", content=TextContent(text="Say something"))
        wish = CreateMessageRequestParams(messages=[said], max_tokens=10)
        page = ElicitRequestURLParams(message="Open it", url="https://example.org/page")
        asked = {
            "page": ElicitRequest(params=page),
            "words": CreateMessageRequest(params=wish),
            "folders": ListRootsRequest(),
        }
        return InputRequiredResult(input_requests=asked)
    page, words, folders = (ctx.input_responses[key] for key in ("page", "words", "folders"))
    return f"{page.action} {words.content.text} {[str(root.uri) for root in folders.roots]}"


@server.tool()
async def claims(ctx: Context) -> list[str]:
    """What the client says that it can answer."""
    told = ctx.client_capabilities.model_dump(by_alias=True, exclude_none=True, exclude={"extensions"})
    return sorted([*told, *told.get("elicitation", {})])


@server.tool()
async def talk(ctx: Context) -> str:
    """Say something while it works."""
    await ctx.info("half way", logger_name="talker")
    return "done"


@server.tool()
async def slow(steps: int, every: float, ctx: Context) -> str:
    """Report progress again and again."""
    for step in range(steps):
        await ctx.report_progress(step, steps)
        await asyncio.sleep(every)
    return "slow but done"


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def die_once(marker: str) -> str:
    """Take the server along the first time."""
    count = Path(marker)
    count.write_text(f"{count.read_text() if count.exists() else ''}.")
    if count.read_text() == ".":
        os._exit(1)
    return count.read_text()


@server.tool(name="die_always", annotations=ToolAnnotations(idempotent_hint=True))
async def die_always(marker: str) -> str:
    """Take the server along each time."""
    with Path(marker).open("a") as file:
        file.write(".")
    os._exit(1)


@server.tool()
async def rich() -> CallToolResult:
    """Say things beside the result."""
    return CallToolResult(content=[TextContent(text="x", _meta={"a": 1})], _meta={"b": 2})


@server.tool()
async def touch(uri: str, ctx: Context) -> str:
    """Tell that a resource has changed."""
    await ctx.notify_resource_updated(uri)
    return "touched"


@server.tool()
async def extend(ctx: Context) -> str:
    """Offer one more resource and one more prompt."""
    server.resource("note://new", name="new")(lambda: "new")
    server.prompt(name="new")(lambda: "new")
    await ctx.notify_resources_changed()
    await ctx.notify_prompts_changed()
    return "extended"


ICON = Icon(src="https://example.org/icon.png", mime_type="image/png", sizes=["48x48"])


@server.resource(
    "note://one",
    name="one",
    title="One",
    description="First",
    mime_type="text/plain",
    icons=[ICON],
    meta={"k": 1},
)
def one() -> str:
    return "the first note"


@server.resource("note://bytes", name="bytes", mime_type="application/octet-stream")
def some_bytes() -> bytes:
    return b"\x00\xff"


@server.resource("note://by/{name}", name="by", mime_type="text/plain")
def by(name: str) -> str:
    return f"a note by {name}"


@server.prompt(title="Greet", description="A greeting", icons=[ICON])
def greet(name: str, tone: str = "kind") -> str:
    return f"Greet {name}, {tone}"


@server.prompt()
def curious(ctx: Context) -> str | InputRequiredResult:
    """Ask for whom it is."""
    if ctx.input_responses is None:
        form = ElicitRequestFormParams(message="Who?", requested_schema={"type": "object", "properties": {}})
        return InputRequiredResult(input_requests={"who": ElicitRequest(params=form)}, request_state="asked")
    return f"For {(ctx.input_responses['who'].content or {}).get('name', 'nobody')}"


@server.completion()
async def complete(ref: object, argument: object, context: object) -> Completion:
    names = ["Ada", "Alan", "Grace"]
    return Completion(values=[name for name in names if name.startswith(argument.value)], total=3)


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
