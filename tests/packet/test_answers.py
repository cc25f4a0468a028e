"""answers: against what Linux 6.1.192 and 6.12.117 sent, and the rules for what gets no answer.

In the recorded ICMP errors the IP id (random, and with it the IP checksum) and the IPv6 flow label are set
to 0, as lbsim writes them.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Raw

from lbsim.errors import TraceError
from lbsim.packet import checksum
from lbsim.packet.answers import (
    nobody_listens,
    port_unreachable,
    protocol_unreachable,
    tcp_reset,
    time_exceeded,
)
from lbsim.packet.build import build_packet, ip_packet

CLIENT4, VIP4 = "198.51.100.1", "192.168.1.10"
CLIENT6, VIP6 = "2001:db8:9::1", "2001:db8:1::10"
ROUTER4 = ip_address("10.0.0.1")


def checksums_hold(packet: bytes) -> bool:
    """Whether IP and transport checksum are what scapy computes."""
    dissected = (IP if packet[0] >> 4 == 4 else IPv6)(packet)
    layer = dissected
    while layer:
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)
        layer = layer.payload
        if isinstance(layer, Raw) or type(layer).__name__.endswith(("error", "error6")):
            break  # the quoted packet is as it was
    return bytes(dissected) == packet


def without_id(packet: str) -> bytes:
    """A recorded ICMP error over IPv4 with the IP id 0 and its checksum to match."""
    data = bytearray.fromhex(packet)
    data[4:6] = data[10:12] = b"\0\0"
    data[10:12] = struct.pack("!H", checksum.full(data[:20]))
    return bytes(data)


# --- ICMP errors as kernels sent them


def test_port_unreachable_for_a_syn_that_no_destination_takes() -> None:
    syn = "450000280001400040064e8ec633645bc0a8010a9c410050000003e8000000005002ffff23280000"
    answer = "45c000449eb100004001ef06c0a8010ac633645b0303e95800000000" + syn
    assert port_unreachable(bytes.fromhex(syn)) == without_id(answer)


def test_of_a_protocol_that_nobody_speaks_the_error_is_3_2() -> None:
    packet = bytes(IP(src=CLIENT4, dst=VIP4, id=1) / SCTP(sport=5000, dport=80) / SCTPChunkData(data=b"abcd"))
    expected = IP(src=VIP4, dst=CLIENT4, tos=0xC0, id=0) / ICMP(type=3, code=2) / Raw(packet)
    assert protocol_unreachable(packet) == bytes(expected)


def test_over_ipv6_the_error_points_to_the_next_header() -> None:
    packet = bytes(IPv6(src=CLIENT6, dst=VIP6) / SCTP(sport=5000, dport=80) / SCTPChunkData(data=b"abcd"))
    expected = IPv6(src=VIP6, dst=CLIENT6) / ICMPv6ParamProblem(code=1, ptr=6) / Raw(packet)
    assert protocol_unreachable(packet) == bytes(expected)


def test_the_error_points_behind_extension_headers() -> None:
    chain = IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrHopByHop(options=PadN(optdata=b"1234")) / IPv6ExtHdrDestOpt()
    packet = bytes(chain / SCTP(sport=5000, dport=80) / SCTPChunkData(data=b"abcd"))
    expected = IPv6(src=VIP6, dst=CLIENT6) / ICMPv6ParamProblem(code=1, ptr=48) / Raw(packet)
    assert protocol_unreachable(packet) == bytes(expected)


# What 6.1.192 and 6.12.117 did with 24 zero bytes of each protocol.
ANSWERED = (4, 41, 47, 50, 51, 88, 89, 108, 112, 115, 132, 135, 137, 139, 140, 255)


@pytest.mark.parametrize("version", [4, 6])
def test_which_protocols_the_own_stack_knows(version: int) -> None:
    ends = [ip_address(end).packed for end in ((CLIENT4, VIP4) if version == 4 else (CLIENT6, VIP6))]
    answered = [n for n in range(256) if protocol_unreachable(ip_packet(*ends, n, bytes(24)))]
    assert set(ANSWERED) <= set(answered)
    assert not {103, 136, 2 if version == 4 else 59, 1 if version == 4 else 58} & set(answered)


def test_time_exceeded_from_the_virtual_address_for_a_client() -> None:
    syn = "45000028000d400001068ddcc6336401c0a8010a9c410050000003e8000000005002ffff23820000"
    answer = "45c0004439dc000040015436c0a8010ac63364010b00e10100000000" + syn
    assert time_exceeded(bytes.fromhex(syn), source=ip_address(VIP4)) == without_id(answer)


def test_time_exceeded_from_the_directors_own_address_for_a_real_server() -> None:
    reply = "45000021001040000111457d0a00000bc633640100351388000db1d30001020304"
    answer = "45c0003d65b800004001003d0a0000010a00000b0b00295e00000000" + reply
    assert time_exceeded(bytes.fromhex(reply), source=ROUTER4) == without_id(answer)


def test_time_exceeded_over_ipv6() -> None:
    # Recorded with the flow label ae22c.
    ack = (
        "600000000028060120010db800090000000000000000000120010db80001000000000000000000109c410050000003e910000001"
        "5018ffff494c0000000102030405060708090a0b0c0d0e0f10111213"
    )
    head = "6000000000583a4020010db800010000000000000000001020010db800090000000000000000000103003ae500000000"
    answer = time_exceeded(bytes.fromhex(ack), source=ip_address(VIP6))
    assert answer is not None
    assert (answer[:48].hex(), answer[48:].hex()) == (head, ack)


# --- ICMP errors by their rules


def test_port_unreachable_over_ipv6_has_type_1_code_4() -> None:
    packet = build_packet(src=CLIENT6, dst=VIP6, proto=17, sport=5000, dport=53, payload=b"query")
    expected = IPv6(src=VIP6, dst=CLIENT6) / ICMPv6DestUnreach(code=4) / Raw(packet)
    assert port_unreachable(packet) == bytes(expected)


def test_time_exceeded_over_ipv6_has_type_3_code_0() -> None:
    packet = build_packet(src=CLIENT6, dst=VIP6, proto=17, sport=5000, dport=53, ttl=1)
    expected = IPv6(src="fd00::1", dst=CLIENT6) / ICMPv6TimeExceeded(code=0) / Raw(packet)
    assert time_exceeded(packet, source=ip_address("fd00::1")) == bytes(expected)


def test_an_error_can_come_from_another_address_than_the_packets_destination() -> None:
    packet = build_packet(src=CLIENT4, dst=VIP4)
    answer = port_unreachable(packet, source=ROUTER4)
    assert answer is not None
    assert answer[12:16] == ROUTER4.packed


@pytest.mark.parametrize(
    ("src", "dst", "longest", "head"),
    [(CLIENT4, VIP4, 576, 28), (CLIENT6, VIP6, 1280, 48)],
    ids=["ipv4", "ipv6"],
)
def test_an_error_quotes_as_much_as_fits(src: str, dst: str, longest: int, head: int) -> None:
    packet = build_packet(src=src, dst=dst, payload=bytes(range(256)) * 5)
    answer = port_unreachable(packet)
    assert answer is not None
    assert answer[head:] == packet[: longest - head]


def test_an_error_quotes_no_bytes_behind_the_packets_end() -> None:
    packet = build_packet(src=CLIENT4, dst=VIP4)
    assert port_unreachable(packet + b"padding") == port_unreachable(packet)


@pytest.mark.parametrize(("tos", "answered"), [(0, 0xC0), (0xB9, 0xD8), (0x1F, 0xDE), (0xE0, 0xC0)])
def test_an_ipv4_error_keeps_the_low_tos_bits_but_the_last(tos: int, answered: int) -> None:
    # Facts, section 14: 0xC0 | (tos & 0x1E).
    answer = port_unreachable(bytes(IP(src=CLIENT4, dst=VIP4, tos=tos) / UDP()))
    assert answer is not None
    assert answer[1] == answered


@pytest.mark.parametrize(
    "packet",
    [
        build_packet(src=CLIENT4, dst=VIP4, payload=b"odd"),
        build_packet(src=CLIENT6, dst=VIP6, payload=b"odd"),
        bytes(IP(src=CLIENT4, dst=VIP4) / ICMP()),
        bytes(IPv6(src=CLIENT6, dst=VIP6) / ICMPv6EchoRequest()),
    ],
    ids=["ipv4", "ipv6", "echo", "echo v6"],
)
def test_the_checksums_of_an_error_hold(packet: bytes) -> None:
    answer = port_unreachable(packet)
    assert answer is not None
    assert checksums_hold(answer)


def fragment_of(packet: bytes, bits: int) -> bytes:
    return packet[:6] + struct.pack("!H", bits) + packet[8:]


@pytest.mark.parametrize("kind", [0, 8, 13])
def test_an_icmp_query_is_reported(kind: int) -> None:
    assert port_unreachable(bytes(IP(src=CLIENT4, dst=VIP4, proto=1) / Raw(bytes([kind]) + bytes(7)))) is not None


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_no_error_is_sent_about_an_icmp_error(kind: int) -> None:
    assert port_unreachable(bytes(IP(src=CLIENT4, dst=VIP4, proto=1) / Raw(bytes([kind]) + bytes(7)))) is None


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 127, 137])
def test_no_error_is_sent_about_an_icmpv6_error_or_redirect(kind: int) -> None:
    assert port_unreachable(bytes(IPv6(src=CLIENT6, dst=VIP6, nh=58) / Raw(bytes([kind]) + bytes(7)))) is None


@pytest.mark.parametrize(
    "packet",
    [IP(src=CLIENT4, dst=VIP4, proto=1), IPv6(src=CLIENT6, dst=VIP6, nh=58)],
    ids=["ipv4", "ipv6"],
)
def test_no_error_is_sent_about_icmp_without_its_type(packet: Packet) -> None:
    assert port_unreachable(bytes(packet)) is None


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=CLIENT4, dst=VIP4, proto=58) / Raw(b"\x01\x04"),
        IPv6(src=CLIENT6, dst=VIP6, nh=1) / Raw(b"\x03\x03"),
    ],
    ids=["icmpv6 in ipv4", "icmp in ipv6"],
)
def test_icmp_of_the_other_family_is_reported_like_any_protocol(packet: Packet) -> None:
    assert port_unreachable(bytes(packet)) is not None


def test_no_error_is_sent_about_a_later_fragment() -> None:
    assert port_unreachable(fragment_of(build_packet(src=CLIENT4, dst=VIP4), 0x00B9)) is None


def test_an_error_is_sent_about_the_first_fragment() -> None:
    assert port_unreachable(fragment_of(build_packet(src=CLIENT4, dst=VIP4), 0x2000)) is not None


NOT_ONE_HOST = [
    ("0.0.0.0", VIP4),
    ("224.0.0.1", VIP4),
    ("255.255.255.255", VIP4),
    (CLIENT4, "239.1.2.3"),
    (CLIENT4, "255.255.255.255"),
    ("::", VIP6),
    ("ff02::1", VIP6),
    (CLIENT6, "ff02::1"),
]


@pytest.mark.parametrize(("src", "dst"), NOT_ONE_HOST)
def test_no_error_is_sent_where_an_address_is_not_one_hosts(src: str, dst: str) -> None:
    assert port_unreachable(build_packet(src=src, dst=dst, proto=17)) is None


def test_an_error_from_an_address_of_the_other_family_is_refused() -> None:
    message = "^an error about an IPv6 packet cannot come from 10.0.0.1$"
    with pytest.raises(TraceError, match=message):
        time_exceeded(build_packet(src=CLIENT6, dst=VIP6), source=ROUTER4)


# --- TCP resets as kernels sent them

RESETS = [
    pytest.param(
        "450000280001400040064ee8c6336401c0a8010a9c400050000003e9100000015010ffff13730000",
        "450000280000400040064ee9c0a8010ac633640100509c4010000001000000005004000017680000",
        id="ACK",
    ),
    pytest.param(
        "450000320002400040064edcc6336402c0a8010a9c410050000003e9100000015018ffffff45000000010203040506070809",
        "450000280000400040064ee8c0a8010ac633640200509c4110000001000000005004000017660000",
        id="PSH ACK with 10 bytes",
    ),
    pytest.param(
        "450000280003400040064ee4c6336403c0a8010a9c420050000003e9100000015011ffff136e0000",
        "450000280000400040064ee7c0a8010ac633640300509c4210000001000000005004000017640000",
        id="FIN ACK",
    ),
    pytest.param(
        "450000280007400040064edcc6336407c0a8010a9c460050000003e9000000005000ffff23780000",
        "450000280000400040064ee3c0a8010ac633640700509c4600000000000003e95014000023640000",
        id="no flags",
    ),
    pytest.param(
        "45000028000a400040064ed6c633640ac0a8010a9c490050000003e9000000005001ffff23710000",
        "450000280000400040064ee0c0a8010ac633640a00509c4900000000000003ea50140000235d0000",
        id="FIN",
    ),
    pytest.param(
        "45000028000b400040064ed4c633640bc0a8010a9c400050000003e9000000005020ffff235a0000",
        "450000280000400040064edfc0a8010ac633640b00509c4000000000000003e95014000023660000",
        id="URG",
    ),
]


@pytest.mark.parametrize(("packet", "reset"), RESETS)
def test_a_packet_nobody_wants_is_reset_as_kernels_do(packet: str, reset: str) -> None:
    answer = tcp_reset(bytes.fromhex(packet))
    assert answer is not None
    assert answer.hex() == reset


@pytest.mark.parametrize("flags", ["R", "RA", "SR"])
def test_a_reset_is_not_answered(flags: str) -> None:
    assert tcp_reset(bytes(IP(src=CLIENT4, dst=VIP4) / TCP(flags=flags))) is None


# --- TCP resets by their rules


def reset_of(packet: Packet) -> Packet:
    answer = tcp_reset(bytes(packet))
    assert answer is not None
    assert checksums_hold(answer)
    return (IP if answer[0] >> 4 == 4 else IPv6)(answer)


@pytest.mark.parametrize(
    ("flags", "payload", "seq", "ack"),
    [
        ("S", b"", 1000, 1001),
        ("S", b"fast open", 1000, 1010),
        ("SF", b"", 1000, 1002),
        ("P", b"abc", 1000, 1003),
        ("S", b"", 0xFFFFFFFF, 0),
    ],
)
def test_without_ack_the_reset_acknowledges_all_that_the_packet_used(
    flags: str, payload: bytes, seq: int, ack: int
) -> None:
    reset = reset_of(IP(src=CLIENT4, dst=VIP4) / TCP(flags=flags, seq=seq) / Raw(payload))
    assert (reset[TCP].flags, reset[TCP].seq, reset[TCP].ack) == ("RA", 0, ack)


def test_tcp_options_do_not_count_as_payload() -> None:
    reset = reset_of(IP(src=CLIENT4, dst=VIP4) / TCP(flags="S", seq=1000, options=[("MSS", 1460)]))
    assert reset[TCP].ack == 1001


def test_bytes_behind_the_packets_end_do_not_count_as_payload() -> None:
    packet = build_packet(src=CLIENT4, dst=VIP4, flags=2, seq=1000)
    assert tcp_reset(packet + b"padding") == tcp_reset(packet)


def test_payload_that_was_not_captured_counts() -> None:
    packet = build_packet(src=CLIENT4, dst=VIP4, flags=2, seq=1000, payload=b"x" * 500)
    assert tcp_reset(packet[:40]) == tcp_reset(packet)


def test_a_reset_over_ipv6_swaps_addresses_and_ports() -> None:
    reset = reset_of(IPv6(src=CLIENT6, dst=VIP6, hlim=9) / TCP(sport=40001, dport=80, flags="A", ack=77))
    expected = IPv6(src=VIP6, dst=CLIENT6) / TCP(sport=80, dport=40001, flags="R", seq=77, window=0)
    assert bytes(reset) == bytes(expected)


def test_a_reset_keeps_the_dscp_without_ecn() -> None:
    reset = reset_of(IP(src=CLIENT4, dst=VIP4, tos=0xBB) / TCP(flags="A"))
    assert reset.tos == 0xB8


def test_a_reset_over_ipv6_keeps_the_dscp_without_ecn() -> None:
    reset = reset_of(IPv6(src=CLIENT6, dst=VIP6, tc=0xBB, fl=0x12345) / TCP(flags="A"))
    assert (reset.tc, reset.fl) == (0xB8, 0)


@pytest.mark.parametrize(
    "packet",
    [
        b"no packet",
        build_packet(src=CLIENT4, dst=VIP4, proto=17),
        build_packet(src=CLIENT4, dst=VIP4, flags=2, length=39),
        fragment_of(build_packet(src=CLIENT4, dst=VIP4, flags=2), 0x2000),
        bytes(IP(src=CLIENT4, dst=VIP4) / TCP(dataofs=4)),
        bytes(IP(src=CLIENT4, dst=VIP4) / TCP(dataofs=6)),
    ],
    ids=["no packet", "UDP", "cut header", "fragment", "offset below 5", "offset behind the end"],
)
def test_what_is_no_sound_tcp_packet_is_not_reset(packet: bytes) -> None:
    assert tcp_reset(packet) is None


@pytest.mark.parametrize(("src", "dst"), NOT_ONE_HOST)
def test_no_reset_is_sent_where_an_address_is_not_one_hosts(src: str, dst: str) -> None:
    assert tcp_reset(build_packet(src=src, dst=dst, flags=2)) is None


# --- Any bytes


@given(st.sampled_from([b"", b"\x45", b"\x60"]), st.sampled_from([1, 6, 17, 58]), st.binary(max_size=100))
def test_no_bytes_make_them_raise(first: bytes, proto: int, rest: bytes) -> None:
    data = bytearray(first + rest)
    at = 6 if first == b"\x60" else 9
    data[at : at + 1] = bytes([proto])
    source = ip_address(VIP6 if data[0] >> 4 == 6 else VIP4)
    port_unreachable(bytes(data))
    time_exceeded(bytes(data), source=source)
    tcp_reset(bytes(data))


def test_bytes_that_are_no_packet_get_no_error() -> None:
    assert port_unreachable(b"no packet") is None


# --- what the stack looks at before it answers: as 6.1.192 and 6.12.117 did

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def to_nobody(version: int, *, length: int = 12, check: int | None = None) -> bytes:
    """A UDP packet with 4 bytes of payload that says it has ``length`` bytes; with the checksum that fits these."""
    src, dst = (CLIENT4, VIP4) if version == 4 else (CLIENT6, VIP6)
    packet = bytearray(build_packet(src=src, dst=dst, sport=40001, dport=81, proto=17, payload=b"abcd"))
    l4 = 20 if version == 4 else 40
    packet[l4 + 4 : l4 + 8] = struct.pack("!HH", length, 0)
    if check is None:
        ends = ip_address(src).packed, ip_address(dst).packed
        check = checksum.transport(*ends, 17, packet[l4 : l4 + length if length >= 8 else None])
    packet[l4 + 6 : l4 + 8] = struct.pack("!H", check)
    return bytes(packet)


@VERSIONS
@pytest.mark.parametrize("length", [8, 10, 12])
def test_what_is_behind_the_udp_length_is_not_quoted(version: int, length: int) -> None:
    packet = to_nobody(version, length=length)
    assert nobody_listens(packet) == port_unreachable(packet[: len(packet) - 12 + length])


@VERSIONS
@pytest.mark.parametrize("length", [7, 13, 100])
@pytest.mark.parametrize("check", [None, 0])
def test_a_udp_length_that_cannot_be_is_not_answered(version: int, length: int, check: int | None) -> None:
    assert nobody_listens(to_nobody(version, length=length, check=check)) is None


def test_over_ipv6_a_udp_length_of_0_is_that_of_the_packet() -> None:
    assert nobody_listens(to_nobody(4, length=0)) is None
    packet = to_nobody(6, length=0)
    assert nobody_listens(packet) == port_unreachable(packet)


def test_no_udp_checksum_is_a_right_one_over_ipv4_only() -> None:
    assert nobody_listens(to_nobody(4, check=0)) == port_unreachable(to_nobody(4, check=0))
    assert nobody_listens(to_nobody(6, check=0)) is None


@VERSIONS
def test_the_checksum_of_a_packet_that_was_captured_in_part_counts_as_right(version: int) -> None:
    assert nobody_listens(to_nobody(version, check=0x1234)[:-1]) is not None


@VERSIONS
def test_a_wrong_udp_checksum_is_not_answered(version: int) -> None:
    assert nobody_listens(to_nobody(version, check=0x1234)) is None


def test_only_whole_udp_packets_come_to_a_port() -> None:
    assert nobody_listens(b"") is None
    assert nobody_listens(bytes(IP(src=CLIENT4, dst=VIP4) / ICMP())) is None
    assert nobody_listens(bytes(IP(src=CLIENT4, dst=VIP4, proto=17) / Raw(b"abcd"))) is None


@VERSIONS
@pytest.mark.parametrize("flags", ["S", "A"])
def test_a_wrong_tcp_checksum_is_not_answered(version: int, flags: str) -> None:
    network = IP(src=CLIENT4, dst=VIP4) if version == 4 else IPv6(src=CLIENT6, dst=VIP6)
    packet = bytearray(bytes(network / TCP(sport=40001, dport=81, flags=flags)))
    assert tcp_reset(bytes(packet)) is not None
    packet[-4] ^= 1
    assert tcp_reset(bytes(packet)) is None
