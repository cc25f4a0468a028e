"""Scapy at the edges: packets to bytes and back, and NAT on a scapy packet exactly as on its bytes."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Padding, Raw

from lbsim.errors import TraceError
from lbsim.model.verdict import Rewrite
from lbsim.packet.rewrite import rewrite
from lbsim.traffic.packets import from_bytes, rewrite_packet, to_bytes

FRAME = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="198.51.100.1", dst="192.168.1.10")
V6 = IPv6(src="2001:db8:9::1", dst="2001:db8:1::10")
SYN = TCP(sport=40001, dport=80, flags="S", seq=1000)
DNS_QUERY = UDP(sport=5000, dport=53) / DNS(rd=1, qd=DNSQR(qname="example.org"))
TO_4 = Rewrite(dst=ip_address("10.0.0.11"), dport=8080)
TO_6 = Rewrite(dst=ip_address("fd00::11"), dport=8080)


# --- To bytes


@pytest.mark.parametrize("ip", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("front", [None, FRAME, FRAME / Dot1Q(vlan=7), FRAME / Dot1Q(vlan=7) / Dot1Q(vlan=8)])
def test_bytes_begin_at_the_ip_header_whatever_is_in_front(front: Packet | None, ip: Packet) -> None:
    packet = ip / SYN / Raw(b"data")
    assert to_bytes(packet if front is None else front / packet) == bytes(packet)


def test_of_a_tunnel_the_outer_packet_is_taken() -> None:
    tunnel = IP(src="10.0.0.1", dst="10.0.0.11") / V6 / SYN
    assert to_bytes(FRAME / tunnel) == bytes(tunnel)


def test_a_dissected_packet_gives_the_bytes_it_came_from() -> None:
    packet = bytes(FRAME / V4 / SYN)
    assert to_bytes(Ether(packet)) == packet[14:]


def test_padding_is_left_out() -> None:
    assert to_bytes(FRAME / V4 / SYN / Padding(b"\0" * 6)) == bytes(V4 / SYN)


def test_dissected_ethernet_padding_is_left_out() -> None:
    assert to_bytes(Ether(bytes(FRAME / V4 / SYN) + bytes(6))) == bytes(V4 / SYN)


def test_a_checksum_that_is_set_stays_also_a_wrong_one() -> None:
    packet = V4 / TCP(sport=40001, dport=80, chksum=0x1234)
    assert to_bytes(packet)[36:38] == b"\x12\x34"


def test_a_header_that_is_no_ip_packet_any_more_is_given_as_it_is() -> None:
    packet = IP(src="198.51.100.1", dst="192.168.1.10", ihl=4) / SYN
    assert to_bytes(packet) == bytes(packet)


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (
            FRAME / ARP(pdst="192.168.1.1"),
            "a packet without IP; expected a scapy packet with an IP or IPv6 layer",
        ),
        (Raw(b"abc"), "a packet without IP; expected a scapy packet with an IP or IPv6 layer"),
        (b"\x45", "bytes is no packet; expected a scapy packet with an IP layer"),
        (None, "NoneType is no packet; expected a scapy packet with an IP layer"),
        (V4 / TCP(sport=70000), "scapy cannot build this packet: "),
    ],
    ids=["ARP", "raw", "bytes", "None", "port 70000"],
)
def test_what_is_no_ip_packet_is_refused_with_one_line(packet: object, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        to_bytes(packet)
    assert caught.value.message.startswith(message)


def test_the_refused_packet_is_shown() -> None:
    with pytest.raises(TraceError, match=r"\[Ether / ARP who has 192\.168\.1\.1 "):
        to_bytes(FRAME / ARP(psrc="192.168.1.2", pdst="192.168.1.1"))


# --- From bytes


@pytest.mark.parametrize(("ip", "kind"), [(V4, IP), (V6, IPv6)], ids=["ipv4", "ipv6"])
def test_bytes_become_a_packet_of_their_family(ip: Packet, kind: type[Packet]) -> None:
    packet = from_bytes(bytes(ip / SYN))
    assert (type(packet), packet[TCP].sport, packet[TCP].flags) == (kind, 40001, "S")


@pytest.mark.parametrize("ip", [V4, V6], ids=["ipv4", "ipv6"])
def test_bytes_to_packet_and_back_are_the_same(ip: Packet) -> None:
    data = bytes(ip / DNS_QUERY)
    assert to_bytes(from_bytes(data)) == data


def test_bytes_that_are_no_ip_packet_are_refused_and_shown() -> None:
    with pytest.raises(TraceError, match=r"^no IP packet; expected bytes that begin with its header  \[ffff01\]$"):
        from_bytes(b"\xff\xff\x01")


@given(st.sampled_from([b"\x45", b"\x60"]), st.sampled_from([1, 6, 17, 44, 58, 132]), st.binary(max_size=80))
def test_whatever_parses_as_ip_becomes_a_packet(first: bytes, proto: int, rest: bytes) -> None:
    data = bytearray(first + rest)
    at = 6 if first == b"\x60" else 9
    data[at : at + 1] = bytes([proto])
    try:
        packet = from_bytes(bytes(data))
    except TraceError:
        return
    assert isinstance(packet, IP | IPv6)


# --- Rewriting

PACKETS = [
    pytest.param(V4 / SYN, TO_4, id="tcp"),
    pytest.param(V6 / SYN, TO_6, id="tcp v6"),
    pytest.param(V4 / DNS_QUERY, TO_4, id="udp"),
    pytest.param(V6 / DNS_QUERY, TO_6, id="udp v6"),
    pytest.param(FRAME / Dot1Q(vlan=7) / V4 / SYN / Raw(b"data"), TO_4, id="ethernet"),
    pytest.param(V4 / TCP(sport=1, dport=2, chksum=0x1234) / Raw(b"x"), TO_4, id="wrong tcp checksum"),
    pytest.param(V4 / TCP(sport=1, dport=2, chksum=0xFFFF) / Raw(b"x"), TO_4, id="tcp checksum ffff"),
    pytest.param(V4 / UDP(sport=1, dport=2, chksum=0x1234) / Raw(b"x"), TO_4, id="wrong udp checksum"),
    pytest.param(V4 / UDP(sport=1, dport=2, chksum=0) / Raw(b"x"), TO_4, id="udp checksum 0"),
    pytest.param(V6 / UDP(sport=1, dport=2, chksum=0) / Raw(b"x"), TO_6, id="udp v6 checksum 0"),
    pytest.param(V4 / UDP(sport=1, dport=2, chksum=0) / Raw(b"x"), Rewrite(), id="routed udp checksum 0"),
    pytest.param(V6 / IPv6ExtHdrDestOpt() / SYN, TO_6, id="extension header"),
    pytest.param(V4 / ICMP(), TO_4, id="icmp"),
    pytest.param(IP(src="198.51.100.1", dst="192.168.1.10", frag=5, proto=17) / Raw(b"abcdefgh"), TO_4, id="fragment"),
    pytest.param(IP(src="198.51.100.1", dst="192.168.1.10", proto=6) / Raw(bytes(SYN)), TO_4, id="tcp as Raw"),
    pytest.param(FRAME / IP(dst="192.168.1.10", proto=6) / Raw(bytes(SYN)), TO_4, id="tcp as Raw in a frame"),
    pytest.param(IP(dst="192.168.1.10", ihl=4) / SYN, TO_4, id="no ip header"),
]


@pytest.mark.parametrize(("packet", "change"), PACKETS)
def test_a_rewritten_packet_has_the_bytes_of_its_rewritten_bytes(packet: Packet, change: Rewrite) -> None:
    assert to_bytes(rewrite_packet(packet, change)) == rewrite(to_bytes(packet), change)


@pytest.mark.parametrize(("packet", "change"), PACKETS)
def test_the_packet_itself_stays_as_it_is(packet: Packet, change: Rewrite) -> None:
    before, layers = bytes(packet), packet.layers()
    rewrite_packet(packet, change)
    assert (bytes(packet), packet.layers()) == (before, layers)


@pytest.mark.parametrize("packet", [V4 / DNS_QUERY, FRAME / Dot1Q(vlan=7) / V4 / SYN / Raw(b"data") / Padding(b"pad")])
def test_layers_are_kept(packet: Packet) -> None:
    # Nobody would take port 8080 for DNS: the layers are not guessed anew.
    assert rewrite_packet(packet, TO_4).layers() == packet.layers()


def test_what_is_in_front_of_ip_is_kept() -> None:
    packet = FRAME / Dot1Q(vlan=7) / V4 / SYN
    assert bytes(rewrite_packet(packet, TO_4))[:18] == bytes(packet)[:18]


def test_what_is_in_front_of_ip_is_kept_where_the_packet_is_dissected_anew() -> None:
    packet = FRAME / IP(src="198.51.100.1", dst="192.168.1.10", proto=6) / Raw(bytes(SYN))
    changed = rewrite_packet(packet, TO_4)
    assert (changed.layers(), bytes(changed)[:14]) == ([Ether, IP, TCP], bytes(packet)[:14])


def test_the_fields_say_what_changed() -> None:
    changed = rewrite_packet(V4 / SYN, TO_4)
    assert (changed.dst, changed[TCP].dport, changed.ttl, changed.src) == (
        "10.0.0.11",
        8080,
        63,
        "198.51.100.1",
    )


def test_the_fields_say_what_changed_over_ipv6() -> None:
    changed = rewrite_packet(V6 / SYN, TO_6)
    assert (changed.dst, changed[TCP].dport, changed.hlim) == ("fd00::11", 8080, 63)


def test_an_inner_layer_can_be_rewritten_without_its_frame() -> None:
    frame = FRAME / IP(src="198.51.100.1", dst="192.168.1.10", proto=6) / Raw(bytes(SYN))
    before = bytes(frame)
    assert to_bytes(rewrite_packet(frame[IP], TO_4)) == rewrite(to_bytes(frame), TO_4)
    assert bytes(frame) == before


@pytest.mark.parametrize("ip", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("transport", [SYN, DNS_QUERY], ids=["tcp", "udp"])
def test_there_and_back_is_the_same_packet_but_for_the_ttl(ip: Packet, transport: Packet) -> None:
    packet = ip / transport
    there = rewrite_packet(packet, TO_4 if ip is V4 else TO_6)
    back = rewrite_packet(there, Rewrite(dst=ip_address(ip.dst), dport=transport.dport, ttl_down=-1))
    assert to_bytes(back) == to_bytes(packet)


def test_an_address_of_the_other_family_is_refused() -> None:
    with pytest.raises(TraceError, match="an IPv4 packet cannot be rewritten to fd00::11"):
        rewrite_packet(V4 / SYN, TO_6)


def test_the_import_does_not_load_scapy() -> None:
    code = "import sys, lbsim.traffic.packets; sys.exit(any(name.startswith('scapy') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
