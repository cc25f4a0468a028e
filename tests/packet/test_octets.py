"""Numbers, addresses and bytes written into a packet, in both lanes."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.packet.octets import move, put_address, put_double_word, put_word, words_of

LANES = {"interpreted": interpreted_lane(), "compiled": compiled_lane(checked=True)}

every_lane = pytest.mark.parametrize("lane", LANES.values(), ids=LANES)


def buffer(lane: Lane, content: bytes) -> Any:
    """Bytes that functions of the lane can write to."""
    return bytearray(content) if lane.name == "interpreted" else np.frombuffer(bytearray(content), np.uint8)


@every_lane
@given(value=st.integers(0, 2**33))
def test_numbers_are_written_in_network_order_cut_to_their_width(lane: Lane, value: int) -> None:
    data = buffer(lane, bytes(8))
    lane.function(put_word)(data, 0, value)
    lane.function(put_double_word)(data, 3, value)
    assert bytes(data) == (value % 2**16).to_bytes(2, "big") + b"\0" + (value % 2**32).to_bytes(4, "big") + b"\0"


@every_lane
@given(address=st.ip_addresses(), other=st.ip_addresses())
def test_an_address_is_written_as_its_bytes(lane: Lane, address: Any, other: Any) -> None:
    numbers = np.array(words_of(other) + words_of(address), dtype=np.uint32)
    data = buffer(lane, bytes(18))
    words = numbers.tolist() if lane.name == "interpreted" else numbers
    lane.function(put_address)(data, 1, address.version, words, 1)
    assert bytes(data) == b"\0" + address.packed.ljust(17, b"\0")


def test_the_words_of_an_address_are_its_number_in_four_pieces() -> None:
    assert words_of(ip_address("198.51.100.1")) == [0, 0, 0, 0xC6336401]
    assert words_of(ip_address("2001:db8::1:2")) == [0x20010DB8, 0, 0, 0x00010002]


@every_lane
@pytest.mark.parametrize("size", [0, 1, 7, 100])
def test_only_the_asked_bytes_are_moved(lane: Lane, size: int) -> None:
    source = bytes(range(5, 5 + size))
    data, target = buffer(lane, b"..." + source + b"!!"), buffer(lane, bytes(size + 3))
    lane.function(move)(target, 2, data, 3, size)
    assert bytes(target) == b"\0\0" + source + b"\0"
