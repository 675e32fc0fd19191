"""Sealed states: only who got one can use it, for what it was given, and not a bit of it can be changed."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol.server.seal import KEY_FILE, Seal, Waiting, open_seal
from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import CallerMistaken, StorageUnavailable
from mcp_interface.ids import PrincipalId
from mcp_interface.testing import SeededEntropy

ME, OTHER = PrincipalId("user_" + "1" * 32), PrincipalId("user_" + "2" * 32)
WAITING = Waiting(principal_id=ME, target="tool x", execution_id="exec_" + "3" * 32)
SEAL = Seal(b"k" * 32, SystemEntropy())


def test_a_state_comes_back_to_whom_it_was_given() -> None:
    sealed = SEAL.close(WAITING)
    assert SEAL.open(sealed, ME, "tool x") == WAITING
    assert sealed != SEAL.close(WAITING), "two rounds look different"
    assert "exec_" not in sealed and ME not in sealed


@pytest.mark.parametrize(("who", "target"), [(OTHER, "tool x"), (ME, "tool y"), (ME, "prompt x")])
def test_it_is_good_for_nobody_and_nothing_else(who: PrincipalId, target: str) -> None:
    with pytest.raises(CallerMistaken):
        SEAL.open(SEAL.close(WAITING), who, target)


@given(st.data())
def test_whatever_is_changed_is_noticed(data: st.DataObject) -> None:
    sealed = SEAL.close(WAITING)
    at = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("ABCDwxyz019-_"))
    changed = sealed[:at] + letter + sealed[at + 1 :]
    try:
        assert SEAL.open(changed, ME, "tool x") == WAITING
        # the last letter of base64 has bits that stand for nothing
        assert changed == sealed or at == len(sealed) - 1
    except CallerMistaken:
        assert changed != sealed


@given(st.text(max_size=200))
def test_what_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(CallerMistaken):
        SEAL.open(text, ME, "tool x")


def test_the_key_outlives_the_process_and_is_its_owners_alone(tmp_path: Path) -> None:
    sealed = open_seal(tmp_path, SystemEntropy()).close(WAITING)
    assert open_seal(tmp_path, SystemEntropy()).open(sealed, ME, "tool x") == WAITING
    file = tmp_path / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    with pytest.raises(CallerMistaken):
        Seal(b"o" * 32, SeededEntropy(1)).open(sealed, ME, "tool x")
    file.write_bytes(b"short")
    with pytest.raises(StorageUnavailable):
        open_seal(tmp_path, SystemEntropy())
