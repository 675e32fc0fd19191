"""Puts what a message mentions behind it: text with a header that names its source; what is not text is only named.

Reading a resource is the node's affair and judged there; a file of this machine is read with the rights of whoever
types.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mcp_cli.interview import Node
from mcp_cli.mentions import Mention
from mcp_cli.presenters import size
from mcp_cli.untrusted import one_line
from mcp_interface.errors import TooMuch, WorldBroken
from mcp_interface.offers import Contents
from mcp_interface.reading import ReadResource

MOST_EACH: Final = 256 * 1024
"""Bytes of one thing that is included."""
MOST: Final = 900_000
"""Characters of a message with all that it includes; the node takes a million."""
MOST_MENTIONS: Final = 20
MOST_FILES: Final = 200
"""Paths that completion offers."""


async def included(text: str, mentions: Sequence[Mention], node: Node, folder: Path) -> str:
    """A message with what it mentions behind it.

    Raises:
        TooMuch: Something is larger than what is included, or all of it together is.
        UmbrellaError: Something cannot be read; nothing is sent then.
    """
    if len(mentions) > MOST_MENTIONS:
        raise TooMuch(f"the message mentions {len(mentions)} things", f"mention at most {MOST_MENTIONS}")
    parts = [text]
    for mention in mentions:
        if mention.server:
            held = await node.request(ReadResource(server=mention.server, uri=mention.name))
            parts += [_part(mention, contents) for contents in held]
        else:
            parts.append(_file(mention, folder))
    whole = "\n\n".join(parts)
    if len(whole) > MOST:
        raise TooMuch(
            f"the message with all that it includes has {len(whole):,} characters, more than {MOST:,}",
            "mention less, or let the assistant read it piece by piece",
        )
    return whole


def _part(mention: Mention, contents: Contents) -> str:
    name = (
        mention.word
        if contents.uri in {"", mention.name}
        else f"{mention.word} ({one_line(contents.uri, 200)})"
    )
    if contents.text is None:
        return _named(name, contents.mime_type, len(contents.blob or b""))
    _bounded(name, len(contents.text.encode("utf-8", "replace")))
    return section(name, contents.mime_type, contents.text)


def _file(mention: Mention, folder: Path) -> str:
    path = (folder / Path(mention.name).expanduser()).absolute()
    try:
        length = path.stat().st_size
        _bounded(mention.word, length)
        data = path.read_bytes()
    except OSError as error:
        raise WorldBroken(
            f"{mention.word} cannot be read: {error.strerror}", "mention another file"
        ) from error
    _bounded(mention.word, len(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _named(mention.word, "", len(data))
    return _named(mention.word, "", len(data)) if "\0" in text else section(mention.word, "", text)


def _bounded(name: str, length: int) -> None:
    if length > MOST_EACH:
        raise TooMuch(
            f"{name} has {size(length)}, more than the {size(MOST_EACH)} that are included",
            "let the assistant read the part that matters",
        )


def section(name: str, mime_type: str, text: str) -> str:
    """Text under a header that names its source, in a fence that the text cannot end itself."""
    longest = run = 0
    for letter in text:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    kind = f"{one_line(mime_type, 80)}, " if mime_type else ""
    return f"From {one_line(name)} ({kind}{size(len(text.encode('utf-8', 'replace')))}):\n{fence}\n{text}\n{fence}"


def _named(name: str, mime_type: str, length: int) -> str:
    kind = f"{one_line(mime_type, 80)}, " if mime_type else ""
    return f"({one_line(name)} is not text and not included: {kind}{size(length)})"


def is_file(name: str, folder: Path) -> bool:
    """Whether a name is that of a file, seen from a folder."""
    try:
        return (folder / Path(name).expanduser()).is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, a home that nobody has
        return False


def files_like(typed: str, folder: Path) -> dict[str, str]:
    """Paths that begin as typed, folders with a slash behind them; hidden ones only when a dot is typed."""
    if ":" in typed:
        return {}
    above, slash, begun = typed.rpartition("/")
    try:
        place = folder / Path(above + slash).expanduser()
        entries = sorted(place.iterdir())
    except (OSError, ValueError, RuntimeError):
        return {}
    found: dict[str, str] = {}
    for entry in entries:
        if entry.name.startswith(".") and not begun.startswith("."):
            continue
        if not entry.name.lower().startswith(begun.lower()):
            continue
        is_folder = entry.is_dir()
        found[f"{above}{slash}{entry.name}{'/' if is_folder else ''}"] = "folder" if is_folder else "file"
        if len(found) >= MOST_FILES:
            break
    return found
