"""The chain FORWARD: its rules and policy come before IPVS, routing comes before both.

The rules: facts, packet-path.md sections 1 and 12; both kernels agree (scenarios/operations/firewall-forgotten).
"""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw

from lbsim import Director
from lbsim.engine.lanes import Lane
from tests.test_departures import ENDS, asked, end, network, only, request


def filtered(version: int = 4, way: str = "-m", **options: Any) -> Director:
    """A director that forwards what a server sends, where servers are, and what one client sends; nothing else."""
    rules = (
        "-P FORWARD DROP",
        "-A FORWARD -i eth1 -s 10.0.0.11 -j ACCEPT",
        "-A FORWARD -i eth0 -s 198.51.100.2 -j ACCEPT",
    )
    vip, server = (f"[{end(6, 'vip')}]", f"[{end(6, 'server')}]") if version == 6 else (end(4, "vip"), end(4, "server"))
    text = "\n".join(f"iptables {rule}" for rule in rules)
    text += f"\n-A -t {vip}:80 -s rr\n-a -t {vip}:80 -r {server}:8080 {way}\n"
    text += f"-a -t {vip}:80 -r {server.replace('11', '12')}:8080 {way}\n"
    return Director(text, own=[ENDS[version]["inside"]], **options)


def answer_of(version: int, server: str, dport: int = 40001, ttl: int = 64, **fields: Any) -> Packet:
    return network(version, server, "client", ttl, **fields) / TCP(sport=8080, dport=dport, flags="SA")


def test_an_answer_that_forward_drops_never_reaches_ipvs(lane: Lane) -> None:
    director = filtered(lane=lane)
    newest, oldest = (
        asked(director, network(4, "client", "vip") / TCP(sport=p, dport=80, flags="S")) for p in (40001, 40002)
    )
    assert (newest.dest, oldest.dest) == ("10.0.0.12:8080", "10.0.0.11:8080")
    lost = asked(director, answer_of(4, "10.0.0.12"), "10.0.0.12")
    assert (lost.verdict.name, lost.reason, lost.departures) == ("DROP", "forward_dropped", ())
    assert asked(director, answer_of(4, "10.0.0.11", 40002), "10.0.0.11").reason == "translated"
    assert {row.state for row in director.connections()} == {"SYN_RECV"}
    counters = director.stats().dests
    assert counters["tcp 192.168.1.10:80", "10.0.0.12:8080"].out_packets == 0
    assert counters["tcp 192.168.1.10:80", "10.0.0.11:8080"].out_packets == 1


def test_forward_rules_do_not_concern_requests_nor_ipv6(lane: Lane) -> None:
    director = filtered(6, lane=lane)
    assert asked(director, request(6)).reason == "new"
    assert asked(director, answer_of(6, "fd00::12"), "fd00::12").reason == "translated"


@pytest.mark.parametrize(
    ("packet", "via", "reason"),
    [
        (network(4, "client", "10.0.0.50") / UDP(sport=1, dport=2), "clients", "forward_dropped"),
        (network(4, "198.51.100.2", "10.0.0.50") / UDP(sport=1, dport=2), "clients", "not_local"),
        (network(4, "10.0.0.11", "198.51.100.9") / UDP(sport=1, dport=2), "10.0.0.11", "no_connection"),
        (network(4, "10.0.0.12", "198.51.100.9") / UDP(sport=1, dport=2), "10.0.0.12", "forward_dropped"),
        (network(4, "10.0.0.12", "198.51.100.9") / ICMP(), "10.0.0.12", "forward_dropped"),
        # the rule is one of the servers' interface
        (network(4, "10.0.0.11", "10.0.0.50") / UDP(sport=1, dport=2), "clients", "forward_dropped"),
        # a real server may talk to the director itself
        (network(4, "10.0.0.12", "inside") / ICMP(), "10.0.0.12", "other_protocol"),
        (
            network(4, "10.0.0.12", "198.51.100.9", frag=0, flags="MF") / UDP() / Raw(bytes(16)),
            "10.0.0.12",
            "forward_dropped",
        ),
        (
            network(4, "10.0.0.11", "198.51.100.9", frag=0, flags="MF") / UDP() / Raw(bytes(16)),
            "10.0.0.11",
            "fragment_kept",
        ),
        (network(4, "10.0.0.12", "198.51.100.9", frag=3, flags=0) / Raw(bytes(16)), "10.0.0.12", "forward_dropped"),
    ],
)
def test_what_forward_lets_pass(lane: Lane, packet: Packet, via: str, reason: str) -> None:
    director = filtered(lane=lane)
    got = asked(director, packet, via)
    assert got.reason == reason
    if reason == "forward_dropped":
        assert got.departures == ()


@pytest.mark.parametrize("via", ["clients", "10.0.0.12"])
def test_routing_finds_an_error_before_forward_drops_the_packet(via: str) -> None:
    source = "client" if via == "clients" else via
    error = only(asked(filtered(), network(4, source, "10.0.0.50", 1) / UDP(sport=1, dport=2), via)).packet
    assert (IP(error)[ICMP].type, IP(error).src) == (11, end(4, "inside"))
    long = network(4, source, "10.0.0.50") / UDP(sport=1, dport=2) / Raw(bytes(1500))
    assert IP(only(asked(filtered(), long, via)).packet)[ICMP].code == 4


def test_an_error_about_a_clients_packet_is_dropped_like_any_packet_of_the_server() -> None:
    director = filtered()
    arrived = only(asked(director, request(4))).packet
    error = network(4, "10.0.0.12", "client") / ICMP(type=3, code=3) / Raw(arrived[:28])
    assert asked(director, error, "10.0.0.12").reason == "forward_dropped"
    assert asked(
        director, network(4, "10.0.0.11", "client") / ICMP(type=3, code=3) / Raw(arrived[:28]), "10.0.0.11"
    ).reason == ("icmp_to_client")


@pytest.mark.parametrize(
    ("interface", "packet", "via", "reason"),
    [
        ("eth0", network(4, "server", "198.51.100.9") / UDP(sport=1, dport=2), "10.0.0.11", "masqueraded"),
        ("eth0", network(4, "server", "198.51.100.9") / ICMP(), "10.0.0.11", "masqueraded"),
        ("eth0", network(4, "client", "router") / UDP(sport=1, dport=2), "clients", "not_local"),
        ("eth1", network(4, "server", "198.51.100.9") / UDP(sport=1, dport=2), "10.0.0.11", "no_connection"),
        ("eth1", network(4, "client", "router") / UDP(sport=1, dport=2), "clients", "masqueraded"),
        ("eth1", network(4, "client", "router", 1) / UDP(sport=1, dport=2), "clients", "ttl_exceeded"),
        ("eth0", network(4, "server", "inside") / ICMP(), "10.0.0.11", "other_protocol"),
        ("eth0", network(4, "server", "198.51.100.9", 1) / UDP(sport=1, dport=2), "10.0.0.11", "ttl_exceeded"),
    ],
)
def test_masquerading_concerns_what_is_routed_out_there(
    lane: Lane, interface: str, packet: Packet, via: str, reason: str
) -> None:
    text = f"iptables -t nat -A POSTROUTING -o {interface} -j MASQUERADE\n-A -t 192.168.1.10:80 -s rr\n"
    director = Director(f"{text}-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m", own=["10.0.0.1"], lane=lane)
    assert asked(director, packet, via).reason == reason


def test_masquerading_concerns_neither_requests_nor_their_answers_nor_ipv6() -> None:
    text = (
        "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE\niptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE\n"
    )
    text += "-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m\n"
    text += "-A -t [2001:db8:1::10]:80 -s rr\n"
    director = Director(text, own=["fd00::1"])
    assert asked(director, request(4)).reason == "new"
    answer = only(asked(director, answer_of(4, "10.0.0.11"), "10.0.0.11")).packet
    assert (IP(answer).src, IP(answer).dst) == (end(4, "vip"), end(4, "client"))
    assert asked(director, network(6, "server", "client") / UDP(sport=1, dport=2), "fd00::11").reason == "no_connection"


def test_a_fragment_that_dies_on_its_way_is_told_at_once() -> None:
    first = network(4, "server", "198.51.100.9", 1, frag=0, flags="MF") / UDP() / Raw(bytes(16))
    answer = asked(filtered(), first, "10.0.0.11")
    assert answer.reason == "ttl_exceeded"
    assert IP(only(answer).packet)[ICMP].type == 11
    later = network(4, "server", "198.51.100.9", 1, frag=3, flags=0) / Raw(bytes(16))
    assert asked(filtered(), later, "10.0.0.11").departures == ()
