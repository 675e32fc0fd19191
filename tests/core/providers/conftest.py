"""What the tests of the providers share: a clock that never makes anybody wait."""

from datetime import UTC, datetime

import pytest


class PatientClock:
    """Notes how long it was asked to sleep and returns at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()
