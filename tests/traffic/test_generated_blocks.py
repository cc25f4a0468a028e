"""Made-up traffic in blocks: whatever their size, together they are the same trace as ever."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.errors import ScenarioError
from lbsim.model.scenario import SyntheticTraffic
from lbsim.model.trace import Trace
from lbsim.traffic import synthetic
from lbsim.traffic.synthetic import generate, generate_blocks
from tests.traffic.generated import KINDS, fingerprint, spec_of, specs

RECORDED = {
    kind: (int(seed), expected)
    for seed, expected, kind in (
        line.split(maxsplit=2)
        for line in Path(__file__).with_name("fingerprints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}
SMALL = [kind for kind in KINDS if spec_of(kind).connections < 1000]
LARGE = [kind for kind in KINDS if kind not in SMALL]
block_sizes = st.sampled_from([1, 2, 7, 50, 10_000])
seeds = st.integers(0, 2**70)


def test_there_is_a_fingerprint_of_every_kind():
    assert list(RECORDED) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_is_bit_by_bit_what_it_was_when_all_packets_were_made_at_once(kind):
    seed, expected = RECORDED[kind]
    assert fingerprint(generate(spec_of(kind), seed)) == expected


@pytest.mark.parametrize(("kind", "size"), [(kind, 60) for kind in SMALL] + [(kind, 9000) for kind in LARGE])
def test_blocks_joined_are_the_whole_trace_whatever_their_size(kind, size):
    seed, expected = RECORDED[kind]
    assert fingerprint(Trace.joined(generate_blocks(spec_of(kind), seed, block_packets=size))) == expected


@pytest.mark.parametrize("kind", ["tcp4 poisson exponential cidr zipf", "udp6 at_once lognormal gateways in_turn"])
def test_the_trace_does_not_depend_on_how_windows_are_estimated(kind, monkeypatch):
    monkeypatch.setattr(synthetic, "_SAMPLE", 2)
    monkeypatch.setattr(synthetic, "_LEAST_OF_LIVE", 1000)
    seed, expected = RECORDED[kind]
    assert fingerprint(Trace.joined(generate_blocks(spec_of(kind), seed, block_packets=20))) == expected


@settings(max_examples=40, deadline=None)
@given(specs(), seeds, block_sizes)
def test_blocks_of_any_spec_joined_are_its_trace(spec, seed, size):
    blocks = generate_blocks(spec, seed, block_packets=size)
    assert fingerprint(Trace.joined(blocks)) == fingerprint(generate(spec, seed))


@settings(max_examples=40, deadline=None)
@given(specs(), seeds, block_sizes)
def test_no_block_is_empty_or_larger_than_asked_for(spec, seed, size):
    assert all(1 <= len(block) <= size for block in generate_blocks(spec, seed, block_packets=size))


@settings(max_examples=40, deadline=None)
@given(specs(), seeds, block_sizes)
def test_no_packet_of_a_block_is_earlier_than_one_of_the_block_before(spec, seed, size):
    times = [block["time"] for block in generate_blocks(spec, seed, block_packets=size)]
    assert all(before[-1] <= after[0] for before, after in pairwise(times))


@settings(max_examples=40, deadline=None)
@given(specs(), seeds, block_sizes)
def test_the_rows_that_a_block_points_at_are_in_the_shared_tables_and_stay_as_they_are(spec, seed, size):
    tables, seen = set(), []
    for block in generate_blocks(spec, seed, block_packets=size):
        tables.add((id(block.addresses), id(block.flows)))
        seen.append(
            (block, [block.addresses[i] for i in block["src"].tolist()], [block.flows[i] for i in block["flow"]])
        )
    assert len(tables) == 1
    for block, src, flows in seen:
        assert [block.addresses[i] for i in block["src"].tolist()] == src
        assert [block.flows[i] for i in block["flow"].tolist()] == flows


def test_whoever_gets_a_block_may_change_it():
    kind = "tcp4 every exponential gateways in_turn"
    kept = []
    for block in generate_blocks(spec_of(kind), RECORDED[kind][0], block_packets=50):
        kept.append(Trace({n: c.copy() for n, c in block.columns.items()}, block.addresses, block.flows))
        for column in block.columns.values():
            column[:] = -1
    assert fingerprint(Trace.joined(kept)) == RECORDED[kind][1]


def test_memory_depends_on_connections_and_not_on_packets():
    words = {
        "service": "tcp 192.168.1.10:80",
        "connections": 20,
        "clients": {"cidr": "10.0.0.0/8"},
        "arrivals": {"every": "1s"},
        "lifetime": {"constant": "1h"},
    }
    peaks = []
    for requests in (100, 3000):
        spec = SyntheticTraffic.model_validate(words | {"tcp": {"requests": requests}})
        tracemalloc.start()
        packets = sum(len(block) for block in generate_blocks(spec, 1, block_packets=5000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert packets == 20 * (3 + 3 * 3000 + 3)
    # 180,120 packets of 60 bytes would be 11 MB; the script says of each of its 9006 steps two numbers of 4 bytes
    assert peaks[1] - peaks[0] < 1_000_000


def test_a_spec_that_cannot_be_made_is_refused_before_there_is_a_block():
    words = KINDS["tcp4 every none cidr in_turn"] | {"arrivals": {"every": "8784h"}}
    spec = SyntheticTraffic.model_validate(words)
    with pytest.raises(ScenarioError, match="the connections begin for"):
        generate_blocks(spec, 1)


def test_the_time_of_the_last_arrival_is_looked_at_only_if_it_may_be_too_late():
    # 10 million connections at 1e-2 per second may take 37 times 1000 million seconds, but take about that: 31.7 years
    words = {"service": "udp 10.0.0.1:53", "connections": 10_000_000, "clients": {"addresses": ["10.0.0.2"]}}
    spec = SyntheticTraffic.model_validate(words | {"arrivals": {"poisson": 0.01}})
    block = next(generate_blocks(spec, 1, block_packets=1000))
    assert np.diff(block["time"]).min() >= 0
