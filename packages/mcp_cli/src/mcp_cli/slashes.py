"""The registry of slash commands: the only place where they are named. Pure.

Parsing (`grammar`), completion (`completing`), `/help` and "did you mean" all read it. Most of them are the shell's
own commands under another name (`route`); the REPL runs those through the same code as the shell does.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import msgspec

from mcp_cli.untrusted import printable

Kind = Literal[
    "server",
    "tool",
    "session",
    "agent",
    "profile",
    "format",
    "approval",
    "capability",
    "question",
    "execution",
    "prompt",
    "model",
    "strategy",
    "switch",
    "theme",
    "text",
]
"""What an argument names, for completion."""


Group = Literal["conversation", "model", "tools and servers", "rights", "this screen"]


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
    group: Group
    route: tuple[str, ...] = ()
    """Words of the shell command that does it; empty when the REPL does it itself."""
    subs: tuple[Sub, ...] = ()
    default: str = ""
    """The sub that is meant when none is given."""
    arguments: tuple[Kind, ...] = ()
    aliases: tuple[str, ...] = ()
    loose: bool = False
    """Whether a first word that is no sub belongs to the default."""
    raw: bool = False
    """Whether all that follows is one argument, quotes and line ends included."""


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
    Slash(
        name="config",
        summary="the settings that count, and where each of them comes from",
        usage="[--origin]",
        group="this screen",
        route=("config", "show"),
    ),
    Slash(name="keys", summary="what the keys do (? on an empty line)", group="this screen"),
    Slash(
        name="theme",
        summary="show or choose the colours",
        usage="[NAME]",
        group="this screen",
        arguments=("theme",),
    ),
    Slash(
        name="mouse",
        summary="leave the mouse to the terminal, or take it back",
        usage="[on|off]",
        group="this screen",
        arguments=("switch",),
    ),
    Slash(
        name="notify",
        summary="a bell when something waits for you and you look elsewhere",
        usage="[on|off]",
        group="this screen",
        arguments=("switch",),
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
    Slash(
        name="rewind",
        summary="go back to before one of your messages, in a copy; the message comes back to be changed (Esc twice)",
        usage="[N]",
        group="conversation",
        arguments=("text",),
    ),
    Slash(
        name="retry",
        summary="let the assistant answer your last message once more",
        group="conversation",
    ),
    Slash(
        name="rename",
        summary="give this session another title",
        usage="TITLE",
        group="conversation",
        arguments=("text",),
        raw=True,
    ),
    Slash(
        name="search",
        summary="find what was said, in all sessions",
        usage="WORDS",
        group="conversation",
        route=("sessions", "search"),
        arguments=("text",),
        raw=True,
    ),
    Slash(
        name="import",
        summary="bring in a conversation from a file",
        usage="FILE",
        group="conversation",
        route=("sessions", "import"),
        arguments=("text",),
    ),
    Slash(
        name="copy",
        summary="copy the last answer, or the Nth block from the end",
        usage="[last|N]",
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
    Slash(
        name="model",
        summary="show or choose the model",
        usage="[NAME]",
        group="model",
        arguments=("model",),
    ),
    Slash(
        name="models",
        summary="models that can be chosen, what they take and cost",
        usage="[PART]",
        group="model",
        route=("models", "list"),
    ),
    Slash(
        name="system",
        summary="show or set what the assistant is told beside what every assistant is told",
        usage="[TEXT|off]",
        group="model",
        arguments=("text",),
        raw=True,
    ),
    Slash(
        name="context",
        summary="how full the model's window is with this conversation",
        group="model",
    ),
    Slash(
        name="compact",
        summary="replace the older part of what the model sees by a summary, now; nothing is forgotten",
        group="model",
    ),
    Slash(
        name="strategy",
        summary="what becomes of a conversation that outgrows the model's window",
        usage="[smart|sliding]",
        group="model",
        arguments=("strategy",),
    ),
    Slash(
        name="budget",
        summary="what this session's models may cost: dollars, tokens, or both",
        usage="[$DOLLARS] [N tokens] | off",
        group="model",
        arguments=("text",),
    ),
    Slash(
        name="usage",
        summary="what models have cost",
        usage="[--by session|model|day] [--since 7d]",
        group="model",
        route=("usage",),
        arguments=("text",),
    ),
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
        usage="list | add NAME -- COMMAND ARGS… | add NAME --url URL | tools [NAME] | resources [NAME] | prompts [NAME] | remove NAME",
        group="tools and servers",
        route=("mcp",),
        default="list",
        subs=(
            Sub("list", "servers and how they are doing"),
            Sub("add", "NAME -- COMMAND ARGS…  or  NAME --url URL", ("text",)),
            Sub("import", "add the servers of an mcpServers file", ("text",)),
            Sub("tools", "tools of one server, or of all", ("server",)),
            Sub("remove", "disconnect and forget a server", ("server",)),
            Sub("doctor", "why a server does not start", ("server",)),
            Sub("restart", "disconnect a server and connect it again", ("server",)),
            Sub("login", "log in to a server that asks for it", ("server",)),
            Sub("resources", "resources of one server, or of all; say @ to include one", ("server",)),
            Sub("prompts", "prompts of one server, or of all", ("server",)),
        ),
    ),
    Slash(
        name="prompt",
        summary="fill in a prompt of a server or of your own, and say it; also /SERVER:NAME",
        usage="[SERVER:]NAME [VALUE…] [argument=VALUE…]",
        group="conversation",
        arguments=("prompt", "text"),
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
        usage="list [--status RUNNING] | show ID | watch ID | wait ID | cancel ID",
        group="tools and servers",
        route=("executions",),
        default="list",
        subs=(
            Sub("list", "tool calls, latest first"),
            Sub("show", "one call, with its result", ("execution",)),
            Sub("watch", "watch it to its end, over restarts of the node", ("execution",)),
            Sub("wait", "wait for its end and give its result", ("execution",)),
            Sub("cancel", "stop it", ("execution",)),
        ),
        aliases=("tasks",),
    ),
    Slash(
        name="questions",
        summary="what tools wait for you to answer",
        usage="list | show ID | answer ID [--set FIELD=VALUE]… [--json OBJECT] [--accept|--decline|--cancel]",
        group="tools and servers",
        route=("questions",),
        default="list",
        subs=(
            Sub("list", "open questions of tools, oldest first"),
            Sub("show", "one question, with its fields", ("question",)),
            Sub("answer", "answer one; without more words it is asked of you", ("question",)),
        ),
    ),
    Slash(
        name="answer",
        summary="answer what a tool asks; the oldest question, or this one",
        usage="[ID]",
        group="tools and servers",
        arguments=("question",),
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
        name="task",
        summary="work for agents, each with what you hand to it and no more",
        usage="list | give GOAL [--grant URI]… [--from AGENT] [--max-cost USD] [--wait] | show ID | cancel ID",
        group="tools and servers",
        route=("task",),
        default="list",
        subs=(
            Sub("list", "tasks, latest first"),
            Sub("give", "have a new agent work on something", ("text",)),
            Sub("show", "one task, with its result", ("text",)),
            Sub("cancel", "end it with all that is below it", ("text",)),
        ),
    ),
    Slash(
        name="plan",
        summary="work laid out before any of it is done",
        usage="list | draft FILE | show ID | dry-run ID | approve ID [--stepwise] | go ID STEP | skip ID STEP | stop ID | cancel ID",
        group="tools and servers",
        route=("plan",),
        default="list",
        subs=(
            Sub("list", "plans, latest first"),
            Sub("draft", "lay out the plan in a file", ("text",)),
            Sub("show", "one plan, with what its steps do and need", ("text",)),
            Sub("dry-run", "what each step would meet now", ("text",)),
            Sub("approve", "let it be carried out", ("text",)),
            Sub("go", "say that it goes on", ("text",)),
            Sub("skip", "leave out the step it asks about", ("text",)),
            Sub("stop", "end a plan that asks", ("text",)),
            Sub("cancel", "end it", ("text",)),
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
STRATEGIES: Final = {
    "smart": "its older part is replaced by a summary",
    "sliding": "its older part is left out",
}
SWITCH: Final = {"on": "", "off": ""}


def groups() -> Iterable[tuple[str, list[Slash]]]:
    """Yield the groups of the registry in the order of `/help`."""
    for group in get_args(Group):
        yield group, [slash for slash in SLASHES if slash.group == group]


_ROUTED: Final = tuple(slash.name for slash in SLASHES if slash.route[:1] == (slash.name,))


def in_repl(remedy: str) -> str:
    """Write the shell's commands in a remedy as slash commands."""
    text = printable(remedy).replace("umbrella --resume ", "/resume ")
    for word in _ROUTED:
        text = text.replace(f"umbrella {word} ", f"/{word} ")
    return text


def stands_alone(slash: Slash) -> bool:
    """Whether a command can be sent without a word behind it."""
    return not slash.usage or slash.usage.startswith("[") or bool(slash.default)
