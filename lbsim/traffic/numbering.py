"""Numbers for the addresses and flows of captured packets, in the order in which they appear.

Numbers are found in open-addressing hash tables with linear probing, without an object per address or flow. The tables
grow between blocks, never inside a loop, and hold nothing but what is compared: 8 bytes a slot for addresses, 16 for
flows. The functions marked ``@kernel`` run in both lanes. Rows are numbered a while after they were found, so that the
slots, which are rarely in the processor's cache, are fetched in the meantime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import COMPILED, Lane, kernel, prefetch
from lbsim.engine.numbers import IN, SYN, TCP
from lbsim.engine.records import i4, tuple_of_columns
from lbsim.model.trace import AddressTable, FlowTable, IntColumn
from lbsim.packet.headers import Bytes, double_word
from lbsim.traffic.lane_columns import columns, longer, read_columns, zeros
from lbsim.traffic.service_ends import Pair

__all__ = ["TALK_COLUMNS", "Columns", "Known", "Numbers", "TalkColumns", "number_rows", "prefetch_numbers", "room"]

#: Who a row is about: the client (IPv4: its address; IPv6: minus the place of its address in the window), and a row of
#: the pairs, of protocols and virtual addresses.
TALK_COLUMNS = {"client": "i8", "pair": "i4"}
ADDRESS_COLUMNS = {"family": "i1", "word0": "i8", "word1": "i8", "word2": "i8", "word3": "i8"}
FLOW_COLUMNS = dict(FlowTable.TYPES)
TalkColumns = tuple_of_columns("TalkColumns", TALK_COLUMNS, __name__)
AddressColumns = tuple_of_columns("AddressColumns", ADDRESS_COLUMNS, __name__)
FlowColumns = tuple_of_columns("FlowColumns", FLOW_COLUMNS, __name__)
Columns: TypeAlias = Any  # such columns

LOW_31 = 0x7FFFFFFF
LOW_32 = 0xFFFFFFFF
WIDE = 1 << 32  # added to the number of an IPv6 client where an IPv4 client has its address
FEWEST_SLOTS = 512
ROOM = 256  # rows for which there is room in every table when rows are looked for
LARGE = 1 << 16


@dataclass(slots=True, eq=False)
class Count:
    """How many numbers were given; ``fresh`` ones in the current block."""

    addresses: i4 = 0
    wide: i4 = 0
    flows: i4 = 0
    fresh_addresses: i4 = 0
    fresh_flows: i4 = 0


class Known(NamedTuple):
    """The tables in which numbers are found, and what became known in the current block.

    Attributes
    ----------
    slots : of IPv4 addresses: the address and its number.
    wide_slots : of IPv6 addresses: 32 bits made of the address, and which of the ``wides`` it is.
    wides : five for each IPv6 address: its words and its number.
    flow_slots : two for each flow: the client and its port; row of the pairs, virtual port and the flow's number.
    clients : flow's number -> client's number. All numbers are from 1.
    fresh_addresses, fresh_flows : columns.
    """

    slots: list[int]
    wide_slots: list[int]
    wides: list[int]
    flow_slots: list[int]
    clients: list[int]
    counts: list[Count]
    fresh_addresses: Columns
    fresh_flows: Columns


class Numbers:
    """The numbers given so far.

    Attributes
    ----------
    known : the tables of a lane in which they are.
    addresses : those that have a number, in the order of the numbers.
    """

    def __init__(self, lane: Lane, most: int, pairs: int) -> None:
        """``most``: rows of a block. ``pairs``: how many there are."""
        self.addresses = AddressTable()
        self._lane = lane
        self._least = ROOM + pairs
        self._most_fresh = most, most + pairs  # flows and addresses of a block's frames
        self._added = 0  # rows besides these
        fewest = max(FEWEST_SLOTS, lane.spare)
        self.known = Known(
            slots=zeros(lane, fewest),
            wide_slots=zeros(lane, FEWEST_SLOTS),
            wides=zeros(lane, 5 * FEWEST_SLOTS),
            flow_slots=zeros(lane, 2 * fewest),
            clients=lane.heads(fewest),
            counts=lane.table(Count, 1),
            fresh_addresses=columns(lane, AddressColumns, ADDRESS_COLUMNS, most + pairs),
            fresh_flows=columns(lane, FlowColumns, FLOW_COLUMNS, most),
        )

    def begin_block(self) -> None:
        """Nothing is fresh any more."""
        counts = self.known.counts[0]
        counts.fresh_addresses = counts.fresh_flows = 0
        self._added = 0

    def room_for_another(self) -> None:
        """Make room for one more row than the block has frames."""
        self._added += 1
        flows, addresses = self._most_fresh
        self.known = self.known._replace(
            fresh_flows=longer(self.known.fresh_flows, flows + self._added),
            fresh_addresses=longer(self.known.fresh_addresses, addresses + self._added),
        )
        self.make_room()

    def make_room(self) -> None:
        """Enlarge the tables that are nearly full."""
        known, counts = self.known, self.known.counts[0]
        wide_slots = self._larger(known.wide_slots, 1, counts.wide, move_addresses)
        flow_slots = self._larger(known.flow_slots, 2, counts.flows, move_flows)
        self.known = known._replace(
            slots=self._larger(known.slots, 1, counts.addresses, move_addresses),
            wide_slots=wide_slots,
            wides=self._lane.grown(known.wides, 5 * len(wide_slots)),
            flow_slots=flow_slots,
            clients=self._lane.grown(known.clients, len(flow_slots) // 2),
        )

    def end_block(self) -> dict[str, IntColumn]:
        """The flows that appeared in the block, as columns of a FlowTable; its addresses are noted."""
        counts = self.known.counts[0]
        if counts.fresh_addresses:
            family, *words = (column[: int(counts.fresh_addresses)] for column in self.known.fresh_addresses)
            self.addresses.extend_columns(family=family, words=np.array(words).T)
        return read_columns(self.known.fresh_flows, FLOW_COLUMNS, int(counts.fresh_flows))

    def _larger(self, slots: Any, width: int, used: int, move: Any) -> Any:
        """The table, or if it is nearly full one that is four times as large while it is small, then twice."""
        size = len(slots)
        if capacity(size // width) - used >= self._least:
            return slots
        while capacity(size // width) - used < self._least:
            size *= 4 if size < LARGE else 2
        larger = zeros(self._lane, size)
        self._lane.function(move)(slots, larger)
        return larger


@kernel
def capacity(slots: int) -> int:
    """How many of so many slots may be used."""
    return slots - slots // 4


@kernel
def room(known: Known, pairs: int) -> int:
    """How many rows are sure to find room, even if all their clients, virtual addresses and flows are new."""
    count = known.counts[0]
    addresses = capacity(len(known.slots)) - count.addresses
    wides = capacity(len(known.wide_slots)) - count.wide
    return min(min(addresses, wides) - pairs, capacity(len(known.flow_slots) // 2) - count.flows)


@kernel
def number_rows(
    raw: Bytes, rows: Columns, row: int, count: int, talks: Columns, pairs: list[Pair], known: Known
) -> None:
    """Give ``count`` rows from ``row`` on their flow's number, and write down both ends in their direction."""
    _number_flows(raw, rows, row, count, talks, pairs, known)
    flow_clients = known.clients
    talk_pairs = talks.pair
    directions, flows, srcs, dsts = rows.direction, rows.flow, rows.src, rows.dst
    for k in range(count):
        number = flow_clients[flows[row] + 1] - 1
        virtual = pairs[talk_pairs[k]].number - 1
        is_in = directions[row] == IN
        srcs[row] = number if is_in else virtual
        dsts[row] = virtual if is_in else number
        row += 1


@kernel
def _number_flows(
    raw: Bytes, rows: Columns, row: int, count: int, talks: Columns, pairs: list[Pair], known: Known
) -> None:
    """Give ``count`` rows from ``row`` on their flow's number."""
    slots = known.flow_slots
    mask = len(slots) - 1
    directions, flows, sports, dports = rows.direction, rows.flow, rows.sport, rows.dport
    clients, talk_pairs = talks
    for k in range(count):
        client = clients[k]
        if client < 0:
            client = WIDE + _number_of_wide_at(raw, -client, known)
        pair = talk_pairs[k]
        is_in = directions[row] == IN
        port = sports[row] if is_in else dports[row]
        virtual_port = dports[row] if is_in else sports[row]
        key = client << 16 | port
        talk = pair << 16 | virtual_port
        at = row_bucket(client, port, talk, mask >> 1) * 2
        while slots[at] != key or slots[at + 1] >> 31 != talk:
            if slots[at + 1] == 0:
                slots[at] = key
                slots[at + 1] = talk << 31 | _new_flow(client, port, pairs[pair], virtual_port, known)
                break
            at = (at + 2) & mask
        flow = slots[at + 1] & LOW_31
        flows[row] = flow - 1
        if COMPILED:
            prefetch(known.clients, flow)
        row += 1


@kernel
def prefetch_numbers(rows: Columns, row: int, client: int, pair: int, known: Known) -> None:
    """Begin to fetch where the number of a row's flow is, and that of its IPv4 client if the flow may be a new one."""
    if client < 0:
        return
    is_in = rows.direction[row] == IN
    port = rows.sport[row] if is_in else rows.dport[row]
    virtual_port = rows.dport[row] if is_in else rows.sport[row]
    mask = len(known.flow_slots) // 2 - 1
    prefetch(known.flow_slots, row_bucket(client, port, pair << 16 | virtual_port, mask) * 2)
    if rows.proto[row] != TCP or rows.flags[row] & SYN != 0:
        prefetch(known.slots, row_bucket(client, 0, 0, len(known.slots) - 1))


@kernel
def _new_flow(client: int, port: int, pair: Pair, virtual_port: int, known: Known) -> int:
    """The number, from 1, of a flow that appears for the first time; perhaps its ends do, too."""
    number = client - WIDE if client >= WIDE else _number_of(client, known)
    if pair.number == 0:
        pair.number = _number_of_virtual(pair, known)
    count = known.counts[0]
    fresh = known.fresh_flows
    row = count.fresh_flows
    fresh.proto[row] = pair.proto
    fresh.client[row] = number - 1
    fresh.client_port[row] = port
    fresh.server[row] = pair.number - 1
    fresh.server_port[row] = virtual_port
    count.fresh_flows += 1
    count.flows += 1
    known.clients[count.flows] = number
    return count.flows


@kernel
def _number_of_virtual(pair: Pair, known: Known) -> int:
    if pair.version == 6:
        return _number_of_wide(pair.word0, pair.word1, pair.word2, pair.word3, known)
    return _number_of(pair.word3, known)


@kernel
def _number_of_wide_at(raw: Bytes, at: int, known: Known) -> int:
    """The number, from 1, of the IPv6 address at ``at``."""
    words = double_word(raw, at), double_word(raw, at + 4), double_word(raw, at + 8), double_word(raw, at + 12)
    return _number_of_wide(words[0], words[1], words[2], words[3], known)


@kernel
def _number_of(word: int, known: Known) -> int:
    """The number, from 1, of an IPv4 address."""
    slots = known.slots
    mask = len(slots) - 1
    at = row_bucket(word, 0, 0, mask)
    while slots[at] != 0:
        if slots[at] >> 31 == word:
            return slots[at] & LOW_31
        at = (at + 1) & mask
    number = _new_address(4, 0, 0, 0, word, known)
    slots[at] = word << 31 | number
    return number


@kernel
def _number_of_wide(word0: int, word1: int, word2: int, word3: int, known: Known) -> int:
    """The number, from 1, of an IPv6 address."""
    slots, wides = known.wide_slots, known.wides
    tag = _tag(word0, word1, word2, word3)
    mask = len(slots) - 1
    at = row_bucket(tag, 0, 0, mask)
    while slots[at] != 0:
        if slots[at] >> 31 == tag:
            wide = 5 * (slots[at] & LOW_31)
            same_upper = wides[wide] == word0 and wides[wide + 1] == word1
            if same_upper and wides[wide + 2] == word2 and wides[wide + 3] == word3:
                return wides[wide + 4]
        at = (at + 1) & mask
    known.counts[0].wide += 1
    row = known.counts[0].wide
    slots[at] = tag << 31 | row
    wide = 5 * row
    wides[wide] = word0
    wides[wide + 1] = word1
    wides[wide + 2] = word2
    wides[wide + 3] = word3
    wides[wide + 4] = _new_address(6, word0, word1, word2, word3, known)
    return wides[wide + 4]


@kernel
def _tag(word0: int, word1: int, word2: int, word3: int) -> int:
    """32 bits that depend on all of the words."""
    mixed = (word0 * 0x9E3779B1 ^ word1 * 0x85EBCA6B ^ word2 * 0xC2B2AE35) & LOW_32
    return (mixed ^ mixed >> 15 ^ word3) & LOW_32


@kernel
def _new_address(family: int, word0: int, word1: int, word2: int, word3: int, known: Known) -> int:
    """The number, from 1, of an address that appears for the first time."""
    count = known.counts[0]
    fresh = known.fresh_addresses
    row = count.fresh_addresses
    fresh.family[row] = family
    fresh.word0[row] = word0
    fresh.word1[row] = word1
    fresh.word2[row] = word2
    fresh.word3[row] = word3
    count.fresh_addresses += 1
    count.addresses += 1
    return count.addresses


@kernel
def move_addresses(old: list[int], new: list[int]) -> None:
    """Fill in a larger table of addresses."""
    mask = len(new) - 1
    for slot in old:
        if slot != 0:
            at = row_bucket(slot >> 31, 0, 0, mask)
            while new[at] != 0:
                at = (at + 1) & mask
            new[at] = slot


@kernel
def move_flows(old: list[int], new: list[int]) -> None:
    """Fill in a larger table of flows."""
    mask = len(new) // 2 - 1
    for place in range(0, len(old), 2):
        key, value = old[place], old[place + 1]
        if value != 0:
            at = row_bucket(key >> 16, key & 0xFFFF, value >> 31, mask) * 2
            while new[at + 1] != 0:
                at = (at + 2) & (mask * 2 + 1)
            new[at] = key
            new[at + 1] = value
