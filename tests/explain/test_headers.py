"""How packets leave, in numbers: packet-path.md sections 13.2 to 13.5, 14 and 15."""

from __future__ import annotations

import pytest

from lbsim.engine.numbers import ICMP_ERROR, SCTP, TCP
from lbsim.engine.records import Outcome
from lbsim.explain.explaining import look_at
from lbsim.host import EngineHost
from lbsim.model.config import ip_address
from lbsim.model.explanation import Explanation, HeaderChange
from tests.explain.asking import VIP, config, explain_last, said
from tests.explain.test_facts import host_with, packet

CLIENT = "203.0.113.1:40001"
SYN = f"0 {CLIENT} > {VIP} tcp S ttl=50"


def header(found: Explanation) -> HeaderChange:
    assert found.header is not None
    return found.header


@pytest.mark.parametrize(
    ("dest", "checksums", "overhead"),
    [
        ("10.0.0.11", ("ip", "tcp"), 0),
        ("10.0.0.11:8080", ("ip", "tcp"), 0),
        ("10.0.0.11 -g", ("ip",), 0),
        ("10.0.0.11 -i", ("ip",), 20),
        ("10.0.0.11 -i --tun-type gue --tun-port 6080", ("ip",), 32),
    ],
)
def test_the_ttl_is_one_less_and_checksums_follow(dest: str, checksums: tuple[str, ...], overhead: int) -> None:
    found = explain_last(config("rr", dest), SYN)
    assert (header(found).ttl, header(found).checksums, header(found).overhead) == ((50, 49), checksums, overhead)
    several = "s of IP and TCP follow" if "tcp" in checksums else " of IP follows"
    assert f"TTL 50 becomes 49, and the checksum{several}" in said(found, "leaves")


def test_direct_routing_changes_nothing_else() -> None:
    assert said(explain_last(config("rr", "10.0.0.11 -g"), SYN), "leaves") == (
        f"It goes to 10.0.0.11 (direct routing) with the ends that it has: {CLIENT} > {VIP}. TTL 50 becomes 49, and "
        "the checksum of IP follows; nothing else changes."
    )


def test_a_tunnels_headers_are_told() -> None:
    assert said(explain_last(config("rr", "10.0.0.11 -i"), SYN), "leaves") == (
        f"It goes inside a packet to 10.0.0.11 (ipip tunnel), with the ends that it has: {CLIENT} > {VIP}. TTL 50 "
        "becomes 49, and the checksum of IP follows; nothing else inside changes. The headers in front take 20 bytes: "
        "they are from the director's own address that its routing takes for 10.0.0.11, and begin with the same TTL."
    )


def test_ipv6_has_no_checksum_of_its_own() -> None:
    text = "-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r [fd00::11]:80 {}"
    syn = "0 [2001:db8::9]:40001 > [2001:db8::1]:80 tcp S"
    over_nat, direct = (explain_last(text.format(method), syn) for method in ("-m", "-g"))
    assert (header(over_nat).checksums, header(direct).checksums) == (("tcp",), ())
    assert said(over_nat, "leaves").endswith("Hop limit 64 becomes 63, and the checksum of TCP follows.")
    assert said(direct, "leaves").endswith("Hop limit 64 becomes 63; nothing else changes.")


def test_udp_gets_a_checksum() -> None:
    text = "-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 10.0.0.11:53 -m"
    found = explain_last(text, f"0 {CLIENT} > 192.0.2.1:53 udp len=20")
    assert header(found).checksums == ("ip", "udp")
    words = "If its UDP checksum was 0, which means that it has none, it does not stay so: one is computed."
    assert said(found, "leaves").endswith(words)


@pytest.mark.parametrize(("port", "checksums"), [(80, ("ip",)), (81, ("ip", "sctp"))])
def test_sctp_counts_ports_only(port: int, checksums: tuple[str, ...]) -> None:
    host = host_with(f"-A --sctp-service {VIP} -s rr\n-a --sctp-service {VIP} -r 10.0.0.11:{port} -m")
    init = packet(host, "203.0.113.1", "192.0.2.1", proto=SCTP, tcp_flags=2)
    assert header(look_at(host, 0, 0, [init], [Outcome()])).checksums == checksums


def test_an_answer_lost_one_hop_to_the_router() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"{SYN}\n1 {VIP} > {CLIENT} tcp SA ttl=9")
    assert (header(found).ttl, header(found).checksums) == ((9, 8), ("ip", "tcp"))


def test_a_socket_of_the_director_gets_the_ttl_as_it_is() -> None:
    """Over NAT with another port alone, so that of TCP is the only checksum to change."""
    found = explain_last(config("rr", "192.0.2.1:8080"), SYN)
    assert (header(found).ttl, header(found).checksums) == ((50, 50), ("tcp",))
    found = explain_last(config("rr", "192.0.2.1 -g"), SYN)
    assert (header(found).ttl, header(found).checksums) == ((50, 50), ())


def error_about_answer(text: str, **fields: int) -> tuple[EngineHost, Explanation]:
    """An error from the client's network about an answer of a connection that is there."""
    host = host_with(text)
    look_at(host, 0, 0, [packet(host, "203.0.113.1", "192.0.2.1")], [Outcome()])
    quote = host.tables.quotes[1]
    quote.proto, quote.src, quote.sport = TCP, host.intern(ip_address("192.0.2.1")), 80
    quote.dst, quote.dport = host.intern(ip_address("203.0.113.1")), 40001
    host.tables.addresses[quote.src].local = fields.pop("local", 1)
    error = packet(host, "198.51.100.7", "192.0.2.1", proto=1, sport=0, dport=0, tcp_flags=0, shape=ICMP_ERROR, quote=1)
    return host, look_at(host, 1, 0, [error], [Outcome()])


@pytest.mark.parametrize(("local", "ttl"), [(1, 63), (2, 62)])
def test_an_error_over_nat_has_its_checksums_computed_anew(local: int, ttl: int) -> None:
    """Through the hook FORWARD, where only a routing rule makes the virtual address local, it loses two hops (6.1.192
    and 6.12.117).
    """
    _, found = error_about_answer(config("rr", "10.0.0.11"), local=local)
    assert (header(found).ttl, header(found).checksums) == ((64, ttl), ("ip", "quoted ip", "icmp"))
    words = f"TTL 64 becomes {ttl}, and the checksums of IP, the quoted packet's IP and ICMP follow."
    assert f"{words} The checksum of what the quoted packet carries stays." in said(found, "leaves")


@pytest.mark.parametrize("method", ["-g", "-i"])
def test_an_error_loses_two_hops_with_every_method(method: str) -> None:
    """As over NAT: 64 left as 62 in 6.1.192 and 6.12.117; the tunnel's own header had 62, too."""
    _, found = error_about_answer(config("rr", f"10.0.0.11 {method}"), local=2)
    assert header(found).ttl == (64, 62)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("-g", "The error goes to 10.0.0.11 (direct routing) with the ends that it has: 198.51.100.7 > 192.0.2.1."),
        ("-i", "The error goes inside a packet to 10.0.0.11 (ipip tunnel), with the ends that it has: 198.51.100.7 >"),
    ],
)
def test_an_error_goes_where_the_connection_goes(method: str, words: str) -> None:
    _, found = error_about_answer(config("rr", f"10.0.0.11 {method}"))
    assert (found.reason, header(found).ttl, header(found).checksums) == ("icmp_to_dest", (64, 63), ("ip",))
    assert said(found, "leaves").startswith(words)


def test_an_error_may_be_for_a_socket_of_the_director() -> None:
    _, found = error_about_answer(config("rr", "192.0.2.1 -g"))
    assert (found.verdict, said(found, "leaves")) == ("LOCAL", "A socket of the director gets it: as it is.")


def test_an_error_about_a_tunnels_packet_is_made_anew() -> None:
    """packet-path.md section 14: the new one has a TTL of 64, and is counted twice."""
    host = host_with(config("rr", "10.0.0.11 -i"))
    look_at(host, 0, 0, [packet(host, "203.0.113.1", "192.0.2.1")], [Outcome()])
    own = host.intern(ip_address("192.0.2.254"))
    host.own(ip_address("192.0.2.254"))
    quote = host.tables.quotes[1]
    quote.proto, quote.src, quote.sport = TCP, host.intern(ip_address("203.0.113.1")), 40001
    quote.dst, quote.dport, quote.outer = host.intern(ip_address("192.0.2.1")), 80, host.intern(ip_address("10.0.0.11"))
    quote.length = 40
    error = packet(host, "10.0.0.254", "192.0.2.254", proto=1, sport=0, dport=0, tcp_flags=0, shape=ICMP_ERROR, quote=1)
    assert error.dst == own
    error.ttl = 9
    found = look_at(host, 1, 0, [error], [Outcome()])
    assert (found.reason, header(found).ttl, header(found).checksums) == ("tunnel_error", (9, 64), ())
    words = "The director makes an error of the same kind about the packet inside the tunnel's, and sends it from "
    assert said(found, "leaves") == f"{words}192.0.2.1 to 203.0.113.1."
    assert "What is counted as out is the same error twice" in said(found, "counters")
