"""Every other reason with several cases: the verdict tells the one that holds, and what the sender is told."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from lbsim.config.marks import read_marks
from lbsim.engine.numbers import BY_ROUTING, CUT_HEADER, FRAGMENT, ICMP_ERROR, NO_PORTS, OUT, OWN, SCTP, TCP, UDP
from lbsim.engine.records import Outcome
from lbsim.engine.sctp_chunks import NO_CHUNK
from lbsim.explain import cause_words, causes
from lbsim.explain.explaining import look_at
from lbsim.host import EngineHost
from lbsim.model.config import ip_address
from lbsim.model.explanation import Cause, Explanation
from lbsim.model.verdict import reason_of
from tests.explain.asking import VIP, config, explain_last, said, timed
from tests.explain.test_causes import cause
from tests.explain.test_facts import host_with, packet

CLIENT = "203.0.113.1:40001"
SYN = f"0 {CLIENT} > {VIP} tcp S"
A, B = "10.0.0.11:80", "10.0.0.12:80"
V6 = "-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r [fd00::11]:80 {}"
V6_SYN = "0 [2001:db8::9]:40001 > [2001:db8::1]:80 tcp S"
FTP = "-A -t 192.0.2.1:21 -s rr{}\n-a -t 192.0.2.1:21 -r 10.0.0.11:21 -m{}"
ROUTED_HERE = read_marks(
    "ip rule add fwmark 1 lookup 100\nip route add local 0.0.0.0/0 dev lo table 100\n"
    "iptables -t mangle -A PREROUTING -d 192.0.2.0/24 -p tcp --dport 80 -j MARK --set-mark 1"
)
OWN_SOCKET = "A socket of the director gets the packet, "


def verdict(found: Explanation) -> str:
    """The sentences behind verdict, reason and destination."""
    return said(found, "verdict").partition(". ")[2]


def seen(host: EngineHost, one: Any) -> Explanation:
    return look_at(host, 0, 0, [one], [Outcome()])


def test_every_case_has_words() -> None:
    assert {reason_of(number).name for number in causes._CAUSES} == set(cause_words._WORDS)


# New entries and known ones: packet-path.md sections 2, 4.2, 4.3 and 11


def test_who_gave_the_destination_is_told() -> None:
    found = explain_last(config("rr", "10.0.0.11"), SYN)
    assert cause(found) == Cause(case="scheduler")
    assert verdict(found) == (
        "From a client: no entry matched, a service did, its scheduler gave a destination and an entry was made."
    )
    persistent = config("rr", "10.0.0.11").replace("-s rr", "-s rr -p 360")
    found = explain_last(persistent, f"{SYN}\n1 203.0.113.1:40002 > {VIP} tcp S")
    assert cause(found) == Cause(case="template")
    assert "its template had a destination" in verdict(found)
    assert "scheduler" not in verdict(found)


def bypass_host(*, ipv6: bool = False) -> EngineHost:
    """A service by mark without usable destination, and cache_bypass."""
    family, dest = ("-6", "[fd00::11]:80") if ipv6 else ("", "10.0.0.11:80")
    host = host_with(f"-A -f 7 -s rr {family}\n-a -f 7 {family} -r {dest} -m -w 0")
    host.tables.director[0].cache_bypass = 1
    return host


def test_an_entry_without_destination_is_told() -> None:
    """packet-path.md section 4.3: daddr 0.0.0.0 port 0, no dest; the packets go to where they are addressed."""
    host = bypass_host()
    syn, ack = (packet(host, "203.0.113.1", "198.51.100.1", mark=7, tcp_flags=flags) for flags in (2, 16))
    host.tables.addresses[syn.dst].local = BY_ROUTING
    first, second = seen(host, syn), seen(host, ack)
    assert [(one.reason, cause(one)) for one in (first, second)] == [
        ("new", Cause("bypass")),
        ("known", Cause("bypass")),
    ]
    assert verdict(first) == (
        "From a client: no entry matched, a service did, there was no destination, and with cache_bypass an entry "
        "without one was made: the packet goes on to its own target."
    )
    assert verdict(second) == (
        "From a client: an entry matched that has no destination (cache_bypass): the packet goes on to its own target."
    )
    words = "It has no destination: the packet goes on to its own target, and no scheduler is asked."
    assert said(second, "entry").endswith(words)
    assert "It says where the packet goes" not in said(second, "entry")
    for one in (first, second):
        assert "(cache_bypass)" in one.when or "with cache_bypass" in one.when


OPENED = f"{SYN}\n0.1 {VIP} > {CLIENT} tcp SA\n0.2 {CLIENT} > {VIP} tcp A"


@pytest.mark.parametrize(
    ("script", "commands", "case", "words"),
    [
        (
            f"{OPENED}\n1 {CLIENT} > {VIP} tcp R\n2 {CLIENT} > {VIP} tcp S",
            [],
            "finished",
            "a SYN matched an entry whose connection is finished, and with conn_reuse_mode it is given up",
        ),
        (
            f"{OPENED}\n1 {CLIENT} > {VIP} tcp S",
            [timed(0.5, f"ipvsadm -e -t {VIP} -r {B} -m -w 0")],
            "quiesced",
            "a SYN matched an entry whose destination has weight 0, and with expire_nodest_conn it is given up",
        ),
        (
            f"{OPENED}\n0.501 {CLIENT} > {VIP} tcp S",
            [timed(0.5, f"ipvsadm -d -t {VIP} -r {B}")],
            "removed",
            "the packet matched an entry whose destination was removed, and with expire_nodest_conn it is given up",
        ),
    ],
)
def test_why_the_old_entry_was_given_up(script: str, commands: list[Any], case: str, words: str) -> None:
    dests = ("10.0.0.11", "10.0.0.12")
    found = explain_last(config("rr", *dests), script, timeline=commands, sysctls={"expire_nodest_conn": 1})
    assert (found.reason, cause(found)) == ("rescheduled", Cause(case=case))
    then = "then its scheduler gave a destination and an entry was made."
    assert verdict(found) == f"From a client: {words}; {then}"


def test_a_udp_packet_gives_up_an_entry_of_a_removed_destination() -> None:
    """packet-path.md section 2: for that no packet must begin a connection."""
    text = "-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 10.0.0.11:53 -m\n-a -u 192.0.2.1:53 -r 10.0.0.12:53 -m"
    script = f"0 {CLIENT} > 192.0.2.1:53 udp len=20\n0.501 {CLIENT} > 192.0.2.1:53 udp len=20"
    remove = timed(0.5, "ipvsadm -d -u 192.0.2.1:53 -r 10.0.0.12:53")
    found = explain_last(text, script, timeline=[remove], sysctls={"expire_nodest_conn": 1})
    assert (found.reason, cause(found).case, found.dest) == ("rescheduled", "removed", "10.0.0.11:53")
    assert "SYN" not in verdict(found)


def test_a_template_may_be_what_gives_the_new_destination() -> None:
    """packet-path.md sections 2 and 9: weight 0 gives up the entry, but not the template."""
    text = config("rr", "10.0.0.11", "10.0.0.12").replace("-s rr", "-s rr -p 360")
    edit = timed(0.5, f"ipvsadm -e -t {VIP} -r {B} -m -w 0")
    script = f"{OPENED}\n1 {CLIENT} > {VIP} tcp S"
    found = explain_last(text, script, timeline=[edit], sysctls={"expire_nodest_conn": 1})
    assert (found.reason, found.dest, found.decision) == ("rescheduled", B, None)
    assert verdict(found).endswith("then its template had a destination and an entry was made.")


# How entries' packets go: packet-path.md sections 12 to 15


def test_an_answer_over_nat_gets_another_source() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"{SYN}\n1 {VIP} > {CLIENT} tcp SA")
    assert (found.reason, cause(found)) == ("translated", Cause(case="masq"))
    assert verdict(found).endswith("the source is rewritten to the virtual service.")


def test_an_answer_that_is_not_over_nat_has_its_source() -> None:
    found = explain_last(config("rr", "192.0.2.1 -g"), f"{SYN}\n1 {VIP} > {CLIENT} tcp SA")
    assert (found.reason, cause(found)) == ("translated", Cause(case="as it is"))
    assert verdict(found).endswith("it is not over NAT, so the source is the virtual service already.")


@pytest.mark.parametrize(
    ("dest", "how"),
    [("192.0.2.1:8080", "with the destination end, as it is over NAT;"), ("192.0.2.1 -g", "as it is;")],
)
def test_how_a_socket_of_the_director_gets_it(dest: str, how: str) -> None:
    first = explain_last(config("rr", dest), SYN)
    second = explain_last(config("rr", dest), f"{SYN}\n1 {CLIENT} > {VIP} tcp A")
    assert (first.reason, second.reason) == ("local_new", "local_dest")
    assert "the packet made an entry whose destination is an address of the director" in verdict(first)
    assert "the entry's destination is an address of the director" in verdict(second)
    for found in (first, second):
        assert f"{OWN_SOCKET}{how}" in verdict(found)


def quoting(host: EngineHost, src: str, sport: int, dst: str, dport: int) -> None:
    quote = host.tables.quotes[1]
    quote.proto, quote.src, quote.sport = TCP, host.intern(ip_address(src)), sport
    quote.dst, quote.dport = host.intern(ip_address(dst)), dport


def error(host: EngineHost, src: str, dst: str, **fields: int) -> Any:
    found = packet(host, src, dst, proto=1, sport=0, dport=0, tcp_flags=0, shape=ICMP_ERROR, quote=1)
    for name, value in fields.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("", "it goes to the entry's destination, over NAT with the destination end in the quoted packet, too."),
        ("-g", "it goes to the entry's destination as it is."),
    ],
)
def test_where_an_error_about_an_answer_goes(method: str, words: str) -> None:
    host = host_with(config("rr", f"10.0.0.11 {method}"))
    seen(host, packet(host, "203.0.113.1", "192.0.2.1"))
    quoting(host, "192.0.2.1", 80, "203.0.113.1", 40001)
    found = seen(host, error(host, "198.51.100.7", "192.0.2.1"))
    assert (found.reason, verdict(found)) == ("icmp_to_dest", f"An ICMP error about an answer of an entry: {words}")


def test_an_error_that_makes_an_entry_says_so() -> None:
    host = host_with(config("rr", "10.0.0.11"))
    host.tables.director[0].schedule_icmp = 1
    quoting(host, "192.0.2.1", 80, "203.0.113.1", 40001)
    found = seen(host, error(host, "198.51.100.7", "192.0.2.1"))
    assert found.reason == "icmp_to_dest"
    assert "of an entry, which it made itself (schedule_icmp): it goes to" in verdict(found)


def test_an_error_that_the_director_was_forwarding() -> None:
    host = host_with(config("rr", "10.0.0.11"))
    seen(host, packet(host, "203.0.113.1", "192.0.2.1"))
    quoting(host, "192.0.2.1", 80, "203.0.113.1", 40001)
    row = host.tables.addresses[host.intern(ip_address("192.0.2.1"))]
    for local, case, why in (
        (BY_ROUTING, "by mark", "is the director's for packets with a mark only"),
        (0, "not local", "is not the director's"),
    ):
        row.local = local
        found = seen(host, error(host, "198.51.100.7", "192.0.2.1"))
        assert (found.reason, cause(found)) == ("icmp_routed", Cause(case=case))
        assert f"as its target {why}: its TTL is lowered twice." in verdict(found)


@pytest.mark.parametrize(
    ("dest", "words"),
    [("10.0.0.11", "from the virtual address, with the virtual end"), ("10.0.0.11 -g", "as it is, for its entry is")],
)
def test_how_an_error_goes_to_the_client(dest: str, words: str) -> None:
    host = host_with(config("rr", dest))
    seen(host, packet(host, "203.0.113.1", "192.0.2.1"))
    quoting(host, "203.0.113.1", 40001, "192.0.2.1" if "-g" in dest else "10.0.0.11", 80)
    found = seen(host, error(host, "10.0.0.254", "203.0.113.1", direction=OUT))
    assert (found.reason, f"it goes to the client, {words}" in verdict(found)) == ("icmp_to_client", True)


# What opens no connection: packet-path.md sections 3, 4 and 20


@pytest.mark.parametrize(
    ("service", "protocol", "answer"),
    [
        ("-t", "tcp S", "RST"),
        ("-u", "udp len=20", "port unreachable (ICMP 3/3)"),
        ("--sctp-service", "sctp INIT", "protocol unreachable (ICMP 3/2)"),
    ],
)
def test_what_a_client_with_ftps_port_gets(service: str, protocol: str, answer: str) -> None:
    text = f"-A {service} {VIP} -s rr\n-a {service} {VIP} -r 10.0.0.11:80 -m"
    found = explain_last(text, f"0 203.0.113.1:20 > {VIP} {protocol}")
    assert (found.reason, cause(found)) == ("ftp_data_source", Cause(case=protocol.partition(" ")[0], answer=answer))
    assert (
        f"The director's own stack gets the packet, and answers with {'a ' * (answer == 'RST')}{answer}, "
        in verdict(found)
    )


def test_from_an_address_that_is_only_routed_here_nothing_is_answered() -> None:
    """packet-path.md section 4.3: over IPv4 the answer finds no valid source address."""
    text = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.11 -g"
    for script, reason in (
        (f"0 203.0.113.1:20 > {VIP} tcp S", "ftp_data_source"),
        (f"0 {CLIENT} > {VIP} tcp A", "not_syn"),
    ):
        found = explain_last(text, script, marks=ROUTED_HERE)
        assert (found.reason, cause(found).answer) == (reason, "")
        assert verdict(found).endswith("and that is not its own.")
        assert "RST" not in verdict(found)


@pytest.mark.parametrize(
    ("text", "case", "why"),
    [
        (FTP.format("", ""), "not persistent", "that service is not persistent"),
        (FTP.format(" -p 360", " -w 0"), "no destination", "that service has no usable destination"),
    ],
)
@pytest.mark.parametrize("port", [20, 1024])
def test_why_ftp_takes_no_other_port(text: str, case: str, why: str, port: int) -> None:
    found = explain_last(text, f"0 {CLIENT} > 192.0.2.1:{port} tcp S")
    assert (found.reason, cause(found)) == ("ftp_no_dest", Cause(case=case, answer="RST"))
    assert f"to port 20 or one from 1024 on, which only the service of FTP (port 21) takes: {why}" in verdict(found)
    assert "answers with a RST" in verdict(found)


@pytest.mark.parametrize("port", [20, 1024, 65535])
def test_ftp_takes_port_20_and_those_from_1024_on(port: int) -> None:
    found = explain_last(FTP.format(" -p 360", ""), f"0 {CLIENT} > 192.0.2.1:{port} tcp S")
    assert found.service is not None
    assert found.service.how == "ftp"
    assert "takes port 20 and those from 1024 on, as FTP sends its data there." in said(found, "service")
    assert "high port" not in said(found, "service")


def test_why_nobody_is_told_that_there_is_no_destination() -> None:
    text = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.11 -g -w 0"
    found = explain_last(text, SYN, marks=ROUTED_HERE)
    assert (found.reason, cause(found)) == ("no_dest_untold", Cause(case="routing rule"))
    assert "only a routing rule brought the packet" in verdict(found)
    host = host_with(config("rr", "10.0.0.11 -w 0"))
    host.tables.director[0].schedule_icmp = 1
    quoting(host, "192.0.2.1", 80, "203.0.113.1", 40001)
    found = seen(host, error(host, "198.51.100.7", "192.0.2.1"))
    assert (found.reason, cause(found)) == ("no_dest_untold", Cause(case="error"))
    assert verdict(found).endswith("No error is sent about an error.")


def syns(count: int) -> str:
    return "\n".join(f"{i} 203.0.113.{i + 1}:40000 > {VIP} tcp S" for i in range(count))


@pytest.mark.parametrize(
    ("rate", "packets", "case", "words"),
    [  # the first one, then each third: 1, 4, 7
        (3, 1, "first", "of such packets the first one is dropped, and it is this."),
        (
            3,
            4,
            "turn",
            "of such packets the 3rd after the last one dropped is dropped, as am_droprate was then, and it is this.",
        ),
        (1, 2, "turn", "each one is dropped"),
    ],
)
def test_whose_turn_it_was_to_be_dropped(rate: int, packets: int, case: str, words: str) -> None:
    sysctls = {"drop_packet": 3, "am_droprate": rate}
    found = explain_last(config("rr", "10.0.0.11"), syns(packets), sysctls=sysctls)
    assert (found.reason, cause(found)) == ("drop_packet", Cause(case=case, every=rate))
    assert words in verdict(found)
    assert verdict(found).endswith("The sender is told nothing.")


@pytest.mark.parametrize(
    ("number", "name"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (10, "10th"), (11, "11th"), (22, "22nd"), (113, "113th")]
)
def test_ordinals(number: int, name: str) -> None:
    assert cause_words._ordinal(number) == name


@pytest.mark.parametrize(
    ("proto", "shape", "flags", "case", "words"),
    [
        (TCP, CUT_HEADER, 2, "header", "The TCP header is not complete: it has 20 bytes."),
        (UDP, CUT_HEADER, 0, "header", "The UDP header is not complete: it has 8 bytes."),
        (TCP, NO_PORTS, 0, "ports", "it has 20 bytes, and not even the ports can be read."),
        (SCTP, 0, NO_CHUNK, "chunk", "Behind the SCTP header the first chunk's is not complete: it has 4 bytes"),
    ],
)
def test_which_header_is_cut(proto: int, shape: int, flags: int, case: str, words: str) -> None:
    host = host_with(config("rr", "10.0.0.11"))
    found = seen(host, packet(host, "203.0.113.1", "192.0.2.1", proto=proto, shape=shape, tcp_flags=flags))
    assert (found.reason, cause(found)) == ("header_cut", Cause(case=case))
    assert words in verdict(found)


# From real servers: packet-path.md sections 1 and 12


def refused(server: str, target: str) -> Explanation:
    """A server's packet that belongs to no entry, with nat_icmp_send."""
    host = host_with(f"{config('rr', '10.0.0.11')}\n{V6.format('-m')}")
    host.tables.director[0].nat_icmp_send = 1
    sent = packet(host, server, target, sport=80, dport=9, tcp_flags=16)
    sent.direction = OUT
    return seen(host, sent)


@pytest.mark.parametrize(
    ("target", "case", "also"), [("203.0.113.77", "forwarded", False), ("192.0.2.1", "to the director", True)]
)
def test_what_a_refused_server_is_told(target: str, case: str, also: bool) -> None:
    found = refused("10.0.0.11", target)
    assert (found.reason, cause(found)) == ("server_refused", Cause(case, answer="port unreachable (ICMP 3/3)"))
    assert "10.0.0.11:80 is the address and port of a destination over NAT" in verdict(found)
    assert ("also of what is for the director itself" in verdict(found)) == also
    assert verdict(found).endswith("The director answers with port unreachable (ICMP 3/3).")


def test_over_ipv6_the_error_has_another_number() -> None:
    assert cause(refused("fd00::11", "2001:db8::77")).answer == "port unreachable (ICMPv6 1/4)"


def test_what_belongs_to_no_entry_is_routed() -> None:
    host = host_with(config("rr", "10.0.0.11"))
    answer = packet(host, "10.0.0.11", "203.0.113.1", sport=80, dport=40001, tcp_flags=16)
    answer.direction = OUT
    found = seen(host, answer)
    assert (found.reason, cause(found)) == ("no_connection", Cause(case="real server"))
    quoting(host, "203.0.113.1", 40001, "10.0.0.11", 80)
    found = seen(host, error(host, "10.0.0.254", "203.0.113.1", direction=OUT))
    assert (found.reason, cause(found)) == ("no_connection", Cause(case="error"))
    assert "real server" not in verdict(found)
    own = packet(host, "192.0.2.1", "203.0.113.9")
    own.direction = OWN
    found = seen(host, own)
    assert (found.reason, cause(found)) == ("no_connection", Cause(case="director"))
    assert verdict(found).startswith("From a program on the director: IPVS does not take it")


def test_why_a_servers_packet_is_not_looked_at() -> None:
    host = host_with(config("rr", "10.0.0.11"))
    for src, dst, proto, case, words in (
        ("10.0.0.11", "203.0.113.1", 47, "protocol", "none of TCP, UDP, SCTP, AH and ESP"),
        ("fd00::11", "2001:db8::9", TCP, "no service", "there is no service of IPv6"),
    ):
        answer = packet(host, src, dst, proto=proto)
        answer.direction = OUT
        found = seen(host, answer)
        assert (found.reason, cause(found)) == ("not_balanced", Cause(case=case))
        assert words in verdict(found)


# On the way: packet-path.md sections 13.1, 13.2, 13.4 and 15


def test_wrong_way_to_a_loopback_address() -> None:
    found = explain_last(config("rr", "127.0.0.5"), SYN)
    assert (found.reason, cause(found)) == ("wrong_way", Cause(case="to loopback", target="127.0.0.5"))
    assert verdict(found) == (
        "The entry's destination is 127.0.0.5, a loopback address, and over NAT: that cannot be reached from outside. "
        "The sender is told nothing."
    )


def test_wrong_way_from_a_loopback_address() -> None:
    host = host_with(config("rr", "10.0.0.11"))
    own = packet(host, "127.0.0.1", "192.0.2.1")
    own.direction = OWN
    found = seen(host, own)
    assert (found.reason, cause(found)) == ("wrong_way", Cause(case="from loopback", target="127.0.0.1"))
    assert verdict(found).startswith("The packet comes from 127.0.0.1, a loopback address")
    assert "cannot be reached" not in verdict(found)


def test_wrong_way_of_an_entry_without_destination() -> None:
    host = bypass_host(ipv6=True)
    host.own(ip_address("2001:db8::1"))
    found = seen(host, packet(host, "2001:db8::9", "2001:db8::1", mark=7))
    assert (found.reason, cause(found)) == ("wrong_way", Cause(case="bypass", target="2001:db8::1"))
    assert verdict(found).startswith("The entry has no destination (cache_bypass)")


@pytest.mark.parametrize(
    ("src", "dst", "far", "case", "answer"),
    [
        ("203.0.113.1", "192.0.2.1", "10.0.0.11", "ipvs", "host unreachable (ICMP 3/1)"),
        ("2001:db8::9", "2001:db8::1", "fd00::11", "ipvs", "address unreachable (ICMPv6 1/3)"),
        ("203.0.113.1", "198.51.100.1", "198.51.100.1", "router", "network unreachable (ICMP 3/0)"),
        ("2001:db8::9", "2001:db8::99", "2001:db8::99", "router", "no route to destination (ICMPv6 1/0)"),
    ],
)
def test_where_there_is_no_route_to(src: str, dst: str, far: str, case: str, answer: str) -> None:
    """IPVS says that the host cannot be reached, a router that it has no route."""
    host = host_with(f"{config('rr', '10.0.0.11')}\n{V6.format('-m')}")
    sent = packet(host, src, dst)
    host.tables.addresses[host.intern(ip_address(far))].no_route = 1
    host.tables.director[0].plain_length = 0  # so that every packet's way is looked at
    found = seen(host, sent)
    assert (found.reason, cause(found)) == ("no_route", Cause(case=case, target=far, answer=answer))
    assert verdict(found).startswith(f"There is no route to {far}.")
    assert ("before IPVS saw the packet" in verdict(found)) == (case == "router")
    assert verdict(found).endswith(f"The director answers with {answer}.")


@pytest.mark.parametrize(
    ("text", "script", "net", "mtu", "overhead", "least"),
    [
        (config("rr", "10.0.0.11 -i"), SYN, "10.0.0.11", 87, 20, "68 bytes that every link of IPv4"),
        (V6.format("-i"), V6_SYN, "fd00::11", 1300, 40, "1,280 bytes that every link of IPv6"),
    ],
)
def test_a_tunnel_that_is_too_narrow(text: str, script: str, net: str, mtu: int, overhead: int, least: str) -> None:
    """87 - 20 = 67 is less than 68, 1300 - 40 = 1260 less than 1280."""
    found = explain_last(text, script, mtu={ip_network(net): mtu})
    assert (found.reason, cause(found)) == ("too_narrow", Cause("ipvs", net, mtu, overhead, mtu - overhead))
    assert (
        f"an MTU of {mtu:,} bytes, and the tunnel's headers take {overhead} of them: {mtu - overhead:,} are left"
        in (verdict(found))
    )
    assert f"That is less than the {least} carries." in verdict(found)


# What the IP layer keeps


@pytest.mark.parametrize(
    ("src", "dst", "reason", "case"),
    [
        ("192.0.2.1", "192.0.2.1", "martian_source", "own"),
        ("0.0.0.0", "192.0.2.1", "martian_source", "nobody"),
        ("127.0.0.1", "192.0.2.1", "martian_source", "loopback"),
        ("224.0.0.1", "192.0.2.1", "martian_source", "multicast"),
        ("255.255.255.255", "192.0.2.1", "martian_source", "broadcast"),
        ("203.0.113.1", "0.0.0.0", "martian_target", "nobody"),
        ("203.0.113.1", "127.0.0.1", "martian_target", "loopback"),
        ("203.0.113.1", "224.0.0.1", "not_unicast", "multicast"),
        ("203.0.113.1", "255.255.255.255", "not_unicast", "broadcast"),
    ],
)
def test_which_address_is_odd(src: str, dst: str, reason: str, case: str) -> None:
    host = host_with(config("rr", "10.0.0.11"))
    found = seen(host, packet(host, src, dst))
    odd = src if reason == "martian_source" else dst
    assert (found.reason, cause(found)) == (reason, Cause(case=case, target=odd))
    assert f"{odd}, {cause_words.ODD[case]}" in verdict(found)


@pytest.mark.parametrize(("dst", "most"), [("192.0.2.1", "IPv4"), ("2001:db8::1", "IPv6")])
def test_how_long_a_fragment_is_kept(dst: str, most: str) -> None:
    """30 s over IPv4, 60 s over IPv6: the kernel's defaults of ipfrag_time and ip6frag_time."""
    host = host_with(f"{config('rr', '10.0.0.11')}\n{V6.format('-m')}")
    src = "203.0.113.1" if most == "IPv4" else "2001:db8::9"
    found = seen(host, packet(host, src, dst, shape=FRAGMENT))
    assert (found.reason, cause(found)) == ("fragment_kept", Cause(case=most))
    assert f"at most for {30 if most == 'IPv4' else 60} s." in verdict(found)


# Port 0: packet-path.md sections 5.2 and 24


def test_a_client_with_port_0_never_finds_its_entry() -> None:
    script = f"0 203.0.113.1:0 > {VIP} tcp S\n1 203.0.113.1:0 > {VIP} tcp {{}}"
    again = explain_last(config("rr", "10.0.0.11"), script.format("S"))
    assert said(again, "entry").startswith(
        "No entry matches: one with client port 0 never does, so each packet from there makes another one. A new one"
    )
    ack = explain_last(config("rr", "10.0.0.11"), script.format("A"))
    words = "The connection table has no entry for the packet that matches: one with client port 0 never does."
    assert (ack.reason, said(ack, "entry")) == ("not_syn", words)


def test_other_clients_and_protocols_without_ports_are_not_told_so() -> None:
    assert said(explain_last(config("rr", "10.0.0.11"), SYN), "entry").startswith("No entry matches. A new one")
    host = host_with(V6.format("-m"))
    host.own(ip_address("2001:db8::1"))
    no_ike = seen(host, packet(host, "2001:db8:1:2:3:4:5:0", "2001:db8::1", proto=51, sport=0, dport=0, tcp_flags=0))
    assert said(no_ike, "entry") == "The connection table has no entry for the packet."
