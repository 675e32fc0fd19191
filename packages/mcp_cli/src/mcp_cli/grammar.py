"""Reads a line of the REPL: a message, or a slash command of the registry. Pure: no node, no screen.

The registry `SLASHES` is the only place where slash commands are named: parsing, completion, `/help` and
"did you mean" all read it. Most of them are the shell's own commands under another name (`route`); the REPL
runs those through the same code as the shell does.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, Literal

import msgspec

Kind = Literal["server", "tool", "session", "agent", "profile", "format", "approval", "capability", "text"]
"""What an argument names, for completion."""


class Sub(msgspec.Struct, frozen=True):
    """One word that may follow a slash command."""

    name: str
    summary: str
    arguments: tuple[Kind, ...] = ()


class Slash(msgspec.Struct, frozen=True, kw_only=True):
    """One slash command."""

    name: str
    summary: str
    usage: str = ""
    """What follows the name."""
    group: Literal["conversation", "tools and servers", "rights", "this screen"]
    route: tuple[str, ...] = ()
    """Words of the shell command that does it; empty when the REPL does it itself."""
    subs: tuple[Sub, ...] = ()
    default: str = ""
    """The sub that is meant when none is given."""
    arguments: tuple[Kind, ...] = ()
    aliases: tuple[str, ...] = ()
    loose: bool = False
    """Whether a first word that is no sub belongs to the default."""


SLASHES: Final[tuple[Slash, ...]] = (
    Slash(
        name="help", summary="what can be done here", usage="[COMMAND]", group="this screen", aliases=("?",)
    ),
    Slash(name="quit", summary="leave; agents go on", group="this screen", aliases=("exit", "q")),
    Slash(name="clear", summary="empty the screen; nothing is forgotten", group="this screen"),
    Slash(name="status", summary="the node at a glance", group="this screen", route=("node", "status")),
    Slash(
        name="storage",
        summary="how the journal is, and whether it is whole",
        usage="status | verify | rebuild",
        group="this screen",
        route=("storage",),
        default="status",
        subs=(
            Sub("status", "how the journal is, and what its last opening found"),
            Sub("verify", "read the whole journal back"),
            Sub("rebuild", "make anew what is derived from it"),
        ),
    ),
    Slash(
        name="observe",
        summary="the live tree of the node's actors",
        group="this screen",
        route=("observe", "--once"),
    ),
    Slash(name="new", summary="begin a new session with the next message", group="conversation"),
    Slash(
        name="sessions",
        summary="conversations, with all that happened in them",
        usage="list [--all] | show ID | export ID | fork ID | suspend ID | resume ID | end ID",
        group="conversation",
        route=("sessions",),
        default="list",
        subs=(
            Sub("list", "sessions, latest activity first"),
            Sub("show", "what was said and done", ("session",)),
            Sub("export", "print a session as Markdown", ("session",)),
            Sub("fork", "begin a session with a copy of another one", ("session",)),
            Sub("suspend", "let nothing more begin in a session", ("session",)),
            Sub("resume", "let things begin again in it", ("session",)),
            Sub("end", "end a session, its agents and their rights", ("session",)),
        ),
    ),
    Slash(
        name="resume",
        summary="go on with an earlier session, or with this one when it is suspended",
        usage="[ID]",
        group="conversation",
        arguments=("session",),
    ),
    Slash(
        name="fork",
        summary="go on in a copy of this session; N leaves out your last N messages",
        usage="[N]",
        group="conversation",
        arguments=("text",),
    ),
    Slash(name="suspend", summary="let nothing more begin in this session", group="conversation"),
    Slash(name="history", summary="the last messages of this session", usage="[N]", group="conversation"),
    Slash(
        name="export",
        summary="write this session to a file",
        usage="[md|json] [PATH]",
        group="conversation",
        arguments=("format", "text"),
    ),
    Slash(name="model", summary="show or choose the model", usage="[NAME]", group="conversation"),
    Slash(
        name="profile",
        summary="what the assistant may do unasked",
        usage="[locked|ask|careful|open]",
        group="rights",
        arguments=("profile",),
    ),
    Slash(name="cancel", summary="stop the assistant's turn (Esc)", group="conversation"),
    Slash(
        name="mcp",
        summary="MCP servers",
        usage="list | add NAME -- COMMAND ARGS… | add NAME --url URL | tools [NAME] | remove NAME",
        group="tools and servers",
        route=("mcp",),
        default="list",
        subs=(
            Sub("list", "servers and how they are doing"),
            Sub("add", "NAME -- COMMAND ARGS…  or  NAME --url URL", ("text",)),
            Sub("import", "add the servers of an mcpServers file", ("text",)),
            Sub("tools", "tools of one server, or of all", ("server",)),
            Sub("remove", "disconnect and forget a server", ("server",)),
        ),
    ),
    Slash(
        name="tools",
        summary="tools of one server, or of all; and which have changed",
        usage="[SERVER] | changed [SERVER/TOOL] | accept SERVER/TOOL --fingerprint HEX",
        group="tools and servers",
        route=("tools",),
        default="list",
        loose=True,
        subs=(
            Sub("list", "tools of one server, or of all", ("server",)),
            Sub("changed", "what changed since it was first allowed", ("text",)),
            Sub("accept", "say that a changed tool may be used", ("text",)),
        ),
    ),
    Slash(
        name="call",
        summary="call one tool yourself, or as an agent",
        usage="SERVER TOOL [JSON] [--as AGENT] [--timeout 30s] [--detach]",
        group="tools and servers",
        route=("call",),
        arguments=("server", "tool"),
    ),
    Slash(
        name="executions",
        summary="tool calls: how they are doing, and what came of them",
        usage="list [--status RUNNING] | show ID | wait ID | cancel ID",
        group="tools and servers",
        route=("executions",),
        default="list",
        subs=(
            Sub("list", "tool calls, latest first"),
            Sub("show", "one call, with its result", ("text",)),
            Sub("wait", "wait for its end and give its result", ("text",)),
            Sub("cancel", "stop it", ("text",)),
        ),
    ),
    Slash(
        name="agent",
        summary="agents; a new one may do nothing",
        usage="list | spawn [NAME] [--from AGENT] [--grant URI]… [--limit KEY=JSON] [--expires 1h] | show AGENT | send AGENT MESSAGE | stop AGENT",
        group="tools and servers",
        route=("agent",),
        default="list",
        subs=(
            Sub("list", "agents, oldest first"),
            Sub("spawn", "start an agent, with rights of another one or none", ("text",)),
            Sub("show", "one agent and what it holds", ("agent",)),
            Sub("send", "tell it something, or all who listen to mcp://broadcast/TOPIC", ("agent", "text")),
            Sub("stop", "end an agent and all of its rights", ("agent",)),
        ),
    ),
    Slash(
        name="grant",
        summary="hand an agent a right",
        usage="AGENT URI [--expires 1h] [--uses N] [--limit KEY=JSON]",
        group="rights",
        route=("grant",),
        arguments=("agent", "text"),
    ),
    Slash(
        name="caps",
        summary="who may do what",
        usage="list [WHO] | revoke ID | explain WHO URI",
        group="rights",
        route=("caps",),
        default="list",
        subs=(
            Sub("list", "live capabilities", ("agent",)),
            Sub("revoke", "take a right back, with all derived from it", ("capability",)),
            Sub("explain", "why somebody may do something, or why not", ("agent", "text")),
        ),
    ),
    Slash(
        name="approvals",
        summary="questions that wait for an answer",
        usage="list | show ID | allow ID [--remember session] [--any-arguments] | deny ID [--reason TEXT] [--never] | never | forget QUESTION",
        group="rights",
        route=("approvals",),
        default="list",
        subs=(
            Sub("list", "open questions, oldest first"),
            Sub("show", "one question, with all its arguments", ("approval",)),
            Sub("allow", "answer yes", ("approval",)),
            Sub("deny", "answer no", ("approval",)),
            Sub("never", "what you never want to be asked again"),
            Sub("forget", "let a question be asked again", ("text",)),
        ),
    ),
    Slash(
        name="audit",
        summary="what was decided, and whether its record is whole",
        usage="show [--denied] [--since 2h] | verify",
        group="rights",
        route=("audit",),
        default="show",
        subs=(Sub("show", "decisions, newest first"), Sub("verify", "check the whole chain")),
    ),
)
BY_NAME: Final[Mapping[str, Slash]] = {
    name: slash for slash in SLASHES for name in (slash.name, *slash.aliases)
}
PROFILES: Final = {
    "locked": "may do nothing, and may not ask",
    "ask": "asks before everything",
    "careful": "reads below this folder; asks for everything else",
    "open": "may do everything that you may",
}


class Message(msgspec.Struct, frozen=True):
    """Say this to the assistant."""

    text: str


class Order(msgspec.Struct, frozen=True):
    """Do this slash command."""

    slash: Slash
    words: tuple[str, ...] = ()
    """Everything behind the name; a default sub is filled in."""


class Mistake(msgspec.Struct, frozen=True):
    """The line cannot be read."""

    message: str
    remedy: str = ""


class Nothing(msgspec.Struct, frozen=True):
    """An empty line."""


Parsed = Message | Order | Mistake | Nothing


def parse(line: str) -> Parsed:
    """Read one submitted line or text; never raises.

    A text that begins with `/` is a command; `//` begins a message that starts with one slash.
    """
    text = line.strip()
    if not text:
        return Nothing()
    if text.startswith("//"):
        return Message(text[1:])
    if not text.startswith("/"):
        return Message(text)
    name, _, rest = text[1:].partition(" ")
    name, newline, below = name.partition("\n")
    rest = below + rest if newline else rest
    slash = BY_NAME.get(name.lower())
    if slash is None:
        return _unknown(name)
    words = _call_words(rest) if slash.name == "call" else _words(rest)
    if isinstance(words, Mistake):
        return words
    return _order(slash, words)


def _order(slash: Slash, words: list[str]) -> Order | Mistake:
    if not slash.subs:
        return Order(slash, tuple(words))
    names = [sub.name for sub in slash.subs]
    if not words or words[0].startswith("-"):
        return Order(slash, (slash.default, *words))
    if words[0] in names:
        return Order(slash, tuple(words))
    if slash.loose:
        return Order(slash, (slash.default, *words))
    near = get_close_matches(words[0], names, n=1, cutoff=0.5)
    guess = f"did you mean /{slash.name} {near[0]}?" if near else f"usage: /{slash.name} {slash.usage}"
    return Mistake(f"/{slash.name} has no {words[0]!r}", guess)


def _unknown(name: str) -> Mistake:
    near = get_close_matches(name.lower(), BY_NAME, n=3, cutoff=0.5) or [
        known for known in BY_NAME if name and known.startswith(name.lower())
    ]
    guess = f"did you mean {' or '.join(f'/{known}' for known in near)}?" if near else "see /help."
    return Mistake(f"there is no command /{name}", f"{guess} To send it as a message, begin with //")


def _words(text: str) -> list[str] | Mistake:
    try:
        return shlex.split(text)
    except ValueError as error:
        return Mistake(f"the line cannot be read: {str(error).lower()}", "close the quote")


def _call_words(text: str) -> list[str] | Mistake:
    """Split `SERVER TOOL JSON OPTIONS`: quotes inside the JSON are the JSON's own."""
    start = text.find("{")
    if start < 0 or (start > 0 and not text[start - 1].isspace()):
        return _words(text)
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        return Mistake(f"the arguments are not JSON: {error}", 'write an object such as {"path": "/tmp"}')
    before, after = _words(text[:start]), _words(text[end:])
    if isinstance(before, Mistake):
        return before
    if isinstance(after, Mistake):
        return after
    return [*before, "--json", text[start:end], *after]


# -- completion ------------------------------------------------------------------------------------------


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Names that completion may offer, with a few words on each."""

    servers: Mapping[str, str] = {}
    tools: Mapping[str, Mapping[str, str]] = {}
    """By server: tool and its line."""
    templates: Mapping[str, str] = {}
    """By `server tool`: a JSON object with the arguments that it needs."""
    sessions: Mapping[str, str] = {}
    agents: Mapping[str, str] = {}
    approvals: Mapping[str, str] = {}
    capabilities: Mapping[str, str] = {}


class Completion(msgspec.Struct, frozen=True):
    """One way to go on."""

    line: str
    """The whole line after accepting it."""
    label: str
    summary: str = ""
    whole: bool = False
    """Whether the line means something as it then stands."""


MOST: Final = 50
"""Completions that are offered at most."""


NOBODY: Final = Known()
"""Completion that knows the registry only."""


def complete(line: str, known: Known = NOBODY) -> list[Completion]:
    """Return ways to go on with a line that begins with `/`, best first; never raises."""
    if not line.startswith("/") or line.startswith("//") or "\n" in line:
        return []
    name, space, rest = line[1:].partition(" ")
    if not space:
        return _names(name)
    slash = BY_NAME.get(name.lower())
    if slash is None:
        return []
    done, typed = _last_word(rest)
    head = line[: len(line) - len(typed)]
    choices, close = _choices(slash, done, known)
    found = _match(typed, choices)
    return [Completion(head + text + (" " if close else ""), text, summary) for text, summary in found][:MOST]


def _names(typed: str) -> list[Completion]:
    found = _match(typed.lower(), {slash.name: slash.summary for slash in SLASHES})
    return [
        Completion(
            f"/{name}{' ' if BY_NAME[name].usage else ''}", f"/{name}", summary, stands_alone(BY_NAME[name])
        )
        for name, summary in found
    ]


def stands_alone(slash: Slash) -> bool:
    """Whether a command can be sent without a word behind it."""
    return not slash.usage or slash.usage.startswith("[") or bool(slash.default)


def _last_word(text: str) -> tuple[list[str], str]:
    words = text.split(" ")
    return [word for word in words[:-1] if word], words[-1]


def _choices(slash: Slash, done: Sequence[str], known: Known) -> tuple[Mapping[str, str], bool]:
    """What can stand next, and whether a blank follows it."""
    if slash.name == "help":
        return ({one.name: one.summary for one in SLASHES} if not done else {}), False
    if done and done[-1] in {"--as", "--from"}:
        return known.agents, True
    arguments, place = slash.arguments, len(done)
    if slash.subs:
        if not done:
            names = {sub.name: sub.summary for sub in slash.subs}
            return ({**names, **known.servers} if slash.loose else names), True
        arguments = next((sub.arguments for sub in slash.subs if sub.name == done[0]), ())
        place -= 1
    if slash.name == "call" and place == 2:
        template = known.templates.get(" ".join(done[:2]))
        return ({template: "its arguments"} if template else {}), False
    if place >= len(arguments):
        return {}, False
    return _of_kind(arguments[place], done, known), place + 1 < len(arguments) or slash.name == "call"


def _of_kind(kind: Kind, done: Sequence[str], known: Known) -> Mapping[str, str]:
    choices: dict[Kind, Mapping[str, str]] = {
        "tool": known.tools.get(done[-1], {}) if done else {},
        "server": known.servers,
        "session": known.sessions,
        "agent": known.agents,
        "approval": known.approvals,
        "capability": known.capabilities,
        "profile": PROFILES,
        "format": {"md": "Markdown for people", "json": "every event, for programs"},
    }
    return choices.get(kind, {})


def _match(typed: str, choices: Mapping[str, str]) -> list[tuple[str, str]]:
    """Choices that begin with what was typed, then those whose name has its letters in order, or whose text has it."""
    lowered = typed.lower()
    begin = [(text, summary) for text, summary in choices.items() if text.lower().startswith(lowered)]
    loose = [
        (text, summary)
        for text, summary in choices.items()
        if not text.lower().startswith(lowered)
        and (_in_order(lowered, text.lower()) or lowered in summary.lower())
    ]
    return begin + loose


def _in_order(letters: str, text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in letters)


# -- help ------------------------------------------------------------------------------------------------


def groups() -> Iterable[tuple[str, list[Slash]]]:
    """Yield the groups of the registry in the order of `/help`."""
    for group in ("conversation", "tools and servers", "rights", "this screen"):
        yield group, [slash for slash in SLASHES if slash.group == group]


KEYS: Final[Mapping[str, str]] = {
    "Enter": "send",
    "Shift+Enter, Ctrl+J": "new line",
    "Up, Down": "earlier and later inputs (on the first and last line)",
    "Tab": "complete; or go to an open question",
    "Esc": "close the list; or stop the assistant",
    "PageUp, PageDown": "scroll",
    "Ctrl+O": "open and fold tool results",
    "Ctrl+C twice, Ctrl+D": "leave; agents go on",
}
"""Keys of the full-screen REPL."""
