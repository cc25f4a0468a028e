"""IP fragments: datagrams put together again, and cut into pieces.

Left to chance by the kernel, and 0 here: the id of IPv6 fragments that a director makes.

Kernel counterpart: ip_fragment.c, ip_output.c, nf_conntrack_reasm.c, ip6_output.c.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

from lbsim.engine.numbers import FRAGMENT, IPV4
from lbsim.model.datagrams import Datagram
from lbsim.packet import checksum
from lbsim.packet.headers import FRAGMENT_HEADER, is_extension, parse, word

__all__ = [
    "Datagram",
    "Fragments",
    "Key",
    "Piece",
    "Waiting",
    "is_fragment",
    "piece_of",
    "split",
    "split_again",
    "without_empty_headers",
]

SECOND = 1_000_000_000
PATIENCE = {4: 30 * SECOND, 6: 60 * SECOND}  # how long the rest of a datagram is waited for
MOST = 65535
LEAST_V6 = 1280  # bytes that every IPv6 link carries
MORE_V4 = 0x2000
PLACE_V4 = 0x1FFF
DONT_FRAGMENT = 0x4000

#: What the fragments of a datagram have in common: IP version, source, destination, id, protocol (of IPv6: 0).
Key: TypeAlias = tuple[int, bytes, bytes, int, int]


class Piece(NamedTuple):
    """What a fragment brings to its datagram.

    Attributes
    ----------
    headers : those in front of it, of IPv6 without the fragment header; the datagram gets the first one's.
    begin, payload : its part of the datagram's payload.
    last : nothing follows.
    """

    key: Key
    headers: bytes
    begin: int
    payload: bytes
    last: bool


class Waiting:
    """The fragments of a datagram so far.

    Attributes
    ----------
    end : of the payload; -1: the last fragment has not come.
    largest : length of the largest one.
    largest_kept_whole : likewise of those that must not be cut.
    first : whatever who adds fragments wants to remember of the first one.
    """

    __slots__ = ("end", "first", "headers", "largest", "largest_kept_whole", "pieces", "until")

    def __init__(self, until: int) -> None:
        self.until = until
        self.pieces: dict[int, bytes] = {}
        self.headers = b""
        self.end = -1
        self.largest = 0
        self.largest_kept_whole = 0
        self.first: Mapping[str, int] | None = None


class Fragments:
    """Datagrams of which not all fragments have come yet.

    A datagram whose rest does not come in time is forgotten; so is one whose fragments overlap or do not fit together.
    (The same fragment twice does no harm.)
    """

    def __init__(self) -> None:
        # By IP version, because then those that came first are given up first.
        self._waiting: dict[int, OrderedDict[Key, Waiting]] = {version: OrderedDict() for version in PATIENCE}

    def waiting(self, key: Key) -> Waiting | None:
        """What has come of a datagram whose rest is waited for."""
        return self._waiting[key[0]].get(key)

    def add(self, data: bytes, now: int) -> Datagram | None:
        """The datagram that this fragment completes, or None.

        Parameters
        ----------
        data : an IP packet that is a fragment, whole.
        now : ns.

        Source: packet-path facts, sections 12 and 16 (ip_fragment.c, nf_conntrack_reasm.c, 6.1 and 6.12).
        """
        self._give_up(now)
        piece = piece_of(data)
        if piece is None:
            return None
        version = piece.key[0]
        all_waiting = self._waiting[version]
        waiting = all_waiting.setdefault(piece.key, Waiting(now + PATIENCE[version]))
        if not _fits(waiting, piece):
            del all_waiting[piece.key]
            return None
        waiting.pieces[piece.begin] = piece.payload
        waiting.largest = max(waiting.largest, len(data))
        if version == 4 and word(data, 6) & DONT_FRAGMENT:
            waiting.largest_kept_whole = max(waiting.largest_kept_whole, len(data))
        if piece.begin == 0:
            waiting.headers = piece.headers
        if piece.last:
            waiting.end = piece.begin + len(piece.payload)
        if waiting.end < 0 or sum(map(len, waiting.pieces.values())) < waiting.end:
            return None
        del all_waiting[piece.key]
        payloads = [waiting.pieces[begin] for begin in sorted(waiting.pieces)]
        kept_whole = waiting.largest_kept_whole == waiting.largest
        whole = _whole(waiting.headers, b"".join(payloads), DONT_FRAGMENT if kept_whole else 0)
        return Datagram(whole, waiting.largest, tuple(map(len, payloads)))

    def _give_up(self, now: int) -> None:
        """Forget the datagrams whose time is over."""
        for waiting in self._waiting.values():
            while waiting and next(iter(waiting.values())).until <= now:
                waiting.popitem(last=False)


def is_fragment(data: bytes) -> bool:
    """Whether this is an IP packet that is a fragment."""
    if len(data) >= 20 and data[0] >> 4 == IPV4:
        return word(data, 6) & (MORE_V4 | PLACE_V4) != 0
    headers = parse(data)
    return headers is not None and headers.shape == FRAGMENT


def _fits(waiting: Waiting, piece: Piece) -> bool:
    """Whether a fragment fits to those that are there: in size, and beside them or the same as one."""
    begin, end = piece.begin, piece.begin + len(piece.payload)
    if end > MOST - len(piece.headers) or (piece.last and any(at >= end for at in waiting.pieces)):
        return False
    if waiting.end >= 0 and (end > waiting.end or (piece.last and end != waiting.end)):
        return False
    return all(
        end <= at or begin >= at + len(payload) or (begin == at and len(piece.payload) == len(payload))
        for at, payload in waiting.pieces.items()
    )


def without_empty_headers(data: bytes) -> bytes:
    """The IPv6 packet without fragment headers that are not needed: they say that the packet is its only fragment.

    Where IPv6 datagrams are put together, such a packet is one at once, and has no such header from then on.

    Source: packet-path facts, section 16 (nf_conntrack_reasm.c); seen on 6.1.192 and 6.12.117.
    """
    packet = bytearray(data)
    at, before = 40, 6  # where the header is that is announced there
    while is_extension(packet[before]) and at + 8 <= len(packet):
        if packet[before] != FRAGMENT_HEADER:
            before, at = at, at + 8 + packet[at + 1] * 8
        elif word(packet, at + 2) & ~6 == 0:
            packet[before] = packet[at]
            del packet[at : at + 8]
            packet[4:6] = (word(packet, 4) - 8).to_bytes(2)
        else:
            break
    return bytes(packet)


def piece_of(data: bytes) -> Piece | None:
    """What this fragment brings; None if it can be no part of anything."""
    return _piece_v4(data) if data[0] >> 4 == 4 else _piece_v6(data)


def _piece_v4(data: bytes) -> Piece | None:
    size = (data[0] & 15) * 4
    where = word(data, 6)
    payload = data[size : word(data, 2)]
    last = not where & MORE_V4
    if not last:
        payload = payload[: len(payload) & ~7]
    if not payload:
        return None
    key = (4, data[12:16], data[16:20], word(data, 4), data[9])
    return Piece(key, data[:size], (where & PLACE_V4) * 8, payload, last)


def _piece_v6(data: bytes) -> Piece | None:
    """None of a fragment whose length cannot be: the kernel answers that with a parameter problem."""
    at, before, kind = 40, 6, data[6]  # where the header of this kind is, and where it is announced
    while kind != FRAGMENT_HEADER:
        assert is_extension(kind)
        kind, before, at = data[at], at, at + 8 + data[at + 1] * 8
    where = word(data, at + 2)
    payload = data[at + 8 : 40 + word(data, 4)]
    last = not where & 1
    if not payload or (not last and len(payload) % 8):
        return None
    headers = bytearray(data[:at])
    headers[before] = data[at]
    key = (6, data[8:24], data[24:40], int.from_bytes(data[at + 4 : at + 8]), 0)
    return Piece(key, bytes(headers), where & 0xFFF8, payload, last)


def _whole(headers: bytes, payload: bytes, flags: int) -> bytes:
    """The packet. ``flags``: of IPv4; "don't fragment" is said of the whole if the largest fragment said so."""
    packet = bytearray(headers)
    if packet[0] >> 4 == 6:
        packet[4:6] = (len(headers) - 40 + len(payload)).to_bytes(2)
        return bytes(packet) + payload
    packet[2:4] = (len(headers) + len(payload)).to_bytes(2)
    packet[6:8] = flags.to_bytes(2)
    return _with_check(packet) + payload


def _with_check(header: bytearray) -> bytes:
    header[10:12] = b"\0\0"
    header[10:12] = checksum.full(header).to_bytes(2)
    return bytes(header)


def split(data: bytes, limit: int) -> list[bytes]:
    """The packet in pieces of at most ``limit`` bytes, as they are sent; itself if it is short enough.

    "Don't fragment" is not looked at. Where not even 8 bytes of payload fit into a piece, the packet is left whole.

    Source: packet-path facts, sections 12 and 13.1 (ip_output.c ip_do_fragment(), ip6_output.c ip6_fragment()).
    """
    if len(data) <= limit:
        return [data]
    begin = _payload_at(data)
    step = _most_payload(data, begin, limit)
    if step < 8:
        return [data]
    size = len(data) - begin
    return _cut(data, begin, [min(step, size - done) for done in range(0, size, step)])


def split_again(data: bytes, limit: int, came: Datagram) -> list[bytes]:
    """What a datagram that came in fragments has become, in those that it leaves in: cut where it was before.

    What was put in front belongs to the first one. If that is then too large, or does not end where a fragment may, all
    is cut anew, into pieces as large as the largest one was.

    Not modelled: a kernel joins small fragments of an IPv4 request if its buffers happen to have room; an answer whose
    fragments must not be cut is refused when it was already translated.

    Source: ip_output.c ip_do_fragment(), ip6_output.c ip6_fragment(); seen on 6.1.192 and 6.12.117.
    """
    if data[0] >> 4 == 6:
        if len(data) <= min(limit, came.largest):
            return [data]
        limit = min(limit, max(came.largest, LEAST_V6))
    else:
        limit = min(limit, came.largest)
    begin = _payload_at(data)
    most = _most_payload(data, begin, limit)
    others = came.lengths[1:]
    first = len(data) - begin - sum(others)
    if others and first % 8 == 0 and max(first, *others) <= most:
        return _cut(data, begin, [first, *others])
    return split(data, limit)


def _payload_at(data: bytes) -> int:
    """Where the part of a packet begins that is cut: behind the headers that each fragment has."""
    return (data[0] & 15) * 4 if data[0] >> 4 == 4 else _unfragmentable(data)[0]


def _most_payload(data: bytes, begin: int, limit: int) -> int:
    """How many bytes a fragment of ``limit`` bytes can have of the packet; its last fragment may have up to 7 more."""
    return limit - begin - (0 if data[0] >> 4 == 4 else 8) & ~7


def _cut(data: bytes, begin: int, lengths: Sequence[int]) -> list[bytes]:
    """The packet in fragments with so many bytes of payload."""
    make = _fragment_v4 if data[0] >> 4 == 4 else _fragment_v6
    ends = list(accumulate(lengths, initial=begin))
    return [make(data, begin, at, end) for at, end in pairwise(ends)]


def _fragment_v4(data: bytes, begin: int, at: int, end: int) -> bytes:
    """The fragment that has the packet's bytes from ``at`` up to ``end``."""
    where = word(data, 6)
    header = bytearray(data[:begin])
    if at > begin:
        _blank_options(header)
    more = MORE_V4 if end < len(data) else where & MORE_V4
    header[2:4] = (begin + end - at).to_bytes(2)
    header[6:8] = ((where & PLACE_V4) + (at - begin) // 8 | more).to_bytes(2)
    return _with_check(header) + data[at:end]


def _fragment_v6(data: bytes, begin: int, at: int, end: int) -> bytes:
    """The fragment that has the packet's bytes from ``at`` up to ``end``."""
    _, before, kind = _unfragmentable(data)
    headers = bytearray(data[:begin])
    headers[before] = FRAGMENT_HEADER
    headers[4:6] = (begin - 40 + 8 + end - at).to_bytes(2)
    where = at - begin | (end < len(data))
    return bytes(headers) + bytes([kind, 0]) + where.to_bytes(2) + bytes(4) + data[at:end]


def _blank_options(header: bytearray) -> None:
    """Put "no operation" in the place of options that only the first fragment has."""
    at = 20
    while at < len(header):
        kind = header[at]
        length = 1 if kind in (0, 1) else header[at + 1] if at + 1 < len(header) else 0
        if kind == 0 or length == 0 or at + length > len(header):
            return
        if not kind & 0x80:
            header[at : at + length] = b"\x01" * length
        at += length


def _unfragmentable(data: bytes) -> tuple[int, int, int]:
    """Where the headers of an IPv6 packet end that each fragment has, where the next one is announced, and its kind.

    Hop-by-hop options and routing headers are such.
    """
    at, before, kind = 40, 6, data[6]
    while kind in (0, 43, 60) and at + 8 <= len(data) and _routing_follows(data, kind, at):
        kind, before, at = data[at], at, at + 8 + data[at + 1] * 8
    return at, before, kind


def _routing_follows(data: bytes, kind: int, at: int) -> bool:
    """Whether the header at ``at`` belongs in front: destination options do only with a routing header behind."""
    if kind != 60:
        return True
    following = data[at]
    at += 8 + data[at + 1] * 8
    while following in (0, 60) and at + 8 <= len(data):
        following, at = data[at], at + 8 + data[at + 1] * 8
    return following == 43
