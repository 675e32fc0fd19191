"""The front matter of a Markdown file as data, exactly as other programs read it: YAML 1.2, core schema. Pure.

What the YAML library takes for more by itself (dates, `yes` and `no`, numbers in base sixty) stays text here: a client
compares what we list with what it reads from the file.

Source: YAML 1.2.2, section 10.3.2, "Tag Resolution".
"""

import re
from typing import Any, Final

from mcp_interface.errors import CallerMistaken

MAX_DEPTH: Final = 32
"""Of lists and maps in each other."""
MAX_VALUES: Final = 5_000
"""Counted as often as they are referred to."""
MAX_LENGTH: Final = 32 * 1024
"""Characters."""
_EXACT: Final = 2**53
"""From here on JSON's numbers are not the same for every reader."""
_FRONT: Final = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_SCALARS: Final = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
)


def front_matter(text: str) -> dict[str, Any]:
    """The fields at the beginning of a file, as JSON has them.

    Raises:
        CallerMistaken: There are none, or they are no data; says why.
    """
    match = _FRONT.match(text)
    if match is None:
        raise CallerMistaken("it has no front matter", "begin it with --- and fields, then --- again")
    if len(match[1]) > MAX_LENGTH:
        raise CallerMistaken(f"its front matter has more than {MAX_LENGTH:,} characters", "shorten it")
    import yaml  # late: most nodes have no such file

    try:
        fields = yaml.load(match[1], _loader())  # noqa: S506 - a safe loader that takes even less for data
        _require_data(fields)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        told = " ".join(str(error).split())
        raise CallerMistaken(f"its front matter cannot be read: {told[:300]}", "mend it") from error
    if not isinstance(fields, dict):
        raise CallerMistaken("its front matter names no fields", "write name: … and so on")
    return fields


def has_front_matter(text: str) -> bool:
    """Whether a text begins with fields."""
    return _FRONT.match(text) is not None


def body(text: str) -> str:
    """What stands behind the fields; all of it where there are none."""
    match = _FRONT.match(text)
    return text if match is None else text[match.end() :]


def _loader() -> Any:
    import yaml

    class Core(yaml.SafeLoader):
        """Takes for null, true, numbers what YAML 1.2 does, and nothing else for anything but text."""

        yaml_implicit_resolvers: dict[str, Any] = {}

        def flatten_mapping(self, node: Any) -> None:
            """Merge keys are of YAML 1.1."""

    for tag, pattern, first in _SCALARS:
        Core.add_implicit_resolver(tag, re.compile(f"(?:{pattern})\\Z"), first)
    Core.add_constructor("tag:yaml.org,2002:int", _integer)
    Core.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))
    return Core


def _integer(loader: Any, node: Any) -> int:
    """As YAML 1.2 reads it: a leading zero means nothing."""
    text = node.value
    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)


def _require_data(fields: Any) -> None:
    """Refuse what JSON does not have, and what is small only in the file.

    Raises:
        ValueError: It is of another kind, too deep, as what holds itself is, or too much.
    """
    waiting: list[tuple[Any, int]] = [(fields, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise ValueError(f"more than {MAX_DEPTH} levels or {MAX_VALUES:,} values")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a field is not named by text")
            waiting += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
        elif isinstance(value, int | float) and not -_EXACT < value < _EXACT:
            raise ValueError("a number is too large")
        elif not isinstance(value, str | int | float | bool | None):
            raise ValueError(f"{type(value).__name__} is not data")
