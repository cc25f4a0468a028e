"""checksum: against the definition written out word by word, and against the kernel's update formula."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.packet import checksum

words = st.integers(0, 0xFFFF)
sums = st.integers(0, 20 * 0xFFFF)


def sum_of_words(data: bytes) -> int:
    """RFC 1071: the ones' complement sum of the 16-bit words, the last one filled with a zero byte."""
    total = 0
    padded = data + b"\0" * (len(data) % 2)
    for (word,) in struct.iter_unpack("!H", padded):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def kernels_update(check: int, pairs: list[tuple[int, int]]) -> int:
    """The formula of the packet-path facts, section 13.2."""
    total = 0xFFFF0000 + (~check & 0xFFFF)
    for old, new in pairs:
        total += (~old & 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=60))
def test_the_full_checksum_is_the_complement_of_the_sum_of_words(data: bytes) -> None:
    assert checksum.full(data) == ~sum_of_words(data) & 0xFFFF


@pytest.mark.parametrize(
    ("data", "check"),
    [
        (b"", 0xFFFF),
        (b"\0\0\0\0", 0xFFFF),
        (b"\xff\xff", 0),
        (b"\xff\xff\xff\xff", 0),
        (b"\x80\x00\x7f\xff", 0),
        (b"\x01", 0xFEFF),
        # RFC 1071, section 3: 0001 f203 f4f5 f6f7 sum up to ddf2
        (b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 0xFFFF - 0xDDF2),
    ],
)
def test_the_full_checksum_of_known_data(data: bytes, check: int) -> None:
    assert checksum.full(data) == check


@given(words, st.lists(st.tuples(words, words), min_size=1, max_size=17))
def test_an_update_follows_the_kernels_formula(check: int, pairs: list[tuple[int, int]]) -> None:
    before, after = (sum(column) for column in zip(*pairs, strict=True))
    assert checksum.check_after(check, before, after) == kernels_update(check, pairs)


@given(words, sums)
def test_an_update_never_gives_ffff(check: int, before: int) -> None:
    assert checksum.check_after(check, before, 0) != 0xFFFF


def test_an_update_turns_ffff_into_0_even_if_nothing_changed() -> None:
    assert checksum.check_after(0xFFFF, 0x1234, 0x1234) == 0


@given(sums, sums, sums)
def test_an_update_gives_what_the_full_computation_gives(same: int, before: int, after: int) -> None:
    same += 6  # the protocol of the pseudo header: without it the sum could be 0
    assert checksum.check_after(checksum.check_of(same + before), before, after) == checksum.check_of(same + after)


@given(words.filter(lambda check: check != 0xFFFF), sums, sums)
def test_an_update_there_and_back_changes_nothing(check: int, before: int, after: int) -> None:
    assert checksum.check_after(checksum.check_after(check, before, after), after, before) == check


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane(checked=True)], ids=lambda lane: lane.name)
@given(data=st.binary(max_size=60), around=st.binary(max_size=3))
def test_words_are_summed_up_between_two_places(lane: Lane, data: bytes, around: bytes) -> None:
    everything = around + data + around
    buffer = everything if lane.name == "interpreted" else np.frombuffer(everything, np.uint8)
    total = lane.function(checksum.sum_of_words)(buffer, len(around), len(around) + len(data))
    words_in = struct.iter_unpack("!H", data + b"\0" * (len(data) % 2))
    assert (type(total), total) == (int, sum(word for (word,) in words_in))


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane(checked=True)], ids=lambda lane: lane.name)
@given(packet=st.binary(min_size=41, max_size=41))
def test_addresses_are_summed_up_where_the_ip_header_has_them(lane: Lane, packet: bytes) -> None:
    buffer = packet if lane.name == "interpreted" else np.frombuffer(packet, np.uint8)
    for version, addresses in ((4, packet[1 + 12 : 1 + 20]), (6, packet[1 + 8 : 1 + 40])):
        expected = sum(word for (word,) in struct.iter_unpack("!H", addresses))
        assert lane.function(checksum.sum_of_addresses)(buffer, 1, version) == expected


def test_the_pseudo_header_of_ipv4_is_part_of_the_transport_checksum() -> None:
    # Addresses c633+6401+c0a8+010a = 1ebe6, protocol 11, length 9, segment 1388+0035+0009+0000+ab00:
    # 1ebe6+11+9+1388+35+9+ab00 = 2aac6, folded aac8.
    segment = bytes.fromhex("1388003500090000ab")
    src, dst = bytes.fromhex("c6336401"), bytes.fromhex("c0a8010a")
    assert checksum.transport(src, dst, 17, segment) == 0xFFFF - 0xAAC8


def test_a_segment_with_its_correct_checksum_gives_0() -> None:
    # A SYN from 198.51.100.1:40001 to 192.168.1.10:80 as a kernel accepted it.
    segment = bytes.fromhex("9c410050000003e8000000005002ffff23820000")
    assert checksum.transport(bytes.fromhex("c6336401"), bytes.fromhex("c0a8010a"), 6, segment) == 0


def test_a_segment_over_ipv6_with_its_correct_checksum_gives_0() -> None:
    # A SYN from [2001:db8:9::1]:40001 to [2001:db8:1::10]:80 as a kernel accepted it.
    src = bytes.fromhex("20010db8000900000000000000000001")
    dst = bytes.fromhex("20010db8000100000000000000000010")
    segment = bytes.fromhex("9c410050000003e8000000005002ffffb3dc0000")
    assert checksum.transport(src, dst, 6, segment) == 0
