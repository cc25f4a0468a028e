"""build and build_packet: against scapy, which computes lengths and checksums by itself."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from lbsim.engine import sctp_chunks
from lbsim.engine.numbers import CUT_HEADER
from lbsim.errors import TraceError
from lbsim.model.config import Address
from lbsim.model.trace import Flow, Trace
from lbsim.packet.build import build, build_packet, ip_packet
from lbsim.packet.headers import parse

CLIENT4, VIP4 = ip_address("198.51.100.1"), ip_address("192.168.1.10")
CLIENT6, VIP6 = ip_address("2001:db8:9::1"), ip_address("2001:db8:1::10")


def one_row(src: Address, dst: Address, *, raw: bytes = b"", rows: int = 1, **values: int) -> Trace:
    columns = Trace.empty_columns(rows)
    for name, value in ({"src": 0, "dst": 1} | values).items():
        columns[name][rows - 1] = value
    return Trace(columns=columns, addresses=(src, dst), flows=(Flow(6, 0, 0, 1, 0),), raw=raw)


def by_scapy(version: int, transport: Packet, payload: bytes, *, ttl: int, identification: int = 0) -> bytes:
    if version == 4:
        ip = IP(src=str(CLIENT4), dst=str(VIP4), ttl=ttl, id=identification, flags="DF")
    else:
        ip = IPv6(src=str(CLIENT6), dst=str(VIP6), hlim=ttl)
    return bytes(ip / transport / Raw(payload))


# --- Rows of a trace


@pytest.mark.parametrize(("version", "head"), [(4, 20), (6, 40)])
def test_a_tcp_row_becomes_the_packet_that_scapy_makes_of_its_columns(version: int, head: int) -> None:
    ends = (CLIENT4, VIP4) if version == 4 else (CLIENT6, VIP6)
    trace = one_row(
        *ends,
        proto=6,
        sport=40001,
        dport=80,
        flags=0x18,
        seq=4_000_000_000,
        ack=7,
        length=head + 20 + 11,
        ttl=61,
    )
    tcp = TCP(sport=40001, dport=80, flags="PA", seq=4_000_000_000, ack=7, window=65535)
    assert build(trace, 0) == by_scapy(version, tcp, bytes(11), ttl=61, identification=1)


@pytest.mark.parametrize(("version", "head"), [(4, 20), (6, 40)])
def test_a_udp_row_becomes_the_packet_that_scapy_makes_of_its_columns(version: int, head: int) -> None:
    ends = (CLIENT4, VIP4) if version == 4 else (CLIENT6, VIP6)
    trace = one_row(*ends, proto=17, sport=5000, dport=53, length=head + 8 + 5, ttl=64)
    assert build(trace, 0) == by_scapy(version, UDP(sport=5000, dport=53), bytes(5), ttl=64, identification=1)


@pytest.mark.parametrize(("index", "identification"), [(0, 1), (0xFFFE, 0xFFFF), (0xFFFF, 0), (0x1_0000, 1)])
def test_the_ipv4_id_is_the_row_counted_from_1_in_16_bits(index: int, identification: int) -> None:
    trace = one_row(CLIENT4, VIP4, rows=index + 1, proto=17, length=28)
    assert int.from_bytes(build(trace, index)[4:6], "big") == identification


def test_a_captured_row_is_its_captured_bytes() -> None:
    trace = one_row(CLIENT4, VIP4, raw=b"....captured packet....", raw_at=4, raw_len=15, length=1500)
    assert build(trace, 0) == b"captured packet"


def test_a_captured_row_at_the_beginning_of_the_capture_is_captured_too() -> None:
    trace = one_row(CLIENT4, VIP4, raw=b"first and second", raw_at=0, raw_len=5)
    assert build(trace, 0) == b"first"


@given(
    st.sampled_from([(CLIENT4, VIP4, 20), (CLIENT6, VIP6, 40)]),
    st.sampled_from([1, 6, 17, 58, 132]),
    st.integers(0, 100),
)
def test_a_made_packet_is_as_long_as_its_row_says(ends: tuple[Address, Address, int], proto: int, room: int) -> None:
    src, dst, head = ends
    packet = build(one_row(src, dst, proto=proto, length=head + room), 0)
    headers = parse(packet)
    assert headers is not None
    assert (len(packet), headers.length) == (head + room, head + room)


@pytest.mark.parametrize("length", [20 + 4, 20 + 17, 20 + 19])
def test_a_row_that_is_too_short_for_its_header_becomes_a_cut_header(length: int) -> None:
    packet = build(one_row(CLIENT4, VIP4, proto=6, sport=40001, dport=80, length=length), 0)
    headers = parse(packet)
    assert headers is not None
    assert (headers.shape, headers.sport, headers.dport) == (CUT_HEADER, 40001, 80)


@pytest.mark.parametrize("length", [20 + 18, 20 + 19])
def test_a_checksum_in_a_cut_header_covers_what_is_there(length: int) -> None:
    packet = build(one_row(CLIENT4, VIP4, proto=6, sport=40001, dport=80, seq=2**32 - 1, length=length), 0)
    # RFC 1071: with the right checksum in it, the sum over pseudo header and segment is ffff
    covered = packet[12:20] + (length - 20).to_bytes(4, "big") + b"\0\0\0\x06" + packet[20:] + b"\0" * (length % 2)
    total = sum(int.from_bytes(covered[at : at + 2], "big") for at in range(0, len(covered), 2))
    assert total % 0xFFFF == 0
    assert packet[36:38] != b"\0\0"


def test_a_row_that_makes_no_packet_is_named_by_its_index() -> None:
    trace = one_row(CLIENT4, VIP4, rows=3, proto=6, length=19)
    with pytest.raises(TraceError, match=r"^an IPv4 packet of 19 bytes cannot be; expected") as caught:
        build(trace, 2)
    assert caught.value.packet == 2


def test_numpy_values_do_not_leak_into_the_arithmetic() -> None:
    # seq is int64, flags int16: shifting or adding those as numpy scalars would wrap around.
    trace = one_row(CLIENT4, VIP4, proto=6, seq=np.iinfo(np.uint32).max, flags=0x3F, length=40)
    headers = parse(build(trace, 0))
    assert headers is not None
    assert (headers.seq, headers.flags) == (0xFFFFFFFF, 0x3F)


# --- Single values


def test_addresses_may_be_text() -> None:
    as_text = build_packet(src="198.51.100.1", dst="192.168.1.10", sport=1, dport=2)
    assert as_text == build_packet(src=CLIENT4, dst=VIP4, sport=1, dport=2)


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_without_a_length_is_as_long_as_its_payload_needs(version: int) -> None:
    src, dst = (CLIENT4, VIP4) if version == 4 else (CLIENT6, VIP6)
    packet = build_packet(src=src, dst=dst, proto=17, sport=5000, dport=53, payload=b"query")
    assert packet == by_scapy(version, UDP(sport=5000, dport=53), b"query", ttl=64)


def test_a_payload_is_filled_up_with_zeros() -> None:
    packet = build_packet(src=CLIENT4, dst=VIP4, payload=b"GET", length=45)
    assert packet[40:] == b"GET\0\0"


def test_a_payload_that_is_too_long_is_cut_off() -> None:
    packet = build_packet(src=CLIENT4, dst=VIP4, proto=17, sport=5000, dport=53, payload=b"GET /", length=31)
    assert packet == by_scapy(4, UDP(sport=5000, dport=53), b"GET", ttl=64)


def test_a_udp_checksum_that_comes_out_as_0_is_written_as_ffff() -> None:
    zero = build_packet(src=CLIENT4, dst=VIP4, proto=17, sport=5000, dport=53, payload=b"\0\0")
    packet = build_packet(src=CLIENT4, dst=VIP4, proto=17, sport=5000, dport=53, payload=zero[26:28])
    assert packet[26:28] == b"\xff\xff"


def test_another_protocol_is_its_payload() -> None:
    assert build_packet(src=CLIENT4, dst=VIP4, proto=47, payload=b"inside")[20:] == b"inside"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"dst": "192.168.1"},
            "'192.168.1' does not appear to be an IPv4 or IPv6 address; expected an address",
        ),
        (
            {"dst": VIP6},
            "no packet leads from 198.51.100.1 to 2001:db8:1::10; expected addresses of one family",
        ),
        ({"length": 19}, "an IPv4 packet of 19 bytes cannot be; expected 20 to 65535"),
        ({"length": 65536}, "an IPv4 packet of 65536 bytes cannot be; expected 20 to 65535"),
        ({"payload": bytes(65516)}, "an IPv4 packet of 65556 bytes cannot be; expected 20 to 65535"),
        (
            {"src": CLIENT6, "dst": VIP6, "length": 39},
            "an IPv6 packet of 39 bytes cannot be; expected 40 to 65575",
        ),
        ({"sport": 65536}, "a value does not fit its header field: "),
        ({"dport": -1}, "a value does not fit its header field: "),
        ({"ttl": 256}, "a value does not fit its header field: "),
        ({"proto": 256}, "a value does not fit its header field: "),
        ({"flags": 256}, "a value does not fit its header field: "),
        ({"seq": -1}, "a value does not fit its header field: "),
        ({"ack": 2**32}, "a value does not fit its header field: "),
    ],
)
def test_values_that_make_no_packet_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError) as caught:
        build_packet(**({"src": CLIENT4, "dst": VIP4} | values))
    assert str(caught.value).startswith(message)


def test_the_longest_packets_can_be_built() -> None:
    assert len(build_packet(src=CLIENT4, dst=VIP4, length=65535)) == 65535
    assert len(build_packet(src=CLIENT6, dst=VIP6, length=65575)) == 65575


def test_tos_and_fragment_bits_reach_the_ipv4_header() -> None:
    src, dst = CLIENT4.packed, VIP4.packed
    packet = ip_packet(src, dst, 47, b"x", ttl=9, tos=0xB8, identification=5, dont_fragment=False)
    assert packet == bytes(IP(src=str(CLIENT4), dst=str(VIP4), proto=47, ttl=9, tos=0xB8, id=5) / Raw(b"x"))


def test_the_traffic_class_reaches_the_ipv6_header() -> None:
    packet = ip_packet(CLIENT6.packed, VIP6.packed, 47, b"x", ttl=9, tos=0xB8)
    assert packet == bytes(IPv6(src=str(CLIENT6), dst=str(VIP6), nh=47, hlim=9, tc=0xB8) / Raw(b"x"))


# --- SCTP: scapy computes the CRC; the numbers of chunks are those of RFC 9260, section 3.2

CHUNKS = {
    "DATA": 0, "INIT": 1, "INIT-ACK": 2, "ABORT": 6, "SHUTDOWN": 7, "SHUTDOWN-ACK": 8, "ERROR": 9, "COOKIE-ECHO": 10,
    "COOKIE-ACK": 11, "SHUTDOWN-COMPLETE": 14,
}  # fmt: skip


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", CHUNKS)
def test_an_sctp_row_becomes_a_packet_of_one_chunk(version: int, name: str) -> None:
    ends = (CLIENT4, VIP4) if version == 4 else (CLIENT6, VIP6)
    head, event = 20 if version == 4 else 40, sctp_chunks.EVENTS.index(name)
    trace = one_row(*ends, proto=132, sport=5000, dport=3868, flags=event, length=head + 12 + 24, ttl=61)
    chunk = bytes([CHUNKS[name], 0, 0, 24]) + bytes(20)
    packet = build(trace, 0)
    assert packet == by_scapy(version, SCTP(sport=5000, dport=3868, tag=0), chunk, ttl=61, identification=1)
    headers = parse(packet)
    assert headers is not None
    assert (headers.sport, headers.dport, headers.flags) == (5000, 3868, event)


@pytest.mark.parametrize(
    ("flags", "content"),
    [
        (0, b""),
        (0, bytes(4)),
        (11, bytes([10, 0, 0, 4, 6, 0, 0, 8]) + bytes(4)),
        (11, bytes([10, 0, 0, 4])),
    ],
)
def test_sctp_without_a_chunk_and_with_an_abort_behind_a_cookie(flags: int, content: bytes) -> None:
    made = build_packet(
        src=CLIENT4, dst=VIP4, proto=132, sport=5000, dport=3868, flags=flags, length=32 + len(content), ttl=61
    )
    assert made == by_scapy(4, SCTP(sport=5000, dport=3868, tag=0), content, ttl=61)


def test_an_sctp_header_that_is_cut_has_no_checksum() -> None:
    made = build_packet(src=CLIENT4, dst=VIP4, proto=132, sport=5000, dport=3868, flags=1, length=30)
    assert made[20:] == bytes([5000 >> 8, 5000 & 255, 3868 >> 8, 3868 & 255]) + bytes(6)


def test_an_sctp_event_that_does_not_exist_is_data() -> None:
    fields = {"src": CLIENT4, "dst": VIP4, "proto": 132, "sport": 5000, "dport": 3868, "length": 60}
    assert build_packet(**fields, flags=12) == build_packet(**fields, flags=1)
