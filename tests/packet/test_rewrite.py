"""rewrite: against scapy's rebuild of the same packet, against what real kernels sent, and there and back.

Where the two ways to a checksum could differ, and why they do not for a packet that came with a correct one:

* TCP: an update cannot give 0xFFFF; the full computation could only for data that is all zeros, and the
  pseudo header never is. So both give 0 where 0xFFFF would mean the same.
* UDP: both write 0xFFFF for 0. A correct UDP checksum is 1 to 0xFFFF, so no information is lost on the way.
* A TCP checksum that came as 0xFFFF is not one that any sender computes. It leaves as if it had been 0, and
  there-and-back gives 0: the one exception to the identity.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Packet, Raw

from lbsim.engine.lanes import compiled_lane
from lbsim.engine.numbers import FRAGMENT
from lbsim.errors import TraceError
from lbsim.model.verdict import Rewrite
from lbsim.packet import checksum
from lbsim.packet.headers import parse, read_headers
from lbsim.packet.octets import words_of
from lbsim.packet.rewrite import SAME, rewrite, rewrite_in_place
from tests.packet.any_packets import nearly_packets

V4 = (ip_address("198.51.100.1"), ip_address("192.168.1.10"), ip_address("10.0.0.11"))
V6 = (ip_address("2001:db8:9::1"), ip_address("2001:db8:1::10"), ip_address("fd00::11"))

ports = st.integers(0, 65535)
checks = st.integers(0, 65535)
payloads = st.binary(max_size=40)
families = st.sampled_from([4, 6])
layers = st.sampled_from([TCP, UDP])


def addresses(version: int) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return st.ip_addresses(v=version)


def changes(version: int) -> st.SearchStrategy[Rewrite]:
    address = st.one_of(st.none(), addresses(version))
    port = st.one_of(st.none(), ports)
    return st.builds(Rewrite, src=address, sport=port, dst=address, dport=port, ttl_down=st.integers(0, 3))


def scapy_packet(version: int, layer: type[Packet], payload: bytes, **fields: int) -> Packet:
    client, vip, _ = V4 if version == 4 else V6
    ip = IP(src=str(client), dst=str(vip), id=7) if version == 4 else IPv6(src=str(client), dst=str(vip))
    return ip / layer(sport=40001, dport=80, **fields) / Raw(payload)


def checksum_at(data: bytes) -> int:
    headers = parse(data)
    assert headers is not None
    return headers.l4 + {6: 16, 17: 6}[headers.proto]


def checksum_of(data: bytes) -> int:
    at = checksum_at(data)
    return int.from_bytes(data[at : at + 2], "big")


def with_checksum(data: bytes, check: int) -> bytes:
    at = checksum_at(data)
    return data[:at] + struct.pack("!H", check) + data[at + 2 :]


def ones_complement_difference(one: int, other: int) -> int:
    """By how much a checksum is wrong: modulo 0xFFFF, where 0 and 0xFFFF are the same."""
    return (one - other) % 0xFFFF


def rebuilt(data: bytes, change: Rewrite) -> bytes:
    """The rewritten packet as scapy makes it: fields set, checksums deleted and computed anew."""
    version = data[0] >> 4
    packet = (IP if version == 4 else IPv6)(data)
    transport = packet[TCP] if TCP in packet else packet[UDP]
    if change.src is not None:
        packet.src = str(change.src)
    if change.dst is not None:
        packet.dst = str(change.dst)
    if change.sport is not None:
        transport.sport = change.sport
    if change.dport is not None:
        transport.dport = change.dport
    if version == 4:
        packet.ttl -= change.ttl_down
        del packet.chksum
    else:
        packet.hlim -= change.ttl_down
    del transport.chksum
    return bytes(packet)


# --- Against scapy


@given(families, layers, payloads, st.data())
def test_a_packet_with_correct_checksums_leaves_as_scapy_rebuilds_it(
    version: int, layer: type[Packet], payload: bytes, data: st.DataObject
) -> None:
    change = data.draw(changes(version))
    packet = bytes(scapy_packet(version, layer, payload))
    assert rewrite(packet, change) == rebuilt(packet, change)


# Payloads that steer the rewritten checksum to 0 and its neighbours: see the UDP recordings of kernels below.
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("layer", [TCP, UDP])
def test_the_checksums_around_0_are_those_that_scapy_computes(version: int, layer: type[Packet]) -> None:
    dest = (V4 if version == 4 else V6)[2]
    change = Rewrite(dst=dest, dport=5353)
    plain = rebuilt(bytes(scapy_packet(version, layer, b"\0\0")), change)
    seen = set()
    for step in range(-2, 3):
        # Adding the checksum itself to the data brings the new one to 0.
        payload = struct.pack("!H", (checksum_of(plain) + step) % 0xFFFF)
        packet = bytes(scapy_packet(version, layer, payload))
        after = rewrite(packet, change)
        assert after == rebuilt(packet, change)
        seen.add(checksum_of(after))
    assert seen == {2, 1, 0xFFFF if layer is UDP else 0, 0xFFFE, 0xFFFD}


def test_ip_options_are_kept_and_checksummed() -> None:
    client, vip, dest = V4
    packet = bytes(IP(src=str(client), dst=str(vip), options=[IPOption_NOP()] * 8) / UDP(sport=1, dport=2))
    change = Rewrite(dst=dest, dport=3)
    assert rewrite(packet, change) == rebuilt(packet, change)


def test_the_transport_header_behind_an_extension_header_is_rewritten() -> None:
    client, vip, dest = V6
    packet = bytes(IPv6(src=str(client), dst=str(vip)) / IPv6ExtHdrDestOpt() / TCP(sport=1, dport=2))
    change = Rewrite(dst=dest, dport=3)
    assert rewrite(packet, change) == rebuilt(packet, change)


# --- Against kernels: what Linux 6.1.192 and 6.12.117 sent for the packet before it (both sent the same).

TO_DEST = Rewrite(dst=V4[2], dport=80)
TO_5353 = Rewrite(dst=V4[2], dport=5353)
TO_CLIENT = Rewrite(src=V4[1], sport=53)
RECORDED = [
    pytest.param(
        "450000280001400040064ee8c6336401c0a8010a9c410050000003e8000000005002ffff23820000",
        TO_DEST,
        "45000028000140003f060790c63364010a00000b9c410050000003e8000000005002ffffdb290000",
        id="SYN",
    ),
    pytest.param(
        "45000028000240004006068f0a00000bc633640100509c41000003e8100000015012ffffcb180000",
        Rewrite(src=V4[1], sport=80),
        "45000028000240003f064fe7c0a8010ac633640100509c41000003e8100000015012ffff13710000",
        id="SYN/ACK",
    ),
    pytest.param(
        "4500001e0002400040114ee6c6336401c0a8010a13880035000a5d0da328",
        TO_5353,
        "4500001e000240003f11078ec63364010a00000b138814e9000a0001a328",
        id="UDP to checksum 1",
    ),
    pytest.param(
        "4500001e0003400040114ee5c6336401c0a8010a13880035000a5d0ca329",
        TO_5353,
        "4500001e000340003f11078dc63364010a00000b138814e9000affffa329",
        id="UDP to checksum ffff",
    ),
    pytest.param(
        "4500001e00084000401106880a00000bc633640114e91388000aa2f30036",
        TO_CLIENT,
        "4500001e000840003f114fe0c0a8010ac633640100351388000affff0036",
        id="UDP back to checksum ffff",
    ),
    pytest.param(
        "450000280007400040064ee2c6336401c0a8010a9c410050000003e9000000015010ffff00002372747261696c6572",
        TO_DEST,
        "45000028000740003f06078ac63364010a00000b9c410050000003e9000000015010ffffb7a72372",
        id="wrong TCP checksum, bytes behind the end",
    ),
    pytest.param(
        "450000200006400040114ee0c6336401c0a8010a1388003500c83b6b61626364",
        Rewrite(dst=V4[2], dport=53),
        "45000020000640003f110788c63364010a00000b1388003500c8f31261626364",
        id="UDP length that lies",
    ),
    pytest.param(
        "600000000014064020010db800090000000000000000000120010db80001000000000000000000109c410050000003e800000000"
        "5002ffffb3dc0000",
        Rewrite(dst=V6[2], dport=8080),
        "600000000014063f20010db8000900000000000000000001fd0000000000000000000000000000119c411f90000003e800000000"
        "5002ffffc5540000",
        id="SYN over IPv6",
    ),
    pytest.param(
        "45000032000c40004006064a0a00000bc633643200509c40000003e9100000015018ffffb6be000000010203040506070809",
        Rewrite(),
        "45000032000c40003f06074a0a00000bc633643200509c40000003e9100000015018ffffb6be000000010203040506070809",
        id="routed",
    ),
]


@pytest.mark.parametrize(("before", "change", "after"), RECORDED)
def test_a_packet_leaves_as_it_left_the_kernel(before: str, change: Rewrite, after: str) -> None:
    assert rewrite(bytes.fromhex(before), change).hex() == after


# --- Checksums that are wrong, or missing


@given(families, layers, payloads, checks, st.data())
def test_a_wrong_checksum_stays_wrong_by_the_same_amount(
    version: int, layer: type[Packet], payload: bytes, check: int, data: st.DataObject
) -> None:
    assume(check != 0 or layer is TCP)
    right = bytes(scapy_packet(version, layer, payload))
    change = Rewrite(dst=data.draw(addresses(version)), dport=data.draw(ports))
    before = ones_complement_difference(check, checksum_of(right))
    after = rewrite(with_checksum(right, check), change)
    assert ones_complement_difference(checksum_of(after), checksum_of(rebuilt(right, change))) == before


@given(families, payloads, st.data())
def test_a_udp_checksum_of_0_is_filled_in(version: int, payload: bytes, data: st.DataObject) -> None:
    right = bytes(scapy_packet(version, UDP, payload))
    change = Rewrite(dst=data.draw(addresses(version)), dport=data.draw(ports))
    assert rewrite(with_checksum(right, 0), change) == rebuilt(right, change)


def test_a_udp_checksum_of_0_that_is_filled_in_with_0_becomes_ffff() -> None:
    change = Rewrite(dst=V4[2], dport=5353)
    plain = rebuilt(bytes(scapy_packet(4, UDP, b"\0\0")), change)
    packet = bytes(scapy_packet(4, UDP, struct.pack("!H", checksum_of(plain))))
    assert checksum_of(rewrite(with_checksum(packet, 0), change)) == 0xFFFF


def test_a_udp_checksum_of_0_stays_0_where_nothing_is_translated() -> None:
    packet = with_checksum(bytes(scapy_packet(4, UDP, b"abc")), 0)
    assert checksum_of(rewrite(packet, Rewrite())) == 0


def test_a_udp_checksum_of_0_stays_0_in_a_packet_captured_in_part() -> None:
    packet = with_checksum(bytes(scapy_packet(4, UDP, b"abcdef")), 0)
    assert checksum_of(rewrite(packet[:-1], Rewrite(dst=V4[2]))) == 0


def test_a_udp_checksum_of_0_stays_0_in_a_first_fragment() -> None:
    packet = bytearray(with_checksum(bytes(scapy_packet(4, UDP, b"abcdef")), 0))
    packet[6] = 0x20  # more fragments
    assert checksum_of(rewrite(bytes(packet), Rewrite(dst=V4[2]))) == 0


def test_a_tcp_checksum_of_0_is_a_checksum_like_any_other() -> None:
    # 0 means that the sum was ffff. A port that grows by 1 makes it 1, its complement fffe.
    packet = with_checksum(bytes(scapy_packet(4, TCP, b"")), 0)
    assert checksum_of(rewrite(packet, Rewrite(dport=81))) == 0xFFFE


def test_a_tcp_checksum_of_ffff_leaves_as_0_where_nothing_but_the_port_is_named() -> None:
    packet = with_checksum(bytes(scapy_packet(4, TCP, b"")), 0xFFFF)
    assert checksum_of(rewrite(packet, Rewrite(dport=80))) == 0


def test_a_transport_checksum_is_not_touched_where_nothing_is_translated() -> None:
    packet = with_checksum(bytes(scapy_packet(4, TCP, b"")), 0xFFFF)
    assert checksum_of(rewrite(packet, Rewrite())) == 0xFFFF


def test_a_wrong_ip_checksum_leaves_as_a_correct_one() -> None:
    packet = bytearray(bytes(scapy_packet(4, TCP, b"")))
    packet[10:12] = b"\x12\x34"
    assert rewrite(bytes(packet), TO_DEST) == rebuilt(bytes(packet), TO_DEST)


# --- There and back


@given(families, layers, payloads, checks, st.data())
@example(4, UDP, b"", 0xFFFF, None)
@example(6, TCP, b"", 0, None)
def test_there_and_back_changes_nothing_but_the_ttl(
    version: int, layer: type[Packet], payload: bytes, check: int, data: st.DataObject | None
) -> None:
    assume(check != (0 if layer is UDP else 0xFFFF))
    _, vip, dest = V4 if version == 4 else V6
    dest = data.draw(addresses(version)) if data else dest
    packet = with_checksum(bytes(scapy_packet(version, layer, payload)), check)
    there = rewrite(packet, Rewrite(dst=dest, dport=8080))
    assert rewrite(there, Rewrite(dst=vip, dport=80, ttl_down=-1)) == packet


def test_there_and_back_turns_a_tcp_checksum_of_ffff_into_0() -> None:
    packet = with_checksum(bytes(scapy_packet(4, TCP, b"")), 0xFFFF)
    there = rewrite(packet, Rewrite(dst=V4[2], dport=8080))
    back = rewrite(there, Rewrite(dst=V4[1], dport=80, ttl_down=-1))
    assert back == with_checksum(packet, 0)


# --- TTL


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("ttl", "down", "left"), [(64, 1, 63), (64, 0, 64), (64, 2, 62), (1, 1, 0), (0, 1, 0)])
def test_the_ttl_goes_down_but_not_below_0(version: int, ttl: int, down: int, left: int) -> None:
    packet = bytearray(bytes(scapy_packet(version, TCP, b"")))
    packet[8 if version == 4 else 7] = ttl
    headers = parse(rewrite(bytes(packet), Rewrite(ttl_down=down)))
    assert headers is not None
    assert headers.ttl == left


# --- Packets of which something is missing


@given(families, layers, st.integers(0, 80), st.data())
def test_what_was_captured_of_a_packet_is_rewritten_like_the_whole(
    version: int, layer: type[Packet], cut: int, data: st.DataObject
) -> None:
    packet = bytes(scapy_packet(version, layer, b"abcdefgh"))
    change = Rewrite(dst=data.draw(addresses(version)), dport=data.draw(ports))
    start = 20 if version == 4 else 40
    part = packet[: min(start + cut, len(packet))]
    whole = rewrite(packet, change)
    if len(part) < start + 4:  # the ports come as four bytes or not at all
        assert rewrite(part, change) == whole[:start] + packet[start : len(part)]
        return
    at = checksum_at(packet)
    missing_half = part[at : at + 1] if len(part) == at + 1 else b""
    assert rewrite(part, change) == whole[: len(part) - len(missing_half)] + missing_half


def test_an_ip_header_whose_options_are_cut_follows_the_changes() -> None:
    client, vip, dest = V4
    packet = bytes(IP(src=str(client), dst=str(vip), options=[IPOption_NOP()] * 8) / UDP(sport=1, dport=2))
    assert rewrite(packet[:24], TO_DEST) == rebuilt(packet, Rewrite(dst=dest))[:24]


def test_of_a_later_fragment_only_the_ip_header_changes() -> None:
    packet = bytearray(bytes(scapy_packet(4, UDP, b"abcdef")))
    packet[6:8] = b"\x20\xb9"
    after = rewrite(bytes(packet), Rewrite(dst=V4[2], dport=53))
    assert (after[20:], after[16:20]) == (bytes(packet[20:]), V4[2].packed)


def test_of_a_first_fragment_the_checksum_follows_the_changes() -> None:
    packet = bytes(scapy_packet(4, UDP, b"abcdef"))
    fragment = packet[:6] + b"\x20" + packet[7:]
    headers = parse(fragment)
    assert headers is not None
    assert headers.shape == FRAGMENT
    assert rewrite(fragment, TO_DEST)[20:] == rewrite(packet, TO_DEST)[20:]


def sctp_packet(*, fragment: bool = False) -> bytes:
    content = bytes([15, 161, 0, 80, 0, 0, 0, 7, 1, 2, 3, 4, 1, 0, 0, 4])  # 4001 > 80, a wrong CRC, INIT
    packet = bytearray(bytes(IP(src=str(V4[0]), dst=str(V4[1]), proto=132) / Raw(content)))
    packet[6] = 0x20 if fragment else 0
    return bytes(packet)


@pytest.mark.parametrize(
    ("packet", "change", "crc"),
    [
        (sctp_packet(), Rewrite(dport=80), bytes([1, 2, 3, 4])),  # the port stays, and the CRC
        (sctp_packet(fragment=True), Rewrite(dport=81), bytes([1, 2, 3, 4])),
        (sctp_packet()[:34], Rewrite(dport=81), bytes([1, 2, 3, 4])),  # captured in part
        (sctp_packet(), Rewrite(dport=81), None),
        (sctp_packet(), Rewrite(sport=81), None),
    ],
)
def test_the_crc_of_sctp_is_computed_anew_if_a_port_changes(packet: bytes, change: Rewrite, crc: bytes | None) -> None:
    after = rewrite(packet, change)
    wanted = (4001 if change.sport is None else change.sport, 80 if change.dport is None else change.dport)
    assert (int.from_bytes(after[20:22], "big"), int.from_bytes(after[22:24], "big")) == wanted
    if crc is None:  # division of the whole segment, the CRC in it as zeros
        state = 0xFFFFFFFF
        for byte in after[20:28] + bytes(4) + after[32:]:
            state ^= byte
            for _ in range(8):
                state = state >> 1 ^ 0x82F63B78 * (state & 1)
        crc = (state ^ 0xFFFFFFFF).to_bytes(4, "little")
    assert after[28:32] == crc


def test_of_other_protocols_only_the_ip_header_changes() -> None:
    packet = bytes(IP(src=str(V4[0]), dst=str(V4[1]), proto=47) / Raw(bytes(range(20))))
    after = rewrite(packet, TO_DEST)
    assert (after[20:], after[16:20]) == (packet[20:], V4[2].packed)


@given(
    st.sampled_from([b"", b"\x45", b"\x4f", b"\x60"]),
    st.binary(max_size=120),
    st.sampled_from([0, 6, 17, 44, 58]),
    st.booleans(),
)
def test_no_bytes_make_it_raise(first: bytes, rest: bytes, proto: int, named: bool) -> None:
    data = bytearray(first + rest)
    at = 6 if first == b"\x60" else 9
    data[at : at + 1] = bytes([proto])
    dest = V6[2] if data[:1] == b"\x60" or data[0] >> 4 == 6 else V4[2]
    rewrite(bytes(data), Rewrite(dst=dest, dport=80) if named else Rewrite(sport=1))


@given(st.binary(max_size=60))
def test_bytes_that_are_no_ip_packet_come_back_as_they_are(data: bytes) -> None:
    assume(parse(data) is None)
    assert rewrite(data, Rewrite(dport=80)) == data


@pytest.mark.parametrize(
    ("version", "change"), [(4, Rewrite(dst=V6[2])), (6, Rewrite(src=V4[2]))], ids=["ipv4", "ipv6"]
)
def test_an_address_of_the_other_family_is_refused(version: int, change: Rewrite) -> None:
    address = change.src or change.dst
    with pytest.raises(TraceError, match=f"^an IPv{version} packet cannot be rewritten to {address}$"):
        rewrite(bytes(scapy_packet(version, TCP, b"")), change)


# --- Both lanes


@given(nearly_packets, st.data())
def test_the_compiled_lane_changes_the_same_bytes_and_no_others(packet: bytes, data: st.DataObject) -> None:
    change = data.draw(changes(packet[0] >> 4 if packet[:1] and packet[0] >> 4 in (4, 6) else 4))
    ends = (V4[0] if address is None else address for address in (change.src, change.dst))
    words = np.array([word for address in ends for word in words_of(address)], dtype=np.uint32)
    buffer = np.frombuffer(bytearray(b"before" + packet + b"behind"), np.uint8)
    lane = compiled_lane(checked=True)
    fields = lane.function(read_headers)(buffer, 6, 6 + len(packet))
    end = lane.function(rewrite_in_place)(
        *(buffer, 6, 6 + len(packet), fields, words),
        *(SAME if change.src is None else 0, SAME if change.sport is None else change.sport),
        *(SAME if change.dst is None else 1, SAME if change.dport is None else change.dport),
        change.ttl_down,
    )
    assert bytes(buffer[6:end]) == rewrite(packet, change)
    assert (bytes(buffer[:6]), bytes(buffer[end:])) == (b"before", packet[end - 6 :] + b"behind")


# ICMP errors: with the packet that they quote


def icmp_error(version: int, quote: bytes) -> bytes:
    if version == 4:
        return bytes(IP(src="198.51.100.254", dst="192.168.1.10") / ICMP(type=3, code=1) / Raw(quote))
    return bytes(IPv6(src="2001:db8:9::fe", dst="2001:db8:1::10") / ICMPv6DestUnreach(code=1) / Raw(quote))


def answer_quoted(version: int) -> bytes:
    if version == 4:
        return bytes(IP(src="192.168.1.10", dst="198.51.100.1") / TCP(sport=80, dport=40001) / Raw(b"x" * 9))
    return bytes(IPv6(src="2001:db8:1::10", dst="2001:db8:9::1") / TCP(sport=80, dport=40001) / Raw(b"x" * 9))


TO_SERVER = {
    4: Rewrite(ip_address("198.51.100.254"), 0, ip_address("10.0.0.11"), 8080),
    6: Rewrite(ip_address("2001:db8:9::fe"), 0, ip_address("fd00::11"), 8080),
}


@pytest.mark.parametrize("version", [4, 6])
def test_a_new_target_of_an_error_is_whom_it_quotes(version: int) -> None:
    changed = rewrite(icmp_error(version, answer_quoted(version)), TO_SERVER[version])
    layer = IP if version == 4 else IPv6
    quoted = layer(changed[28 if version == 4 else 48 :])
    assert (quoted.src, quoted[TCP].sport, quoted[TCP].dport) == (str(TO_SERVER[version].dst), 8080, 40001)
    assert quoted[TCP].chksum == layer(answer_quoted(version))[TCP].chksum
    assert bytes(layer(changed)) == changed


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("there", range(30, 100))
def test_of_an_error_that_was_captured_in_part_what_is_there_changes_alike(version: int, there: int) -> None:
    whole = icmp_error(version, answer_quoted(version))
    inner = 28 if version == 4 else 48
    ports = inner + (20 if version == 4 else 40)
    if ports + 4 <= there <= len(whole):  # else nothing, or not both, of what changes is there
        assert rewrite(whole[:there], TO_SERVER[version]) == rewrite(whole, TO_SERVER[version])[:there]


@pytest.mark.parametrize("cut", [0, 1, 3, 19, 20, 21, 22, 23])
def test_an_error_may_quote_less_than_the_ports(cut: int) -> None:
    error = icmp_error(4, answer_quoted(4)[:cut])
    changed = rewrite(error, TO_SERVER[4])
    assert len(changed) == len(error)
    assert IP(changed).dst == "10.0.0.11"
    assert checksum.full(changed[20:]) == 0


def test_without_a_new_port_only_the_outer_header_changes() -> None:
    error = icmp_error(4, answer_quoted(4))
    changed = rewrite(error, Rewrite(ip_address("198.51.100.254"), 0, ip_address("10.0.0.11"), 0))
    assert (changed[20:], IP(changed).dst) == (error[20:], "10.0.0.11")
