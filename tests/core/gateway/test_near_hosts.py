"""Hosts near this machine are reached by nobody's wildcard: a person names them, for themselves or for an agent."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.commands import GrantCapability, SpawnAgent, Wish
from mcp_interface.errors import NotPermitted
from mcp_interface.ids import PrincipalId

NEAR = "mcp://api/get/http/localhost:8080/**"
FAR = "mcp://api/get/https/api.example.org/**"


def test_a_person_names_it_and_an_agent_cannot(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            wide = await house.agents.spawn(
                house.owner, SpawnAgent(name="wide", grants=[Wish(resource_uri="mcp://api/get/**")])
            )
            holder = PrincipalId(wide.id)
            page = parse_resource("mcp://api/get/http/localhost:8080/x")
            assert not (await house.kernel.authorize(holder, page)).allowed
            with pytest.raises(NotPermitted):
                await house.agents.spawn(
                    house.owner, SpawnAgent(name="sly", parent="wide", grants=[Wish(resource_uri=NEAR)])
                )
            await house.agents.grant(house.owner, GrantCapability(agent="wide", resource_uri=NEAR))
            assert (await house.kernel.authorize(holder, page)).allowed
            child = await house.agents.spawn(
                house.owner, SpawnAgent(name="child", parent="wide", grants=[Wish(resource_uri=NEAR)])
            )
            assert (await house.kernel.authorize(PrincipalId(child.id), page)).allowed

    asyncio.run(scenario())


def test_naming_what_a_wildcard_reaches_mints_no_root(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            before = len(house.kernel.held_by(house.owner))
            await house.agents.spawn(house.owner, SpawnAgent(name="a"))
            for uri in (FAR, "mcp://api/get/http/*/**"):
                await house.agents.grant(house.owner, GrantCapability(agent="a", resource_uri=uri))
            assert len(house.kernel.held_by(house.owner)) == before

    asyncio.run(scenario())
