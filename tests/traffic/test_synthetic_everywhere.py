"""What all made-up traffic has in common, and that it is the same everywhere."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.engine.numbers import IN, REPLY, TCP, UDP
from lbsim.model.scenario import SyntheticTraffic
from lbsim.model.trace import COLUMN_TYPES, Trace
from lbsim.traffic.synthetic import PORTS, generate
from tests.oracles.traffic import (
    FLAGS,
    digest_of,
    microsecond,
    naive_digest,
    naive_exponential,
    naive_normal,
    naive_uniform,
    naive_words,
    naive_zipf,
)
from tests.traffic.generated import specs
from tests.traffic.made import TCP_4, TCP_6, UDP_4, S, made

# ---- properties of all traffic ----


seeds = st.integers(0, 2**70)


@settings(max_examples=40, deadline=None)
@given(specs(), seeds)
def test_columns_have_the_types_of_a_trace_and_no_raw_bytes(spec, seed):
    trace = generate(spec, seed)
    assert {name: trace[name].dtype for name in COLUMN_TYPES} == {n: np.dtype(t) for n, t in COLUMN_TYPES.items()}
    assert set(trace["raw_at"].tolist()) == {-1}
    assert set(trace["ttl"].tolist()) == {64}


@settings(max_examples=40, deadline=None)
@given(specs(), seeds)
def test_packets_are_in_order_of_time_from_the_start_on(spec, seed):
    time = generate(spec, seed)["time"]
    assert time[0] >= spec.start
    assert (np.diff(time) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(specs(), seeds)
def test_a_packet_has_the_ends_of_its_flow(spec, seed):
    trace = generate(spec, seed)
    proto = TCP if spec.service.protocol == "tcp" else UDP
    columns = (trace[n].tolist() for n in ("flow", "direction", "src", "sport", "dst", "dport", "proto"))
    for number, direction, src, sport, dst, dport, protocol in zip(*columns, strict=True):
        flow = trace.flows[number]
        client, server = (flow.client, flow.client_port), (flow.server, flow.server_port)
        assert ((src, sport), (dst, dport)) == ((client, server) if direction == IN else (server, client))
        assert protocol == flow.proto == proto
        assert trace.addresses[flow.server] == spec.service.address


@settings(max_examples=40, deadline=None)
@given(specs(), seeds)
def test_flows_are_numbered_by_their_first_packet_and_each_is_there_once(spec, seed):
    trace = generate(spec, seed)
    assert list(dict.fromkeys(trace["flow"].tolist())) == list(range(len(trace.flows)))
    assert len(set(trace.flows)) == len(trace.flows) == spec.connections


@settings(max_examples=40, deadline=None)
@given(specs(), seeds)
def test_every_address_is_there_once_and_used(spec, seed):
    trace = generate(spec, seed)
    assert len(set(trace.addresses)) == len(trace.addresses)
    assert set(trace["src"].tolist()) | set(trace["dst"].tolist()) == set(range(len(trace.addresses)))


@settings(max_examples=40, deadline=None)
@given(specs(), seeds)
def test_a_client_never_uses_a_port_twice_while_there_are_unused_ones(spec, seed):
    ports = defaultdict(list)
    for flow in generate(spec, seed).flows:
        ports[flow.client].append(flow.client_port)
    assert all(used == list(PORTS[: len(used)]) for used in ports.values())


def check_tcp(trace: Trace, version: int) -> dict[int, list[int]]:
    """Follow every connection as its two ends would; payload bytes per flow of client and server."""
    headers = 40 if version == 4 else 60
    next_seq: dict[tuple[int, bool], int] = {}
    said: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    columns = (trace[n].tolist() for n in ("flow", "direction", "flags", "length", "seq", "ack"))
    for flow, direction, flag, length, seq, ack in zip(*columns, strict=True):
        me, other = (flow, direction == IN), (flow, direction != IN)
        payload = length - headers
        assert 0 <= payload <= 1500 - headers
        assert 0 <= seq < 2**32
        if flag & FLAGS["S"]:
            assert me not in next_seq, "a second SYN"
            assert payload == 0
        else:
            assert seq == next_seq[me], "a hole, or sent twice"
        assert ack == (next_seq[other] if flag & FLAGS["A"] else 0)
        next_seq[me] = (seq + payload + bool(flag & FLAGS["S"]) + bool(flag & FLAGS["F"])) % 2**32
        said[flow][direction != IN] += payload
    return said


@settings(max_examples=60, deadline=None)
@given(specs(("tcp",)), seeds)
def test_sequence_numbers_are_what_two_tcp_stacks_would_send(spec, seed):
    script = spec.tcp
    assert script is not None
    said = check_tcp(generate(spec, seed), spec.service.address.version)
    requests = 0 if script.half_open else script.requests
    expected = [requests * script.request_bytes, requests * script.answer_bytes]
    assert [said[flow] for flow in range(spec.connections)] == [expected] * spec.connections


@settings(max_examples=40, deadline=None)
@given(specs(("udp",)), seeds)
def test_udp_packets_have_neither_flags_nor_sequence_numbers(spec, seed):
    trace = generate(spec, seed)
    assert not trace["flags"].any()
    assert not trace["seq"].any()
    assert not trace["ack"].any()


@settings(max_examples=40, deadline=None)
@given(specs(), seeds)
def test_more_connections_begin_with_the_same_ones(spec, seed):
    more = spec.model_copy(update={"connections": 2 * spec.connections})
    few, many = generate(spec, seed), generate(more, seed)
    kept = many["flow"] < spec.connections
    assert few.flows == many.flows[: spec.connections]
    assert all(few[name].tolist() == many[name][kept].tolist() for name in COLUMN_TYPES)


@settings(max_examples=20, deadline=None)
@given(specs(), seeds)
def test_the_same_spec_and_seed_make_the_same_trace(spec, seed):
    one, two = generate(spec, seed), generate(spec, seed)
    assert (one.flows, one.addresses) == (two.flows, two.addresses)
    assert all(one[name].tobytes() == two[name].tobytes() for name in COLUMN_TYPES)


def test_another_seed_makes_another_trace():
    keys = {"connections": 10, "clients": {"cidr": "203.0.113.0/24"}, "arrivals": {"poisson": 10}}
    one, two = made(**keys, seed=1), made(**keys, seed=2)
    assert all(one[name].tolist() != two[name].tolist() for name in ("time", "seq", "ack", "src"))


def test_sequence_numbers_wrap_after_32_bits():
    size = 10_000_000
    # the seed of a server that begins less than an answer before the end of the numbers
    seed = next(seed for seed in count() if naive_words(seed, "sequence numbers", 1)[0] % 2**32 > 2**32 - size)
    trace = made(tcp={"answer_bytes": size}, seed=seed)
    check_tcp(trace, 4)
    assert (np.diff(trace["seq"][trace["direction"] == REPLY]) < 0).sum() == 1


# ---- the same everywhere: bit by bit that of the restatement ----


def tcp_spec() -> tuple[SyntheticTraffic, str]:
    """Poisson arrivals, exponential lifetimes, uniform picks."""
    spec = SyntheticTraffic.model_validate(
        {
            "service": TCP_4,
            "connections": 7,
            "clients": {"cidr": "203.0.113.0/29"},
            "arrivals": {"poisson": 20},
            "lifetime": {"exponential": "150ms"},
            "start": "1s",
            "tcp": {"requests": 3, "answer_bytes": 3000, "rtt": "7ms"},
        }
    )
    hosts = [f"203.0.113.{math.ceil(u * 6)}" for u in naive_uniform(11, "clients", 7)]
    distances = naive_exponential(11, "arrivals", 7)
    begins = [S + microsecond(math.fsum(distances[: i + 1]) / 20) for i in range(7)]
    lives = [microsecond(0.150 * e) for e in naive_exponential(11, "lifetimes", 7)]
    return spec, naive_digest(spec, hosts, begins, lives, 11)


def tcp6_spec() -> tuple[SyntheticTraffic, str]:
    """All at once, log-normal lifetimes, Zipf picks."""
    spec = SyntheticTraffic.model_validate(
        {
            "service": TCP_6,
            "connections": 9,
            "clients": {"cidr": "2001:db8::/125", "pick": "zipf", "exponent": 0.8},
            "arrivals": {"at_once": True},
            "lifetime": {"lognormal": {"median": "1s", "sigma": 1.5}},
            "tcp": {"request_bytes": 1441, "rtt": "9ns"},
        }
    )
    hosts = [f"2001:db8::{rank + 1}" for rank in naive_zipf(12, "clients", 9, 7, 0.8)]
    lives = [microsecond(math.exp(1.5 * z)) for z in naive_normal(12, "lifetimes", 9)]
    return spec, naive_digest(spec, hosts, [0] * 9, lives, 12)


def udp_spec() -> tuple[SyntheticTraffic, str]:
    """A constant distance, hosts behind gateways in turn."""
    gateways = ["203.0.113.7", "198.51.100.7", "192.0.2.7"]
    spec = SyntheticTraffic.model_validate(
        {
            "service": UDP_4,
            "connections": 8,
            "clients": {"gateways": gateways, "hosts": 5, "pick": "in_turn"},
            "arrivals": {"every": "333us"},
            "lifetime": {"constant": "1s"},
            "udp": {"queries": 3, "rtt": "2ms"},
        }
    )
    hosts = [gateways[i % 5 % 3] for i in range(8)]
    return spec, naive_digest(spec, hosts, [i * 333_000 for i in range(8)], [S] * 8, 13)


# SHA-256 of the three restatements, so that neither they nor the generator can change unnoticed
GOLDEN = {
    "tcp_spec": "6d1fca211d070d37bb34c4ebfcdf80a1aa2ee20e12726d63b9aa903ae1d4dbe1",
    "tcp6_spec": "b3200f672e5c4b85d705581a9164df1a895e1aea03f03d59eae4d613b2217e48",
    "udp_spec": "fb075da02f60602efbeafa2c95e24abd8a8096ba236a94341de0533d15824a8c",
}


@pytest.mark.parametrize(("name", "seed"), [("tcp_spec", 11), ("tcp6_spec", 12), ("udp_spec", 13)])
def test_a_trace_is_bit_by_bit_that_of_the_naive_restatement(name, seed):
    spec, expected = globals()[name]()
    assert digest_of(generate(spec, seed)) == expected == GOLDEN[name]
