"""A block of packets through the engine: columns in, columns out.

The engine works on rows. Here columns become rows, some hundred packets at a time, in tables that are used again and
again: they stay in the processor's cache, as no table of a whole block would.

A loop over packets and fields is what the compiled lane does best and the interpreted lane worst. So for each direction
there are two functions that do the same, and each lane takes its own.

Kernel counterpart: none.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from lbsim.engine.director import AHEAD, look_ahead, receive
from lbsim.engine.lanes import COMPILED, kernel
from lbsim.engine.records import Outcome, Packet, Tables, field_types

__all__ = [
    "FOUND_TYPES",
    "GIVEN_TYPES",
    "ROWS",
    "Found",
    "Given",
    "fill_packets",
    "make_packets",
    "note_outcomes",
    "receive_columns",
    "tell_outcomes",
]

ROWS = 512  # packets that are rows at a time

#: A packet's number masked with this is the same number, and to the compiler not negative. To numba, a negative index
#: counts from the end: without the mask each field costs a comparison.
ANYWHERE = (1 << 40) - 1

#: A numpy array with one number per packet.
Column: TypeAlias = Any


class Given(NamedTuple):
    """Packets as columns. Named, and in the order of, the fields of :class:`Packet`.

    Attributes
    ----------
    src, dst : numbers of addresses in a trace.
    """

    tick: Column
    flow: Column
    direction: Column
    shape: Column
    proto: Column
    tcp_flags: Column
    ttl: Column
    src: Column
    dst: Column
    sport: Column
    dport: Column
    length: Column
    mark: Column
    quote: Column
    may_split: Column


class Found(NamedTuple):
    """What became of the packets of a block, and who sent and got them, as columns.

    Attributes
    ----------
    src, dst, new_src, new_dst : ids of addresses less 1: -1 is none.
    """

    src: Column
    sport: Column
    dst: Column
    verdict: Column
    method: Column
    reason: Column
    dest: Column
    new_src: Column
    new_sport: Column
    new_dst: Column
    new_dport: Column


_TYPES = dict(field_types(Packet)) | dict(field_types(Outcome))
#: Column -> numpy type, as in the rows. Compiled code is made for these types only.
GIVEN_TYPES = {name: _TYPES[name] for name in Given._fields}
FOUND_TYPES = {name: _TYPES[name] for name in Found._fields}


@kernel
def receive_columns(
    t: Tables, given: Given, ids: Column, found: Found, packets: list[Packet], outcomes: list[Outcome], start: int,
    stop: int,
) -> None:  # fmt: skip
    """Receive packets ``start`` .. ``stop`` - 1 of a block in their order.

    The caller has made room for one new connection entry per packet.

    Parameters
    ----------
    ids : number of an address in the trace -> its id.
    packets, outcomes : tables to work in.

    Source
    ------
    lbsim's own.
    """
    while start < stop:
        filled = min(len(packets), stop - start)
        count = filled
        if COMPILED:
            fill_packets(given, ids, start, filled, packets)
            if start + filled < stop and filled > 2 * AHEAD:  # the last rows are there to be looked at ahead
                count = filled - 2 * AHEAD
        else:
            make_packets(given, ids, start, filled, packets)
        for i in range(count):
            if COMPILED:
                look_ahead(t, packets, i, filled)
            receive(t, packets[i], outcomes[i])
        if COMPILED:
            note_outcomes(given, ids, start, count, packets, outcomes, found)
        else:
            tell_outcomes(given, ids, start, count, packets, outcomes, found)
        start += count


@kernel
def fill_packets(given: Given, ids: Column, start: int, count: int, packets: list[Packet]) -> None:
    """Let the first ``count`` rows be the packets from number ``start`` on.

    Source
    ------
    lbsim's own.
    """
    for row in range(count):
        at = (start + row) & ANYWHERE
        p = packets[row]
        p.tick = given.tick[at]
        p.flow = given.flow[at]
        p.direction = given.direction[at]
        p.shape = given.shape[at]
        p.proto = given.proto[at]
        p.tcp_flags = given.tcp_flags[at]
        p.ttl = given.ttl[at]
        p.src = ids[given.src[at]]
        p.dst = ids[given.dst[at]]
        p.sport = given.sport[at]
        p.dport = given.dport[at]
        p.length = given.length[at]
        p.mark = given.mark[at]
        p.quote = given.quote[at]
        p.may_split = given.may_split[at]


@kernel
def note_outcomes(
    given: Given, ids: Column, start: int, count: int, packets: list[Packet], outcomes: list[Outcome], found: Found
) -> None:
    """Write down what became of the packets from number ``start`` on, which are the first ``count`` rows.

    Source
    ------
    lbsim's own.
    """
    for row in range(count):
        at = (start + row) & ANYWHERE
        p = packets[row]
        v = outcomes[row]
        found.src[at] = p.src - 1
        found.sport[at] = p.sport
        found.dst[at] = ids[given.dst[at]] - 1
        found.verdict[at] = v.verdict
        found.method[at] = v.method
        found.reason[at] = v.reason
        found.dest[at] = v.dest
        found.new_src[at] = v.new_src - 1
        found.new_sport[at] = v.new_sport
        found.new_dst[at] = v.new_dst - 1
        found.new_dport[at] = v.new_dport


def make_packets(given: Given, ids: Column, start: int, count: int, packets: list[Packet]) -> None:
    """What :func:`fill_packets` does, with rows that are made anew: faster where Python does it.

    Source
    ------
    lbsim's own.
    """
    part = Given(*(column[start : start + count] for column in given))
    part = part._replace(src=ids[part.src], dst=ids[part.dst])
    packets[:count] = map(Packet, *(column.tolist() for column in part))


def tell_outcomes(
    given: Given, ids: Column, start: int, count: int, packets: list[Packet], outcomes: list[Outcome], found: Found
) -> None:
    """What :func:`note_outcomes` does, column by column: faster where Python does it.

    Source
    ------
    lbsim's own.
    """
    part = slice(start, start + count)
    senders, results = packets[:count], outcomes[:count]
    found.src[part] = [p.src - 1 for p in senders]
    found.sport[part] = [p.sport for p in senders]
    found.dst[part] = ids[given.dst[part]] - 1
    found.new_src[part] = [v.new_src - 1 for v in results]
    found.new_dst[part] = [v.new_dst - 1 for v in results]
    for name in ("verdict", "method", "reason", "dest", "new_sport", "new_dport"):
        getattr(found, name)[part] = list(map(attrgetter(name), results))
