"""Tasks on a house of the tests, wired as the node wires them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mcp_core.gateway.endowing import Endowing
from mcp_core.gateway.handlers.team import TeamCommands
from mcp_core.gateway.task_index import TaskIndex
from mcp_core.gateway.tasks import Tasks, open_team
from mcp_core.tools.team import team_tools
from mcp_interface.provider import Chunk, Completion, Finished, TextChunk
from mcp_interface.testing import CountWords, MemoryStore
from mcp_interface.tool import Tool

OpenHouse = Callable[..., Any]


class Echo:
    """A model that answers each goal with itself in capitals, or as a test says; it can be held back."""

    name = "echo"

    def __init__(self) -> None:
        self.asked: list[Completion] = []
        self.answers: Callable[[Completion], Awaitable[Any]] | None = None

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        self.asked.append(completion)
        said: Any = completion.messages[-1].text.upper()
        if self.answers is not None:
            said = await self.answers(completion)
        if isinstance(said, str):
            yield TextChunk(text=said)
        else:
            yield said
        yield Finished(stop_reason="end" if isinstance(said, str) else "tool_use")

    async def models(self) -> list[str]:
        return ["echo"]


class Team:
    """A house with tasks."""

    def __init__(self, house: Any, tasks: Tasks) -> None:
        self.house = house
        self.tasks = tasks
        self.model = Echo()
        house.provider = self.model
        self.commands = TeamCommands(tasks, house.sessions, house.directory, house.speaking, house.owner)


@asynccontextmanager
async def open_team_house(
    open_house: OpenHouse, store: MemoryStore | None = None, tools: Sequence[Tool] = (CountWords(),)
) -> AsyncIterator[Team]:
    made: list[Tasks] = []
    own = team_tools(lambda: made[0] if made else None)
    async with open_house(store=store, tools=[*tools, *own]) as house:
        index = TaskIndex()
        after = 0
        while page := await house.journal.read_all(after=after, streams="session:*"):
            for record in page:
                index.heard(record)
            after = page[-1].position
        house.sessions.watch(index.heard)
        tasks = open_team(
            index,
            house.sessions,
            house.directory,
            house.kernel,
            Endowing(house.kernel, house.directory, house.toolbox, house.book),
            house.commands,
            house.bus,
            lambda: house.executions.stopping,
            house.clock,
            house.entropy,
        )
        made.append(tasks)
        team = Team(house, tasks)
        await tasks.begin()
        try:
            yield team
        finally:
            house.executions.stop()
            await tasks.close()
