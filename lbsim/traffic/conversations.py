"""What a block of captured frames is about: which packets are rows of the trace, of which flow, in which direction.

Two steps, in both lanes: :func:`find_rows` decides from the headers and the services' ends whether a packet is a row,
and notes who its client is; ``numbering`` then gives addresses and flows their numbers. Where there are fragments,
``reassembly`` puts them together, and the datagrams take the same steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from lbsim.engine.lanes import COMPILED, Lane, kernel
from lbsim.engine.numbers import (
    AH,
    BAD_OPTIONS,
    CUT_HEADER,
    ESP,
    FRAGMENT,
    ICMP_ERROR,
    IN,
    NO_PORTS,
    REPLY,
    SCTP,
    TCP,
    UDP,
)
from lbsim.engine.records import tuple_of_columns
from lbsim.model.config import Address, ServiceId
from lbsim.model.datagrams import Datagrams
from lbsim.model.quotes import Quotes
from lbsim.model.trace import COLUMN_TYPES, AddressTable, IntColumn
from lbsim.packet.headers import Bytes, header_fields
from lbsim.packet.quoted import wrong_icmp
from lbsim.traffic.capture_reader import Capture
from lbsim.traffic.frames import FRAME_COLUMNS, FULL, FrameColumns, Frames, Place, find_frames
from lbsim.traffic.lane_columns import columns, given_columns, rows_with, zeros
from lbsim.traffic.links import find_ip
from lbsim.traffic.numbering import (
    ROOM,
    TALK_COLUMNS,
    Columns,
    Known,
    Numbers,
    TalkColumns,
    number_rows,
    prefetch_numbers,
    room,
)
from lbsim.traffic.quoting import Notes, fresh_notes, grown_notes, note_quote, notes_room, quotes_of
from lbsim.traffic.reassembly import Reassembly
from lbsim.traffic.service_ends import (
    LEFT_OUT,
    NO_SERVICE,
    NOT_CAPTURED,
    OTHER_PROTOCOL,
    PORT_MASK,
    SAME_PORT,
    UNREADABLE,
    Book,
    ServiceEnds,
    end_at,
)

__all__ = ["Conversations", "Rows"]

FRAMES_AT_ONCE = 1024
NO_ROW = 1 << 30  # added to a number of LEFT_OUT: no end of a service
RowColumns = tuple_of_columns("RowColumns", COLUMN_TYPES, __name__)


class Rows(NamedTuple):
    """The rows of one block, in the order of the file.

    Attributes
    ----------
    columns : as those of a trace; times are in ns since 1970, or NO_TIME.
    flows : the flows that begin here, as columns of a FlowTable, in the order of their numbers.
    left_out, quotes, datagrams : as of a trace.
    in_order : the flows' numbers are in the order of their first rows, and each has one.
    """

    columns: dict[str, IntColumn]
    flows: dict[str, IntColumn]
    left_out: dict[str, int]
    quotes: Quotes
    datagrams: Datagrams
    in_order: bool


class Conversations:
    """Who talks to which service in a capture, block after block."""

    def __init__(
        self,
        capture: Capture,
        services: Collection[ServiceId],
        mapping: Mapping[tuple[Address, int], ServiceId],
        *,
        lane: Lane,
        file: str,
    ) -> None:
        """
        Raises
        ------
        TraceError : the mapping leads from one address family to the other.
        """
        self._capture = capture
        self._lane = lane
        self._services = ServiceEnds(services, mapping, lane=lane, file=file)
        self._numbers = Numbers(lane, capture.most, len(self._services.book.pairs))
        self._frames = columns(lane, FrameColumns, FRAME_COLUMNS, min(FRAMES_AT_ONCE, capture.most))
        self._notes = fresh_notes(lane)
        self._talks = columns(lane, TalkColumns, TALK_COLUMNS, len(self._frames.time))
        self._reassembly = Reassembly(lane)

    @property
    def addresses(self) -> AddressTable:
        """The addresses of all rows so far, in the order of their numbers."""
        return self._numbers.addresses

    def next_block(self, *, one_window: bool) -> Rows:
        """What the next frames are about; ``one_window`` as for :meth:`Capture.advance`."""
        self._numbers.begin_block()
        self._reassembly.begin_block()
        rows = columns(self._lane, RowColumns, COLUMN_TYPES, self._capture.most)
        left_out = zeros(self._lane, len(LEFT_OUT))
        found = 0

        def look(most: int) -> None:
            nonlocal found
            self._numbers.make_room()
            first = found
            found += self._look(self._capture.place, most, rows, left_out, found)
            if fragments := rows_with(rows.shape, first, found, FRAGMENT):
                self._reassembly.add(self._capture.window.data, rows, fragments, look_again)

        def look_again(place: Place, row: int) -> int:
            self._numbers.room_for_another()
            return self._look(place, 1, rows, left_out, row)

        self._capture.advance(look, one_window=one_window)
        return self._without_gone(
            Rows(
                given_columns(rows, COLUMN_TYPES, found),
                self._numbers.end_block(),
                {name: int(number) for name, number in zip(LEFT_OUT, left_out, strict=True) if number},
                quotes_of(self._notes),
                self._reassembly.datagrams,
                in_order=not self._reassembly.changed,
            )
        )

    def _look(self, place: Place, most: int, rows: Columns, left_out: list[int], row: int) -> int:
        """How many rows were found in up to ``most`` frames from there on, the first of them ``row``."""
        if notes_room(self._notes) < ROOM:
            self._notes = grown_notes(self._lane, self._notes)
        find = self._lane.function(read_rows)
        output = Output(rows, self._talks, left_out, self._notes)
        return int(find(place, self._frames, most, self._services.book, self._numbers.known, output, row))

    def _without_gone(self, found: Rows) -> Rows:
        """The rows that are still some after fragments were put together."""
        if not self._reassembly.gone:
            return found
        stay = np.ones(len(found.columns["time"]), dtype=bool)
        stay[self._reassembly.gone] = False
        places = np.cumsum(stay) - 1
        return found._replace(
            columns={name: column[stay] for name, column in found.columns.items()},
            quotes=found.quotes.placed(places),
            datagrams=found.datagrams.placed(places),
        )


class Output(NamedTuple):
    """What becomes of frames: rows of the trace, who talks in those that were found last, counts, quotes."""

    rows: Columns
    talks: Columns
    left_out: list[int]
    notes: Notes


@kernel
def read_rows(place: Place, frames: Frames, most: int, book: Book, known: Known, output: Output, row: int) -> int:
    """How many rows were found in up to ``most`` frames; the first of them is ``row``.

    They are found a few at a time, so that a frame is still in the processor's cache when its row is made.
    """
    first_row = row
    scan = place.scans[0]
    scan.stopped = FULL
    while most > 0 and scan.stopped == FULL:
        free = min(room(known, len(book.pairs)), notes_room(output.notes))
        if free < ROOM:  # the caller makes more
            break
        count = find_frames(place, frames, min(most, free, len(frames.time)))
        found = find_rows(place.raw, frames, count, book, known, output, row)
        number_rows(place.raw, output.rows, row, found, output.talks, book.pairs, known)
        most -= count
        row += found
    return row - first_row


@kernel
def find_rows(raw: Bytes, frames: Frames, count: int, book: Book, known: Known, output: Output, row: int) -> int:
    """How many of ``count`` frames are rows of the trace, the first of them ``row``; they are all but numbered."""
    frame_times, begins, ends, links = frames
    rows, talks, left_out, notes = output
    times, _, directions, _, sports, _, dports, protos, all_flags, lengths, ttls, shapes, seqs, acks, places, sizes = (
        rows
    )
    clients, pairs = talks
    first_row = row
    for k in range(count):
        end = ends[k]
        at = find_ip(raw, begins[k], end, links[k])
        if at < 0:
            left_out[-1 - at] += 1
            continue
        version, proto, src, dst, sport, dport, flags, seq, ack, length, ttl, shape, l4 = header_fields(raw, at, end)
        captured = end - at if end - at < length else length  # what follows is padding
        cut = length - l4 if captured < length else 0
        number = _service_of(raw, at, version, proto, src, dst, sport, dport, shape, cut, book)
        if number >= NO_ROW:
            left_out[number - NO_ROW] += 1
            continue
        if number > 0:
            to = book.ends[number]
            directions[row] = IN
            clients[row - first_row] = src if version == 4 else -at - 8
            if to.virtual_port != SAME_PORT:
                dport = to.virtual_port
        else:
            to = book.ends[-number]
            directions[row] = REPLY
            clients[row - first_row] = dst if version == 4 else -at - 24
            if to.virtual_port != SAME_PORT:
                sport = to.virtual_port
        pairs[row - first_row] = to.pair
        times[row] = frame_times[k]
        sports[row] = sport
        dports[row] = dport
        protos[row] = proto
        all_flags[row] = flags
        lengths[row] = length
        ttls[row] = ttl
        shapes[row] = shape
        seqs[row] = seq
        acks[row] = ack
        places[row] = at
        sizes[row] = captured
        if COMPILED:
            prefetch_numbers(rows, row, clients[row - first_row], to.pair, known)
        if shape == ICMP_ERROR:
            wrong = captured >= length and wrong_icmp(raw, at, at + l4, at + captured, version)
            note_quote(raw, at + l4, at + captured, version, row, wrong, book, notes)
        row += 1
    return row - first_row


@kernel
def _service_of(
    raw: Bytes, at: int, version: int, proto: int, src: int, dst: int, sport: int, dport: int, shape: int, cut: int,
    book: Book,
) -> int:  # fmt: skip
    """The service's end that the packet at ``at`` goes to; minus the one it comes from; or NO_ROW + why it is no row.

    Parameters
    ----------
    src, dst : the last 32 bits of the addresses.
    cut : bytes behind the IP header, if not all of the packet was captured; else 0.
    """
    if version == 0:
        return NO_ROW + UNREADABLE
    is_ipsec = proto in (ESP, AH)
    if proto != TCP and proto != UDP and proto != SCTP and not is_ipsec and shape != ICMP_ERROR:
        return NO_ROW + OTHER_PROTOCOL
    src_at = at + 12
    dst_at = at + 16
    if version == 6:
        src_at = at + 8
        dst_at = at + 24
    by_address = CUT_HEADER < shape < BAD_OPTIONS
    number = 0
    if by_address or book.ports[dport & PORT_MASK]:
        number = end_at(raw, dst_at, version, proto, dst, dport, shape, book)
    if number == 0 and shape == ICMP_ERROR:
        return NO_ROW + OTHER_PROTOCOL
    if number == 0 and (by_address or book.ports[sport & PORT_MASK]):
        number = -end_at(raw, src_at, version, proto, src, sport, shape, book)
    if number == 0:
        return NO_ROW + (OTHER_PROTOCOL if is_ipsec else NO_SERVICE)
    # the transport header is incomplete here, but was complete in the packet
    if cut >= (20 if proto == TCP else 12 if proto == SCTP else 8) and shape in (CUT_HEADER, NO_PORTS):
        return NO_ROW + NOT_CAPTURED
    return number
