"""Commands about secrets: for the owner only, and a value goes nowhere but into the vault and to its server."""

import asyncio
import logging
from pathlib import Path

import pytest

from mcp_core import Node, Settings
from mcp_core.gateway.handlers.secrets import SecretCommands
from mcp_interface.client import ClientInfo
from mcp_interface.commands import AddServer, DiagnoseServer, ListServers
from mcp_interface.errors import CallerMistaken, NotPermitted, StorageCorrupt
from mcp_interface.ids import PrincipalId
from mcp_interface.secret import ListSecrets, PutSecret, RemoveSecret
from mcp_interface.server import ServerSpec

VALUE = "hunter2-and-more"
OWNER, OTHER = PrincipalId("user_owner"), PrincipalId("user_other")


class Kept:
    """A vault in memory."""

    kept_in = "file"

    def __init__(self) -> None:
        self.secrets = {"oauth/user_1/docs": "a token"}

    async def put(self, name: str, value: str) -> None:
        self.secrets[name] = value

    async def remove(self, name: str) -> None:
        self.secrets.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self.secrets)


@pytest.fixture
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcp_security import vault_key

    monkeypatch.setattr(vault_key, "real_keyring", lambda: None)


def test_only_the_owner_keeps_sees_and_removes_secrets() -> None:
    commands = SecretCommands(Kept(), OWNER)  # type: ignore[arg-type]
    for work in (
        commands.put(OTHER, PutSecret(name="a", value=VALUE)),
        commands.listed(OTHER, ListSecrets()),
        commands.remove(OTHER, RemoveSecret(name="a")),
    ):
        with pytest.raises(NotPermitted):
            asyncio.run(work)  # type: ignore[arg-type]


def test_logins_of_people_are_neither_seen_nor_touched() -> None:
    vault = Kept()
    commands = SecretCommands(vault, OWNER)  # type: ignore[arg-type]
    assert asyncio.run(commands.listed(OWNER, ListSecrets())).items == []
    with pytest.raises(CallerMistaken):
        asyncio.run(commands.put(OWNER, PutSecret(name="oauth/user_1/docs", value="mine")))
    with pytest.raises(CallerMistaken):
        asyncio.run(commands.remove(OWNER, RemoveSecret(name="oauth/user_1/docs")))
    assert vault.secrets == {"oauth/user_1/docs": "a token"}


@pytest.mark.parametrize("value", ["\ud800" + VALUE, VALUE + "\0"])
def test_what_is_not_text_is_refused_without_showing_it(value: str) -> None:
    commands = SecretCommands(Kept(), OWNER)  # type: ignore[arg-type]
    with pytest.raises(CallerMistaken) as caught:
        asyncio.run(commands.put(OWNER, PutSecret(name="a", value=value)))
    assert VALUE not in repr(caught.value.body()) and caught.value.__context__ is None


def test_the_command_does_not_show_its_value() -> None:
    assert VALUE not in repr(PutSecret(name="a", value=VALUE))
    assert VALUE not in str(PutSecret(name="a", value=VALUE))


def test_on_a_node_the_value_reaches_its_server_and_nothing_else(
    tmp_path: Path, no_keyring: None, caplog: pytest.LogCaptureFixture
) -> None:
    """It survives a restart, and is in no file, no log, no telemetry and no answer."""
    caplog.set_level(logging.DEBUG)
    seen, told = tmp_path / "seen", []
    data = tmp_path / "data"
    script = f'echo "$TOKEN" > {seen}; echo "bad token $TOKEN" >&2; exit 3'
    spec = ServerSpec(command="/bin/sh", args=["-c", script], env={"TOKEN": "${secret:team/token}"})

    async def life(first: bool) -> str:
        async with Node(Settings(data_dir=data)) as node:
            node.telemetry.attach("mcp.*", lambda *event: told.append(repr(event)))
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            answers = []
            if first:
                answers.append(await client.request(PutSecret(name="team/token", value=VALUE)))
                answers.append(await client.request(AddServer(name="needy", spec=spec)))
            else:
                async with asyncio.timeout(30):
                    while not seen.exists() or not seen.read_text().strip():
                        await asyncio.sleep(0.02)
            answers.append(await client.request(DiagnoseServer(name="needy")))
            answers.append(await client.request(ListServers()))
            answers.append(await client.request(ListSecrets()))
            await client.disconnect()
            return repr(answers)

    for first in (True, False):
        answers = asyncio.run(life(first))
        assert seen.read_text().strip() == VALUE
        seen.unlink()
        assert VALUE not in answers and "${secret:team/token}" in answers
    files = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    # the server itself printed it: its log is its own
    holding = [path.name for path, content in files.items() if VALUE.encode() in content]
    assert holding == ["mcp-needy.log"]
    assert told and VALUE not in "".join(told)
    assert VALUE not in caplog.text


def test_a_damaged_vault_stops_the_start_with_the_remedy(tmp_path: Path, no_keyring: None) -> None:
    async def life(**secrets: str) -> None:
        async with Node(Settings(data_dir=tmp_path)) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            for name, value in secrets.items():
                await client.request(PutSecret(name=name, value=value))
            await client.disconnect()

    asyncio.run(life(a=VALUE))
    content = bytearray((tmp_path / "vault").read_bytes())
    content[-1] ^= 1
    (tmp_path / "vault").write_bytes(content)
    with pytest.raises(StorageCorrupt) as caught:
        asyncio.run(life())
    assert "vault" in caught.value.message and "backup" in caught.value.remedy
