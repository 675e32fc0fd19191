"""Windows of time, against a clock that is read minute by minute over changes of daylight saving."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.address import parse_resource
from mcp_interface.capability import Facts
from mcp_interface.errors import InvalidRecord, NotPermitted
from mcp_security.constraints import Question, compile_rules, merge, read
from mcp_security.constraints.windows import DAYS
from mcp_security.patterns import Paths

FILE = parse_resource("mcp://fs/read/a")
CHANGES = [
    ("Europe/Zurich", "2026-03-29T01:00Z"),
    ("Europe/Zurich", "2026-10-25T01:00Z"),
    ("America/New_York", "2026-03-08T07:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"),  # by half an hour
    ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    ("America/St_Johns", "2026-03-08T05:30Z"),
    ("America/St_Johns", "2010-11-07T02:31Z"),  # one minute past midnight, back into the day before
    ("Africa/Casablanca", "2026-02-15T02:00Z"),  # for Ramadan, backwards first
    ("Africa/Casablanca", "2026-03-22T02:00Z"),
    ("Asia/Kathmandu", "2026-06-15T00:00Z"),  # 5:45 from UTC, no change
    ("UTC", "2026-06-15T00:00Z"),
]


def allows(value: Any, now: datetime) -> bool:
    (check,) = compile_rules({"time_window": value}).checks
    return check(Question(FILE, Paths.of("a"), Facts(), now)) is None


def naive(window: dict, now: datetime) -> bool:
    """Ask what the wall shows, and look through the seven days for a window that began and has not ended."""
    offset = ZoneInfo(window["zone"]).utcoffset(now.astimezone(ZoneInfo(window["zone"])))
    assert offset is not None
    wall = now.replace(tzinfo=None) + offset
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    hours = {
        key: timedelta(hours=int(window[key][:2]), minutes=int(window[key][3:])) for key in ("from", "to")
    }
    for day in (midnight - timedelta(days=1), midnight):
        begins, ends = day + hours["from"], day + hours["to"]
        if ends <= begins:
            ends += timedelta(days=1)
        if DAYS[day.weekday()] in window["days"] and begins <= wall < ends:
            return True
    return False


times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 29, 30, 59]))
windows = st.builds(
    lambda days, begin, end: {"days": days, "from": begin, "to": end},
    st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
    times,
    times | st.just("24:00"),
).filter(lambda window: window["from"] != window["to"])


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@settings(max_examples=6, deadline=None)
@given(window=windows)
def test_a_window_agrees_with_the_wall_minute_by_minute(zone: str, change: str, window: dict) -> None:
    whole = {**window, "zone": zone}
    (check,) = compile_rules({"time_window": whole}).checks
    begin = datetime.fromisoformat(change) - timedelta(hours=25)
    for minute in range(50 * 60):
        now = begin + timedelta(minutes=minute, seconds=minute % 60)
        assert (check(Question(FILE, Paths.of("a"), Facts(), now)) is None) == naive(whole, now), now


def test_the_zones_change_when_the_cases_say_so() -> None:
    for zone, change in CHANGES[:10]:
        at = datetime.fromisoformat(change)
        offsets = {
            (at + timedelta(minutes=minutes)).astimezone(ZoneInfo(zone)).utcoffset() for minutes in (-1, 1)
        }
        assert len(offsets) == 2, (zone, change)


ZURICH = {"zone": "Europe/Zurich", "from": "02:15", "to": "02:45"}


def minutes_allowed(value: Any, day: str) -> int:
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=3)
    return sum(allows(value, begin + timedelta(minutes=minute)) for minute in range(24 * 60))


def test_an_hour_that_is_skipped_is_never_inside_and_one_that_is_repeated_twice() -> None:
    assert minutes_allowed(ZURICH, "2026-03-29") == 0
    assert minutes_allowed(ZURICH, "2026-10-25") == 60
    assert minutes_allowed(ZURICH, "2026-06-15") == 30


def test_a_window_across_midnight_belongs_to_the_day_it_begins() -> None:
    night = {"zone": "UTC", "days": ["fri"], "from": "22:00", "to": "06:00"}
    friday = datetime(2026, 6, 19, tzinfo=UTC)
    expected = [(21, False), (22, True), (29, True), (30, False), (46, False), (-1, False), (1, False)]
    assert [(hour, allows(night, friday + timedelta(hours=hour))) for hour, _ in expected] == expected
    sunday = {"zone": "UTC", "days": ["sun"], "from": "23:00", "to": "01:00"}
    assert allows(sunday, datetime(2026, 6, 22, 0, 59, 59, tzinfo=UTC))
    assert not allows(sunday, datetime(2026, 6, 21, 0, 30, tzinfo=UTC))


def test_its_edges_are_exact() -> None:
    window = {"zone": "UTC", "from": "08:00", "to": "18:00"}
    day = datetime(2026, 6, 15, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    begin, end = day + timedelta(hours=8), day + timedelta(hours=18)
    assert [allows(window, at) for at in (begin - tick, begin, end - tick, end)] == [False, True, True, False]
    whole = {"zone": "UTC", "from": "00:00", "to": "24:00"}
    assert all(allows(whole, day + timedelta(hours=hour)) for hour in range(200))


def test_a_time_without_a_zone_is_refused() -> None:
    assert not allows({"zone": "UTC", "from": "00:00", "to": "24:00"}, datetime(2026, 6, 15))


def test_windows_of_several_zones_all_hold() -> None:
    both = [
        {"zone": "Europe/Zurich", "from": "08:00", "to": "18:00"},
        {"zone": "America/New_York", "from": "08:00", "to": "18:00"},
    ]
    day = datetime(2026, 6, 15, tzinfo=UTC)
    assert [hour for hour in range(24) if allows(both, day + timedelta(hours=hour))] == [12, 13, 14, 15]


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ({"from": "08:00", "to": "10:00"}, {"from": "10:00", "to": "12:00"}),
        ({"from": "22:00", "to": "06:00"}, {"from": "06:00", "to": "22:00"}),
        (
            {"days": ["mon"], "from": "00:00", "to": "24:00"},
            {"days": ["tue"], "from": "00:00", "to": "24:00"},
        ),
        (
            {"days": ["sun"], "from": "22:00", "to": "02:00"},
            {"days": ["sun"], "from": "00:00", "to": "02:00"},
        ),
    ],
)
def test_windows_with_nothing_in_common_cannot_be_handed_on(parent: dict, child: dict) -> None:
    for zone in ("UTC", "Europe/Zurich"):
        one, other = {"time_window": {"zone": zone, **parent}}, {"time_window": {"zone": zone, **child}}
        with pytest.raises(NotPermitted):
            merge(one, other)
        with pytest.raises(InvalidRecord, match="no minute in common"):
            read({"time_window": [one["time_window"], other["time_window"]]})


def test_windows_that_meet_across_the_end_of_the_week_can_be_handed_on() -> None:
    night = {"zone": "UTC", "days": ["sun"], "from": "22:00", "to": "02:00"}
    morning = {"zone": "UTC", "days": ["mon"], "from": "00:00", "to": "08:00"}
    merged = merge({"time_window": night}, {"time_window": morning})["time_window"]
    monday = datetime(2026, 6, 22, tzinfo=UTC)
    hours = [hour for hour in range(-4, 24) if allows(merged, monday + timedelta(hours=hour))]
    assert hours == [0, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "Mars/Olympus"}, {"zone": "localtime"}, {"zone": "Europe"}, {"zone": "../etc/passwd"},
        {"zone": "/etc/localtime"}, {"zone": "right/Europe/Zurich"}, {"zone": "Europe/Zurich\x00"}, {"zone": None},
        {"zone": "europe/zurich"}, {"zone": "CET-1CEST"}, {"from": "8:00"}, {"from": "24:00"}, {"to": "24:01"},
        {"from": "18:00"}, {"to": "08:60"}, {"from": 8}, {"from": "\u0660\u0668:00"}, {"days": []}, {"days": ["monday"]},
        {"days": [0]}, {"days": "mon"}, {"hours": 3}, {"days": [*DAYS, "mon"]},
    ],
)  # fmt: skip
def test_a_window_that_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(InvalidRecord):
        read({"time_window": {"zone": "Europe/Zurich", "from": "08:00", "to": "18:00", **wrong}})


def test_a_part_that_is_missing_is_refused_but_days_may_be_left_out() -> None:
    whole = {"zone": "UTC", "from": "08:00", "to": "18:00"}
    assert read({"time_window": whole})["time_window"] == [{**whole, "days": list(DAYS)}]
    for key in whole:
        with pytest.raises(InvalidRecord):
            read({"time_window": {name: value for name, value in whole.items() if name != key}})


def test_days_are_kept_in_the_order_of_the_week() -> None:
    window = {"zone": "UTC", "days": ["SUN", "mon", "wed"], "from": "08:00", "to": "18:00"}
    days = read({"time_window": window})["time_window"][0]["days"]
    assert all(DAYS.index(one) < DAYS.index(other) for one, other in pairwise(days))


def test_of_windows_in_several_zones_each_zone_must_have_a_minute_left() -> None:
    utc = {"zone": "UTC", "from": "08:00", "to": "09:00"}
    early, late = ({"zone": "Asia/Tokyo", "from": begin, "to": "12:00"} for begin in ("08:00", "11:00"))
    never = {**early, "to": "09:00"}
    read({"time_window": [utc, early, late]})
    with pytest.raises(InvalidRecord):
        read({"time_window": [utc, late, never]})
    with pytest.raises(NotPermitted):
        merge({"time_window": [utc, late]}, {"time_window": [never]})


def test_sixteen_windows_are_not_too_many() -> None:
    many = [{"zone": "UTC", "from": "08:00", "to": f"09:{minute:02}"} for minute in range(17)]
    assert len(read({"time_window": many[:16]})["time_window"]) == 16
    with pytest.raises(InvalidRecord):
        read({"time_window": many})


@pytest.mark.parametrize(
    "part",
    [
        {"days": ["mon", "moonday"]},
        {"zone": "America/Argentina"},
        {"zone": "Europe/Zurich\n"},
        {"zone": "Europe/../Europe/Zurich"},
        {"from": "08:00x"},
        {"from": "08:0"},
        {"to": "24:00:00"},
        {"to": "24:01"},
    ],
)
def test_a_window_that_is_nearly_one_is_refused(part: dict) -> None:
    whole = {"zone": "UTC", "days": ["mon"], "from": "08:00", "to": "09:00"}
    read({"time_window": whole})
    with pytest.raises(InvalidRecord):
        read({"time_window": {**whole, **part}})
