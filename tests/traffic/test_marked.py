"""Marks of whole columns, against each rule looked at for each packet."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import numpy as np
import pytest

from lbsim.config.marks import MarkRule, Marks, read_marks
from lbsim.model.trace import Trace
from lbsim.traffic import script
from lbsim.traffic.marked import Marker

PORTS = (22, 53, 80, 81, 443, 8080, 65535)
NETWORKS = ("192.0.2.1", "192.0.2.0/24", "192.0.2.128/25", "0.0.0.0/0", "2001:db8::1", "2001:db8::/64", "::/0")
ENDS = ("192.0.2.1", "192.0.2.200", "198.51.100.1", "2001:db8::1", "2001:db8:0:1::1")


def random_rule(random: Random) -> MarkRule:
    version = random.choice((4, 6))
    fitting = [network for name in NETWORKS if (network := ip_network(name)).version == version]
    protocol = random.choice((0, 6, 17))
    ports = tuple(sorted(random.sample(PORTS, 2)) for _ in range(random.randrange(3))) if protocol else ()
    networks = tuple(random.sample(fitting, random.randrange(3)))
    return MarkRule(version, random.choice((0, 1, 2, 0xFFFFFFFF)), networks, protocol, ports)


def random_trace(random: Random) -> Trace:
    lines = []
    for number in range(200):
        target = random.choice(ENDS)
        source = "[2001:db8:9::9]:1001" if ":" in target else "203.0.113.9:1001"
        end = f"[{target}]" if ":" in target else target
        word = random.choice(("tcp S", "udp len=1"))
        lines.append(f"{number}ms {source} > {end}:{random.choice(PORTS)} {word}")
    return script.parse("\n".join(lines))


@pytest.mark.parametrize("seed", range(8))
def test_a_column_of_marks_is_what_each_packet_gets(seed: int) -> None:
    random = Random(seed)
    marks = Marks(tuple(random_rule(random) for _ in range(6)))
    trace = random_trace(random)
    ends = zip(trace["dst"].tolist(), trace["proto"].tolist(), trace["dport"].tolist(), strict=True)
    expected = [marks.mark_of(trace.addresses[dst], proto, dport) for dst, proto, dport in ends]
    marker = Marker(marks)
    assert marker.column(trace).tolist() == expected
    again = [marker.column(block) for block in trace.blocks(7)]
    assert np.concatenate(again).tolist() == expected


def test_of_no_packets_there_are_no_marks() -> None:
    marker = Marker(Marks((MarkRule(4, 1),)))
    assert marker.column(script.parse("# nothing\n")).tolist() == []


def test_an_address_to_which_a_routing_rule_brings_packets_is_told_once() -> None:
    marks = read_marks(
        "iptables -t mangle -A PREROUTING -p udp --dport 53 -j MARK --set-mark 7\n"
        "ip rule add fwmark 7 lookup 100\n"
        "ip route add local 192.0.2.0/24 dev lo table 100\n"
    )
    lines = [f"0s 203.0.113.9:1001 > {end} udp" for end in ("192.0.2.1:80", "192.0.2.2:53", "198.51.100.1:53")]
    trace = script.parse("\n".join(lines))
    marker = Marker(marks)
    brought = marker.brought(trace, marker.column(trace))
    assert [trace.addresses[number] for number in brought] == [ip_address("192.0.2.2")]
    assert marker.brought(trace, marker.column(trace)) == []
