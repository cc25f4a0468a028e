"""Packets that leave a director with given ends: traces of captured and of made packets, and the answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lbsim.engine.lanes import Lane
from lbsim.engine.reasons import DROP, FORWARD
from lbsim.model.result import RESULT_COLUMNS, Provenance, ResultBlock
from lbsim.model.trace import AddressTable, FlowTable, Trace
from lbsim.model.verdict import Rewrite
from lbsim.packet.headers import parse
from tests.packet.any_packets import nearly_packets

__all__ = ["Leaving", "answers_to", "leaving_packets", "trace_of"]

ADDRESSES = tuple(map(ip_address, ("198.51.100.1", "192.168.1.10", "10.0.0.11", "255.255.255.255"))) + tuple(
    map(ip_address, ("2001:db8::1", "2001:db8:1::10", "fd00::11", "ffff::ffff:ffff:ffff:ffff"))
)
BY_VERSION = {4: ADDRESSES[:4], 6: ADDRESSES[4:]}


@dataclass(frozen=True)
class Leaving:
    """One packet: its columns or its captured bytes, and the ends with which it leaves (None: it does not)."""

    columns: dict[str, int]
    raw: bytes | None
    new: Rewrite | None


def address(version: int) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return st.sampled_from(BY_VERSION[version])


@st.composite
def leaving_packets(draw: st.DrawFn) -> Leaving:
    """A captured or a made packet, in any direction, mostly forwarded."""
    raw = draw(st.none() | nearly_packets)
    if raw is None:
        version = draw(st.sampled_from([4, 6]))
        most = draw(st.sampled_from([100, 100, 100, 1500, 65535]))
        length = (20 if version == 4 else 40) + draw(st.integers(0, most - 20))
    else:
        headers = parse(raw)
        version, length = (headers.version, headers.length) if headers else (4, len(raw))
    port = st.integers(0, 0xFFFF)
    columns = {
        "direction": draw(st.integers(0, 2)),
        "src": ADDRESSES.index(draw(address(version))),
        "sport": draw(port),
        "dst": ADDRESSES.index(draw(address(version))),
        "dport": draw(port),
        "proto": draw(st.sampled_from([6, 6, 17, 17, 1, 132])),
        "flags": draw(st.integers(0, 0x3F)),
        "length": length,
        "ttl": draw(st.integers(0, 255)),
        "seq": draw(st.integers(0, 0xFFFFFFFF)),
        "ack": draw(st.integers(0, 0xFFFFFFFF)),
    }
    new = Rewrite(draw(address(version)), draw(port), draw(address(version)), draw(port))
    return Leaving(columns, raw, draw(st.sampled_from([new, new, new, None])))


def trace_of(packets: Sequence[Leaving], *, step: int = 1_000_000_007) -> Trace:
    """The packets, one every ``step`` nanoseconds."""
    columns = Trace.empty_columns(len(packets))
    raw = bytearray(b"before")
    for i, packet in enumerate(packets):
        for name, value in packet.columns.items():
            columns[name][i] = value
        columns["time"][i] = i * step
        if packet.raw is not None:
            columns["raw_at"][i], columns["raw_len"][i] = len(raw), len(packet.raw)
            raw += packet.raw
    return Trace(columns, AddressTable(ADDRESSES), FlowTable(), raw=bytes(raw))


def answers_to(trace: Trace, ends: Sequence[Rewrite | None], lane: Lane) -> ResultBlock:
    """The answers of a run in that lane which forwarded the packets with these ends."""
    columns: dict[str, Any] = {name: np.zeros(len(trace), dtype=kind) for name, kind in RESULT_COLUMNS.items()}
    numbers: dict[Any, int] = {}
    for i, new in enumerate(ends):
        columns["verdict"][i] = FORWARD if new else DROP
        for name in ("src", "dst"):
            columns[f"new_{name}"][i] = numbers.setdefault(getattr(new, name), len(numbers)) if new else -1
        for name in ("sport", "dport"):
            columns[f"new_{name}"][i] = getattr(new, name) if new else -1
    provenance = Provenance("1", "engine", lane.name, "linux", "test", "", 0, 250, 0)
    return ResultBlock(columns, AddressTable(numbers), (), provenance)
