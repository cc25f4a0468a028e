"""What is said of ICMP errors: type, code, the quoted packet, the service that it opens an entry of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbsim.config import parse
from lbsim.engine.numbers import FRAGMENT, ICMP, ICMP_ERROR, TCP
from lbsim.explain import FlowName, TheFlow, ThePacket, explained
from lbsim.explain.icmp_names import kind_name
from lbsim.explain.words import headline
from lbsim.model.config import ip_address
from lbsim.model.explanation import Explanation, IcmpError, Quoted
from lbsim.model.quotes import QUOTE_TYPES, Quotes
from lbsim.model.trace import Trace
from lbsim.traffic.script import parse as packets
from tests.explain.asking import VIP, config, said

CLIENT = "203.0.113.1:40001"
FLOW = FlowName.parse(f"tcp:{CLIENT}->{VIP}")
SCRIPT = f"""
0 {CLIENT} > {VIP} tcp S
1 203.0.113.2:40001 > {VIP} tcp S
2 198.51.100.7:1 > {VIP} tcp S
3 198.51.100.7:1 > {VIP} tcp S
4 {CLIENT} > {VIP} tcp A
"""


def end(text: str) -> tuple[list[int], int]:
    address, _, port = text.rpartition(":")
    return [0, 0, 0, int(ip_address(address))], int(port)


def with_errors(*errors: tuple[int, int, str, str], shape: int = 0) -> Trace:
    """The script's packets 2 and 3 are ICMP errors of a type and code about packets from and to these ends."""
    trace = packets(SCRIPT)
    columns = {name: column.copy() for name, column in trace.columns.items()}
    rows = np.arange(2, 2 + len(errors))
    for name, value in {"shape": ICMP_ERROR, "proto": ICMP, "sport": 0, "dport": 0, "flags": 0, "length": 56}.items():
        columns[name][rows] = value
    quoted = [(2 + i, kind, code, *end(src), *end(dst)) for i, (kind, code, src, dst) in enumerate(errors)]
    row, kinds, codes, src, sport, dst, dport = zip(*quoted, strict=True)
    fields = {"row": row, "kind": kinds, "code": codes, "family": 4, "proto": TCP, "src": src, "sport": sport}
    fields |= {"dst": dst, "dport": dport, "shape": shape, "wrong": 0}
    whole = {"src": (len(errors), 4), "dst": (len(errors), 4)}
    table = {
        name: np.array(np.broadcast_to(fields[name], whole.get(name, (len(errors),))), dtype=kind.lstrip("4"))
        for name, kind in QUOTE_TYPES.items()
    }
    return replace(trace, columns=columns, quotes=Quotes(table))


ABOUT_ANSWER = with_errors((3, 1, VIP, CLIENT), (11, 0, VIP, "203.0.113.9:40001"))


def explained_packet(number: int, trace: Trace, text: str = config("dh", "10.0.0.11"), **sysctls: int) -> Explanation:
    (found,) = explained(parse(text), trace, ThePacket(number), sysctls=sysctls)
    return found


def test_type_code_and_the_quoted_packet_are_told() -> None:
    found = explained_packet(2, ABOUT_ANSWER)
    assert found.packet.icmp == IcmpError(3, 1, "host unreachable", Quoted("tcp", VIP, CLIENT))
    assert "icmp host unreachable (type 3, code 1) 198.51.100.7 > 192.0.2.1, 56 bytes" in headline(found)
    assert headline(found).endswith("from the clients' side")
    assert said(found, "quotes") == f"The error is about a packet that was sent before: tcp {VIP} > {CLIENT}."
    assert said(found, "entry").startswith("The connection table has an entry for the connection of the quoted packet")


def test_other_packets_quote_nothing() -> None:
    found = explained_packet(0, ABOUT_ANSWER)
    assert (found.packet.icmp, said(found, "quotes"), found.packet.version) == (None, "", 4)


def test_an_error_whose_packet_cannot_be_read_says_so() -> None:
    found = explained_packet(2, replace(ABOUT_ANSWER, quotes=Quotes()))
    assert found.packet.icmp == IcmpError(None, None, "", None)
    assert said(found, "quotes") == "Which packet the error is about cannot be read."


def test_a_quoted_fragment_has_no_ports() -> None:
    found = explained_packet(2, with_errors((3, 1, VIP, CLIENT), shape=FRAGMENT))
    assert found.packet.icmp is not None
    assert found.packet.icmp.quoted == Quoted("tcp", "192.0.2.1", "203.0.113.1")


@pytest.mark.parametrize("way", ["", "-i"])
def test_the_service_of_an_entry_that_an_error_opens_matches_exactly(way: str) -> None:
    """packet-path.md section 14: it is looked for with the quoted packet's ends exchanged."""
    found = explained_packet(3, ABOUT_ANSWER, config("dh", f"10.0.0.11 {way}"), schedule_icmp=1)
    assert (found.entry, found.service and found.service.how) == ("made", "exact")
    assert said(found, "service") == (
        f"With schedule_icmp the error counts as a packet 203.0.113.9:40001 > {VIP}, the quoted one on its way back. "
        f"tcp {VIP} (dh) matches exactly: protocol, address and port."
    )


def test_a_service_of_port_0_takes_errors_about_other_ports() -> None:
    text = "-A -t 192.0.2.1:0 -s rr -p 360\n-a -t 192.0.2.1:0 -r 10.0.0.11:0 -m"
    found = explained_packet(3, ABOUT_ANSWER, text, schedule_icmp=1)
    assert (found.entry, found.service and found.service.how) == ("made", "port 0")


def test_ftp_takes_errors_about_high_ports() -> None:
    text = "-A -t 192.0.2.1:21 -s rr -p 360\n-a -t 192.0.2.1:21 -r 10.0.0.11:21 -m"
    trace = with_errors((3, 1, VIP, CLIENT), (3, 1, "192.0.2.1:50000", CLIENT))
    found = explained_packet(3, trace, text, schedule_icmp=1)
    assert (found.entry, found.service and found.service.how) == ("made", "ftp")


# Of a flow


@pytest.mark.parametrize(("src", "dst"), [(VIP, CLIENT), (CLIENT, VIP)])
def test_errors_about_a_flow_belong_to_it(src: str, dst: str) -> None:
    trace, parsed = with_errors((3, 1, src, dst), (3, 1, src, "203.0.113.9:1")), parse(config("rr", "10.0.0.11"))
    assert [one.packet.number for one in explained(parsed, trace, TheFlow(FLOW))] == [0, 2, 4]
    assert [one.packet.number for one in explained(parsed, trace, TheFlow(FLOW, 1))] == [2]


def test_errors_of_later_blocks_are_found_and_named() -> None:
    trace, parsed = ABOUT_ANSWER, parse(config("rr", "10.0.0.11"))
    blocks = [trace.part(0, 2), trace.part(2, 3), trace.part(3, 5)]
    found = explained(parsed, blocks, TheFlow(FLOW))
    assert [one.packet.number for one in found] == [0, 2, 4]
    assert [one.packet.icmp.type if one.packet.icmp else None for one in found] == [None, 3, None]
    (late,) = explained(parsed, blocks, ThePacket(3))
    assert late.packet.icmp is not None
    assert (late.packet.icmp.type, late.packet.icmp.name) == (11, "time exceeded")


@pytest.mark.parametrize(
    ("version", "kind", "code", "name"),
    [
        (4, 3, 4, "fragmentation needed"),
        (4, 3, 9, "destination unreachable"),
        (4, 11, 1, "reassembly time exceeded"),
        (6, 2, 0, "packet too big"),
        (6, 3, 0, "time exceeded"),
        (6, 1, 4, "port unreachable"),
        (4, 99, 0, "error"),
    ],
)
def test_what_errors_are_called(version: int, kind: int, code: int, name: str) -> None:
    """As the RFCs 792, 1122 and 4443 call them."""
    assert kind_name(version, kind, code) == name
