"""Headers of tunnels: facts, packet-path.md section 13.4. Scapy is the oracle, and two packets of a real kernel."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE
from scapy.packet import Packet, Raw

from lbsim.engine import numbers
from lbsim.packet.tunnel import MOST_OVERHEAD, Wrapping, overhead, unwrap, without_chance, wrap

NEAR = {4: "10.0.0.1", 6: "fd00::1"}
FAR = {4: "10.0.0.12", 6: "fd00::12"}
NO_FLAGS, CSUM, REMCSUM = 0, numbers.TUN_CSUM, numbers.TUN_REMCSUM


def inside(version: int, **fields: int | str) -> Packet:
    """A packet with 11 bytes of payload: an odd number."""
    ends = ("198.51.100.1", "192.168.1.10") if version == 4 else ("2001:db8:9::1", "2001:db8:1::10")
    network = (IP if version == 4 else IPv6)(src=ends[0], dst=ends[1], **fields)
    return network / TCP(sport=40001, dport=80, flags="PA") / Raw(b"hello world")


def wrapped(packet: Packet, kind: int, outer: int, *, flags: int = 0, keep_df: int = 1) -> bytes:
    way = Wrapping(outer, kind, 6080 if kind == numbers.GUE else 0, flags, keep_df)
    return wrap(bytes(packet), way, ip_address(NEAR[outer]), ip_address(FAR[outer]))


def outer_header(version: int, proto: int, ttl: int, tos: int, *, df: bool) -> Packet:
    if version == 6:
        return IPv6(src=NEAR[6], dst=FAR[6], nh=proto, hlim=ttl, tc=tos)
    return IP(src=NEAR[4], dst=FAR[4], proto=proto, ttl=ttl, tos=tos, id=0, flags="DF" if df else 0)


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
def test_ip_in_ip_is_one_more_header(version: int, outer: int) -> None:
    fields = {"ttl": 63, "tos": 0xB8, "flags": "DF"} if version == 4 else {"hlim": 63, "tc": 0xB8}
    packet = inside(version, **fields)
    header = outer_header(outer, 4 if version == 4 else 41, 63, 0xB8, df=version == 4)
    assert wrapped(packet, numbers.IPIP, outer) == bytes(header / Raw(bytes(packet)))


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", [NO_FLAGS, CSUM, REMCSUM])
def test_gue_is_udp_with_four_bytes_that_name_what_is_inside(version: int, outer: int, flags: int) -> None:
    packet = inside(version)
    got = wrapped(packet, numbers.GUE, outer, flags=flags)
    size = 20 if outer == 4 else 40
    sport = int.from_bytes(got[size : size + 2])
    assert 32768 <= sport <= 60999  # of lbsim's choice, as the kernel's is a hash with a secret
    udp = UDP(sport=sport, dport=6080, chksum=None if flags else 0)
    content = bytes([0, 4 if version == 4 else 41, 0, 0]) + bytes(packet)
    assert got == bytes(outer_header(outer, 17, 64, 0, df=False) / udp / Raw(content))


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", [NO_FLAGS, CSUM])
def test_gre_names_the_protocol_inside(version: int, outer: int, flags: int) -> None:
    packet = inside(version)
    gre = GRE(proto=0x0800 if version == 4 else 0x86DD, chksum_present=int(flags == CSUM))
    expected = bytes(outer_header(outer, 47, 64, 0, df=False) / gre / Raw(bytes(packet)))
    assert wrapped(packet, numbers.GRE, outer, flags=flags) == expected


def test_one_flow_has_one_source_port() -> None:
    first, second = (wrapped(inside(4, id=number), numbers.GUE, 4) for number in (1, 2))
    assert first[20:22] == second[20:22]


@pytest.mark.parametrize(("tos", "outer_tos"), [(0, 0), (1, 1), (2, 2), (3, 2), (0xB8, 0xB8), (0xBB, 0xBA)])
@pytest.mark.parametrize("version", [4, 6])
def test_congestion_experienced_becomes_capable_outside(version: int, tos: int, outer_tos: int) -> None:
    packet = inside(4, tos=tos) if version == 4 else inside(6, tc=tos)
    assert IP(wrapped(packet, numbers.IPIP, 4)).tos == outer_tos


@pytest.mark.parametrize(("df", "keep_df", "outer_df"), [("DF", 1, "DF"), (0, 1, ""), ("DF", 0, "")])
def test_dont_fragment_goes_outside_with_pmtu_disc_only(df: str | int, keep_df: int, outer_df: str) -> None:
    got = IP(wrapped(inside(4, flags=df), numbers.IPIP, 4, keep_df=keep_df))
    assert str(got.flags) == outer_df


# Observed with a real kernel: SYN 198.51.100.1:40001 > 192.168.1.10:80, to 10.0.0.12
SYN = "45000028000140003f064fe8c6336401c0a8010a9c410050000003e8000000005002ffff23820000"


def test_what_a_kernel_sent_by_gue() -> None:
    got = wrap(bytes.fromhex(SYN), Wrapping(4, numbers.GUE, 6080, 0, 1), ip_address(NEAR[4]), ip_address(FAR[4])).hex()
    kernel = "45000048000040003f1127990a0000010a00000ce45217c0003400000004000045000028"
    assert (got[:40], got[44:72]) == (kernel[:40], kernel[44:72])  # without the source port
    assert got.endswith(SYN)


@pytest.mark.parametrize(
    ("version", "kind", "flags", "size"),
    [
        (4, numbers.IPIP, 0, 20),
        (6, numbers.IPIP, 0, 40),
        (4, numbers.GUE, CSUM, 32),
        (6, numbers.GUE, 0, 52),
        (4, numbers.GRE, 0, 24),
        (4, numbers.GRE, CSUM, 28),
    ],
)
def test_the_overhead_is_what_is_put_in_front(version: int, kind: int, flags: int, size: int) -> None:
    assert overhead(version, kind, flags) == size <= MOST_OVERHEAD
    assert len(wrapped(inside(4), kind, version, flags=flags)) == size + len(inside(4))


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (numbers.IPIP, NO_FLAGS),
        *((numbers.GUE, flags) for flags in (NO_FLAGS, CSUM, REMCSUM)),
        *((numbers.GRE, flags) for flags in (NO_FLAGS, CSUM)),
    ],
)
def test_at_the_tunnels_end_the_packet_comes_out_as_it_went_in(version: int, outer: int, kind: int, flags: int) -> None:
    packet = bytes(inside(version))
    assert unwrap(wrapped(inside(version), kind, outer, flags=flags)) == packet


@pytest.mark.parametrize(
    "packet",
    [
        inside(4),
        IP(src=NEAR[4], dst=FAR[4]) / UDP(sport=5, dport=53) / Raw(b"\0\4\0\0no packet"),
        IP(src=NEAR[4], dst=FAR[4]) / UDP(sport=5, dport=53) / Raw(b"\0\4\0\0" + bytes(inside(4)) + b"behind"),
        IP(src=NEAR[4], dst=FAR[4]) / UDP(sport=5, dport=53) / Raw(b"\0\5\0\0" + bytes(inside(4))),
        IP(src=NEAR[4], dst=FAR[4], proto=4) / Raw(bytes(inside(4))[:-1]),
        IP(src=NEAR[4], dst=FAR[4]) / GRE(proto=0x88BE) / Raw(bytes(inside(4))),
        IP(src=NEAR[4], dst=FAR[4], proto=47) / Raw(b"ab"),
    ],
)
def test_what_only_looks_like_a_tunnel_is_none(packet: Packet) -> None:
    assert unwrap(bytes(packet)) is None
    assert without_chance(bytes(packet)) == bytes(packet)


def test_bytes_that_are_no_packet_are_no_tunnel() -> None:
    assert unwrap(b"") is None
    assert without_chance(b"nothing") == b"nothing"


# scapy computes the checksums of the same packet with an id and a port of 0
@pytest.mark.parametrize("checksum", [None, 0])
def test_chance_is_taken_out_and_checksums_fit(checksum: int | None) -> None:
    gue = Raw(b"\0\4\0\0" + bytes(inside(4)))
    sent = IP(src=NEAR[4], dst=FAR[4], id=4711, ttl=63) / UDP(sport=41222, dport=6080, chksum=checksum) / gue
    plain = IP(src=NEAR[4], dst=FAR[4], id=0, ttl=63) / UDP(sport=0, dport=6080, chksum=checksum) / gue
    assert without_chance(bytes(sent)) == bytes(plain)


def test_a_wrong_checksum_stays_wrong() -> None:
    sent = bytearray(bytes(IP(src=NEAR[4], dst=FAR[4], id=4711, proto=4) / Raw(bytes(inside(4)))))
    sent[11] ^= 1
    plain = bytes(IP(src=NEAR[4], dst=FAR[4], id=0, proto=4) / Raw(bytes(inside(4))))
    left = without_chance(bytes(sent))
    assert (left[:10], left[12:]) == (plain[:10], plain[12:])
    assert left[10:12] != plain[10:12]
