"""What one person has in the catalog, and what may become of it: the state of a stream `catalog:<owner>`. Pure.

Each decision looks at the state and gives the events, or raises. A person's things are looked for among theirs alone:
what somebody else owns is not there, public or not, for whoever wants to change it.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from mcp_core.catalog import rendering
from mcp_interface.catalog import Item, Prompt
from mcp_interface.clock import Instant
from mcp_interface.codec import encode_disk
from mcp_interface.errors import CallerMistaken, LostRace, NotFound, TooMuch
from mcp_interface.events import Event, ItemDeleted, ItemStored, PromptDeleted, PromptStored
from mcp_interface.ids import PrincipalId
from mcp_interface.store import Record

MAX_ITEMS: Final = 10_000
MAX_RESULTS: Final = 10_000
"""Kept results of tools, apart from what the person has put in."""
MAX_PROMPTS: Final = 1_000
MAX_VERSIONS: Final = 1_000
MAX_WEIGHT: Final = 64 * 1024 * 1024
"""Bytes of all records of one person together, templates included; what resources hold is kept elsewhere."""
RESULT: Final = "blob:"
"""Begins the URI of what was not put in by a person: `blob:sha256:<hex>`."""


class Library(msgspec.Struct):
    """What one person has."""

    items: dict[str, Item] = {}
    """By URI."""
    prompts: dict[str, list[Prompt]] = {}
    """All versions by name, oldest first; never empty."""
    weight: int = 0
    """Bytes of all these records."""


def apply(state: Library, record: Record) -> None:
    """Move on by one record."""
    take(state, record.event)


def take(state: Library, event: Event) -> None:
    """Move on by one event."""
    match event:
        case ItemStored(item=item):
            state.weight += _weight(item) - _weight(state.items.get(item.uri))
            state.items[item.uri] = item
        case ItemDeleted(uri=uri):
            state.weight -= _weight(state.items.pop(uri, None))
        case PromptStored(prompt=prompt):
            state.weight += _weight(prompt)
            state.prompts.setdefault(prompt.name, []).append(prompt)
        case PromptDeleted(name=name):
            state.weight -= sum(_weight(each) for each in state.prompts.pop(name, []))


# -- resources -------------------------------------------------------------------------------------------


def item_of(state: Library, uri: str) -> Item:
    """A resource that this person has.

    Raises:
        NotFound: They have none of that URI.
    """
    found = state.items.get(uri)
    if found is None:
        raise no_item(uri)
    return found


def no_item(uri: str) -> NotFound:
    """The one error for what is not there and for what somebody may not know of."""
    return NotFound(f"no resource {uri[:200]!r}", "list them: umbrella resource list")


def require_new(state: Library, uri: str) -> None:
    """Return if a person has nothing of that URI.

    Raises:
        LostRace: They have.
    """
    if uri in state.items:
        raise LostRace(
            f"you have a resource {uri[:200]!r} already",
            "change that one, or choose another URI",
            {"uri": uri},
        )


def add_item(state: Library, item: Item) -> Sequence[Event]:
    """Add a resource.

    Raises:
        LostRace: There is one of that URI.
        TooMuch: There are too many, or they take too much room.
    """
    require_new(state, item.uri)
    is_result = item.uri.startswith(RESULT)
    alike = sum(uri.startswith(RESULT) == is_result for uri in state.items)
    most = MAX_RESULTS if is_result else MAX_ITEMS
    if alike >= most:
        kind = "kept results" if is_result else "resources"
        raise TooMuch(f"you have {most} {kind} already", "delete what you no longer need")
    return [_fitting(state, ItemStored(timestamp=item.updated_at, item=item, by=item.owner_id))]


def change_item(state: Library, seen: Item, changes: dict[str, Any], now: Instant) -> Sequence[Event]:
    """Change a resource.

    Args:
        state: What the person has.
        seen: The resource as it was when the changes were checked; of what else has changed since, all stays.
        changes: Fields that differ.
        now: When.

    Raises:
        NotFound: There is none.
        LostRace: There is another one of that URI.
        TooMuch: It takes too much room then.
    """
    before = item_of(state, seen.uri)
    if (before.kind, before.created_at) != (seen.kind, seen.created_at):
        raise LostRace(f"{seen.uri[:200]!r} is another resource by now", "look at it, then decide again")
    item: Item = replace(before, **changes, updated_at=max(now, before.updated_at))
    return [_fitting(state, ItemStored(timestamp=now, item=item, by=item.owner_id))]


def delete_item(state: Library, uri: str, by: PrincipalId, now: Instant) -> Sequence[Event]:
    """Take a resource away.

    Raises:
        NotFound: There is none.
    """
    item_of(state, uri)
    return [ItemDeleted(timestamp=now, uri=uri, by=by)]


# -- prompts ---------------------------------------------------------------------------------------------


def versions_of(state: Library, name: str) -> Sequence[Prompt]:
    """Every version of a prompt that this person has, oldest first.

    Raises:
        NotFound: They have none of that name.
    """
    found = state.prompts.get(name)
    if found is None:
        raise no_prompt(name)
    return found


def no_prompt(name: str) -> NotFound:
    """The one error for what is not there and for what somebody may not know of."""
    return NotFound(f"no prompt {name[:100]!r}", "list them: umbrella prompt list")


def version_of(versions: Sequence[Prompt], number: int | None) -> Prompt:
    """One version; None is the newest.

    Raises:
        NotFound: There is none of that number.
    """
    if number is None and versions:
        return versions[-1]
    for each in versions:
        if each.version == number:
            return each
    name = versions[-1].name if versions else ""
    raise NotFound(f"prompt {name!r} has no version {number}", f"see: umbrella prompt versions {name}")


def add_prompt(state: Library, prompt: Prompt) -> Sequence[Event]:
    """Add a prompt.

    Raises:
        CallerMistaken: It is none.
        LostRace: There is one of that name.
        TooMuch: There are too many, or they take too much room.
    """
    if prompt.name in state.prompts:
        raise LostRace(
            f"you have a prompt {prompt.name!r} already", "change that one, or choose another name", {"name": prompt.name}
        )  # fmt: skip
    if len(state.prompts) >= MAX_PROMPTS:
        raise TooMuch(f"you have {MAX_PROMPTS} prompts already", "delete what you no longer need")
    return [_stored(state, prompt)]


def change_prompt(
    state: Library, name: str, changes: dict[str, Any], now: Instant, expected: int | None = None
) -> Sequence[Event]:
    """Make a new version of a prompt.

    Args:
        state: What the person has.
        name: Of the prompt.
        changes: Fields of the new version that differ from the newest.
        now: When.
        expected: The version that whoever changes it has seen; None takes what there is.

    Raises:
        CallerMistaken: It is no prompt any more.
        NotFound: There is none.
        LostRace: The newest version is not the one that was expected.
        TooMuch: There are too many versions, or they take too much room.
    """
    versions = versions_of(state, name)
    newest = versions[-1]
    if expected is not None and newest.version != expected:
        raise LostRace(
            f"prompt {name!r} is at version {newest.version}, not {expected}",
            "look at what changed, then decide again",
            {"expected": expected, "actual": newest.version},
        )
    if len(versions) >= MAX_VERSIONS:
        raise TooMuch(f"prompt {name!r} has {MAX_VERSIONS} versions already", "delete it, and create it anew")
    later = max(now, newest.updated_at)
    prompt: Prompt = replace(newest, **{**changes, "version": newest.version + 1, "updated_at": later})
    return [_stored(state, prompt)]


def revert_prompt(state: Library, name: str, number: int, now: Instant) -> Sequence[Event]:
    """Make what an earlier version was the newest one; who may read it stays as it is now.

    Raises:
        NotFound: There is no such prompt or version.
        TooMuch: As `change_prompt`.
    """
    old = version_of(versions_of(state, name), number)
    kept = ("template", "title", "description", "arguments", "tags")
    return change_prompt(state, name, {field: getattr(old, field) for field in kept}, now)


def delete_prompt(state: Library, name: str, by: PrincipalId, now: Instant) -> Sequence[Event]:
    """Take a prompt away, with all its versions.

    Raises:
        NotFound: There is none.
    """
    versions_of(state, name)
    return [PromptDeleted(timestamp=now, name=name, by=by)]


def _stored(state: Library, prompt: Prompt) -> Event:
    rendering.check(prompt.template, prompt.arguments)
    warned: Prompt = replace(prompt, warnings=rendering.warnings(prompt.template, prompt.arguments))
    return _fitting(state, PromptStored(timestamp=warned.updated_at, prompt=warned, by=warned.owner_id))


def _fitting(state: Library, event: Event) -> Event:
    """The event, if there is room for what it brings.

    Raises:
        TooMuch: There is not.
    """
    match event:
        case ItemStored(item=item):
            more = _weight(item) - _weight(state.items.get(item.uri))
        case PromptStored(prompt=prompt):
            more = _weight(prompt)
        case _:
            more = 0
    if more > 0 and state.weight + more > MAX_WEIGHT:
        raise TooMuch(
            f"your part of the catalog would exceed {MAX_WEIGHT:,} bytes", "delete what you no longer need"
        )
    return event


class Room(msgspec.Struct, frozen=True):
    """How much one person may have."""

    items: int
    """Resources and kept results."""
    prompts: int
    size: int
    """Bytes of all that is kept: records, templates, and what resources hold."""


SHARE: Final = Room(items=1_000, prompts=200, size=64 * 1024 * 1024)
"""Of one person who is not the owner of the node."""


def require_room(state: Library, events: Sequence[Event], who: PrincipalId, room: Room) -> None:
    """Return if what happens leaves somebody within their room, or makes it no worse.

    Raises:
        TooMuch: It does not; names the bound.
    """
    items, prompts, size = len(state.items), len(state.prompts), _size(state)
    more = 0
    for event in events:
        match event:
            case ItemStored(item=item):
                before = state.items.get(item.uri)
                items += before is None
                more += _weight(item) - _weight(before) + (item.size or 0) - ((before and before.size) or 0)
            case PromptStored(prompt=prompt):
                prompts += prompt.name not in state.prompts
                more += _weight(prompt)
    for bound, had, has, most in (
        ("catalog_items", len(state.items), items, room.items),
        ("catalog_prompts", len(state.prompts), prompts, room.prompts),
        ("catalog_bytes", size, size + more, room.size),
    ):
        if has > most and has > had:
            raise TooMuch(
                f"{who} would have {has:,} {bound.replace('_', ' ')}; others than the node's owner have at most "
                f"{most:,}",
                "delete what you no longer need",
                {"bound": bound, "most": most},
            )


def _size(state: Library) -> int:
    return state.weight + sum(item.size or 0 for item in state.items.values())


def _weight(thing: Item | Prompt | None) -> int:
    return 0 if thing is None else len(encode_disk(thing))


def require_short(field: str, text: str, most: int) -> None:
    """Refuse a text that is too long for a field, or no text at all.

    Raises:
        CallerMistaken: Naming the field and the rule.
    """
    if len(text) > most:
        raise CallerMistaken(f"{field} has {len(text):,} characters, at most {most:,} are kept", "shorten it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CallerMistaken(f"{field} holds half a surrogate pair", "send valid Unicode") from error
