import re

from hypothesis import given
from hypothesis import strategies as st

from mcp_core.tools.filesystem.comparing import CONTEXT, MOST_MATCHED, unified

LINES = st.lists(st.sampled_from(["a", "b", "c", "-", "+", "@@ -1,1 +1,1 @@", ""]), max_size=30)


def patched(old: list[str], diff: list[str]) -> list[str]:
    """Apply a diff as anybody else would."""
    new: list[str] = []
    at = 0
    for line in diff:
        if found := re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", line):
            begin, length, second, _ = map(int, found.groups())
            begin -= length > 0
            new += old[at:begin]
            at = begin
            assert len(new) == second - (found[4] != "0")
        elif line[0] == "+":
            new.append(line[1:])
        else:
            assert old[at] == line[1:]
            at += 1
            if line[0] == " ":
                new.append(line[1:])
    return new + old[at:]


@given(LINES, LINES)
def test_the_diff_leads_from_the_one_to_the_other(old: list[str], new: list[str]) -> None:
    diff = list(unified(old, new))
    assert patched(old, diff) == new
    assert bool(diff) == (old != new)


@given(LINES, LINES, LINES, LINES)
def test_little_is_shown_of_what_stays(
    begin: list[str], old: list[str], new: list[str], end: list[str]
) -> None:
    diff = list(unified(begin + old + end, begin + new + end))
    assert patched(begin + old + end, diff) == begin + new + end
    for hunk in "\n".join(diff).split("\n@@ ")[1:]:
        stays = [line.startswith(" ") for line in hunk.split("\n")[1:]]
        assert all(not all(stays[at : at + 2 * CONTEXT + 1]) for at in range(len(stays) - 2 * CONTEXT))


def test_a_text_made_to_be_hard_to_match_is_shown_as_replaced() -> None:
    old = [f"{number % 7}" for number in range(MOST_MATCHED * 4)]
    new = [f"{number % 5}" for number in range(1, MOST_MATCHED * 4)]
    diff = list(unified(["same", *old, "end"], ["same", *new, "end"]))
    assert patched(["same", *old, "end"], diff) == ["same", *new, "end"]
    assert len(diff) <= 1 + len(old) + len(new) + 2 * CONTEXT
