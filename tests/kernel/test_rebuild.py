"""Bytes from a checksum: what scapy says a director makes of a packet is found again, and nothing else."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from lbsim.kernel.job import CLIENT, DIRECTOR, REPLY, Arrival, Job, Packet, server
from lbsim.kernel.rebuild import Rebuilder, crc_of
from lbsim.kernel.seen import comparable

VIP, VIP6 = "192.168.1.10", "2001:db8:1::10"
GUEST, GUEST6 = "198.51.100.1", "2001:db8:9::1"
SETUP = (
    f"ipvsadm -A -t {VIP}:80 -s rr",
    f"ipvsadm -a -t {VIP}:80 -r 10.0.0.11:8080 -m",
    f"ipvsadm -a -t {VIP}:80 -r 10.0.0.11:8081 -m",
    f"ipvsadm -A -u {VIP}:53 -s rr",
    f"ipvsadm -a -u {VIP}:53 -r 10.0.0.12:53 -m",
    f"ipvsadm -A -t [{VIP6}]:80 -s rr",
    f"ipvsadm -a -t [{VIP6}]:80 -r [fd00::11]:80 -m",
)
JOB = Job(
    "j",
    (VIP, VIP6),
    ("10.0.0.11", "10.0.0.12", "fd00::11"),
    (("iptables", "-P", "FORWARD", "ACCEPT"), *(tuple(line.split()) for line in SETUP)),
    listening=(f"tcp {VIP}:8080", f"tcp [{VIP6}]:8080"),
)
SYN = TCP(sport=1000, dport=80, flags="S", seq=7)
SYN_ACK = TCP(sport=8081, dport=1000, flags="SA", seq=1, ack=8)
ANSWER = UDP(sport=53, dport=1000) / Raw(b"answer")


def rebuilt(
    sent: ScapyPacket, left: bytes | ScapyPacket, where: str, *, side: str = CLIENT, planned: ScapyPacket | None = None
) -> bytes | None:
    """What is found for a packet that was sent, and the checksum of what left."""
    _, content = comparable(Arrival(where, bytes(left), 0))
    event = Packet(0, 0, side, bytes(planned or sent))
    return Rebuilder(JOB).rebuilt(event, bytes(sent), where, crc_of(content))


# CRC-32 of "123456789" is cbf43926: the algorithm's well-known check value.
def test_the_checksum_is_the_crc_32() -> None:
    assert crc_of(b"123456789") == bytes.fromhex("cbf43926")


@pytest.mark.parametrize("port", [8080, 8081])
def test_a_request_is_found_at_each_port_of_the_server_that_got_it(port: int) -> None:
    there = TCP(sport=1000, dport=port, flags="S", seq=7)
    left = IP(src=GUEST, dst="10.0.0.11", id=5, ttl=63) / there
    assert rebuilt(IP(src=GUEST, dst=VIP, id=5) / SYN, left, server("10.0.0.11")) == bytes(left)


@pytest.mark.parametrize("port", [80, 8080])
def test_what_a_program_on_the_director_gets_is_found_with_its_ttl(port: int) -> None:
    there = TCP(sport=1000, dport=port, flags="S", seq=7)
    for layer, client, vip in ((IP, GUEST, VIP), (IPv6, GUEST6, VIP6)):
        left = layer(src=client, dst=vip) / there
        assert rebuilt(layer(src=client, dst=vip) / SYN, left, DIRECTOR) == bytes(left)


def test_what_a_program_on_the_director_answers_is_found_with_its_ttl() -> None:
    sent = IP(src=VIP, dst=GUEST, ttl=64) / TCP(sport=8080, dport=1000, flags="SA", seq=1, ack=8)
    left = IP(src=VIP, dst=GUEST, ttl=64) / TCP(sport=80, dport=1000, flags="SA", seq=1, ack=8)
    assert rebuilt(sent, left, CLIENT, side=REPLY, planned=left) == bytes(left)


def test_a_request_at_a_port_that_no_destination_has_is_not_found() -> None:
    left = IP(src=GUEST, dst="10.0.0.11", id=5, ttl=63) / TCP(sport=1000, dport=8082, flags="S", seq=7)
    assert rebuilt(IP(src=GUEST, dst=VIP, id=5) / SYN, left, server("10.0.0.11")) is None


@pytest.mark.parametrize("where", [server("?"), server("10.0.0.99")])
def test_a_request_at_a_place_that_nobody_knows_is_not_found(where: str) -> None:
    left = IP(src=GUEST, dst="10.0.0.99", id=5, ttl=63) / SYN
    assert rebuilt(IP(src=GUEST, dst=VIP, id=5) / SYN, left, where) is None


def test_one_bit_more_is_not_found() -> None:
    left = bytearray(bytes(IP(src=GUEST, dst="10.0.0.11", ttl=63) / TCP(sport=1000, dport=8080, flags="S", seq=7)))
    left[-1] ^= 1
    assert rebuilt(IP(src=GUEST, dst=VIP) / SYN, bytes(left), server("10.0.0.11")) is None


def test_a_request_in_ipv6_is_found() -> None:
    left = IPv6(src=GUEST6, dst="fd00::11", hlim=63) / SYN
    assert rebuilt(IPv6(src=GUEST6, dst=VIP6) / SYN, left, server("fd00::11")) == bytes(left)


def test_a_reply_has_the_virtual_end_of_what_was_planned() -> None:
    planned = IP(src=VIP, dst=GUEST, id=9) / TCP(sport=80, dport=1000, flags="SA", seq=1, ack=8)
    left = IP(src=VIP, dst=GUEST, id=9, ttl=63) / TCP(sport=80, dport=1000, flags="SA", seq=1, ack=8)
    sent = IP(src="10.0.0.11", dst=GUEST, id=9) / SYN_ACK
    assert rebuilt(sent, left, CLIENT, side=REPLY, planned=planned) == bytes(left)


def test_a_servers_own_packet_has_the_virtual_end_of_some_service() -> None:
    left = IP(src=VIP, dst=GUEST, id=9, ttl=63) / UDP(sport=53, dport=1000) / Raw(b"answer")
    sent = IP(src="10.0.0.12", dst=GUEST, id=9) / ANSWER
    assert rebuilt(sent, left, CLIENT, side=server("10.0.0.12")) == bytes(left)


def test_a_packet_that_is_only_routed_is_found() -> None:
    left = IP(src="10.0.0.12", dst=GUEST, id=9, ttl=63) / ANSWER
    sent = IP(src="10.0.0.12", dst=GUEST, id=9) / ANSWER
    assert rebuilt(sent, left, CLIENT, side=server("10.0.0.12")) == bytes(left)


def test_a_packet_that_is_masqueraded_is_found() -> None:
    left = IP(src="192.168.1.1", dst=GUEST, id=9, ttl=63) / ANSWER
    sent = IP(src="10.0.0.12", dst=GUEST, id=9) / ANSWER
    assert rebuilt(sent, left, CLIENT, side=server("10.0.0.12")) == bytes(left)


def test_a_reset_is_found() -> None:
    left = IP(src=VIP, dst=GUEST, id=0, flags="DF") / TCP(sport=81, dport=1000, flags="RA", ack=8, window=0)
    sent = IP(src=GUEST, dst=VIP, id=5) / TCP(sport=1000, dport=81, flags="S", seq=7)
    assert rebuilt(sent, left, CLIENT) == bytes(left)


@pytest.mark.parametrize(
    ("kind", "code", "source", "side"),
    [(3, 3, VIP, CLIENT), (11, 0, VIP, CLIENT), (11, 0, "10.0.0.1", server("10.0.0.12"))],
)
def test_an_icmp_error_is_found_but_for_its_random_id(kind: int, code: int, source: str, side: str) -> None:
    sent = IP(src=GUEST if side == CLIENT else "10.0.0.12", dst=VIP if side == CLIENT else GUEST) / ANSWER
    error = IP(src=source, dst=sent.src, tos=0xC0, id=4711) / ICMP(type=kind, code=code) / Raw(bytes(sent))
    _, content = comparable(Arrival(side, bytes(error), 0))
    assert rebuilt(sent, error, side, side=side) == content != bytes(error)


def test_an_icmpv6_error_is_found_but_for_its_random_flow_label() -> None:
    sent = IPv6(src=GUEST6, dst=VIP6) / UDP(sport=1000, dport=9) / Raw(b"x")
    error = IPv6(src=VIP6, dst=GUEST6, fl=77) / ICMPv6DestUnreach(code=4) / Raw(bytes(sent))
    assert rebuilt(sent, error, CLIENT) == bytes(IPv6(src=VIP6, dst=GUEST6) / error.payload)


def test_of_bytes_that_are_no_packet_nothing_is_found() -> None:
    assert Rebuilder(JOB).rebuilt(Packet(0, 0, CLIENT, b"x"), b"x", CLIENT, crc_of(b"x")) is None


@pytest.mark.parametrize("df", ["DF", 0])
def test_a_request_inside_a_tunnel_is_found_but_for_what_is_left_to_chance(df: str | int) -> None:
    setup = (("ipvsadm", "-A", "-t", f"{VIP}:80"), tuple(f"ipvsadm -a -t {VIP}:80 -r 10.0.0.12 -i".split()))
    job = Job("j", (VIP,), ("10.0.0.12",), setup)
    inside = IP(src=GUEST, dst=VIP, id=5, ttl=63, flags=df) / SYN
    left = bytes(IP(src="10.0.0.1", dst="10.0.0.12", id=0 if df else 4711, ttl=63, flags=df) / inside)
    sent = bytes(IP(src=GUEST, dst=VIP, id=5, flags=df) / SYN)
    where, content = comparable(Arrival(server("10.0.0.12"), left, 0))
    assert Rebuilder(job).rebuilt(Packet(0, 0, CLIENT, sent), sent, where, crc_of(content)) == content
    assert Rebuilder(JOB).rebuilt(Packet(0, 0, CLIENT, sent), sent, where, crc_of(content)) is None
