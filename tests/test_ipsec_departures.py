"""ESP and AH behind a director, byte by byte: fragments of answers, and ICMP errors.

Expected is what left 6.1.192 and 6.12.117; facts, packet-path.md sections 5.2, 12 and 14.
"""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Raw

from lbsim import Director
from lbsim.engine.lanes import Lane
from tests.test_departures import asked, end, network, only

CLIENT, VIP, SERVER = "198.51.100.1", "192.168.1.10", "10.0.0.11"
CONTENT = {
    50: bytes.fromhex("0000000100000001") + b"x" * 56,
    51: bytes.fromhex("320400000000000100000001") + b"i" * 12 + b"y" * 40,
}
PROTOCOLS = pytest.mark.parametrize("proto", [50, 51])


def exchanged(way: str = "-m", version: int = 4, **options: Any) -> Director:
    """A director with an entry of a key exchange."""
    vip, server = (VIP, SERVER) if version == 4 else (f"[{end(6, 'vip')}]", f"[{end(6, 'server')}]")
    config = f"-A -u {vip}:500 -s rr\n-a -u {vip}:500 -r {server}:500 {way}\n"
    director = Director(config, own=[end(version, "inside")], **options)
    exchange = network(version, "client", "vip") / UDP(sport=500, dport=500) / Raw(b"abcd")
    assert asked(director, exchange).reason == "new"
    return director


def of_ipsec(proto: int, src: str, dst: str, **fields: int) -> bytes:
    return bytes(IP(src=src, dst=dst, proto=proto, id=1, **{"ttl": 64} | fields) / Raw(CONTENT[proto]))


@PROTOCOLS
@pytest.mark.parametrize(("flags", "frag"), [(1, 0), (0, 8), (1, 8)])
def test_fragments_of_answers_are_translated_one_by_one(proto: int, flags: int, frag: int, lane: Lane) -> None:
    director = exchanged(lane=lane)
    director.advance(100)
    answer = asked(director, of_ipsec(proto, SERVER, CLIENT, flags=flags, frag=frag), SERVER)
    assert (answer.verdict.name, answer.reason) == ("FORWARD", "translated")
    assert only(answer).packet == of_ipsec(proto, VIP, CLIENT, flags=flags, frag=frag, ttl=63)
    assert director.stats().total.out_packets == 1
    assert director.connections()[0].expires == 300


@PROTOCOLS
def test_other_fragments_of_ipsec_are_routed(proto: int) -> None:
    fragment = of_ipsec(proto, SERVER, "198.51.100.2", flags=1)
    assert asked(exchanged(), fragment, SERVER).reason == "no_connection"
    assert asked(Director(), fragment, SERVER).reason == "not_balanced"
    assert asked(exchanged(), of_ipsec(proto, SERVER, CLIENT, frag=8, ttl=1), SERVER).departures == ()
    assert asked(exchanged(), of_ipsec(proto, CLIENT, VIP, flags=1)).reason == "fragment_kept"


@PROTOCOLS
@pytest.mark.parametrize("quoted", [20, 24, 28, 60])
@pytest.mark.parametrize("fields", [{}, {"flags": 1}, {"frag": 8}])
def test_errors_about_answers_go_to_the_server(proto: int, quoted: int, fields: dict[str, int], lane: Lane) -> None:
    director = exchanged(lane=lane)
    error = IP(src="203.0.113.254", dst=VIP) / ICMP(type=3, code=1)
    answer = asked(director, error / Raw(of_ipsec(proto, VIP, CLIENT, **fields)[:quoted]))
    told = IP(src="203.0.113.254", dst=SERVER, ttl=63) / ICMP(type=3, code=1)
    assert (answer.reason, only(answer).to) == ("icmp_to_dest", SERVER)
    assert only(answer).packet == bytes(told / Raw(of_ipsec(proto, SERVER, CLIENT, **fields)[:quoted]))
    assert director.stats().total.in_packets == 2


@PROTOCOLS
@pytest.mark.parametrize("fields", [{}, {"frag": 8}])
def test_errors_about_requests_go_to_the_client(proto: int, fields: dict[str, int]) -> None:
    director = exchanged()
    error = IP(src=SERVER, dst=CLIENT) / ICMP(type=3, code=2)
    answer = asked(director, error / Raw(of_ipsec(proto, CLIENT, SERVER, **fields)[:28]), SERVER)
    told = IP(src=VIP, dst=CLIENT, ttl=63) / ICMP(type=3, code=2)
    assert (answer.reason, only(answer).to) == ("icmp_to_client", "clients")
    assert only(answer).packet == bytes(told / Raw(of_ipsec(proto, CLIENT, VIP, **fields)[:28]))
    assert director.stats().total.out_packets == 1


@PROTOCOLS
def test_errors_about_ipsec_without_key_exchange_are_no_ones(proto: int) -> None:
    inward = IP(src="203.0.113.254", dst=VIP) / ICMP(type=3) / Raw(of_ipsec(proto, VIP, "198.51.100.2")[:28])
    outward = IP(src=SERVER, dst="198.51.100.2") / ICMP(type=3) / Raw(of_ipsec(proto, "198.51.100.2", SERVER)[:28])
    for scheduling in (0, 1):
        director = exchanged(sysctls={"schedule_icmp": scheduling})
        assert asked(director, inward).reason == "icmp_unrelated"
        assert asked(director, outward, SERVER).reason == "no_connection"
        assert len(director.connections()) == 1


@pytest.mark.parametrize(("proto", "reason"), [(50, "icmp_to_dest"), (51, "icmp_unrelated")])
def test_over_ipv6_a_quoted_ah_header_is_stepped_over(proto: int, reason: str) -> None:
    quote = bytes(IPv6(src=end(6, "vip"), dst=end(6, "client"), nh=proto) / Raw(CONTENT[proto]))[:60]
    error = network(6, "client", "vip") / ICMPv6DestUnreach() / Raw(quote)
    assert asked(exchanged(version=6), error).reason == reason
