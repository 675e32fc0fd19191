import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mcp_core.gateway.logins import CODE_LIFE, KEY_LIFE, Logins
from mcp_interface.errors import LoginRequired
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.testing import ManualClock, MemoryStore, SeededEntropy

ENTROPY = SeededEntropy(5)
OWNER = PrincipalId(new_id("user", ENTROPY))


def with_logins(work: Callable[[Logins, ManualClock, MemoryStore], Any]) -> None:
    clock, store = ManualClock(), MemoryStore()
    asyncio.run(work(Logins(store, clock, ENTROPY, "the-token", OWNER), clock, store))


def test_the_token_of_the_data_directory_is_the_owner() -> None:
    async def work(logins: Logins, _: ManualClock, __: MemoryStore) -> None:
        assert (await logins.admit("the-token")).principal_id == OWNER
        for wrong in ("", "the-toke", "the-token ", "ü"):
            with pytest.raises(LoginRequired):
                await logins.admit(wrong)

    with_logins(work)


def test_a_code_works_once_and_its_key_names_the_person() -> None:
    async def work(logins: Logins, _: ManualClock, store: MemoryStore) -> None:
        code = (await logins.create(OWNER)).code
        key = (await logins.redeem(code)).key
        assert (await logins.admit(key)).principal_id == OWNER
        with pytest.raises(LoginRequired):
            await logins.redeem(code)
        kept = [(name, await store.get(name)) for name in await store.list_keys()]
        assert key not in str(kept) and code not in str(kept)

    with_logins(work)


def test_codes_and_keys_grow_old_and_old_ones_are_forgotten() -> None:
    async def work(logins: Logins, clock: ManualClock, store: MemoryStore) -> None:
        stale = (await logins.create(OWNER)).code
        key = (await logins.redeem((await logins.create(OWNER)).code)).key
        clock.advance(CODE_LIFE.total_seconds())
        with pytest.raises(LoginRequired):
            await logins.redeem(stale)
        clock.advance((KEY_LIFE - timedelta(minutes=1)).total_seconds())
        with pytest.raises(LoginRequired):
            await logins.check(key)
        await logins.create(OWNER)
        assert len(await store.list_keys("login:*")) == 1

    with_logins(work)


def test_a_key_can_be_taken_back() -> None:
    async def work(logins: Logins, _: ManualClock, __: MemoryStore) -> None:
        key = (await logins.redeem((await logins.create(OWNER)).code)).key
        await logins.end(key)
        await logins.end(key)
        with pytest.raises(LoginRequired):
            await logins.admit(key)

    with_logins(work)


def test_one_code_redeemed_by_many_at_once_opens_one_door() -> None:
    async def work(logins: Logins, _: ManualClock, __: MemoryStore) -> None:
        code = (await logins.create(OWNER)).code
        outcomes = await asyncio.gather(*(logins.redeem(code) for _ in range(20)), return_exceptions=True)
        assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1

    with_logins(work)


def test_old_logins_are_forgotten_however_many_there_are() -> None:
    class Small(MemoryStore):
        """Gives few keys at a time."""

        async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = 3) -> list[str]:
            return await super().list_keys(pattern, after=after, limit=limit)

    async def scenario() -> None:
        clock, store = ManualClock(), Small()
        logins = Logins(store, clock, ENTROPY, "the-token", OWNER)
        for _ in range(10):
            await logins.create(OWNER)
        clock.advance(CODE_LIFE.total_seconds())
        await logins.create(OWNER)
        assert len(await store.list_keys("login:*", limit=100)) == 1

    asyncio.run(scenario())
