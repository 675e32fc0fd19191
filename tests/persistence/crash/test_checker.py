"""The judge of all rigs is judged first: it notices each kind of loss, and nothing where nothing is wrong."""

from dataclasses import replace

import pytest

from persistence.appending_child import an_event
from persistence.crash.checker import Found, Told, judge

STREAMS = ("session:0", "session:1")  # the second is appended to in pairs


def sound():
    order = [("session:0", 1), ("session:1", 1), ("session:1", 2), ("session:0", 2), ("session:0", 3)]
    events = [
        (position, stream, version, an_event(stream, version))
        for position, (stream, version) in enumerate(order, start=1)
    ]
    return Found(events, {"key/0": 3, "twin/1/left": 2, "twin/1/right": 2})


TOLD = Told({"session:0": 2, "session:1": 2}, {"key/0": 2})


def swapped(events, one, other):
    changed = list(events)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def test_what_is_sound_has_no_problems_and_more_than_was_acknowledged_is_none():
    verdict = judge(sound(), TOLD)
    assert (verdict.problems, verdict.lost, verdict.events) == ([], 0, 5)


@pytest.mark.parametrize(
    "problem, damage",
    [
        ("session:0 2 to 3 were acknowledged and are gone", lambda found: found.events[:3]),
        ("session:0 3 is there twice", lambda found: [*found.events, (6, *found.events[-1][1:])]),
        (
            "session:0 3 is not what was written",
            lambda f: [*f.events[:4], (*f.events[4][:3], f.events[0][3])],
        ),
        ("session:0 has gaps or is out of order", lambda found: found.events[1:]),
        ("position 4 comes behind 5", lambda found: swapped(found.events, 3, 4)),
        ("session:1 has half of an append: 1 events", lambda found: found.events[:2] + found.events[3:]),
    ],
)
def test_a_damaged_history_is_noticed(problem, damage):
    found = sound()
    verdict = judge(replace(found, events=damage(found)), Told({"session:0": 3}, {}))
    assert problem in verdict.problems


@pytest.mark.parametrize(
    "problem, keys",
    [
        ("key/0 = 2 was acknowledged, but it is None", {}),
        ("key/0 = 2 was acknowledged, but it is 1", {"key/0": 1}),
        ("key/0 = 9 is ahead of its stream", {"key/0": 9}),
        ("the twins 1 were put together and differ", {"key/0": 2, "twin/1/left": 2, "twin/1/right": 1}),
    ],
)
def test_a_lost_or_early_key_is_noticed(problem, keys):
    assert problem in judge(replace(sound(), keys=keys), TOLD).problems


def test_all_that_is_lost_is_counted():
    assert judge(Found([], {}), TOLD).lost == 4


def test_what_the_child_says_besides_is_no_acknowledgement():
    told = Told()
    told.hear(["ready", "session:3 1", "put key/3 1", "session:3 2", "failed storage_unavailable", "done"])
    assert told == Told({"session:3": 2}, {"key/3": 1})
