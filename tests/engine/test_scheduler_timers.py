"""Timers of schedulers fire when the timer wheel says so, in the order of ticks."""

from __future__ import annotations

import pytest

from lbsim.engine.clock import next_event
from lbsim.engine.lanes import Lane
from lbsim.engine.scheduler_timers import first_scheduler_timer, set_timer, stop_timer
from tests.engine.schedulers.rig import Rig
from tests.oracles.wheel import fire_jiffy

HZ = 250
START = 2**32 - 300 * HZ


@pytest.mark.parametrize("ticks", [1, 62, 63, 15_000])
def test_a_timer_fires_when_the_wheel_says(ticks: int, lane: Lane) -> None:
    rig = Rig("rr", {}, lane=lane)
    lane.function(set_timer)(rig.host.tables, 1, START + ticks)
    assert rig.host.tables.services[1].timer_fire == fire_jiffy(START + ticks, START)
    assert rig.host.tables.director[0].scheduler_fire == fire_jiffy(START + ticks, START)
    assert next_event(rig.host.tables) == fire_jiffy(START + ticks, START)


def test_the_earliest_of_several_is_next() -> None:
    rig = Rig("rr", {})
    t = rig.host.tables
    t.director[0].services_used = 3
    for s, ticks in ((1, 50), (2, 20), (3, 40)):
        set_timer(t, s, START + ticks)
    assert t.director[0].scheduler_fire == t.services[2].timer_fire == first_scheduler_timer(t)
    stop_timer(t, 2)
    assert first_scheduler_timer(t) == t.services[3].timer_fire
    for s in (1, 3):
        stop_timer(t, s)
    assert first_scheduler_timer(t) == 0


def test_a_timer_that_nobody_wants_fires_once(lane: Lane) -> None:
    rig = Rig("rr", {}, lane=lane)
    lane.function(set_timer)(rig.host.tables, 1, START + 10)
    rig.host.advance(10**9)
    assert (rig.host.tables.services[1].timer_fire, rig.host.tables.director[0].scheduler_fire) == (0, 0)


def test_rounds_of_lblc_come_every_60_seconds_and_a_little_more(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1}, lane=lane)
    due, rounds = fire_jiffy(START + 60 * HZ, START), 1
    for _ in range(5):
        rig.host.advance((due - 1 - START) * 10**9 // HZ)
        assert rig.host.tables.services[1].cache_rounds == rounds
        rig.host.advance((due - START) * 10**9 // HZ)
        rounds += 1
        assert rig.host.tables.services[1].cache_rounds == rounds
        due = fire_jiffy(due + 60 * HZ, due)
