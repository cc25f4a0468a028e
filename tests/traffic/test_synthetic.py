"""Made-up traffic: what each word of a scenario makes, and that it is the same everywhere."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from ipaddress import ip_address
from itertools import count
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.engine.records import IN, REPLY, TCP, UDP
from lbsim.errors import ScenarioError
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

MS = 1_000_000
S = 1000 * MS
YEAR = 366 * 24 * 3600 * S
TCP_4 = "tcp 192.168.1.10:80"
TCP_6 = "tcp [2001:db8:1::10]:80"
UDP_4 = "udp 192.168.1.10:53"
UDP_6 = "udp [2001:db8:1::10]:53"
ONE = {"addresses": ["203.0.113.1"]}
ONE_6 = {"addresses": ["2001:db8::1"]}


def made(service: str = TCP_4, connections: int = 1, seed: int = 1, **keys: object) -> Trace:
    clients = {"clients": ONE if "." in service else ONE_6, "arrivals": {"at_once": True}}
    spec = {"service": service, "connections": connections} | clients | keys
    return generate(SyntheticTraffic.model_validate(spec), seed)


def story(trace: Trace) -> list[tuple[float, str, str, int]]:
    """(ms, who speaks, flags, bytes of the packet) of each packet."""
    who = {IN: "client", REPLY: "server"}
    names = {value: letter for letter, value in FLAGS.items()}
    columns = (trace[name].tolist() for name in ("time", "direction", "flags", "length"))
    return [
        (time / MS, who[direction], "".join(names[1 << i] for i in range(5) if flag >> i & 1), length)
        for time, direction, flag, length in zip(*columns, strict=True)
    ]


def clients(trace: Trace) -> list[str]:
    """The client of each connection (each first packet), in order."""
    first = trace["flags"] == FLAGS["S"]
    return [str(trace.addresses[i]) for i in trace["src"][first].tolist()]


# ---- the scripts ----


def test_the_default_connection_is_one_request_with_its_answer_closed_by_the_client():
    assert story(made()) == [
        (0, "client", "S", 40),
        (10, "server", "SA", 40),
        (20, "client", "A", 40),
        (20, "client", "PA", 240),
        (30, "server", "PA", 1040),
        (40, "client", "A", 40),
        (40, "client", "FA", 40),
        (50, "server", "FA", 40),
        (60, "client", "A", 40),
    ]


CLOSES = {
    "client": [(20, "client", "FA", 40), (30, "server", "FA", 40), (40, "client", "A", 40)],
    "server": [(30, "server", "FA", 40), (40, "client", "FA", 40), (50, "server", "A", 40)],
    "client_rst": [(20, "client", "R", 40)],
    "server_rst": [(30, "server", "R", 40)],
    "never": [],
}


@pytest.mark.parametrize("close", CLOSES)
def test_a_connection_is_closed_by_whom_the_script_says(close):
    opening = [(0, "client", "S", 40), (10, "server", "SA", 40), (20, "client", "A", 40)]
    assert story(made(tcp={"requests": 0, "close": close})) == opening + CLOSES[close]


@pytest.mark.parametrize("close", ["client", "server", "client_rst", "server_rst"])
@pytest.mark.parametrize("requests", [0, 1, 3])
def test_the_first_packet_of_the_close_is_sent_when_the_lifetime_is_over(close, requests):
    trace = made(tcp={"requests": requests, "close": close}, lifetime={"constant": "5s"}, start=2)
    closing = trace["flags"] & (FLAGS["F"] | FLAGS["R"]) != 0
    assert trace["time"][closing][0] == 7 * S


def test_requests_are_spread_evenly_between_opening_and_close():
    trace = made(tcp={"requests": 4}, lifetime={"constant": "1.02s"})
    begins = [ms for ms, who, flag, _ in story(trace) if (who, flag) == ("client", "PA")]
    assert begins == [20, 270, 520, 770]  # the opening ends at 20 ms, a quarter of the rest is 250 ms


def test_without_a_lifetime_each_request_follows_the_answer_before():
    begins = [ms for ms, who, flag, _ in story(made(tcp={"requests": 3})) if (who, flag) == ("client", "PA")]
    assert begins == [20, 40, 60]


def test_a_lifetime_shorter_than_the_requests_is_stretched():
    assert story(made(lifetime={"constant": "1ms"})) == story(made())


def test_an_odd_round_trip_time_is_halved_to_whole_nanoseconds():
    assert made(tcp={"rtt": "5ns", "half_open": True})["time"].tolist() == [0, 2]


def test_half_open_is_syn_and_syn_ack_only_whatever_else_is_said():
    trace = made(tcp={"half_open": True, "requests": 3, "close": "server"}, lifetime={"constant": "5s"})
    assert story(trace) == [(0, "client", "S", 40), (10, "server", "SA", 40)]


@pytest.mark.parametrize(
    ("service", "lengths"),
    [(TCP_4, [1500, 1500, 40 + 80]), (TCP_6, [1500, 1500, 60 + 120])],  # 3000 = 2 * 1460 + 80 = 2 * 1440 + 120
)
@pytest.mark.parametrize(("what", "who"), [("request_bytes", "client"), ("answer_bytes", "server")])
def test_data_is_cut_into_segments_of_which_the_last_is_pushed(service, lengths, what, who):
    small = {"request_bytes": 1, "answer_bytes": 1}
    packets = story(made(service, tcp=small | {what: 3000}))
    headers = 40 if service == TCP_4 else 60
    said = [(flag, length) for _, speaker, flag, length in packets if speaker == who and length > headers]
    assert said == list(zip(["A", "A", "PA"], lengths, strict=True))


def test_a_full_segment_is_not_followed_by_an_empty_one():
    lengths = [length for _, who, flag, length in story(made(tcp={"answer_bytes": 2920})) if who == "server"]
    assert lengths == [40, 1500, 1500, 40]


def test_a_udp_answer_comes_a_round_trip_time_after_its_query():
    assert story(made(UDP_4)) == [(0, "client", "", 68), (20, "server", "", 148)]


def test_udp_packets_over_ipv6_have_a_header_of_40_bytes():
    assert made(UDP_6, udp={"query_bytes": 0, "answer_bytes": 1})["length"].tolist() == [48, 49]


def test_without_a_lifetime_each_query_follows_the_answer_before():
    assert made(UDP_4, udp={"queries": 3})["time"].tolist() == [t * MS for t in (0, 20, 20, 40, 40, 60)]


def test_queries_are_spread_evenly_over_the_lifetime():
    trace = made(UDP_4, udp={"queries": 4, "answered": False}, lifetime={"constant": "1s"})
    assert trace["time"].tolist() == [t * MS for t in (0, 250, 500, 750)]


def test_unanswered_queries_have_no_answers():
    assert set(made(UDP_4, udp={"queries": 5, "answered": False})["direction"].tolist()) == {IN}


def test_replies_come_from_the_virtual_service():
    trace = made(connections=3)
    reply = trace["direction"] == REPLY
    assert {str(trace.addresses[i]) for i in trace["src"][reply].tolist()} == {"192.168.1.10"}
    assert set(trace["sport"][reply].tolist()) == {80}
    assert set(trace["dport"][reply].tolist()) <= set(PORTS)


# ---- arrivals ----


def test_every_puts_connections_at_a_constant_distance_from_the_start():
    trace = made(UDP_4, connections=3, arrivals={"every": "1.5ms"}, start="1s", udp={"answered": False})
    assert trace["time"].tolist() == [1_000_000_000, 1_001_500_000, 1_003_000_000]


def test_at_once_begins_all_connections_at_the_start_in_their_order():
    trace = made(connections=4, start="1s")
    assert trace["time"][:4].tolist() == [S] * 4
    assert trace["flags"][:4].tolist() == [FLAGS["S"]] * 4
    assert trace["sport"][:4].tolist() == list(PORTS[:4])


def ks_distance(sample: list[float], distribution) -> float:
    n = len(sample)
    expected = [distribution(x) for x in sorted(sample)]
    return max(max((i + 1) / n - e, e - i / n) for i, e in enumerate(expected))


N = 10_000
KS_BOUND = 1.95 / math.sqrt(N)  # exceeded in one of 1000 cases; the seeds are fixed


def test_poisson_arrivals_have_exponential_distances_of_the_right_mean():
    trace = made(UDP_4, connections=N, arrivals={"poisson": 100}, start=5, udp={"answered": False})
    distances = np.diff(trace["time"], prepend=5 * S) / S
    assert ks_distance(distances.tolist(), lambda x: 1 - math.exp(-100 * x)) < KS_BOUND


def test_poisson_arrivals_are_whole_microseconds():
    trace = made(UDP_4, connections=100, arrivals={"poisson": 3.3})
    assert not (trace["time"] % 1000).any()


def lifetimes(lifetime: dict[str, object], connections: int = N, seed: int = 1) -> list[int]:
    """How long each connection lasted: all begin at 0, need no time and end with one RST."""
    script = {"requests": 0, "rtt": 0, "close": "client_rst"}
    trace = made(connections=connections, lifetime=lifetime, tcp=script, seed=seed)
    return trace["time"][trace["flags"] == FLAGS["R"]].tolist()


def test_exponential_lifetimes_follow_their_distribution():
    sample = [t / S for t in lifetimes({"exponential": "2s"})]
    assert ks_distance(sample, lambda x: 1 - math.exp(-x / 2)) < KS_BOUND


def test_lognormal_lifetimes_follow_their_distribution():
    sample = [t / S for t in lifetimes({"lognormal": {"median": "3s", "sigma": 0.7}})]
    assert ks_distance(sample, lambda x: NormalDist(math.log(3), 0.7).cdf(math.log(x))) < KS_BOUND


def test_random_lifetimes_are_whole_microseconds():
    assert not any(t % 1000 for t in lifetimes({"exponential": "1s"}, 100))


@pytest.mark.parametrize("sigma", [50.0, 1e308])
def test_no_lifetime_is_longer_than_a_year_however_long_the_tail(sigma):
    assert max(lifetimes({"lognormal": {"median": "1h", "sigma": sigma}}, 100)) == YEAR


# ---- clients ----


NETWORKS = {
    "203.0.113.4/30": ["203.0.113.5", "203.0.113.6"],
    "203.0.113.4/31": ["203.0.113.4", "203.0.113.5"],
    "203.0.113.4/32": ["203.0.113.4"],
    "2001:db8::/126": ["2001:db8::1", "2001:db8::2", "2001:db8::3"],
    "2001:db8::/127": ["2001:db8::", "2001:db8::1"],
    "2001:db8::/128": ["2001:db8::"],
}


@pytest.mark.parametrize("cidr", NETWORKS)
def test_the_hosts_of_a_network_connect_one_after_the_other(cidr):
    service = TCP_6 if ":" in cidr else TCP_4
    trace = made(service, connections=5, clients={"cidr": cidr, "pick": "in_turn"})
    assert clients(trace) == (NETWORKS[cidr] * 5)[:5]


@pytest.mark.parametrize("cidr", NETWORKS)
def test_uniform_picks_come_from_all_hosts_of_a_network(cidr):
    service = TCP_6 if ":" in cidr else TCP_4
    assert sorted(set(clients(made(service, connections=100, clients={"cidr": cidr})))) == NETWORKS[cidr]


@pytest.mark.parametrize("pick", ["in_turn", "uniform", "zipf"])
@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0", "2001:db8::/32"])
def test_a_huge_network_costs_only_the_addresses_that_are_used(cidr, pick):
    service = TCP_6 if ":" in cidr else TCP_4
    trace = made(service, connections=10, clients={"cidr": cidr, "pick": pick})
    assert len(trace.addresses) <= 11
    assert set(clients(trace)) == {str(a) for a in trace.addresses[1:]}


def test_uniform_picks_of_a_huge_ipv6_network_come_from_its_first_2_to_the_32_hosts():
    numbers = [int(ip_address(c)) for c in clients(made(TCP_6, connections=1000, clients={"cidr": "::/0"}))]
    assert min(numbers) >= 1
    assert 2**31 < max(numbers) <= 2**32  # that none of 1000 is in the upper half happens once in 2**1000


def test_zipf_picks_of_a_huge_network_come_from_its_first_2_to_the_20_hosts():
    picky = {"cidr": "10.0.0.0/8", "pick": "zipf", "exponent": 0.01}  # nearly uniform
    network = int(ip_address("10.0.0.0"))
    numbers = [int(ip_address(c)) - network for c in clients(made(connections=1000, clients=picky))]
    assert min(numbers) >= 1
    assert 2**19 < max(numbers) <= 2**20


def test_uniform_picks_are_equally_frequent():
    counts = Counter(clients(made(connections=N, clients={"cidr": "203.0.113.0/28"})))
    # 14 hosts, 13 degrees of freedom: more than 34.5 in one of 1000 cases
    assert len(counts) == 14
    assert sum((c - N / 14) ** 2 / (N / 14) for c in counts.values()) < 34.5


def test_zipf_picks_are_as_frequent_as_the_definition_says():
    picky = {"cidr": "203.0.113.0/29", "pick": "zipf", "exponent": 1.3}
    counts = Counter(clients(made(connections=N, clients=picky)))
    weights = {f"203.0.113.{k}": k**-1.3 for k in range(1, 7)}
    expected = {host: N * weight / math.fsum(weights.values()) for host, weight in weights.items()}
    # 6 hosts, 5 degrees of freedom: more than 20.5 in one of 1000 cases
    assert counts.keys() == expected.keys()
    assert sum((counts[host] - e) ** 2 / e for host, e in expected.items()) < 20.5


def test_a_list_of_addresses_is_used_in_turn():
    listed = ["203.0.113.9", "203.0.113.1", "203.0.113.5"]
    assert clients(made(connections=4, clients={"addresses": listed, "pick": "in_turn"})) == [*listed, listed[0]]


def test_an_address_listed_twice_connects_twice_as_often_but_is_one_client():
    listed = ["203.0.113.9", "203.0.113.1", "203.0.113.9"]
    trace = made(connections=3, clients={"addresses": listed, "pick": "in_turn"})
    assert trace.addresses == tuple(ip_address(a) for a in ("192.168.1.10", "203.0.113.9", "203.0.113.1"))
    assert trace["sport"][:3].tolist() == [32768, 32768, 32769]


def test_a_client_with_the_address_of_the_service_is_no_second_address():
    trace = made(connections=2, clients={"addresses": ["192.168.1.10", "203.0.113.1"], "pick": "in_turn"})
    assert trace.addresses == (ip_address("192.168.1.10"), ip_address("203.0.113.1"))
    assert clients(trace) == ["192.168.1.10", "203.0.113.1"]


def test_hosts_behind_gateways_are_seen_as_their_gateways_in_turn():
    gateways = ["203.0.113.1", "203.0.113.2"]
    trace = made(connections=7, clients={"gateways": gateways, "hosts": 3, "pick": "in_turn"})
    # hosts 0 1 2 0 1 2 0; even hosts are behind the first gateway
    assert [c[-1] for c in clients(trace)] == ["1", "2", "1", "1", "2", "1", "1"]


def test_the_number_of_hosts_behind_gateways_may_exceed_everything():
    trace = made(connections=10, clients={"gateways": ["203.0.113.1", "203.0.113.2"], "hosts": 10**30})
    assert set(clients(trace)) == {"203.0.113.1", "203.0.113.2"}


def test_connections_through_a_gateway_have_a_source_port_each():
    trace = made(connections=100, clients={"gateways": ["203.0.113.1"], "hosts": 5})
    assert trace["sport"][:100].tolist() == list(range(32768, 32868))


def test_a_client_that_has_used_all_ports_begins_again_with_the_first_in_the_same_flow():
    n = 60999 - 32768 + 1
    trace = made(UDP_4, connections=n + 2, arrivals={"every": 1}, udp={"answered": False})
    assert trace["sport"].tolist() == [*range(32768, 61000), 32768, 32769]
    assert trace["flow"].tolist() == [*range(n), 0, 1]
    assert len(trace.flows) == n


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


# ---- what cannot be made ----


def test_more_packets_than_memory_holds_are_refused():
    with pytest.raises(ScenarioError) as caught:
        made(connections=10_000_000, tcp={"answer_bytes": 100_000})
    # one request segment, 69 of 1460 bytes, one ACK
    assert str(caught.value) == (
        "requests and answers would be 71 packets in each connection, 710,000,000 in all; "
        "expected at most 10,000,000 and 250,000,000"
    )


@pytest.mark.parametrize(
    ("service", "keys"),
    [(TCP_4, {"tcp": {"requests": 10**18}}), (UDP_4, {"udp": {"queries": 10**18}})],
)
def test_a_connection_of_too_many_packets_is_refused_at_once(service, keys):
    with pytest.raises(ScenarioError, match="packets in each connection"):
        made(service, **keys)


@pytest.mark.parametrize(
    ("arrivals", "years"),
    [({"every": "8784h"}, "200"), ({"poisson": 1e-9}, "6,[0-9]{3}"), ({"poisson": 5e-324}, "inf")],
)
def test_connections_that_begin_over_centuries_are_refused(arrivals, years):
    # 8784 h are 366 days; 200 of 1e9 s are 6,325 such years on average
    message = f"^the connections begin for {years} years; expected at most 100$"
    with pytest.raises(ScenarioError, match=message):
        made(connections=201, arrivals=arrivals)


@pytest.mark.parametrize(
    ("service", "keys"),
    [
        (TCP_4, {"tcp": {"requests": 200, "rtt": "8784h"}}),
        (UDP_4, {"udp": {"queries": 201, "rtt": "8784h"}}),
    ],
)
def test_a_connection_that_lasts_for_centuries_is_refused(service, keys):
    with pytest.raises(ScenarioError, match=r"^a connection lasts for 201 years; expected at most 100$"):
        made(service, **keys)


def test_the_longest_times_that_are_allowed_can_be_counted_in_nanoseconds():
    trace = made(connections=100, arrivals={"every": "8784h"}, tcp={"requests": 98, "rtt": "8784h"}, start="8784h")
    # begins after 1 + 99 years, closes after 1 + 98 more, the last ACK is a year later
    assert trace.duration == 200 * YEAR
