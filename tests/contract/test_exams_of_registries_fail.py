"""Broken registries that the exam finds; simpler ones are with the agents and tools."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from broken_fakes import assert_found
from mcp_interface.registry import Registered
from mcp_interface.testing import DictRegistry, check_registry


class ReplacesInsteadOfUpdating(DictRegistry[Any]):
    def update(self, name: str, changes: Mapping[str, Any]) -> Registered[Any]:
        entry = super().update(name, changes)
        self._by_name[name] = Registered(name, entry.ref, dict(changes))
        return self._by_name[name]


class ChangesWhatWasHandedOut(DictRegistry[Any]):
    def update(self, name: str, changes: Mapping[str, Any]) -> Registered[Any]:
        entry = self.lookup(name)
        after = super().update(name, changes)
        if entry is not None:
            entry.metadata.update(changes)
        return after


class KeepsTheOldType(DictRegistry[Any]):
    def update(self, name: str, changes: Mapping[str, Any]) -> Registered[Any]:
        kinds = {kind: dict(entries) for kind, entries in self._by_type.items()}
        after = super().update(name, changes)
        self._by_type = kinds
        return after


class SharesVirtualNames(DictRegistry[Any]):
    def _check_key(self, entry: Registered[Any]) -> None:
        return None


class NoticesTooLate(DictRegistry[Any]):
    def register(self, name: str, ref: Any, metadata: Mapping[str, Any]) -> None:
        try:
            super().register(name, ref, metadata)
        except Exception:
            self._by_name.setdefault(name, Registered(name, ref, dict(metadata)))
            raise


class KnowsOnlyKeys(DictRegistry[Any]):
    def lookup_key(self, type: str, key: str) -> Registered[Any] | None:
        entries = self._by_name.values()
        return next((entry for entry in entries if entry.metadata.get("key") == key), None)


class MatchesAny(DictRegistry[Any]):
    def match(self, metadata: Mapping[str, Any], *, limit: int = 100) -> Sequence[Registered[Any]]:
        found = self._by_name.values()
        return [e for e in found if not metadata or metadata.items() & e.metadata.items()][:limit]


class IgnoresTheLimit(DictRegistry[Any]):
    def match(self, metadata: Mapping[str, Any], *, limit: int = 100) -> Sequence[Registered[Any]]:
        return super().match(metadata, limit=100)


class KeepsTheDead(DictRegistry[Any]):
    def _ended(self, name: str, ref: Any) -> None:
        return None


class TakesTheNameFromItsHeir(DictRegistry[Any]):
    def _ended(self, name: str, ref: Any) -> None:
        self.unregister(name)


@pytest.mark.parametrize(
    "registry",
    [
        ReplacesInsteadOfUpdating,
        ChangesWhatWasHandedOut,
        KeepsTheOldType,
        SharesVirtualNames,
        NoticesTooLate,
        KnowsOnlyKeys,
        MatchesAny,
        IgnoresTheLimit,
        KeepsTheDead,
        TakesTheNameFromItsHeir,
    ],
)
def test_check_registry_finds(registry: type[DictRegistry[Any]]) -> None:
    assert_found(check_registry, registry)
