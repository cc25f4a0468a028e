"""Several sources of traffic merged, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.model.merging import merge_blocks
from lbsim.model.trace import COLUMN_TYPES, AddressTable, Flow, FlowTable, Trace
from tests.traces import random_trace

ADDRESSES = [ip_address(a) for a in ("192.0.2.1", "203.0.113.1", "203.0.113.2", "::1", "2001:db8::1:0", "::102:304")]
randoms = st.randoms(use_true_random=False)


def any_trace(random: Random, *, captured: bool) -> Trace:
    """Packets of few flows between few addresses at few times; if captured, each with bytes of its own."""
    n = random.randrange(12)
    addresses = random.sample(ADDRESSES, random.randrange(2, 6))
    ends = [(random.randrange(len(addresses)), random.randrange(2)) for _ in range(4)]
    flows = [Flow(random.choice([6, 17]), *random.choice(ends), *random.choice(ends)) for _ in range(5)]
    columns = Trace.empty_columns(n)
    columns["time"][:] = sorted(random.randrange(8) for _ in range(n))
    columns["seq"][:] = [random.randrange(10**6) for _ in range(n)]  # tells packets apart
    for name, below in (("src", len(addresses)), ("dst", len(addresses)), ("flow", len(flows))):
        columns[name][:] = [random.randrange(below) for _ in range(n)]
    raw = b""
    if captured:
        raw = bytes(random.randrange(256) for _ in range(3 * n))
        columns["raw_at"][:] = random.sample(range(0, 3 * n, 3), n)
        columns["raw_len"][:] = [random.randrange(4) for _ in range(n)]
    return Trace(columns, AddressTable(addresses), FlowTable(flows), raw)


def cut(trace: Trace, random: Random) -> Iterator[Trace]:
    """The trace in blocks of random size, some of them empty, with tables that grow as late as possible."""
    addresses, flows = AddressTable(), FlowTable()
    begin = 0
    while begin < len(trace):
        end = min(len(trace), begin + random.randrange(4))
        part = trace.part(begin, end)
        needed = max(part["flow"].tolist(), default=-1) + 1
        flows.extend(trace.flows[len(flows) : max(needed, len(flows))])
        used = [flows.client, flows.server, part["src"], part["dst"]]
        top = max((int(column.max()) for column in used if len(column)), default=-1) + 1
        addresses.extend(trace.addresses[len(addresses) : max(top, len(addresses))])
        yield Trace(part.columns, addresses, flows, trace.raw)
        begin = end


def packets_of(trace: Trace) -> list[tuple[object, ...]]:
    """Each packet with its addresses, its flow with addresses and its captured bytes instead of numbers."""
    rows = []
    for i in range(len(trace)):
        f = trace.flows[trace["flow"][i]]
        flow = (f.proto, trace.addresses[f.client], f.client_port, trace.addresses[f.server], f.server_port)
        at = int(trace["raw_at"][i])
        raw = None if at < 0 else trace.raw[at : at + int(trace["raw_len"][i])]
        ends = trace.addresses[trace["src"][i]], trace.addresses[trace["dst"][i]]
        rows.append((int(trace["time"][i]), int(trace["seq"][i]), *ends, flow, raw))
    return rows


@st.composite
def traces(draw: st.DrawFn) -> list[Trace]:
    random = draw(randoms)
    return [any_trace(random, captured=random.random() < 0.5) for _ in range(random.randrange(2, 5))]


@settings(max_examples=100)
@given(traces())
def test_merged_packets_are_those_of_all_traces_sorted_by_time_then_by_trace(merged: list[Trace]) -> None:
    expected = [(packet[0], n, i, packet) for n, t in enumerate(merged) for i, packet in enumerate(packets_of(t))]
    assert packets_of(Trace.merge(merged)) == [packet for *_, packet in sorted(expected, key=lambda row: row[:3])]


def flows_of(trace: Trace) -> list[tuple[object, ...]]:
    at = trace.addresses
    return [(f.proto, at[f.client], f.client_port, at[f.server], f.server_port) for f in trace.flows]


@settings(max_examples=100)
@given(traces())
def test_whole_traces_number_addresses_and_flows_as_one_dictionary_after_the_other(sources: list[Trace]) -> None:
    merged = Trace.merge(sources)
    assert list(merged.addresses) == list(dict.fromkeys(address for source in sources for address in source.addresses))
    assert flows_of(merged) == list(dict.fromkeys(flow for source in sources for flow in flows_of(source)))


@settings(max_examples=100)
@given(traces(), randoms)
def test_blocks_number_addresses_and_flows_when_packets_first_need_them(sources: list[Trace], random: Random) -> None:
    merged = Trace.joined(merge_blocks([cut(source, random) for source in sources]))
    addresses: dict[object, int] = {}
    flows: dict[object, int] = {}
    for _, _, src, dst, flow, _ in packets_of(merged):
        for address in (dst, src, flow[3], flow[1]):
            addresses.setdefault(address, len(addresses))
        flows.setdefault(flow, len(flows))
    assert list(merged.addresses) == list(addresses)
    assert flows_of(merged) == list(flows)


@settings(max_examples=100)
@given(traces(), randoms)
def test_however_the_sources_are_cut_into_blocks_the_packets_are_those_of_whole_traces(
    sources: list[Trace], random: Random
) -> None:
    joined = Trace.joined(merge_blocks([cut(source, random) for source in sources]))
    assert packets_of(joined) == packets_of(Trace.merge(sources))
    assert {name: joined[name].dtype for name in COLUMN_TYPES} == {n: np.dtype(k) for n, k in COLUMN_TYPES.items()}


@given(traces(), randoms)
def test_merged_blocks_follow_each_other_in_time_and_share_their_tables(sources: list[Trace], random: Random) -> None:
    blocks = list(merge_blocks([cut(source, random) for source in sources]))
    assert all(before["time"][-1] <= after["time"][0] for before, after in pairwise(blocks))
    assert len({(id(block.addresses), id(block.flows)) for block in blocks}) <= 1


def test_a_single_source_is_passed_on_as_it_is() -> None:
    source = iter(())
    assert merge_blocks([source]) is source


def test_of_long_sources_only_little_is_held() -> None:
    pulled = [0, 0]

    def counted(number: int) -> Iterator[Trace]:
        for block in random_trace(number, 10_000).blocks(100):
            pulled[number] += 1
            yield block

    given_out = 0
    for block in merge_blocks([counted(0), counted(1)]):
        given_out += len(block)
        assert 100 * sum(pulled) - given_out <= 2 * 2 * 100
    assert given_out == 20_000


def at_once(packets: int, flow: int) -> Trace:
    """Packets of one instant."""
    columns = Trace.empty_columns(packets)
    columns["time"][:] = 5
    columns["sport"][:] = flow
    columns["seq"][:] = range(packets)
    return Trace(columns, AddressTable(ADDRESSES[:2]), FlowTable([Flow(6, 1, flow, 0, 80)]))


def test_packets_of_one_instant_keep_the_order_of_the_sources_though_they_are_in_many_blocks() -> None:
    merged = Trace.joined(merge_blocks([at_once(7, flow).blocks(2) for flow in (3, 1, 2)]))
    assert list(zip(merged["sport"].tolist(), merged["seq"].tolist(), strict=True)) == [
        (flow, i) for flow in (3, 1, 2) for i in range(7)
    ]


def test_what_sources_left_out_is_said_once_also_if_they_have_no_packets() -> None:
    nothing = Trace(Trace.empty_columns(0), AddressTable(), FlowTable(), left_out={"arp": 2}, damage="cut")
    more = at_once(3, 1)
    more = Trace(more.columns, more.addresses, more.flows, left_out={"arp": 1, "no service": 4}, damage="backwards")
    merged = Trace.joined(merge_blocks([nothing.blocks(2), more.blocks(2)]))
    assert (merged.left_out, merged.damage) == ({"arp": 3, "no service": 4}, "cut; backwards")
    silent = Trace.joined(merge_blocks([nothing.blocks(2), nothing.blocks(2)]))
    assert (len(silent), silent.left_out, silent.damage) == (0, {"arp": 4}, "cut; cut")


@pytest.mark.parametrize("captures", [1, 2])
def test_a_block_of_several_captures_has_only_the_bytes_it_needs(captures: int) -> None:
    def captured(first: int) -> Iterator[Trace]:
        trace = at_once(100, first)
        trace["time"][:] = range(100)
        trace["raw_at"][:] = range(0, 1000, 10)
        trace["raw_len"][:] = 10
        return Trace(trace.columns, trace.addresses, trace.flows, bytes([first]) * 1000).blocks(10)

    sources = [captured(n) for n in range(captures)] + [at_once(1, 9).blocks(1)]
    longest = max(len(block.raw) for block in merge_blocks(sources))
    assert longest == 1000 if captures == 1 else longest <= 2 * 2 * 100
