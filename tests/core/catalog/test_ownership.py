"""A stranger never sees anything private, on any path: three people at work, against a simple model."""

import asyncio
import os
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.catalog.room import FRIEND, OWNER, STRANGER, Room
from mcp_interface.cataloging import (
    ChangeItem,
    ChangePrompt,
    CountItems,
    CountPrompts,
    CreateItem,
    CreatePrompt,
    DeleteItem,
    DeletePrompt,
    GetItem,
    GetStoredPrompt,
    ListItems,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.codec import encode_json
from mcp_interface.errors import LostRace, NotFound, UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.reading import Complete

EXAMPLES = 200 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 20
PEOPLE = (OWNER, FRIEND, STRANGER)
WHO = st.sampled_from(PEOPLE)
URIS = ("note:a", "note:b")
NAMES = ("ask", "tell")
URI = st.sampled_from(URIS)
NAME = st.sampled_from(NAMES)
VISIBILITY = st.sampled_from(["private", "public"])
MARK = "secretof"
"""Begins every text, so that each can be told from all others: `secretof<person><number>`."""


class Thing(msgspec.Struct):
    """A resource or one prompt of the model; versions oldest first."""

    versions: list[tuple[str, str]]
    """Text and visibility."""
    since: int

    @property
    def text(self) -> str:
        return self.versions[-1][0]

    @property
    def visibility(self) -> str:
        return self.versions[-1][1]


Shelf = dict[tuple[PrincipalId, str], Thing]


class Ownership(RuleBasedStateMachine):
    """Whatever is done by whomever, everybody sees what is theirs and what is public, and nothing else."""

    loop: ClassVar[asyncio.AbstractEventLoop]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.room = Room(Path("no such folder"))
        self.run(self.room.open())
        self.items: Shelf = {}
        self.prompts: Shelf = {}
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def ask(self, who: PrincipalId, command: Any) -> Any:
        return self.run(self.room.ask(who, command))

    def refusal(self, who: PrincipalId, command: Any) -> UmbrellaError:
        try:
            self.ask(who, command)
        except UmbrellaError as error:
            return error
        raise AssertionError(f"{command} should be refused to {who}")

    def fresh(self, who: PrincipalId) -> str:
        """A text that says whose it is, and passes on the clock, so that times differ."""
        self.number += 1
        self.room.clock.advance(1)
        return f"{MARK}{PEOPLE.index(who)}x{self.number}y"

    # -- resources ---------------------------------------------------------------------------------------

    @rule(who=WHO, uri=URI, visibility=VISIBILITY)
    def create_item(self, who: PrincipalId, uri: str, visibility: Any) -> None:
        text = self.fresh(who)
        command = CreateItem(uri=uri, kind="text", name=text, text=text, tags=[text], visibility=visibility)
        if (who, uri) in self.items:
            assert isinstance(self.refusal(who, command), LostRace)
            return
        assert self.ask(who, command).owner_id == who
        self.items[who, uri] = Thing([(text, visibility)], self.number)

    @rule(who=WHO, uri=URI, visibility=st.none() | VISIBILITY)
    def change_item(self, who: PrincipalId, uri: str, visibility: Any) -> None:
        text = self.fresh(who)
        command = ChangeItem(uri=uri, name=text, text=text, tags=[text], visibility=visibility)
        mine = self.items.get((who, uri))
        if mine is None:
            self.nothing_there(self.refusal(who, command), uri)
            return
        self.ask(who, command)
        mine.versions = [(text, visibility or mine.visibility)]

    @rule(who=WHO, uri=URI)
    def delete_item(self, who: PrincipalId, uri: str) -> None:
        if self.items.pop((who, uri), None) is None:
            self.nothing_there(self.refusal(who, DeleteItem(uri=uri)), uri)
        else:
            self.ask(who, DeleteItem(uri=uri))

    # -- prompts -----------------------------------------------------------------------------------------

    @rule(who=WHO, name=NAME, visibility=VISIBILITY)
    def create_prompt(self, who: PrincipalId, name: str, visibility: Any) -> None:
        text = self.fresh(who)
        command = CreatePrompt(name=name, template=text, description=text, visibility=visibility)
        if (who, name) in self.prompts:
            assert isinstance(self.refusal(who, command), LostRace)
            return
        assert self.ask(who, command).version == 1
        self.prompts[who, name] = Thing([(text, visibility)], self.number)

    @rule(who=WHO, name=NAME, visibility=st.none() | VISIBILITY)
    def change_prompt(self, who: PrincipalId, name: str, visibility: Any) -> None:
        text = self.fresh(who)
        mine = self.prompts.get((who, name))
        command = ChangePrompt(name=name, template=text, description=text, visibility=visibility)
        if mine is None:
            self.nothing_there(self.refusal(who, command), name)
            return
        stale = msgspec.structs.replace(command, expected_version=len(mine.versions) + 1)
        assert isinstance(self.refusal(who, stale), LostRace)
        self.ask(who, msgspec.structs.replace(command, expected_version=len(mine.versions)))
        mine.versions.append((text, visibility or mine.visibility))

    @rule(who=WHO, name=NAME, number=st.integers(1, 5))
    def revert_prompt(self, who: PrincipalId, name: str, number: int) -> None:
        self.room.clock.advance(1)
        mine = self.prompts.get((who, name))
        command = RevertPrompt(name=name, version=number)
        if mine is None or number > len(mine.versions):
            self.nothing_there(self.refusal(who, command), name)
            return
        self.ask(who, command)
        mine.versions.append((mine.versions[number - 1][0], mine.visibility))

    @rule(who=WHO, name=NAME)
    def delete_prompt(self, who: PrincipalId, name: str) -> None:
        if self.prompts.pop((who, name), None) is None:
            self.nothing_there(self.refusal(who, DeletePrompt(name=name)), name)
        else:
            self.ask(who, DeletePrompt(name=name))

    @rule()
    def open_again(self) -> None:
        """As after a crash: what was acknowledged is there."""
        self.run(self.room.open())

    # -- what everybody sees -----------------------------------------------------------------------------

    def nothing_there(self, error: UmbrellaError, name: str) -> None:
        """The error of what is not there names what was asked for, and says nothing of what others have."""
        assert isinstance(error, NotFound)
        assert name in error.message
        assert MARK not in str(error.body())

    def seen(self, shelf: Shelf, who: PrincipalId) -> dict[tuple[PrincipalId, str], Thing]:
        return {key: thing for key, thing in shelf.items() if key[0] == who or thing.visibility == "public"}

    def found(self, shelf: Shelf, who: PrincipalId, name: str) -> tuple[PrincipalId, Thing] | None:
        """Own first, then that of the owner of the node, then the oldest public one."""
        if (who, name) in shelf:
            return who, shelf[who, name]
        public = [
            (owner != OWNER, thing.since, owner, thing)
            for (owner, key), thing in self.seen(shelf, who).items()
            if key == name
        ]
        return min(public)[2:] if public else None

    def history(self, who: PrincipalId, owner: PrincipalId, thing: Thing) -> list[tuple[int, str]]:
        numbered = enumerate(thing.versions, start=1)
        return [(n, text) for n, (text, seen) in numbered if who == owner or seen == "public"]

    def may_not_show(self, who: PrincipalId, answer: Any) -> None:
        """Nothing of an answer holds a text that this person may not read."""
        told = encode_json(answer).decode()
        texts: set[str] = set()
        for (owner, _), thing in self.items.items():
            if owner == who or thing.visibility == "public":
                texts.add(thing.text)
        for (owner, _), thing in self.prompts.items():
            if owner == who or thing.visibility == "public":
                texts |= {text for _, text in self.history(who, owner, thing)}
        for part in told.split(MARK)[1:]:
            assert MARK + part.partition("y")[0] + "y" in texts, f"{who} was shown {part[:20]} in {told}"

    @invariant()
    def everybody_sees_their_own_and_what_is_public(self) -> None:
        if not hasattr(self, "room"):
            return
        for who in PEOPLE:
            self.check_items(who)
            self.check_prompts(who)

    def offered(self, things: Any, who: PrincipalId, keys: Any) -> list[Any]:
        """What is listed: own ones first, then those of the owner of the node, then others', each by its key."""
        found = [(key, one) for key in sorted(keys) if (one := self.found(things, who, key)) is not None]
        found.sort(key=lambda each: (each[1][0] != who, each[1][0] != OWNER))
        return [(key, one[1].text, {} if one[0] == who else {"umbrella/owner": one[0]}) for key, one in found]

    def check_items(self, who: PrincipalId) -> None:
        seen = self.seen(self.items, who)
        page = self.ask(who, ListItems())
        assert {(item.owner_id, item.uri): item.name for item in page.items} == {
            key: thing.text for key, thing in seen.items()
        }
        self.may_not_show(who, page)
        assert self.ask(who, CountItems()) == len(seen)
        assert self.ask(who, CountItems(mine=True)) == sum(owner == who for owner, _ in self.items)
        for (owner, _), thing in self.items.items():
            visible = owner == who or thing.visibility == "public"
            for query in (thing.text, thing.text[3:].upper()):
                hits = self.ask(who, ListItems(query=query)).items
                assert [item.name for item in hits] == ([thing.text] if visible else [])
                assert self.ask(who, CountItems(query=query)) == visible
            assert self.ask(who, CountItems(tags=[thing.text])) == visible
        for uri in URIS:
            self.check_item(who, uri)
        offered = self.run(self.room.opened.offering.resources(who))
        assert [(one.uri, one.name, one.meta) for one in offered] == self.offered(self.items, who, URIS)
        uris = self.run(
            self.room.opened.offering.complete(
                who, Complete(server="catalog", kind="template", name="", argument="uri", value="note:")
            )
        )
        assert uris.values == sorted({uri for _, uri in seen})

    def check_item(self, who: PrincipalId, uri: str) -> None:
        found = self.found(self.items, who, uri)
        offering = self.room.opened.offering
        if found is None:
            self.nothing_there(self.refusal(who, GetItem(uri=uri)), uri)
            for way in (offering.read, offering.watch):
                try:
                    self.run(way(who, uri))
                except UmbrellaError as error:
                    self.nothing_there(error, uri)
                else:
                    raise AssertionError(f"{who} can {way.__name__} {uri}")
            return
        owner, thing = found
        item = self.ask(who, GetItem(uri=uri))
        assert (item.owner_id, item.name) == (owner, thing.text)
        assert self.run(self.room.read(who, uri)) == thing.text

    def check_prompts(self, who: PrincipalId) -> None:
        seen = self.seen(self.prompts, who)
        page = self.ask(who, ListStoredPrompts())
        assert {(each.owner_id, each.name): each.description for each in page.items} == {
            key: thing.text for key, thing in seen.items()
        }
        assert all(each.template == "" for each in page.items)
        self.may_not_show(who, page)
        assert self.ask(who, CountPrompts()) == len(seen)
        assert self.ask(who, CountPrompts(mine=True)) == sum(owner == who for owner, _ in self.prompts)
        for (owner, _), thing in self.prompts.items():
            visible = owner == who or thing.visibility == "public"
            assert self.ask(who, CountPrompts(query=thing.text)) >= visible
            hits = self.ask(who, ListStoredPrompts(query=thing.text)).items
            assert all((each.owner_id, each.name) in seen for each in hits)
        offered = self.run(self.room.opened.offering.prompts(who))
        assert [(one.name, one.description, one.meta) for one in offered] == self.offered(
            self.prompts, who, NAMES
        )
        for name in NAMES:
            self.check_prompt(who, name)

    def check_prompt(self, who: PrincipalId, name: str) -> None:
        found = self.found(self.prompts, who, name)
        ways = (GetStoredPrompt(name=name), RenderPrompt(name=name), ListPromptVersions(name=name))
        if found is None:
            for command in (*ways, GetStoredPrompt(name=name, version=1)):
                self.nothing_there(self.refusal(who, command), name)
            return
        owner, thing = found
        prompt = self.ask(who, ways[0])
        assert (prompt.owner_id, prompt.template, prompt.version) == (owner, thing.text, len(thing.versions))
        assert self.ask(who, ways[1]).messages[0].content["text"] == thing.text
        history = self.history(who, owner, thing)
        versions = self.ask(who, ways[2])
        assert [(each.version, each.template) for each in reversed(versions.items)] == history
        self.may_not_show(who, versions)
        for number in range(1, len(thing.versions) + 1):
            if number in dict(history):
                again = self.ask(who, GetStoredPrompt(name=name, version=number))
                assert again.template == dict(history)[number]
            else:
                self.nothing_there(self.refusal(who, GetStoredPrompt(name=name, version=number)), name)
                self.nothing_there(self.refusal(who, RenderPrompt(name=name, version=number)), name)


TestOwnership = pytest.mark.timeout(60 + EXAMPLES * 3)(Ownership.TestCase)
TestOwnership.settings = settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None)
