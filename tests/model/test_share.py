"""Shares of destinations, and how far they are from wanted ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbsim.model.result import UNTOLD
from lbsim.model.share import amounts_of, share_misses, share_of
from tests.results import DNS, WEB, A, B, Run, web


def shared(a, b):
    """A result with so many connections to A and to B, of 3 packets of 100 bytes each."""
    run = web(A, B)
    for i in range(a + b):
        run.connect(f"10.1.0.1:{40000 + i}", A if i < a else B)
    return run.result()


@pytest.mark.parametrize(("of", "amount"), [("connections", 3), ("packets", 9), ("bytes", 900)])
def test_amounts_are_the_counters_of_both_directions(of, amount):
    assert amounts_of(shared(3, 1), WEB, of)[A] == amount


def test_a_share_is_a_part_of_the_services_total():
    assert share_of(shared(3, 1), WEB) == {A: 0.75, B: 0.25}


def test_without_anything_to_share_all_shares_are_0():
    assert share_of(shared(0, 0), WEB) == {A: 0.0, B: 0.0}


def test_other_services_do_not_count():
    run = web(A).service(DNS).dest(B, service=DNS)
    run.connect("10.1.0.1:1", A).connect("10.1.0.1:1", B, service=DNS)
    assert share_of(run.result(), WEB) == {A: 1.0}


def test_what_was_not_told_has_no_share():
    told = shared(3, 1)
    first, second = told.destinations
    result = replace(told, destinations=(first, replace(second, counters=UNTOLD)))
    assert amounts_of(result, WEB) == {A: 3}
    assert share_of(result, WEB) == {A: 1.0}


def test_an_unknown_service_has_no_destinations():
    assert share_of(shared(1, 1), "tcp 203.0.113.1:1") == {}


def test_shares_that_are_met_give_no_lines():
    assert share_misses(shared(3, 1), WEB, {A: 0.75, B: 0.25}) == []


def test_a_share_that_is_missed_is_told_with_its_numbers():
    lines = share_misses(shared(3, 1), WEB, {A: 0.5}, tolerance=0.1)
    assert lines == [f"{A}: 0.7500 (3 of 4 connections), expected 0.5 within 0.1"]


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [(1, 4, 0.15), (1, 4, 0.25), (3, 7, 0.25), (3, 7, 0.35)],
    ids=["0.2 - 0.15", "0.25 - 0.2", "0.3 - 0.25", "0.35 - 0.3"],
)
def test_a_share_exactly_at_the_tolerance_passes(a, b, wanted):
    # In floats 0.2 - 0.15 is 0.05000000000000002.
    assert share_misses(shared(a, b), WEB, {A: wanted}, tolerance=0.05) == []


def test_a_share_just_beyond_the_tolerance_fails():
    assert len(share_misses(shared(1, 4), WEB, {A: 0.15}, tolerance=0.0499)) == 1


def test_a_name_that_is_no_destination_lists_those_that_are():
    lines = share_misses(shared(1, 1), WEB, {"10.0.0.99:80": 0.5})
    assert lines == [f"10.0.0.99:80 is no destination of {WEB}; expected one of: {A}, {B}"]


def test_a_name_that_is_no_address_is_told_as_it_was_written():
    (line,) = share_misses(shared(1, 1), WEB, {"web1": 0.5})
    assert line.startswith(f"web1 is no destination of {WEB}")


def test_ipv6_destinations_may_be_written_in_any_form():
    service = "tcp [2001:db8::10]:80"
    run = Run().service(service).dest("[fd00::11]:80", service=service)
    run.connect("[2001:db8::1]:1", "[fd00::11]:80", service=service)
    assert share_misses(run.result(), service, {"[FD00:0:0::11]:80": 1.0}) == []
