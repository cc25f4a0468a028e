"""Packets in bulk: columns and captured bytes in, the records of capture files out.

All functions run in both lanes. A packet is made and changed by the same functions as a single one (``build``,
``offload``, ``rewrite``), in place, where it will be written to a file from: :func:`put_records` hands each packet that
leaves the director to its receiver's part of one large buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import kernel
from lbsim.engine.records import i4, i8
from lbsim.packet.build import (
    DONT_FRAGMENT,
    Segment,
    fits,
    header_size,
    length_fits,
    put_ip_header,
    put_transport,
    transport_size,
)
from lbsim.packet.headers import Bytes, read_headers
from lbsim.packet.octets import Words, move
from lbsim.packet.offload import finish_checksum
from lbsim.packet.rewrite import rewrite_in_place
from lbsim.packet.tunnel import MOST_OVERHEAD, Wrapping, overhead, put_tunnel

__all__ = [
    "BY_END",
    "FIRST",
    "IN_PIECES",
    "MOST_EXTRA",
    "NOWHERE",
    "PIECES",
    "RECORD_HEADER",
    "UNBUILT",
    "UNKNOWN",
    "Block",
    "Desk",
    "Receiver",
    "add_receiver",
    "find_receiver",
    "most_bytes",
    "put_record_header",
    "put_records",
]

#: A column of integers, one per packet or address.
Column: TypeAlias = Any

# Where a packet goes
NOWHERE = 0  # it does not leave the director
FIRST = 1  # to the first receiver
BY_END = 2  # to the receiver with the address and port to which the packet goes
IN_PIECES = 3  # somebody else writes it: it was put together of fragments, and leaves in such

# Why put_records() stopped before its end, in place of a receiver
UNKNOWN = 0  # the packet's receiver is not known yet
UNBUILT = -1  # the packet cannot be made
PIECES = -2  # it is IN_PIECES

RECORD_HEADER = 16
MOST_EXTRA = (
    RECORD_HEADER + MOST_OVERHEAD + 20
)  # bytes of a record besides its packet, and behind it (a header is made, then cut)
SECOND = 1_000_000_000


@dataclass(slots=True, eq=False)
class Receiver:
    """One capture file to be: whose packets it gets, and its part of the buffer."""

    addr: i4 = 0
    port: i4 = 0
    next_same_hash: i4 = 0
    begin: i8 = 0  # of its part
    room: i8 = 0  # bytes of its part
    waiting: i8 = 0  # bytes in it


class Desk(NamedTuple):
    """Where records are written: a buffer in parts, who each part is for, and how to find them.

    Attributes
    ----------
    receivers : table of :class:`Receiver`; row 0 is none.
    heads : bucket -> newest receiver.
    """

    buffer: Bytes
    receivers: list[Receiver]
    heads: list[int]


class Block(NamedTuple):
    """Packets as columns (names and meaning as in ``model.trace`` and ``model.result``), and what they point to.

    Attributes
    ----------
    place : where each packet goes.
    first : number of the first packet in the whole traffic.
    ttl_down : by how much the TTL of each is lowered.
    to_addr, to_port : where each packet goes, for BY_END: its new ends, unless it keeps those that it has.
    tunnel : of each packet the number of its tunnel, or -1.
    tun_family, tun_addr, tun_type, tun_port, tun_flags : of tunnels by their number.
    keep_df : the sysctl pmtu_disc.
    raw : captured bytes.
    family, words : the addresses that ``src`` and ``dst`` number.
    new_words : the addresses that ``new_src`` and ``new_dst`` number.
    zeros : as many as a packet can have.
    """

    place: Column
    time: Column
    raw_at: Column
    raw_len: Column
    length: Column
    proto: Column
    flags: Column
    ttl: Column
    src: Column
    sport: Column
    dst: Column
    dport: Column
    seq: Column
    ack: Column
    new_src: Column
    new_sport: Column
    new_dst: Column
    new_dport: Column
    ttl_down: Column
    to_addr: Column
    to_port: Column
    tunnel: Column
    tun_family: Column
    tun_addr: Column
    tun_type: Column
    tun_port: Column
    tun_flags: Column
    keep_df: int
    first: int
    raw: Bytes
    family: Column
    words: Words
    new_words: Words
    zeros: Bytes


@kernel
def put_records(desk: Desk, b: Block, start: int, stop: int) -> tuple[int, int]:
    """(``stop``, 0) after the records of packets ``start`` to ``stop`` - 1 were written; or where that ended and why.

    The reason is UNKNOWN, UNBUILT, PIECES, or the number of the receiver whose part of the buffer has no room.
    """
    for i in range(start, stop):
        if b.place[i] == NOWHERE:
            continue
        if b.place[i] == IN_PIECES:
            return i, PIECES
        r = FIRST if b.place[i] == FIRST else find_receiver(desk.receivers, desk.heads, b.to_addr[i], b.to_port[i])
        if r == UNKNOWN:
            return i, UNKNOWN
        receiver = desk.receivers[r]
        if not _is_packet(b, i):
            return i, UNBUILT
        if receiver.waiting + most_bytes(b, i) > receiver.room:
            return i, r
        at = receiver.begin + receiver.waiting
        head = _overhead(b, i)
        begin = at + RECORD_HEADER + head
        captured = b.raw_at[i] >= 0
        if captured:
            end = begin + b.raw_len[i]
            move(desk.buffer, begin, b.raw, b.raw_at[i], b.raw_len[i])
        else:
            end = begin + b.length[i]
            _build(desk.buffer, begin, end, b, i)
        h = read_headers(desk.buffer, begin, end)
        if captured:
            finish_checksum(desk.buffer, begin, end, h)
        new = b.new_words, b.new_src[i], b.new_sport[i], b.new_dst[i], b.new_dport[i]
        end = rewrite_in_place(desk.buffer, begin, end, h, *new, b.ttl_down[i])
        if head != 0:
            _wrap(desk.buffer, begin - head, begin, end, b, i)
        put_record_header(desk.buffer, at, b.time[i], end - begin + head, max(b.length[i], end - begin) + head)
        receiver.waiting += end - at
    return stop, 0


@kernel
def _overhead(b: Block, i: int) -> int:
    """Bytes that are put in front of packet ``i``."""
    k = b.tunnel[i]
    return 0 if k < 0 else overhead(b.tun_family[k], b.tun_type[k], b.tun_flags[k])


@kernel
def _wrap(buffer: Bytes, begin: int, inner: int, end: int, b: Block, i: int) -> None:
    """Write the headers of packet ``i``'s tunnel in front of it: from the virtual address if that is of its family."""
    k = b.tunnel[i]
    w = Wrapping(b.tun_family[k], b.tun_type[k], b.tun_port[k], b.tun_flags[k], b.keep_df)
    src = b.new_dst[i] if b.family[b.dst[i]] == b.tun_family[k] else b.tun_addr[k]
    put_tunnel(buffer, begin, inner, end, w, b.new_words, src, b.tun_addr[k])


@kernel
def find_receiver(receivers: list[Receiver], heads: list[int], addr: int, port: int) -> int:
    """The receiver with that address and port, or UNKNOWN."""
    r = heads[row_bucket(addr, port, 0, len(heads) - 1)]
    while r != 0 and (receivers[r].addr != addr or receivers[r].port != port):
        r = receivers[r].next_same_hash
    return r


@kernel
def add_receiver(desk: Desk, r: int, addr: int, port: int) -> None:
    """Let row ``r`` be found by this address and port."""
    bucket = row_bucket(addr, port, 0, len(desk.heads) - 1)
    receiver = desk.receivers[r]
    receiver.addr = addr
    receiver.port = port
    receiver.next_same_hash = desk.heads[bucket]
    desk.heads[bucket] = r


@kernel
def most_bytes(b: Block, i: int) -> int:
    """How much room the record of packet ``i`` may need."""
    most: int = b.raw_len[i] if b.raw_at[i] >= 0 else b.length[i]
    return MOST_EXTRA + most


@kernel
def _is_packet(b: Block, i: int) -> bool:
    """Whether packet ``i`` can be made: the captured bytes that it names are there, or its columns make a packet."""
    if b.raw_at[i] >= 0:
        there: bool = 0 <= b.raw_len[i] <= len(b.raw) - b.raw_at[i]
        return there
    version = b.family[b.src[i]]
    fields = Segment(b.proto[i], b.sport[i], b.dport[i], b.flags[i], b.seq[i], b.ack[i])
    return b.family[b.dst[i]] == version and length_fits(version, b.length[i]) and fits(fields, b.ttl[i])


@kernel
def _build(buffer: Bytes, begin: int, end: int, b: Block, i: int) -> None:
    """Make packet ``i`` of its columns in ``buffer[begin:end]``."""
    version = b.family[b.src[i]]
    fields = Segment(b.proto[i], b.sport[i], b.dport[i], b.flags[i], b.seq[i], b.ack[i])
    l4 = begin + header_size(version)
    payload = l4 + transport_size(fields.proto)
    if payload < end:
        move(buffer, payload, b.zeros, 0, end - payload)
    ends = b.words, b.src[i], b.dst[i]
    put_ip_header(buffer, begin, version, *ends, fields.proto, end - l4, b.ttl[i], 0, b.first + i + 1, DONT_FRAGMENT)
    put_transport(buffer, begin, l4, end, payload, version, fields)


@kernel
def put_record_header(buffer: Bytes, at: int, time: int, captured: int, length: int) -> None:
    """Write the header of a record: its time in ns, the bytes that follow, and how many the packet had."""
    put_little(buffer, at, time // SECOND)
    put_little(buffer, at + 4, time % SECOND)
    put_little(buffer, at + 8, captured)
    put_little(buffer, at + 12, length)


@kernel
def put_little(buffer: Bytes, at: int, value: int) -> None:
    """Write the low 32 bits of ``value``, the lowest byte first: the byte order of the files that lbsim writes."""
    buffer[at] = value & 0xFF
    buffer[at + 1] = value >> 8 & 0xFF
    buffer[at + 2] = value >> 16 & 0xFF
    buffer[at + 3] = value >> 24 & 0xFF
