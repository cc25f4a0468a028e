"""headers.parse: every field of well-formed packets, and a defined answer to every other string of bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.engine.lanes import compiled_lane
from lbsim.engine.numbers import CUT_HEADER, FRAGMENT, ICMP_ERROR, NO_PORTS, WHOLE
from lbsim.engine.sctp_chunks import EVENTS
from lbsim.packet.headers import Headers, parse, read_headers
from tests.packet.any_packets import nearly_packets

CLIENT4, VIP4 = ip_address("198.51.100.1").packed, ip_address("192.168.1.10").packed
CLIENT6, VIP6 = ip_address("2001:db8:9::1").packed, ip_address("2001:db8:1::10").packed

# Sport 40001, dport 80, seq 1000, ack 2000, offset 5, SYN + ACK, window 65535, checksum and urgent pointer 0
TCP = struct.pack("!HHIIBBHHH", 40001, 80, 1000, 2000, 0x50, 0x12, 65535, 0, 0)
UDP = struct.pack("!HHHH", 5000, 53, 12, 0) + b"abcd"
SCTP = struct.pack("!HHII", 4001, 80, 7, 0) + b"\x01\0\0\x14"


def ipv4(proto: int, content: bytes, *, fragment: int = 0, length: int | None = None, options: bytes = b"") -> bytes:
    size = 20 + len(options) + len(content) if length is None else length
    first = 0x40 | (20 + len(options)) // 4
    return struct.pack("!BBHHHBBH", first, 0, size, 1, fragment, 63, proto, 0) + CLIENT4 + VIP4 + options + content


def ipv6(proto: int, content: bytes, *, payload: int | None = None) -> bytes:
    size = len(content) if payload is None else payload
    return struct.pack("!IHBB", 6 << 28, size, proto, 62) + CLIENT6 + VIP6 + content


def parsed(data: bytes | memoryview) -> Headers:
    headers = parse(data)
    assert headers is not None
    return headers


def test_a_tcp_packet_over_ipv4_gives_every_field() -> None:
    assert parse(ipv4(6, TCP)) == Headers(
        version=4,
        src=CLIENT4,
        dst=VIP4,
        proto=6,
        sport=40001,
        dport=80,
        flags=0x12,
        seq=1000,
        ack=2000,
        length=40,
        ttl=63,
        shape=WHOLE,
        l4=20,
    )


def test_a_tcp_packet_over_ipv6_gives_every_field() -> None:
    assert parse(ipv6(6, TCP)) == Headers(
        version=6,
        src=CLIENT6,
        dst=VIP6,
        proto=6,
        sport=40001,
        dport=80,
        flags=0x12,
        seq=1000,
        ack=2000,
        length=60,
        ttl=62,
        shape=WHOLE,
        l4=40,
    )


def test_a_memoryview_gives_the_same_headers_as_its_bytes() -> None:
    for data in (ipv4(6, TCP), ipv6(17, UDP)):
        assert parse(memoryview(data)) == parse(data)


def test_addresses_are_bytes_also_from_a_memoryview() -> None:
    headers = parsed(memoryview(ipv4(6, TCP)))
    assert type(headers.src) is bytes


@pytest.mark.parametrize(
    ("proto", "content", "ports", "flags"),
    [(17, UDP, (5000, 53), 0), (132, SCTP, (4001, 80), EVENTS.index("INIT"))],
    ids=["udp", "sctp"],
)
def test_ports_of_other_protocols_than_tcp_are_read_without_flags(
    proto: int, content: bytes, ports: tuple[int, int], flags: int
) -> None:
    headers = parsed(ipv4(proto, content))
    assert (headers.sport, headers.dport, headers.flags, headers.seq, headers.shape) == (*ports, flags, 0, WHOLE)


@pytest.mark.parametrize("proto", [0, 1, 2, 47, 50, 51, 58, 89, 255])
def test_a_protocol_without_ports_is_whole_and_has_ports_0(proto: int) -> None:
    headers = parsed(ipv4(proto, b"\x08\0\xff\xff\xff\xff\xff\xff"))
    assert (headers.proto, headers.sport, headers.dport, headers.shape) == (proto, 0, 0, WHOLE)


def test_only_the_six_classic_tcp_flags_are_kept() -> None:
    ecn = TCP[:13] + b"\xc2" + TCP[14:]  # CWR, ECE, SYN
    assert parsed(ipv4(6, ecn)).flags == 2


@pytest.mark.parametrize("offset", [0x20, 0xF0])
def test_a_tcp_data_offset_that_lies_does_not_matter(offset: int) -> None:
    # The kernels forward such SYNs of 20 bytes to a destination like any other.
    lying = TCP[:12] + bytes([offset]) + TCP[13:]
    assert parsed(ipv4(6, lying)).shape == WHOLE


def test_ipv4_options_move_the_transport_header() -> None:
    headers = parsed(ipv4(6, TCP, options=b"\x01" * 12))
    assert (headers.l4, headers.dport, headers.length) == (32, 80, 52)


# --- Not an IP packet


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x45",
        ipv4(6, TCP)[:19],
        ipv6(6, TCP)[:39],
        b"\x55" + ipv4(6, TCP)[1:],
        b"\x44" + ipv4(6, TCP)[1:],
        ipv4(6, TCP, length=19),
        ipv4(6, TCP, length=23, options=b"\0\0\0\0"),
    ],
    ids=["empty", "one byte", "19 of 20", "39 of 40", "version 5", "ihl 4", "length 19", "length < ihl"],
)
def test_bytes_without_a_sound_ip_header_are_no_ip_packet(data: bytes) -> None:
    assert parse(data) is None


# --- How much of the transport header there is

CUTS = [
    (6, TCP, 0, NO_PORTS),
    (6, TCP, 3, NO_PORTS),
    (6, TCP, 4, CUT_HEADER),
    (6, TCP, 19, CUT_HEADER),
    (6, TCP, 20, WHOLE),
    (17, UDP, 3, NO_PORTS),
    (17, UDP, 4, CUT_HEADER),
    (17, UDP, 7, CUT_HEADER),
    (17, UDP, 8, WHOLE),
    (132, SCTP, 3, NO_PORTS),
    (132, SCTP, 11, CUT_HEADER),
    (132, SCTP, 12, WHOLE),
]


@pytest.mark.parametrize(("proto", "content", "size", "shape"), CUTS)
@pytest.mark.parametrize("packet", [ipv4, ipv6])
def test_the_transport_bytes_inside_the_ip_length_decide_the_shape(
    packet: Callable[[int, bytes], bytes], proto: int, content: bytes, size: int, shape: int
) -> None:
    assert parsed(packet(proto, content[:size])).shape == shape


@pytest.mark.parametrize(("proto", "content", "size", "shape"), CUTS)
def test_of_a_packet_captured_in_part_the_bytes_that_are_there_decide_the_shape(
    proto: int, content: bytes, size: int, shape: int
) -> None:
    assert parsed(ipv4(proto, content[:size], length=1500)).shape == shape


def test_the_length_of_a_packet_captured_in_part_is_the_one_in_its_header() -> None:
    assert parsed(ipv4(6, TCP, length=1500)).length == 1500
    assert parsed(ipv6(6, TCP, payload=1400)).length == 1440


@pytest.mark.parametrize("data", [ipv4(6, TCP[:10]), ipv6(6, TCP[:10])], ids=["ipv4", "ipv6"])
def test_bytes_behind_the_packets_end_do_not_complete_its_header(data: bytes) -> None:
    headers = parsed(data + TCP[10:])
    assert (headers.shape, headers.length) == (CUT_HEADER, len(data))


def test_a_cut_header_has_ports_but_no_flags() -> None:
    headers = parsed(ipv4(6, TCP[:19]))
    assert (headers.sport, headers.dport, headers.flags, headers.seq, headers.ack) == (40001, 80, 0, 0, 0)


def test_a_header_without_ports_has_ports_0() -> None:
    headers = parsed(ipv4(6, TCP[:3]))
    assert (headers.sport, headers.dport) == (0, 0)


def test_ipv4_options_that_were_not_captured_leave_no_ports() -> None:
    headers = parsed(ipv4(6, TCP, options=b"\0" * 40)[:40])
    assert (headers.shape, headers.proto, headers.l4) == (NO_PORTS, 6, 60)


def test_an_ipv4_length_of_0_means_all_the_data() -> None:
    headers = parsed(ipv4(6, TCP + b"x" * 3000, length=0))
    assert (headers.length, headers.shape) == (3040, WHOLE)


def test_a_jumbogram_is_as_long_as_its_data() -> None:
    jumbo = b"\x06\x00\xc2\x04" + struct.pack("!I", 70028)  # option 0xC2: the length in 32 bits
    headers = parsed(ipv6(0, jumbo + TCP + b"x" * 70000, payload=0))
    assert (headers.length, headers.dport, headers.l4) == (70068, 80, 48)


def test_an_ipv6_packet_without_payload_is_40_bytes_long() -> None:
    headers = parsed(ipv6(59, b"", payload=0) + b"padding")
    assert (headers.length, headers.shape, headers.proto) == (40, WHOLE, 59)


# --- IPv6 extension headers


@pytest.mark.parametrize("kind", [0, 43, 60], ids=["hop-by-hop", "routing", "destination options"])
def test_an_extension_header_is_skipped(kind: int) -> None:
    headers = parsed(ipv6(kind, bytes([6, 1]) + bytes(14) + TCP))
    assert (headers.proto, headers.dport, headers.l4, headers.shape) == (6, 80, 56, WHOLE)


def test_a_chain_of_extension_headers_is_skipped() -> None:
    chain = bytes([43, 0]) + bytes(6) + bytes([60, 2]) + bytes(22) + bytes([17, 0]) + bytes(6)
    headers = parsed(ipv6(0, chain + UDP))
    assert (headers.proto, headers.dport, headers.l4) == (17, 53, 40 + 8 + 24 + 8)


@pytest.mark.parametrize("size", range(8))
def test_a_chain_that_is_cut_in_an_extension_header_has_no_ports(size: int) -> None:
    headers = parsed(ipv6(60, (bytes([6, 0]) + bytes(6))[:size]))
    assert (headers.shape, headers.sport, headers.dport) == (NO_PORTS, 0, 0)


def test_an_extension_header_that_claims_more_than_there_is_leaves_no_ports() -> None:
    headers = parsed(ipv6(60, bytes([6, 255]) + bytes(6) + TCP))
    assert (headers.shape, headers.proto) == (NO_PORTS, 6)


def test_an_authentication_header_is_a_protocol_of_its_own() -> None:
    assert parsed(ipv6(51, bytes([6, 4]) + bytes(22) + TCP)).proto == 51


# --- Fragments


def v6_fragment(offset: int, more: int, proto: int = 17) -> bytes:
    return struct.pack("!BBHI", proto, 0, offset << 3 | more, 0x1234)


@pytest.mark.parametrize(
    "data",
    [ipv4(17, UDP, fragment=0x2000), ipv6(44, v6_fragment(0, 1) + UDP)],
    ids=["ipv4", "ipv6"],
)
def test_the_first_fragment_is_a_fragment_with_ports(data: bytes) -> None:
    headers = parsed(data)
    assert (headers.shape, headers.proto, headers.sport, headers.dport) == (FRAGMENT, 17, 5000, 53)


@pytest.mark.parametrize(
    "data",
    [
        ipv4(17, UDP, fragment=0x2001),
        ipv4(17, UDP, fragment=0x00B9),
        ipv6(44, v6_fragment(1, 1) + UDP),
        ipv6(44, v6_fragment(185, 0) + UDP),
    ],
    ids=["ipv4 middle", "ipv4 last", "ipv6 middle", "ipv6 last"],
)
def test_a_later_fragment_has_no_ports_and_no_transport_header(data: bytes) -> None:
    headers = parsed(data)
    assert (headers.shape, headers.proto, headers.sport, headers.dport, headers.l4) == (FRAGMENT, 17, 0, 0, 0)


def test_a_first_fragment_with_too_few_bytes_for_its_header_is_still_a_fragment() -> None:
    assert parsed(ipv4(6, TCP[:8], fragment=0x2000)).shape == FRAGMENT


def test_a_fragment_header_on_a_packet_in_one_piece_is_skipped() -> None:
    headers = parsed(ipv6(44, v6_fragment(0, 0) + UDP))
    assert (headers.shape, headers.dport, headers.l4) == (WHOLE, 53, 48)


def test_dont_fragment_alone_makes_no_fragment() -> None:
    assert parsed(ipv4(17, UDP, fragment=0x4000)).shape == WHOLE


def test_a_fragment_of_an_icmp_error_is_a_fragment() -> None:
    assert parsed(ipv4(1, b"\x03\x03" + bytes(30), fragment=0x2000)).shape == FRAGMENT


def test_a_fragmented_chain_that_is_cut_behind_the_fragment_header_is_a_fragment() -> None:
    assert parsed(ipv6(44, v6_fragment(0, 1, proto=60) + b"\x11")).shape == FRAGMENT


# --- ICMP


@pytest.mark.parametrize("kind", range(256))
def test_icmp_types_3_4_and_11_are_errors(kind: int) -> None:
    shape = parsed(ipv4(1, bytes([kind]) + bytes(7))).shape
    assert shape == (ICMP_ERROR if kind in (3, 4, 11) else WHOLE)


@pytest.mark.parametrize("kind", range(256))
def test_icmpv6_types_below_128_are_errors(kind: int) -> None:
    shape = parsed(ipv6(58, bytes([kind]) + bytes(7))).shape
    assert shape == (ICMP_ERROR if kind < 128 else WHOLE)


@pytest.mark.parametrize("data", [ipv6(1, b"\x03\x03" + bytes(6)), ipv4(58, b"\x01\x04" + bytes(6))])
def test_icmp_of_the_other_family_is_no_error(data: bytes) -> None:
    assert parsed(data).shape == WHOLE


def test_icmp_without_its_type_is_no_error() -> None:
    assert parsed(ipv4(1, b"") + b"\x03").shape == WHOLE


# --- Any bytes


@given(st.binary(max_size=120))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    parse(data)


@given(
    st.sampled_from([b"\x45", b"\x46", b"\x4f", b"\x60"]),
    st.sampled_from([0, 1, 6, 17, 43, 44, 58, 60, 132]),
    st.binary(max_size=150),
)
def test_what_is_parsed_from_any_bytes_stays_within_its_types(first: bytes, proto: int, rest: bytes) -> None:
    at = 6 if first == b"\x60" else 9
    data = (first + rest)[:at] + bytes([proto]) + (first + rest)[at + 1 :]
    headers = parse(data)
    if headers is None:
        return
    assert len(headers.src) == len(headers.dst) == (4 if headers.version == 4 else 16)
    assert all(0 <= port <= 65535 for port in (headers.sport, headers.dport))
    assert headers.shape in (WHOLE, CUT_HEADER, NO_PORTS, FRAGMENT, ICMP_ERROR)
    assert headers.shape in (FRAGMENT, NO_PORTS) or headers.l4 <= len(data)


# --- Both lanes


@given(nearly_packets, st.binary(max_size=5))
def test_the_compiled_lane_reads_the_same_integers(data: bytes, before: bytes) -> None:
    read = compiled_lane().function(read_headers)
    compiled = read(np.frombuffer(before + data, np.uint8), len(before), len(before) + len(data))
    interpreted = read_headers(before + data, len(before), len(before) + len(data))
    assert [(type(value), value) for value in compiled] == [(int, value) for value in interpreted]


@given(nearly_packets, st.binary(max_size=30))
def test_bytes_behind_the_end_do_not_matter(data: bytes, behind: bytes) -> None:
    assert read_headers(data + behind, 0, len(data)) == read_headers(data, 0, len(data))
