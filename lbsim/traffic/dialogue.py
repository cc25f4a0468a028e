"""What the two ends of a connection say: a scenario's ``tcp``, ``udp`` or ``sctp`` -> packets, one after the other.

All connections of a spec say the same, at times that depend on when they begin and how long they last. A script is
lines: those of the opening, those of one round (a request with its answer), and those of the close. A connection's
packets are its steps: the opening, the round so often as the script says, the close.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lbsim.engine.numbers import ACK, FIN, IN, REPLY, RST, SYN
from lbsim.errors import ScenarioError
from lbsim.model.trace import IntColumn
from lbsim.traffic.chunks import CHUNKS, sctp_size

if TYPE_CHECKING:
    from lbsim.model.scenario import SctpScript, SyntheticTraffic, TcpScript, UdpScript

__all__ = ["Line", "Script", "script_of"]

_PSH = 8
_IP_HEADER = {4: 20, 6: 40}
_TCP_HEADER = 20
_UDP_HEADER = 8
_MTU = 1500
_MOST_STEPS = 10_000_000
_MOST_PACKETS = 250_000_000


class Line(NamedTuple):
    """A packet, as it is in the first round."""

    at: int  # ns after its round has begun; in the opening and the close: after the first, the last has
    direction: int
    flags: int
    length: int  # bytes of the IP packet
    seq: int  # counted from the sender's initial sequence number
    ack: int  # counted from the other side's; 0 without the flag


@dataclass(frozen=True)
class Script:
    """What every connection does. Its rounds are spread evenly over its lifetime.

    Attributes
    ----------
    rounds : at least 1, even if nothing is said in it.
    round_needs : ns from the beginning of a round to that of the next one, at least.
    around : ns of the lifetime that belong to no round.
    request_bytes, answer_bytes : by which the sequence numbers of client and server grow from round to round.
    """

    opening: list[Line]
    round: list[Line]
    close: list[Line]
    rounds: int = 1
    round_needs: int = 0
    around: int = 0
    request_bytes: int = 0
    answer_bytes: int = 0

    @property
    def steps(self) -> int:
        """How many packets a connection has."""
        return len(self.opening) + self.rounds * len(self.round) + len(self.close)

    @cached_property
    def line_of(self) -> IntColumn:
        """Each step's place among the lines : int32[steps]."""
        opening, round_ = len(self.opening), len(self.round)
        lines = np.arange(opening + round_ + len(self.close), dtype="i4")
        once, again, last = np.split(lines, [opening, opening + round_])
        return np.concatenate([once, np.tile(again, self.rounds), last])

    @cached_property
    def round_of(self) -> IntColumn:
        """How many rounds have begun before each step : int32[steps]."""
        rounds = np.repeat(np.arange(self.rounds, dtype="i4"), len(self.round))
        ends = [np.full(len(lines), n, dtype="i4") for lines, n in ((self.opening, 0), (self.close, self.rounds))]
        return np.concatenate([ends[0], rounds, ends[1]])

    def column(self, field: str) -> IntColumn:
        """One field of all lines : int64[lines]."""
        return np.array([getattr(line, field) for line in (*self.opening, *self.round, *self.close)], dtype=np.int64)


def script_of(spec: SyntheticTraffic) -> Script:
    """What the connections of ``spec`` do.

    Raises
    ------
    ScenarioError : they would do too much.
    """
    from lbsim.model.scenario import SctpScript, TcpScript, UdpScript

    ip_header = _IP_HEADER[spec.service.address.version]
    if spec.service.protocol == "tcp":
        return _tcp_script(spec.tcp or TcpScript(), ip_header + _TCP_HEADER, spec.connections)
    if spec.service.protocol == "sctp":
        return _sctp_script(spec.sctp or SctpScript(), ip_header, spec.connections)
    return _udp_script(spec.udp or UdpScript(), ip_header + _UDP_HEADER, spec.connections)


def _tcp_script(script: TcpScript, headers: int, connections: int) -> Script:
    segment = _MTU - headers
    per_request = -(-script.request_bytes // segment) - (-script.answer_bytes // segment) + 1
    _check_size(connections, 0 if script.half_open else script.requests * per_request)
    half = script.rtt // 2
    talk = _Talk(headers)
    talk.say(0, IN, SYN)
    talk.say(half, REPLY, SYN | ACK)
    if script.half_open:
        return Script(talk.taken(), [], [])
    talk.say(2 * half, IN, ACK)
    opening = talk.taken()
    around = 2 * half + (half if script.close in ("server", "server_rst") else 0)
    _say_close(talk, script.close, around, half)
    close = talk.taken()
    if not script.requests:
        return Script(opening, [], close, around=around)
    talk.said = {IN: 1, REPLY: 1}  # the SYNs
    talk.say_bytes(2 * half, IN, script.request_bytes, segment)
    talk.say_bytes(3 * half, REPLY, script.answer_bytes, segment)
    talk.say(4 * half, IN, ACK)
    return Script(
        opening, talk.taken(), close, script.requests, 2 * half, around, script.request_bytes, script.answer_bytes
    )


def _say_close(talk: _Talk, close: str, at: int, half: int) -> None:
    first, second = (IN, REPLY) if close in ("client", "client_rst") else (REPLY, IN)
    if close in ("client_rst", "server_rst"):
        talk.say(at, first, RST)
    elif close in ("client", "server"):
        talk.say(at, first, FIN | ACK)
        talk.say(at + half, second, FIN | ACK)
        talk.say(at + 2 * half, first, ACK)


def _udp_script(script: UdpScript, headers: int, connections: int) -> Script:
    _check_size(connections, script.queries * (1 + script.answered))
    query = Line(0, IN, 0, headers + script.query_bytes, 0, 0)
    answer = Line(script.rtt, REPLY, 0, headers + script.answer_bytes, 0, 0)
    return Script([], [query, answer] if script.answered else [query], [], script.queries, script.rtt)


def _sctp_script(script: SctpScript, ip_header: int, connections: int) -> Script:
    most = _MTU - ip_header - sctp_size(CHUNKS["DATA"])
    per_request = -(-script.request_bytes // most) - (-script.answer_bytes // most) + 1
    _check_size(connections, 0 if script.half_open else script.requests * per_request)
    half = script.rtt // 2

    def chunk(at: int, who: int, name: str, payload: int = 0) -> Line:
        return Line(at, who, CHUNKS[name], ip_header + sctp_size(CHUNKS[name], payload), 0, 0)

    def data(at: int, who: int, count: int) -> list[Line]:
        sizes = [most] * ((count - 1) // most)
        return [chunk(at, who, "DATA", size) for size in (*sizes, count - sum(sizes))]

    opening = [chunk(0, IN, "INIT"), chunk(half, REPLY, "INIT-ACK")]
    if script.half_open:
        return Script(opening, [], [])
    opening += [chunk(2 * half, IN, "COOKIE-ECHO"), chunk(3 * half, REPLY, "COOKIE-ACK")]
    around = 4 * half
    first, second = (IN, REPLY) if script.close in ("client", "client_abort") else (REPLY, IN)
    around += half if first == REPLY else 0
    close: list[Line] = []
    if script.close in ("client", "server"):
        close = [
            chunk(around, first, "SHUTDOWN"),
            chunk(around + half, second, "SHUTDOWN-ACK"),
            chunk(around + 2 * half, first, "SHUTDOWN-COMPLETE"),
        ]
    elif script.close != "never":
        close = [chunk(around, first, "ABORT")]
    if not script.requests:
        return Script(opening, [], close, around=around)
    talk = data(4 * half, IN, script.request_bytes) + data(5 * half, REPLY, script.answer_bytes)
    talk.append(chunk(6 * half, IN, "DATA"))  # that the answer was heard: a SACK, which is as long
    return Script(opening, talk, close, script.requests, 2 * half, around)


class _Talk:
    """The lines of a TCP connection, and how much each side has said."""

    def __init__(self, headers: int) -> None:
        self.headers = headers
        self.lines: list[Line] = []
        self.said = {IN: 0, REPLY: 0}

    def say(self, at: int, who: int, flags: int, payload: int = 0) -> None:
        """A packet that acknowledges all that was heard."""
        heard = self.said[REPLY if who == IN else IN] if flags & ACK else 0
        self.lines.append(Line(at, who, flags, self.headers + payload, self.said[who], heard))
        self.said[who] += payload + bool(flags & (SYN | FIN))

    def say_bytes(self, at: int, who: int, count: int, segment: int) -> None:
        """Data in segments, the last one pushed."""
        while count > segment:
            self.say(at, who, ACK, segment)
            count -= segment
        self.say(at, who, _PSH | ACK, count)

    def taken(self) -> list[Line]:
        """The lines since they were taken last."""
        lines, self.lines = self.lines, []
        return lines


def _check_size(connections: int, packets: int) -> None:
    if packets > _MOST_STEPS or connections * packets > _MOST_PACKETS:
        raise ScenarioError(
            f"requests and answers would be {packets:,} packets in each connection, "
            f"{connections * packets:,} in all; expected at most {_MOST_STEPS:,} and {_MOST_PACKETS:,}"
        )
