"""The frame and the first block, byte by byte; what FORMAT.md says is what is written."""

import hashlib
import struct

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment import frame, header, mark

U64 = st.integers(0, 2**64 - 1)


def test_a_frame_has_the_bytes_of_the_format_page():
    seed = frame.seed_of(bytes(range(16)))
    sums, content, chain = frame.encode(
        b"body", seed=seed, number=7, first=100, count=3, epoch=2, at=-5, previous=b"p" * 32
    )
    rest = struct.pack("<IIQQQqQ", 4, 3, 7, 100, 2, -5, 99) + b"p" * 32 + b"body"
    long_sum = xxhash.xxh3_64_intdigest(rest, 0x0706050403020100)
    short_sum = xxhash.xxh3_64_intdigest(struct.pack("<Q", long_sum) + rest[:80], 0x0706050403020100)
    assert sums + content == b"UFr1" + struct.pack("<IQ", short_sum & 0xFFFFFFFF, long_sum) + rest
    assert chain == hashlib.sha256(rest).digest()


def test_the_first_block_has_the_bytes_of_the_format_page():
    block = header.encode(header.SegmentHeader(b"j" * 16, 9, 80, 4, 1_000, b"c" * 32))
    start = (
        b"UmbrLog\n" + struct.pack("<I", 1) + b"j" * 16 + struct.pack("<QQQq", 9, 80, 4, 1_000) + b"c" * 32
    )
    assert block[:4088] == start.ljust(4088, b"\0")
    assert block[4088:] == struct.pack("<Q", xxhash.xxh3_64_intdigest(block[:4088]))
    assert len(block) == 4096


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), U64, U64, st.integers(-(2**63), 2**63 - 1))
def test_a_frame_reads_back_and_any_flipped_bit_is_seen(body, count, epoch, seed, at):
    sums, content, chain = frame.encode(
        body, seed=seed, number=3, first=5, count=count, epoch=epoch, at=at, previous=b"x" * 32
    )
    written = sums + content
    view = memoryview(written)
    read = frame.decode_header(view, 0, seed)
    assert (read.events, read.number, read.first, read.epoch, read.at) == (count, 3, 5, epoch, at)
    assert read.total == len(written)
    found = frame.content_of(view, 0, read, seed)
    assert frame.body_of(found) == body
    assert frame.chain_of(found) == chain
    bit = (epoch ^ seed) % (8 * len(written))
    damaged = bytearray(written)
    damaged[bit // 8] ^= 1 << bit % 8
    again = frame.decode_header(memoryview(damaged), 0, seed)
    assert again is None or frame.content_of(memoryview(damaged), 0, again, seed) is None


@given(U64, U64)
def test_a_name_reads_back(number, position):
    made = header.SegmentHeader(b"j" * 16, number, position, 0, 0).name
    assert header.parse_name(made) == (number, position)
    assert header.parse_name(made + "x") is None


def test_a_block_that_is_short_or_not_ours_is_damaged():
    block = header.encode(header.SegmentHeader(b"j" * 16, 1, 1, 0, 0))
    assert header.decode(block, "x") is not None
    assert header.decode(block[:-1], "x") is None
    assert header.decode(bytes(4096), "x") is None
    with pytest.raises(StorageCorrupt, match="format 2"):
        newer = block[:8] + struct.pack("<I", 2) + block[12:4088]
        header.decode(newer + struct.pack("<Q", xxhash.xxh3_64_intdigest(newer)), "x")


@given(U64, U64, st.binary(min_size=32, max_size=32))
def test_a_mark_reads_back_and_fits_into_a_sector(number, position, chain):
    made = mark.Mark(b"j" * 16, number, position, chain)
    line = mark.encode(made)
    assert mark.decode(line) == made
    assert len(line) < mark.SECTOR
    assert mark.decode(line.replace(b"umbrella", b"Umbrella")) is None
