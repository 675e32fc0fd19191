"""A language model that reads from a script."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import Chunk, Completion

_REMEDY: Final = "give the scripted provider more answers"


class ScriptedProvider:
    """Plays its answers one after the other, and refuses when there is none left.

    Args:
        answers: Each is the chunks of one completion, ending with `Finished`.
        models: What `models` offers, the default first.
    """

    name = "scripted"

    def __init__(self, answers: Iterable[Sequence[Chunk]], models: Sequence[str] = ("scripted",)) -> None:
        self._answers = deque(answers)
        self._models = list(models)
        self.asked: list[Completion] = []
        """Every completion so far, for the test to look at."""

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        """Play the next answer; see `Provider.stream`."""
        self.asked.append(completion)
        if not self._answers:
            raise ModelUnavailable("the script has no answer left", _REMEDY)
        for chunk in self._answers.popleft():
            yield chunk

    async def models(self) -> list[str]:
        """The given names."""
        return list(self._models)
