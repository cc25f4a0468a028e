"""Shares of two results, side by side."""

from __future__ import annotations

from lbsim.compare import share_distances
from tests.results import DNS, WEB, A, B, C, web


def shared(*dests):
    run = web(A, B, C)
    for i, dest in enumerate(dests):
        run.connect(f"10.1.0.1:{40000 + i}", dest)
    return run.result()


def test_equal_shares_of_different_numbers_have_no_distance():
    distances = share_distances(shared(A, B), shared(A, A, B, B))
    assert set(distances.values()) == {0.0}


def test_a_distance_is_how_much_larger_the_share_is_in_b():
    # A: 1/2 -> 3/4, B: 1/2 -> 1/4
    distances = share_distances(shared(A, B), shared(A, A, A, B))
    assert distances == {(WEB, A): 0.25, (WEB, B): -0.25, (WEB, C): 0.0}


def test_the_greatest_distance_comes_first():
    # A: 1/2 -> 0, B: 1/4 -> 1/2, C: 1/4 -> 1/2
    distances = share_distances(shared(A, A, B, C), shared(B, C))
    assert list(distances) == [(WEB, A), (WEB, B), (WEB, C)]


def test_a_destination_that_one_side_lacks_has_a_share_of_0_there():
    distances = share_distances(web(A).connect("10.1.0.1:1", A).result(), web(B).connect("10.1.0.1:1", B).result())
    assert distances == {(WEB, A): -1.0, (WEB, B): 1.0}


def test_services_are_measured_each_on_its_own():
    a = web(A, B).service(DNS).dest(A, service=DNS).dest(B, service=DNS)
    a.connect("10.1.0.1:1", A).connect("10.1.0.1:1", A, service=DNS)
    b = web(A, B).service(DNS).dest(A, service=DNS).dest(B, service=DNS)
    b.connect("10.1.0.1:1", A).connect("10.1.0.1:1", B, service=DNS)
    distances = share_distances(a.result(), b.result())
    assert distances == {(DNS, A): -1.0, (DNS, B): 1.0, (WEB, A): 0.0, (WEB, B): 0.0}


def test_packets_can_be_shared_as_well():
    # A 3 of 6 packets -> 3 of 12
    a = web(A, B).connect("10.1.0.1:1", A).connect("10.1.0.1:2", B).result()
    b = web(A, B).connect("10.1.0.1:1", A).connect("10.1.0.1:2", B, sent=8).result()
    assert share_distances(a, b, of="packets")[WEB, A] == -0.25
