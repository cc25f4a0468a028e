"""Virtual addresses that only a routing rule makes the director's, for packets with a mark: what leaves, what counts.

Expected is what 6.1.192 and 6.12.117 did; facts, packet-path.md sections 4.3 and 14.
"""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.packet import Packet, Raw

from lbsim import Director
from lbsim.engine.lanes import Lane
from lbsim.live import Departure
from tests.test_departures import BOTH, asked, end, fresh, network, only

RULED = {4: "192.168.2.7", 6: "2001:db8:2::7"}
OUTSIDE = {4: "192.168.1.1", 6: "2001:db8:1::1"}  # the director's address that is nearest the client
WAYS = pytest.mark.parametrize("way", ["-m", "-g", "-i"])


def ruled(version: int, way: str | None = "-m", **options: Any) -> Director:
    """A director with a service by firewall mark 1, which TCP to port 80 gets, and anything with these options."""
    program, six = ("iptables", "") if version == 4 else ("ip6tables", " -6")
    everything = "0.0.0.0/0" if version == 4 else "::/0"
    rule = options.pop("rule", "-p tcp --dport 80")
    rule = f"-d {RULED[version]}/{24 if version == 4 else 64} {rule}"
    marks = (
        f"{program} -t mangle -A PREROUTING {rule} -j MARK --set-mark 1\n"
        f"ip rule add fwmark 1 lookup 100\nip route add local {everything} dev lo table 100\n"
    )
    server = end(4, "server") if version == 4 else f"[{end(6, 'server')}]:0"
    config = f"-A -f 1{six} -s rr\n" + (f"-a -f 1{six} -r {server} {way}\n" if way else "")
    return Director(config, own=[OUTSIDE[version], end(version, "inside")], marks=marks, **options)


def syn(version: int, ttl: int = 64, size: int = 0, sport: int = 40001, flags: str = "S") -> Packet:
    packet = network(version, "client", RULED[version], ttl) / TCP(sport=sport, dport=80, flags=flags)
    return packet / Raw(bytes(size)) if size else packet


def error(version: int, ttl: int) -> bytes:
    """What a router outside says of an answer of the connection."""
    quote = bytes(network(version, RULED[version], "client") / TCP(sport=80, dport=40001, flags="SA"))
    kind = ICMP(type=3, code=1) if version == 4 else ICMPv6DestUnreach(code=3)
    return bytes(
        network(version, "198.51.100.9" if version == 4 else "2001:db8:9::9", RULED[version], ttl) / kind / Raw(quote)
    )


@BOTH
@WAYS
def test_an_error_that_passes_forward_loses_two_from_its_ttl(version: int, way: str, lane: Lane) -> None:
    director = ruled(version, way, lane=lane)
    asked(director, syn(version))
    for ttl in (64, 3):
        answer = asked(director, error(version, ttl))
        assert (answer.verdict.name, answer.reason) == ("FORWARD", "icmp_routed")
        packet = only(answer).packet
        if way == "-i":
            packet = packet[20 if version == 4 else 40 :]
        assert packet[8 if version == 4 else 7] == ttl - 2
        assert only(answer).to == end(version, "server")
    for ttl in (2, 1):
        answer = asked(director, error(version, ttl))
        assert (answer.verdict.name, answer.reason, answer.departures) == ("DROP", "ttl_untold", ())
    total = director.stats().total
    assert (total.in_packets, total.out_packets) == (4, 0)  # that with TTL 1 never came to IPVS


@WAYS
def test_over_ipv4_nobody_is_told_and_nothing_counted(way: str, lane: Lane) -> None:
    director = ruled(4, way, mtu={"10.0.0.0/24": 600}, lane=lane)
    answer = asked(director, syn(4, ttl=1))
    assert (answer.verdict.name, answer.reason, answer.departures) == ("DROP", "ttl_untold", ())
    answer = asked(director, syn(4, size=800))
    assert (answer.verdict.name, answer.reason, answer.departures) == ("DROP", "mtu_untold", ())
    total = director.stats().total
    assert (total.in_packets, total.out_packets, total.out_bytes) == (2, 0, 0)


def test_over_ipv4_nobody_is_told_that_there_is_no_route() -> None:
    director = ruled(4, networks=["198.51.100.0/24"])
    answer = asked(director, syn(4))
    assert (answer.verdict.name, answer.reason, answer.departures) == ("DROP", "no_route_untold", ())


@pytest.mark.parametrize(("way", "counted"), [("-m", 0), ("-g", 1), ("-i", 1)])
def test_over_ipv6_the_error_comes_from_an_address_of_the_director(way: str, counted: int, lane: Lane) -> None:
    director = ruled(6, way, mtu={"fd00::/64": 1400}, lane=lane)
    answer = asked(director, syn(6, ttl=1))
    told = IPv6(src=OUTSIDE[6], dst=end(6, "client")) / ICMPv6TimeExceeded()
    assert answer.reason == "ttl_exceeded"
    assert only(answer) == Departure("clients", bytes(told / Raw(bytes(syn(6, ttl=1)))))
    answer = asked(director, syn(6, size=1400))
    limit = 1360 if way == "-i" else 1400
    told = IPv6(src=OUTSIDE[6], dst=end(6, "client")) / ICMPv6PacketTooBig(mtu=limit)
    assert answer.reason == "mtu_exceeded"
    assert only(answer) == Departure("clients", bytes(told / Raw(bytes(syn(6, ttl=63, size=1400))[: 1280 - 48])))
    total = director.stats().total
    assert (total.out_packets, total.out_bytes) == (2 * counted, (60 + 48 + 1280) * counted)


def test_over_ipv6_the_client_is_told_that_there_is_no_destination() -> None:
    director = ruled(6, None)
    told = IPv6(src=OUTSIDE[6], dst=end(6, "client")) / ICMPv6DestUnreach(code=4) / Raw(bytes(syn(6)))
    answer = asked(director, syn(6))
    assert (answer.reason, only(answer)) == ("no_dest", Departure("clients", bytes(told)))
    assert asked(ruled(4, None), syn(4)).reason == "no_dest_untold"


def test_what_is_only_routed_there_is_answered_by_the_router() -> None:
    director = ruled(4)
    asked(director, syn(4))
    packet = network(4, "client", RULED[4], 1) / UDP(sport=40001, dport=81)
    told = IP(src=OUTSIDE[4], dst=end(4, "client"), id=0, tos=0xC0) / ICMP(type=11) / Raw(bytes(packet))
    answer = asked(director, packet)
    assert (answer.reason, only(answer)) == ("ttl_exceeded", Departure("clients", bytes(told)))


@pytest.mark.parametrize(
    "transport",
    [
        TCP(sport=5, dport=80, flags="A"),
        TCP(sport=20, dport=80, flags="S"),
        UDP(sport=20, dport=80),
        ICMP(),
        Raw(b"??"),
    ],
)
def test_over_ipv4_the_own_stack_is_silent_there(transport: Packet) -> None:
    packet = network(4, "client", RULED[4], proto=47) if Raw in transport else network(4, "client", RULED[4])
    answer = asked(ruled(4, rule=""), packet / transport)
    assert (answer.verdict.name, answer.departures) == ("LOCAL", ())


def test_over_ipv6_the_own_stack_answers_but_errors_are_from_another_address() -> None:
    director = ruled(6, rule="")
    inward = IPv6(src=end(6, "client"), dst=RULED[6])
    outward = IPv6(src=RULED[6], dst=end(6, "client"))
    told = IPv6(src=OUTSIDE[6], dst=end(6, "client"))
    unwanted = inward / UDP(sport=20, dport=80)
    foreign = fresh(IPv6(src=end(6, "client"), dst=RULED[6], nh=47) / Raw(b"????"))
    for packet, answer in [
        (
            inward / TCP(sport=5, dport=80, flags="A", ack=7),
            outward / TCP(sport=80, dport=5, flags="R", seq=7, window=0),
        ),
        (inward / ICMPv6EchoRequest(id=1), outward / ICMPv6EchoReply(id=1)),
        (unwanted, told / ICMPv6DestUnreach(code=4) / Raw(bytes(unwanted))),
        (foreign, told / ICMPv6ParamProblem(code=1, ptr=6) / Raw(foreign)),
    ]:
        assert only(asked(director, packet)) == Departure("clients", bytes(answer))
