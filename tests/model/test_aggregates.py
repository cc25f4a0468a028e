"""What packets add up to, against counting them one by one."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim import parse
from lbsim.model.aggregates import SINGLE_CLIENTS, Aggregates, Aggregator, Bins, Client
from lbsim.model.result import Result
from lbsim.model.verdict import Verdict, reason_named, reason_of
from lbsim.simulate import simulate
from tests.results import DNS, WEB, A, B, C, Run, web
from tests.traces import EVERY_SHAPE, config_text, random_trace

SECOND = 1_000_000_000
MS = 1_000_000


@pytest.fixture(scope="module")
def result() -> Result:
    """Something of everything, in 3000 packets over 400 s."""
    return simulate(parse(config_text(4, "rr")), random_trace(5, 3000, shapes=EVERY_SHAPE))


def added_up(result: Result, cuts: list[int], first: int = 100) -> Aggregates:
    """The aggregates of a result's columns, given in blocks that end at the cuts."""
    aggregator = Aggregator(first)
    services = [row.service for row in result.destinations]
    for start, stop in pairwise([0, *sorted(cuts), len(result)]):
        aggregator.add({name: column[start:stop] for name, column in result.columns.items()}, services)
    return aggregator.done(result.addresses, len(result.destinations))


def rows(result: Result) -> list[dict[str, int]]:
    names = ("time", "direction", "src", "dst", "verdict", "reason", "dest")
    return [dict(zip(names, row, strict=True)) for row in zip(*(result[name].tolist() for name in names), strict=True)]


def makes_connection(row: dict[str, int]) -> bool:
    return reason_of(row["reason"]).name in ("new", "rescheduled")


def test_every_packet_has_its_reason_counted(result: Result) -> None:
    found = added_up(result, [])
    assert found.packets == 3000
    assert found.reasons == Counter(row["reason"] for row in rows(result))


def test_connections_are_counted_where_they_went(result: Result) -> None:
    made = Counter(row["dest"] for row in rows(result) if makes_connection(row))
    assert added_up(result, []).connections == tuple(made[d] for d in range(len(result.destinations)))


def test_first_connections_are_those_of_each_service_in_order(result: Result) -> None:
    wanted: dict[str, list[int]] = {}
    for row in rows(result):
        if makes_connection(row):
            wanted.setdefault(result.destinations[row["dest"]].service, []).append(row["dest"])
    found = added_up(result, [], first=9).first_connections
    assert {name: list(dests) for name, dests in found.items()} == {name: dests[:9] for name, dests in wanted.items()}


def test_clients_are_those_who_sent_as_clients_with_what_they_got_back(result: Result) -> None:
    seen = rows(result)
    clients = {row["src"] for row in seen if row["direction"] == 0}
    there = [row for row in seen if row["verdict"] != Verdict.NONE]
    packets = sum(row["direction"] == 0 or row["dst"] in clients for row in there)
    found = added_up(result, []).clients
    assert (found.addresses, found.packets) == (len(clients), packets)
    assert found.connections == sum(map(makes_connection, seen))


@pytest.mark.parametrize(("clients", "told_apart"), [(SINGLE_CLIENTS, True), (SINGLE_CLIENTS + 1, False)])
def test_few_clients_are_told_apart(clients: int, told_apart: bool) -> None:
    run = web(A)
    for n in range(clients):
        run.connect(f"10.1.0.{n}:1000", A, sent=2, answered=n)
    single = run.result().aggregates.clients.single
    wanted = tuple(Client(f"10.1.0.{n}", 2 + n, 1) for n in range(clients))
    assert single == (wanted if told_apart else ())


def test_bins_say_what_each_destination_got_and_when() -> None:
    run = web(A, B).connect("10.1.0.1:1", A, at=0).connect("10.1.0.2:1", B, at=3 * MS - 1, sent=4, answered=0)
    run.packet("10.1.0.3:1", None, "no_dest", at=4 * MS)
    # a connection is 2 packets and 1 answer unless it says otherwise; bins of 1 ms
    assert run.result().aggregates.bins == Bins(
        MS, ((1, 0, 0, 0, 0), (0, 0, 1, 0, 0)), ((3, 0, 0, 0, 0), (0, 0, 4, 0, 0))
    )


@pytest.mark.parametrize(
    ("last", "width", "bins"),
    [(200 * MS - 1, MS, 200), (200 * MS, 2 * MS, 101), (SECOND, 8 * MS, 126), (3600 * SECOND, 2**15 * MS, 110)],
)
def test_bins_are_as_wide_as_it_takes_to_have_200_at_most(last: int, width: int, bins: int) -> None:
    # 3600 s / 200 = 18 s: the next power of two of milliseconds is 32.768 s
    found = web(A).connect("10.1.0.1:1", A).connect("10.1.0.2:1", A, at=last).result().aggregates.bins
    assert (found.width, len(found.packets[0])) == (width, bins)
    assert (found.packets[0][0], found.packets[0][-1], sum(found.packets[0])) == (3, 3, 6)


def test_of_very_many_destinations_there_are_few_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.model.aggregates.MOST_CELLS", 12)
    run = web(A, B, C).connect("10.1.0.1:1", A).connect("10.1.0.1:2", C, at=7 * MS)
    # 12 cells for 3 destinations: 4 bins, of 2 ms
    assert run.result().aggregates.bins == Bins(
        2 * MS, ((1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1)), ((3, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 3))
    )


@given(cuts=st.lists(st.integers(0, 3000), max_size=8))
def test_where_blocks_end_does_not_show(result: Result, cuts: list[int]) -> None:
    assert added_up(result, cuts, first=9) == added_up(result, [], first=9)


def test_destinations_may_come_while_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # With all four there is room for 2 bins each, with the first two for 4: they become fewer on the way.
    monkeypatch.setattr("lbsim.model.aggregates.MOST_CELLS", 8)
    early = web(A, B).connect("10.1.0.1:1", A)
    late = web(A, B).service(DNS).dest(A, service=DNS).dest(C)
    late.addresses.update(early.addresses)
    late.connect("10.1.0.1:2", A, service=DNS, at=5 * MS).connect("10.1.0.2:2", C, at=6 * MS)
    aggregator = Aggregator(100)
    aggregator.add(early.result().columns, [WEB, WEB])
    aggregator.add(late.result().columns, [WEB, WEB, DNS, WEB])
    found = aggregator.done(late.result().addresses, 4)
    assert found.connections == (1, 0, 1, 1)
    assert found.first_connections == {WEB: (0, 3), DNS: (2,)}
    assert found.bins == Bins(4 * MS, ((1, 0), (0, 0), (0, 1), (0, 1)), ((3, 0), (0, 0), (0, 3), (0, 3)))


def test_nothing_adds_up_to_nothing() -> None:
    found = Run().result().aggregates
    assert (found.packets, found.reasons, found.connections, found.first_connections) == (0, {}, (), {})
    assert (found.clients.addresses, found.bins.packets) == (0, ())


def test_aggregates_come_back_from_their_document(result: Result) -> None:
    found = added_up(result, [])
    assert Aggregates.from_document(found.to_document()) == found


def test_a_packet_that_died_of_its_ttl_made_no_connection_here() -> None:
    run = web(A).packet("10.1.0.1:1", A, "ttl_exceeded")
    assert run.result().aggregates.connections == (0,)
    assert run.result().aggregates.reasons == {reason_named("ttl_exceeded").code: 1}


def test_first_connections_are_noted_up_to_their_number_however_many_blocks_there_are(result: Result) -> None:
    aggregator = Aggregator(3)
    services = [row.service for row in result.destinations]
    for _ in range(50):
        aggregator.add(dict(result.columns) | {"time": np.zeros(3000, dtype="i8")}, services)
    found = aggregator.done(result.addresses, len(services))
    assert found.packets == 50 * 3000
    assert sum(map(len, found.first_connections.values())) == 3 * len(set(services))
