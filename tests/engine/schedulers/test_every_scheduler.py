"""What holds for every scheduler, also one that is added later; and each against its naive restatement."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.engine import schedulers
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.host import EngineHost
from lbsim.model.config import AddService, ServiceId
from tests.engine.schedulers.rig import Rig
from tests.oracles.picks import RoundRobin, least_connections, source_hashing

FLAGS = {"sh": ("", "sh-fallback", "sh-port", "sh-fallback sh-port")}
EVERY = [(name, flags) for name in schedulers.NUMBERS for flags in FLAGS.get(name, ("",))]
CLIENTS = [f"203.0.113.{i}" for i in range(1, 9)]

every_scheduler = pytest.mark.parametrize(("name", "flags"), EVERY)


@every_scheduler
def test_without_destinations_nobody_is_picked(name: str, flags: str) -> None:
    assert Rig(name, {}, flags=flags).pick() == "-"


@every_scheduler
def test_if_all_weights_are_0_nobody_is_picked(name: str, flags: str) -> None:
    rig = Rig(name, {"A": 0, "B": 0, "C": 0}, flags=flags)
    assert {rig.pick(client) for client in CLIENTS} == {"-"}


@every_scheduler
def test_a_single_destination_gets_everybody(name: str, flags: str) -> None:
    rig = Rig(name, {"A": 5}, flags=flags)
    assert {rig.pick(client) for client in CLIENTS} == {"A"}


@every_scheduler
@pytest.mark.parametrize("why", ["weight", "overload", "deleted"])
def test_a_destination_that_takes_no_connections_is_never_picked(name: str, flags: str, why: str) -> None:
    rig = Rig(name, {"A": 1, "B": 1, "C": 1}, flags=flags)
    rig.pick(CLIENTS[0])
    if why == "weight":
        rig.edit("B", 0)
    elif why == "overload":
        rig.row("B").overload = 1
    else:
        rig.delete("B")
    assert "B" not in {rig.pick(client, port) for client in CLIENTS for port in (40001, 40002, 40003)}


@every_scheduler
def test_the_same_history_gives_the_same_picks(name: str, flags: str) -> None:
    def picks() -> list[str]:
        rig = Rig(name, {"A": 1, "B": 2, "C": 3}, flags=flags)
        first = [rig.pick(client) for client in CLIENTS]
        rig.delete("C")
        return first + [rig.pick(client) for client in CLIENTS]

    assert picks() == picks()


@every_scheduler
def test_a_service_can_be_given_to_every_scheduler_and_taken_away(name: str, flags: str) -> None:
    host = EngineHost()
    service = ServiceId("tcp", ip_address("192.0.2.1"), 80)
    assert host.apply(AddService(service, name, tuple(flags.split()))) == ""
    assert schedulers.done_service(host.tables, 1) is None


def naive(name: str, flags: str) -> tuple[Callable[..., dict[str, object] | None], Callable[..., None]]:
    """(pick, what to tell before a deletion) of a scheduler's restatement; each must have one."""
    round_robin = RoundRobin()

    def nothing(*_: object) -> None:
        """Only rr wants to know."""

    return {
        "rr": (lambda dests, client, port: round_robin.pick(dests), round_robin.before_delete),
        "lc": (lambda dests, client, port: least_connections(dests), nothing),
        "sh": (lambda dests, client, port: source_hashing(dests, client, port, set(flags.split())), nothing),
    }[name]


NAMES = st.sampled_from("ABCDEFGH")
HISTORIES = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.sampled_from(CLIENTS), st.integers(1, 65535)),
        st.tuples(st.just("add"), NAMES, st.sampled_from([0, 1, 1, 2, 3, 100, 300])),
        st.tuples(st.just("edit"), NAMES, st.sampled_from([0, 1, 2, 7, 65535])),
        st.tuples(st.just("delete"), NAMES, st.just(0)),
        st.tuples(st.just("load"), NAMES, st.integers(0, 600)),
    ),
    min_size=15,
    max_size=60,
)


def check_history(name: str, flags: str, lane: Lane, history: list[tuple[str, str, int]]) -> None:
    """Play a history on the engine and on the restatement; every pick must be the same."""
    rig = Rig(name, {}, flags=flags, lane=lane)
    pick, before_delete = naive(name, flags)
    dests: list[dict[str, object]] = []
    old: dict[str, dict[str, object]] = {}
    for kind, who, number in history:
        there = next((dest for dest in dests if dest["name"] == who), None)
        if kind == "pick":
            picked = pick(dests, who, number)
            assert rig.pick(who, number) == (picked["name"] if picked else "-")
        elif kind == "add" and there is None:
            rig.add(who, number)
            dest = old.setdefault(who, {"name": who, "active": 0, "total": 0})
            dest["weight"] = number
            dests.insert(0, dest)
        elif there is not None and kind == "edit":
            rig.edit(who, number)
            there["weight"] = number
        elif there is not None and kind == "delete":
            before_delete(dests, there)
            rig.delete(who)
            dests = [dest for dest in dests if dest is not there]
        elif there is not None and kind == "load":
            active = number % 7
            rig.row(who).active, rig.row(who).total = active, active + number
            there.update(active=active, total=active + number)


@every_scheduler
@given(history=HISTORIES)
def test_a_random_history_picks_what_its_restatement_picks(
    name: str, flags: str, history: list[tuple[str, str, int]]
) -> None:
    check_history(name, flags, interpreted_lane(), history)


@every_scheduler
@settings(max_examples=15)
@given(history=HISTORIES)
def test_the_compiled_scheduler_picks_the_same(name: str, flags: str, history: list[tuple[str, str, int]]) -> None:
    check_history(name, flags, compiled_lane(), history)
