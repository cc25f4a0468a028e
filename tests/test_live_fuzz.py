"""Whatever comes, a live director answers with a verdict: truncated packets, random bytes, headers that lie."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Packet, Raw

from lbsim import Director
from lbsim.model.verdict import reason_named
from lbsim.packet import checksum

CONFIG = """
    -A -t 192.168.1.10:80 -s rr
    -a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m
    -a -t 192.168.1.10:80 -r 10.0.0.12 -g
    -a -t 192.168.1.10:80 -r 10.0.0.13 -i --tun-type gue --tun-port 6080 --tun-csum
    -a -t 192.168.1.10:80 -r 10.0.0.1:80 -m
    -A -u 192.168.1.10:53 -s rr -o
    -a -u 192.168.1.10:53 -r 10.0.0.14 -i --tun-type gre --tun-csum
    -a -u 192.168.1.10:53 -r 10.0.0.11:53 -m
    -A -t [2001:db8:1::10]:80 -s rr
    -a -t [2001:db8:1::10]:80 -r [fd00::11]:80 -m
    -a -t [2001:db8:1::10]:80 -r [fd00::12]:80 -g
    -a -t [2001:db8:1::10]:80 -r 10.0.0.13 -i
"""
VALID: list[Packet] = [
    IP(src="198.51.100.1", dst="192.168.1.10", options=b"\x07\x07\x04\0\0\0\0\x01") / TCP(sport=40001, flags="S"),
    IP(src="198.51.100.1", dst="192.168.1.10", frag=0, flags="MF") / UDP(sport=5000, dport=53) / Raw(bytes(24)),
    IP(src="198.51.100.1", dst="192.168.1.10") / ICMP(type=3, code=4, nexthopmtu=1300)
    / IP(src="192.168.1.10", dst="198.51.100.1") / TCP(sport=80, dport=40001) / Raw(bytes(8)),
    IP(src="198.51.100.1", dst="192.168.1.10") / ICMP(type=11)
    / IP(src="10.0.0.1", dst="10.0.0.13") / UDP(sport=4, dport=6080) / Raw(b"\0\x04\0\0")
    / IP(src="198.51.100.1", dst="192.168.1.10") / TCP(sport=40001),
    IP(src="10.0.0.11", dst="198.51.100.1") / ICMP(type=3) / IP(src="198.51.100.1", dst="10.0.0.11") / TCP(sport=40001),
    IP(src="198.51.100.1", dst="192.168.1.10") / ICMP() / Raw(b"ping"),
    IPv6(src="2001:db8:9::1", dst="2001:db8:1::10") / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["::1"])
    / IPv6ExtHdrDestOpt() / TCP(sport=40001, flags="S"),
    IPv6(src="2001:db8:9::1", dst="2001:db8:1::10") / IPv6ExtHdrFragment(m=1, nh=6) / TCP(sport=40001) / Raw(bytes(12)),
    IPv6(src="2001:db8:9::1", dst="2001:db8:1::10") / ICMPv6DestUnreach()
    / IPv6(src="2001:db8:1::10", dst="2001:db8:9::1") / TCP(sport=80, dport=40001),
]  # fmt: skip
SENT = [bytes(packet) for packet in VALID]
VIAS = ["clients", "10.0.0.11", "fd00::11"]


def repaired(data: bytes) -> bytes:
    """The packet with a total length and an IPv4 header checksum that let it pass the first looks."""
    packet = bytearray(data)
    if len(packet) >= 20 and packet[0] >> 4 == 4 and packet[0] & 15 >= 5:
        packet[2:4] = len(packet).to_bytes(2)
        size = (packet[0] & 15) * 4
        packet[10:12] = b"\0\0"
        packet[10:12] = checksum.full(packet[:size]).to_bytes(2)
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        packet[4:6] = (len(packet) - 40).to_bytes(2)
    return bytes(packet)


def check(director: Director, data: bytes, via: str) -> None:
    answer = director.receive(data, via=via)
    assert reason_named(answer.reason).verdict == answer.verdict
    assert all(departure.packet and len(departure.packet) <= 65535 for departure in answer.departures)


@pytest.mark.parametrize("data", SENT, ids=range(len(SENT)))
@pytest.mark.parametrize("via", VIAS)
def test_every_truncation_gets_a_verdict(data: bytes, via: str) -> None:
    director = Director(CONFIG, own=["10.0.0.1", "fd00::1"])
    for size in range(len(data) + 1):
        check(director, data[:size], via)
        check(director, repaired(data[:size]), via)


@given(data=st.binary(max_size=120), via=st.sampled_from(VIAS))
def test_random_bytes_get_a_verdict(data: bytes, via: str) -> None:
    director = Director(CONFIG, own=["10.0.0.1", "fd00::1"])
    check(director, data, via)
    check(director, repaired(b"\x45" + data), via)
    check(director, repaired(b"\x60" + data), via)


@settings(max_examples=max(200, settings().max_examples))
@given(st.data())
def test_valid_packets_with_changed_bytes_get_a_verdict(data: st.DataObject) -> None:
    director = Director(CONFIG, own=["10.0.0.1", "fd00::1"], sysctls={"schedule_icmp": data.draw(st.integers(0, 1))})
    for _ in range(6):
        packet = bytearray(data.draw(st.sampled_from(SENT)))
        for at, value in data.draw(
            st.lists(st.tuples(st.integers(0, len(packet) - 1), st.integers(0, 255)), max_size=4)
        ):
            packet[at] = value
        packet += data.draw(st.binary(max_size=40))
        check(director, repaired(packet), data.draw(st.sampled_from(VIAS)))
