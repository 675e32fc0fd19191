"""What the person's and the project's files say, under what the environment says, each value with its origin.

Precedence: option > environment > project's file > person's file > default. A project's file comes with what was
cloned: it may choose how things look, and of what `umbrella ask` may cost only less than the person allows.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from mcp_core import AskSettings, BudgetSettings, ModelSettings, UiSettings

DEFAULT: Final = "default"
VARIABLES: Final = {"models.default": "UMBRELLA_MODEL", "ui.theme": "UMBRELLA_THEME"}
"""By the key that each of them overrides."""
MODEL_VARIABLES: Final = ("UMBRELLA_MODEL", "OPENAI_MODEL", "ANTHROPIC_MODEL")
CAPS: Final = ("ask.max_cost", "ask.max_tokens")
"""Of these the lowest counts."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One value that counts."""

    key: str
    value: Any
    origin: str
    """A file, `$VARIABLE`, or `DEFAULT`."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for a person who works in a folder."""

    models: "ModelSettings"
    ask: "AskSettings"
    ui: "UiSettings"
    budget: "BudgetSettings"
    settings: list[Setting]
    """The same, value by value."""


def load(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Config:
    """Read what counts.

    Args:
        environ: None: the process's own.
        folder: Where the person works; None: the process's own.

    Raises:
        CallerMistaken: A file cannot be read or breaks a rule; names file, line, key and rule.
    """
    from mcp_core import ProjectConfig, UserConfig, read_config, user_file

    environ = os.environ if environ is None else environ
    layers: list[tuple[str, dict[str, Any]]] = []
    mine = user_file(environ)
    if mine is not None and (told := read_config(mine, UserConfig)) is not None:
        layers.append((str(mine), dict(_flat(told))))
    project = project_file(Path.cwd() if folder is None else folder)
    if project is not None and (told := read_config(project, ProjectConfig)) is not None:
        layers.append((str(project), dict(_flat(told))))
    for key, name in VARIABLES.items():
        if environ.get(name):
            layers.append((f"${name}", {key: environ[name]}))
    settings = [_settle(key, value, layers) for key, value in _defaults()]
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        section, _, name = setting.key.partition(".")
        found.setdefault(section, {})[name] = setting.value
    whole = msgspec.convert(found, UserConfig)
    return Config(models=whole.models, ask=whole.ask, ui=whole.ui, budget=whole.budget, settings=settings)


def default_model(config: Config, environ: Mapping[str, str] | None = None) -> str:
    """The model of a session that chooses none; empty where the environment names one, which the node is lent."""
    environ = os.environ if environ is None else environ
    named = any(environ.get(name) for name in MODEL_VARIABLES)
    return "" if named else config.models.default


def project_file(folder: Path) -> Path | None:
    """The nearest project's file of a folder and those above it, if it is of this person or of root.

    Neither it nor its folder may be a link: what was cloned could lead to any file of the person, or to a device.
    """
    from mcp_core import PROJECT

    for place in (folder, *folder.parents):
        file = place / PROJECT
        try:
            inner, found = file.parent.lstat(), file.lstat()
        except OSError:
            continue
        plain = stat.S_ISDIR(inner.st_mode) and stat.S_ISREG(found.st_mode)
        # above may be a folder that anybody writes to
        if plain and {inner.st_uid, found.st_uid} <= {os.getuid(), 0}:
            return file
    return None


def _settle(key: str, default: Any, layers: list[tuple[str, dict[str, Any]]]) -> Setting:
    given = [Setting(key=key, value=values[key], origin=origin) for origin, values in layers if key in values]
    if not given:
        return Setting(key=key, value=default, origin=DEFAULT)
    return min(given, key=lambda setting: setting.value) if key in CAPS else given[-1]


def _defaults() -> Iterator[tuple[str, Any]]:
    from mcp_core import UserConfig

    return _flat(msgspec.to_builtins(UserConfig()))


def _flat(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, values in told.items():
        for name, value in values.items():
            yield f"{section}.{name}", value
