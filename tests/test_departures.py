"""What leaves a live director, byte by byte, for every forwarding method and every error: scapy says what is right.

The rules: facts, packet-path.md sections 12 to 17.
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
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.l2 import GRE
from scapy.packet import Packet, Raw

from lbsim import Director
from lbsim.errors import ConfigError
from lbsim.live import Answer, Departure
from lbsim.packet import checksum
from lbsim.packet.fragments import split

NAMES = ("client", "vip", "server", "inside", "router")
ENDS = {
    4: dict(zip(NAMES, ["198.51.100.1", "192.168.1.10", "10.0.0.11", "10.0.0.1", "10.0.0.50"], strict=True)),
    6: dict(zip(NAMES, ["2001:db8:9::1", "2001:db8:1::10", "fd00::11", "fd00::1", "fd00::50"], strict=True)),
}
BOTH = pytest.mark.parametrize("version", [4, 6])


def end(version: int, name: str) -> str:
    return ENDS[version][name]


def made(version: int, way: str = "-m", proto: str = "tcp", port: int = 8080, **options: Any) -> Director:
    """A director with one service and one destination."""
    vip, server = end(version, "vip"), options.pop("server", end(version, "server"))
    letter, service = ("-t", 80) if proto == "tcp" else ("-u", 53)
    vip, server = (f"[{vip}]", f"[{server}]") if version == 6 else (vip, server)
    config = f"-A {letter} {vip}:{service} -s rr\n-a {letter} {vip}:{service} -r {server}:{port} {way}\n"
    own = [ENDS[version]["inside"], *options.pop("own", [])]
    return Director(config, own=own, **options)


def network(version: int, src: str, dst: str, ttl: int = 64, **fields: Any) -> Packet:
    src, dst = ENDS[version].get(src, src), ENDS[version].get(dst, dst)
    if version == 4:
        return IP(src=src, dst=dst, ttl=ttl, **({"flags": "DF", "id": 7} | fields))
    return IPv6(src=src, dst=dst, hlim=ttl)


def request(version: int, flags: str = "S", size: int = 0, ttl: int = 64, **fields: Any) -> Packet:
    packet = network(version, "client", "vip", ttl, **fields) / TCP(sport=40001, dport=80, flags=flags)
    return packet / Raw(bytes(size)) if size else packet


def asked(director: Director, packet: Packet | bytes, via: str = "clients") -> Answer:
    return director.receive(bytes(packet), via=via)


def only(answer: Answer) -> Departure:
    (departure,) = answer.departures
    return departure


def fresh(packet: Packet) -> bytes:
    """The bytes of a packet with lengths and checksums anew."""
    again = packet.copy()
    for layer in again.iterpayloads():
        for name in ("chksum", "cksum", "len", "plen"):
            if name in layer.fields:
                del layer.fields[name]
    return bytes(again)


def may_split(packet: Packet) -> bytes:
    """The IPv4 packet without "don't fragment"."""
    packet.flags = 0
    return fresh(packet)


# Direct routing and tunnels


@BOTH
def test_direct_routing_lowers_the_ttl_and_that_is_all(version: int) -> None:
    answer = asked(made(version, "-g"), request(version))
    assert (answer.reason, answer.dest) == ("new", f"[{end(6, 'server')}]:80" if version == 6 else "10.0.0.11:80")
    assert only(answer) == Departure(end(version, "server"), bytes(request(version, ttl=63)))


@BOTH
@pytest.mark.parametrize(
    ("words", "between"),
    [
        ("-i", []),
        ("-i --tun-type gre --tun-nocsum", [GRE()]),
        ("-i --tun-type gre --tun-csum", [GRE(chksum_present=1)]),
    ],
)
def test_a_tunnel_wraps_the_packet_as_it_leaves(version: int, words: str, between: list[Packet]) -> None:
    inner = bytes(request(version, ttl=8))
    proto = 47 if between else 4 if version == 4 else 41
    outer = IP(src=end(4, "inside"), dst=end(4, "server"), ttl=8, id=0, flags="DF", proto=proto)
    if version == 6:
        outer = IPv6(src=end(6, "inside"), dst=end(6, "server"), hlim=8, nh=proto)
    for layer in between:
        outer /= layer.__class__(**layer.fields, proto=0x0800 if version == 4 else 0x86DD)
    answer = asked(made(version, words), request(version, ttl=9))
    assert only(answer) == Departure(end(version, "server"), bytes(outer / Raw(inner)))


def test_a_tunnel_without_an_address_of_the_director_comes_from_the_virtual_one() -> None:
    director = Director("-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11 -i")
    assert IP(only(asked(director, request(4))).packet).src == "192.168.1.10"


def test_a_tunnel_over_the_other_family() -> None:
    director = Director("-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r [fd00::11]:80 -i", own=["fd00::1"])
    outer = IPv6(src="fd00::1", dst="fd00::11", hlim=63, nh=4)
    assert only(asked(director, request(4))).packet == bytes(outer / Raw(bytes(request(4, ttl=63))))
    alone = Director("-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r [fd00::11]:80 -i")
    assert IPv6(only(asked(alone, request(4))).packet).src == "fd00::11"


@pytest.mark.parametrize(("words", "most"), [("-i", 1480), ("-i --tun-type gue --tun-port 6080", 1468), ("-g", 1500)])
def test_a_way_takes_the_mtu_less_its_headers(words: str, most: int) -> None:
    fits, too_large = (request(4, size=most - 40 + more) for more in (0, 1))
    director = made(4, words)
    assert asked(director, fits).verdict.name == "FORWARD"
    answer = asked(director, too_large)
    assert answer.reason == "mtu_exceeded"
    quote = bytes(request(4, size=most - 39, ttl=63))[: 576 - 28]
    error = IP(src=end(4, "vip"), dst=end(4, "client"), id=0, tos=0xC0) / ICMP(type=3, code=4, nexthopmtu=most)
    assert only(answer) == Departure("clients", bytes(error / Raw(quote)))


def test_without_pmtu_disc_a_tunnel_is_cut_into_fragments() -> None:
    director = made(4, "-i", sysctls={"pmtu_disc": 0})
    pieces = [departure.packet for departure in asked(director, request(4, size=1460)).departures]
    assert [len(piece) for piece in pieces] == [1500, 40]
    assert IP(pieces[0]).flags == "MF"


def test_what_may_be_fragmented_is() -> None:
    director = made(4, "-m", mtu={"10.0.0.0/24": 1400})
    answer = asked(director, may_split(request(4, size=1460)))
    assert [len(departure.packet) for departure in answer.departures] == [1396, 124]


def test_ipv6_that_is_too_large_is_refused() -> None:
    director = made(6, "-g", mtu={"fd00::/64": 1400})
    answer = asked(director, request(6, size=1400))
    error = IPv6(src=end(6, "vip"), dst=end(6, "client")) / ICMPv6PacketTooBig(mtu=1400)
    quote = bytes(request(6, size=1400, ttl=63))[: 1280 - 48]
    assert only(answer) == Departure("clients", bytes(error / Raw(quote)))


@pytest.mark.parametrize(("version", "mtu"), [(4, 87), (6, 1319)])
def test_a_tunnel_needs_room_for_what_every_link_carries(version: int, mtu: int) -> None:
    director = made(version, "-i", mtu={"10.0.0.0/24": mtu, "fd00::/64": mtu})
    assert (asked(director, request(version)).reason, director.connections()[0].state) == ("too_narrow", "SYN_RECV")


# Errors that the director makes


@BOTH
@pytest.mark.parametrize(("way", "counted"), [("-m", 0), ("-g", 1), ("-i", 1)])
def test_errors_of_the_director_count_as_answers_unless_over_nat(version: int, way: str, counted: int) -> None:
    director = made(version, way)
    error = only(asked(director, request(version, ttl=1))).packet
    counters = director.services()[0].counters
    assert (counters.in_packets, counters.out_packets) == (1, counted)
    assert counters.out_bytes == counted * len(error)


@BOTH
def test_a_destination_without_route_is_unreachable(version: int) -> None:
    director = made(version, networks=["192.168.1.0/24", "2001:db8::/32", "198.51.100.0/24"])
    answer = asked(director, request(version))
    error = network(version, "vip", "client", tos=0xC0, id=0, flags=0)
    error /= ICMP(type=3, code=1) if version == 4 else ICMPv6DestUnreach(code=3)
    assert answer.reason == "no_route"
    assert only(answer) == Departure("clients", bytes(error / Raw(bytes(request(version)))))


@BOTH
def test_an_answer_without_route_or_too_large_is_the_routers_business(version: int) -> None:
    director = made(version, networks=["10.0.0.0/24", "fd00::/64"], mtu={"10.0.0.0/24": 1280, "fd00::/64": 1280})
    answer = network(version, "server", "client") / TCP(sport=8080, dport=40001)
    error = network(version, "inside", "server", tos=0xC0, id=0, flags=0)
    error /= ICMP(type=3, code=0) if version == 4 else ICMPv6DestUnreach(code=0)
    got = asked(director, answer, end(version, "server"))
    assert (got.reason, only(got)) == (
        "no_route",
        Departure(end(version, "server"), bytes(error / Raw(bytes(answer)))),
    )


@BOTH
def test_an_answer_that_is_too_large_is_quoted_as_it_came(version: int) -> None:
    networks = {"198.51.100.0/24": 1300, "2001:db8:9::/64": 1300}
    director = made(version, mtu=networks)
    answer = bytes(network(version, "server", "client") / TCP(sport=8080, dport=40001) / Raw(bytes(1400)))
    error = network(version, "inside", "server", tos=0xC0, id=0, flags=0)
    error /= ICMP(type=3, code=4, nexthopmtu=1300) if version == 4 else ICMPv6PacketTooBig(mtu=1300)
    room = 548 if version == 4 else 1232
    got = asked(director, answer, end(version, "server"))
    assert (got.reason, only(got).packet) == ("mtu_exceeded", bytes(error / Raw(answer[:room])))


@pytest.mark.parametrize(
    ("options", "fields", "kind"),
    [
        ({"networks": ["198.51.100.0/24"]}, {}, (3, 0)),
        ({}, {"ttl": 1}, (11, 0)),
        ({"mtu": {"203.0.113.0/24": 100}}, {}, (3, 4)),
    ],
)
def test_a_packet_to_others_is_routed_or_not(
    options: dict[str, Any], fields: dict[str, Any], kind: tuple[int, int]
) -> None:
    packet = network(4, "client", "203.0.113.9", **fields) / UDP() / Raw(bytes(100))
    error = IP(only(asked(made(4, own=["198.51.100.254"], **options), packet)).packet)
    assert (error[ICMP].type, error[ICMP].code, error.src) == (*kind, "198.51.100.254")
    assert asked(Director(**options), packet).departures == ()


# Local destinations


@BOTH
@pytest.mark.parametrize(("way", "port"), [("-m", 8080), ("-g", 80), ("-i", 80)])
def test_a_local_destination_answers_through_ipvs(version: int, way: str, port: int) -> None:
    director = made(version, way, port=port, server=end(version, "inside"))
    answer = asked(director, request(version, ttl=1))
    assert (answer.verdict.name, answer.reason) == ("LOCAL", "local_new")
    reset = network(version, "vip", "client", id=0) / TCP(sport=80, dport=40001, flags="RA", seq=0, ack=1, window=0)
    assert only(answer) == Departure("clients", bytes(reset))
    row = director.services()[0]
    assert (row.counters.in_packets, row.counters.out_packets, director.connections()[0].state) == (1, 1, "CLOSE")


@BOTH
@pytest.mark.parametrize(("way", "port"), [("-m", 8080), ("-g", 80), ("-i", 80)])
def test_a_program_on_the_director_gets_packets_and_answers_through_ipvs(version: int, way: str, port: int) -> None:
    vip = end(version, "vip")
    where = f"[{vip}]:{port}" if version == 6 else f"{vip}:{port}"
    director = made(version, way, port=port, server=vip, listening=[f"tcp {where}"])
    got = only(asked(director, request(version, ttl=1)))
    there = network(version, "client", "vip", ttl=1) / TCP(sport=40001, dport=port, flags="S")
    assert got == Departure("director", bytes(there))
    sent = network(version, "vip", "client") / TCP(sport=port, dport=40001, flags="SA", ack=1001)
    left = network(version, "vip", "client") / TCP(sport=80, dport=40001, flags="SA", ack=1001)
    answer = director.receive(bytes(sent), via="director")
    assert (answer.verdict.name, answer.reason) == ("FORWARD", "translated")
    assert only(answer) == Departure("clients", bytes(left))
    row = director.services()[0]
    assert (row.counters.out_packets, director.connections()[0].state) == (1, "SYN_RECV")


# As on 6.1.192 and 6.12.117: the own stack's refusal passes IPVS, which finds the entry of the same client.
@BOTH
def test_a_refusal_of_a_local_destinations_own_port_is_taken_for_its_answer(version: int) -> None:
    director = made(version, server=end(version, "vip"))
    only(asked(director, request(version)))
    direct = network(version, "client", "vip") / TCP(sport=40001, dport=8080, flags="S")
    other = network(version, "client", "vip") / TCP(sport=40002, dport=8080, flags="S")
    answers = [asked(director, packet) for packet in (direct, other)]
    assert [answer.reason for answer in answers] == ["no_service", "no_service"]
    refusals = [(IP if version == 4 else IPv6)(only(answer).packet)[TCP] for answer in answers]
    assert [(one.sport, one.dport) for one in refusals] == [(80, 40001), (8080, 40002)]
    assert director.services()[0].counters.out_packets == 2


def test_a_program_also_gets_what_ipvs_leaves_alone() -> None:
    director = made(4, listening=[f"udp {end(4, 'vip')}:53"])
    query = network(4, "client", "vip") / UDP(sport=5000, dport=53) / Raw(b"?")
    assert asked(director, query).departures == (Departure("director", bytes(query)),)
    answer = network(4, "vip", "client") / UDP(sport=53, dport=5000) / Raw(b"!")
    assert director.receive(bytes(answer), via="director").departures == (Departure("clients", bytes(answer)),)


@pytest.mark.parametrize("text", ["192.168.1.10:80", "icmp 192.168.1.10:80", "tcp 192.168.1.10", "fwm 1"])
def test_where_a_program_listens_must_be_an_end(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected .*tcp ADDRESS:PORT|expected 10\.0\.0\.11:80"):
        Director("", listening=[text])


@pytest.mark.parametrize(("version", "local"), [(4, "127.0.0.1"), (6, "::1")])
def test_the_loopback_device_is_reached_by_direct_routing_only(version: int, local: str) -> None:
    assert asked(made(version, "-g", port=80, server=local), request(version)).reason == "local_new"
    assert asked(made(version, "-m", server=local), request(version)) == Answer(
        asked(made(version, "-m", server=local), request(version)).verdict.DROP, "wrong_way",
        f"[{local}]:8080" if version == 6 else f"{local}:8080", (),
    )  # fmt: skip


def test_a_local_destination_that_becomes_local_later() -> None:
    director = Director("-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 192.168.1.11:80 -m")
    assert asked(director, request(4)).verdict.name == "FORWARD"
    director.run("ipvsadm -A -t 192.168.1.11:81 -s rr")
    assert asked(director, request(4)).reason == "local_dest"


def test_a_local_udp_socket_is_not_there_either() -> None:
    director = made(4, "-m", "udp", 5353, server=end(4, "inside"))
    query = network(4, "client", "vip") / UDP(sport=5000, dport=53) / Raw(b"?")
    answer = asked(director, query)
    error = IP(only(answer).packet)
    quoted = IP(bytes(error[ICMP].payload))
    assert (error.src, error[ICMP].code) == (end(4, "vip"), 3)  # IPVS translates the director's own errors, too
    assert (quoted.dst, quoted[UDP].dport) == (end(4, "vip"), 53)
    assert director.services()[0].counters.out_packets == 1


def test_what_the_own_stack_does_not_answer() -> None:
    director = made(4, "-m", server=end(4, "inside"))
    assert asked(director, request(4, "S")).departures != ()
    assert asked(director, request(4, "R")).departures == ()


@BOTH
def test_a_cut_header_cannot_be_translated_for_a_local_destination_either(version: int) -> None:
    director = made(version, "-m", server=end(version, "inside"))
    asked(director, request(version))
    cut = network(version, "client", "vip", **({"proto": 6} if version == 4 else {})) / Raw(
        bytes(request(version))[-20:-8]
    )
    if version == 6:
        cut[IPv6].nh = 6
    assert asked(director, cut).reason == "header_cut"


# Bypass


def bypassing() -> Director:
    marks = (
        "iptables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 1\n"
        "ip rule add fwmark 1 lookup 100\nip route add local 0.0.0.0/0 dev lo table 100\n"
    )
    return Director("-A -f 1 -s rr", marks=marks, sysctls={"cache_bypass": 1}, own=["192.168.1.1"])


def test_a_bypassed_packet_goes_where_its_sender_wanted_it() -> None:
    packet = network(4, "client", "203.0.113.9") / TCP(sport=40001, dport=80, flags="S")
    sent = network(4, "client", "203.0.113.9", 63) / TCP(sport=40001, dport=80, flags="S")
    answer = asked(bypassing(), packet)
    assert (answer.reason, answer.dest, only(answer)) == ("new", None, Departure("203.0.113.9", bytes(sent)))


def test_of_a_bypassed_packet_nobody_is_told_anything() -> None:
    packet = network(4, "client", "203.0.113.9") / TCP(sport=40001, dport=80, flags="S")
    packet.ttl = 1
    assert asked(bypassing(), packet).reason == "ttl_untold"
    assert asked(bypassing(), packet).departures == ()
    large = network(4, "client", "203.0.113.9") / TCP(sport=40001, dport=80, flags="S") / Raw(bytes(1461))
    answer = asked(bypassing(), large)
    assert (answer.reason, answer.departures) == ("mtu_untold", ())


# Answers of destinations with direct routing that the director sees


def test_a_packet_from_the_directors_own_address_is_a_martian() -> None:
    director = made(4, "-g")
    asked(director, request(4))
    back = network(4, "vip", "client") / TCP(sport=80, dport=40001, flags="SA")
    assert asked(director, back, end(4, "server")).reason == "martian_source"


@pytest.mark.parametrize(("version", "source"), [(4, "127.0.0.1"), (4, "224.0.0.1"), (6, "::1"), (6, "ff02::1")])
def test_nobody_outside_has_such_an_address(version: int, source: str) -> None:
    packet = network(version, source, "vip") / TCP(sport=40001, dport=80)
    assert asked(made(version, accept_local=True), packet).reason == "martian_source"


@BOTH
def test_with_accept_local_answers_are_forwarded_and_counted(version: int) -> None:
    director = made(version, "-g", accept_local=True)
    asked(director, request(version))
    back = network(version, "vip", "client", 64) / TCP(sport=80, dport=40001, flags="SA")
    answer = asked(director, back, end(version, "server"))
    forwarded = network(version, "vip", "client", 63) / TCP(sport=80, dport=40001, flags="SA")
    assert (answer.reason, only(answer)) == ("translated", Departure("clients", bytes(forwarded)))
    assert director.services()[0].counters.out_packets == 1


# ICMP errors


def error_about(
    version: int, packet: bytes, kind: str = "unreachable", src: str = "client", dst: str = "vip"
) -> Packet:
    head = network(version, src, dst, 64)
    v4 = {"unreachable": ICMP(type=3, code=1), "time": ICMP(type=11)}
    v6 = {"unreachable": ICMPv6DestUnreach(code=1), "time": ICMPv6TimeExceeded()}
    return head / (v4 if version == 4 else v6)[kind] / Raw(packet)


def opened(version: int, way: str = "-m", **options: Any) -> tuple[Director, bytes, bytes]:
    """A director with a connection; what the server got, and what the client got."""
    director = made(version, way, **options)
    inward = only(asked(director, request(version))).packet
    if way != "-m":
        return director, inward, bytes(network(version, "vip", "client") / TCP(sport=80, dport=40001, flags="SA"))
    back = network(version, "server", "client") / TCP(sport=8080, dport=40001, flags="SA")
    return director, inward, only(asked(director, back, end(version, "server"))).packet


# Pings


@BOTH
def test_the_director_answers_pings(version: int) -> None:
    director, _, _ = opened(version)
    ping = ICMP(id=1, seq=2) if version == 4 else ICMPv6EchoRequest(id=1, seq=2)
    pong = ICMP(type=0, id=1, seq=2) if version == 4 else ICMPv6EchoReply(id=1, seq=2)
    answer = asked(director, network(version, "client", "vip") / ping / Raw(b"abcde"))
    expected = network(version, "vip", "client", id=0, flags=0) / pong / Raw(b"abcde")
    assert (answer.reason, only(answer)) == ("other_protocol", Departure("clients", bytes(expected)))


@BOTH
def test_the_director_answers_nothing_else(version: int) -> None:
    director, _, _ = opened(version)
    ping = bytearray(
        bytes(network(version, "client", "vip") / (ICMP() if version == 4 else ICMPv6EchoRequest()) / Raw(b"abcd"))
    )
    ping[-1] ^= 1
    assert asked(director, bytes(ping)).departures == ()
    pong = ICMP(type=0) if version == 4 else ICMPv6EchoReply()
    assert asked(director, network(version, "client", "vip") / pong).departures == ()
    assert asked(director, network(version, "client", "vip", proto=2) / Raw(b"abc")).departures == ()  # IGMP, none


@BOTH
@pytest.mark.parametrize("transport", [TCP(dport=81), UDP(dport=81)])
def test_wrong_checksums_are_not_answered_unless_a_card_had_to_finish_them(version: int, transport: Packet) -> None:
    director = made(version)
    sent = bytes(network(version, "client", "vip") / transport / Raw(b"abcd"))
    answer = only(asked(director, sent))
    assert answer.to == "clients"
    begin = 20 if version == 4 else 40
    place = begin + (16 if TCP in transport else 6)
    wrong, unfinished = (bytearray(sent) for _ in range(2))
    wrong[place] ^= 1
    assert asked(director, bytes(wrong)).departures == ()
    ends = sent[12:20] if version == 4 else sent[8:40]
    pseudo_header = ends + bytes([0, 6 if TCP in transport else 17]) + (len(sent) - begin).to_bytes(2, "big")
    unfinished[place : place + 2] = (0xFFFF - checksum.full(pseudo_header)).to_bytes(2, "big")
    assert only(asked(director, bytes(unfinished))) == answer


# Fragments


@BOTH
def test_fragments_are_put_together_and_cut_again(version: int) -> None:
    director = made(version, "-m", "udp", 5353)
    query = bytes(network(version, "client", "vip", flags=0) / UDP(sport=5000, dport=53) / Raw(bytes(2500)))
    pieces = split(query, 1300)
    assert [asked(director, piece).reason for piece in pieces[:-1]] == ["fragment_kept"] * (len(pieces) - 1)
    answer = asked(director, pieces[-1])
    expected = network(version, "client", "server", 63, flags=0) / UDP(sport=5000, dport=5353) / Raw(bytes(2500))
    assert answer.reason == "new"
    assert [departure.packet for departure in answer.departures] == split(bytes(expected), len(pieces[0]))


def test_a_request_whose_fragments_must_not_be_cut_is_too_large() -> None:
    query = bytes(network(4, "client", "vip", flags=0) / UDP(sport=5000, dport=53) / Raw(bytes(2500)))
    director = made(4, "-m", "udp", 5353)
    for piece in split(query, 1300):
        packet = IP(piece)
        packet.flags |= "DF"
        answer = asked(director, fresh(packet))
    assert answer.reason == "mtu_exceeded"
    error = IP(only(answer).packet)
    assert (error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu, error.len) == (3, 4, 1500, 576)


@BOTH
def test_fragments_of_answers_are_put_together_too(version: int) -> None:
    director = made(version, "-m", "udp", 5353)
    asked(director, network(version, "client", "vip") / UDP(sport=5000, dport=53) / Raw(b"?"))
    answer = bytes(network(version, "server", "client", flags=0) / UDP(sport=5353, dport=5000) / Raw(bytes(2500)))
    pieces = split(answer, 1300)
    answers = [asked(director, piece, end(version, "server")) for piece in pieces]
    expected = network(version, "vip", "client", 63, flags=0) / UDP(sport=53, dport=5000) / Raw(bytes(2500))
    assert [departure.packet for departure in answers[-1].departures] == split(bytes(expected), len(pieces[0]))


@BOTH
def test_fragments_for_others_pass_if_ipvs_does_not_look(version: int) -> None:
    director = Director(own=[end(version, "inside")])
    piece = split(bytes(network(version, "client", "server", flags=0) / UDP() / Raw(bytes(2500))), 1300)[1]
    answer = asked(director, piece)
    assert (answer.reason, only(answer).to) == ("not_local", end(version, "server"))
    back = asked(
        director,
        split(bytes(network(version, "server", "client", flags=0) / UDP() / Raw(bytes(2500))), 1300)[1],
        "10.0.0.11",
    )
    assert (back.reason, only(back).to) == ("not_balanced", "clients")


def test_a_datagram_that_is_no_packet_is_dropped() -> None:
    director = made(4, "-m", "udp")
    first, last = split(bytes(network(4, "client", "vip", flags=0) / UDP(sport=1, dport=53) / Raw(bytes(1400))), 1300)
    assert asked(director, first).reason == "fragment_kept"
    assert asked(director, last).reason == "new"


# What 6.1.192 and 6.12.117 sent to a client whose SYN had no next hop; of IPv4 without IP id and header checksum.
NO_NEXT_HOP = {
    4: "45c000440000000040010000c0a80101cb0071090301fad50000000045000028000340003f063e11cb007109c0a8010a13890050"
    "00000000000000005002ffff9e4d0000",
    6: "6000000000443a4020010db800010000000000000000001020010db8000a0000000000000000000901033caf000000006000000000140"
    "63f20010db8000a0000000000000000000920010db80001000000000000000000101389005000000000000000005002ffff40740000",
}  # fmt: skip
CALLER = {4: "203.0.113.9", 6: "2001:db8:a::9"}
NEAR = {4: "192.168.1.1", 6: "2001:db8:1::1"}  # the director's address on the clients' side


def calling(version: int, port: int, flags: str = "S") -> bytes:
    packet = network(version, CALLER[version], "vip", id=3) / TCP(sport=port, dport=80, flags=flags, window=65535)
    return bytes(packet)


def edited(version: int, before: str) -> Director:
    """A director whose destination had another method than direct routing until one connection was there."""
    director = made(version, before, port=80, own=[NEAR[version]])
    director.receive(calling(version, 5000))
    edit_to_direct_routing(director, version)
    return director


def edit_to_direct_routing(director: Director, version: int) -> None:
    vip, server = (f"[{end(version, n)}]" if version == 6 else end(version, n) for n in ("vip", "server"))
    assert director.run(f"ipvsadm -e -t {vip}:80 -r {server}:80 -g").status == 0


@BOTH
@pytest.mark.parametrize("before", ["-m", "-i"])
def test_with_a_route_that_was_found_for_another_method_direct_routing_finds_no_next_hop(
    version: int, before: str
) -> None:
    director = edited(version, before)
    assert director.receive(calling(version, 5000, "A")).reason == "known"
    lost = director.receive(calling(version, 5001))
    assert (lost.verdict.name, lost.reason) == ("REJECT", "no_next_hop")
    (departure,) = lost.departures
    sent = departure.packet
    if version == 4:
        sent = sent[:4] + b"\0\0" + sent[6:10] + b"\0\0" + sent[12:]
    assert (departure.to, sent.hex()) == ("clients", NO_NEXT_HOP[version])


@BOTH
def test_a_route_that_was_found_for_direct_routing_serves_all(version: int) -> None:
    director = edited(version, "-m")
    assert director.receive(calling(version, 5001)).reason == "new"
    assert director.receive(calling(version, 5000, "A")).reason == "known"
    assert director.receive(calling(version, 5002)).reason == "new"


@BOTH
def test_any_edit_drops_the_route(version: int) -> None:
    director = edited(version, "-m")
    director.receive(calling(version, 5000, "A"))
    assert director.receive(calling(version, 5001)).reason == "no_next_hop"
    edit_to_direct_routing(director, version)
    assert director.receive(calling(version, 5001)).reason == "known"
