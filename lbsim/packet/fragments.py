"""IP fragments: datagrams put together again, and cut into pieces.

Left to chance by the kernel, and 0 here: the id of IPv6 fragments that a director makes.

Kernel counterpart: ip_fragment.c, ip_output.c, nf_conntrack_reasm.c, ip6_output.c.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from lbsim.packet import checksum
from lbsim.packet.headers import FRAGMENT_HEADER, is_extension, word

__all__ = ["Datagram", "Fragments", "split"]

SECOND = 1_000_000_000
PATIENCE = {4: 30 * SECOND, 6: 60 * SECOND}  # how long the rest of a datagram is waited for
MOST = 65535
MORE_V4 = 0x2000
_Key: TypeAlias = tuple[int, bytes, bytes, int, int]


class Datagram(NamedTuple):
    """A datagram that is complete again; ``largest`` is the length of the largest packet that it came in."""

    data: bytes
    largest: int


class _Piece(NamedTuple):
    """What a fragment brings: its part of the payload, and in front of the first one the headers."""

    key: _Key
    headers: bytes  # of IPv6 without the fragment header
    begin: int
    payload: bytes
    last: bool


@dataclass
class _Waiting:
    """The fragments of a datagram so far."""

    until: int
    pieces: dict[int, bytes] = field(default_factory=dict)
    headers: bytes = b""
    end: int = -1  # of the payload; -1: the last fragment has not come
    largest: int = 0


class Fragments:
    """Datagrams of which not all fragments have come yet.

    A datagram whose rest does not come in time is forgotten; so is one whose fragments overlap or do not fit together.
    (The same fragment twice does no harm.)
    """

    def __init__(self) -> None:
        self._waiting: dict[_Key, _Waiting] = {}

    def add(self, data: bytes, now: int) -> Datagram | None:
        """The datagram that this fragment completes, or None.

        Parameters
        ----------
        data : an IP packet that is a fragment, whole.
        now : ns.

        Source: packet-path facts, sections 12 and 16 (ip_fragment.c, nf_conntrack_reasm.c, 6.1 and 6.12).
        """
        self._waiting = {key: one for key, one in self._waiting.items() if one.until > now}
        piece = _piece_v4(data) if data[0] >> 4 == 4 else _piece_v6(data)
        if piece is None:
            return None
        waiting = self._waiting.setdefault(piece.key, _Waiting(now + PATIENCE[piece.key[0]]))
        if not _fits(waiting, piece):
            del self._waiting[piece.key]
            return None
        waiting.pieces[piece.begin] = piece.payload
        waiting.largest = max(waiting.largest, len(data))
        if piece.begin == 0:
            waiting.headers = piece.headers
        if piece.last:
            waiting.end = piece.begin + len(piece.payload)
        if waiting.end < 0 or sum(map(len, waiting.pieces.values())) < waiting.end:
            return None
        del self._waiting[piece.key]
        payload = b"".join(waiting.pieces[begin] for begin in sorted(waiting.pieces))
        return Datagram(_whole(piece.key[0], waiting.headers, payload), waiting.largest)


def _fits(waiting: _Waiting, piece: _Piece) -> bool:
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


def _piece_v4(data: bytes) -> _Piece | None:
    size = (data[0] & 15) * 4
    where = word(data, 6)
    payload = data[size : word(data, 2)]
    last = not where & MORE_V4
    if not last:
        payload = payload[: len(payload) & ~7]
    if not payload:
        return None
    key = (4, data[12:16], data[16:20], word(data, 4), data[9])
    return _Piece(key, data[:size], (where & 0x1FFF) * 8, payload, last)


def _piece_v6(data: bytes) -> _Piece | None:
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
    return _Piece(key, bytes(headers), where & 0xFFF8, payload, last)


def _whole(version: int, headers: bytes, payload: bytes) -> bytes:
    packet = bytearray(headers)
    if version == 6:
        packet[4:6] = (len(headers) - 40 + len(payload)).to_bytes(2)
        return bytes(packet) + payload
    packet[2:4] = (len(headers) + len(payload)).to_bytes(2)
    packet[6:8] = b"\0\0"
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
    return _split_v4(data, limit) if data[0] >> 4 == 4 else _split_v6(data, limit)


def _split_v4(data: bytes, limit: int) -> list[bytes]:
    size = (data[0] & 15) * 4
    step = (limit - size) & ~7
    if step < 8:
        return [data]
    where = word(data, 6)
    pieces = []
    for begin in range(size, len(data), step):
        payload = data[begin : begin + step]
        more = MORE_V4 if begin + step < len(data) else where & MORE_V4
        header = bytearray(data[:size])
        if begin > size:
            _blank_options(header)
        header[2:4] = (size + len(payload)).to_bytes(2)
        header[6:8] = ((where & 0x1FFF) + (begin - size) // 8 | more).to_bytes(2)
        pieces.append(_with_check(header) + payload)
    return pieces


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


def _split_v6(data: bytes, limit: int) -> list[bytes]:
    """Hop-by-hop options and routing headers stay in front of the fragment header."""
    at, before, kind = 40, 6, data[6]
    while kind in (0, 43, 60) and at + 8 <= len(data) and _routing_follows(data, kind, at):
        kind, before, at = data[at], at, at + 8 + data[at + 1] * 8
    step = (limit - at - 8) & ~7
    if step < 8:
        return [data]
    pieces = []
    for begin in range(at, len(data), step):
        payload = data[begin : begin + step]
        headers = bytearray(data[:at])
        headers[before] = FRAGMENT_HEADER
        headers[4:6] = (at - 40 + 8 + len(payload)).to_bytes(2)
        where = begin - at | (begin + step < len(data))
        pieces.append(bytes(headers) + bytes([kind, 0]) + where.to_bytes(2) + bytes(4) + payload)
    return pieces


def _routing_follows(data: bytes, kind: int, at: int) -> bool:
    """Whether the header at ``at`` belongs in front: destination options do only with a routing header behind."""
    if kind != 60:
        return True
    following = data[at]
    at += 8 + data[at + 1] * 8
    while following in (0, 60) and at + 8 <= len(data):
        following, at = data[at], at + 8 + data[at + 1] * 8
    return following == 43
