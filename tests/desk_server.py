"""An MCP server over stdio that asks, and offers resources and prompts: for tests of the terminal and the dashboard."""

from typing import Annotated

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.request_state import RequestStateSecurity
from mcp_types import (
    CallToolResult,
    Completion,
    ElicitRequest,
    ElicitRequestURLParams,
    InputRequiredResult,
    TextContent,
)
from pydantic import BaseModel, Field

# The same key in every process, so that a question can be answered after a restart.
server = MCPServer("desk", request_state_security=RequestStateSecurity(keys=["0" * 32], ttl=3600.0))


class Trip(BaseModel):
    """What a booking needs."""

    city: Annotated[str, Field(title="City", description="where to", min_length=3)]
    seats: Annotated[int, Field(title="Seats", ge=1, le=4)] = 2
    window: Annotated[bool, Field(title="At the window")] = False


async def trip() -> Elicit[Trip]:
    return Elicit("Where do you want to go?", Trip)


@server.tool()
async def book(told: Annotated[ElicitationResult[Trip], Resolve(trip)]) -> str:
    """Book a trip; it asks where to."""
    if told.action != "accept":
        return f"nothing booked: {told.action}"
    wish = told.data
    return f"booked {wish.seats} to {wish.city}{' at the window' if wish.window else ''}"


@server.tool()
async def pay(context: Context) -> CallToolResult | InputRequiredResult:
    """Pay; it asks to open a page."""
    told = (context.input_responses or {}).get("bill")
    if told is None:
        page = ElicitRequestURLParams(
            message="Please pay there", url="https://pay.example.org/bill/7?x=1", elicitation_id="bill-7"
        )
        return InputRequiredResult(input_requests={"bill": ElicitRequest(params=page)}, request_state="7")
    action = getattr(told, "action", "nothing")
    return CallToolResult(content=[TextContent(type="text", text=f"payment: {action}")])


@server.resource("note://today", name="today", title="Today's note", mime_type="text/plain")
def today() -> str:
    """What is to be done."""
    return "buy `fish`\ncall ```Anna```"


@server.resource("city://{name}/facts", name="facts", title="Facts of a city")
def facts(name: str) -> str:
    """What is known of a city."""
    return f"{name} has a harbor"


@server.resource("note://picture", name="picture", mime_type="image/png")
def picture() -> bytes:
    """A picture."""
    return b"\x89PNG\x00\x01"


@server.prompt(title="Greet somebody")
def greet(name: str, tone: str = "warm") -> str:
    """A greeting in a tone."""
    return f"Write a {tone} greeting to {name}, see @note://today"


@server.completion()
async def complete(reference: object, argument: object, context: object) -> Completion:
    """Cities and names that begin as typed."""
    values = ["Bergen", "Bern", "Berlin"] if getattr(argument, "name", "") == "name" else ["warm", "cool"]
    typed = getattr(argument, "value", "")
    return Completion(values=[value for value in values if value.lower().startswith(typed.lower())])


if __name__ == "__main__":
    server.run("stdio")
