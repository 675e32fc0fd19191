"""Flipped bits, missing parts and foreign files: reported, or every acknowledged frame reads back identical."""

import os
import random

import pytest

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment import SystemDisk, verify
from mcp_persistence.segment import header as headers
from persistence.segment.logs import FOLDER, SEGMENT, contents, fill, folder_of, open_log
from persistence.simulated_disk import SimulatedDisk

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
HEAD = "head"


def small():
    """Two segments, the second with room left; as files, and what they hold."""
    disk = SimulatedDisk()
    log = open_log(disk)
    kept = fill(log, [900, 700, 1500, 40, 900, 0, 250])
    assert len(log.segments()) == 2
    log.close()
    return disk.content(FOLDER), kept


def segments_of(files):
    return sorted(name for name in files if name.endswith(".seg"))


def judge(files, kept):
    """Open a copy: `refused`, or `read` when everything is there; fails on anything else."""
    disk = folder_of(files)
    before = disk.content(FOLDER)
    try:
        log = open_log(disk)
    except StorageCorrupt as error:
        assert error.remedy
        assert disk.content(FOLDER) == before, "damage is left as it is"
        return "refused"
    assert contents(log) == kept
    return "read"


def flipped(files, name, bit):
    content = bytearray(files[name])
    content[bit // 8] ^= 1 << bit % 8
    return files | {name: bytes(content)}


def test_every_single_flipped_bit_of_a_small_log_is_reported_or_harmless():
    disk = SimulatedDisk()
    log = open_log(disk)
    kept = fill(log, [30, 0, 70, 20])
    used = log.size
    log.close()
    files = disk.content(FOLDER)
    for name in files:
        # Frames and mark: every bit. The rest is one sum, or zeros, and is sampled by the next test.
        start, end = (headers.BLOCK, used) if name != HEAD else (0, len(files[name]))
        outcomes = {judge(flipped(files, name, bit), kept) for bit in range(8 * start, 8 * end)}
        assert outcomes == ({"refused"} if name != HEAD else {"read"})


def test_flipped_bits_of_blocks_and_of_free_space_are_reported_or_harmless():
    files, kept = small()
    chance = random.Random(3)
    for name in segments_of(files):
        bits = range(8 * headers.BLOCK) if NIGHTLY else chance.sample(range(8 * headers.BLOCK), 400)
        assert {judge(flipped(files, name, bit), kept) for bit in bits} == {"refused"}
        for _ in range(200):
            judge(flipped(files, name, chance.randrange(8 * len(files[name]))), kept)


def test_without_the_mark_a_flip_in_the_last_frame_alone_looks_like_a_torn_append():
    files, kept = small()
    del files[HEAD]
    chance = random.Random(5)
    name = segments_of(files)[-1]
    for _ in range(300):
        disk = folder_of(flipped(files, name, chance.randrange(8 * headers.BLOCK, 8 * SEGMENT)))
        try:
            log = open_log(disk)
        except StorageCorrupt:
            continue
        assert contents(log) == kept or (contents(log) == kept[:-1] and log.found.torn_bytes > 0)


def test_flips_in_a_larger_log_say_where_and_what_can_be_saved():
    disk = SimulatedDisk()
    log = open_log(disk, segment_bytes=32768)
    chance = random.Random(11)
    fill(log, [chance.randrange(2000) for _ in range(200)])
    frames = list(log.frames())
    head = log.head
    log.close()
    files = disk.content(FOLDER)
    for _ in range(60 if not NIGHTLY else 2000):
        hit = chance.choice(frames[:-1])
        name = next(each for each in segments_of(files) if headers.parse_name(each)[0] == hit.place.segment)
        bit = chance.randrange(8 * hit.place.offset, 8 * (hit.place.offset + hit.place.length))
        damaged = folder_of(flipped(files, name, bit))
        with pytest.raises(StorageCorrupt) as caught:
            open_log(damaged)
        behind = frames[hit.number].first
        assert caught.value.details == {
            "position": hit.first,
            "segment": name,
            "offset": hit.place.offset,
            "saved_up_to": hit.first - 1,
            "next_valid_position": behind,
        }
        report = verify(FOLDER, disk=damaged)
        assert [each.position for each in report.damage] == [hit.first]
        assert report.frames == len(frames) - 1
        saved = [(1, hit.first - 1), (hit.first + hit.count, head)]
        assert report.saved == (
            [(1, head)] if hit.count == 0 else [each for each in saved if each[0] <= each[1]]
        )


def test_truncation_at_every_byte_is_reported():
    files, kept = small()
    chance = random.Random(1)
    for name in segments_of(files):
        last = name == segments_of(files)[-1]
        used = len(files[name].rstrip(b"\0"))
        sizes = range(used + 1) if NIGHTLY else [*chance.sample(range(used), 400), used - 1, used]
        for size in sizes:
            outcome = judge(files | {name: files[name][:size]}, kept)
            assert outcome == ("read" if size >= used else "refused"), (name, size, last)


def test_without_the_mark_a_truncated_end_keeps_a_prefix():
    files, kept = small()
    del files[HEAD]
    name = segments_of(files)[-1]
    shorter = set()
    used = len(files[name].rstrip(b"\0"))
    for size in (*range(headers.BLOCK, used, 1 if NIGHTLY else 7), used):
        log = open_log(folder_of(files | {name: files[name][:size]}))
        found = contents(log)
        assert found == kept[: len(found)]
        shorter.add(len(found))
        fill(log, [10, 3000])
        assert contents(log)[: len(found)] == found
    assert shorter == {4, 5, 6, 7}


def test_zeros_behind_the_last_frame_are_the_prepared_space():
    files, kept = small()
    first, last = segments_of(files)
    longer = files | {first: files[first] + bytes(5000), last: files[last] + bytes(100_000)}
    disk = folder_of(longer)
    log = open_log(disk)
    assert log.found.torn_bytes == 0
    assert contents(log) == kept
    places = [frame.place for frame in log.frames()]
    assert [log.following(each) for each in places] == [*places[1:], None]
    for frame in log.frames():
        if frame.count:
            assert log.locate(frame.first) == log.locate(frame.last) == frame.place


@pytest.mark.parametrize("size", [1, 95, 96, 700])
def test_a_torn_end_is_cut_off_and_reported(size):
    files, kept = small()
    name = segments_of(files)[-1]
    used = len(files[name].rstrip(b"\0"))
    torn = files[name][:used] + random.Random(size).randbytes(size - 1) + b"\1"
    disk = folder_of(files | {name: torn.ljust(SEGMENT, b"\0")})
    assert verify(FOLDER, disk=disk).torn is not None
    log = open_log(disk)
    assert (log.found.torn_bytes, log.found.torn_position) == (size, log.head + 1)
    assert disk.content(FOLDER)[name] == files[name]
    kept += fill(log, [5])
    log.close()
    again = open_log(disk)
    assert again.found.torn_bytes == 0
    assert contents(again) == kept


def test_bytes_that_look_like_frames_inside_a_torn_append_raise_no_alarm():
    """A payload may hold a copy of segments: of this journal, or of another with later frames."""
    files, kept = small()
    name = segments_of(files)[-1]
    other = SimulatedDisk()
    foreign = open_log(other, segment_bytes=1 << 16)
    foreign._seed = 12345
    fill(foreign, [20] * 30)
    payload = files[name][headers.BLOCK :].rstrip(b"\0") + other.content(FOLDER)[
        foreign.segments()[0].name
    ].rstrip(b"\0")
    used = len(files[name].rstrip(b"\0"))
    disk = folder_of(files | {name: files[name][:used] + b"torn header" + payload})
    log = open_log(disk)
    assert log.found.torn_bytes > len(payload)
    assert contents(log) == kept


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_a_missing_segment_is_damage(which):
    disk = SimulatedDisk()
    log = open_log(disk)
    fill(log, [3000] * 4)
    point = log.checkpoint()
    names = [each.name for each in log.segments()]
    assert len(names) == 4
    log.close()
    files = disk.content(FOLDER)
    del files[names[which]]
    for since in (None, point):
        with pytest.raises(StorageCorrupt) as caught:
            open_log(folder_of(files), since=since)
        assert caught.value.details["saved_up_to"] == [0, 0, 1, 3][which]
        assert caught.value.details["next_valid_position"] == [1, 2, 4, None][which]


def test_no_segment_at_all_is_damage_when_the_mark_remembers_some():
    files, _ = small()
    disk = folder_of({HEAD: files[HEAD]})
    with pytest.raises(StorageCorrupt, match="holds no segment"):
        open_log(disk)
    with pytest.raises(StorageCorrupt, match="holds no segment"):
        verify(FOLDER, disk=disk)
    disk.unlink(FOLDER / HEAD)
    assert open_log(disk).head == 0


def test_an_older_copy_is_noticed_and_the_remedy_names_the_file():
    disk = SimulatedDisk()
    log = open_log(disk)
    kept = fill(log, [100, 200])
    older = disk.content(FOLDER)
    fill(log, [300])
    log.close()
    newer = disk.content(FOLDER)
    mixed = older | {HEAD: newer[HEAD]}
    with pytest.raises(StorageCorrupt, match="delete the file `head`"):
        open_log(folder_of(mixed))
    assert contents(open_log(folder_of(older | {HEAD: older[HEAD]}))) == kept
    del mixed[HEAD]
    assert contents(open_log(folder_of(mixed))) == kept


def test_an_older_mark_is_a_weaker_bound_and_no_alarm():
    disk = SimulatedDisk()
    log = open_log(disk)
    kept = fill(log, [100, 200])
    older = disk.content(FOLDER)[HEAD]
    kept += fill(log, [300])
    files = disk.content(FOLDER) | {HEAD: older}
    assert contents(open_log(folder_of(files))) == kept


def test_another_history_of_the_same_length_is_noticed():
    files, _ = small()
    disk = SimulatedDisk()
    log = open_log(disk)
    fill(log, [900, 700, 1500, 40, 900, 0, 250], epoch=2)
    with pytest.raises(StorageCorrupt, match="not the one that was acknowledged"):
        open_log(folder_of(disk.content(FOLDER) | {HEAD: files[HEAD]}))


def test_a_damaged_mark_is_refused_with_a_way_out():
    files, kept = small()
    for content in (b"", b"nonsense", bytes(1024)):
        with pytest.raises(StorageCorrupt, match="delete it") as caught:
            open_log(folder_of(files | {HEAD: content}))
        assert caught.value.details == {"path": str(FOLDER / HEAD)}
    del files[HEAD]
    assert contents(open_log(folder_of(files))) == kept


def test_segments_of_two_journals_are_refused():
    files, _ = small()
    first, last = segments_of(files)
    header = headers.decode(files[first][: headers.BLOCK], first)
    stranger = headers.encode(
        headers.SegmentHeader(b"?" * 16, header.frame, header.position, 0, header.at, header.chain)
    )
    with pytest.raises(StorageCorrupt, match="2 different journals"):
        open_log(folder_of(files | {first: stranger + files[first][headers.BLOCK :]}))
    marked = folder_of(
        {last: files[last], HEAD: files[HEAD].replace(bytes(range(16)).hex().encode(), b"0" * 32)}
    )
    with pytest.raises(StorageCorrupt):
        open_log(marked)


def test_a_damaged_first_block_does_not_keep_the_frames_from_being_saved():
    files, kept = small()
    name = segments_of(files)[0]
    disk = folder_of(flipped(files, name, 200))
    report = verify(FOLDER, disk=disk)
    assert report.frames == len(kept)
    assert [(each.segment, each.offset) for each in report.damage] == [(name, 0)]


def test_a_newer_format_is_refused_and_named():
    files, _ = small()
    name = segments_of(files)[-1]
    block = bytearray(files[name][: headers.BLOCK - 8])
    block[8] = 7
    newer = bytes(block) + headers._SUM.pack(headers.xxh3_64_intdigest(bytes(block)))
    for read in (open_log, lambda disk: verify(FOLDER, disk=disk)):
        with pytest.raises(StorageCorrupt, match=r"newer version \(format 7, known up to 1\)") as caught:
            read(folder_of(files | {name: newer + files[name][headers.BLOCK :]}))
        assert caught.value.details["format"] == 7


def test_the_real_disk_finds_a_flip_through_read_frames_and_verify(tmp_path):
    log = open_log(SystemDisk(), folder=tmp_path)
    fill(log, [900] * 12)
    places = [frame.place for frame in log.frames()]
    path = tmp_path / log.segments()[0].name
    content = bytearray(path.read_bytes())
    content[places[2].offset + 500] ^= 4
    path.write_bytes(content)
    with pytest.raises(StorageCorrupt):
        log.read(places[2])
    with pytest.raises(StorageCorrupt):
        list(log.frames())
    assert [each.position for each in log.verify().damage] == [log.read(places[1]).last + 1]
    assert log.read(places[3]).number == 4
    log.close()
