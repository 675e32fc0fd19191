"""Commands of the REPL itself, by name: what no command of the shell does.

Each takes the REPL and the words behind its name, and shows what came of it on the REPL's surface; what goes wrong
is raised as a typed error. `LOCAL` is the table that the REPL looks into.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcp_cli.commands.sessions import version_before, write
from mcp_cli.copying import block, last_answer
from mcp_cli.exporting import document, markdown, plain_lines, read_records, transcript_of
from mcp_cli.grammar import Mistake, Order, parse
from mcp_cli.keymap import KEYS
from mcp_cli.naming import find_session, latest_session, short
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, row
from mcp_cli.slashes import PROFILES, STRATEGIES, groups
from mcp_cli.staging import Pick, Stage, stage_of, switched
from mcp_cli.terminal import json_document
from mcp_cli.tuning import TUNING
from mcp_cli.untrusted import one_line
from mcp_interface.commands import ChangeSession, ForkSession, ResumeSession, SuspendSession
from mcp_interface.conversing import RetryTurn
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.events import UserMessage
from mcp_interface.session import Session
from mcp_interface.store import Record

if TYPE_CHECKING:
    from mcp_cli.repl import Repl

Words = tuple[str, ...]
FULL_SCREEN: Final = "open it without --plain, in a terminal"

# -- this screen -----------------------------------------------------------------------------------------


async def help_(repl: "Repl", words: Words) -> None:
    """`/help [COMMAND]`."""
    if words:
        _help_on(repl, words[0])
        return
    for group, slashes in groups():
        rows = [row(Cell(f"/{one.name}", "accent"), one.summary, Cell(one.usage, "dim")) for one in slashes]
        repl.face.show(Sheet(columns=("", "", ""), rows=rows, title=group))
    repl.face.show(keys_table("more on one of them: /help COMMAND"))
    repl.remind()


def keys_table(note: str = "") -> Facts:
    """What the keys do."""
    return Facts(pairs=[(key.label, Cell(key.text)) for key in KEYS], title="keys", note=note)


def _help_on(repl: "Repl", name: str) -> None:
    parsed = parse("/" + name.lstrip("/"))
    if isinstance(parsed, Mistake) or not isinstance(parsed, Order):
        raise CallerMistaken(f"there is no command {name!r}", "see /help")
    slash = parsed.slash
    lines = [(sub.name, Cell(sub.summary)) for sub in slash.subs]
    choices = {"profile": PROFILES, "strategy": STRATEGIES}.get(slash.name, {})
    lines += [(choice, Cell(text)) for choice, text in choices.items()]
    title = f"/{slash.name} {slash.usage}".rstrip()
    repl.face.show(Facts(pairs=lines, title=title, note=slash.summary))


async def quit_(repl: "Repl", words: Words) -> None:
    """`/quit`."""
    repl.face.leave()


async def clear(repl: "Repl", words: Words) -> None:
    """`/clear`."""
    repl.face.clear()


async def keys(repl: "Repl", words: Words) -> None:
    """`/keys`."""
    if isinstance(repl.face, Stage):
        repl.face.show_keys()
    else:
        repl.face.show(keys_table("of the full screen"))


async def theme(repl: "Repl", words: Words) -> None:
    """`/theme [NAME]`."""
    stage = stage_of(repl.face, "/theme", FULL_SCREEN)
    present, *others = stage.colours()
    if not words:
        pairs = [(present, Cell("these", "ok")), *((name, Cell("")) for name in sorted(others))]
        repl.face.show(Facts(pairs=pairs, title="colours", note="change them: /theme NAME"))
        return
    if words[0] not in {present, *others}:
        raise CallerMistaken(f"{words[0]!r} is not a theme", "list them: /theme")
    stage.paint(words[0])
    repl.state.change(theme=words[0])


async def mouse(repl: "Repl", words: Words) -> None:
    """`/mouse [on|off]`."""
    stage = stage_of(repl.face, "/mouse", "a terminal of lines has its mouse already")
    on = switched(words, repl.state.mouse)
    stage.take_mouse(on)
    repl.state.change(mouse=on)
    gone = "the mouse is the terminal's: it selects and scrolls as everywhere; keys scroll here"
    repl.face.show(
        Prose("the mouse works here; hold Shift to select with the terminal" if on else gone, "ok")
    )


async def notify(repl: "Repl", words: Words) -> None:
    """`/notify [on|off]`."""
    on = switched(words, repl.state.notify)
    repl.state.change(notify=on)
    told = "the bell rings when something waits for you and you look elsewhere, or a turn took long"
    repl.face.show(Prose(told if on else "the bell does not ring", "ok"))


# -- sessions --------------------------------------------------------------------------------------------


async def new(repl: "Repl", words: Words) -> None:
    """`/new`."""
    repl.face.opened()  # first: what it holds of the old session means nothing in the new one
    repl.attend(None)
    repl.face.show(Prose("a new session begins with your next message", "dim"))


async def resume(repl: "Repl", words: Words) -> None:
    """`/resume [ID]`."""
    if words:
        await repl.go_on(await find_session(await repl.attachment.client(), words[0]))
    elif repl.session_id is not None and repl.transcript.suspended:
        await repl.attachment.request(ResumeSession(session_id=repl.session_id))
    elif isinstance(repl.face, Stage):
        await repl.face.choose_session()
    else:
        await repl.go_on(await _another(repl))


async def _another(repl: "Repl") -> Session:
    """Return the latest session that is not the one on the screen."""
    latest = await latest_session(await repl.attachment.client())
    if latest.id == repl.session_id:
        raise NotFound("this is the latest session", "choose another: /sessions, then /resume ID")
    return latest


async def fork(repl: "Repl", words: Words) -> None:
    """`/fork [N]`."""
    session = await repl.session()
    version = None
    if words:
        records = await read_records(await repl.attachment.client(), session.id)
        version = version_before(records, _number(words[0], "/fork 1"))
    await repl.look_at(await repl.attachment.request(ForkSession(session_id=session.id, version=version)))


async def rewind(repl: "Repl", words: Words) -> None:
    """`/rewind [N]`: a copy that ends before one of the person's messages, and that message to be changed."""
    session = await repl.session()
    records = await read_records(await repl.attachment.client(), session.id)
    said = [record for record in records if isinstance(record.event, UserMessage)]
    if not said:
        raise NotFound("you have said nothing in this session", "say something first")
    chosen = await _message(repl, said, words)
    if chosen is None or not isinstance(chosen.event, UserMessage):
        return
    made = await repl.attachment.request(ForkSession(session_id=session.id, version=chosen.version - 1))
    await repl.look_at(made)
    text = chosen.event.text
    if isinstance(repl.face, Stage):
        repl.face.prefill(text)
    else:
        repl.face.show(Prose(f"you had said:\n{text}", "dim"))


async def _message(repl: "Repl", said: Sequence[Record], words: Words) -> Record | None:
    """The message that is meant: counted from the end, or chosen from a list."""
    if words:
        back = _number(words[0], "/rewind 1")
        if back > len(said):
            raise CallerMistaken(f"{back} messages back, but there are {len(said)}", "go back fewer")
        return said[-back]
    stage = stage_of(repl.face, "a list of your messages", "count back: /rewind 1")
    latest = [record for record in reversed(said) if isinstance(record.event, UserMessage)]
    picks = [
        Pick(
            key=str(record.version),
            label=one_line(record.event.text, 200),
            detail=f"{record.event.timestamp:%Y-%m-%d %H:%M}",
        )
        for record in latest
        if isinstance(record.event, UserMessage)
    ]
    key = await stage.choose("go back to before… (a copy is made; this session stays as it is)", picks)
    return next((record for record in said if str(record.version) == key), None)


async def rename(repl: "Repl", words: Words) -> None:
    """`/rename TITLE`."""
    session = await repl.session()
    if not words:
        raise CallerMistaken("which title?", "write for example /rename apples and pears")
    title = one_line(words[0], 200)
    await repl.attachment.request(ChangeSession(session_id=session.id, title=title))
    repl.face.show(Prose(f"this session is called {title}", "ok"))


async def suspend(repl: "Repl", words: Words) -> None:
    """`/suspend`."""
    session = await repl.session()
    await repl.attachment.request(SuspendSession(session_id=session.id))


# -- what was said ---------------------------------------------------------------------------------------


async def history(repl: "Repl", words: Words) -> None:
    """`/history [N]`."""
    count = _number(words[0], "/history 20") if words else 10
    text = plain_lines(repl.transcript, count).strip() if repl.transcript.blocks else ""
    repl.face.show(Prose(text or "nothing was said yet", "dim"))


async def export(repl: "Repl", words: Words) -> None:
    """`/export [md|json] [PATH]`."""
    kind = words[0] if words else "md"
    if kind not in {"md", "json"}:
        raise CallerMistaken(f"{kind!r} is not a format", "write /export md or /export json")
    session = await repl.session()
    records = await read_records(await repl.attachment.client(), session.id)
    path = Path(words[1] if len(words) > 1 else f"{short(session.id)}.{kind}").expanduser().absolute()
    as_json = kind == "json"
    text = json_document(document(session, records)) if as_json else markdown(session, transcript_of(records))
    write(path, text)
    repl.face.show(Prose(f"wrote {path}", "ok"))


async def copy(repl: "Repl", words: Words) -> None:
    """`/copy [last|N]`."""
    back = 0 if not words or words[0] == "last" else _number(words[0], "/copy 2")
    text = block(repl.transcript, back) if back else last_answer(repl.transcript)
    stage = stage_of(repl.face, "/copy", "show it: /history, or write it: /export")
    stage.copy(text)
    repl.face.show(Prose(f"copied {len(text):,} characters, if your terminal lets programs copy", "ok"))


async def retry(repl: "Repl", words: Words) -> None:
    """`/retry`."""
    session = await repl.session()
    await repl.attachment.request(RetryTurn(session_id=session.id))


async def cancel(repl: "Repl", words: Words) -> None:
    """`/cancel`."""
    if not await repl.stop_turn():
        repl.face.show(Prose("the assistant is idle", "dim"))


async def prompt(repl: "Repl", words: Words) -> None:
    """`/prompt NAME …`."""
    await repl.errands.prompt(words)


async def answer(repl: "Repl", words: Words) -> None:
    """`/answer [ID]`."""
    await repl.errands.answer(words, repl.questions)


def _number(word: str, example: str) -> int:
    if not word.isascii() or not word.isdigit() or not 0 < len(word) < 10 or int(word) < 1:
        raise CallerMistaken(f"{word[:40]!r} is not a number", f"write for example {example}")
    return int(word)


LOCAL: Final[Mapping[str, Callable[["Repl", Words], Awaitable[None]]]] = {
    "help": help_,
    "quit": quit_,
    "clear": clear,
    "keys": keys,
    "theme": theme,
    "mouse": mouse,
    "notify": notify,
    "new": new,
    "resume": resume,
    "fork": fork,
    "rewind": rewind,
    "rename": rename,
    "suspend": suspend,
    "history": history,
    "export": export,
    "copy": copy,
    "retry": retry,
    "cancel": cancel,
    "prompt": prompt,
    "answer": answer,
    **TUNING,
}
"""What does each of these slash commands."""
