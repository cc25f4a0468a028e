"""Reasons that have several cases or a limit: an explanation says which one holds, and what the sender is told."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from lbsim.config.marks import read_marks
from lbsim.explain.words import headline
from lbsim.model.explanation import Cause, Explanation
from tests.explain.asking import VIP, config, explain_last, said

CLIENT = "203.0.113.1:40001"
SYN = f"0 {CLIENT} > {VIP} tcp S"
SCTP = "-A --sctp-service 192.0.2.1:80 -s rr\n-a --sctp-service 192.0.2.1:80 -r 10.0.0.11:80 -m"
RULES = "iptables -P FORWARD {}\niptables -A FORWARD -i eth1 -s 10.0.0.11 -j {}\n"


def cause(found: Explanation) -> Cause:
    assert found.cause is not None
    return found.cause


def test_a_reason_with_one_case_needs_no_cause() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"0 {CLIENT} > 192.0.2.1:81 tcp S")
    assert (found.reason, found.cause) == ("no_service", None)
    assert found.when in said(found, "verdict")


# What opens no connection: packet-path.md sections 4.1 and 4.4


@pytest.mark.parametrize(
    ("flags", "case", "answer", "words"),
    [
        ("A", "no syn", "RST", "only a SYN opens a connection: the packet is none."),
        ("R", "rst", "", "a RST opens no connection. The director's own stack gets the packet, and answers nothing"),
        ("RA", "rst", "", "a RST opens no connection."),
        ("SR", "rst", "", "a RST opens no connection."),
    ],
)
def test_what_is_no_syn(flags: str, case: str, answer: str, words: str) -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"0 {CLIENT} > {VIP} tcp {flags}")
    assert (found.reason, cause(found)) == ("not_syn", Cause(case=case, answer=answer))
    assert words in said(found, "verdict")
    assert ("answers with a RST" in said(found, "verdict")) == (answer == "RST")
    assert "SCTP" not in said(found, "verdict")


def test_a_syn_with_rst_may_give_up_an_entry_and_open_none() -> None:
    """packet-path.md sections 2 and 4.1: the SYN alone decides about the old entry, the RST about a new one."""
    script = f"{SYN}\n1 {CLIENT} > {VIP} tcp SA\n2 {CLIENT} > {VIP} tcp A\n3 {CLIENT} > {VIP} tcp R"
    found = explain_last(config("rr", "10.0.0.11"), f"{script}\n4 {CLIENT} > {VIP} tcp SR")
    assert (found.reason, found.given_up_why, cause(found).case) == ("not_syn", "finished", "rst")
    assert "Its entry is given up, and a RST opens no connection." in said(found, "verdict")


@pytest.mark.parametrize(("chunk", "case"), [("DATA", "no init"), ("ABORT", "abort")])
def test_what_is_no_init(chunk: str, case: str) -> None:
    """As observed without the module sctp: protocol unreachable, as of every protocol that nobody knows."""
    found = explain_last(SCTP, f"0 {CLIENT} > {VIP} sctp {chunk}")
    assert (found.reason, cause(found).case) == ("not_syn", case)
    assert cause(found).answer == "protocol unreachable (ICMP 3/2)"
    assert "TCP" not in said(found, "verdict")


# TTL: packet-path.md sections 12 and 13.1


@pytest.mark.parametrize("method", ["", "-g", "-i"])
def test_a_ttl_that_is_used_up_on_the_way_in(method: str) -> None:
    found = explain_last(config("rr", f"10.0.0.11 {method}"), f"{SYN} ttl=1")
    assert (found.reason, cause(found)) == ("ttl_exceeded", Cause(case="ipvs", answer="time exceeded (ICMP 11/0)"))
    assert said(found, "verdict") == (
        "REJECT, reason ttl_exceeded, destination 10.0.0.11:80. The packet came with a TTL of 1, so no router may send "
        "it on. IPVS found that on the way to the destination: the packet was counted and its entry updated all the "
        "same. The director answers with time exceeded (ICMP 11/0)."
    )


def test_nobody_is_told_whose_packet_only_a_routing_rule_brought() -> None:
    """packet-path.md section 4.3; seen on 6.1.192 and 6.12.117, for TTLs and MTUs alike."""
    marks = read_marks(
        "ip rule add fwmark 1 lookup 100\nip route add local 0.0.0.0/0 dev lo table 100\n"
        "iptables -t mangle -A PREROUTING -d 192.0.2.0/24 -p tcp --dport 80 -j MARK --set-mark 1"
    )
    text = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.11 -g"
    found = explain_last(text, f"{SYN} ttl=1", marks=marks)
    assert (found.verdict, found.reason, cause(found)) == ("DROP", "ttl_untold", Cause(case="ipvs"))
    assert said(found, "verdict").endswith("and that is not its own.")
    assert [one for one in found.counters if one.counter == "out_packets"] == []
    script = f"{SYN}\n1 {CLIENT} > {VIP} tcp A len=1400"
    found = explain_last(text, script, marks=marks, mtu={ip_network("10.0.0.11"): 1400})
    assert (found.reason, cause(found)) == ("mtu_untold", Cause("ipvs", "10.0.0.11", 1400, 0, 1400))
    assert "Nobody is told" in said(found, "verdict")


def test_a_ttl_that_is_used_up_on_the_way_back() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"{SYN}\n1 {VIP} > {CLIENT} tcp SA ttl=1")
    assert (found.reason, cause(found).case, found.counters) == ("ttl_exceeded", "router", ())
    assert "before IPVS saw the packet: nothing is counted" in said(found, "verdict")


def test_ipv6_has_a_hop_limit() -> None:
    text = "-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r [fd00::11]:80 -m"
    found = explain_last(text, "0 [2001:db8::9]:40001 > [2001:db8::1]:80 tcp S ttl=1")
    assert "a hop limit of 1" in said(found, "verdict")
    assert cause(found).answer == "time exceeded (ICMPv6 3/0)"


# MTU: packet-path.md section 13.4, overheads 20 (IPIP), 32 (GUE), 24 (GRE), 28 with its checksum


def too_large(method: str, **options: Any) -> Explanation:
    script = f"{SYN}\n1 {CLIENT} > {VIP} tcp A len=1400"
    return explain_last(config("rr", f"10.0.0.11 {method}"), script, mtu={ip_network("10.0.0.11"): 1400}, **options)


@pytest.mark.parametrize(
    ("method", "overhead"),
    [
        ("", 0),
        ("-g", 0),
        ("-i", 20),
        ("-i --tun-type gue --tun-port 6080", 32),
        ("-i --tun-type gre --tun-nocsum", 24),
        ("-i --tun-type gre --tun-csum", 28),
    ],
)
def test_a_packet_that_does_not_fit(method: str, overhead: int) -> None:
    found = too_large(method)
    told = Cause("ipvs", "10.0.0.11", 1400, overhead, 1400 - overhead, answer="fragmentation needed (ICMP 3/4)")
    assert (found.reason, cause(found)) == ("mtu_exceeded", told)
    words = said(found, "verdict")
    assert "The packet has 1,440 bytes, and must not be sent in fragments." in words
    assert "The route to 10.0.0.11 has an MTU of 1,400 bytes" in words
    assert (f"the tunnel's headers take {overhead} of them: {1400 - overhead:,} are left." in words) == (overhead > 0)
    assert words.endswith(f"which tells {1400 - overhead:,} bytes as what fits.")


def test_an_answer_that_does_not_fit() -> None:
    script = f"{SYN}\n1 {VIP} > {CLIENT} tcp SA len=1400"
    found = explain_last(config("rr", "10.0.0.11"), script, mtu={ip_network("203.0.113.0/24"): 1300})
    assert (cause(found).case, cause(found).target, cause(found).limit) == ("router", "203.0.113.1", 1300)
    assert found.counters == ()


@pytest.mark.parametrize(("method", "counted"), [("", False), ("-g", True), ("-i", True)])
def test_the_directors_own_error_may_count_as_an_answer(method: str, counted: bool) -> None:
    """packet-path.md section 14: over NAT it does not."""
    found = too_large(method)
    assert any(one.counter == "out_packets" for one in found.counters) == counted
    assert ("What is counted as out is the director's own error" in said(found, "counters")) == counted


def test_an_answer_is_counted_without_a_word() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"{SYN}\n1 {VIP} > {CLIENT} tcp SA")
    assert "out_packets 0 -> 1" in said(found, "counters")
    assert "own error" not in said(found, "counters")


# The chain FORWARD: packet-path.md section 1


@pytest.mark.parametrize(
    ("policy", "target", "server", "case", "rule"),
    [
        ("ACCEPT", "DROP", "10.0.0.11", "rule", "iptables -A FORWARD -i eth1 -s 10.0.0.11/32 -j DROP"),
        ("DROP", "ACCEPT", "10.0.0.12", "policy", "iptables -P FORWARD DROP"),
    ],
)
def test_what_drops_an_answer_is_told(policy: str, target: str, server: str, case: str, rule: str) -> None:
    text = RULES.format(policy, target) + config("rr", server)
    found = explain_last(text, f"{SYN}\n1 {VIP} > {CLIENT} tcp SA")
    assert (found.reason, cause(found)) == ("forward_dropped", Cause(case=case, rule=rule))
    assert rule in said(found, "verdict")
    assert "comes in from the real servers (eth1)" in said(found, "verdict")


def test_what_drops_a_clients_packet_is_told() -> None:
    """The rule is one of the servers' interface."""
    found = explain_last(RULES.format("DROP", "ACCEPT") + config("rr", "10.0.0.11"), f"0 {CLIENT} > 10.0.0.50:1 udp")
    assert (found.reason, cause(found).case) == ("forward_dropped", "policy")
    assert "comes in from the clients (eth0)" in said(found, "verdict")
    assert headline(found).endswith("from a client")
