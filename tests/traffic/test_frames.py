"""Times and places of frames: arithmetic that must be exact in both lanes, and windows that end anywhere."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.traffic.capture_reader import _time_unit
from lbsim.traffic.frames import END_OF_TIME, Interface, nanoseconds
from tests.traffic.captures import NG, REQUEST, Reader, Record, ethernet, pcap_file, times

SECOND = 10**9
BLOCK = NG.section() + NG.interface()


def time_in(lane: Lane) -> Callable[[int, int, int], int]:
    """(stamp, resolution, offset) -> ns as the lane computes it."""
    find: Any = lane.function(nanoseconds)

    def compute(stamp: int, resolution: int, offset: int) -> int:
        interfaces = lane.table(Interface, 1)
        interface = interfaces[0]
        interface.unit, interface.per = _time_unit(resolution)
        interface.offset = offset
        return int(find(stamp >> 32, stamp & 0xFFFFFFFF, interface))

    return compute


INTERPRETED = time_in(interpreted_lane())


def units(resolution: int) -> int:
    """Units per second."""
    return 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution


def exact(stamp: int, resolution: int, offset: int) -> int:
    """What the format defines: stamp / units per second + offset, in whole ns."""
    time = Fraction(stamp, units(resolution)) * SECOND // 1 + offset * SECOND
    return int(time) if 0 <= time < END_OF_TIME else -1


stamps = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 63).flatmap(lambda bits: st.integers(max(0, (1 << bits) - 2), (1 << bits) + 2)),
    st.integers(0, 2**62).map(lambda ns: ns // 1000),
)
# 10**-28 and finer: the largest stamp is a nanosecond or less, see below
resolutions = st.one_of(st.integers(0, 27), st.integers(0x80, 0xFF), st.sampled_from([6, 9]))
offsets = st.one_of(st.just(0), st.integers(-(10**10), 10**10), st.integers(-(2**61), 2**61))


@given(stamp=stamps, resolution=resolutions, offset=offsets)
@example(stamp=2**61 - 1, resolution=0, offset=-(2**61) + 1)
@example(stamp=2**64 - 1, resolution=9, offset=-(2**64 // SECOND) + 5)
@example(stamp=2**63, resolution=12, offset=0)
@example(stamp=END_OF_TIME - 1, resolution=9, offset=0)
@example(stamp=END_OF_TIME, resolution=9, offset=0)
@example(stamp=2**64 - 1, resolution=0x80 | 32, offset=0)
@example(stamp=2**64 - 1, resolution=0x80 | 33, offset=0)
@example(stamp=2**64 - 1, resolution=0xFF, offset=0)
def test_a_time_stamp_is_exactly_the_time_that_the_format_defines(stamp, resolution, offset):
    # beyond 2**61 seconds (73 billion years) a time stamp is no time, even if the offset leads back
    assume(stamp // units(resolution) < 2**61 and abs(offset) < 2**61)
    assert INTERPRETED(stamp, resolution, offset) == exact(stamp, resolution, offset)


@given(stamp=stamps, resolution=st.integers(0, 0xFF), offset=offsets)
def test_both_lanes_compute_the_same_time(stamp, resolution, offset):
    assert time_in(compiled_lane())(stamp, resolution, offset) == INTERPRETED(stamp, resolution, offset)


@pytest.mark.parametrize("resolution", range(28, 128))
def test_a_resolution_that_no_stamp_brings_to_a_nanosecond_is_time_0(resolution):
    assert exact(2**63, resolution, 0) == INTERPRETED(2**63, resolution, 0) == 0


# --- times that cross a power of two -----------------------------------------------------------------


@pytest.fixture
def read(tmp_path, lane) -> Reader:
    return Reader(tmp_path / "capture", lane)


def test_seconds_that_cross_2_to_the_31_go_on(read):  # January 2038
    content = bytearray(pcap_file(ethernet(REQUEST), ethernet(REQUEST)))
    struct.pack_into("<II", content, 24, 2**31 - 1, 999_999)
    struct.pack_into("<II", content, 24 + 16 + 54, 2**31, 1)
    assert times(read(bytes(content))) == [0, 2_000]


def test_the_last_second_of_pcap_can_be_read(read):  # February 2106
    content = bytearray(pcap_file(ethernet(REQUEST), ethernet(REQUEST)))
    struct.pack_into("<II", content, 24, 2**32 - 2, 0)
    struct.pack_into("<II", content, 24 + 16 + 54, 2**32 - 1, 999_999)
    assert times(read(bytes(content))) == [0, 1_999_999_000]


@pytest.mark.parametrize("begin", [2**32 - 1, 2**33 - 1, 2**50 - 1])
def test_a_stamp_whose_lower_half_overflows_goes_on(read, begin):
    content = BLOCK + NG.packet(ethernet(REQUEST), begin) + NG.packet(ethernet(REQUEST), begin + 1)
    assert times(read(content)) == [0, 1_000]


def test_seconds_that_wrap_around_are_time_running_backwards(read):
    content = bytearray(pcap_file(ethernet(REQUEST), ethernet(REQUEST)))
    struct.pack_into("<II", content, 24, 2**32 - 1, 0)
    struct.pack_into("<II", content, 24 + 16 + 54, 0, 0)
    trace = read(bytes(content))
    assert times(trace) == [0, (2**32 - 1) * SECOND]
    assert trace.damage == f"time runs backwards, first at packet 2 by {(2**32 - 1) * SECOND} ns"


# --- lengths ---------------------------------------------------------------------------------------


def test_a_frame_may_be_empty(read):
    trace = read(pcap_file(b"", ethernet(REQUEST), b""))
    assert (len(trace), trace.left_out, trace.damage) == (1, {"unreadable": 2}, None)


@pytest.mark.parametrize("claims", [256 * 2**20 + 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_no_frame_is_longer_than_256_mib(read, claims):
    trace = read(pcap_file(ethernet(REQUEST), Record(ethernet(REQUEST), claims=claims), ethernet(REQUEST)))
    assert (len(trace), trace.damage) == (1, f"packet 2 at byte 94 claims {claims} bytes")  # 24 + 16 + 54


def test_an_interface_behind_packets_is_known_to_those_behind_it(read):
    packets = [NG.packet(ethernet(REQUEST), k, interface=k) for k in range(40)]
    content = NG.section() + b"".join(NG.interface() + packet for packet in packets)
    assert times(read(content)) == [1_000 * k for k in range(40)]
