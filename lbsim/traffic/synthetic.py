"""Made-up connections of a population of clients to one service: a scenario's words -> a trace.

The same spec and seed give the same columns on every machine (``draws`` says how). A spec with more
connections begins with the same ones. Two specs with the same seed draw the same numbers: give each its
own.

**Time.** A packet's time is when it passes the director, half-way between client and real server: whenever
the other side speaks, it is half a round-trip time later. A TCP connection is

* the opening: SYN, half a round trip later SYN/ACK, another half later ACK;
* the requests: the first at the same moment as the ACK, half a round trip later the answer, another half
  later the client's ACK. All segments of a request or an answer pass at the same moment;
* the close: FIN or RST; after a FIN, FIN/ACK and ACK half a round trip apart. A server that closes does so
  half a round trip after it last heard of the client.

The first packet of the close is sent when the connection's lifetime is over, or as soon as its requests are
done if they need longer. Requests begin in even distances between opening and close; without a lifetime,
each when the one before is done. A UDP answer passes a whole round-trip time after its query, and queries
begin in even distances over the lifetime.

Poisson arrivals and random lifetimes are whole microseconds. Lifetimes end at a year, however long the tail
of their distribution is. Packets of the same moment: in the order of the script, then of the connections.

**Clients.** The hosts of an IPv4 network are those without network and broadcast address; the hosts of an
IPv6 network count from ``::1`` on, 2**32 of them at most. In a Zipf distribution the first host is the most
frequent one, and only the first 2**20 hosts get anything. Each address uses its source ports 32768 to 60999
in turn, so that none is used again before all were; connections with the same client end belong to the same
flow.

**Blocks.** Connections are drawn in order of arrival, some at a time, and live until their last packet is made. All
packets before the arrival of the last one drawn are known then: they are made for one window of time after the other,
put into order and given out. What is kept is what is known of live connections, and the tables of addresses and flows:
memory depends on connections, not on packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lbsim.engine.numbers import ACK, IN
from lbsim.model.trace import Blocks, IntColumn, Trace
from lbsim.traffic.arrivals import ArrivalTimes, check_span, lifetimes
from lbsim.traffic.callers import PORTS, PROTOCOLS, SERVICE, Callers
from lbsim.traffic.dialogue import Line, Script, script_of
from lbsim.traffic.draws import Draws

if TYPE_CHECKING:
    from lbsim.model.scenario import SyntheticTraffic

__all__ = ["PORTS", "generate", "generate_blocks", "packets_of"]

_NEVER = 2**63 - 1
_LEAST_OF_LIVE = 8  # draws and windows are at least the eighth part of what is live, as each costs a look at all of it
_SAMPLE = 4096  # connections, from which the packets of a window are estimated


def generate(spec: SyntheticTraffic, seed: int) -> Trace:
    """The packets of ``spec`` in time order, without raw bytes; flows numbered by their first packet.

    Replies carry the virtual service as source: who really sends them is known when the trace is simulated.
    Lengths are those of whole IP packets without options. Sequence numbers begin at random and are right.

    Parameters
    ----------
    spec : a checked part of a scenario.
    seed : any integer.

    Raises
    ------
    ScenarioError : the spec would make more packets than memory holds, or a trace longer than 100 years.
    """
    return Trace.joined(generate_blocks(spec, seed))


def generate_blocks(spec: SyntheticTraffic, seed: int, *, block_packets: int = 2**18) -> Blocks:
    """The packets of :func:`generate` in blocks of at most ``block_packets``, at least one.

    Raises
    ------
    ScenarioError : as :func:`generate` does, before there is any block.
    """
    draws = Draws(seed)
    script = script_of(spec)
    arrivals = ArrivalTimes(spec.arrivals, spec.start, spec.connections, draws)
    check_span("a connection lasts", script.around + script.rounds * script.round_needs)
    return _blocks(spec, script, arrivals, draws, block_packets)


def packets_of(spec: SyntheticTraffic) -> int:
    """How many packets :func:`generate` makes."""
    return spec.connections * script_of(spec).steps


def _blocks(spec: SyntheticTraffic, script: Script, arrivals: ArrivalTimes, draws: Draws, most: int) -> Blocks:
    callers = Callers(spec, draws)
    writer = _Writer(spec, script, callers, draws)
    live = _Live(script)
    drawn = 0
    while drawn < spec.connections:
        count = min(max(most // script.steps, len(live) // _LEAST_OF_LIVE, 1), spec.connections - drawn)
        start = arrivals.next(count)
        live.add(start, lifetimes(spec.lifetime, drawn, count, draws), callers.next(count), drawn)
        drawn += count
        horizon = int(start[-1]) if drawn < spec.connections else _NEVER
        for packets in live.windows(horizon, most):
            for part in packets.parts(most):
                yield writer.block(part)


@dataclass(frozen=True, slots=True)
class _Packets:
    """Packets in their order, one element of each column per packet."""

    time: IntColumn  # ns
    step: IntColumn  # of the script
    connection: IntColumn  # its number
    flow: IntColumn

    def parts(self, most: int) -> Iterator[_Packets]:
        """Pieces of at most so many packets."""
        for begin in range(0, len(self.time), most):
            part = slice(begin, begin + most)
            yield _Packets(self.time[part], self.step[part], self.connection[part], self.flow[part])


class _Live:
    """The connections of which packets are still to come, in order of their arrival.

    Invariants
    ----------
    The packets of a connection are in time order, however long it lasts: those before a moment are its first ones.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self._at = script.column("at")
        kinds = {
            "connection": "i4",  # its number
            "flow": "i4",
            "start": "i8",  # ns
            "whole": "i8",  # ns from round to round, rounded down,
            "rest": "i8",  # and what of all rounds remains so
            "step": "i4",  # its next one,
            "due": "i8",  # and when that is taken: ns, or _NEVER
        }
        self.columns: dict[str, IntColumn] = {name: np.zeros(0, dtype=kind) for name, kind in kinds.items()}
        self._over = 0  # connections that live no more, but are still there

    def __len__(self) -> int:
        return len(self.columns["due"])

    def add(self, start: IntColumn, lifetime: IntColumn, flow: IntColumn, first: int) -> None:
        """Connections from number ``first`` on."""
        script, n = self.script, len(start)
        spread = np.maximum(lifetime - script.around, script.rounds * script.round_needs)
        whole, rest = np.divmod(spread, script.rounds)
        new = {
            "connection": np.arange(first, first + n, dtype="i4"),
            "flow": flow,
            "start": start,
            "whole": whole,
            "rest": rest,
            "step": np.zeros(n, dtype="i4"),
            "due": start,  # with the first packet
        }
        self.columns = {name: np.concatenate([column, new[name]]) for name, column in self.columns.items()}

    def windows(self, horizon: int, most: int) -> Iterator[_Packets]:
        """The packets before the horizon (ns): about ``most`` of them at a time, or all of one moment."""
        while (end := self._window_end(horizon, max(most, len(self) // _LEAST_OF_LIVE))) is not None:
            yield self._take(end)

    def _window_end(self, horizon: int, most: int) -> int | None:
        """A moment before which there are packets, and not more than about ``most``; None: none before the horizon."""
        first = int(self.columns["due"].min(initial=_NEVER))
        if first >= horizon:
            return None
        sample = np.arange(0, len(self), max(len(self) // _SAMPLE, 1))
        taken, each = self.columns["step"][sample], len(self) / len(sample)

        def packets(end: int) -> float:
            return float((self._steps_before(end, sample) - taken).sum() * each)

        if packets(horizon) <= most:
            return horizon
        last = self._time(np.full(len(sample), self.script.steps - 1, dtype="i4"), sample)
        early, late = first, min(horizon, int(last.max()) + 1)
        while late - early > 1:
            middle = (early + late) // 2
            there_are = packets(middle)
            if there_are > most:
                late = middle
            else:
                early = middle
                if 2 * there_are > most:
                    break
        return max(early, first + 1)

    def _take(self, end: int) -> _Packets:
        """All packets before ``end`` (ns)."""
        columns = self.columns
        speaking = np.flatnonzero(columns["due"] < end)
        first, after = columns["step"][speaking], self._steps_before(end, speaking)
        count = after - first
        row = np.repeat(speaking, count)
        step = np.arange(len(row), dtype="i4") - np.repeat(np.cumsum(count, dtype="i4") - after, count)
        time = self._time(step, row)
        order = np.lexsort((step, time))  # stable: packets of the same moment and step stay in order of connections
        packets = _Packets(time[order], step[order], columns["connection"][row[order]], columns["flow"][row[order]])
        self._go_on(speaking, after)
        return packets

    def _go_on(self, speaking: IntColumn, step: IntColumn) -> None:
        """These connections are at that step now."""
        is_over = step == self.script.steps
        due = self._time(np.minimum(step, self.script.steps - 1), speaking)
        self.columns["step"][speaking] = step
        self.columns["due"][speaking] = np.where(is_over, _NEVER, due)
        self._over += int(is_over.sum())
        if self._over > len(self) // _LEAST_OF_LIVE:
            lives = self.columns["due"] < _NEVER
            self.columns = {name: column[lives] for name, column in self.columns.items()}
            self._over = 0

    def _time(self, step: IntColumn, row: IntColumn) -> IntColumn:
        """When these steps of the connections in these rows are taken : int64[n], ns."""
        rounds, columns = self.script.round_of[step], self.columns
        time = columns["start"][row] + self._at[self.script.line_of[step]]
        # round * spread // rounds, of which the product does not fit into 63 bits
        time += rounds * columns["whole"][row]
        if self.script.rounds > 1:
            time += rounds * columns["rest"][row] // self.script.rounds
        return time

    def _steps_before(self, end: int, row: IntColumn) -> IntColumn:
        """How many steps of the connections in these rows are taken before ``end`` : int32[n]."""
        steps = self.script.steps
        low, high = self.columns["step"][row], np.full(len(row), steps, dtype="i4")
        for _ in range(steps.bit_length()):
            middle = (low + high) // 2
            is_before = (middle < steps) & (self._time(np.minimum(middle, steps - 1), row) < end)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_before, high, middle)
        return low


class _Writer:
    """Makes packets into traces."""

    def __init__(self, spec: SyntheticTraffic, script: Script, callers: Callers, draws: Draws) -> None:
        self.service = spec.service
        self.line_of, self.round_of = script.line_of, script.round_of
        self.lines = {name: script.column(name) for name in Line._fields}
        from_client = self.lines["direction"] == IN
        self.sent = np.where(from_client, script.request_bytes, script.answer_bytes)
        self.heard = np.where(from_client, script.answer_bytes, script.request_bytes)
        self.callers, self.draws = callers, draws

    def block(self, packets: _Packets) -> Trace:
        """The packets with all their columns."""
        line = self.line_of[packets.step]
        direction = self.lines["direction"][line]
        from_client = direction == IN
        flows = self.callers.flows
        client, port = flows.client[packets.flow], flows.client_port[packets.flow]
        columns = Trace.empty_columns(len(line))
        columns["time"] = packets.time
        columns["flow"] = packets.flow
        columns["proto"][:] = PROTOCOLS[self.service.protocol]
        columns["direction"][:] = direction
        for name in ("flags", "length"):
            columns[name][:] = self.lines[name][line]
        columns["src"][:] = np.where(from_client, client, SERVICE)
        columns["dst"][:] = np.where(from_client, SERVICE, client)
        columns["sport"][:] = np.where(from_client, port, self.service.port)
        columns["dport"][:] = np.where(from_client, self.service.port, port)
        if self.service.protocol == "tcp":
            columns["seq"], columns["ack"] = self._sequence_numbers(packets, line, from_client)
        return Trace(columns, self.callers.addresses, flows)

    def _sequence_numbers(
        self, packets: _Packets, line: IntColumn, from_client: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> tuple[IntColumn, IntColumn]:
        """Those of the packets, and those they acknowledge or 0."""
        first = self.draws.words_at("sequence numbers", packets.connection)
        of_client, of_server = (first >> np.uint64(32)).astype("i8"), (first & np.uint64(0xFFFFFFFF)).astype("i8")
        rounds = self.round_of[packets.step]
        seq = np.where(from_client, of_client, of_server) + self.lines["seq"][line] + rounds * self.sent[line]
        ack = np.where(from_client, of_server, of_client) + self.lines["ack"][line] + rounds * self.heard[line]
        acknowledges = self.lines["flags"][line] & ACK != 0
        return seq & 0xFFFFFFFF, np.where(acknowledges, ack & 0xFFFFFFFF, 0)
