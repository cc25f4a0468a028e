"""Bytes for hypothesis that are nearly IP packets: every shape of header, cut anywhere, lengths that lie."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

__all__ = ["nearly_packets", "nearly_v4", "nearly_v6"]

PROTOCOLS = st.sampled_from([6, 6, 17, 17, 1, 58, 132, 47])
CHECKS = st.one_of(st.integers(0, 0xFFFF), st.sampled_from([0, 0xFFFF]))
LIES = st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1, -8, 8, -1000, 1000])


@st.composite
def transports(draw: st.DrawFn, proto: int) -> bytes:
    """A transport header of the protocol and some payload."""
    ports = struct.pack("!HH", draw(st.integers(0, 0xFFFF)), draw(st.integers(0, 0xFFFF)))
    payload = draw(st.binary(max_size=20))
    check = struct.pack("!H", draw(CHECKS))
    if proto == 6:
        return ports + draw(st.binary(min_size=12, max_size=12)) + check + b"\0\0" + payload
    if proto == 17:
        return ports + struct.pack("!H", 8 + len(payload)) + check + payload
    return draw(st.binary(max_size=30))


@st.composite
def nearly_v4(draw: st.DrawFn) -> bytes:
    """An IPv4 packet: with options, as a fragment, with a length that lies, with padding, cut."""
    proto = draw(PROTOCOLS)
    options = draw(st.sampled_from([b"", b"", b"", b"\x01" * 4, b"\x01" * 40]))
    content = options + draw(transports(proto))
    fragment = draw(st.sampled_from([0, 0, 0, 0x4000, 0x2000, 0x2001, 185]))
    length = max(0, 20 + len(content) + draw(LIES)) % 0x10000
    first = 0x40 | draw(st.sampled_from([5 + len(options) // 4] * 9 + [4]))
    header = struct.pack("!BBHHHBBH", first, 0, length, 7, fragment, draw(st.integers(0, 255)), proto, draw(CHECKS))
    return draw(cuts(header + draw(st.binary(min_size=8, max_size=8)) + content))


@st.composite
def nearly_v6(draw: st.DrawFn) -> bytes:
    """An IPv6 packet: with extension headers, as a fragment, as a jumbogram, with a length that lies, padded, cut."""
    proto = draw(PROTOCOLS)
    content = draw(transports(proto))
    following = proto
    for kind in draw(st.lists(st.sampled_from([0, 43, 44, 60]), max_size=3)):
        if kind == 44:
            word = draw(st.sampled_from([0, 0, 1, 8, 9, 2]))
            content = struct.pack("!BBHI", following, 0, word, 5) + content
        else:
            size = draw(st.sampled_from([0, 0, 0, 1, 200]))
            content = bytes([following, size]) + bytes(6 + (8 if size == 1 else 0)) + content
        following = kind
    length = draw(st.sampled_from([0, len(content), len(content), len(content), len(content) + 8]))
    length = max(0, length + draw(LIES)) % 0x10000
    header = struct.pack("!IHBB", 6 << 28, length, following, draw(st.integers(0, 255)))
    return draw(cuts(header + draw(st.binary(min_size=32, max_size=32)) + content))


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> bytes:
    """All of the bytes, or only their beginning, or with padding behind them."""
    kind = draw(st.sampled_from(["whole", "whole", "cut", "padded"]))
    if kind == "cut":
        return data[: draw(st.integers(0, len(data)))]
    return data + (draw(st.binary(max_size=20)) if kind == "padded" else b"")


nearly_packets = st.one_of(nearly_v4(), nearly_v6(), st.binary(max_size=100))
