"""What differs between two texts, line by line, in unified form. Pure.

Its cost is bounded, whoever wrote the texts: what begins and ends alike is set aside, and where too much is left to
match line by line, the old lines are given as removed and the new ones as added. That is true too, only longer.
"""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

MOST_MATCHED: Final = 600
"""Lines of a text that are matched one by one with those of the other; the work grows with their square and more."""
CONTEXT: Final = 2
"""Lines shown around what changed."""

_Step = tuple[str, int, int, int, int]
"""As of `SequenceMatcher.get_opcodes`."""


def unified(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield the hunks, without a header of files; nothing when the texts are the same."""
    for group in _groups(_steps(old, new)):
        (_, first, _, second, _), (_, _, last, _, end) = group[0], group[-1]
        yield f"@@ -{_span(first, last)} +{_span(second, end)} @@"
        for tag, a, b, c, d in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[a:b])
                continue
            yield from (f"-{line}" for line in old[a:b])
            yield from (f"+{line}" for line in new[c:d])


def _steps(old: Sequence[str], new: Sequence[str]) -> list[_Step]:
    shorter = min(len(old), len(new))
    begin = 0
    while begin < shorter and old[begin] == new[begin]:
        begin += 1
    end = 0
    while end < shorter - begin and old[-1 - end] == new[-1 - end]:
        end += 1
    last, stop = len(old) - end, len(new) - end
    steps: list[_Step] = [("equal", 0, begin, 0, begin)] if begin else []
    if max(last - begin, stop - begin) > MOST_MATCHED:
        steps.append(("replace", begin, last, begin, stop))
    else:
        matcher = SequenceMatcher(None, old[begin:last], new[begin:stop])
        steps += [
            (tag, a + begin, b + begin, c + begin, d + begin) for tag, a, b, c, d in matcher.get_opcodes()
        ]
    return [*steps, ("equal", last, len(old), stop, len(new))] if end else steps


def _groups(steps: Sequence[_Step]) -> Iterator[list[_Step]]:
    """Put what changed near each other into one hunk, with a little of what stays around it."""
    group: list[_Step] = []
    for number, (tag, a, b, c, d) in enumerate(steps):
        if tag != "equal":
            group.append((tag, a, b, c, d))
            continue
        if group:
            ends = number == len(steps) - 1
            if not ends and b - a <= 2 * CONTEXT:
                group.append((tag, a, b, c, d))
                continue
            kept = min(b - a, CONTEXT)
            yield [*group, (tag, a, a + kept, c, c + kept)]
            group = []
        if number < len(steps) - 1:
            kept = min(b - a, CONTEXT)
            group = [(tag, b - kept, b, d - kept, d)]
    if group:
        yield group


def _span(begin: int, end: int) -> str:
    length = end - begin
    return f"{begin if not length else begin + 1},{length}"
