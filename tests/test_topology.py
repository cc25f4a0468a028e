"""The graph of a config and of a run."""

from __future__ import annotations

import pytest

from lbsim.model.config import DirectorConfig
from lbsim.topology import SINGLE_CLIENTS, graph
from tests.results import DNS, WEB, A, B, Run, web


def kinds(network, kind):
    return [name for name, found in network.nodes(data="kind") if found == kind]


def test_a_config_without_a_run_gives_the_same_nodes_without_traffic():
    network = graph(web(A, B).config())
    assert kinds(network, "destination") == [A, B]
    assert all(edge["packets"] == edge["connections"] == 0 for *_, edge in network.edges(data=True))


def test_edges_run_from_clients_over_director_and_service_to_destinations():
    network = graph(web(A).config())
    assert set(network.edges) == {("clients", "director"), ("director", WEB), (WEB, A)}


def test_an_empty_config_is_a_director_without_services():
    network = graph(DirectorConfig())
    assert list(network.nodes) == ["director", "clients"]


def test_a_destinations_edge_carries_its_counters():
    # 2 connections to A: 2 packets in and 1 out each.
    run = web(A, B).connect("10.1.0.1:40000", A).connect("10.1.0.2:40000", A)
    network = graph(run.config(), run.result())
    edge = {"packets": 6, "connections": 2, "weight": 1, "present": True}
    assert network.edges[WEB, A] == edge


def test_a_services_edge_carries_the_sum_over_its_destinations():
    run = web(A, B).connect("10.1.0.1:40000", A).connect("10.1.0.2:40000", B, sent=4)
    network = graph(run.config(), run.result())
    assert network.edges["director", WEB] == {"packets": 3 + 5, "connections": 2}


def test_a_clients_edge_counts_its_packets_in_both_directions_also_those_that_went_nowhere():
    run = web(A).connect("10.1.0.1:40000", A).packet("10.1.0.1:40001", None, "not_syn")
    network = graph(run.config(), run.result())
    assert network.edges["10.1.0.1", "director"] == {"packets": 4, "connections": 1}


def test_answers_that_nobody_sent_are_not_counted():
    run = web(A).packet("10.1.0.1:40000", None, "not_syn")
    run.packet("10.1.0.1:40000", None, "no_responder", out=True)
    network = graph(run.config(), run.result())
    assert network.edges["10.1.0.1", "director"]["packets"] == 1


def test_a_real_server_under_two_services_is_one_node_with_two_edges():
    run = web(A).service(DNS).dest(A, 3, service=DNS)
    network = graph(run.config(), run.result())
    assert network.edges[WEB, A]["weight"] == 1
    assert network.edges[DNS, A]["weight"] == 3


def test_a_removed_destination_stays_in_the_graph_and_is_marked():
    run = web(A, B).remove(B)
    network = graph(run.config(), run.result())
    assert network.edges[WEB, B]["present"] is False


def test_a_service_that_the_config_does_not_have_comes_from_the_result():
    network = graph(DirectorConfig(), web(A).result())
    assert network.nodes[WEB]["scheduler"] == "rr"


def test_a_service_that_is_gone_at_the_end_is_still_a_node():
    run = web(A)
    run.services.clear()
    network = graph(DirectorConfig(), run.result())
    assert network.nodes[WEB] == {"kind": "service", "label": WEB, "scheduler": "", "flags": ()}


def with_clients(number):
    run = web(A)
    for i in range(number):
        run.connect(f"10.1.0.{i + 1}:40000", A)
    return graph(run.config(), run.result())


@pytest.mark.parametrize("number", [1, SINGLE_CLIENTS])
def test_few_clients_are_a_node_each(number):
    assert len(kinds(with_clients(number), "client")) == number


def test_many_clients_are_one_node_that_counts_them():
    network = with_clients(SINGLE_CLIENTS + 1)
    assert network.nodes["clients"] == {"kind": "client", "label": "13 clients", "count": 13}
    assert network.edges["clients", "director"] == {"packets": 39, "connections": 13}


def test_a_run_without_packets_has_no_clients():
    network = graph(web(A).config(), web(A).result())
    assert network.nodes["clients"]["label"] == "no clients"


def test_ipv6_addresses_are_nodes_like_any_other():
    service = "tcp [2001:db8::10]:80"
    run = Run().service(service).dest("[fd00::11]:80", service=service)
    run.connect("[2001:db8::1]:40000", "[fd00::11]:80", service=service)
    network = graph(run.config(), run.result())
    assert network.edges["2001:db8::1", "director"]["connections"] == 1
    assert network.edges[service, "[fd00::11]:80"]["connections"] == 1
