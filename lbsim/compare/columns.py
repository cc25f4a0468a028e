"""Differences of packets and flows, found on whole columns at once.

The rows of a result have their own numbers for addresses, destinations and flows, so both sides get common
numbers first. Flows match by protocol, client end and virtual end.

A side that does not tell its reasons (a real kernel) is compared by what can be seen of each packet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from lbsim.compare.comparison import Difference, Section
from lbsim.engine.numbers import IN, SCTP, TCP, UDP
from lbsim.model.aggregates import got_through
from lbsim.model.verdict import SEEN, Verdict, reason_named, reason_of
from lbsim.model.wording import and_more

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lbsim.model.result import Result
    from lbsim.model.trace import IntColumn

__all__ = ["Sides", "moved", "packets"]

_PROTOCOLS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
_Name = TypeVar("_Name")
_SEEN = [reason.code for reason in SEEN]
_DELIVERED = reason_named("seen_delivered").code

#: Verdict -> what it looks like from outside. Of what the director's own stack got, an answer may come or nothing.
_LOOKS_LIKE = {
    Verdict.NONE: (Verdict.NONE,),
    Verdict.FORWARD: (Verdict.FORWARD,),
    Verdict.ROUTE: (Verdict.ROUTE,),
    Verdict.DROP: (Verdict.DROP,),
    Verdict.REJECT: (Verdict.REJECT,),
    Verdict.LOCAL: (Verdict.LOCAL, Verdict.REJECT, Verdict.DROP),
    Verdict.UNMODELLED: (),
}


class Flows(NamedTuple):
    """The ends of flows, packed into two integers per flow."""

    ports: IntColumn  # protocol, client port, virtual port
    addresses: IntColumn  # client address, virtual address


@dataclass(frozen=True, slots=True)
class Side:
    """One result, with the numbers that both sides share: one element per packet, -1 for none."""

    result: Result
    flow: IntColumn
    dest: IntColumn
    new_src: IntColumn
    new_dst: IntColumn

    @property
    def tells_why(self) -> bool:
        """Whether its packets have reasons, and not only what was seen of them."""
        return not bool(np.isin(self.result["reason"], _SEEN).any())


@dataclass(frozen=True, slots=True)
class Sides:
    """Two results under common numbers, and the names behind the numbers."""

    a: Side
    b: Side
    addresses: list[str]
    dests: list[tuple[str, str]]  # service, destination
    flows: Flows

    @classmethod
    def of(cls, a: Result, b: Result) -> Sides:
        """Both results, renumbered."""
        addresses, address_a, address_b = _common_numbers(a.addresses, b.addresses)
        named_a, named_b = ([(row.service, row.dest) for row in side.destinations] for side in (a, b))
        dests, dest_a, dest_b = _common_numbers(named_a, named_b)
        flows, flow_a, flow_b = _common_flows(_ends(a, address_a), _ends(b, address_b))
        return cls(
            a=Side(a, flow_a, dest_a[a["dest"]], address_a[a["new_src"]], address_a[a["new_dst"]]),
            b=Side(b, flow_b, dest_b[b["dest"]], address_b[b["new_src"]], address_b[b["new_dst"]]),
            addresses=addresses,
            dests=dests,
            flows=flows,
        )

    def same_traffic(self) -> bool:
        """Whether both got the same packets at the same times; who answered does not count."""
        a, b = self.a.result, self.b.result
        return (
            len(a) == len(b)
            and all(np.array_equal(a[name], b[name]) for name in ("time", "direction", "proto", "length"))
            and np.array_equal(self.a.flow, self.b.flow)
        )

    def tell_alike(self) -> bool:
        """Whether both tell why their packets got their verdicts, or neither does."""
        return self.a.tells_why == self.b.tells_why

    def flows_only_in(self) -> tuple[int, int]:
        """How many flows a has and b has not, and the reverse."""
        a, b = np.unique(self.a.flow), np.unique(self.b.flow)
        return len(np.setdiff1d(a, b, assume_unique=True)), len(np.setdiff1d(b, a, assume_unique=True))

    def endpoint(self, address: int, port: int) -> str:
        """``10.0.0.11:80`` or ``[fd00::11]:80``; ``?`` for an answer that nobody was there to send."""
        if not 0 <= address < len(self.addresses):
            return "?"
        text = self.addresses[address]
        return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"

    def flow_name(self, flow: int) -> tuple[str, str]:
        """Service and client end of a flow: ``("tcp 192.168.1.10:80", "10.1.0.1:40000")``."""
        ports, addresses = int(self.flows.ports[flow]), int(self.flows.addresses[flow])
        protocol = _PROTOCOLS.get(ports >> 32, f"protocol {ports >> 32}")
        virtual = self.endpoint(addresses & 0xFFFFFFFF, ports & 0xFFFF)
        return f"{protocol} {virtual}", self.endpoint(addresses >> 32, ports >> 16 & 0xFFFF)


def moved(sides: Sides, limit: int) -> Section:
    """Flows of both whose connections got other destinations, in the order of their first packet in a."""
    by_reason = sides.a.tells_why and sides.b.tells_why
    a, b = (_made(side, _new_connections(side) if by_reason else _turns(side)) for side in (sides.a, sides.b))
    most = 1 + max((int(side.rank.max()) for side in (a, b) if len(side.rank)), default=0)
    key_a, key_b = a.flow * most + a.rank, b.flow * most + b.rank
    common, in_a, in_b = np.intersect1d(key_a, key_b, assume_unique=True, return_indices=True)
    elsewhere = common[a.dest[in_a] != b.dest[in_b]]
    not_in_both = np.setxor1d(key_a, key_b, assume_unique=True)
    changed = np.unique(np.concatenate([elsewhere, not_in_both]) // most)
    flows, first = np.unique(sides.a.flow, return_index=True)
    changed = np.intersect1d(changed, np.intersect1d(flows, sides.b.flow), assume_unique=True)
    changed = changed[np.argsort(first[np.searchsorted(flows, changed)], kind="stable")]
    rows = tuple(
        Difference(sides.flow_name(flow), _dests_of(sides, a, flow), _dests_of(sides, b, flow))
        for flow in map(int, changed[:limit])
    )
    return Section("flows moved", ("service", "client"), len(changed), rows)


def packets(sides: Sides, limit: int) -> Section:
    """Packets with another verdict, reason, destination or rewriting; none if the traffic is not the same."""
    columns = ("packet", "from", "to")
    if not sides.same_traffic():
        return Section("packets", columns, 0, ())
    a, b = sides.a, sides.b
    differs = (a.dest != b.dest) | (a.new_src != b.new_src) | (a.new_dst != b.new_dst)
    for name in ("new_sport", "new_dport"):
        differs |= a.result[name] != b.result[name]
    if sides.tell_alike():
        differs |= (a.result["verdict"] != b.result["verdict"]) | (a.result["reason"] != b.result["reason"])
    else:
        telling, seeing = (a, b) if a.tells_why else (b, a)
        told, seen = telling.result["verdict"], seeing.result["verdict"]
        got_somewhere = (told == Verdict.FORWARD) | (seeing.result["reason"] == _DELIVERED)
        differs &= got_somewhere  # who was meant to get what got nowhere cannot be seen
        differs |= ~_looks()[told, seen]
    (where,) = np.nonzero(differs)
    rows = []
    for i in map(int, where[:limit]):
        service, client = sides.flow_name(int(a.flow[i]))
        ends = (client, service) if a.result["direction"][i] == IN else (service, client)
        rows.append(Difference((str(i), *ends), _became(sides, a, i), _became(sides, b, i)))
    return Section("packets", columns, len(where), tuple(rows))


def _looks() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """[verdict, seen]: whether it may look so."""
    table = np.zeros((len(Verdict), len(Verdict)), dtype=bool)
    for verdict, seen in _LOOKS_LIKE.items():
        table[verdict, seen] = True
    return table


def _common_numbers(a: Sequence[_Name], b: Sequence[_Name]) -> tuple[list[_Name], IntColumn, IntColumn]:
    """The names of both, and for each side own number -> common number."""
    numbers: dict[_Name, int] = {}
    # The last element serves index -1, so that "none" stays "none".
    left, right = (
        np.array([*(numbers.setdefault(name, len(numbers)) for name in side), -1], dtype="i8") for side in (a, b)
    )
    return list(numbers), left, right


def _ends(result: Result, addresses: IntColumn) -> tuple[Flows, IntColumn]:
    """The ends of each flow of a result, and per packet which of them is its flow's.

    A flow's first packet from the client names the ends. If it has none, its first answer does, as translated
    if it was.
    """
    _, first, flow = np.unique(result["flow"], return_index=True, return_inverse=True)
    (inward,) = np.nonzero(result["direction"] == IN)
    asked, where = np.unique(flow[inward], return_index=True)
    first[asked] = inward[where]
    answer = result["direction"][first] != IN
    translated = answer & (result["verdict"][first] == Verdict.FORWARD)

    def end(of_client: str, of_answer: str, of_translated: str) -> IntColumn:
        columns = [result[name][first].astype("i8") for name in (of_translated, of_answer, of_client)]
        return np.select([translated, answer], columns[:2], columns[2])

    client, client_port = addresses[end("src", "dst", "dst")], end("sport", "dport", "dport")
    virtual, virtual_port = addresses[end("dst", "src", "new_src")], end("dport", "sport", "new_sport")
    ports = result["proto"][first].astype("i8") << 32 | client_port << 16 | virtual_port
    return Flows(ports, client << 32 | virtual & 0xFFFFFFFF), flow


def _common_flows(a: tuple[Flows, IntColumn], b: tuple[Flows, IntColumn]) -> tuple[Flows, IntColumn, IntColumn]:
    """The flows of both, each once, and per packet of each side which of them is its own."""
    ports = np.concatenate([a[0].ports, b[0].ports])
    addresses = np.concatenate([a[0].addresses, b[0].addresses])
    order = np.lexsort((ports, addresses))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(ports[order]) != 0) | (np.diff(addresses[order]) != 0)
    numbers = np.empty(len(order), dtype="i8")
    numbers[order] = np.cumsum(new) - 1
    split = len(a[0].ports)
    flows = Flows(ports[order][new], addresses[order][new])
    return flows, numbers[:split][a[1]], numbers[split:][b[1]]


class _Made(NamedTuple):
    """The connections that one side made, sorted by flow; ``rank`` counts those of a flow from 0."""

    flow: IntColumn
    rank: IntColumn
    dest: IntColumn


def _made(side: Side, at: IntColumn) -> _Made:
    """The connections that the packets ``at`` made."""
    at = at[np.argsort(side.flow[at], kind="stable")]
    flow = side.flow[at]
    return _Made(flow, np.arange(len(flow)) - np.searchsorted(flow, flow), side.dest[at])


def _new_connections(side: Side) -> IntColumn:
    return side.result.connection_packets()


def _turns(side: Side) -> IntColumn:
    """Packets from a client that went elsewhere than the one before, for sides that do not tell what is new."""
    there = got_through(side.result["verdict"], side.result["reason"])
    (at,) = np.nonzero((side.result["direction"] == IN) & there)
    at = at[np.argsort(side.flow[at], kind="stable")]
    turned = np.ones(len(at), dtype=bool)
    turned[1:] = (np.diff(side.flow[at]) != 0) | (np.diff(side.dest[at]) != 0)
    return np.sort(at[turned])


def _dests_of(sides: Sides, made: _Made, flow: int, limit: int = 3) -> str | None:
    first, last = (int(i) for i in np.searchsorted(made.flow, [flow, flow + 1]))
    names = [sides.dests[i][1] for i in made.dest[first : min(last, first + limit)]]
    more = [and_more(last - first - limit)] if last - first > limit else []
    return ", ".join(names + more) or None


def _became(sides: Sides, side: Side, i: int) -> str:
    """What became of a packet: ``FORWARD known 10.1.0.1:40000 > 10.0.0.11:80``; of an answer also whose it is."""
    result = side.result
    words = [Verdict(int(result["verdict"][i])).name, reason_of(int(result["reason"][i])).name]
    sender = sides.dests[side.dest[i]][1] if side.dest[i] >= 0 else ""
    if side.new_dst[i] >= 0:
        source = sides.endpoint(int(side.new_src[i]), int(result["new_sport"][i]))
        words.append(f"{source} > {sides.endpoint(int(side.new_dst[i]), int(result['new_dport'][i]))}")
        if sender and result["direction"][i] != IN:
            words.append(f"from {sender}")
    elif sender:
        words.append(sender)
    return " ".join(words)
