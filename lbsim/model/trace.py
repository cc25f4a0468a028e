"""Packets as columns: what is fed to a director, whoever made it (generator, script, capture).

A trace is not a list of objects. Each column is a numpy array with one element per packet, in time order;
addresses are indices into :attr:`Trace.addresses`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lbsim.engine.records import IN, OUT, REPLY
from lbsim.model.config import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLUMN_TYPES", "Flow", "IntColumn", "Trace"]

IntColumn: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.signedinteger]]"

#: Column name -> numpy type. Times in nanoseconds since the trace's time 0, lengths in bytes.
COLUMN_TYPES: Mapping[str, str] = {
    "time": "i8",  # ns since time 0, never decreasing
    "flow": "i4",  # index into Trace.flows
    "direction": "i1",  # IN from a client; REPLY from whichever destination got the flow's last IN packet;
    #                     OUT from the real server written in src and sport
    "src": "i4",  # index into Trace.addresses; of a REPLY the virtual address (the sender is not known yet)
    "sport": "i4",
    "dst": "i4",
    "dport": "i4",
    "proto": "i2",  # IP protocol number of the transport header
    "flags": "i2",  # TCP flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32
    "length": "i4",  # bytes of the whole IP packet
    "ttl": "i2",  # TTL or hop limit
    "shape": "i1",  # engine.records: WHOLE, CUT_HEADER, NO_PORTS, FRAGMENT, ICMP_ERROR
    "seq": "i8",  # TCP sequence number, or 0
    "ack": "i8",  # TCP acknowledgement number, or 0
    "raw_at": "i8",  # captures: where the IP packet begins in Trace.raw; else -1
    "raw_len": "i4",  # captures: how many of its bytes were captured; else 0
}


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation as the client sees it: protocol, client end and the end it talks to.

    ``client`` and ``server`` are indices into :attr:`Trace.addresses`.
    """

    proto: int
    client: int
    client_port: int
    server: int
    server_port: int


@dataclass(frozen=True)
class Trace:
    """Packets in time order, as columns.

    Attributes
    ----------
    columns : one int array per name of :data:`COLUMN_TYPES`, all of the same length.
    addresses : the addresses that ``src`` and ``dst`` index, each once.
    flows : the conversations that ``flow`` indexes, in order of their first packet.
    raw : bytes of the capture that ``raw_at`` points into; empty for made-up traffic.
    left_out : reason -> number of packets of the source that are not in the columns because lbsim has nothing to
        say about them (ARP, no service, ...).
    damage : what was wrong with the source, if it could be read only in part.
    """

    columns: Mapping[str, IntColumn]
    addresses: tuple[Address, ...]
    flows: tuple[Flow, ...]
    raw: bytes = b""
    left_out: Mapping[str, int] = field(default_factory=dict)
    damage: str | None = None

    def __post_init__(self) -> None:
        sizes = {name: len(column) for name, column in self.columns.items()}
        assert set(sizes) == set(COLUMN_TYPES), f"columns: {sorted(set(COLUMN_TYPES) ^ set(sizes))}"
        assert len(set(sizes.values())) <= 1, f"columns of different lengths: {sizes}"

    def __len__(self) -> int:
        return len(self.columns["time"])

    def __getitem__(self, name: str) -> IntColumn:
        return self.columns[name]

    @property
    def duration(self) -> int:
        """Nanoseconds from time 0 to the last packet."""
        return int(self["time"][-1]) if len(self) else 0

    @staticmethod
    def empty_columns(n: int) -> dict[str, IntColumn]:
        """Columns of ``n`` zeros, with ``raw_at`` at -1 and ``ttl`` at 64."""
        columns = {name: np.zeros(n, dtype=kind) for name, kind in COLUMN_TYPES.items()}
        columns["raw_at"][:] = -1
        columns["ttl"][:] = 64
        return columns

    @staticmethod
    def merge(traces: list[Trace]) -> Trace:
        """One trace of several, in time order; packets of the same instant keep the order of ``traces``.

        Equal flows of different traces become one flow.
        """
        if len(traces) == 1:
            return traces[0]
        addresses: dict[Address, int] = {}
        flows: dict[Flow, int] = {}
        parts: list[dict[str, IntColumn]] = []
        left_out: dict[str, int] = {}
        raw = bytearray()
        for trace in traces:
            at = np.array([addresses.setdefault(a, len(addresses)) for a in trace.addresses], dtype="i4")
            moved = [
                Flow(f.proto, int(at[f.client]), f.client_port, int(at[f.server]), f.server_port) for f in trace.flows
            ]
            flow_at = np.array([flows.setdefault(f, len(flows)) for f in moved], dtype="i4")
            columns = dict(trace.columns)
            if len(trace):
                columns |= {"src": at[trace["src"]], "dst": at[trace["dst"]], "flow": flow_at[trace["flow"]]}
                columns["raw_at"] = np.where(trace["raw_at"] >= 0, trace["raw_at"] + len(raw), -1)
            raw += trace.raw
            parts.append(columns)
            for reason, count in trace.left_out.items():
                left_out[reason] = left_out.get(reason, 0) + count
        merged = {
            name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0, dtype=kind)
            for name, kind in COLUMN_TYPES.items()
        }
        order = np.argsort(merged["time"], kind="stable")
        return Trace(
            columns={name: column[order] for name, column in merged.items()},
            addresses=tuple(addresses),
            flows=tuple(flows),
            raw=bytes(raw),
            left_out=left_out,
            damage="; ".join(t.damage for t in traces if t.damage) or None,
        )


DIRECTION_NAMES = {IN: "in", OUT: "out", REPLY: "out"}
