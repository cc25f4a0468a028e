"""Clients that are programs on the director, packet by packet: scapy says what is right.

The rules: facts, packet-path.md section 15. What these packets do was seen on 6.1.192 and 6.12.117, over IPv4 and
IPv6.
"""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Packet, Raw

from lbsim import Director
from lbsim.live import Answer, Departure

NAMES = ("vip", "server", "inside", "loopback", "client")
ENDS = {
    4: dict(zip(NAMES, ["192.168.1.10", "10.0.0.11", "10.0.0.1", "127.0.0.1", "198.51.100.1"], strict=True)),
    6: dict(zip(NAMES, ["2001:db8:1::10", "fd00::11", "fd00::1", "::1", "2001:db8:9::1"], strict=True)),
}
BOTH = pytest.mark.parametrize("version", [4, 6])


def end(version: int, name: str, port: int) -> str:
    address = ENDS[version][name]
    return f"[{address}]:{port}" if version == 6 else f"{address}:{port}"


def network(version: int, src: str, dst: str, ttl: int = 64) -> Packet:
    src, dst = ENDS[version].get(src, src), ENDS[version].get(dst, dst)
    return IP(src=src, dst=dst, ttl=ttl, flags="DF", id=7) if version == 4 else IPv6(src=src, dst=dst, hlim=ttl)


def tcp(version: int, src: str, sport: int, dst: str, dport: int, flags: str, ttl: int = 64, **fields: Any) -> bytes:
    return bytes(network(version, src, dst, ttl) / TCP(sport=sport, dport=dport, flags=flags, **fields))


def made(version: int, dest: str = "server", port: int = 8080, way: str = "-m", **options: Any) -> Director:
    """A director with a service on port 80 and one destination; a program on it is at port 40001, and listens."""
    vip = end(version, "vip", 80)
    heard = [f"tcp {end(version, name, 40001)}" for name in ("vip", "loopback")]
    options = {"own": [ENDS[version]["inside"]], "listening": heard} | options
    return Director(f"-A -t {vip} -s rr\n-a -t {vip} -r {end(version, dest, port)} {way}\n", **options)


def opened(director: Director, version: int, source: str = "vip", flags: str = "S", **fields: Any) -> Answer:
    """What becomes of what the program sends to the service."""
    return director.receive(tcp(version, source, 40001, "vip", 80, flags, **fields), via="director")


def state_of(director: Director) -> list[str]:
    return [row.state for row in director.connections()]


@BOTH
@pytest.mark.parametrize("source", ["vip", "inside"])
def test_over_nat_the_director_is_a_client_like_any_other(version: int, source: str) -> None:
    director = made(version, listening=[f"tcp {end(version, source, 40001)}"])
    answer = opened(director, version, source)
    assert (answer.verdict.name, answer.reason, answer.dest) == ("FORWARD", "new", end(version, "server", 8080))
    left = tcp(version, source, 40001, "server", 8080, "S", ttl=63)
    assert answer.departures == (Departure(ENDS[version]["server"], left),)
    back = director.receive(tcp(version, "server", 8080, source, 40001, "SA"), via=ENDS[version]["server"])
    assert (back.verdict.name, back.reason) == ("FORWARD", "translated")
    assert back.departures == (Departure("director", tcp(version, "vip", 80, source, 40001, "SA")),)
    assert opened(director, version, source, "A").reason == "known"
    assert state_of(director) == ["ESTABLISHED"]
    counters = director.services()[0].counters
    assert (counters.connections, counters.in_packets, counters.out_packets) == (1, 2, 1)


@BOTH
def test_with_direct_routing_a_request_leaves_from_the_virtual_address_to_itself(version: int) -> None:
    answer = opened(made(version, port=80, way="-g"), version)
    left = tcp(version, "vip", 40001, "vip", 80, "S", ttl=63)
    assert answer.departures == (Departure(ENDS[version]["server"], left),)


@BOTH
def test_through_a_tunnel_it_leaves_in_one(version: int) -> None:
    (departure,) = opened(made(version, port=80, way="-i"), version).departures
    outer = (IP if version == 4 else IPv6)(departure.packet)
    assert (outer.src, outer.dst) == (ENDS[version]["inside"], ENDS[version]["server"])
    assert bytes(outer.payload) == tcp(version, "vip", 40001, "vip", 80, "S", ttl=63)


@BOTH
def test_a_local_destination_and_a_local_client_are_translated_for_each_other(version: int) -> None:
    heard = [f"tcp {end(version, 'vip', port)}" for port in (40001, 8080)]
    director = made(version, "vip", listening=heard)
    request = opened(director, version)
    assert (request.verdict.name, request.reason) == ("LOCAL", "local_new")
    assert request.departures == (Departure("director", tcp(version, "vip", 40001, "vip", 8080, "S")),)
    answer = director.receive(tcp(version, "vip", 8080, "vip", 40001, "SA"), via="director")
    assert answer.reason == "translated"
    assert answer.departures == (Departure("director", tcp(version, "vip", 80, "vip", 40001, "SA")),)


@BOTH
def test_from_a_loopback_address_no_real_server_is_reached(version: int) -> None:
    director = made(version)
    answer = opened(director, version, "loopback")
    assert (answer.verdict.name, answer.reason, answer.departures) == ("DROP", "wrong_way", ())
    assert state_of(director) == ["SYN_RECV"]  # it was counted all the same


@BOTH
@pytest.mark.parametrize("source", ["vip", "loopback"])
def test_a_destination_at_a_loopback_address_is_reached_from_the_director(version: int, source: str) -> None:
    heard = [f"tcp {end(version, 'loopback', 8080)}"]
    answer = opened(made(version, "loopback", listening=heard), version, source)
    there = tcp(version, source, 40001, "loopback", 8080, "S")
    assert answer.departures == (Departure("director", there),)


@BOTH
@pytest.mark.parametrize(("port", "flags", "reason"), [(81, "S", "no_service"), (80, "A", "not_syn")])
def test_what_no_service_takes_is_refused_by_the_own_stack(version: int, port: int, flags: str, reason: str) -> None:
    sent = tcp(version, "vip", 40001, "vip", port, flags)
    answer = made(version).receive(sent, via="director")
    assert (answer.verdict.name, answer.reason) == ("LOCAL", reason)
    (refusal,) = answer.departures
    assert (refusal.to, (IP if version == 4 else IPv6)(refusal.packet)[TCP].flags.R) == ("director", True)


@BOTH
def test_without_services_of_its_family_nothing_is_looked_at(version: int) -> None:
    director = Director(listening=["tcp 192.168.1.10:40001"], own=[ENDS[version]["vip"]])
    assert opened(director, version).reason == "ipvs_off"
    away = tcp(version, "vip", 40001, "client", 80, "S")
    assert director.receive(away, via="director").departures == (Departure("clients", away),)


@BOTH
@pytest.mark.parametrize("target", ["client", "server"])
def test_what_is_for_no_service_and_for_somebody_else_just_leaves(version: int, target: str) -> None:
    sent = tcp(version, "vip", 40001, target, 8080, "S")
    answer = made(version).receive(sent, via="director")
    assert (answer.verdict.name, answer.reason) == ("ROUTE", "no_connection")
    assert answer.departures == (Departure("clients" if target == "client" else ENDS[version]["server"], sent),)


@BOTH
def test_a_refusal_is_told_to_the_director_itself(version: int) -> None:
    director = made(version)
    assert opened(director, version, ttl=1).reason == "ttl_exceeded"
    director.run(f"ipvsadm -e -t {end(version, 'vip', 80)} -r {end(version, 'server', 8080)} -m -w 0")
    other = tcp(version, "vip", 40002, "vip", 80, "S")
    answer = director.receive(other, via="director")
    assert (answer.verdict.name, answer.reason, answer.departures) == ("REJECT", "no_dest", ())


@BOTH
def test_what_comes_of_that_with_schedule_icmp_is_not_modelled(version: int) -> None:
    director = made(version, sysctls={"schedule_icmp": 1})
    answer = opened(director, version, ttl=1)
    assert (answer.verdict.name, answer.reason) == ("UNMODELLED", "told_itself")


@BOTH
def test_an_answer_that_nobody_waits_for_is_reset_through_ipvs(version: int) -> None:
    director = made(version, listening=[])
    opened(director, version)
    back = director.receive(tcp(version, "server", 8080, "vip", 40001, "SA", ack=1), via=ENDS[version]["server"])
    (reset,) = back.departures
    assert reset.to == ENDS[version]["server"]
    packet = (IP if version == 4 else IPv6)(reset.packet)
    assert (packet.dst, packet[TCP].sport, packet[TCP].dport, packet[TCP].flags) == (reset.to, 40001, 8080, "R")
    assert (packet.ttl if version == 4 else packet.hlim) == 63
    assert director.services()[0].counters.in_packets == 2


def dns(version: int, **options: Any) -> Director:
    vip, server = end(version, "vip", 53), end(version, "server", 53)
    return Director(f"-A -u {vip} -s rr\n-a -u {vip} -r {server} -m", own=[ENDS[version]["inside"]], **options)


def udp(version: int, src: str, sport: int, dst: str, dport: int) -> Packet:
    return network(version, src, dst) / UDP(sport=sport, dport=dport) / Raw(b"?")


@BOTH
def test_an_answer_to_a_udp_port_that_is_closed_is_refused_through_ipvs(version: int) -> None:
    director = dns(version)
    director.receive(bytes(udp(version, "vip", 40001, "vip", 53)), via="director")
    back = director.receive(bytes(udp(version, "server", 53, "vip", 40001)), via=ENDS[version]["server"])
    (error,) = back.departures
    assert error.to == ENDS[version]["server"]
    packet = (IP if version == 4 else IPv6)(error.packet)
    quoted = (IP if version == 4 else IPv6)(bytes(packet[ICMP if version == 4 else ICMPv6DestUnreach].payload))
    assert (packet.dst, quoted.src, quoted[UDP].sport) == (error.to, error.to, 53)
    counters = director.services()[0].counters
    assert (counters.in_packets, counters.out_packets) == (2, 1)


@BOTH
def test_a_servers_error_about_a_request_of_the_director_stays_there_and_counts(version: int) -> None:
    director = dns(version, listening=[f"udp {end(version, 'vip', 40001)}"])
    director.receive(bytes(udp(version, "vip", 40001, "vip", 53)), via="director")
    about = udp(version, "vip", 40001, "server", 53)
    error = ICMP(type=3, code=3) if version == 4 else ICMPv6DestUnreach(code=4)
    answer = director.receive(bytes(network(version, "server", "vip") / error / about), via=ENDS[version]["server"])
    assert (answer.reason, answer.departures) == ("icmp_to_client", ())
    assert director.services()[0].counters.out_packets == 1


def test_an_answer_to_a_spoofed_source_is_translated_as_it_is_delivered() -> None:
    # over IPv6 the director's own address may come from outside; over IPv4 it may with accept_local
    director = made(6)
    assert director.receive(tcp(6, "vip", 40001, "vip", 80, "S")).reason == "new"
    answer = director.receive(tcp(6, "server", 8080, "vip", 40001, "SA"), via="fd00::11")
    assert answer.departures == (Departure("director", tcp(6, "vip", 80, "vip", 40001, "SA")),)
    director = made(4, accept_local=True)
    assert director.receive(tcp(4, "vip", 40001, "vip", 80, "S")).reason == "new"
    assert director.receive(tcp(4, "server", 8080, "vip", 40001, "SA"), via="10.0.0.11").reason == "translated"


@BOTH
def test_other_packets_to_the_director_stay_requests(version: int) -> None:
    director = made(version)
    opened(director, version)
    stray = director.receive(tcp(version, "server", 8081, "vip", 40001, "SA"), via=ENDS[version]["server"])
    assert (stray.verdict.name, stray.reason) == ("LOCAL", "no_service")
    assert director.receive(tcp(version, "client", 40001, "vip", 80, "S")).reason == "new"
