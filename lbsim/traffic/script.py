"""A packet script, one line per packet -> a trace.

::

    # TIME SOURCE > DESTINATION PROTO [FLAGS] [WORD=VALUE ...]
    0.000  203.0.113.1:40001 > 192.168.1.10:80 tcp S
    +10ms  192.168.1.10:80 > 203.0.113.1:40001 tcp SA      # from whichever real server got the SYN
    1.5s   10.0.0.11:80 > 203.0.113.1:40001 tcp PA len=100 # from this real server
    2s     [2001:db8::1]:1000 > [2001:db8:1::10]:53 udp len=40

``TIME`` is as everywhere in a scenario (a number of seconds, ``200ms``, ``15m``); ``+`` counts from the
packet before. ``FLAGS`` are letters of FSRPAU, or ``-`` for none; TCP needs them, UDP has none, and SCTP has the
name of its chunk instead: ``sctp INIT``, ``sctp DATA len=100``. The words are ``len`` (bytes of payload), ``ttl``,
for TCP ``seq`` and ``ack``, and ``via=director``: a program on the director begins the flow. Blanks around ``>`` do
not matter, nor does what follows a ``#``.

Who sends a packet follows from the lines above it:

* its source talks to its destination already: one more packet from a client;
* its destination talks to its source already: an answer. The source is the virtual end, so the sender is
  whichever destination got the flow's last packet;
* its destination talks to somebody else: sent by the real server that is its source, in the flow in which the
  destination sent last;
* its source is a real server: that begins a flow of its own, to whom the director routes its packets; unless that is an
  address of the director, whose client it is then like any other;
* else: a client begins a new flow; with ``via=director``, whatever stands above, a program on the director does.

Without ``seq``, each side counts from 0 on; a SYN begins anew (a client's for both sides), and a given
``seq`` is counted on from. Without ``ack``, a packet with the ACK flag acknowledges all that the other side
has sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lbsim.engine.numbers import ACK, FIN, IN, OUT, OWN, REPLY, SCTP, SYN, TCP, UDP
from lbsim.errors import TraceError, expected_one_of
from lbsim.model.config import Address, parse_endpoint
from lbsim.model.trace import AddressTable, Flow, FlowTable, Trace
from lbsim.model.wording import seconds
from lbsim.traffic.chunks import CHUNKS, sctp_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    End: TypeAlias = tuple[Address, int]

__all__ = ["parse"]

_PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
_LONGEST_HEADER = {TCP: 20, UDP: 8, SCTP: 32}
_FLAGS = "FSRPAU"  # in the order of their bits
_WORD = re.compile(r">|[^\s>]+")
_NUMBER = re.compile(r"[0-9]{1,10}")
_LONGEST = 366 * 24 * 3600 * 10**9
_NO_PROGRAM = (
    "via=director: expected the first packet of a flow, from an address of the director: that of a service, or loopback"
)


def parse(
    text: str,
    *,
    file: str | None = None,
    first_line: int = 1,
    start: int = 0,
    servers: Collection[Address] = (),
    director: Collection[Address] = (),
) -> Trace:
    """The packets of a script, in its order.

    Parameters
    ----------
    text : the script.
    file, first_line : where it stands, for error messages.
    start : ns, the script's time 0.
    servers, director : addresses of real servers, and of the director.

    Raises
    ------
    TraceError : the first line that cannot be understood, with line, column and what was expected.
    """
    talks = _Talks(servers, director)
    times: list[int] = []
    rows: list[_Row] = []
    now = 0
    for line in _lines(text, file, first_line):
        line.packet = len(rows)
        now = _time(line, now)
        times.append(start + now)
        packet = _packet(line)
        if line.via and not talks.may_begin_here(packet):
            raise line.error(_NO_PROGRAM, line.via)
        rows.append(talks.row(packet, by_director=line.via is not None))
    columns = Trace.empty_columns(len(rows))
    columns["time"][:] = times
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(_Row._fields))
    for at, name in enumerate(_Row._fields):
        columns[name][:] = table[:, at]
    return Trace(columns=columns, addresses=AddressTable(talks.addresses), flows=FlowTable(talks.flows))


# ---- lines and words ----


class _Word(NamedTuple):
    text: str
    column: int  # from 1 on


class _Line:
    """A line that is read word by word."""

    def __init__(self, file: str | None, number: int, source: str) -> None:
        self.file = file
        self.number = number
        self.source = source
        self.packet = 0
        self.via: _Word | None = None  # which says that a program on the director begins a flow
        body = source.partition("#")[0].rstrip()
        self.words = [_Word(found[0], found.start() + 1) for found in _WORD.finditer(body)]
        self._end = _Word("", len(body) + 1)

    def take(self, expected: str) -> _Word:
        """The next word."""
        if not self.words:
            raise self.error(f"the line ends here; expected {expected}", self._end)
        return self.words.pop(0)

    def error(self, message: str, word: _Word) -> TraceError:
        """The error to raise about a word."""
        return TraceError(
            message,
            file=self.file,
            line=self.number,
            column=word.column,
            text=self.source.strip(),
            packet=self.packet,
        )


def _lines(text: str, file: str | None, first_line: int) -> Iterator[_Line]:
    for number, source in enumerate(text.removeprefix("\ufeff").split("\n"), first_line):
        line = _Line(file, number, source)
        if line.words:
            yield line


# ---- one line -> one packet ----


class _Packet(NamedTuple):
    proto: int
    src: End
    dst: End
    flags: int
    payload: int
    ttl: int
    seq: int | None  # None: not given
    ack: int | None


def _time(line: _Line, now: int) -> int:
    """When the line's packet comes, ns; ``now`` is the time of the packet before."""
    from lbsim.model.scenario import parse_duration

    word = line.take("a time")
    relative = word.text.startswith("+")
    try:
        time = parse_duration(word.text.removeprefix("+")) + (now if relative else 0)
    except ValueError as error:
        raise line.error(str(error), word) from None
    if time < now:
        raise line.error(f"the packet before is at {seconds(now)}; expected this time or a later one", word)
    if time > _LONGEST:
        raise line.error("expected a time within a year after the script's begin", word)
    return time


def _packet(line: _Line) -> _Packet:
    src = _endpoint(line, "a source, as 203.0.113.1:40001 or [2001:db8::1]:40001")
    arrow = line.take("'>' and a destination")
    if arrow.text != ">":
        raise line.error(f"expected '>' between source and destination, found {arrow.text!r}", arrow)
    at = line.words[0] if line.words else arrow
    dst = _endpoint(line, "a destination, as 192.168.1.10:80 or [2001:db8:1::10]:80")
    version = dst[0].version
    if src[0].version != version:
        raise line.error("source and destination are of different address families; expected one family", at)
    word = line.take("tcp, udp or sctp")
    if word.text not in _PROTOCOLS:
        raise line.error(expected_one_of(word.text, tuple(_PROTOCOLS), "protocol"), word)
    proto = _PROTOCOLS[word.text]
    flags = _flags(line) if proto == TCP else _chunk(line) if proto == SCTP else 0
    values = _values(line, proto, version)
    return _Packet(
        proto,
        src,
        dst,
        flags,
        values.get("len", 0),
        values.get("ttl", 64),
        values.get("seq"),
        values.get("ack"),
    )


def _endpoint(line: _Line, expected: str) -> End:
    word = line.take(expected)
    try:
        return parse_endpoint(word.text)
    except ValueError as error:
        raise line.error(str(error), word) from None


def _flags(line: _Line) -> int:
    expected = f"letters of {_FLAGS}, each at most once, or - for none"
    word = line.take(f"flags: {expected}")
    letters = "" if word.text == "-" else word.text
    if not set(letters) <= set(_FLAGS) or len(set(letters)) < len(letters):
        raise line.error(f"{word.text!r} are no TCP flags; expected {expected}", word)
    return sum(1 << _FLAGS.index(letter) for letter in letters)


def _chunk(line: _Line) -> int:
    word = line.take(f"a chunk: one of {', '.join(CHUNKS)}")
    if word.text not in CHUNKS:
        raise line.error(expected_one_of(word.text, tuple(CHUNKS), "chunk"), word)
    return CHUNKS[word.text]


def _values(line: _Line, proto: int, version: int) -> dict[str, int]:
    """What WORD=VALUE says, of the words that are given."""
    room = 65535 - _LONGEST_HEADER[proto] - (20 if version == 4 else 0)
    most = {"len": room, "ttl": 255, "via": 0} | ({"seq": 2**32 - 1, "ack": 2**32 - 1} if proto == TCP else {})
    values: dict[str, int] = {}
    while line.words:
        word = line.words.pop(0)
        name, equals, value = word.text.partition("=")
        if not equals:
            known = ", ".join(f"{name}=" for name in sorted(most))
            raise line.error(f"{word.text!r} is no WORD=VALUE; expected one of: {known}", word)
        if name not in most:
            raise line.error(expected_one_of(name, tuple(most), "word"), word)
        if name in values:
            raise line.error(f"{name}= for the second time; expected it once", word)
        if name == "via":
            if value != "director":
                raise line.error(f"via={value}: expected via=director", word)
            values[name] = 1
            line.via = word
            continue
        if not _NUMBER.fullmatch(value) or int(value) > most[name]:
            raise line.error(f"{name}={value}: expected a whole number from 0 to {most[name]}", word)
        values[name] = int(value)
    return values


# ---- packets -> rows ----


def _behind_ip(packet: _Packet) -> int:
    if packet.proto == SCTP:
        return sctp_size(packet.flags, packet.payload)
    return (20 if packet.proto == TCP else 8) + packet.payload


class _Row(NamedTuple):
    """The columns of one packet that a script decides."""

    flow: int
    direction: int
    src: int
    sport: int
    dst: int
    dport: int
    proto: int
    flags: int
    length: int
    ttl: int
    seq: int
    ack: int


class _Talks:
    """The flows so far, who answers whom in them, and how far each side has counted."""

    def __init__(self, servers: Collection[Address], director: Collection[Address]) -> None:
        self._servers = frozenset(servers)
        self._director = frozenset(director)
        self.addresses: dict[Address, int] = {}
        self.flows: dict[Flow, int] = {}
        self._of_servers: set[int] = set()  # flows that a real server began
        self._of_director: set[int] = set()  # flows that a program on the director began
        self._latest: dict[tuple[int, int, int], int] = {}  # client end -> flow in which it sent last
        self._next_seq: list[list[int]] = []  # of each flow: of its client, of its servers

    def may_begin_here(self, packet: _Packet) -> bool:
        """Whether the packet can be the first one of a flow that a program on the director begins."""
        source, sport = packet.src
        ends = self.addresses.get(source, -1), sport, self.addresses.get(packet.dst[0], -1), packet.dst[1]
        there = Flow(packet.proto, *ends) in self.flows or Flow(packet.proto, *ends[2:], *ends[:2]) in self.flows
        return (source in self._director or source.is_loopback) and not there

    def row(self, packet: _Packet, *, by_director: bool) -> _Row:
        """The packet as a row, after those before it. ``by_director``: a program on the director begins its flow."""
        proto, (source, sport), (destination, dport) = packet[:3]
        src = self.addresses.setdefault(source, len(self.addresses))
        dst = self.addresses.setdefault(destination, len(self.addresses))
        begins = source in self._servers and destination not in self._director
        if by_director:
            self._of_director.add(len(self.flows))
        flow, direction = self._place(Flow(proto, src, sport, dst, dport), Flow(proto, dst, dport, src, sport), begins)
        header = 20 if source.version == 4 else 40
        began = direction == OUT if flow in self._of_servers else direction in (IN, OWN)
        seq, ack = self._count(packet, flow, 0 if began else 1) if proto == TCP else (0, 0)
        length = header + _behind_ip(packet)
        ends = src, sport, dst, dport
        return _Row(flow, direction, *ends, proto, packet.flags, length, packet.ttl, seq, ack)

    def _place(self, sent: Flow, answered: Flow, from_server: bool) -> tuple[int, int]:
        """Flow and direction of a packet, ``sent`` if whoever began the flow sent it, else of the flow ``answered``.

        ``from_server`` : a real server sends it if nothing else is known.
        """
        client_end = answered.proto, answered.client, answered.client_port
        if sent not in self.flows:
            if answered in self.flows:
                flow = self.flows[answered]
                return flow, IN if flow in self._of_servers else REPLY
            begins_here = len(self.flows) in self._of_director
            if client_end in self._latest and not begins_here:
                return self._latest[client_end], OUT
            if from_server:
                self._of_servers.add(len(self.flows))
            self.flows[sent] = len(self.flows)
            self._next_seq.append([0, 0])
        flow = self.flows[sent]
        if flow in self._of_servers:
            return flow, OUT
        self._latest[sent.proto, sent.client, sent.client_port] = flow
        return flow, OWN if flow in self._of_director else IN

    def _count(self, packet: _Packet, flow: int, side: int) -> tuple[int, int]:
        """The sequence and acknowledgement number of a packet of one side (0: who began, 1: the other)."""
        counts = self._next_seq[flow]
        if packet.flags & SYN:
            counts[side] = 0
            if side == 0:
                counts[1] = 0
        seq = counts[side] if packet.seq is None else packet.seq
        heard = counts[1 - side] if packet.flags & ACK else 0
        counts[side] = (seq + packet.payload + bool(packet.flags & SYN) + bool(packet.flags & FIN)) & 0xFFFFFFFF
        return seq, heard if packet.ack is None else packet.ack
