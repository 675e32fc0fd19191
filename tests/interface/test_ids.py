import pytest

from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import PREFIXES, is_id, is_principal, new_id
from mcp_interface.testing import SeededEntropy


def test_every_prefix_makes_an_id_of_its_own_kind_only() -> None:
    entropy = SeededEntropy()
    for prefix in PREFIXES:
        made = new_id(prefix, entropy)
        assert [other for other in PREFIXES if is_id(other, made)] == [prefix]


def test_a_prefix_that_names_nothing_is_refused() -> None:
    with pytest.raises(InvalidRecord) as caught:
        new_id("robot", SeededEntropy())
    assert caught.value.rule == "unknown_id_prefix" and "agent" in caught.value.remedy


def test_only_agents_people_and_the_system_can_hold_rights() -> None:
    entropy = SeededEntropy()
    holders = [prefix for prefix in PREFIXES if is_principal(new_id(prefix, entropy))]
    assert sorted(holders) == ["agent", "user"] and is_principal("system")
