"""A journal that refuses writes for a while, seen over HTTP: a problem with its remedy, then all goes on."""

import asyncio
from pathlib import Path
from typing import Any

from httpx import ASGITransport, AsyncClient

from core.refusing import REASON, REMEDY, RefusingNode
from mcp_core import Settings
from mcp_interface.client import ClientInfo
from mcp_interface.commands import CreateLogin, RedeemLogin
from mcp_web import make_app

BASE = "http://127.0.0.1:8420"


class NodeDoor:
    """The way to a node in this process."""

    def __init__(self, node: RefusingNode) -> None:
        self._node = node

    @property
    def owner_token(self) -> str:
        return self._node.owner_token

    def client(self) -> Any:
        return self._node.client()

    async def close(self) -> None:
        """The node is the test's."""


async def login(node: RefusingNode, http: Any) -> None:
    client = node.client()
    await client.connect(ClientInfo(name="test", token=node.owner_token))
    code = (await client.request(CreateLogin())).code
    key = (await client.request(RedeemLogin(code=code))).key
    http.headers["authorization"] = f"Bearer {key}"


def test_a_refused_message_is_a_problem_with_its_remedy_and_posting_works_again_by_itself(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with RefusingNode(Settings.load(tmp_path / "node", {})) as node:
            app = make_app(NodeDoor(node), assets=tmp_path / "none")
            async with AsyncClient(transport=ASGITransport(app), base_url=BASE) as http:
                await login(node, http)
                session = (await http.post("/api/sessions", json={})).json()["id"]
                node.refuse()
                refused = await http.post(f"/api/sessions/{session}/messages", json={"text": "hello"})
                assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
                assert refused.json()["remedy"] == REMEDY
                told = (await http.get("/api/storage")).json()
                assert (told["state"], told["reason"]) == ("read_only", REASON)
                assert (await http.get("/api/sessions")).json()["items"][0]["id"] == session, (
                    "reading goes on"
                )
                health = await http.get("/health")
                journal = next(check for check in health.json()["checks"] if check["name"] == "journal")
                assert health.status_code == 503
                assert journal["status"] == "error"
                assert REASON in journal["detail"]
                node.accept()
                posted = await http.post(f"/api/sessions/{session}/messages", json={"text": "hello again"})
                assert posted.status_code == 202
                assert (await http.get("/api/storage")).json()["state"] == "writable"

    asyncio.run(scenario())
