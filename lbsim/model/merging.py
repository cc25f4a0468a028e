"""Several sources of traffic -> one, in time order, block by block.

Addresses and flows of what is merged are in tables of their own, each once. Blocks number them in the order in which
packets first need them: a flow by its first packet; of the addresses of a packet, its destination comes first, then its
source, then the server and the client of its flow. So the numbers do not depend on how the sources were cut into
blocks. Whole traces, whose tables are known, are numbered table after table.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from lbsim.model.datagrams import Datagrams
from lbsim.model.numbering import Numbering
from lbsim.model.quotes import Quotes
from lbsim.model.trace import COLUMN_TYPES, AddressTable, Blocks, FlowTable, IntColumn, Trace

__all__ = ["merge", "merge_blocks"]

Rows: TypeAlias = Callable[[IntColumn], "dict[str, np.ndarray[Any, Any]]"]
"""From numbers of rows of a table to its columns there."""


def merge_blocks(sources: Sequence[Blocks]) -> Blocks:
    """The packets of all sources in time order; those of the same instant keep the order of ``sources``.

    Equal flows of different sources become one flow. A single source is passed on as it is. Of each source, a block or
    little more is held at a time. Where several captures meet in a block, its ``raw`` has their bytes from the first to
    the last one that the block's packets need.
    """
    return sources[0] if len(sources) == 1 else _merged(sources, _Merged(len(sources)))


def merge(traces: Sequence[Trace]) -> Trace:
    """One trace of several: what :func:`lbsim.model.trace.Trace.merge` does."""
    tables = _Merged(len(traces))
    for source, trace in enumerate(traces):
        tables.learn_whole(source, trace)
    joined = Trace.joined(_merged([iter([trace]) for trace in traces], tables))
    return replace(joined, addresses=tables.addresses, flows=tables.flows)  # also if there is no packet


def _merged(sources: Sequence[Blocks], tables: _Merged) -> Blocks:
    queues = [_Queue(source) for source in sources]
    said = _Said()
    while True:
        for queue in queues:
            queue.fill(said)
        going_on = [queue for queue in queues if not queue.ended]
        # what is at the horizon itself may be followed by more of the same instant
        horizon = min((queue.last for queue in going_on), default=None)
        parts = [(number, part) for number, queue in enumerate(queues) for part in queue.taken(horizon)]
        if parts:
            yield said.taken_along(_in_order(parts, tables))
        elif horizon is None:
            break
        for queue in going_on:
            if queue.last == horizon:
                queue.pull(said)
    if said.anything:
        yield said.taken_along(Trace(Trace.empty_columns(0), tables.addresses, tables.flows))


class _Said:
    """What blocks said was left out, until it is said again."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.damage: list[str] = []

    @property
    def anything(self) -> bool:
        """There is something to be said."""
        return bool(self.left_out or self.damage)

    def heard(self, block: Trace) -> None:
        """Add what the block says."""
        self.left_out.update(block.left_out)
        if block.damage:
            self.damage.append(block.damage)

    def taken_along(self, block: Trace) -> Trace:
        """The block, saying all that was heard since the last one."""
        left_out, damage = dict(self.left_out), "; ".join(self.damage) or None
        self.left_out.clear()
        self.damage.clear()
        return replace(block, left_out=left_out, damage=damage)


class _Queue:
    """The packets of one source that wait for those of others."""

    def __init__(self, source: Blocks) -> None:
        self.source = source
        self.waiting: deque[Trace] = deque()
        self.ended = False

    @property
    def last(self) -> int:
        """When the last packet that waits is sent (ns)."""
        return int(self.waiting[-1]["time"][-1])

    def fill(self, said: _Said) -> None:
        """Let there be a packet that waits, unless the source has ended."""
        while not self.waiting and not self.ended:
            self.pull(said)

    def pull(self, said: _Said) -> None:
        """Take the source's next block."""
        block = next(self.source, None)
        if block is None:
            self.ended = True
            return
        said.heard(block)
        if len(block):
            self.waiting.append(block)

    def taken(self, horizon: int | None) -> Iterator[Trace]:
        """The packets before the horizon (ns), all if there is none; they wait no more."""
        while self.waiting:
            block = self.waiting.popleft()
            end = len(block) if horizon is None else int(np.searchsorted(block["time"], horizon))
            if end:
                yield block.part(0, end)
            if end < len(block):
                self.waiting.appendleft(block.part(end, len(block)))
                return


def _in_order(parts: Sequence[tuple[int, Trace]], merged: _Merged) -> Trace:
    """One block of the parts, each with the number of its source, in time order."""
    order = np.argsort(_all(part["time"] for _, part in parts), kind="stable")
    merged.learn(parts, order)
    raw, raw_at = _bytes_needed([part for _, part in parts])
    columns = {name: _all(part[name] for _, part in parts) for name in COLUMN_TYPES if name != "raw_at"}
    columns |= {"raw_at": _all(raw_at), **merged.numbers(parts)}
    columns = {name: column[order] for name, column in columns.items()}
    lengths, places = [len(part) for _, part in parts], _inverse(order)
    return Trace(
        columns,
        merged.addresses,
        merged.flows,
        raw,
        quotes=Quotes.joined([part.quotes for _, part in parts], lengths).placed(places),
        datagrams=Datagrams.joined([part.datagrams for _, part in parts], lengths).placed(places),
    )


class _Merged:
    """The merged tables, and which of their rows the sources' numbers stand for."""

    def __init__(self, sources: int) -> None:
        self.addresses, self.flows = AddressTable(), FlowTable()
        self._address_at = _Translation(Numbering(self.addresses), sources)
        self._flow_at = _Translation(Numbering(self.flows), sources)

    def numbers(self, parts: Sequence[tuple[int, Trace]]) -> dict[str, IntColumn]:
        """The columns of numbers of all parts, translated."""
        tables = {"src": self._address_at, "dst": self._address_at, "flow": self._flow_at}
        return {name: _all(table.of[source][part[name]] for source, part in parts) for name, table in tables.items()}

    def learn_whole(self, source: int, trace: Trace) -> None:
        """Number all rows of a source's tables, one after the other."""
        for table, rows, columns in (
            (self._address_at, len(trace.addresses), _address_columns(trace)),
            (self._flow_at, len(trace.flows), self._flow_columns(source, trace)),
        ):
            table.room(source, rows)
            table.learn([(source, np.arange(rows), np.arange(rows), columns)])

    def learn(self, parts: Sequence[tuple[int, Trace]], order: IntColumn) -> None:
        """Number what is new in the parts, whose packets come in this order."""
        places = np.split(_inverse(order), np.cumsum([len(part) for _, part in parts])[:-1])
        new = [(source, part, *self._new(source, part, at)) for (source, part), at in zip(parts, places, strict=True)]
        self._address_at.learn(
            [
                (source, ids.ravel(), np.add.outer(4 * at, np.arange(4)).ravel(), _address_columns(part))
                for source, part, ids, _, at in new
            ]
        )
        self._flow_at.learn([(source, flow, at, self._flow_columns(source, part)) for source, part, _, flow, at in new])

    def _new(self, source: int, part: Trace, place: IntColumn) -> tuple[IntColumn, IntColumn, IntColumn]:
        """Of packets that need something new: the addresses in order of need, int[n, 4]; their flows; their places."""
        address_at = self._address_at.room(source, len(part.addresses))
        flow_at = self._flow_at.room(source, len(part.flows))
        known = (address_at[part["src"]] >= 0) & (address_at[part["dst"]] >= 0) & (flow_at[part["flow"]] >= 0)
        rows = np.flatnonzero(~known)
        src, dst, flow = part["src"][rows], part["dst"][rows], part["flow"][rows]
        needed = np.stack([dst, src, part.flows.server[flow], part.flows.client[flow]], axis=1)
        return needed, flow, place[rows]

    def _flow_columns(self, source: int, part: Trace) -> Rows:
        address_at, flows = self._address_at.of, part.flows
        return lambda at: {
            "proto": flows.proto[at],
            "client": address_at[source][flows.client[at]],
            "client_port": flows.client_port[at],
            "server": address_at[source][flows.server[at]],
            "server_port": flows.server_port[at],
        }


def _address_columns(part: Trace) -> Rows:
    return lambda at: {"family": part.addresses.family[at], "words": part.addresses.words.take(at, axis=0)}


class _Translation:
    """The numbers of several sources for rows -> those of one table.

    Attributes
    ----------
    of : for each source int32[its rows]: the table's number, negative if it is not known.
    """

    def __init__(self, numbering: Numbering[Any], sources: int) -> None:
        self.numbering = numbering
        self.of = [np.zeros(0, dtype="i4") for _ in range(sources)]

    def room(self, source: int, rows: int) -> IntColumn:
        """The source's numbers, so many at least."""
        known = self.of[source]
        if len(known) < rows:
            self.of[source] = np.full(max(rows, 2 * len(known)), -1, dtype="i4")
            self.of[source][: len(known)] = known
        return self.of[source]

    def learn(self, needed: Sequence[tuple[int, IntColumn, IntColumn, Rows]]) -> None:
        """Give numbers to what has none, in the order of places.

        Parameters
        ----------
        needed : a source, its numbers, the place of each, and the rows behind them.
        """
        news = [(source, *_first_unknown(self.of[source], ids, at), rows) for source, ids, at, rows in needed]
        order = np.argsort(_all(at for _, _, at, _ in news))
        columns = [rows(ids) for _, ids, _, rows in news]
        together = {name: np.concatenate([part[name] for part in columns])[order] for name in columns[0]}
        numbers = np.empty(len(order), dtype="i4")
        numbers[order] = self.numbering.of(**together)
        ends = np.cumsum([len(ids) for _, ids, _, _ in news])
        for (source, ids, _, _), given in zip(news, np.split(numbers, ends[:-1]), strict=True):
            self.of[source][ids] = given


def _first_unknown(known: IntColumn, ids: IntColumn, places: IntColumn) -> tuple[IntColumn, IntColumn]:
    """Those of ``ids`` that are not known yet, each once, and the first of its places."""
    is_unknown = known[ids] < 0
    ids, places = ids[is_unknown], places[is_unknown]
    known[ids[::-1]] = -1 - places[::-1]  # of repeated indices the last assignment stays: that of the first place
    is_first = known[ids] == -1 - places
    return ids[is_first], places[is_first]


def _bytes_needed(parts: Sequence[Trace]) -> tuple[bytes, list[IntColumn]]:
    """Captured bytes that all packets of the parts are found in; and where those of each part's packets begin."""
    if len({id(part.raw) for part in parts if len(part.raw)}) <= 1:
        raw = next((part.raw for part in parts if len(part.raw)), b"")
        return raw, [part["raw_at"] for part in parts]
    pieces: list[bytes] = []
    begins = []
    length = 0
    for part in parts:
        at = part["raw_at"]
        captured = at >= 0
        begin = int(at.min(where=captured, initial=len(part.raw)))
        end = int((at + part["raw_len"]).max(where=captured, initial=begin))
        pieces.append(part.raw[begin:end])
        begins.append(np.where(captured, at - begin + length, at))
        length += end - begin
    return b"".join(pieces), begins


def _inverse(order: IntColumn) -> IntColumn:
    place = np.empty(len(order), dtype="i8")
    place[order] = np.arange(len(order))
    return place


def _all(columns: Iterable[IntColumn]) -> IntColumn:
    return np.concatenate(list(columns))
