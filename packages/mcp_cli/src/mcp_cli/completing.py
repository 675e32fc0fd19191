"""Ways to go on with what is being typed: commands, names of the node, prompts and their values, @-mentions. Pure.

What only the node knows while somebody types (`Complete`) is asked for by the screen: `wish` says what, `with_values`
turns the answer into completions.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from mcp_cli.slashes import BY_NAME, PROFILES, SLASHES, STRATEGIES, SWITCH, Kind, Slash, stands_alone
from mcp_cli.untrusted import one_line
from mcp_interface.offers import CATALOG, PromptInfo, ResourceTemplate, Suggestions
from mcp_interface.reading import Complete


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
    questions: Mapping[str, str] = {}
    executions: Mapping[str, str] = {}
    prompts: Mapping[str, PromptInfo] = {}
    """By `SERVER:NAME`, as `grammar.prompt_word` writes it."""
    resources: Mapping[str, str] = {}
    """By `SERVER:URI`."""
    families: Sequence[ResourceTemplate] = ()
    models: Mapping[str, str] = {}
    themes: Mapping[str, str] = {}


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
        return _names(name, known)
    slash = BY_NAME.get(name.lower())
    done, typed = _last_word(rest)
    head = line[: len(line) - len(typed)]
    prompt = _prompt(name, done, known)
    if prompt is not None:
        arguments = _arguments(prompt, done)
        return [Completion(f"{head}{text}=", f"{text}=", about) for text, about in _match(typed, arguments)][
            :MOST
        ]
    if slash is None:
        return []
    choices, close = _choices(slash, done, known)
    found = _match(typed, choices)
    return [Completion(head + text + (" " if close else ""), text, summary) for text, summary in found][:MOST]


def _names(typed: str, known: Known) -> list[Completion]:
    found = _match(typed.lower(), {slash.name: slash.summary for slash in SLASHES})
    own = [
        Completion(
            f"/{name}{' ' if BY_NAME[name].usage else ''}", f"/{name}", summary, stands_alone(BY_NAME[name])
        )
        for name, summary in found
    ]
    prompts = _match(typed, {name: _about(info) for name, info in known.prompts.items()})
    return own + [
        Completion(f"/{name} ", f"/{name}", about, not needed(known.prompts[name]))
        for name, about in prompts[:MOST]
    ]


def needed(info: PromptInfo) -> list[str]:
    """Arguments that a prompt cannot do without."""
    return [each.name for each in info.arguments if each.required and each.default is None]


def _about(info: PromptInfo) -> str:
    names = " ".join(each.name if each.required else f"[{each.name}]" for each in info.arguments)
    return one_line(" · ".join(filter(None, [info.title or info.description, names])), 100)


def _prompt(name: str, done: Sequence[str], known: Known) -> PromptInfo | None:
    """The prompt whose values are being typed."""
    if name.lower() != "prompt":
        return known.prompts.get(name)
    return known.prompts.get(done[0], known.prompts.get(f"{CATALOG}:{done[0]}")) if done else None


def _arguments(info: PromptInfo, done: Sequence[str]) -> Mapping[str, str]:
    given = {word.partition("=")[0] for word in done}
    return {
        each.name: one_line(("needed; " if each.required else "") + (each.title or each.description), 80)
        for each in info.arguments
        if each.name not in given
    }


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
        "question": known.questions,
        "execution": known.executions,
        "prompt": {name: _about(info) for name, info in known.prompts.items()},
        "profile": PROFILES,
        "model": known.models,
        "strategy": STRATEGIES,
        "switch": SWITCH,
        "theme": known.themes,
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


# -- @-mentions ------------------------------------------------------------------------------------------

_MENTION: Final = re.compile(r"(?<![\w@])@(?!@)([^\s\"]*|\"[^\"\n]*)\Z")
_VARIABLE: Final = re.compile(r"\{[?&/.;#+]?([A-Za-z0-9_]+)\*?\}")


def mentioned(text: str) -> str | None:
    """What is typed of the mention at the end of a text; None when there is none."""
    found = _MENTION.search(text)
    return None if found is None else found.group(1)


def complete_mention(text: str, known: Known, files: Mapping[str, str]) -> list[Completion]:
    """Ways to go on with a text that ends in a mention: resources, templates, files.

    Args:
        text: All that is typed, up to the cursor.
        known: Names of the node.
        files: Paths that begin like the mention, with a few words on each.
    """
    typed = mentioned(text)
    if typed is None:
        return []
    head = text[: len(text) - len(typed)]
    starts = {f"{one.server}:{before_variable(one.uri_template)}": _family(one) for one in known.families}
    found = _match(typed.removeprefix('"'), {**files, **known.resources, **starts})
    completions = []
    for name, about in found[:MOST]:
        goes_on = name in starts or name.endswith("/")
        word = f'"{name}' if " " in name else name
        ending = "" if goes_on else '" ' if " " in name else " "
        completions.append(Completion(f"{head}{word}{ending}", f"@{name}", about))
    return completions


def _family(template: ResourceTemplate) -> str:
    return one_line(f"{template.title or template.name} · {template.uri_template}", 80)


def before_variable(template: str) -> str:
    """The beginning of a template that is the same for the whole family."""
    found = _VARIABLE.search(template)
    return template if found is None else template[: found.start()]


# -- values that only the node knows ---------------------------------------------------------------------


def wish(text: str, known: Known) -> Complete | None:
    """What to ask the node for while this is typed; None when it knows no more than `Known`."""
    return _wish_of_prompt(text, known) if text.startswith("/") else _wish_of_template(text, known)


def _wish_of_prompt(text: str, known: Known) -> Complete | None:
    name, space, rest = text[1:].partition(" ")
    done, typed = _last_word(rest)
    info = _prompt(name, done, known) if space else None
    argument, mark, value = typed.partition("=")
    if info is None or not mark or argument not in {each.name for each in info.arguments}:
        return None
    given = dict(word.split("=", 1) for word in done if "=" in word)
    return Complete(
        server=info.server, kind="prompt", name=info.name, argument=argument, value=value, context=given
    )


def _wish_of_template(text: str, known: Known) -> Complete | None:
    typed = mentioned(text)
    if typed is None:
        return None
    for template in known.families:
        start = f"{template.server}:{before_variable(template.uri_template)}"
        variable = _VARIABLE.search(template.uri_template)
        if variable is None or not typed.startswith(start):
            continue
        return Complete(
            server=template.server,
            kind="template",
            name=template.uri_template,
            argument=variable.group(1),
            value=typed[len(start) :],
        )
    return None


def with_values(text: str, asked: Complete, found: Suggestions) -> list[Completion]:
    """The node's answer to a wish as ways to go on."""
    head = text[: len(text) - len(asked.value)] if asked.value else text
    ending = " "
    if asked.kind == "template":
        variable = _VARIABLE.search(asked.name)
        rest = asked.name[variable.end() :] if variable is not None else ""
        ending = before_variable(rest) + ("" if _VARIABLE.search(rest) else " ")
    return [
        Completion(
            f"{head}{_word(value) if asked.kind == 'prompt' else value}{ending}", value, asked.argument
        )
        for value in found.values[:MOST]
    ]


def _word(value: str) -> str:
    """A value as `shlex` reads it back; the name stands before it."""
    plain = re.fullmatch(r"[\w@%+=:,./-]+", value)
    return value if plain else "'" + value.replace("'", "'\"'\"'") + "'"
