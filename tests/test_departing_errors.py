"""ICMP errors that pass a live director, byte by byte: scapy says what is right.

The rules: facts, packet-path.md section 14.
"""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Packet, Raw

from lbsim import Director
from lbsim.engine.lanes import Lane
from lbsim.live import Answer, Departure
from tests.test_departures import BOTH, asked, end, error_about, fresh, made, network, only, opened, request


@BOTH
@pytest.mark.parametrize("kind", ["unreachable", "time"])
def test_an_error_of_the_client_goes_to_the_server_with_its_ends(version: int, kind: str) -> None:
    director, _, got = opened(version)
    answer = asked(director, error_about(version, got, kind))
    was = network(version, "server", "client", 63) / TCP(sport=8080, dport=40001, flags="SA")
    was[TCP].chksum = (IP if version == 4 else IPv6)(got)[TCP].chksum  # stays
    expected = error_about(version, bytes(was), kind, dst="server")
    expected[0].ttl = expected[0].hlim = None
    expected = network(version, "client", "server", 63) / expected.payload
    assert (answer.verdict.name, answer.reason) == ("FORWARD", "icmp_to_dest")
    assert only(answer) == Departure(end(version, "server"), bytes(expected))
    assert director.services()[0].counters.in_packets == 2


@BOTH
@pytest.mark.parametrize("source", ["server", "router"])
def test_an_error_about_a_request_goes_to_the_client_from_the_virtual_address(version: int, source: str) -> None:
    director, got, _ = opened(version)
    answer = asked(director, error_about(version, got, src=source, dst="client"), end(version, source))
    was = request(version, ttl=63)
    was[TCP].chksum = (IP if version == 4 else IPv6)(got)[TCP].chksum  # stays
    expected = network(version, "vip", "client", 63) / error_about(version, bytes(was)).payload
    assert (answer.verdict.name, answer.reason) == ("FORWARD", "icmp_to_client")
    assert only(answer) == Departure("clients", bytes(expected))
    assert director.services()[0].counters.out_packets == 2


@BOTH
def test_an_error_with_a_wrong_checksum_is_dropped(version: int) -> None:
    director, inward, outward = opened(version)
    for quote, src, dst, via in [
        (outward, "client", "vip", "clients"),
        (inward, "server", "client", end(version, "server")),
    ]:
        broken = bytearray(bytes(error_about(version, quote, src=src, dst=dst)))
        broken[20 + 2 if version == 4 else 40 + 2] ^= 1
        assert asked(director, bytes(broken), via).reason == "icmp_checksum"


@BOTH
@pytest.mark.parametrize("way", ["-g", "-i"])
def test_not_over_nat_an_error_goes_the_way_of_its_packets(version: int, way: str) -> None:
    director, _, got = opened(version, way)
    error = error_about(version, got)
    expected = network(version, "client", "vip", 63) / error.payload
    answer = asked(director, error)
    assert (answer.reason, only(answer).to) == ("icmp_to_dest", end(version, "server"))
    inner = only(answer).packet[0 if way == "-g" else 20 if version == 4 else 40 :]
    assert inner == bytes(expected)


@BOTH
def test_an_error_to_a_local_destination_stays(version: int) -> None:
    director = made(version, "-m", server=end(version, "inside"))
    asked(director, request(version))
    answer = asked(
        director, error_about(version, bytes(network(version, "vip", "client") / TCP(sport=80, dport=40001)))
    )
    assert (answer.reason, answer.departures) == ("local_dest", ())


@BOTH
def test_an_error_about_nothing_known_stays_or_is_routed(version: int) -> None:
    director, _, _ = opened(version)
    other = bytes(network(version, "vip", "client") / TCP(sport=81, dport=1))
    assert asked(director, error_about(version, other)).reason == "icmp_unrelated"
    routed = asked(director, error_about(version, other, src="server", dst="client"), end(version, "server"))
    assert (routed.reason, only(routed).to) == ("no_connection", "clients")
    lone = Director(own=[end(version, "vip")])
    assert asked(lone, error_about(version, other)).reason == "ipvs_off"
    assert asked(lone, error_about(version, other, src="server", dst="client"), "10.0.0.11").reason == "not_balanced"


@BOTH
@pytest.mark.parametrize("quote", [b"", b"\x45\0", b"\x60" + bytes(50), bytes(IP() / UDP())[:20]])
def test_a_quote_that_says_nothing_is_no_ones(version: int, quote: bytes) -> None:
    director, _, _ = opened(version)
    assert asked(director, error_about(version, quote)).reason == "icmp_unrelated"


def test_an_error_about_a_later_fragment_is_no_ones() -> None:
    director, _, _ = opened(4)
    later = bytes(network(4, "vip", "client", frag=3) / TCP(sport=80, dport=40001))
    assert asked(director, error_about(4, later)).reason == "icmp_unrelated"


def test_an_error_that_is_forwarded_has_a_ttl() -> None:
    director, got, _ = opened(4)
    dying = network(4, "server", "client", 1) / ICMP(type=3, code=1) / Raw(got)
    assert asked(director, dying, end(4, "server")) == Answer(
        asked(director, dying).verdict.DROP, "ttl_untold", None, ()
    )


@BOTH
def test_an_error_to_the_virtual_address_may_die_of_its_ttl(version: int) -> None:
    director, _, got = opened(version)
    error = network(version, "client", "vip", 1) / error_about(version, got).payload
    answer = asked(director, error)
    assert (answer.verdict.name, answer.reason, answer.departures) == ("DROP", "ttl_untold", ())
    assert director.services()[0].counters.in_packets == 2


def error_about_request(version: int, source: str) -> Packet:
    kind = ICMP(type=3, code=1) if version == 4 else ICMPv6DestUnreach()
    return network(version, source, "client", flags=0) / kind / Raw(bytes(request(version))[:60])


@BOTH
@pytest.mark.parametrize("way", ["-g", "-i"])
@pytest.mark.parametrize("source", ["server", "router"])
def test_not_over_nat_errors_reach_the_client_as_they_are(version: int, way: str, source: str, lane: Lane) -> None:
    director = made(version, way, lane=lane)
    asked(director, request(version))
    error = bytearray(bytes(error_about_request(version, source)))
    for wrong in (0, 1):  # nor is the checksum looked at
        error[22 if version == 4 else 42] ^= wrong
        answer = asked(director, bytes(error), end(version, "server"))
        assert answer.reason == "icmp_to_client"
        sent = (IP if version == 4 else IPv6)(bytes(error))
        if version == 4:
            sent.ttl = 63
            del sent.chksum
        else:
            sent.hlim = 63
        assert only(answer).packet == bytes(sent)
    assert director.stats().total.out_packets == 2


def with_fragment_header(packet: bytes) -> bytes:
    """The IPv6 packet as its own only fragment."""
    length = int.from_bytes(packet[4:6], "big") + 8
    return (
        packet[:4]
        + length.to_bytes(2, "big")
        + bytes([44])
        + packet[7:40]
        + bytes([packet[6], *bytes(7)])
        + packet[40:]
    )


def test_a_fragment_header_that_is_not_needed_is_taken_off_before_ipvs() -> None:
    # 6.1.192 and 6.12.117 do so while there are services of IPv6: such an error is not dropped
    director, got, back = opened(6)
    for error, via in [
        (error_about(6, back), "clients"),
        (error_about(6, got, src="server", dst="client"), "fd00::11"),
    ]:
        before = director.stats().total
        plain = asked(director, bytes(error), via)
        between = director.stats().total
        assert asked(director, with_fragment_header(bytes(error)), via) == plain
        after = director.stats().total
        assert after.in_bytes - between.in_bytes == between.in_bytes - before.in_bytes
        assert after.out_bytes - between.out_bytes == between.out_bytes - before.out_bytes
    lone = Director("-A -t 192.168.1.10:80 -s rr")
    error = with_fragment_header(bytes(error_about(6, got, src="server", dst="client")))
    routed = only(asked(lone, error, "fd00::11")).packet
    assert routed == error[:7] + b"\x3f" + error[8:]


# schedule_icmp


def scheduling(config: str, **sysctls: int) -> Director:
    return Director(config, own=["10.0.0.1"], sysctls={"schedule_icmp": 1} | sysctls)


LONE = error_about(4, bytes(network(4, "vip", "client") / TCP(sport=80, dport=40001)))


def test_with_schedule_icmp_an_error_opens_a_connection() -> None:
    director = scheduling("-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m")
    assert (asked(director, LONE).reason, director.connections()[0].state) == ("icmp_to_dest", "NONE")
    assert director.services()[0].counters.connections == 1


@pytest.mark.parametrize(
    ("config", "sysctls", "error", "reason"),
    [
        ("-A -t 192.168.1.10:80 -s rr", {}, LONE, "no_dest_untold"),
        ("-A -t 192.168.1.10:81 -s rr", {}, LONE, "icmp_unrelated"),
        ("-A -t 192.168.1.10:80 -s rr", {"drop_packet": 3}, LONE, "drop_packet"),
        ("-A -t 192.168.1.10:21 -s rr -p", {}, LONE, "icmp_unrelated"),
        (
            "-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11 -m",
            {},
            error_about(4, bytes(network(4, "vip", "client") / TCP(sport=80, dport=20))),
            "icmp_unrelated",
        ),
        (
            "-A -t 192.168.1.10:21 -s rr -p",
            {},
            error_about(4, bytes(network(4, "vip", "client") / TCP(sport=2000, dport=40001))),
            "icmp_unrelated",
        ),
    ],
)
def test_an_error_that_opens_none(config: str, sysctls: dict[str, int], error: Packet, reason: str) -> None:
    director = scheduling(config, **sysctls)
    assert (asked(director, error).reason, director.connections()) == (reason, ())


def test_an_error_on_a_one_packet_service_leaves_no_entry() -> None:
    director = scheduling("-A -u 192.168.1.10:53 -s rr -o\n-a -u 192.168.1.10:53 -r 10.0.0.11 -m")
    error = error_about(4, bytes(network(4, "vip", "client") / UDP(sport=53, dport=5000)))
    assert (asked(director, error).reason, director.connections()) == ("icmp_to_dest", ())


# Errors about tunnels' packets


def about_tunnel(way: str, *, df: bool = True, mtu: int = 1300) -> tuple[Director, bytes]:
    """A director with a connection through a tunnel, and the error of a router on the way about a packet."""
    director = made(4, way)
    flags = "DF" if df else 0
    big = network(4, "client", "vip", flags=flags) / TCP(sport=40001, dport=80, flags="S") / Raw(bytes(1360))
    wrapped = only(asked(director, big)).packet
    kind = {"type": 3, "code": 4, "nexthopmtu": mtu} if mtu else {"type": 11}
    return director, bytes(network(4, "router", "inside") / ICMP(**kind) / Raw(wrapped[:548]))


@pytest.mark.parametrize(
    ("way", "front"),
    [("-i", 20), ("-i --tun-type gue --tun-port 6080", 32), ("-i --tun-type gre --tun-csum", 28),
     ("-i --tun-type gre --tun-nocsum", 24)],
)  # fmt: skip
def test_a_client_is_told_of_errors_about_its_packet_in_a_tunnel(way: str, front: int) -> None:
    director, error = about_tunnel(way)
    answer = asked(director, error)
    big = bytes(request(4, size=1360, ttl=63))[: 548 - front]
    told = IP(src=end(4, "vip"), dst=end(4, "client"), id=0, tos=0xC0)
    told /= ICMP(type=3, code=4, nexthopmtu=1500 - front)  # what was known before
    assert (answer.verdict.name, answer.reason) == ("FORWARD", "tunnel_error")
    assert only(answer) == Departure("clients", bytes(told / Raw(big)))
    counters = director.services()[0].counters  # what is passed on, and what is made
    assert (counters.out_packets, counters.out_bytes) == (2, len(big) + len(big) + 28)
    # the route is known to be narrower from now on
    again = IP(only(asked(director, request(4, "A", size=1360))).packet)
    assert again[ICMP].nexthopmtu == 1300 - front


def test_a_client_whose_packets_may_be_fragmented_is_not_told() -> None:
    director, error = about_tunnel("-i", df=False)
    assert (asked(director, error).reason, director.services()[0].counters.out_packets) == ("tunnel_noted", 0)


def test_other_errors_about_tunnels_are_passed_on_as_they_are() -> None:
    director, error = about_tunnel("-i", mtu=0)
    assert IP(only(asked(director, error)).packet)[ICMP].type == 11


def test_an_mtu_that_leaves_nothing_is_told_as_it_is() -> None:
    director, error = about_tunnel("-i", mtu=80)
    asked(director, error)
    assert IP(only(asked(director, error)).packet)[ICMP].nexthopmtu == 80


def test_an_error_about_a_tunnel_with_a_wrong_checksum_is_dropped() -> None:
    director, error = about_tunnel("-i")
    broken = error[:22] + bytes([error[22] ^ 1]) + error[23:]
    assert asked(director, broken).reason == "icmp_checksum"


def test_an_error_about_an_unknown_tunnel_is_no_ones() -> None:
    director, error = about_tunnel("-i")
    assert asked(made(4, "-i"), error).reason == "icmp_unrelated"
    elsewhere = IP(error)
    elsewhere.dst = end(4, "client")
    assert asked(director, fresh(elsewhere), end(4, "server")).reason == "no_connection"


@pytest.mark.parametrize(
    ("at", "value"),
    [(48 + 8, 0x20), (48 + 9, 0x29), (48 + 2, 0)],
    ids=["other version", "IPv6 inside", "other port"],
)
def test_gue_that_is_no_plain_gue_is_no_ones(at: int, value: int) -> None:
    director, error = about_tunnel("-i --tun-type gue --tun-port 6080")
    changed = error[:at] + bytes([value]) + error[at + 1 :]
    assert asked(director, changed).reason == "icmp_unrelated"


def test_gre_that_is_no_plain_gre_is_no_ones() -> None:
    director, error = about_tunnel("-i --tun-type gre --tun-nocsum")
    assert asked(director, error[:48] + b"\x20" + error[49:]).reason == "icmp_unrelated"  # with a key


def test_a_tunnels_packet_of_which_nothing_inside_is_quoted() -> None:
    director, error = about_tunnel("-i")
    short = network(4, "router", "inside") / ICMP(type=11) / Raw(error[28:48])
    assert asked(director, short).reason == "icmp_unrelated"
    later = bytearray(error)
    later[34:36] = b"\0\3"  # a later fragment of the tunnel's packet
    assert asked(director, bytes(later)).reason == "icmp_unrelated"
