"""The grammar of a typed line: what is accepted means to a real shell exactly what it means to us."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken
from mcp_security.validators.command_line import MAX_LINE, parse_line

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
SHELLS = [shell for name in ("sh", "bash") if (shell := shutil.which(name))]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/bin/x", ("/bin/x",)),
        ("  /bin/x   a  b ", ("/bin/x", "a", "b")),
        ("x 'a b' \"c d\"", ("x", "a b", "c d")),
        ("x a'b'\"c\"d", ("x", "abcd")),
        ("x '' \"\"", ("x", "", "")),
        ("x \\; \\\\ \\'\\\"", ("x", ";", "\\", "'\"")),
        ("x a\\ b", ("x", "a b")),
        ("x '$HOME `id` ;|&' \"* ? ~ # ; '\"", ("x", "$HOME `id` ;|&", "* ? ~ # ; '")),
        ("x 'a\\b' a=b --c='d e' %1 ^x", ("x", "a\\b", "a=b", "--c=d e", "%1", "^x")),
        ("x Zürich 東京", ("x", "Zürich", "東京")),
    ],
)
def test_words_are_as_they_are_written(line: str, words: tuple[str, ...]) -> None:
    assert parse_line(line) == words


@pytest.mark.parametrize("sign", "|&;<>()$`*?[]{}~!#")
def test_a_metacharacter_is_refused_outside_quotes_and_kept_within_single_ones(sign: str) -> None:
    for line in (f"x {sign}", f"x a{sign}b", f"{sign} x", f"x a{sign}", f"x 'a'{sign}'b'"):
        with pytest.raises(CallerMistaken, match="means something to a shell") as caught:
            parse_line(line)
        assert (
            repr(sign) in caught.value.message
            and f"character {line.index(sign) + 1} " in caught.value.message
        )
        assert caught.value.remedy
    assert parse_line(f"x '{sign}'") == parse_line(f"x \\{sign}") == ("x", sign)


@pytest.mark.parametrize(
    "line", ['x "a$b"', 'x "`id`"', 'x "a\\"b"', "x 'a", 'x "a', "x a\\", "x a\\b", "x a\\\u00e9"]
)
def test_what_could_be_read_in_two_ways_is_refused(line: str) -> None:
    with pytest.raises(CallerMistaken):
        parse_line(line)


@pytest.mark.parametrize(
    "sign", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\u00a0", "\u2028", "\u202e", "\u200b", "\ud800"]
)
def test_what_cannot_be_seen_is_refused_everywhere(sign: str) -> None:
    for line in (f"x a{sign}b", f"x 'a{sign}b'", f'x "a{sign}b"', f"x \\{sign}"):
        with pytest.raises(CallerMistaken, match="cannot be seen"):
            parse_line(line)


def test_an_empty_line_and_one_too_long_are_refused() -> None:
    for line in ("", "   ", "x " + "a" * MAX_LINE):
        with pytest.raises(CallerMistaken):
            parse_line(line)
    assert len(parse_line("x " * (MAX_LINE // 2))) == MAX_LINE // 2


def test_the_longest_lines_take_no_time_worth_mentioning() -> None:
    began = time.process_time()
    for line in (
        "(" * MAX_LINE,
        "''" * (MAX_LINE // 2),
        "\\ " * (MAX_LINE // 2),
        '"' * (MAX_LINE - 1),
        "x '" + "a" * 8000,
    ):
        with suppress(CallerMistaken):
            parse_line(line)
    assert time.process_time() - began < 2  # seconds of this process alone; some milliseconds usually


@given(st.lists(st.text(st.characters(blacklist_categories=["C", "Z"]), max_size=9), min_size=1))
def test_every_quoted_list_of_words_comes_back(words: list[str]) -> None:
    line = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    if len(line) <= MAX_LINE:
        assert parse_line(line) == tuple(words)


_SIGNS = [
    *"abz09-_=/.,:%+@ ",
    " ",
    " ",
    "'",
    '"',
    "\\",
    "''",
    '""',
    "' '",
    '" "',
    "'a b'",
    '"c d"',
    "\\ ",
    "\\'",
    "\\\\",
]
_META = [
    *"|&;<>()$`*?[]{}~!#^\t\n\0\x7f",
    "$(",
    "&&",
    "||",
    "<<",
    "\\\n",
    "\u00a0",
    "\u202e",
    "é",
    "東",
    "a=b",
    "\\a",
]


def lines(seed: int, count: int) -> Iterator[str]:
    """Lines of which some half hold nothing that a shell would do more with."""
    entropy = random.Random(seed)
    for _ in range(count):
        signs = _SIGNS if entropy.random() < 0.6 else _SIGNS + _META
        yield "".join(entropy.choice(signs) for _ in range(entropy.randrange(1, 30)))


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_accepted_means_the_same_to_a_real_shell(shell: str) -> None:
    count = 60_000 if NIGHTLY else 3_000
    accepted: list[tuple[str, tuple[str, ...]]] = []
    refused = 0
    for line in lines(5, count):
        try:
            accepted.append((line, parse_line(line)))
        except CallerMistaken:
            refused += 1
    assert min(len(accepted), refused) > count / 10
    script = "\n".join(f"printf '%s\\0' {line}; printf '\\n\\0'" for line, _ in accepted)
    told = subprocess.run(
        [shell],
        input=script.encode(),
        capture_output=True,
        env={"LANG": "C.UTF-8"},
        cwd="/",
        timeout=60,
        check=True,
    )
    assert told.stderr == b""
    heard = [tuple(record.split("\0")[:-1]) for record in told.stdout.decode().split("\n\0")][:-1]
    assert heard == [words for _, words in accepted]
