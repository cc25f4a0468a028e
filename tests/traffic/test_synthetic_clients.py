"""Who connects in made-up traffic."""

from __future__ import annotations

import math
from collections import Counter
from ipaddress import ip_address

import pytest

from tests.traffic.made import TCP_4, TCP_6, UDP_4, N, clients, made

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
