"""What the arguments of one program may be, one by one: a schema and its judgement. Pure.

No parser of a command line stops `find -exec` or `git -c core.pager=…`: such an argument is harmless text to
everybody but the program. So whatever a schema does not list is refused. It is judged in the one order in
which all common parsers agree: flags, then operands; exact names, no abbreviations.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec

from mcp_interface.address import resource
from mcp_interface.errors import InvalidAddress
from mcp_security.patterns import Paths, glob_matches

MAX_ARGUMENTS: Final = 1_000
MAX_ARGUMENT: Final = 64 * 1024
"""Most characters of one argument."""
MAX_LISTED: Final = 1_000
MAX_STARS: Final = 8
MAX_DEPTH: Final = 8
"""Most levels of subcommands."""

_BIG: Final = 2**53
_FLAG: Final = re.compile(r"--?[^-\s=\x00-\x1f\x7f\ud800-\udfff][^\s=\x00-\x1f\x7f\ud800-\udfff]{0,98}")
_WORD: Final = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff]{1,100}")
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPECIAL_STARTS: Final = ("+", "@")
"""How options of another kind and names of files to read arguments from begin (`vim +!cmd`, `curl -d @file`)."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What one text has to be; everything that is given has to hold."""

    type: Literal["text", "integer", "relative_path"] = "text"
    """A relative path has no `.`, `..` or empty segments; it is not known where links in it lead."""
    minimum: int | None = None
    maximum: int | None = None
    enum: list[str] | None = None
    """One of these, exactly."""
    glob: str | None = None
    """From end to end; `*` is any run of characters, `/` included."""
    inside: list[str] | None = None
    """An absolute path inside one of these patterns of paths, as it is spelt; links are not looked at. With a
    slash at the end it is a directory with all that is below."""
    max_length: int = 4096
    """Characters."""
    multiline: bool = False
    """Whether it may hold newlines and tabs; other control characters never pass."""

    def __post_init__(self) -> None:
        number = self.type == "integer"
        _require(number or (self.minimum, self.maximum) == (None, None), "only an integer has bounds")
        low, high = self.minimum, self.maximum
        _require(all(abs(bound or 0) <= _BIG for bound in (low, high)), f"a bound exceeds {_BIG}")
        _require(low is None or high is None or low <= high, "minimum is above maximum")
        _require(not number or not (self.glob or self.enum or self.inside), "an integer has bounds only")
        _require(self.type == "text" or self.inside is None, "inside asks for an absolute path")
        _require(1 <= self.max_length <= MAX_ARGUMENT, f"max_length is not within 1 to {MAX_ARGUMENT}")
        for listed in (self.enum, self.inside):
            _require(listed is None or 0 < len(listed) <= MAX_LISTED, f"list 1 to {MAX_LISTED} texts")
        stars = (self.glob or "").count("*")
        _require(stars <= MAX_STARS, f"the glob has {stars} stars; {MAX_STARS} are allowed")
        for text in [*(self.enum or []), self.glob or ""]:
            _require(len(text) <= MAX_ARGUMENT and not _control(text, self.multiline), f"bad text {text!r}")
        for path in self.inside or []:
            _paths(path)

    @property
    def is_open(self) -> bool:
        """Whether it says nothing about the text but its form."""
        return self.type == "text" and self.enum is None and self.glob is None and self.inside is None

    def expects_dash(self, text: str) -> bool:
        """Tell whether the author of the rule thought of a text that begins with a dash: `-mtime -7`."""
        return text in (self.enum or ()) or (self.minimum is not None and self.minimum < 0)


class Flag(Rule, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The value of a flag."""

    form: Literal["either", "attached", "separate", "optional"] = "either"
    """`--flag=value` or `--flag value`; only the one; only the other; `--flag` or `--flag=value`. A flag with
    one dash always takes the next argument: to some programs `-n=5` is the value `=5`."""


class Operands(Rule, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The arguments that are not flags; the rule is for each that `first` does not speak of."""

    max: int
    min: int = 0
    first: list[Rule] = []
    """Rules of the first ones, by position."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            0 <= self.min <= self.max <= MAX_ARGUMENTS, f"0 <= min <= max <= {MAX_ARGUMENTS} does not hold"
        )
        _require(len(self.first) <= self.max, "first has more rules than max allows operands")


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The arguments of a program or subcommand. An empty one: none at all."""

    flags: dict[str, Flag | bool] = {}
    """By exact name with its dashes; `false` takes no value. No abbreviations."""
    operands: Operands | None = None
    subcommands: dict[str, "Schema"] = {}
    """By exact word; one of them has to follow the flags, and its schema judges the rest."""
    separator: bool = False
    """Whether `--` may stand before the operands; behind it an operand may begin with a dash."""
    bundles: bool = False
    """Whether `-la` may stand for `-l -a`, each listed, and only the last with a value (the next argument)."""
    interleaved: bool = False
    """Whether flags may also stand behind operands. Only for a program that still takes them as flags there:
    `python3 script.py -x`, `env`, `xargs` and `ssh` do not."""

    def __post_init__(self) -> None:
        for flag, value in self.flags.items():
            _require(_FLAG.fullmatch(flag) is not None, f"{flag[:100]!r} is no name of a flag")
            _require(value is not True, f"{flag}: write false for no value, or a rule for its value")
            dashed = isinstance(value, Flag) and value.form in {"attached", "optional"}
            _require(not dashed or flag.startswith("--"), f"{flag}: only '--' takes a value behind '='")
        for word in self.subcommands:
            _require(_WORD.fullmatch(word) is not None and word != "--", f"{word[:100]!r} is no subcommand")
            _require(word not in self.flags, f"{word!r} is a flag and a subcommand")
        none = self.operands is None and not self.separator and not self.interleaved
        _require(
            not self.subcommands or none, "beside subcommands there are no operands; they belong to them"
        )


def refusal(schema: Schema, argv: Sequence[str]) -> str | None:
    """Say why a schema refuses arguments, or None when it accepts them. One pass, no guessing."""
    operands: list[str] = []
    words = iter(argv)
    behind = False
    for word in words:
        if word in schema.subcommands:
            schema = schema.subcommands[word]
        elif behind or word == "-" or not word.startswith("-"):
            if schema.subcommands:
                return f"{word[:100]!r} is not one of the subcommands {', '.join(schema.subcommands)}"
            operands.append(word)
            if why := _operand(schema.operands, len(operands), word, behind):
                return why
        elif operands and not schema.interleaved:
            return f"{word[:100]!r} stands behind an operand; flags come first"
        elif word == "--":
            if not schema.separator:
                return "'--' is not listed"
            behind = True
        elif why := _flag(schema, word, words):
            return why
    return _missing(schema, len(operands))


def depth(schema: Schema) -> int:
    """Count the levels of subcommands, the program itself included."""
    return 1 + max(map(depth, schema.subcommands.values()), default=0)


def _missing(schema: Schema, operands: int) -> str | None:
    if schema.subcommands:
        return f"one of the subcommands {', '.join(schema.subcommands)} has to be named"
    least = schema.operands.min if schema.operands is not None else 0
    return f"{operands} operands are fewer than {least}" if operands < least else None


def _operand(operands: Operands | None, number: int, word: str, behind: bool) -> str | None:
    if operands is None or number > operands.max:
        return f"operand {word[:100]!r} exceeds {operands.max if operands else 0}"
    rule = operands.first[number - 1] if number <= len(operands.first) else operands
    why = _unfit(rule, word, dash=behind)
    return f"operand {word[:100]!r} {why}" if why else None


def _flag(schema: Schema, word: str, words: Iterator[str]) -> str | None:
    if "=" in word and word.startswith("--"):
        return _attached(schema, word)
    rule = schema.flags.get(word)
    if rule is None:
        last = _bundle(schema, word)
        return f"flag {word[:100]!r} is not listed" if last is None else _flag(schema, last, words)
    if not isinstance(rule, Flag) or rule.form == "optional":
        return None
    if rule.form == "attached":
        return f"flag {word} takes its value behind '='"
    following = next(words, None)
    return f"flag {word} lacks its value" if following is None else _value(rule, word, following, dash=False)


def _attached(schema: Schema, word: str) -> str | None:
    name, _, value = word.partition("=")
    rule = schema.flags.get(name)
    if rule is None:
        return f"flag {name[:100]!r} is not listed"
    if not isinstance(rule, Flag) or rule.form == "separate":
        return f"flag {name} takes no value behind '='"
    return _value(rule, name, value, dash=True)


def _value(rule: Flag, name: str, value: str, *, dash: bool) -> str | None:
    why = _unfit(rule, value, dash=dash)
    return f"value of {name}: {value[:100]!r} {why}" if why else None


def _bundle(schema: Schema, word: str) -> str | None:
    """The last flag of a bundle whose others are listed and take no value."""
    if not schema.bundles or len(word) < 3 or word.startswith("--"):
        return None
    *inner, last = (f"-{letter}" for letter in word[1:])
    plain = all(schema.flags.get(flag) is False for flag in inner)
    return last if plain else None


def _unfit(rule: Rule, text: str, *, dash: bool) -> str | None:
    """Say what is wrong with a text; `dash`: it stands where no program takes it for a flag."""
    why = None
    if len(text) > rule.max_length:
        why = f"is longer than {rule.max_length} characters"
    elif _control(text, rule.multiline):
        why = "holds a control character"
    elif text.startswith("-") and not dash and not rule.expects_dash(text):
        why = "begins with a dash"
    elif rule.is_open and text.startswith(_SPECIAL_STARTS):
        why = "begins with a sign that has a meaning to some programs; only an enum or a glob can allow it"
    return why or _unlike(rule, text)


def _unlike(rule: Rule, text: str) -> str | None:
    why = None
    if rule.type == "integer":
        why = _outside(rule, text)
    elif rule.type == "relative_path" and not _is_path(text, absolute=False):
        why = "is not a plain relative path"
    elif rule.enum is not None and text not in rule.enum:
        why = f"is not one of {', '.join(rule.enum[:20])}"
    elif rule.glob is not None and not glob_matches(rule.glob, text):
        why = f"does not match {rule.glob}"
    elif rule.inside is not None and not _is_inside(rule.inside, text):
        why = f"is not a plain absolute path inside {', '.join(rule.inside[:20])}"
    return why


def _is_inside(patterns: Sequence[str], text: str) -> bool:
    if not _is_path(text, absolute=True):
        return False
    path = Paths.of(text[1:])
    return any(_paths(pattern).includes(path) for pattern in patterns)


def _outside(rule: Rule, text: str) -> str | None:
    if _INTEGER.fullmatch(text) is None:
        return "is not a whole number"
    low, high = rule.minimum, rule.maximum
    if (low is not None and int(text) < low) or (high is not None and int(text) > high):
        return f"is not within {'any' if low is None else low} to {'any' if high is None else high}"
    return None


def _is_path(text: str, *, absolute: bool) -> bool:
    if text.startswith("/") is not absolute:
        return False
    try:
        resource("fs", "read", text)
    except InvalidAddress:
        return False
    return True


@lru_cache(4096)
def _paths(text: str) -> Paths:
    try:
        return Paths.parse(text)
    except InvalidAddress as error:
        raise ValueError(error.message) from error


def _control(text: str, multiline: bool) -> bool:
    return _CONTROL.search(text.translate({9: " ", 10: " "}) if multiline else text) is not None


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
