"""Results that are too large are set aside whole."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.gateway.oversize import FIRST_PART, set_aside
from mcp_interface.codec import encode_json
from mcp_interface.errors import NotFound, TooMuch
from mcp_interface.testing import MemoryBlobs
from mcp_interface.tool import ToolResult, text_result


class Shelf(MemoryBlobs):
    """Keeps whole results and names them by their hash."""

    async def keep(self, whole: bytes, mime_type: str) -> str:
        return f"blob:{await self.put(whole)}"

    async def read(self, uri: str) -> bytes:
        return await self.get(uri.removeprefix("blob:"))


@given(st.lists(st.text(max_size=50), max_size=5), st.integers(1, 400))
def test_what_fits_stays_as_it_is_and_of_what_does_not_nothing_is_lost(texts, limit) -> None:
    result = ToolResult(content=[{"type": "text", "text": text} for text in texts])
    blobs = Shelf()

    async def work() -> None:
        after = await set_aside(result, blobs.keep, "fs/read", limit)
        if len(encode_json(result)) <= limit:
            assert after is result
            return
        link = after.content[0]
        assert link["type"] == "resource_link"
        whole = await blobs.read(link["uri"])
        assert whole.decode() == result.text
        assert link["size"] == len(whole)

    asyncio.run(work())


def test_the_reference_names_the_whole_and_shows_how_it_begins() -> None:
    blobs = Shelf()

    async def work() -> None:
        after = await set_aside(text_result("äb" * 100_000, is_error=True), blobs.keep, "fs/read", 1_000)
        link, note, first = after.content
        assert (link["name"], link["mimeType"], link["size"]) == ("fs/read result", "text/plain", 300_000)
        assert link["uri"] in note["text"]
        assert first["text"].startswith("äb")
        assert len(first["text"].encode()) <= FIRST_PART
        assert after.is_error
        with pytest.raises(NotFound):
            await blobs.get("0" * 64)

    asyncio.run(work())


def test_a_result_of_more_than_text_is_kept_in_the_form_of_the_wire() -> None:
    blobs = Shelf()
    image = {"type": "image", "data": "A" * 2_000, "mimeType": "image/png"}
    result = ToolResult(content=[image], structured={"n": 1}, meta={"m": 2})

    async def work() -> None:
        after = await set_aside(result, blobs.keep, "x/draw", 1_000)
        link = after.content[0]
        assert (link["mimeType"], after.structured, after.meta) == ("application/json", None, {"m": 2})
        whole = json.loads(await blobs.read(link["uri"]))
        told = {"content": [image], "isError": False, "structuredContent": {"n": 1}, "_meta": {"m": 2}}
        assert whole == told

    asyncio.run(work())


def test_a_result_that_nobody_keeps_is_cut_and_says_so() -> None:
    async def full(whole: bytes, mime_type: str) -> str:
        raise TooMuch("no room for results", "delete some")

    async def work() -> None:
        after = await set_aside(text_result("ä" * 100_000), full, "fs/read", 1_000)
        note, first = after.content
        assert "no room for results" in note["text"]
        assert first["text"].startswith("ä")

    asyncio.run(work())
