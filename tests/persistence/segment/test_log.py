"""The log as a whole: rolling, reading, checkpoints, and agreement with a list under any commands."""

import os
import stat
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken, StorageCorrupt, StorageUnavailable
from mcp_persistence.segment import Checkpoint, Place, SegmentLog, SystemDisk, verify
from persistence.segment.logs import FOLDER, ID, Life, contents, fill, open_log
from persistence.simulated_disk import SimulatedDisk

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"


@pytest.fixture
def log(tmp_path):
    made = open_log(SystemDisk(), folder=tmp_path / "log")
    yield made
    made.close()


def again(log, **options):
    log.close()
    return open_log(SystemDisk(), folder=log.folder, **options)


def test_frames_read_back_in_every_way(log):
    kept = fill(log, [500, 0, 3000, 3000, 100, 9000, 1] * 6, epoch=4)
    frames = list(log.frames())
    assert contents(log) == kept
    assert [frame.number for frame in frames] == list(range(1, 43))
    assert (log.frame, log.head, log.epoch) == (42, sum(count for _, count in kept), 4)
    assert [log.read(frame.place) for frame in frames] == frames
    assert [log.following(frame.place) for frame in frames] == [*(each.place for each in frames[1:]), None]
    for frame in frames:
        for position in range(frame.first, frame.last + 1):
            assert log.locate(position) == frame.place
    assert log.locate(0) is None
    assert log.locate(log.head + 1) is None
    assert frames[2].at == 2_000_002


def test_a_reopened_log_goes_on_where_it_was(log):
    kept = fill(log, [100, 5000, 200])
    other = again(log)
    assert (other.frame, other.head, other.chain, other.epoch) == (3, 3, log.chain, 1)
    assert (other.found.frames, other.found.events, other.found.resumed_from) == (3, 3, 0)
    kept += fill(other, [7, 8])
    assert contents(again(other)) == kept


def test_an_existing_log_keeps_its_own_id(log):
    log.close()
    other = SegmentLog.open(log.folder, journal_id=b"y" * 16, at=1)
    assert other.journal_id == ID
    other.close()


def test_a_checkpoint_makes_the_next_start_cheap(log):
    kept = fill(log, [3000] * 5)
    point = log.checkpoint()
    kept += fill(log, [3000, 10])
    other = again(log, since=point)
    assert (other.found.frames, other.found.resumed_from) == (2, 5)
    assert contents(other, point) == kept[5:]
    assert contents(other) == kept
    assert [other.checkpoint(frame) for frame in other.frames()][4::2] == [point, other.checkpoint()]
    assert again(other, since=other.checkpoint()).found.frames == 0


@pytest.mark.parametrize(
    "point",
    [
        Checkpoint(1, 4096, 0, 0, 0, bytes(32)),
        Checkpoint(99, 5000, 200, 3, 3, b"x" * 32),
        Checkpoint(1, 4292, 196, 1, 0, b"x" * 32),
        Checkpoint(1, 100, 200, 1, 0, b"x" * 32),
        Checkpoint(1, 1 << 40, 200, 1, 0, b"x" * 32),
    ],
)
def test_a_checkpoint_that_does_not_fit_means_that_everything_is_checked(log, point):
    fill(log, [100, 200, 300])
    other = again(log, since=point)
    assert (other.found.frames, other.found.resumed_from) == (3, 0)
    if point.frame:
        with pytest.raises(StorageCorrupt):
            list(other.frames(point))


def test_a_full_segment_is_sealed_to_what_it_holds_and_linked(log):
    fill(log, [1500] * 10)
    segments = log.segments()
    assert [each.is_sealed for each in segments] == [True] * (len(segments) - 1) + [False]
    assert [each.first_frame for each in segments] == [1, 3, 5, 7, 9]
    for each in segments[:-1]:
        assert each.bytes == (log.folder / each.name).stat().st_size == 4096 + 2 * 1596
    assert segments[-1].bytes == 8192
    assert log.size == 5 * (4096 + 2 * 1596)


def test_segments_grow_with_the_log_and_are_really_filled(tmp_path):
    log = open_log(SystemDisk(), folder=tmp_path, segment_bytes=None)
    for number in range(40):
        log.append(bytes([number]) * 200_000, count=1, epoch=1, at=number)
    sizes = [each.bytes for each in log.segments()]
    assert len(sizes) == 4
    assert sizes[-1] == 4 << 20 or sizes[-1] > sizes[-2] > sizes[0]
    last = (tmp_path / log.segments()[-1].name).stat()
    assert last.st_blocks * 512 >= last.st_size, "no holes"
    assert len(contents(again_at(log, tmp_path))) == 40


def again_at(log, folder):
    log.close()
    return open_log(SystemDisk(), folder=folder, segment_bytes=None)


def test_a_frame_larger_than_a_segment_gets_one_that_fits(log):
    kept = fill(log, [100_000, 9000, 300_000, 9000])
    assert [each.first_frame for each in log.segments()] == [1, 2, 3, 4]
    assert contents(again(log)) == kept


def test_files_are_for_their_owner_alone_and_nothing_temporary_stays(log):
    fill(log, [1500] * 10)
    log.close()
    for path in log.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.suffix in (".seg", "")
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700


def test_what_a_crash_left_under_a_temporary_name_is_removed(log):
    fill(log, [10])
    log.close()
    (log.folder / "next.tmp").write_bytes(b"half")
    other = open_log(SystemDisk(), folder=log.folder)
    assert sorted(path.suffix for path in log.folder.iterdir()) == ["", ".seg"]
    other.close()


def test_a_closed_log_refuses_to_append_and_may_be_closed_again(log):
    log.close()
    log.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        log.append(b"x", count=1, epoch=1, at=1)


@pytest.mark.parametrize("numbers", [{"count": -1}, {"count": 1 << 32}, {"epoch": -1}, {"at": 1 << 63}])
def test_numbers_out_of_range_are_refused_and_change_nothing(log, numbers):
    with pytest.raises(CallerMistaken):
        log.append(b"x", **({"count": 1, "epoch": 1, "at": 1} | numbers))
    assert fill(log, [5]) == contents(log)


@pytest.mark.parametrize("options", [{"journal_id": b"short"}, {"segment_bytes": 8191}])
def test_options_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(CallerMistaken):
        SegmentLog.open(tmp_path, **({"journal_id": ID, "at": 1} | options))


def test_a_place_where_no_frame_is_gives_no_frame(log):
    fill(log, [100, 100])
    for place in (Place(1, 4097, 196), Place(1, 4096, 195), Place(1, 4096, 0), Place(2, 4096, 196)):
        with pytest.raises(StorageCorrupt):
            log.read(place)


def test_readers_on_other_threads_see_whole_frames_while_the_writer_goes_on(log):
    total = 150
    errors = []

    def follow():
        try:
            seen, point = 0, None
            while seen < total:
                for frame in log.frames(point):
                    seen += 1
                    assert frame.number == seen
                    assert frame.body == bytes([frame.number]) * (frame.number * 20)
                    assert log.read(frame.place) == frame
                    assert log.locate(frame.first) == frame.place
                    point = log.checkpoint(frame)
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=follow) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, total + 1):
        log.append(bytes([number]) * (number * 20), count=1, epoch=1, at=number)
        if number % 50 == 0:
            assert log.verify().damage == []
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()
    assert errors == []


def test_verification_tells_its_progress_and_what_it_found(tmp_path):
    log = open_log(SystemDisk(), folder=tmp_path, segment_bytes=None)
    for number in range(20):
        log.append(bytes(1 << 20), count=2, epoch=1, at=number)
    told = []
    report = log.verify(lambda done, of: told.append((done, of)))
    assert (report.frames, report.events, report.saved, report.damage) == (20, 40, [(1, 40)], [])
    assert [done > 0 and done <= of for done, of in told] == [True, True]
    log.close()
    assert verify(tmp_path).frames == 20
    assert verify(tmp_path / "nothing").frames == 0


COMMANDS = st.one_of(
    st.tuples(st.just("append"), st.binary(max_size=40), st.integers(1, 100), st.integers(0, 3)),
    st.tuples(st.sampled_from(["reopen", "resume", "restart", "point"])),
    st.tuples(st.just("crash"), st.integers(0, 1 << 30)),
)


@settings(max_examples=2000 if NIGHTLY else 100, deadline=None)
@given(st.lists(COMMANDS, max_size=30))
def test_the_log_agrees_with_a_list_under_any_commands(commands):
    life = Life(SimulatedDisk())
    assert life.open() is None
    for command in commands:
        match command:
            case ("append", body, times, count):
                assert life.append(body * times, count) is None
                assert contents(life.log) == life.acknowledged
            case ("point",):
                life.keep_point()
            case ("crash", seed):
                life.disk.crash(seed)
                assert life.open() is None
            case (how,):
                if how != "restart":
                    life.log.close()
                life.disk.restart()
                assert life.open(resume=how == "resume") is None
    assert life.log.verify().damage == []
    assert life.disk.names(FOLDER).count("head") == 1
