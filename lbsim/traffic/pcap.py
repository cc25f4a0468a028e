"""Captures as traffic: :func:`read` makes a trace of what clients and services say to each other.

A capture shows both directions. Packets to a service are what the director gets (IN). Packets from a service
are answers (REPLY): in the simulation they come from whichever destination got the flow's last IN packet, so
their ``src`` and ``sport`` hold the virtual end. All other packets are counted by name, see :data:`LEFT_OUT`.

:func:`read_blocks` gives the same trace in blocks, for captures that are too large for memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from lbsim.engine.lanes import Lane, interpreted_lane
from lbsim.errors import OutOfOrder, TraceError
from lbsim.model.config import Address, ServiceId
from lbsim.model.datagrams import Datagrams
from lbsim.model.trace import Trace
from lbsim.traffic.capture_bytes import CaptureBytes, open_bytes
from lbsim.traffic.capture_reader import Capture
from lbsim.traffic.conversations import Conversations
from lbsim.traffic.frames import FRAME_COLUMNS, FrameColumns, find_frames
from lbsim.traffic.lane_columns import columns
from lbsim.traffic.service_ends import LEFT_OUT
from lbsim.traffic.time_order import ALWAYS, NEVER, Run, TimeOrder

__all__ = ["LEFT_OUT", "Blocks", "read", "read_blocks"]

BLOCK_PACKETS = 65_536
BLOCK_IN_MEMORY = 8_192  # when the whole file is in memory anyway
WINDOW = 2**20  # bytes of the file in memory at a time: so many that they are still in the cache when looked at
KEPT_WINDOW = 2**23  # the same if blocks keep their bytes: then a block has no more than these
_SURVEYED = 4096  # packets of which the earliest time is noted


def read(
    path: Path,
    *,
    services: Collection[ServiceId],
    mapping: Mapping[tuple[Address, int], ServiceId] | None = None,
    start: int = 0,
    lane: Lane | None = None,
) -> Trace:
    """The trace of a capture: its packets to and from services, in time order.

    ``raw_at`` and ``raw_len`` of a row say where its IP packet lies **as captured** in ``Trace.raw``, which
    is the whole file. With a ``mapping`` those bytes carry the captured server's address and port where the
    row says the virtual service's. ``lbsim.packet.build`` hands out the captured bytes: who sends or stores
    such a packet applies the full Rewrite to it (each new address and port, even if the row has it already),
    so that nothing is lost.

    Parameters
    ----------
    path : a pcap or pcapng file, also packed with gzip or zstd. Link types: Ethernet (VLAN tags are skipped), Linux
        cooked, raw IP, BSD loopback.
    services : the virtual services; packets from or to the address and port of one, and of its protocol, are
        its.
    mapping : captured server ends -> the virtual service that each stands for, for packets of that service's
        protocol. It counts as one of ``services``. Servers that stand for the same service share its flows.
        Where the address alone decides (see :data:`LEFT_OUT`), the first pair with that address does.
    start : ns, when the capture's first packet is sent (even if that is one of those left out).
    lane : how the capture is decoded; default: interpreted.

    Returns
    -------
    Trace. ``left_out`` counts by the names of :data:`LEFT_OUT`. ``damage`` says from where on a damaged file
    could not be read, and whether time runs backwards in it: then the rows are sorted (those of one instant
    stay in the order of the file), and the earliest packet counts as the first.

    The fragment that completes a datagram has the datagram's columns, but for time and captured bytes; see
    ``Trace.datagrams``. Fragments ahead of the first one and packets that end before their ports have port 0 where none
    can be read; ICMP errors (those sent to a service's address) always have.

    Raises
    ------
    TraceError : the file cannot be read, is no capture or has no supported link type; or the mapping leads
        from one address family to the other.
    """
    with open_bytes(path, window=None, keep=True) as source:
        decoder = _Decoder(source, services, mapping or {}, start, BLOCK_IN_MEMORY, lane, str(path), keep_raw=True)
        trace = Trace.joined(decoder.traces(_Watermarks()))
    return replace(trace, left_out={reason: trace.left_out[reason] for reason in LEFT_OUT if reason in trace.left_out})


def read_blocks(
    path: Path,
    *,
    services: Collection[ServiceId],
    mapping: Mapping[tuple[Address, int], ServiceId] | None = None,
    start: int = 0,
    block_packets: int = BLOCK_PACKETS,
    lane: Lane | None = None,
    keep_raw: bool = True,
    survey: bool = False,
) -> Blocks:
    """The trace of :func:`read` in blocks, for which memory does not hold more than the conversations and two blocks.

    Packed files are unpacked piece by piece. Each block has the bytes of its own piece of the file as ``raw``.

    Parameters
    ----------
    path, services, mapping, start, lane : as for :func:`read`.
    block_packets : the most packets of the file that a block is made of.
    keep_raw : whether the captured bytes are wanted. Without them ``raw_at`` is -1, and reading is faster.
    survey : look at the times of all packets first. Rows are then sorted however far time runs backwards, and those
        wait in memory that an earlier packet follows. Without it, rows are sorted that are at most a block from where
        they belong.

    Raises
    ------
    TraceError : as :func:`read`; also while the blocks are read.
    OutOfOrder : while the blocks are read: time runs backwards further than within a block. Ask for a survey then.
    """
    order: _Watermarks = _OneBlock()
    if survey:
        with open_bytes(path, window=WINDOW, keep=False) as looked_at:
            order = _Survey(looked_at, str(path), lane)
    source = open_bytes(path, window=KEPT_WINDOW if keep_raw else WINDOW, keep=keep_raw)
    try:
        decoder = _Decoder(source, services, mapping or {}, start, block_packets, lane, str(path), keep_raw=keep_raw)
        return Blocks(source, decoder.traces(order))
    except BaseException:
        source.close()
        raise


class Blocks(Iterator[Trace]):
    """Blocks of a capture; the file is open until the last one was given, or :meth:`close`.

    Attributes
    ----------
    size : bytes of the file.
    """

    def __init__(self, source: CaptureBytes, traces: Iterator[Trace]) -> None:
        self.size = source.size
        self._source = source
        self._traces = traces

    def __next__(self) -> Trace:
        try:
            return next(self._traces)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    @property
    def done(self) -> int:
        """Bytes of the file that were read so far."""
        return self._source.done

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()


class _Decoder:
    """Frames into rows, rows into traces."""

    def __init__(
        self,
        source: CaptureBytes,
        services: Collection[ServiceId],
        mapping: Mapping[tuple[Address, int], ServiceId],
        start: int,
        block_packets: int,
        lane: Lane | None,
        file: str,
        *,
        keep_raw: bool,
    ) -> None:
        lane = lane or interpreted_lane()
        self._start = start
        self._file = file
        self._keep_raw = keep_raw
        self._capture = Capture(source, lane, block_packets, file)
        self._scan = self._capture.scans[0]
        self._conversations = Conversations(self._capture, services, mapping, lane=lane, file=file)
        self._order = TimeOrder()
        self._left_out: Counter[str] = Counter()
        self._origin: int | None = None

    def traces(self, watermarks: _Watermarks) -> Iterator[Trace]:
        """The traces, at least one; ``watermarks`` say which rows may be given."""
        capture, order = self._capture, self._order
        while not capture.ended:
            run = self._next_run()
            self._refuse_late(run, watermarks)
            order.add(run, backwards=watermarks.backwards or self._scan.backwards > 0)
            if not capture.ended:
                yield from map(self._trace, order.until(watermarks.after(capture.number, order)))
        watermarks.check(capture.number, self._file)
        *runs, last = order.until(ALWAYS) or [run.cut(0)[0]]
        yield from map(self._trace, runs)
        yield self._trace(last, damage=self._damage())

    def _next_run(self) -> Run:
        rows = self._conversations.next_block(one_window=self._keep_raw)
        self._left_out.update(rows.left_out)
        if self._keep_raw:
            raw = bytes(self._capture.window.data)
            return Run(rows.columns, rows.flows, raw, rows.quotes, rows.datagrams, rows.in_order)
        rows.columns["raw_at"].fill(-1)
        rows.columns["raw_len"].fill(0)
        return Run(rows.columns, rows.flows, b"", rows.quotes, Datagrams(), rows.in_order)

    def _refuse_late(self, run: Run, watermarks: _Watermarks) -> None:
        """Refuse rows that would have had to come before those that were given, and an origin of time before theirs."""
        if not self._scan.backwards:
            return
        is_late = len(run) and run.columns["time"].min() < self._order.given
        if is_late or (self._origin is not None and self._scan.first < self._origin):
            raise watermarks.late(self._backwards(), self._file)

    def _trace(self, run: Run, damage: str | None = None) -> Trace:
        self._order.give(run)
        if self._origin is None and self._scan.first >= 0:
            self._origin = int(self._scan.first)
        time = run.columns["time"]
        time -= self._origin or 0
        np.maximum(time, 0, out=time)  # packets without a time at the beginning are of the first known time
        time += self._start
        left_out, self._left_out = dict(self._left_out), Counter()
        return Trace(
            columns=run.columns,
            addresses=self._conversations.addresses,
            flows=self._order.flows,
            raw=run.raw,
            left_out=left_out,
            damage=damage,
            quotes=run.quotes,
            datagrams=run.datagrams,
        )

    def _damage(self) -> str | None:
        return "; ".join(text for text in (self._capture.damage, self._backwards()) if text) or None

    def _backwards(self) -> str:
        scan = self._scan
        if not scan.backwards:
            return ""
        return f"time runs backwards, first at packet {scan.backwards} by {scan.backwards_by} ns"


class _Watermarks:
    """Up to which time rows may be given. This one: only when all were read.

    Attributes
    ----------
    backwards : it is known from the beginning that time runs backwards.
    """

    backwards = False

    def after(self, number: int, order: TimeOrder) -> int:
        """The time up to which rows may be given when so many packets were read."""
        return NEVER

    def late(self, what: str, file: str) -> TraceError:
        """What is raised when a row comes too late."""
        raise AssertionError

    def check(self, number: int, file: str) -> None:
        """Look whether this is the right number of packets in the whole file."""


class _OneBlock(_Watermarks):
    """A block waits for the one behind it."""

    def after(self, number: int, order: TimeOrder) -> int:
        return order.before_last()

    def late(self, what: str, file: str) -> TraceError:
        return OutOfOrder(f"{what}: too far to be sorted while it is read in blocks", file=file)


class _Survey(_Watermarks):
    """A look at all times of the file: nothing is given that an earlier packet follows.

    That is all that has to wait: of a capture with a clock that was set back by a second, a second of it.
    """

    def __init__(self, source: CaptureBytes, file: str, lane: Lane | None) -> None:
        self._numbers: list[int] = []  # of packets, up to which
        earliest: list[int] = []  # is the earliest time of those behind the number before
        lane = lane or interpreted_lane()
        frames = columns(lane, FrameColumns, FRAME_COLUMNS, _SURVEYED)
        find = lane.function(find_frames)
        capture = Capture(source, lane, BLOCK_PACKETS, file)

        def look(most: int) -> None:
            if count := int(find(capture.place, frames, min(most, _SURVEYED))):
                self._numbers.append(capture.number)
                earliest.append(int(np.min(frames.time[:count])))

        while not capture.ended:
            capture.advance(look, one_window=False)
        self.backwards = bool(capture.scans[0].backwards)
        self._earliest_from = np.minimum.accumulate(earliest[::-1])[::-1].tolist()

    def after(self, number: int, order: TimeOrder) -> int:
        piece = bisect_right(self._numbers, number)
        return int(self._earliest_from[piece]) if piece < len(self._numbers) else ALWAYS

    def late(self, what: str, file: str) -> TraceError:
        return TraceError("the file changed while it was read", file=file)

    def check(self, number: int, file: str) -> None:
        if number != (self._numbers[-1] if self._numbers else 0):
            raise self.late("", file)
