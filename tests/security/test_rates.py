import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.address import parse_resource
from mcp_interface.capability import GrantOptions
from mcp_security.constraints import Rate
from mcp_security.rates import Bucket

DATA = "mcp://fs/read/data/**"
X = parse_resource("mcp://fs/read/data/x")


@given(st.integers(1, 5), st.sampled_from([1.0, 3.0, 60.0]), st.lists(st.floats(0, 30), max_size=60))
def test_no_span_of_time_sees_more_than_its_share(count: int, per_s: float, gaps: list[float]) -> None:
    bucket, now, taken = Bucket(Rate(count, per_s)), 0.0, []
    for gap in gaps:
        now += gap
        if bucket.wait(now) == 0:
            bucket.take(now)
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            span = taken[last] - taken[first]
            assert last - first + 1 <= count + span * count / per_s + 1e-6


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = Bucket(Rate(2, 10.0))
    bucket.take(0)
    bucket.take(0)
    assert bucket.wait(0) == pytest.approx(5)
    assert bucket.wait(5) == 0
    assert bucket.wait(1_000) == 0


def test_siblings_draw_from_the_same_rate_and_cannot_mint_a_fresh_one(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, constraints={"rate_limit": {"count": 3, "per_s": 60}})
            allowed = []
            for agent in room.agents:
                faster = GrantOptions(constraints={"rate_limit": {"count": 1000, "per_s": 1}})
                child = await kernel.delegate(root.handle, room.owner, agent, options=faster)
                allowed += [(await kernel.authorize(agent, X, handle=child.handle)).allowed for _ in range(3)]
            assert sum(allowed) == 3
            refused = kernel.validate(root.handle, room.owner, X)
            assert refused.reason == "constraint_violated"
            assert "the next in 20 s" in refused.message
            room.clock.advance(20)
            assert (await kernel.authorize(room.owner, X, handle=root.handle)).allowed
            assert not (await kernel.authorize(room.agents[0], X)).allowed

    asyncio.run(scenario())


def test_looking_and_being_refused_cost_nothing(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, constraints={"rate_limit": {"count": 1, "per_s": 60}})
            for _ in range(5):
                assert kernel.validate(root.handle, room.owner, X).allowed
                assert not (await kernel.authorize(room.owner, parse_resource("mcp://fs/read/b"))).allowed
            assert (await kernel.authorize(room.owner, X)).allowed
            assert not (await kernel.authorize(room.owner, X)).allowed

    asyncio.run(scenario())


def test_many_at_once_get_no_more_than_the_rate(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.root(kernel, DATA, constraints={"rate_limit": {"count": 5, "per_s": 60}})
            verdicts = await asyncio.gather(*(kernel.authorize(room.owner, X) for _ in range(50)))
            assert sum(verdict.allowed for verdict in verdicts) == 5

    asyncio.run(scenario())
