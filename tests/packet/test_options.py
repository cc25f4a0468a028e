"""IPv4 options that kernels refuse: where parameter problem pointed to, as 6.1.192 and 6.12.117 both sent it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.engine.lanes import compiled_lane
from lbsim.engine.numbers import BAD_OPTIONS, FRAGMENT, NO_PORTS, SOURCE_ROUTE, WHOLE
from lbsim.packet.headers import parse
from lbsim.packet.options import ROUTED, fault_of_options
from tests.packet.test_headers import TCP, ipv4

#: Options in hexadecimal, without the zeros at their end -> where they are wrong (0: they are not).
SEEN = {
    "": 0,
    "01010101": 0,
    "00830704": 0,  # what stands behind the end of the list
    "01010155": 23,  # a kind at the very end
    "01010107": 23,
    # Of every kind, a length that does not fit
    "07000000": 20,
    "07010000": 20,
    "07270400": 20,
    "55000000": 20,
    "55010000": 20,
    "55020000": 0,
    "55040102": 0,
    "55080102": 20,
    # Record route
    "070b04": 0,
    "0707080102030400": 0,  # full
    "0707640000000000": 0,
    "07030400": 0,
    "07020000": 21,
    "0707030000000000": 22,
    "0707050000000000": 22,
    "0707060000000000": 22,
    "0708080000000000": 22,
    "0705040000000000": 22,
    "0707040000000007070400000000": 27,  # twice
    # Time stamps: alone, with addresses, with addresses that are given, of other kinds
    "440c0500": 0,
    "440c0501": 0,
    "440c0503c0a8010a": 0,
    "440c050309090909": 0,
    "440c0503e0000001": 0,
    "440c0502": 0,
    "440c050f": 0,
    "4408090000000000": 0,  # full
    "440809f000000000": 23,  # full, and 15 hosts could not be counted
    "440c0df1": 23,
    "4408040000000000": 22,
    "44030500": 21,
    "44040510": 0,
    "4408060000000000": 22,
    "4408050100000000": 22,
    "440c0901": 22,
    "4408050300000000": 22,
    "440c0903": 22,
    "44080500000000004408050000000000": 28,
    # Router alert; security, stream id; CIPSO
    "94040000": 0,
    "94040001": 0,
    "94030000": 21,
    "94020000": 21,
    "820b": 0,
    "88040001": 0,
    "860500000001": 21,
    "860600000001": 21,
    "860a0000000101040001": 22,
    # Source routes
    "8307040a00000b": ROUTED,
    "8907040a00000b": ROUTED,
    "8307080a00000b": ROUTED,
    "83030400": ROUTED,
    "8306040000000000": ROUTED,
    "83020000": 21,
    "8307030a00000b": 22,
    "8307080a00000b8307080a00000b": 27,
    "8307080a00000b8907080a00000b": 27,
}
LENGTHS = {"070b04": 12, "820b": 12} | {text: 12 for text in SEEN if text.startswith("440c")}


def options_of(text: str) -> bytes:
    options = bytes.fromhex(text)
    return options + bytes(-len(options) % 4 if text not in LENGTHS else LENGTHS[text] - len(options))


@pytest.mark.parametrize("text", SEEN)
def test_where_options_are_wrong(text: str) -> None:
    header = bytes(20) + options_of(text)
    assert fault_of_options(header, 0, len(header)) == SEEN[text]
    assert fault_of_options(b"\7" * 9 + header + b"\7", 9, 9 + len(header)) == SEEN[text]


@given(st.binary(max_size=40), st.binary(max_size=5))
def test_the_compiled_lane_finds_the_same_place(options: bytes, before: bytes) -> None:
    data = before + bytes(20) + options
    compiled = compiled_lane().function(fault_of_options)
    place = compiled(np.frombuffer(data, np.uint8), len(before), len(data))
    assert place == fault_of_options(data, len(before), len(data))


@pytest.mark.parametrize(
    ("text", "shape"), [("01010101", WHOLE), ("07270400", BAD_OPTIONS), ("8307040a00000b", SOURCE_ROUTE)]
)
def test_the_shape_says_so(text: str, shape: int) -> None:
    headers = parse(ipv4(6, TCP, options=options_of(text)))
    assert headers is not None
    assert (headers.shape, headers.sport, headers.dport) == (shape, 40001, 80)


def test_options_of_a_fragment_are_those_of_its_datagram() -> None:
    headers = parse(ipv4(6, TCP, options=options_of("07270400"), fragment=0x2000))
    assert headers is not None
    assert headers.shape == FRAGMENT


def test_options_that_were_not_captured_are_not_looked_at() -> None:
    headers = parse(ipv4(6, TCP, options=options_of("07270400"))[:22])
    assert headers is not None
    assert headers.shape == NO_PORTS
