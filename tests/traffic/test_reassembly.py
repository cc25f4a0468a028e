"""Fragments in captures: the oracle is the live director, which gets the same packets one by one (it agrees with real
kernels), and what each case is about is said by hand.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lbsim import Director
from lbsim.config import parse
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import FRAGMENT, WHOLE
from lbsim.model.config import ServiceId, parse_endpoint
from lbsim.model.result import Result
from lbsim.model.trace import Trace
from lbsim.model.verdict import Verdict, reason_of
from lbsim.packet.build import build_packet
from lbsim.packet.fragments import split
from lbsim.packet.received import CaptureWriter
from lbsim.simulate import simulate
from lbsim.traffic import pcap
from tests.traffic.captures import Record, pcap_file
from tests.traffic.test_read_blocks import assert_same

ENDS = {4: ("198.51.100.1", "192.168.1.10", "10.0.0.11"), 6: ("2001:db8:9::1", "2001:db8:1::10", "fd00::11")}
MS = 1_000_000
BOTH = pytest.mark.parametrize("version", [4, 6])
WAYS = {"nat": "-m", "direct": "-g", "tunnel": "-i"}


@dataclass(frozen=True)
class Sent:
    """A packet: as it was captured, and as the director gets it (an answer: from the real server)."""

    captured: bytes
    sent: bytes
    via: str = "clients"
    at: int = 0  # ns


def config(version: int, way: str = "-m", *, port: int = 5353) -> str:
    _, vip, server = (f"[{end}]" if version == 6 else end for end in ENDS[version])
    return f"-A -u {vip}:53 -s rr\n-a -u {vip}:53 -r {server}:{port} {way}\n"


def cut(src: str, dst: str, limit: int, number: int, **fields: Any) -> list[bytes]:
    """A UDP packet in fragments with this id."""
    pieces = split(build_packet(src=src, dst=dst, proto=17, identification=number, **fields), limit)
    if pieces[0][0] >> 4 == 6 and len(pieces) > 1:
        return [piece[:44] + number.to_bytes(4) + piece[48:] for piece in pieces]
    return pieces


def request(
    version: int, size: int = 3000, *, sport: int = 5000, dport: int = 53, number: int = 1, limit: int = 1300,
    client: str = "", ttl: int = 64,
) -> list[Sent]:  # fmt: skip
    """A client's datagram with ``size`` bytes of payload, in order."""
    source, vip, _ = ENDS[version]
    payload = bytes(k * 7 % 251 for k in range(size))
    fields = {"sport": sport, "dport": dport, "ttl": ttl, "payload": payload}
    return [Sent(piece, piece) for piece in cut(client or source, vip, limit, number, **fields)]


def answer(version: int, size: int = 3000, *, sport: int = 5000, number: int = 9, limit: int = 1300) -> list[Sent]:
    """The real server's answer, as likewise captured from the virtual service."""
    client, vip, server = ENDS[version]
    payload = bytes(k * 5 % 251 for k in range(size))
    captured, sent = (
        cut(src, client, limit, number, sport=port, dport=sport, payload=payload)
        for src, port in ((vip, 53), (server, 5353))
    )
    return [Sent(*pair, via=server) for pair in zip(captured, sent, strict=True)]


def spaced(*packets: Sent, by: int = MS) -> list[Sent]:
    """The packets one after the other."""
    return [replace(packet, at=k * by) for k, packet in enumerate(packets)]


def later(packets: Sequence[Sent], by: int) -> list[Sent]:
    return [replace(packet, at=packet.at + by) for packet in packets]


def capture(packets: Sequence[Sent], kept: int | None = None) -> bytes:
    return pcap_file(*(Record(one.captured, one.at, kept) for one in packets), link=101, nanoseconds=True)


def services(text: str) -> list[ServiceId]:
    return [service.id for service in parse(text).services()]


def told(result: Result) -> list[str]:
    """The reason of each packet, and the destination."""
    names = [row.dest for row in result.destinations]
    return [
        f"{reason_of(int(reason)).name} {names[dest] if dest >= 0 else '-'}"
        for reason, dest in zip(result["reason"], result["dest"].tolist(), strict=True)
    ]


def left(path: Path) -> list[bytes]:
    """The packets of a capture that was written."""
    content, at, found = path.read_bytes(), 24, []
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at + 8)
        found.append(content[at + 16 : at + 16 + size])
        at += 16 + size
    return found


CASES: dict[str, Callable[[int], list[Sent]]] = {
    "in order": lambda v: spaced(*request(v)),
    "last one first": lambda v: spaced(*request(v)[::-1]),
    "first one last": lambda v: spaced(*request(v)[1:], request(v)[0]),
    "one twice": lambda v: spaced(*request(v)[:2], request(v)[1], *request(v)[2:]),
    "again when it was complete": lambda v: spaced(*request(v), *request(v)),
    "two at a time": lambda v: spaced(
        *(one for pair in zip(request(v), request(v, number=2, sport=5001), strict=True) for one in pair)
    ),
    "the same id from two clients": lambda v: spaced(
        request(v)[0],
        request(v, client="198.51.100.2" if v == 4 else "2001:db8:9::2")[0],
        *request(v)[1:],
        *request(v, client="198.51.100.2" if v == 4 else "2001:db8:9::2")[1:],
    ),
    "parts of two datagrams that overlap": lambda v: spaced(
        request(v)[0], request(v, limit=1200)[1], *request(v)[1:], *request(v, number=2)
    ),
    "never complete": lambda v: spaced(*request(v)[:-1], *request(v, number=2, sport=5001)),
    "just in time": lambda v: spaced(*request(v)[:2]) + later(request(v)[2:], 29_000 * MS),
    "too late": lambda v: spaced(*request(v)[:2]) + later(request(v)[2:], 61_000 * MS),
    "an answer": lambda v: spaced(*request(v, 40), *answer(v)),
    "an answer, last one first": lambda v: spaced(*request(v, 40), *answer(v)[::-1]),
    "both": lambda v: spaced(*request(v), *answer(v), *request(v, 40)),
    "an answer that lost a part": lambda v: spaced(*request(v, 40), *answer(v)[1:], *answer(v, number=10)),
    "small ones": lambda v: spaced(*request(v, 100, limit=64), *answer(v, 100, limit=64)[::-1]),
    "used-up TTL": lambda v: spaced(*request(v, ttl=1), *request(v, 40, number=2)),
}


def seen(version: int, packets: Sequence[Sent], way: str = "-m") -> tuple[list[str], list[bytes], Director]:
    """What the live director answers to the packets, what it sends on, and itself."""
    director = Director(config(version, way), estimator=False)
    reasons, departures = [], []
    for packet in packets:
        got = director.receive(packet.sent, at=packet.at / 1e9, via=packet.via)
        reasons.append(f"{got.reason} {got.dest or '-'}")
        if got.verdict == Verdict.FORWARD:
            departures += [departure.packet for departure in got.departures]
    return reasons, departures, director


@BOTH
@pytest.mark.parametrize("case", CASES)
def test_captured_fragments_are_put_together_as_a_director_does_it(
    tmp_path: Path, lane: Lane, version: int, case: str
) -> None:
    packets = CASES[case](version)
    (tmp_path / "c.pcap").write_bytes(capture(packets))
    trace = pcap.read(tmp_path / "c.pcap", services=services(config(version)), lane=lane)
    with CaptureWriter(tmp_path / "all.pcap") as written:
        result = simulate(parse(config(version)), trace, sinks=[written], lane=lane)
    reasons, departures, director = seen(version, packets)
    assert told(result) == reasons
    assert left(tmp_path / "all.pcap") == departures
    assert [row.counters for row in result.destinations] == list(director.stats().dests.values())
    assert result.final.connections == director.connections()


@pytest.mark.parametrize("way", ["-g", "-i", "-i --tun-type gre"])
@BOTH
def test_they_go_every_way(tmp_path: Path, lane: Lane, version: int, way: str) -> None:
    packets = spaced(*request(version)[::-1], *request(version, 40, number=2))
    (tmp_path / "c.pcap").write_bytes(capture(packets))
    trace = pcap.read(tmp_path / "c.pcap", services=services(config(version)), lane=lane)
    with CaptureWriter(tmp_path / "out") as written:
        result = simulate(parse(config(version, way, port=53)), trace, sinks=[written], lane=lane)
    reasons, departures, _ = seen(version, packets, way)
    assert [line.split()[0] for line in told(result)] == [line.split()[0] for line in reasons]
    assert left(written.paths[1]) == departures


@BOTH
@pytest.mark.parametrize("case", CASES)
def test_how_a_capture_is_cut_into_blocks_does_not_matter(tmp_path: Path, version: int, case: str, lane: Lane) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(capture(CASES[case](version)))
    asked = services(config(version))
    whole = pcap.read(path, services=asked)
    for size in (*range(1, len(CASES[case](version)) + 1), 100):
        for keep_raw in (True, False):
            with pcap.read_blocks(path, services=asked, block_packets=size, lane=lane, keep_raw=keep_raw) as blocks:
                joined = Trace.joined(blocks)
            assert_same(joined, whole, raw=keep_raw)
            assert joined.datagrams == (whole.datagrams if keep_raw else type(whole.datagrams)())


# What a trace says of them


def read(
    folder: Path, packets: Sequence[Sent], *, kept: int | None = None, asked: str = "", **options: object
) -> Trace:
    (folder / "c.pcap").write_bytes(capture(packets, kept))
    return pcap.read(folder / "c.pcap", services=services(asked or config(4)), **options)


def test_the_row_of_the_last_fragment_is_that_of_the_datagram(tmp_path: Path) -> None:
    first, *_, last = pieces = request(4)
    trace = read(tmp_path, spaced(*pieces))
    assert trace["shape"].tolist() == [FRAGMENT, FRAGMENT, WHOLE]
    assert trace["length"].tolist() == [1300, 1300, 3028]
    assert trace["sport"].tolist() == [5000] * 3
    assert trace["dport"].tolist() == [53] * 3
    assert trace["flow"].tolist() == [0] * 3
    assert len(trace.flows) == 1
    at, size = int(trace["raw_at"][2]), int(trace["raw_len"][2])
    assert trace.raw[at : at + size] == last.captured
    ((row, datagram),) = trace.datagrams
    assert (row, datagram.largest, len(datagram.data)) == (2, len(first.captured), 3028)


def test_a_fragment_ahead_of_the_first_one_has_no_ports(tmp_path: Path) -> None:
    trace = read(tmp_path, spaced(*request(4)[::-1]))
    assert trace["dport"].tolist() == [0, 0, 53]
    assert [(flow.client_port, flow.server_port) for flow in trace.flows] == [(0, 0), (5000, 53)]


def test_a_datagram_to_another_port_is_left_out(tmp_path: Path) -> None:
    trace = read(tmp_path, spaced(*request(4, dport=54), *request(4, 40, number=2)))
    assert trace["shape"].tolist() == [FRAGMENT, FRAGMENT, WHOLE]
    assert trace.left_out == {"no_service": 1}
    assert not trace.datagrams
    whole = spaced(*request(4, dport=54)[1:], request(4, dport=54)[0], *request(4, number=2))
    trace = read(tmp_path, whole)
    assert [row for row, _ in trace.datagrams] == [4]


def test_rows_behind_one_that_is_left_out_keep_their_quotes(tmp_path: Path) -> None:
    client, vip, _ = ENDS[4]
    quoted = build_packet(src=vip, dst=client, proto=17, sport=53, dport=5000, payload=bytes(9))
    error = build_packet(src=client, dst=vip, proto=1, payload=b"\3\3" + bytes(6) + quoted)
    trace = read(tmp_path, spaced(*request(4, dport=54), Sent(error, error)))
    assert trace.quotes["row"].tolist() == [2]
    assert len(trace) == 3


def test_the_port_of_the_datagram_says_which_service_it_is_for(tmp_path: Path, lane: Lane) -> None:
    asked = config(4) + config(4).replace("192.168.1.10:53", "192.168.1.99:54")
    mapping = {parse_endpoint("192.168.1.10:53"): services(config(4))[0]}
    mapping[ip_address("192.168.1.10"), 54] = ServiceId.parse("udp 192.168.1.99:54")
    packets = spaced(*request(4, dport=54)[::-1], *request(4, number=2))
    trace = read(tmp_path, packets, asked=asked, mapping=mapping, lane=lane)
    assert [str(trace.addresses[at]) for at in trace["dst"][[2, 5]]] == ["192.168.1.99", "192.168.1.10"]
    assert trace["dport"].tolist() == [0, 0, 54, 53, 53, 53]


def test_zeros_stand_for_what_was_not_captured(tmp_path: Path) -> None:
    packets = spaced(*request(4), *answer(4))
    trace = read(tmp_path, packets, kept=60)
    assert [(row, len(datagram.data)) for row, datagram in trace.datagrams] == [(2, 3028), (5, 3028)]
    assert told(simulate(parse(config(4)), trace)) == seen(4, packets)[0]
    assert trace["raw_len"].tolist() == [60] * 6


def test_without_its_ports_a_datagram_cannot_be_complete(tmp_path: Path) -> None:
    trace = read(tmp_path, spaced(*request(4)), kept=24)
    assert trace["shape"].tolist() == [FRAGMENT] * 3
    assert not trace.datagrams


@pytest.mark.parametrize("back", [0, 3 * MS, 50 * MS])
def test_rows_that_are_sorted_keep_their_datagrams(tmp_path: Path, lane: Lane, back: int) -> None:
    packets = spaced(*request(4), *answer(4), *request(4, number=2, sport=5001), *request(4, dport=54, number=3))
    packets[4] = replace(packets[4], at=packets[4].at + back)
    whole = read(tmp_path, packets)
    assert whole["time"].tolist() == sorted(whole["time"].tolist())
    assert [whole["length"][row] for row, _ in whole.datagrams] == [3028] * 3
    assert [len(datagram.data) for _, datagram in whole.datagrams] == [3028] * 3
    for size in range(1, len(packets) + 1):
        with pcap.read_blocks(
            tmp_path / "c.pcap", services=services(config(4)), block_packets=size, lane=lane, survey=True
        ) as blocks:
            joined = Trace.joined(blocks)
        assert_same(joined, whole)
        assert joined.datagrams == whole.datagrams


def test_fragments_come_while_a_part_of_a_block_waits(tmp_path: Path, lane: Lane) -> None:
    packets = spaced(*(packet for port in range(5000, 5006) for packet in request(4, 40, sport=port)), *request(4))
    whole = read(tmp_path, packets)
    assert [flow.client_port for flow in whole.flows] == [*range(5000, 5006)]
    for size in range(1, len(packets) + 1):
        with pcap.read_blocks(
            tmp_path / "c.pcap", services=services(config(4)), block_packets=size, lane=lane, survey=True
        ) as blocks:
            assert_same(Trace.joined(blocks), whole)


def test_merged_and_cut_traces_keep_their_datagrams(tmp_path: Path) -> None:
    one = read(tmp_path, spaced(*request(4)))
    other = read(tmp_path, later(spaced(*request(4, 40), *request(4, sport=5001, number=2)), MS // 2))
    both = Trace.merge([one, other])
    assert [row for row, _ in both.datagrams] == [4, 6]
    assert [row for row, _ in both.part(3, 5).datagrams] == [1]
    assert Trace.joined(both.blocks(2)).datagrams == both.datagrams
    np.testing.assert_array_equal(both["length"][[4, 6]], [3028, 3028])


def test_many_datagrams_of_one_block_find_room(tmp_path: Path, lane: Lane) -> None:
    packets = spaced(*(piece for k in range(600) for piece in request(4, 100, limit=84, sport=k + 1, number=k)[::-1]))
    trace = read(tmp_path, packets, lane=lane)
    assert len(trace.datagrams) == 600
    assert len(trace.flows) == 601  # one of those that came ahead
