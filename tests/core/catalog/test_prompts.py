"""Prompts: every version kept, who sees which, files as prompts, and how often they are used."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.catalog.room import FRIEND, OWNER, STRANGER, Room, room
from mcp_core.catalog import library, prompt_files, uses
from mcp_interface.cataloging import (
    ChangePrompt,
    CountPrompts,
    CreatePrompt,
    DeletePrompt,
    GetStoredPrompt,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.client import OffersChanged
from mcp_interface.errors import CallerMistaken, LostRace, NotFound, StorageUnavailable, TooMuch, WrongState
from mcp_interface.offers import PromptArgument
from mcp_interface.reading import Complete


def in_a_room(work: Callable[[Room], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), room() as made:
            await work(made)

    asyncio.run(scenario())


def make(template: str = "Hello {{name}}", name: str = "greet", **more: Any) -> CreatePrompt:
    return CreatePrompt(name=name, template=template, **more)


async def text(made: Room, name: str = "greet", **values: str) -> str:
    found = await made.ask(OWNER, RenderPrompt(name=name, arguments=values))
    [message] = found.messages
    assert message.role == "user" and message.content["type"] == "text"
    return str(message.content["text"])


NAME = [PromptArgument(name="name", required=True)]


def test_every_version_stays_and_going_back_makes_a_new_one() -> None:
    async def work(made: Room) -> None:
        first = await made.ask(OWNER, make("one {{name}}", title="T", arguments=NAME, tags=["a"]))
        assert (first.version, first.warnings, first.owner_id) == (1, [], OWNER)
        made.clock.advance(1)
        second = await made.ask(OWNER, ChangePrompt(name="greet", template="two {{nome}}", tags=[]))
        assert (second.version, second.title, second.tags) == (2, "T", [])
        assert second.created_at == first.created_at < second.updated_at
        assert len(second.warnings) == 2
        renamed = await made.ask(OWNER, ChangePrompt(name="greet", title="U"))
        assert (renamed.template, renamed.title, renamed.tags) == ("two {{nome}}", "U", []), (
            "what is left out stays"
        )
        made.set_clock_back(60)
        third = await made.ask(OWNER, RevertPrompt(name="greet", version=1))
        assert third.updated_at == renamed.updated_at
        assert (third.version, third.template, third.tags, third.warnings) == (4, "one {{name}}", ["a"], [])
        page = await made.ask(OWNER, ListPromptVersions(name="greet", limit=2))
        assert [each.version for each in page.items] == [4, 3]
        rest = await made.ask(OWNER, ListPromptVersions(name="greet", limit=2, cursor=page.cursor))
        assert [each.version for each in rest.items] == [2, 1] and rest.cursor is None
        assert (await made.ask(OWNER, GetStoredPrompt(name="greet", version=2))).template == "two {{nome}}"
        old = await made.ask(OWNER, RenderPrompt(name="greet", version=2, arguments={"name": "x"}))
        assert old.messages[0].content["text"] == "two {{nome}}"
        for command in (RevertPrompt(name="greet", version=9), GetStoredPrompt(name="greet", version=9)):
            with pytest.raises(NotFound, match="version 9"):
                await made.ask(OWNER, command)
        await made.open()
        assert (await made.ask(OWNER, GetStoredPrompt(name="greet"))) == third
        await made.ask(OWNER, DeletePrompt(name="greet"))
        assert (await made.ask(OWNER, make("anew"))).version == 1

    in_a_room(work)


def test_a_change_against_another_version_is_a_lost_race() -> None:
    async def work(made: Room) -> None:
        await made.ask(OWNER, make())
        changes = [ChangePrompt(name="greet", title=str(n), expected_version=1) for n in range(4)]
        done = await asyncio.gather(*(made.ask(OWNER, each) for each in changes), return_exceptions=True)
        lost = [each for each in done if isinstance(each, LostRace)]
        assert len(lost) == 3
        assert lost[0].details == {"expected": 1, "actual": 2}
        assert len((await made.ask(OWNER, ListPromptVersions(name="greet"))).items) == 2

    in_a_room(work)


def test_what_was_private_stays_so_when_a_later_version_is_public() -> None:
    async def work(made: Room) -> None:
        await made.ask(OWNER, make("secret"))
        await made.ask(OWNER, ChangePrompt(name="greet", template="open", visibility="public"))
        page = await made.ask(FRIEND, ListPromptVersions(name="greet"))
        assert [(each.version, each.template) for each in page.items] == [(2, "open")]
        for command in (GetStoredPrompt(name="greet", version=1), RenderPrompt(name="greet", version=1)):
            with pytest.raises(NotFound):
                await made.ask(FRIEND, command)
        await made.ask(OWNER, ChangePrompt(name="greet", visibility="private"))
        reverted = await made.ask(OWNER, RevertPrompt(name="greet", version=2))
        assert (reverted.template, reverted.visibility) == ("open", "private"), "going back publishes nothing"
        with pytest.raises(NotFound):
            await made.ask(FRIEND, GetStoredPrompt(name="greet"))
        await made.ask(OWNER, ChangePrompt(name="greet", visibility="public"))
        assert [
            each.version for each in (await made.ask(FRIEND, ListPromptVersions(name="greet"))).items
        ] == [5, 2]

    in_a_room(work)


@pytest.mark.parametrize(
    "command",
    [
        make(" \n"),
        make(arguments=[PromptArgument(name="a b")]),
        make(arguments=[PromptArgument(name="a"), PromptArgument(name="a")]),
        make(arguments=[PromptArgument(name="a", default="x" * 10_001)]),
        make(arguments=[PromptArgument(name="a", description="\ud800")]),
        make(title="x" * 201),
        make(description="x" * 10_001),
        make("\ud800"),
    ],
)
def test_what_is_no_prompt_is_refused_and_nothing_stays(command: CreatePrompt) -> None:
    async def work(made: Room) -> None:
        with pytest.raises(CallerMistaken):
            await made.ask(OWNER, command)
        assert await made.ask(OWNER, CountPrompts()) == 0
        await made.ask(OWNER, make(name="other"))
        given = {"title": command.title, "description": command.description, "arguments": command.arguments}
        with pytest.raises(CallerMistaken):
            await made.ask(OWNER, ChangePrompt(name="other", template=command.template, **given))
        assert (await made.ask(OWNER, GetStoredPrompt(name="other"))).version == 1

    in_a_room(work)


def test_rendering_validates_and_counts_and_the_offering_agrees() -> None:
    async def work(made: Room) -> None:
        await made.ask(OWNER, make(arguments=NAME, description="d", visibility="public"))
        for who in (OWNER, FRIEND):
            with pytest.raises(CallerMistaken, match="name"):
                await made.ask(who, RenderPrompt(name="greet"))
            with pytest.raises(CallerMistaken, match="name"):
                await made.opened.offering.prompt(who, "greet", {})
        rendered = await made.opened.offering.prompt(FRIEND, "greet", {"name": "{{name}}", "more": "x"})
        assert (rendered.description, rendered.messages[0].content["text"]) == ("d", "Hello {{name}}")
        assert (await made.ask(OWNER, GetStoredPrompt(name="greet"))).uses == 1
        [info] = await made.opened.offering.prompts(FRIEND)
        assert (info.name, info.arguments) == ("greet", NAME)
        known = Complete(server="catalog", kind="prompt", name="greet", argument="name", value="x")
        assert (await made.opened.offering.complete(FRIEND, known)).values == []
        unknown = Complete(server="catalog", kind="prompt", name="greet", argument="nome")
        with pytest.raises(CallerMistaken):
            await made.opened.offering.complete(FRIEND, unknown)
        await made.ask(OWNER, ChangePrompt(name="greet", visibility="private"))
        with pytest.raises(NotFound):
            await made.opened.offering.complete(FRIEND, known)

    in_a_room(work)


def test_searched_prompts_come_by_use_others_by_their_latest_change() -> None:
    async def work(made: Room) -> None:
        for name, tags in (("alpha", ["x"]), ("beta", ["x", "y"]), ("gamma", [])):
            made.clock.advance(1)
            await made.ask(OWNER, make("t", name, tags=tags, description="Some words (here)"))
        for name, times in (("alpha", 3), ("gamma", 1)):
            for _ in range(times):
                await made.ask(OWNER, RenderPrompt(name=name))

        async def names(**more: Any) -> list[str]:
            found, cursor = [], None
            while True:
                page = await made.ask(OWNER, ListStoredPrompts(limit=1, cursor=cursor, **more))
                found += [each.name for each in page.items]
                assert all(each.template == "" for each in page.items)
                cursor = page.cursor
                if cursor is None:
                    assert await made.ask(OWNER, CountPrompts(**more)) == len(found)
                    return found

        assert await names() == ["gamma", "beta", "alpha"]
        assert await names(query="SOME (here)") == ["alpha", "gamma", "beta"]
        assert await names(query=".") == await names(query="some nothing") == []
        assert await names(tags=["x"]) == ["beta", "alpha"]
        assert await names(tags=["x", "y"], query="beta") == ["beta"]

    in_a_room(work)


def test_uses_are_written_down_now_and_then_and_at_the_end() -> None:
    async def work(made: Room) -> None:
        await made.ask(OWNER, make("t"))
        await made.ask(OWNER, make("t", "other"))
        for _ in range(3):
            await made.ask(OWNER, RenderPrompt(name="greet"))
        await made.open()  # a crash
        assert (await made.ask(OWNER, GetStoredPrompt(name="greet"))).uses == 0, "the last ones are lost"
        await made.ask(OWNER, RenderPrompt(name="greet"))
        made.clock.advance(uses.EVERY_S)
        await made.ask(OWNER, RenderPrompt(name="greet"))
        await made.open()
        assert (await made.ask(OWNER, GetStoredPrompt(name="greet"))).uses == 2
        await made.ask(OWNER, RenderPrompt(name="other"))
        await made.opened.close()
        await made.open()
        assert (await made.ask(OWNER, GetStoredPrompt(name="other"))).uses == 1
        await made.ask(OWNER, DeletePrompt(name="greet"))
        assert (await made.ask(OWNER, make("t"))).uses == 0

    in_a_room(work)


def test_uses_that_cannot_be_written_down_trouble_nobody() -> None:
    async def work(made: Room) -> None:
        await made.ask(OWNER, make("t"))

        async def refused(key: str, value: Any) -> None:
            raise StorageUnavailable("the disk is gone")

        made.store.put = refused  # type: ignore[method-assign]
        made.clock.advance(uses.EVERY_S)
        assert await text(made) == "t"
        await made.opened.close()

    in_a_room(work)


def test_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_PROMPTS", 2)
    monkeypatch.setattr(library, "MAX_VERSIONS", 3)

    async def work(made: Room) -> None:
        for name in ("a", "b"):
            await made.ask(OWNER, make(name=name))
        with pytest.raises(TooMuch, match="2 prompts"):
            await made.ask(OWNER, make(name="c"))
        await made.ask(FRIEND, make(name="c"))
        for _ in range(2):
            await made.ask(OWNER, ChangePrompt(name="a", title="t"))
        for command in (ChangePrompt(name="a", title="t"), RevertPrompt(name="a", version=1)):
            with pytest.raises(TooMuch, match="3 versions"):
                await made.ask(OWNER, command)
        await made.ask(OWNER, DeletePrompt(name="a"))
        weight = made.opened.prompts._libraries.of(OWNER).weight
        monkeypatch.setattr(library, "MAX_WEIGHT", weight + 50)
        with pytest.raises(TooMuch):
            await made.ask(OWNER, make("x" * 100, "a"))
        await made.ask(OWNER, DeletePrompt(name="b"))
        assert made.opened.prompts._libraries.of(OWNER).weight == 0

    in_a_room(work)


def test_changes_of_the_list_are_told() -> None:
    async def work(made: Room) -> None:
        shown, hidden = (
            ChangePrompt(name="greet", visibility="public"),
            ChangePrompt(name="greet", visibility="private"),
        )
        title, gone = ChangePrompt(name="greet", title="t"), DeletePrompt(name="greet")
        for command, public in (
            (make(), False),
            (title, False),
            (shown, True),
            (title, True),
            (hidden, True),
            (title, False),
            (shown, True),
            (gone, True),
        ):
            made.told.clear()
            await made.ask(OWNER, command)
            whose = None if public else OWNER
            assert made.told == [OffersChanged(server="catalog", kind="prompts", principal_id=whose)]

    in_a_room(work)


# -- files ---------------------------------------------------------------------------------------------------

REVIEW = """---
title: Review
description: Looks at a change.
arguments:
  - name: diff
    description: What changed.
    required: true
tags: [code]
visibility: {visibility}
allowed-tools: whatever others know
---

Review this:
{{{{diff}}}}
"""


def test_files_are_the_owners_prompts_and_changed_there_only() -> None:
    async def work(made: Room) -> None:
        file = made.folder / "review.md"
        file.write_text(REVIEW.format(visibility="private"))
        prompt = await made.ask(OWNER, GetStoredPrompt(name="review"))
        assert (prompt.title, prompt.tags, prompt.version) == ("Review", ["code"], 1)
        assert (prompt.source, prompt.template) == (str(file), "Review this:\n{{diff}}")
        assert [argument.name for argument in prompt.arguments] == ["diff"] and prompt.warnings == []
        assert await text(made, name="review", diff="+1") == "Review this:\n+1"
        assert (await made.ask(OWNER, GetStoredPrompt(name="review"))).uses == 1
        for command in (
            ChangePrompt(name="review", title="t"),
            RevertPrompt(name="review", version=1),
            DeletePrompt(name="review"),
        ):
            with pytest.raises(WrongState, match="is a file") as caught:
                await made.ask(OWNER, command)
            assert str(file) in caught.value.remedy
        with pytest.raises(LostRace):
            await made.ask(OWNER, make(name="review"))
        for who in (FRIEND, STRANGER):
            assert await made.ask(who, CountPrompts()) == 0
            for ask in (
                GetStoredPrompt(name="review"),
                RenderPrompt(name="review"),
                DeletePrompt(name="review"),
            ):
                with pytest.raises(NotFound):
                    await made.ask(who, ask)
        await made.ask(FRIEND, make("mine", name="review"))
        file.write_text(REVIEW.format(visibility="public"))
        os.utime(file, ns=(10**18, 10**18))
        assert await made.ask(STRANGER, CountPrompts()) == 1
        assert (await made.ask(FRIEND, GetStoredPrompt(name="review"))).template == "mine", "own first"
        file.unlink()
        assert await made.ask(OWNER, CountPrompts()) == 0

    in_a_room(work)


def test_a_stored_prompt_comes_before_a_file_of_its_name() -> None:
    async def work(made: Room) -> None:
        await made.ask(OWNER, make("stored", name="plain"))
        (made.folder / "plain.md").write_text("from a file")
        assert await text(made, name="plain") == "stored"
        assert await made.ask(OWNER, CountPrompts()) == 1
        assert (await made.ask(OWNER, ChangePrompt(name="plain", template="changed"))).version == 2
        await made.ask(OWNER, DeletePrompt(name="plain"))
        assert await text(made, name="plain") == "from a file"

    in_a_room(work)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"---\nname: a\n---\n",
        b"---\nname: [\n---\ntext",
        b"---\n- a\n---\ntext",
        b"---\nname: 'a b'\n---\ntext",
        b"---\narguments: [a]\n---\ntext",
        b"---\narguments: [{name: a}, {name: a}]\n---\ntext",
        b"---\nvisibility: everybody\n---\ntext",
        b"---\n!!python/object/apply:os.system ['true']\n---\ntext",
        b"---\na: &a [x, x]\nb: &b [*a, *a]\ntags: *b\n---\ntext",
        b"---\n" + b"[" * 2000 + b"\n---\ntext",
        b"---\ndescription: " + b"x" * 33_000 + b"\n---\ntext",
        b"---\n2026-99-99: 1\n---\ntext\xff",
        b"x" * (256 * 1024 + 1),
    ],
)
def test_a_file_that_is_no_prompt_is_passed_over_and_the_log_says_why(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(made: Room) -> None:
        (made.folder / "bad.md").write_bytes(content)
        (made.folder / "good.md").write_text("good")
        os.mkfifo(made.folder / "pipe.md")
        (made.folder / "no.txt").write_text("no prompt")
        with caplog.at_level(logging.WARNING):
            page = await made.ask(OWNER, ListStoredPrompts())
            await made.ask(OWNER, ListStoredPrompts())
        assert [each.name for each in page.items] == ["good"]
        told = [record for record in caplog.messages if "bad.md" in record]
        assert len(told) == 1, "once, until the file changes"

    in_a_room(work)


def test_of_two_files_with_one_name_the_first_counts_and_their_number_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_files, "MAX_FILES", 3)

    async def work(made: Room) -> None:
        for number in range(5):
            (made.folder / f"{number}.md").write_text(f"---\r\nname: n{number // 2}\r\n---\r\ntext {number}")
        assert await text(made, name="n0") == "text 0"
        assert await made.ask(OWNER, CountPrompts()) == 2

    in_a_room(work)
