"""The timer wheel: facts, packet-path.md section 8.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.profile import PROFILES
from lbsim.engine.records import Conn, Tables
from lbsim.engine.timers import arm, disarm, fire_tick, first_due, take_due
from lbsim.host import EngineHost
from tests.oracles.wheel import fire_jiffy

HZ = 250
BOOT = PROFILES["linux-6.1.192"].boot_jiffies

# When a timer fires


def test_the_worked_example_fires_901_872_seconds_after_arming() -> None:
    armed = 4294893380
    fires = fire_tick(armed + 900 * HZ, armed)
    assert fires == 4295118848
    assert (fires - armed) / HZ == 901.872


@pytest.mark.parametrize(
    ("seconds", "granule"),
    [
        (1, 8),
        (2, 8),
        (3, 64),
        (4, 64),
        (10, 64),
        (30, 512),
        (60, 512),
        (61, 512),
        (120, 512),
        (300, 4096),
        (360, 4096),
        (900, 4096),
    ],
)
def test_lateness_at_250_hz_is_one_tick_to_one_slot(seconds: int, granule: int) -> None:
    late = [fire_tick(now + seconds * HZ, now) - now - seconds * HZ for now in range(BOOT, BOOT + 2 * granule)]
    assert (min(late), max(late)) == (1, granule)
    assert set(late) == set(range(1, granule + 1))


@pytest.mark.parametrize(
    ("seconds", "hz", "granule"),
    [
        (2, 1000, 64),
        (10, 1000, 512),
        (120, 1000, 4096),
        (900, 1000, 32768),
        (1, 300, 8),
        (2, 300, 64),
        (300, 300, 4096),
    ],
)
def test_lateness_at_other_tick_rates(seconds: int, hz: int, granule: int) -> None:
    late = {fire_tick(now + seconds * hz, now) - now - seconds * hz for now in range(2 * granule)}
    assert late == set(range(1, granule + 1))


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0.252, 0), (2.016, 1), (16.128, 2), (129.024, 3), (1032.192, 4), (8257.536, 5)],
)
def test_level_borders_at_250_hz(seconds: float, level: int) -> None:
    border = round(seconds * HZ)
    now = 8**6  # the start of a slot of every level in question
    assert fire_tick(now + border - 1, now) % 8**level == 0
    assert fire_tick(now + border - 1, now) - now <= border - 1 + 8**level
    assert fire_tick(now + border, now) % 8 ** (level + 1) == 0


def test_a_timer_for_now_fires_at_the_next_tick() -> None:
    assert fire_tick(1000, 1000) == 1001


def test_a_timer_for_the_past_fires_at_once() -> None:
    assert fire_tick(999, 1000) == 1000


def test_beyond_the_last_level_a_timer_fires_at_its_end() -> None:
    # 63 * 8**8 ticks cannot be reached: it is put 62 slots ahead
    assert fire_tick(10**12, 8**8) == (1 + 62 + 1) * 8**8


@given(now=st.integers(0, 2**40), delay=st.integers(-5, 2**34))
def test_fire_ticks_are_those_of_the_naive_formula(now: int, delay: int) -> None:
    assert fire_tick(now + delay, now) == fire_jiffy(now + delay, now)


# The wheel itself, against a plain dict of timers


def tables_at(start: int, timers: int, lane: Lane | None = None) -> Tables:
    """A wheel, and rows whose timers can be armed; they are no entries of the connection table."""
    host = EngineHost(start_jiffies=start, lane=lane)
    host.room_for(timers)
    return host.tables


DELAYS = st.one_of(st.integers(0, 70), st.integers(0, 600), st.integers(0, 40_000), st.integers(0, 2**31))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(1, 12), DELAYS),
        st.tuples(st.just("pass"), st.just(0), DELAYS),
    ),
    min_size=10,
    max_size=60,
)


def due_until(t: Tables, tick: int, lane: Lane | None = None) -> list[tuple[int, int]]:
    """(tick, timer) of everything that fires until then, as the director's clock would move."""
    take = lane.function(take_due) if lane else take_due
    director = t.director[0]
    fired = []
    while director.wheel_next != 0 and director.wheel_next <= tick:
        director.now = max(director.now, director.wheel_next)
        due = []
        while (c := int(take(t))) != 0:
            due.append((int(director.now), c))
        fired += sorted(due)
    director.now = max(director.now, tick)
    return fired


@given(start=st.sampled_from([1, 511, BOOT, 2**32 - 3]), steps=STEPS)
def test_timers_fire_when_a_plain_list_of_timers_says(start: int, steps: list[tuple[str, int, int]]) -> None:
    t = tables_at(start, 12)
    pending: dict[int, tuple[int, int]] = {}  # timer -> (asked for, fires)
    now = start
    for kind, timer, ticks in [*steps, ("pass", 0, 2**33)]:
        if kind == "arm":
            arm(t, timer, now + ticks)
            if timer not in pending or pending[timer][0] != now + ticks:
                pending[timer] = (now + ticks, fire_jiffy(now + ticks, now))
        else:
            now += ticks
            expected = sorted((fires, c) for c, (_, fires) in pending.items() if fires <= now)
            assert due_until(t, now) == expected
            for _, c in expected:
                del pending[c]
    assert pending == {}
    assert not any(t.wheel_heads)


@pytest.mark.parametrize("delay", [1, 63, 64, 600, 5000, 40_000, 300_000, 3_000_000])
def test_where_slots_of_all_levels_end_a_timer_of_any_level_fires(delay: int) -> None:
    end = 2**32  # a multiple of 8**8: the slots of all nine levels end here
    t = tables_at(end - delay, 1)
    arm(t, 1, end - 1)
    assert due_until(t, end) == [(fire_jiffy(end - 1, end - delay), 1)] == [(end, 1)]


@given(timers=st.lists(st.tuples(st.integers(1, 9), DELAYS), max_size=12), out=st.sets(st.integers(1, 9)))
def test_a_disarmed_timer_does_not_fire(timers: list[tuple[int, int]], out: set[int]) -> None:
    t = tables_at(BOOT, 9)
    armed = set()
    for timer, ticks in timers:
        arm(t, timer, BOOT + ticks)
        armed.add(timer)
    for timer in out & armed:
        disarm(t, timer)
    assert {c for _, c in due_until(t, BOOT + 2**33)} == armed - out


# Arming


def armed_once(delay: int) -> tuple[Tables, Conn]:
    t = tables_at(BOOT, 2)
    arm(t, 1, BOOT + delay)
    return t, t.conns[1]


def test_arming_for_the_very_same_tick_changes_nothing() -> None:
    t, conn = armed_once(15000)
    t.director[0].now = BOOT + 10
    arm(t, 1, BOOT + 15000)
    assert conn.armed == BOOT


def test_arming_for_later_leaves_the_entry_in_its_slot() -> None:
    t, conn = armed_once(15000)
    slot = t.timers[1].slot
    arm(t, 1, BOOT + 225000)
    assert (t.timers[1].slot, conn.expires) == (slot, BOOT + 225000)


def test_arming_for_earlier_moves_the_entry() -> None:
    t, conn = armed_once(15000)
    arm(t, 1, BOOT + 5)
    assert conn.queued == BOOT + 6
    assert t.director[0].wheel_next == BOOT + 6


def test_arming_for_earlier_within_the_same_slot_only_stores_the_tick() -> None:
    t, conn = armed_once(15000)
    queued = conn.queued
    arm(t, 1, BOOT + 14999)
    assert (conn.queued, conn.expires) == (queued, BOOT + 14999)


@pytest.mark.parametrize("out", [1, 2, 3])
def test_of_several_timers_in_a_slot_any_may_be_taken_out(out: int) -> None:
    t = tables_at(BOOT, 3)
    for timer in (1, 2, 3):
        arm(t, timer, BOOT + 15000)
    disarm(t, out)
    assert [c for _, c in due_until(t, BOOT + 20000)] == [c for c in (1, 2, 3) if c != out]


def test_an_empty_wheel_has_nothing_due() -> None:
    assert first_due(tables_at(BOOT, 1)) == 0


def test_both_lanes_fire_at_the_same_ticks() -> None:
    fired = []
    for lane in (interpreted_lane(), compiled_lane()):
        t = tables_at(BOOT, 40, lane)
        for timer in range(1, 41):
            lane.function(arm)(t, timer, BOOT + timer * timer * 137)
        fired.append(due_until(t, BOOT + 10**6, lane))
    assert fired[0] == fired[1] == sorted((fire_jiffy(BOOT + n * n * 137, BOOT), n) for n in range(1, 41))
