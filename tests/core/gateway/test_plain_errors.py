"""What somebody who is not the owner of the node is told when a server fails them."""

import asyncio
from pathlib import Path

import pytest

from core.gateway.test_strangers import Owned, with_a_stranger
from mcp_core.gateway.plain_errors import plain
from mcp_interface.client import Client
from mcp_interface.commands import AddServer, CallTool, GrantCapability, ListSessions, ReadSession
from mcp_interface.errors import (
    CallerMistaken,
    CircuitOpen,
    DeadlineExceeded,
    Interrupted,
    NotFound,
    ServerUnavailable,
    UmbrellaError,
)
from mcp_interface.ids import PrincipalId
from mcp_interface.reading import GetPrompt, ReadResource, UnwatchResource
from mcp_interface.server import ServerSpec

SPOKEN = "the password file is elsewhere"
PLACE = "/opt/a-private-place/server"


@pytest.mark.parametrize("kind", [NotFound, DeadlineExceeded, ServerUnavailable, Interrupted, CircuitOpen])
def test_an_error_of_a_server_keeps_its_kind_and_loses_its_words(kind: type[UmbrellaError]) -> None:
    told = plain(kind(f"it is at {PLACE}", f"did you mean {PLACE}?", {"log_file": PLACE}), "s", "t")
    assert type(told) is kind and PLACE not in repr(told.body()) and told.remedy


def test_what_the_caller_did_wrong_stays_as_it_was_said() -> None:
    error = CallerMistaken("argument 'a' is missing", "give it")
    assert plain(error, "s", "t") is error


def test_a_stranger_hears_nothing_of_how_a_server_is_run(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        script = f"echo {SPOKEN} >&2; exit 3"
        await owner.request(AddServer(name="absent-one", spec=ServerSpec(command=PLACE)))
        await owner.request(
            AddServer(name="failing", spec=ServerSpec(command="/bin/sh", args=["-c", script]))
        )
        for server in ("absent-one", "failing"):
            for right in (f"execute/{server}/x", f"read/{server}/**"):
                await owner.request(GrantCapability(agent=who, resource_uri=f"mcp://tool/{right}"))
            readings = (ReadResource(server=server, uri="a://b"), GetPrompt(server=server, name="x"))
            # one that fails and may come back is waited for: once is enough
            for asked in (CallTool(server=server, tool="x"), *(readings if server != "failing" else ())):
                with pytest.raises((ServerUnavailable, NotFound)) as caught:
                    await stranger.request(asked)
                told = repr(caught.value.body())
                assert PLACE not in told and SPOKEN not in told and str(tmp_path) not in told
        with pytest.raises(ServerUnavailable, match=PLACE):
            await owner.request(CallTool(server="absent-one", tool="x"))
        for session in (await stranger.request(ListSessions(ended=True))).items:
            journal = repr((await stranger.request(ReadSession(session_id=session.id))).items)
            assert PLACE not in journal and SPOKEN not in journal and str(tmp_path) not in journal

    asyncio.run(with_a_stranger(tmp_path, work))


def test_ending_a_watch_tells_nothing_of_what_there_is(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        for somebody in (stranger, owner):
            for name in ("hidden", "absent"):
                assert await somebody.request(UnwatchResource(server=name, uri="x://y")) is None

    asyncio.run(with_a_stranger(tmp_path, work))
