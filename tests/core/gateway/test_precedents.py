from datetime import timedelta
from typing import Any

import pytest

from mcp_core.gateway import precedents
from mcp_core.gateway.precedents import Precedents
from mcp_interface.approval import Answer, Approval
from mcp_interface.errors import NotFound
from mcp_interface.events import ApprovalAnswered, ApprovalAsked
from mcp_interface.ids import SYSTEM, ApprovalId, PrincipalId, SessionId
from mcp_interface.store import Record
from mcp_interface.testing import START

ANN, BEN = PrincipalId("user_" + "1" * 32), PrincipalId("user_" + "2" * 32)
HERS, HIS = SessionId("session_" + "1" * 32), SessionId("session_" + "2" * 32)
GONE = SessionId("session_" + "3" * 32)


def person_of(session_id: SessionId) -> PrincipalId:
    if session_id == GONE:
        raise NotFound("no session", "")
    return ANN if session_id == HERS else BEN


class Told:
    """Precedents, and events in the order of a journal."""

    def __init__(self) -> None:
        self.known = Precedents(person_of)
        self.position = 0

    def hear(self, session_id: SessionId, event: Any) -> None:
        self.position += 1
        self.known.heard(
            Record(
                position=self.position,
                stream=f"session:{session_id}",
                version=self.position,
                epoch=1,
                event=event,
            )
        )

    def ask(
        self,
        number: int,
        session_id: SessionId = HERS,
        tool: str = "commit",
        stream: str = "",
        **arguments: Any,
    ) -> None:
        approval = Approval(
            id=ApprovalId(f"ask_{number:032x}"),
            session_id=session_id,
            execution_id="exec_" + "2" * 32,
            principal_id="agent_" + "3" * 32,
            server="git",
            tool=tool,
            arguments=arguments,
            resource_uri=f"mcp://tool/execute/git/{tool}",
            reason="",
            fingerprint="ff",
            asked_at=START,
            expires_at=START + timedelta(hours=1),
        )
        self.hear(SessionId(stream) or session_id, ApprovalAsked(timestamp=START, approval=approval))

    def answer(
        self,
        number: int,
        allow: bool,
        by: PrincipalId = ANN,
        seconds: float = 0,
        session_id: SessionId = HERS,
    ) -> None:
        at = START + timedelta(seconds=seconds)
        approval_id = ApprovalId(f"ask_{number:032x}")
        self.hear(
            session_id,
            ApprovalAnswered(timestamp=at, approval_id=approval_id, answer=Answer(allow=allow), by=by),
        )


def test_the_last_answer_to_the_same_tool_is_the_precedent() -> None:
    told = Told()
    told.ask(1, message="first")
    assert told.known.of(ANN, "git", "commit") is None
    told.answer(1, True, seconds=1)
    told.ask(2, message="second")
    told.answer(2, False, seconds=2)
    found = told.known.of(ANN, "git", "commit")
    assert found is not None and (found.allow, found.arguments) == (False, {"message": "second"})
    assert found.at == START + timedelta(seconds=2)
    assert told.known.of(ANN, "git", "push") is None


def test_one_person_never_sees_what_another_one_answered() -> None:
    told = Told()
    told.ask(1, HIS, message="his secret")
    told.answer(1, True, by=BEN, session_id=HIS)
    assert told.known.of(ANN, "git", "commit") is None
    assert told.known.of(BEN, "git", "commit") is not None


def test_what_ran_out_or_was_withdrawn_is_no_answer() -> None:
    told = Told()
    told.ask(1, message="first")
    told.answer(1, True)
    told.ask(2, message="second")
    told.answer(2, False, by=SYSTEM, seconds=5)
    told.answer(3, True)
    found = told.known.of(ANN, "git", "commit")
    assert found is not None and found.arguments == {"message": "first"}


def test_copies_in_a_fork_and_sessions_that_are_not_known_say_nothing() -> None:
    told = Told()
    told.ask(1, HERS, stream=HIS, message="copied")
    told.answer(1, True, session_id=HIS)
    told.ask(2, GONE, message="forgotten")
    told.answer(2, True, session_id=GONE)
    assert told.known.of(BEN, "git", "commit") is told.known.of(ANN, "git", "commit") is None


def test_of_a_large_call_nothing_is_kept_and_nothing_older_is_shown() -> None:
    told = Told()
    told.ask(1, message="small")
    told.answer(1, True)
    told.ask(2, message="x" * precedents.MAX_ARGUMENTS)
    told.answer(2, True, seconds=1)
    assert told.known.of(ANN, "git", "commit") is None


def test_it_is_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedents, "MOST", 3)
    monkeypatch.setattr(precedents, "MOST_OPEN", 3)
    told = Told()
    for number in range(5):
        told.ask(number, tool=f"t{number}")
        told.answer(number, True, seconds=number)
    known = [told.known.of(ANN, "git", f"t{number}") is not None for number in range(5)]
    assert known == [False, False, True, True, True]
    for number in range(10, 15):
        told.ask(number, tool=f"o{number}")
    told.answer(10, True, seconds=99)
    told.answer(14, True, seconds=99)
    assert told.known.of(ANN, "git", "o10") is None
    assert told.known.of(ANN, "git", "o14") is not None
