"""What holds for every scheduler, also one that is added later; and each against its naive restatement."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.engine import schedulers
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.host import SECOND, EngineHost
from lbsim.model.config import AddService, ServiceId
from tests.engine.schedulers.rig import Rig
from tests.oracles.picks import PICKERS, Ask, lots
from tests.oracles.wheel import fire_jiffy

FLAGS = {name: ("", f"{name}-fallback", f"{name}-port", f"{name}-fallback {name}-port") for name in ("sh", "mh")}
EVERY = [(name, flags) for name in schedulers.BUILT_IN for flags in FLAGS.get(name, ("",))]
TARGETS = ["192.0.2.1", "198.51.100.7", "198.51.100.8", "2001:db8::80"]
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


NAMES = st.sampled_from("ABCDEFGH")
HISTORIES = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.sampled_from(CLIENTS), st.integers(1, 65535)),
        st.tuples(st.just("add"), NAMES, st.sampled_from([0, 1, 1, 2, 3, 100, 300])),
        st.tuples(st.just("edit"), NAMES, st.sampled_from([0, 1, 2, 7, 65535])),
        st.tuples(st.just("delete"), NAMES, st.just(0)),
        st.tuples(st.just("load"), NAMES, st.integers(0, 600)),
        st.tuples(st.just("overload"), NAMES, st.integers(0, 1)),
        st.tuples(st.just("wait"), st.just(""), st.sampled_from([1, 100, 100_000])),
    ),
    min_size=15,
    max_size=60,
)
HZ = 250
START = 2**32 - 300 * HZ  # the tick at time 0


def check_history(name: str, flags: str, lane: Lane, history: list[tuple[str, str, int]]) -> None:
    """Play a history on the engine and on the restatement, which each must have; every pick must be the same."""
    rig = Rig(name, {}, flags=flags, lane=lane)
    dests: list[dict[str, Any]] = []
    naive = PICKERS[name](dests, set(flags.split()), hz=HZ, lots=lots(1))
    old: dict[str, dict[str, Any]] = {}
    now = START
    wakes = fire_jiffy(now + naive.period * HZ, now)
    for kind, who, number in history:
        there = next((dest for dest in dests if dest["name"] == who), None)
        if kind == "pick":
            target = TARGETS[number % len(TARGETS)]
            picked = naive.pick(Ask(who, number, target, now))
            assert rig.pick(who, number, target) == (picked["name"] if picked else "-")
        elif kind == "wait":
            now += number * HZ
            rig.host.advance((now - START) * SECOND // HZ)
            while naive.period and wakes <= now:
                naive.tick(wakes)
                wakes = fire_jiffy(wakes + naive.period * HZ, wakes)
        elif kind == "add" and there is None:
            rig.add(who, number)
            dest = old.setdefault(who, {"name": who, "active": 0, "total": 0, "overload": 0})
            end = (str(rig.dest(who).address), rig.dest(who).port)
            dest.update(weight=number, last_weight=number, there=True, end=end)
            dests.insert(0, dest)
            naive.added(dest)
        elif there is not None and kind == "edit":
            rig.edit(who, number)
            there.update(weight=number, last_weight=number or there["last_weight"])
            naive.edited(there)
        elif there is not None and kind == "delete":
            rig.row(who).overload = there["overload"] = 0  # what a trash that forgets it would do
            rig.delete(who)
            at = dests.index(there)
            dests.remove(there)
            there["there"] = False
            naive.deleted(there, at)
        elif there is not None and kind == "load":
            active = number % 7
            rig.row(who).active, rig.row(who).total = active, active + number
            there.update(active=active, total=active + number)
        elif there is not None and kind == "overload":
            rig.row(who).overload = there["overload"] = number


@every_scheduler
@given(history=HISTORIES)
def test_a_random_history_picks_what_its_restatement_picks(
    name: str, flags: str, history: list[tuple[str, str, int]]
) -> None:
    check_history(name, flags, interpreted_lane(), history)


@every_scheduler
@settings(max_examples=10)
@given(history=HISTORIES)
def test_the_compiled_scheduler_picks_the_same(name: str, flags: str, history: list[tuple[str, str, int]]) -> None:
    check_history(name, flags, compiled_lane(), history)
