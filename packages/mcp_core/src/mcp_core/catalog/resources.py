"""Resources of the catalog: put in, changed and taken away by their owners, found and read by whoever may.

What a person may not see does not exist for them: every way to it raises the error of what is not there. Text is kept
in the blob store whatever its length, so that no event, snapshot or list carries content.
"""

import hashlib
import mimetypes
import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from mcp_core.catalog.kept import Kept
from mcp_core.catalog.libraries import Libraries
from mcp_core.catalog.library import (
    RESULT,
    Library,
    add_item,
    change_item,
    delete_item,
    item_of,
    no_item,
    require_new,
    require_short,
)
from mcp_core.catalog.publishing import Publishing, meta_of
from mcp_core.catalog.search import missing, plain, words_of
from mcp_core.catalog.sources import UNKNOWN, Sources, contents, is_text
from mcp_interface.blob import BlobStore
from mcp_interface.catalog import MAX_CONTENT, Item
from mcp_interface.cataloging import ChangeItem, CountItems, CreateItem, ItemUri, ListItems
from mcp_interface.clock import Clock
from mcp_interface.codec import encode_disk
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, TooMuch
from mcp_interface.events import Event, ItemStored
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import Contents

MAX_RESULT: Final = 10 * 1024 * 1024
"""Bytes of a tool's result that is kept: as much as fits into a frame when it is read."""
MAX_PROPERTIES: Final = 16 * 1024
"""Bytes of an item's properties."""
LONGEST: Final = {"name": 200, "description": 10_000, "mime_type": 200, "source": 8_192}
"""Characters of the texts of an item."""
RESULT_TAG: Final = "result"
_MIME: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+( *; *[\w!#$&^.+-]+=(\"[^\"\\\x00-\x1f\x7f]*\"|[\w!#$&^.+-]+))*", re.ASCII)  # fmt: skip
_FIELDS: Final = ("name", "description", "mime_type", "source", "tags", "properties", "visibility")
_HOLDS: Final = {"text": "text", "upload": "blob", "file": "source", "url": "source"}
"""What an item of a kind is made of, by the field that says it."""


class Resources:
    """The resources of a node.

    Args:
        libraries: Who has what.
        blobs: Holds texts and uploads.
        sources: Reads files and URLs.
        clock: Stamps.
        publishing: Judges what becomes public.
        changed: Told of every URI that holds or says something else now, whose it is, and whether others could read
            it before or can now.
    """

    def __init__(
        self,
        libraries: Libraries,
        blobs: BlobStore,
        sources: Sources,
        clock: Clock,
        publishing: Publishing,
        changed: Callable[[Item, bool], None] = lambda _, __: None,
    ) -> None:
        self._publishing = publishing
        self._libraries = libraries
        self._kept = Kept(blobs, libraries.names)
        self._sources = sources
        self._clock = clock
        self._changed = changed

    async def create(self, who: PrincipalId, command: CreateItem) -> Item:
        """Add a resource to somebody's; durable when this returns.

        Raises:
            CallerMistaken: What it is made of does not fit its kind, or a field breaks its rule.
            LostRace: They have one of that URI.
            NotPermitted: They may not make it public.
            TooMuch: They have too many.
        """
        uri = command.uri or _usual_uri(who, command)
        if uri.startswith(RESULT):
            raise CallerMistaken(f"URIs that begin with {RESULT!r} name kept results", "choose another URI")
        _require_only(command, command.kind)
        held = _HOLDS[command.kind]
        if getattr(command, held) is None or (held == "source" and not command.source):
            raise CallerMistaken(f"a resource of kind {command.kind} needs {held!r}", "give it")
        now = self._clock.now()
        item = Item(
            uri=uri,
            owner_id=who,
            kind=command.kind,
            created_at=now,
            updated_at=now,
            **{field: getattr(command, field) for field in _FIELDS},
        )
        item = replace(item, mime_type=item.mime_type or _usual_type(item))
        self._check(item)
        require_new(self._libraries.of(who), item.uri)
        await self._publishing.require(who, item.uri, item.visibility)
        return await self._add(item, _data_of(command))

    async def change(self, who: PrincipalId, command: ChangeItem) -> Item:
        """Change one of somebody's resources; durable when this returns.

        Raises:
            CallerMistaken: A field does not fit the kind, or breaks its rule.
            NotFound: They have none of that URI.
            NotPermitted: They may not have it be public.
            TooMuch: It takes too much room then.
        """
        before = item_of(self._libraries.of(who), command.uri)
        _require_only(command, before.kind)
        if before.uri.startswith(RESULT) and command.blob is not None:
            raise CallerMistaken(f"{before.uri} names what it holds", "put other bytes in as a new resource")
        fields = {field: getattr(command, field) for field in _FIELDS}
        changes: dict[str, Any] = {field: value for field, value in fields.items() if value is not None}
        if changes.get("mime_type") == "":
            changes["mime_type"] = _usual_type(replace(before, **changes))
        after = replace(before, **changes)
        self._check(after)
        await self._publishing.require(who, after.uri, after.visibility)
        return await self._replace(before, changes, _data_of(command))

    async def delete(self, who: PrincipalId, uri: str) -> None:
        """Take away one of somebody's resources; durable when this returns.

        Raises:
            NotFound: They have none of that URI.
        """
        gone: list[Item] = []
        now = self._clock.now()

        def decide(state: Library) -> Sequence[Event]:
            gone[:] = [item_of(state, uri)]
            return delete_item(state, uri, who, now)

        await self._libraries.change(who, decide)
        await self._kept.drop(gone[0].sha256)
        self._changed(gone[0], gone[0].visibility == "public")

    async def keep_result(self, owner: PrincipalId, data: bytes, mime_type: str) -> str:
        """Keep what is too large for an event, for one person alone; the same bytes are kept once.

        Args:
            owner: Who may read it, and take it away.
            data: At most `MAX_RESULT` bytes.
            mime_type: What they are.

        Returns:
            Its URI, `blob:sha256:<hex>`, under which `read` gives it to its owner.

        Raises:
            TooMuch: It is too large, or they have too many.
            StorageUnavailable: The disk refused.
        """
        if len(data) > MAX_RESULT:
            raise TooMuch(
                f"a result of {len(data):,} bytes exceeds {MAX_RESULT:,}", "have the tool give less at once"
            )
        uri = f"{RESULT}sha256:{hashlib.sha256(data).hexdigest()}"
        if uri in self._libraries.of(owner).items:
            return uri
        now = self._clock.now()
        item = Item(
            uri=uri,
            owner_id=owner,
            kind="upload",
            name="result",
            mime_type=mime_type if len(mime_type) <= 200 and _MIME.fullmatch(mime_type) else UNKNOWN,
            tags=[RESULT_TAG],
            created_at=now,
            updated_at=now,
        )
        return (await self._add(item, data)).uri

    def get(self, who: PrincipalId, uri: str) -> Item:
        """A resource that somebody may read; of those with one URI their own, else that of the owner of the node, else the oldest public one.

        Where another person's resource comes from is not told: a path, or a URL that may hold a key.

        Raises:
            NotFound: There is none, or none for them.
        """
        return _shown(who, self._find(who, uri))

    def _find(self, who: PrincipalId, uri: str) -> Item:
        own = self._libraries.of(who).items.get(uri)
        if own is not None:
            return own
        public = [item for item in self._libraries.items(who) if item.uri == uri]
        if not public:
            raise no_item(uri)
        return min(public, key=lambda item: (self._rank(who, item), item.created_at, item.owner_id))

    def _rank(self, who: PrincipalId, item: Item) -> int:
        return self._publishing.rank(who, item.owner_id)

    async def read(self, who: PrincipalId, uri: str) -> Contents:
        """What a resource holds.

        Raises:
            NotFound: There is none, or none for them, or what is behind it is gone.
            UmbrellaError: As `Sources.read`; or what was kept is damaged.
        """
        item = self._find(who, uri)
        found = await self._held(item, who)
        return replace(found, meta={**found.meta, **meta_of(who, item.owner_id)})

    async def _held(self, item: Item, who: PrincipalId) -> Contents:
        if item.kind in ("file", "url"):
            return await self._sources.read(item, who)
        data = await self._bytes(item)
        if item.kind == "text":
            return Contents(uri=item.uri, mime_type=item.mime_type, text=data.decode())
        return contents(item.uri, item.mime_type, data)

    async def listed(self, who: PrincipalId, command: ListItems | CountItems) -> list[Item]:
        """What somebody may read and is looking for, latest change first; of one instant by `key`.

        Raises:
            CallerMistaken: The query is too long.
        """
        words, tags = words_of(command.query), set(command.tags)
        found = []
        for item in list(self._libraries.items(who)):
            if command.mine and item.owner_id != who:
                continue
            if command.kind not in (None, item.kind) or not tags <= set(item.tags):
                continue
            if not words or await self._has(item, words):
                found.append(item)
        # while texts were read, somebody may have taken one away, or kept it to themselves
        found = [item for item in found if self._libraries.of(item.owner_id).items.get(item.uri) == item]
        found.sort(key=lambda item: (item.updated_at, key(item)), reverse=True)
        return [_shown(who, item) for item in found]

    async def _has(self, item: Item, words: list[str]) -> bool:
        left = missing(words, plain("\n".join([item.uri, item.name, item.description, *item.tags])))
        if left and item.sha256 and (item.kind == "text" or is_text(item.mime_type)):
            left = missing(left, await self._kept.searchable(item.sha256))
        return not left

    async def _add(self, item: Item, data: bytes | None) -> Item:
        if data is None:
            await self._libraries.change(item.owner_id, lambda state: add_item(state, item))
        else:
            async with self._kept.keeping(data) as digest:
                item = replace(item, sha256=digest, size=len(data))
                await self._libraries.change(item.owner_id, lambda state: add_item(state, item))
        self._changed(item, item.visibility == "public")
        return item

    async def _replace(self, seen: Item, changes: dict[str, Any], data: bytes | None) -> Item:
        gone: list[Item] = []
        now = self._clock.now()

        def decide(state: Library) -> Sequence[Event]:
            gone[:] = [item_of(state, seen.uri)]
            return change_item(state, seen, changes, now)

        if data is None:
            happened = await self._libraries.change(seen.owner_id, decide)
        else:
            async with self._kept.keeping(data) as digest:
                changes |= {"sha256": digest, "size": len(data)}
                happened = await self._libraries.change(seen.owner_id, decide)
            await self._kept.drop(gone[0].sha256)
        item = next(event.item for event in happened if isinstance(event, ItemStored))
        self._changed(item, "public" in (item.visibility, gone[0].visibility))
        return item

    async def _bytes(self, item: Item) -> bytes:
        try:
            return await self._kept.get(item.sha256)
        except NotFound:
            if self._libraries.of(item.owner_id).items.get(item.uri) != item:
                raise no_item(item.uri) from None  # it was changed or taken away in this moment
            raise

    def _check(self, item: Item) -> None:
        """Refuse an item that breaks a rule of its fields.

        Raises:
            CallerMistaken: Naming the field and the rule.
        """
        for field, most in LONGEST.items():
            require_short(field, getattr(item, field), most)
        if not item.name.strip():
            raise CallerMistaken("a resource needs a name", "give it one")
        if item.mime_type and not _MIME.fullmatch(item.mime_type):
            raise CallerMistaken(f"{item.mime_type!r} is not a media type", "write for example text/markdown")
        try:
            size = len(encode_disk(item.properties))
        except InvalidRecord as error:
            raise CallerMistaken(f"properties: {error.message}", error.remedy) from error
        if size > MAX_PROPERTIES:
            raise CallerMistaken(
                f"properties of {size:,} bytes exceed {MAX_PROPERTIES:,}", "keep less in them"
            )
        if item.kind in ("file", "url"):
            self._sources.right(item.kind, item.source)


def key(item: Item) -> str:
    """What tells items of one instant apart; says nothing about them."""
    return hashlib.sha256(f"{item.owner_id} {item.uri}".encode()).hexdigest()[:24]


def _shown(who: PrincipalId, item: Item) -> Item:
    return item if item.owner_id == who or not item.source else replace(item, source="")


def _data_of(command: CreateItem | ChangeItem) -> bytes | None:
    """The bytes that a command brings, if any.

    Raises:
        CallerMistaken: They are too many, or the text is none.
    """
    data = command.blob
    if command.text is not None:
        try:
            data = command.text.encode()
        except UnicodeEncodeError as error:
            raise CallerMistaken("text holds half a surrogate pair", "send valid Unicode") from error
    if data is not None and len(data) > MAX_CONTENT:
        raise CallerMistaken(
            f"{len(data):,} bytes exceed {MAX_CONTENT:,}, the most that a resource holds", "divide it"
        )
    return data


def _require_only(command: CreateItem | ChangeItem, kind: str) -> None:
    for field, empty in (("text", None), ("blob", None), ("source", "")):
        if getattr(command, field) not in (None, empty) and field != _HOLDS[kind]:
            raise CallerMistaken(
                f"a resource of kind {kind} is made of {_HOLDS[kind]!r}, not of {field!r}", "leave that out"
            )


def _usual_uri(who: PrincipalId, command: CreateItem) -> str:
    """The URI of what was given none: no two people ever have the same but for the same file or page.

    Raises:
        CallerMistaken: None can be made of it.
    """
    match command.kind:
        case "url":
            uri = command.source
        case "file":
            uri = f"file://{quote(command.source)}"
        case "upload":
            uri = f"file:///{who}/{quote(command.name, safe='')}"
        case "text":
            uri = f"text:///{who}/{quote(command.name, safe='')}"
    try:
        return msgspec.convert(uri, ItemUri)
    except msgspec.ValidationError as error:
        raise CallerMistaken("no URI can be made of what it is made of", "give it one") from error


def _usual_type(item: Item) -> str:
    if item.kind == "text":
        return "text/plain"
    if item.kind == "upload":
        return mimetypes.guess_type(item.name, strict=False)[0] or UNKNOWN
    return ""
