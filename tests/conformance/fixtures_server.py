"""An MCP server with everything that the official conformance suite asks a server for, over stdio, both eras.

It is ours to write, but what it offers is the suite's to name: the test connects it to a real node, and the suite finds
it behind our own server. Whatever passes has gone all the way through the gateway and back.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from fixtures import (
    CONFIRM,
    DEFAULTS,
    ENUMS,
    NAME,
    NOTHING,
    ROOTS,
    SCHEMA_2020,
    ask,
    form,
    png,
    said,
    sampling,
    text,
    wav,
)
from mcp.server import Server
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CompleteRequestParams,
    EmptyResult,
    GetPromptRequestParams,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)

Context = ServerRequestContext[Any, Any]
Answers = dict[str, Any]
Work = Callable[[Context, dict[str, Any], Answers, str | None], Awaitable[dict[str, Any]]]

PAUSE = 0.05
bus = InMemorySubscriptionBus()
extra_tools: list[str] = []
extra_prompts: list[str] = []


# -- tools that answer ---------------------------------------------------------------------------------------


async def simple_text(
    ctx: Context, args: dict[str, Any], given: Answers, state: str | None
) -> dict[str, Any]:
    return said(text("This is a simple text response for testing."))


async def image(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    return said({"type": "image", "data": png(), "mimeType": "image/png"})


async def audio(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    return said({"type": "audio", "data": wav(), "mimeType": "audio/wav"})


def embedded(uri: str, mime_type: str, words: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": words}}


async def resource(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    return said(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


async def mixed(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    data = json.dumps({"test": "data", "value": 123})
    return said(
        text("Multiple content types test:"),
        {"type": "image", "data": png(), "mimeType": "image/png"},
        embedded("test://mixed-content-resource", "application/json", data),
    )


async def fail(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    return {**said(text("This tool intentionally returns an error for testing")), "isError": True}


async def log(ctx: Context, words: str) -> None:
    params = LoggingMessageNotificationParams(level="info", data=words)
    await ctx.session.send_notification(
        LoggingMessageNotification(params=params), related_request_id=ctx.request_id
    )


async def logging(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await log(ctx, words)
        await asyncio.sleep(PAUSE)
    return said(text("Tool with logging executed"))


async def progress(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    for share in (0, 50, 100):
        await ctx.session.report_progress(share, 100)
        await asyncio.sleep(PAUSE)
    return said(text("Tool with progress executed"))


async def slow(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    """Not of the suite: tells that it has begun, and takes its time."""
    await ctx.session.report_progress(1, 100)
    await asyncio.sleep(30)
    return said(text("done"))


async def header(ctx: Context, args: dict[str, Any], given: Answers, state: str | None) -> dict[str, Any]:
    return said(text(f"Region: {args.get('region', '')}"))


async def change_tools(
    ctx: Context, args: dict[str, Any], given: Answers, state: str | None
) -> dict[str, Any]:
    extra_tools.append(f"test_dynamic_tool_{len(extra_tools)}")
    await bus.publish(ToolsListChanged())
    return said(text("The tools have changed"))


async def change_prompts(
    ctx: Context, args: dict[str, Any], given: Answers, state: str | None
) -> dict[str, Any]:
    extra_prompts.append(f"test_dynamic_prompt_{len(extra_prompts)}")
    await bus.publish(PromptsListChanged())
    return said(text("The prompts have changed"))


# -- tools that ask ------------------------------------------------------------------------------------------


def wants(requests: dict[str, Any], finish: Callable[[Answers], str], state: str | None = None) -> Work:
    """A tool that asks once and then answers; a state that is not the one it gave is refused."""

    async def work(ctx: Context, args: dict[str, Any], given: Answers, back: str | None) -> dict[str, Any]:
        if not set(requests) <= set(given):
            return ask(requests, state)
        if state is not None and back != state:
            raise MCPError(INVALID_PARAMS, "the requestState is not the one that was given")
        return said(text(finish(given)))

    return work


def outcome(key: str, words: str) -> Callable[[Answers], str]:
    def finish(given: Answers) -> str:
        answer = given[key]
        return f"{words}: action={answer['action']}, content={json.dumps(answer.get('content') or {})}"

    return finish


async def test_sampling(
    ctx: Context, args: dict[str, Any], given: Answers, state: str | None
) -> dict[str, Any]:
    if "reply" not in given:
        return ask({"reply": sampling(args["prompt"])})
    return said(text(f"LLM response: {given['reply']['content']['text']}"))


async def test_elicitation(
    ctx: Context, args: dict[str, Any], given: Answers, state: str | None
) -> dict[str, Any]:
    fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    if "user" not in given:
        return ask({"user": form(args["message"], fields, ["username", "email"])})
    return said(text(outcome("user", "User response")(given)))


async def capabilities(
    ctx: Context, args: dict[str, Any], given: Answers, state: str | None
) -> dict[str, Any]:
    known = ctx.session.client_capabilities
    requests: dict[str, Any] = {}
    if known is not None and known.sampling is not None:
        requests["greeting"] = sampling("Generate a greeting")
    if known is not None and known.elicitation is not None:
        requests["user_name"] = NAME
    if requests and not set(requests) <= set(given):
        return ask(requests)
    return said(text(f"answered: {', '.join(sorted(given)) or 'nothing'}"))


async def multi_round(
    ctx: Context, args: dict[str, Any], given: Answers, state: str | None
) -> dict[str, Any]:
    if state == "round-2" and "step2" in given:
        return said(text(f"You like {given['step2']['content']['color']}"))
    if state == "round-1" and "step1" in given:
        question = form("Step 2: What is your favorite color?", {"color": {"type": "string"}}, ["color"])
        return ask({"step2": question}, "round-2")
    question = form("Step 1: What is your name?", {"name": {"type": "string"}}, ["name"])
    return ask({"step1": question}, "round-1")


def takes(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


TOOLS: dict[str, tuple[str, dict[str, Any], Work]] = {
    "test_simple_text": ("Returns text", NOTHING, simple_text),
    "test_image_content": ("Returns an image", NOTHING, image),
    "test_audio_content": ("Returns a sound", NOTHING, audio),
    "test_embedded_resource": ("Returns a resource", NOTHING, resource),
    "test_multiple_content_types": ("Returns several kinds of content", NOTHING, mixed),
    "test_error_handling": ("Always fails", NOTHING, fail),
    "test_tool_with_logging": ("Says something while it runs", NOTHING, logging),
    "test_logging_tool": ("Says something while it runs", NOTHING, logging),
    "test_tool_with_progress": ("Tells how far it is", NOTHING, progress),
    "slow": ("Takes its time", NOTHING, slow),
    "test_sampling": ("Lets the client's model say something", takes("prompt"), test_sampling),
    "test_elicitation": ("Asks the user", takes("message"), test_elicitation),
    "test_elicitation_sep1034_defaults": (
        "Asks with defaults",
        NOTHING,
        wants({"form": DEFAULTS}, outcome("form", "Elicitation completed")),
    ),
    "test_elicitation_sep1330_enums": (
        "Asks with choices",
        NOTHING,
        wants({"form": ENUMS}, outcome("form", "Elicitation completed")),
    ),
    "test_streaming_elicitation": (
        "Asks the user",
        NOTHING,
        wants({"user_name": NAME}, outcome("user_name", "Answered")),
    ),
    "test_missing_capability": (
        "Needs a client with a model",
        NOTHING,
        wants({"reply": sampling("Say something")}, lambda given: "sampled"),
    ),
    "test_x_mcp_header": (
        "Takes an argument that travels as a header too",
        {
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
            "required": ["region"],
        },
        header,
    ),
    "json_schema_2020_12_tool": ("Tool with JSON Schema 2020-12 features", SCHEMA_2020, simple_text),
    "test_trigger_tool_change": ("Changes the list of tools", NOTHING, change_tools),
    "test_trigger_prompt_change": ("Changes the list of prompts", NOTHING, change_prompts),
    "test_input_required_result_elicitation": (
        "Asks for a name",
        NOTHING,
        wants({"user_name": NAME}, lambda given: f"Hello, {given['user_name']['content']['name']}!"),
    ),
    "test_input_required_result_sampling": (
        "Asks a model",
        NOTHING,
        wants(
            {"capital_question": sampling("What is the capital of France?")},
            lambda given: str(given["capital_question"]["content"]["text"]),
        ),
    ),
    "test_input_required_result_list_roots": (
        "Asks for folders",
        NOTHING,
        wants(
            {"client_roots": ROOTS},
            lambda given: ", ".join(root["uri"] for root in given["client_roots"]["roots"]),
        ),
    ),
    "test_input_required_result_request_state": (
        "Gives a state along",
        NOTHING,
        wants({"confirm": CONFIRM}, lambda given: "state-ok", state="confirming"),
    ),
    "test_input_required_result_multiple_inputs": (
        "Asks several things",
        NOTHING,
        wants(
            {"user_name": NAME, "greeting": sampling("Generate a greeting", 50), "client_roots": ROOTS},
            lambda given: "all answered",
            state="several",
        ),
    ),
    "test_input_required_result_multi_round": ("Asks twice", NOTHING, multi_round),
    "test_input_required_result_tampered_state": (
        "Gives a state along",
        NOTHING,
        wants({"confirm": CONFIRM}, lambda given: "state-ok", state="sealed"),
    ),
    "test_input_required_result_capabilities": ("Asks what can be answered", NOTHING, capabilities),
}


async def list_tools(ctx: Context, params: PaginatedRequestParams | None) -> dict[str, Any]:
    tools = [
        {"name": name, "description": description, "inputSchema": schema}
        for name, (description, schema, _) in TOOLS.items()
    ]
    added = [{"name": name, "description": "Came later", "inputSchema": NOTHING} for name in extra_tools]
    return {"tools": tools + added}


def answers(params: CallToolRequestParams | GetPromptRequestParams) -> Answers:
    return {
        key: each.model_dump(mode="json", by_alias=True, exclude_none=True)
        for key, each in (params.input_responses or {}).items()
    }


async def call_tool(ctx: Context, params: CallToolRequestParams) -> dict[str, Any]:
    if params.name in extra_tools:
        return said(text("A tool that came later"))
    if params.name not in TOOLS:
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
    return await TOOLS[params.name][2](ctx, params.arguments or {}, answers(params), params.request_state)


# -- resources -----------------------------------------------------------------------------------------------

RESOURCES = {
    "test://static-text": ("Static text", "text/plain"),
    "test://static-binary": ("Static binary", "image/png"),
    "test://watched-resource": ("Watched", "text/plain"),
}


async def list_resources(ctx: Context, params: PaginatedRequestParams | None) -> dict[str, Any]:
    return {
        "resources": [
            {"uri": uri, "name": name, "description": f"{name} for tests", "mimeType": mime_type}
            for uri, (name, mime_type) in RESOURCES.items()
        ]
    }


async def list_templates(ctx: Context, params: PaginatedRequestParams | None) -> dict[str, Any]:
    template = {
        "uriTemplate": "test://template/{id}/data",
        "name": "Template",
        "description": "Data by id",
        "mimeType": "application/json",
    }
    return {"resourceTemplates": [template]}


async def read_resource(ctx: Context, params: ReadResourceRequestParams) -> dict[str, Any]:
    uri = params.uri
    part: dict[str, Any] = {"uri": uri, "mimeType": "text/plain"}
    if uri == "test://static-binary":
        part |= {"mimeType": "image/png", "blob": png()}
    elif uri == "test://static-text":
        part["text"] = "This is the content of the static text resource."
    elif uri == "test://watched-resource":
        part["text"] = "Watched resource content"
    elif uri.startswith("test://template/") and uri.endswith("/data"):
        key = uri.removeprefix("test://template/").removesuffix("/data")
        data = {"id": key, "templateTest": True, "data": f"Data for ID: {key}"}
        part |= {"mimeType": "application/json", "text": json.dumps(data)}
    else:
        raise MCPError(INVALID_PARAMS, "Resource not found", {"uri": uri})
    return {"contents": [part]}


# -- prompts -------------------------------------------------------------------------------------------------


def takes_prompt(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "description": f"The argument {name}", "required": True} for name in names]


PROMPTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "test_simple_prompt": ("A simple prompt", []),
    "test_prompt_with_arguments": ("A prompt with arguments", takes_prompt("arg1", "arg2")),
    "test_prompt_with_embedded_resource": ("A prompt with a resource", takes_prompt("resourceUri")),
    "test_prompt_with_image": ("A prompt with an image", []),
    "test_input_required_result_prompt": ("A prompt that asks first", []),
}


async def list_prompts(ctx: Context, params: PaginatedRequestParams | None) -> dict[str, Any]:
    known = [
        {"name": name, "description": description, "arguments": arguments}
        for name, (description, arguments) in PROMPTS.items()
    ]
    return {"prompts": known + [{"name": name, "description": "Came later"} for name in extra_prompts]}


def spoken(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": block} for block in blocks]}


async def get_prompt(ctx: Context, params: GetPromptRequestParams) -> dict[str, Any]:
    args = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return spoken(text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            words = f"Prompt with arguments: arg1='{args['arg1']}', arg2='{args['arg2']}'"
            return spoken(text(words))
        case "test_prompt_with_embedded_resource":
            words = "Embedded resource content for testing."
            return spoken(
                embedded(args["resourceUri"], "text/plain", words),
                text("Please process the embedded resource above."),
            )
        case "test_prompt_with_image":
            return spoken(
                {"type": "image", "data": png(), "mimeType": "image/png"},
                text("Please analyze the image above."),
            )
        case "test_input_required_result_prompt":
            given = answers(params)
            if "user_context" not in given:
                question = "What context should the prompt use?"
                return ask({"user_context": form(question, {"context": {"type": "string"}}, ["context"])})
            return spoken(text(f"Use this context: {given['user_context']['content']['context']}"))
        case name if name in extra_prompts:
            return spoken(text("A prompt that came later"))
    raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name}")


async def complete(ctx: Context, params: CompleteRequestParams) -> dict[str, Any]:
    words = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
    return {"completion": {"values": words, "total": len(words), "hasMore": False}}


async def done(ctx: Context, params: Any) -> EmptyResult:
    return EmptyResult()


def complete_result(handler: Any) -> Any:
    """Say that a result is a whole one, where it does not say otherwise."""

    async def handle(ctx: Context, params: Any) -> Any:
        result = await handler(ctx, params)
        return {"resultType": "complete", **result} if isinstance(result, dict) else result

    return handle


def make() -> Server[Any]:
    keep = CacheHint(ttl_ms=0)
    server: Server[Any] = Server(
        "fixtures",
        version="1.0.0",
        cache_hints={
            "tools/list": keep,
            "resources/list": keep,
            "resources/templates/list": keep,
            "resources/read": keep,
            "prompts/list": keep,
        },
    )
    handlers: list[tuple[str, type[Any], Any]] = [
        ("tools/list", PaginatedRequestParams, list_tools),
        ("tools/call", CallToolRequestParams, call_tool),
        ("resources/list", PaginatedRequestParams, list_resources),
        ("resources/templates/list", PaginatedRequestParams, list_templates),
        ("resources/read", ReadResourceRequestParams, read_resource),
        ("resources/subscribe", SubscribeRequestParams, done),
        ("resources/unsubscribe", UnsubscribeRequestParams, done),
        ("prompts/list", PaginatedRequestParams, list_prompts),
        ("prompts/get", GetPromptRequestParams, get_prompt),
        ("completion/complete", CompleteRequestParams, complete),
        ("logging/setLevel", SetLevelRequestParams, done),
    ]
    for method, params, handler in handlers:
        server.add_request_handler(method, params, complete_result(handler))
    server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, ListenHandler(bus))
    return server


async def main() -> None:
    server = make()
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main)
