"""What a node is told before it starts. Keys stay in the environment, to which `config.toml` refers."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import platformdirs
from msgspec import Meta

from mcp_interface.errors import CallerMistaken

APP = "umbrella"
CONFIG: Final = "config.toml"
"""Beneath the data directory; a person's file, which the node only reads."""


class DatabaseSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[databases.NAME]` of the configuration."""

    url: Annotated[str, Meta(pattern="^(sqlite:///|postgres(ql)?://).")]
    """May refer to variables, `${VAR}`, which are looked up when the database is used."""
    role: Annotated[str, Meta(min_length=1, max_length=63)] | None = None
    """PostgreSQL only: the role that statements run as."""

    def __repr__(self) -> str:
        return f"DatabaseSource({self.url.partition(':')[0]}://…)"  # a URL may hold a password


_Databases = dict[Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")], DatabaseSource]


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[telemetry]` of the configuration. Nothing leaves the node unless it is asked for here."""

    metrics: bool = False
    """Keep figures for Prometheus; needs the extra `metrics`."""
    otel_endpoint: Annotated[str, Meta(pattern="^(https?://.+)?$")] = ""
    """Address of a collector that takes spans by OTLP over HTTP; needs the extra `otel`; empty: none."""


Person = Annotated[str, Meta(pattern="^user_[0-9a-f]{32}$")]


class OAuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[oauth]` of the configuration: whose access tokens `/mcp` takes, beside keys."""

    issuer: Annotated[str, Meta(pattern="^https?://.+$")]
    """Who makes the tokens, exactly as they say in `iss`."""
    audience: Annotated[str, Meta(min_length=1)]
    """What they must be made for, as in `aud`; usually the public URL of `/mcp`."""
    jwks: Annotated[str, Meta(pattern="^(https?://|/).+$")]
    """The issuer's public keys: a URL, or the absolute path of a file."""
    principals: dict[str, Person] = {}
    """By the subject of a token, with whose rights it acts; other subjects are not let in."""


class McpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[mcp]` of the configuration."""

    anonymous_principal: Person | None = None
    """With whose rights somebody acts who shows nothing; on the loopback only. None lets nobody in so."""
    task_wait_s: Annotated[float, Meta(ge=0, le=3600)] = 2.0
    """Seconds in which a call may end before it becomes a task, for clients that can wait for one."""
    task_kept_s: Annotated[float, Meta(ge=1, le=31_536_000)] = 86_400.0
    """Seconds for which a task can be asked about after its end."""


class _Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    databases: _Databases = {}
    telemetry: TelemetrySettings = TelemetrySettings()
    mcp: McpSettings = McpSettings()
    oauth: OAuthSettings | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and places of one node."""

    data_dir: Path
    databases: dict[str, DatabaseSource] | None = None
    """By the name that rights call them, `mcp://db/read/<name>/<table>`; None: what `config.toml` says."""
    telemetry: TelemetrySettings | None = None
    """What is exported; None: what `config.toml` says."""
    environ: dict[str, str] = {}
    """Variables for model selection and `${VAR}` references; never journaled, never logged."""
    call_timeout_s: float = 120.0
    """Deadline of a tool call that brings none of its own."""
    approval_timeout_s: float = 3600.0
    """A question about a right that is unanswered for so long means no."""
    question_timeout_s: float = 86_400.0
    """A question of a tool that is unanswered for so long is cancelled."""
    max_turn_steps: int = 50
    """Model requests within one turn before it is stopped."""
    stop_timeout_s: float = 10.0
    """How long running work may take to end at a stop."""
    idle_s: float = 900.0
    """Sessions and agents that hear nothing for so long leave memory until they are needed."""

    def __repr__(self) -> str:
        return f"Settings(data_dir={str(self.data_dir)!r}, …)"  # the environment holds keys

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What Rich shows instead, in a traceback with locals for example."""
        return [("data_dir", str(self.data_dir))]

    @classmethod
    def load(cls, data_dir: Path | None = None, environ: Mapping[str, str] | None = None) -> "Settings":
        """Settings from the environment. Reads no file: a client of a running node needs none.

        Args:
            data_dir: Where the node lives; None is `$UMBRELLA_DATA_DIR`, else the user's data folder.
            environ: The environment; None is the process's own.
        """
        environ = os.environ if environ is None else environ
        place = data_dir or environ.get("UMBRELLA_DATA_DIR") or platformdirs.user_data_path(APP)
        return cls(data_dir=Path(place).expanduser().absolute(), environ=dict(environ))


def read_databases(folder: Path) -> dict[str, DatabaseSource]:
    """The databases that `config.toml` in a data directory names; none without the file.

    Raises:
        CallerMistaken: The file cannot be read, or a key in it breaks a rule; names file, key and rule.
    """
    return _read(folder).databases


def read_telemetry(folder: Path) -> TelemetrySettings:
    """The exporters that `config.toml` in a data directory asks for; none without the file.

    Raises:
        CallerMistaken: As `read_databases`.
    """
    return _read(folder).telemetry


def read_entrance(folder: Path) -> tuple[McpSettings, OAuthSettings | None]:
    """Who may come in by `/mcp` without a key, as `config.toml` in a data directory says; nobody without the file.

    Raises:
        CallerMistaken: As `read_databases`.
    """
    config = _read(folder)
    return config.mcp, config.oauth


def _read(folder: Path) -> _Config:
    file = folder / CONFIG
    try:
        return msgspec.convert(tomllib.loads(file.read_text("utf-8")), _Config)
    except FileNotFoundError:
        return _Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CallerMistaken(f"{file} cannot be read: {error}", "mend the file, or take it away") from error
    except msgspec.ValidationError as error:
        # it tells the rule and the key, and not the value, which may be a secret
        raise CallerMistaken(
            f"{file}: {error}",
            'write [databases.name] with url = "sqlite:///absolute/path" or "postgresql://…${VAR}…", '
            'and [telemetry] with metrics = true or otel_endpoint = "http://…", '
            "[mcp] with anonymous_principal, [oauth] with issuer, audience, jwks and principals",
        ) from error
