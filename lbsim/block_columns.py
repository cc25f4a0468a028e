"""A block of a trace as columns that the engine takes, and the columns that it fills in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from lbsim.engine.blocks import GIVEN_TYPES, Found, Given
from lbsim.engine.numbers import IN, IPV4
from lbsim.engine_words import state_index
from lbsim.model.result import RESULT_COLUMNS
from lbsim.model.trace import IntColumn, Trace

__all__ = ["Room", "answered", "given_columns", "listed", "may_split", "ticks_of"]

_SECOND = 1_000_000_000
_SAME = ("flow", "direction", "shape", "proto", "ttl", "src", "sport", "dst", "dport", "length")
_SAME_IN_ANSWERS = ("time", "flow", "proto", "length", "dport")

_PIECE = 24 << 20  # bytes
_LARGE = _PIECE // 32  # columns that take less together have a piece of their own, just as large
_LINE = 64  # bytes that a processor fetches at once: columns begin where one does, if the piece does

#: Bytes between two columns, so that they do not begin at the same place of a page: a processor has few places for
#: bytes whose addresses end alike, and writing eleven columns at once would be twice as slow.
_APART = 3 * _LINE


def given_columns(block: Trace, hz: int, start_jiffies: int, more: Mapping[str, IntColumn]) -> Given:
    """The packets of a block.

    Parameters
    ----------
    hz, start_jiffies : ticks per second, the tick at time 0.
    more : columns that a trace does not have, by their names in :class:`Given`; those left out are zeros.
    """
    ticks = ticks_of(block["time"], hz)
    ticks += start_jiffies
    columns = {name: block[name] for name in _SAME} | {"tick": ticks, "tcp_flags": block["flags"]} | dict(more)
    return Given(
        *(
            np.require(columns[name], kind, ["C", "A", "W"]) if name in columns else _zeros(len(block), kind)
            for name, kind in GIVEN_TYPES.items()
        )
    )


@lru_cache(maxsize=8)
def _zeros(count: int, kind: str) -> IntColumn:
    """So many zeros, which nobody writes; most blocks are of one size."""
    return np.zeros(count, dtype=kind)


class Room:
    """Room for columns that are filled in once and may be kept: what becomes of packets, a listing of connections.

    New memory costs a page fault for every 4 KiB when it is first written. So columns are parts of pieces which are so
    large that numpy asks for pages of 2 MiB (from 4 MiB on); what is never written takes no memory.
    """

    def __init__(self) -> None:
        self._piece = np.empty(0, dtype="u1")  # what is left of it

    def columns(self, types: Mapping[str, str], rows: int) -> dict[str, IntColumn]:
        """Columns of so many rows, by their names, whatever is in them; ``types`` are numpy types by name."""
        sizes = [-(-rows * np.dtype(kind).itemsize // _LINE) * _LINE + _APART for kind in types.values()]
        size = sum(sizes)
        if size > len(self._piece):
            self._piece = np.empty(_PIECE if _LARGE <= size < _PIECE else size, dtype="u1")
        made = {}
        for (name, kind), own in zip(types.items(), sizes, strict=True):
            made[name] = self._piece[: rows * np.dtype(kind).itemsize].view(kind)
            self._piece = self._piece[own:]
        return made


def answered(trace: Trace, found: Found, dest_index: IntColumn, room: Room) -> Mapping[str, IntColumn]:
    """The columns of a result for the packets of a trace, which are the first ones of a block.

    Parameters
    ----------
    dest_index : row of the engine's table -> destination of the result.
    """
    columns = {name: trace[name] for name in _SAME_IN_ANSWERS}
    columns |= {name: column[: len(trace)] for name, column in zip(Found._fields, found, strict=True)}
    columns["direction"] = trace.answers.view("i1")
    numbers = room.columns({"dest": "i4"}, len(trace))["dest"]
    columns["dest"] = dest_index.take(columns["dest"], out=numbers, mode="clip")  # none is outside; "raise" would copy
    return {name: columns[name].astype(kind, copy=False) for name, kind in RESULT_COLUMNS.items()}


def listed(entries: Mapping[str, IntColumn], now: int, hz: int) -> Mapping[str, IntColumn]:
    """The columns of a :class:`ConnTable`, for those rows of the engine's table that are in use, and more.

    Parameters
    ----------
    entries : some rows of the table, with their ``marks``.
    now : in ticks.
    """
    if not (used := entries["serial"] != 0).all():
        entries = {name: column[used] for name, column in entries.items()}
    return {
        **entries,
        **{name: entries[name] - 1 for name in ("caddr", "vaddr", "daddr")},
        "state": state_index(entries["proto"], entries["state"], entries["marks"]),
        "expires": np.maximum(entries["expires"] - now, 0) // hz,
    }


def ticks_of(time: IntColumn, hz: int) -> IntColumn:
    """Ticks since time 0 of times in ns; split so that no product leaves 64 bits, unless a tick is so many ns."""
    if _SECOND % hz == 0:
        whole: IntColumn = time // (_SECOND // hz)
        return whole
    ticks: IntColumn = time // _SECOND * hz + time % _SECOND * hz // _SECOND
    return ticks


def may_split(trace: Trace) -> IntColumn:
    """Which packets may be sent in fragments: captured IPv4 without "don't fragment", and what came in fragments; of a
    request over IPv4 that did so, the whole says it. All packets that are made have "don't fragment".
    """
    may = np.zeros(len(trace), dtype="i1")
    if len(trace.addresses):
        (captured,) = np.nonzero((trace["raw_at"] >= 0) & (trace.addresses.family[trace["src"]] == 4))
        flags = np.frombuffer(trace.raw, dtype="u1")[trace["raw_at"][captured] + 6]
        may[captured] = flags & 0x40 == 0
    for row, whole in trace.datagrams:
        request_v4 = trace["direction"][row] == IN and whole.data[0] >> 4 == IPV4
        may[row] = not (request_v4 and whole.data[6] & 0x40)
    return may
