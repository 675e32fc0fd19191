"""Routes of questions, keys and virtual servers: each is one command of the node."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mcp_interface.access import CreateKey, ListKeys, ListPublications, Publish, RevokeKey, Unpublish
from mcp_interface.commands import Page, Wish
from mcp_interface.errors import CallerMistaken
from mcp_interface.execution import AnswerQuestion, ListQuestions
from mcp_interface.ids import ExecutionId, KeyId, PrincipalId, QuestionId, SessionId
from mcp_interface.key import ApiKey, NewKey, Publication
from mcp_interface.question import Inquiry, Question, Response

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = SessionId("session_" + "1" * 32)
E = ExecutionId("exec_" + "2" * 32)
Q = QuestionId("question_" + "3" * 32)
U = PrincipalId("user_" + "a" * 32)
QUESTION = Question(
    id=Q, session_id=S, execution_id=E, principal_id=U, server="desk", tool="book",
    inquiry=Inquiry(key="trip", kind="form", message="Where to?"), asked_at=NOW, expires_at=NOW + timedelta(hours=1),
)  # fmt: skip
KEY = ApiKey(id=KeyId("key_" + "4" * 32), name="ci", principal_id=U, created_at=NOW)
DOCS = Publication(name="docs", tools=["git/*"], principal_id=U)

ROUTES: list[tuple[str, str, Any, int, Any, Any]] = [
    ("GET", "/api/questions", None, 200, ListQuestions(), Page(items=[QUESTION])),
    ("GET", f"/api/questions?session_id={S}&execution_id={E}&limit=2&cursor=x", None, 200,
     ListQuestions(session_id=S, execution_id=E, limit=2, cursor="x"), Page(items=[])),
    ("POST", f"/api/questions/{Q}", {"action": "accept", "content": {"city": "Bergen"}}, 204,
     AnswerQuestion(question_id=Q, response=Response(action="accept", content={"city": "Bergen"})), None),
    ("GET", "/api/keys", None, 200, ListKeys(), Page(items=[KEY])),
    ("POST", "/api/keys", {"name": "ci", "grants": [{"resource_uri": "mcp://fs/read/**"}], "expires_in_s": 60}, 201,
     CreateKey(name="ci", grants=[Wish(resource_uri="mcp://fs/read/**")], expires_in_s=60), NewKey(secret="umbrella_x", key=KEY)),
    ("DELETE", f"/api/keys/{KEY.id}", None, 200, RevokeKey(key=KEY.id), KEY),
    ("GET", "/api/publications", None, 200, ListPublications(), Page(items=[DOCS])),
    ("PUT", "/api/publications/docs", {"tools": ["git/*"], "principal_id": U}, 200, Publish(publication=DOCS), DOCS),
    ("DELETE", "/api/publications/docs", None, 204, Unpublish(name="docs"), None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "command", "answer"), ROUTES)
def test_each_route_is_one_command(
    browse: Callable[..., Any],
    door: Any,
    method: str,
    path: str,
    body: Any,
    status: int,
    command: Any,
    answer: Any,
) -> None:
    door.answers[type(command)] = answer

    async def scenario() -> None:
        async with browse() as http:
            told = await http.request(method, path, json=body)
            assert told.status_code == status, told.text
            assert door.commands() == [command]
            if answer is not None:
                assert told.json()

    asyncio.run(scenario())


def test_an_answer_that_does_not_fit_names_its_field(browse: Callable[..., Any], door: Any) -> None:
    door.answers[AnswerQuestion] = CallerMistaken("too short", "longer", {"field": "city"})

    async def scenario() -> None:
        async with browse() as http:
            told = await http.post(f"/api/questions/{Q}", json={"action": "accept", "content": {"city": "x"}})
            assert told.status_code == 400 and told.json()["details"]["field"] == "city"
            told = await http.post(f"/api/questions/{Q}", json={"action": "perhaps"})
            assert told.status_code == 400

    asyncio.run(scenario())


def test_a_virtual_server_needs_a_decent_name(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        async with browse() as http:
            told = await http.put("/api/publications/No%20Name", json={})
            assert told.status_code == 400 and told.json()["details"]["rule"] == "invalid_publication_name"
            assert door.commands() == []

    asyncio.run(scenario())
