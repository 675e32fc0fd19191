"""What a node and its clients are told before they start. Keys stay in the environment, to which files refer.

Three files hold settings, each with its own sections: that of the data directory (the node's), that of the person
(`user_file`), and that of a folder they work in (`PROJECT`), which comes with what was cloned and so may choose
nothing that costs, sends or allows.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec
import platformdirs
from msgspec import Meta

from mcp_interface.errors import CallerMistaken

T = TypeVar("T")
APP = "umbrella"
CONFIG: Final = "config.toml"
"""Beneath the data directory; a person's file, which the node only reads."""
PROJECT: Final = Path(".umbrella") / CONFIG
"""Beneath a folder that somebody works in."""
MAX_CONFIG: Final = 256 * 1024
"""Bytes that a file of settings may have."""


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


Count = Annotated[int, Meta(ge=0)]
Dollars = Annotated[float, Meta(ge=0)]


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[models.cards."NAME"]`: what its owner knows of a model; what is left out is as it is known already."""

    context_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    input_price: Dollars | None = None
    """US dollars for a million tokens, as the other prices."""
    output_price: Dollars | None = None
    cached_price: Dollars | None = None
    cache_write_price: Dollars | None = None


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[models]` of a person's or a node's configuration."""

    default: str = ""
    """For sessions that choose none; empty: what the environment says."""
    fallback: list[str] = []
    """Asked in this order when a model cannot be reached."""
    discover: bool = True
    """Whether to look for models on this machine's loopback."""
    cards: dict[str, ModelCard] = {}
    """By the name of the model, with its provider's prefix."""


class AskSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[ask]` of a person's or a project's configuration: what `umbrella ask` does without an option."""

    output: Literal["text", "json", "stream-json"] = "text"
    timeout: Annotated[str, Meta(min_length=1)] = "10m"
    max_cost: Dollars | None = None
    """US dollars; of several files the lowest counts."""
    max_tokens: Count | None = None
    """As well."""


class UiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[ui]` of a person's or a project's configuration."""

    theme: str = ""
    notifications: bool = True
    """A bell when something waits and the person looks elsewhere."""
    mouse: bool = True


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[budget]` of a person's configuration: of each session that they begin."""

    max_cost: Dollars | None = None
    """US dollars."""
    max_tokens: Count | None = None


class UserConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person's file may hold."""

    models: ModelSettings = ModelSettings()
    ask: AskSettings = AskSettings()
    ui: UiSettings = UiSettings()
    budget: BudgetSettings = BudgetSettings()


class ProjectConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project's file may hold."""

    ask: AskSettings = AskSettings()
    ui: UiSettings = UiSettings()


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file of a data directory may hold."""

    databases: _Databases = {}
    telemetry: TelemetrySettings = TelemetrySettings()
    mcp: McpSettings = McpSettings()
    oauth: OAuthSettings | None = None
    models: ModelSettings = ModelSettings()


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


def read_models(folder: Path, environ: Mapping[str, str]) -> ModelSettings:
    """What is said of models: by the person's file, and over it by the one of the data directory.

    Args:
        folder: The data directory.
        environ: Says where the person's file is.

    Raises:
        CallerMistaken: As `read_databases`, of either file.
    """
    told: dict[str, Any] = {}
    files = [(user_file(environ), UserConfig), (folder / CONFIG, NodeConfig)]
    for file, kind in files:
        models = (read_config(file, kind) or {}).get("models", {}) if file is not None else {}
        cards = {**told.get("cards", {}), **models.get("cards", {})}
        told = {**told, **models, "cards": cards}
    return msgspec.convert(told, ModelSettings)


def user_file(environ: Mapping[str, str]) -> Path | None:
    """Where a person's settings are, whether or not there are any; None for somebody without a home."""
    given = environ.get("XDG_CONFIG_HOME", "")
    if given and Path(given).is_absolute():  # the standard has us ignore any other
        return Path(given) / APP / CONFIG
    home = environ.get("HOME", "")
    return Path(home) / ".config" / APP / CONFIG if home else None


def read_config(file: Path, kind: type[Any], remedy: str = "") -> dict[str, Any] | None:
    """The tables of a file, checked against what it may hold; None without the file.

    A link is followed to a file of the person's or the node's own, and never to a project's.

    Raises:
        CallerMistaken: It cannot be read, is no regular file or has more than `MAX_CONFIG` bytes, or a key in it
            breaks a rule; names file, line, key and rule, and what may have been meant.
    """
    try:
        text = _bytes_of(file, follow=kind is not ProjectConfig).decode("utf-8")
        told = tomllib.loads(text)
        msgspec.convert(told, kind)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CallerMistaken(f"{file} cannot be read: {error}", "mend the file, or take it away") from error
    except msgspec.ValidationError as error:
        # it tells the rule and the key, and not the value, which may be a secret
        place, near = _place_of(str(error), text), _meant(str(error), kind)
        raise CallerMistaken(f"{file}{place}: {error}{near}", remedy or _sections(kind)) from error
    return told


def _bytes_of(file: Path, *, follow: bool) -> bytes:
    # Without waiting: a pipe of that name would keep us for good. What is no regular file may have no end.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(file, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CallerMistaken(
                f"{file} cannot be read: it is no regular file", "put a plain file there, or take it away"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            data = opened.read(MAX_CONFIG + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_CONFIG:
        raise CallerMistaken(f"{file} cannot be read: it has more than {MAX_CONFIG} bytes", "make it shorter")
    return data


def _read(folder: Path) -> NodeConfig:
    told = read_config(
        folder / CONFIG,
        NodeConfig,
        'write [databases.name] with url = "sqlite:///absolute/path" or "postgresql://…${VAR}…", '
        'and [telemetry] with metrics = true or otel_endpoint = "http://…", '
        "[mcp] with anonymous_principal, [oauth] with issuer, audience, jwks and principals, "
        "[models] with default, fallback, discover and cards",
    )
    return msgspec.convert(told or {}, NodeConfig)


_AT: Final = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")
_PART: Final = re.compile(r"\[\.\.\.\]|[^.\[\]]+")
_HEADER: Final = re.compile(r"\s*\[+([^\]]*)\]")
_KEY: Final = re.compile(
    r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
_NAME: Final = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")
_ANY: Final = "[...]"
"""Stands for a name in the paths of msgspec."""


def _path_in(told: str) -> list[str]:
    """The path of the table or key that an error is about."""
    found = _AT.search(told)
    return _PART.findall(found.group(1)) if found is not None else []


def _place_of(told: str, text: str) -> str:
    """The line that an error is about, as far as it can be found without a parser of our own."""
    unknown = _UNKNOWN.search(told)
    wanted = [*_path_in(told), *([unknown.group(1)] if unknown is not None else [])]
    header: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if (table := _HEADER.match(line)) is not None:
            here = header = _names(table.group(1))
        elif (key := _KEY.match(line)) is not None:
            here = [*header, *_names(key.group(1))]
        else:
            continue
        same = zip(wanted, here, strict=False)
        if wanted and len(here) >= len(wanted) and all(one in (other, _ANY) for one, other in same):
            return f", line {number}"
    return ""


def _names(text: str) -> list[str]:
    return ["".join(parts) for parts in _NAME.findall(text)]


def _meant(told: str, kind: type[Any]) -> str:
    """The known name that comes nearest to an unknown one."""
    unknown = _UNKNOWN.search(told)
    if unknown is None:
        return ""
    from difflib import get_close_matches

    near = get_close_matches(unknown.group(1), _fields(kind, _path_in(told)), n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else ""


def _fields(kind: Any, path: Sequence[str]) -> list[str]:
    """The names that a table may hold."""
    for part in path:
        if part == _ANY:
            kind = get_args(kind)[1]
        else:
            kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == part)
        while get_origin(kind) in (Union, UnionType, Annotated):
            kind = get_args(kind)[0]
    return [field.name for field in msgspec.structs.fields(kind)]


def _sections(kind: type[Any]) -> str:
    tables = " ".join(f"[{field.name}]" for field in msgspec.structs.fields(kind))
    return f"mend it; this file may hold: {tables}"
