"""Pieces of a secret in a text that was cut before anybody could take the whole of it out; pure."""

from typing import Final

SHORTEST: Final = 16
"""Characters in a row that count as a piece."""
_STEP: Final = SHORTEST // 2
"""Every run of `SHORTEST` characters holds one block of so many that begins at a multiple of it."""
MAX_TEXT: Final = 256 * 1024
"""Characters up to which a text is searched; what is cut by us is shorter."""


def without_pieces(text: str, value: str, instead: str) -> str:
    """Replace every run of 16 or more characters of a value; a text beyond 256 Ki characters stays as it is."""
    if len(value) < SHORTEST or not SHORTEST <= len(text) <= MAX_TEXT:
        return text
    found: list[tuple[int, int]] = []
    for block in range(0, len(value) - _STEP + 1, _STEP):
        at = text.find(value[block : block + _STEP])
        while at >= 0:
            begin, end = _run(text, at, value, block)
            if end - begin >= SHORTEST:
                found.append((begin, end))
            at = text.find(value[block : block + _STEP], max(end - _STEP + 1, at + 1))
    parts: list[str] = []
    done = 0
    for begin, end in sorted(found):
        if begin >= done:
            parts += [text[done:begin], instead]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _run(text: str, at: int, value: str, place: int) -> tuple[int, int]:
    """From where to where text and value are alike around a place where they are."""
    back = 0
    while back < min(at, place) and text[at - back - 1] == value[place - back - 1]:
        back += 1
    on = _STEP
    most = min(len(text) - at, len(value) - place)
    while on < most and text[at + on] == value[place + on]:
        on += 1
    return at - back, at + on
