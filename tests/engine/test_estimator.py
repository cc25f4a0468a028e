"""Counters as they are shown: facts, packet-path.md section 18, schedulers.md sections 4.3 and 5.4; and recordings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim import Director
from lbsim.engine.estimator import period
from lbsim.engine.profile import PROFILES
from lbsim.host import EngineHost
from lbsim.model.listing import Rates
from lbsim.model.result import Counters
from lbsim.packet.build import build_packet

VIP = "192.168.1.10"
WEB = f"tcp {VIP}:80"
CONFIG = f"-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r 10.0.0.11:80 -m\n-a -t {VIP}:80 -r 10.0.0.12:80 -m"
KERNELS = ["linux-6.1.192", "linux-6.12.117"]
TICK = 0.004
SYN, SYN_ACK = 2, 18


def syn(number: int, payload: int = 0) -> bytes:
    source = f"198.51.100.{1 + number % 100}"
    return build_packet(src=source, dst=VIP, sport=42000 + number, dport=80, flags=SYN, payload=bytes(payload))


def syn_ack(number: int, server: str) -> bytes:
    client = f"198.51.100.{1 + number % 100}"
    return build_packet(src=server, dst=client, sport=80, dport=42000 + number, flags=SYN_ACK)


def shown(director: Director) -> Counters:
    return director.stats(shown=True).services[WEB]


# Periods


@pytest.mark.parametrize(("hz", "ticks"), [(250, 504), (1000, 2048), (300, 640), (100, 208)])
def test_one_timer_for_all_is_late_by_what_the_wheel_rounds_up(hz: int, ticks: int) -> None:
    host = EngineHost(profile="linux-6.1.192")
    host.tables.director[0].hz = hz
    assert period(host.tables) == ticks


@pytest.mark.parametrize("hz", [100, 250, 300, 1000])
def test_turns_come_every_two_seconds(hz: int) -> None:
    host = EngineHost(profile="linux-6.12.117")
    host.tables.director[0].hz = hz
    assert period(host.tables) == 2 * hz


# Made at tick 1000: due at 1500, and the timer fires at the end of that slot of 8 ticks, at 1504; then 504 later.
@pytest.mark.parametrize(
    ("profile", "age", "ticks"),
    [
        (KERNELS[0], 0, [504, 1008, 1512]),
        (KERNELS[0], 8, [496, 1000, 1504]),  # made at 992, due at 1492: 1496
        (KERNELS[0], 504, [504, 1008, 1512]),  # made at 496: 1000, which is now, and then 1504
        (KERNELS[1], 0, [500, 1000, 1500]),
        (KERNELS[1], 10, [490, 990, 1490]),
        (KERNELS[1], 500, [500, 1000, 1500]),
    ],
)
def test_copies_are_taken_at_these_ticks(profile: str, age: int, ticks: list[int]) -> None:
    director = Director(CONFIG, profile=profile, start_jiffies=1000, age=age * TICK)
    seen = 0
    found = []
    for tick in range(1, ticks[-1] + 2):
        director.advance(tick * TICK)
        if shown(director).connections > seen:
            found.append(tick)
        seen = shown(director).connections
        director.receive(syn(tick))
    assert found == ticks


# Lag


@pytest.mark.parametrize("profile", KERNELS)
def test_right_after_traffic_the_numbers_are_still_0(profile: str) -> None:
    director = Director(CONFIG, profile=profile)
    director.receive(syn(1), at=0.1)
    assert (shown(director), director.stats().services[WEB]) == (Counters(), Counters(1, 1, 0, 40, 0))
    director.advance(2.2)
    assert shown(director) == Counters(1, 1, 0, 40, 0) == director.stats(shown=True).total
    assert director.ipvsadm("-Ln --stats").splitlines()[3].split()[2:] == ["1", "1", "0", "40", "0"]


@pytest.mark.parametrize("profile", KERNELS)
def test_without_estimation_nothing_is_ever_shown(profile: str) -> None:
    director = Director(CONFIG, profile=profile, sysctls={"net/ipv4/vs/run_estimation": 0})
    director.receive(syn(1), at=0.1)
    director.run("-Z", at=60)
    director.advance(120)
    assert director.stats(shown=True).total == shown(director) == Counters()
    assert director.stats().total == Counters(1, 1, 0, 40, 0)
    assert director.rates().total == Rates()


# 3 connections, run_estimation=0, 2 more, run_estimation=1, 1 more: Linux 6.1.192 and 6.12.117 showed 3, 3, 5, 6
@pytest.mark.parametrize("profile", KERNELS)
def test_estimation_may_stop_and_go_on_in_mid_run(profile: str) -> None:
    director = Director(CONFIG, profile=profile)
    seen = []

    def packets(numbers: range, begin: float, look: float) -> None:
        for number in numbers:
            director.receive(syn(number), at=begin + number / 10)
        director.advance(look)
        seen.append(shown(director).connections)

    packets(range(3), 1, 5)
    assert director.run("sysctl -w net.ipv4.vs.run_estimation=0", at=6).status == 0
    packets(range(3, 5), 7, 12)
    frozen = director.rates()
    assert director.run("sysctl -w net.ipv4.vs.run_estimation=1", at=12.5).status == 0
    assert director.rates() == frozen
    packets(range(5, 5), 12.5, 17)
    packets(range(5, 6), 18, 23)
    assert seen == [3, 3, 5, 6]


# One timer goes on, and its turn at 6.048 s does nothing. Turns stand still: a copy that was due 0.992 s after the stop
# comes 0.992 s after the start. Linux 6.12.117 was a pause late as well, 6.1.192 was not.
@pytest.mark.parametrize(
    ("profile", "copies"), [(KERNELS[0], [2.016, 4.032, 8.064]), (KERNELS[1], [2.0, 4.0, 7.3, 9.3])]
)
def test_after_a_pause_turns_come_later_and_one_timer_does_not(profile: str, copies: list[float]) -> None:
    director = Director(CONFIG, profile=profile, start_jiffies=1000)
    seen, found = 0, []
    for tick in range(1, 2500):
        at = tick * TICK
        for when, value in ((5.008, 0), (6.308, 1)):
            if tick == round(when / TICK):
                assert director.run(f"sysctl -w net.ipv4.vs.run_estimation={value}", at=at).status == 0
        director.advance(at)
        if shown(director).connections > seen:
            found.append(round(at, 3))
        seen = shown(director).connections
        director.receive(syn(tick))
    assert found == copies


def test_a_service_that_was_added_in_a_pause_has_its_first_turn_two_seconds_after_it() -> None:
    director = Director(profile=KERNELS[1], sysctls={"run_estimation": 0})
    director.run(f"-A -t {VIP}:80 -s rr", at=3)
    director.run(f"-a -t {VIP}:80 -r 10.0.0.11:80 -m")
    director.receive(syn(1), at=4)
    director.run("sysctl -w net.ipv4.vs.run_estimation=1", at=5)
    director.advance(6.996)
    assert shown(director) == Counters()
    director.advance(7)
    assert shown(director) == Counters(1, 1, 0, 40, 0)


def test_without_estimator_everybody_sees_the_numbers_of_the_moment() -> None:
    director = Director(CONFIG, estimator=False)
    director.receive(syn(1))
    assert shown(director) == director.stats(shown=True).total == Counters(1, 1, 0, 40, 0)
    director.run("-Z")
    director.receive(syn(2, payload=2))
    assert shown(director) == director.stats(shown=True).total == Counters(1, 1, 0, 42, 0)
    assert director.rates().services[WEB] == Rates()


def test_nothing_is_copied_in_turns_before_there_is_a_service() -> None:
    director = Director(profile=KERNELS[1])
    director.run(f"-A -t {VIP}:80 -s rr", at=3.2)
    director.run(f"-a -t {VIP}:80 -r 10.0.0.11:80 -m")
    director.receive(syn(1))
    director.advance(5.196)
    assert director.stats(shown=True).total == Counters()
    director.advance(5.2)
    assert director.stats(shown=True).total == Counters(1, 1, 0, 40, 0)


# Zeroing


@pytest.mark.parametrize("profile", KERNELS)
@pytest.mark.parametrize("command", ["-Z", f"-Z -t {VIP}:80"])
def test_traffic_between_a_copy_and_zeroing_shows_up_after_it(profile: str, command: str) -> None:
    director = Director(CONFIG, profile=profile)
    director.receive(syn(1), at=0.1)
    director.receive(syn(2), at=2.9)
    assert shown(director).connections == 1
    director.run(command, at=3)
    assert shown(director) == Counters()
    assert set(director.rates().dests.values()) == {Rates()}
    director.advance(4.1)
    assert shown(director) == Counters(1, 1, 0, 40, 0)
    assert director.stats(shown=True).dests[WEB, "10.0.0.11:80"] == Counters(1, 1, 0, 40, 0)
    assert director.stats(shown=True).total.connections == (1 if command == "-Z" else 2)


def test_zeroing_leaves_removed_services_and_destinations_alone() -> None:
    director = Director(CONFIG + f"\n-A -t {VIP}:81 -s rr")
    for number in (1, 2):
        director.receive(syn(number))
    director.run(f"-d -t {VIP}:80 -r 10.0.0.11:80", at=3)
    director.run("-Z")
    director.run(f"-a -t {VIP}:80 -r 10.0.0.11:80 -m")
    stats = director.stats(shown=True)
    assert (stats.dests[WEB, "10.0.0.11:80"], stats.services[WEB]) == (Counters(1, 1, 0, 40, 0), Counters())
    director.run(f"-D -t {VIP}:81")
    assert director.run("-Z").status == 0
    assert director.run(f"-Z -t {VIP}:81").message == "No such service"


# Removed and added again


@pytest.mark.parametrize("profile", KERNELS)
def test_of_a_removed_destination_nothing_is_copied(profile: str) -> None:
    # One connection each, both after 2.1 s: copied at about 4 s, but for the one that was removed before
    director = Director(CONFIG, profile=profile)
    for number in (1, 2):
        director.receive(syn(number), at=2.1)
    director.run(f"-d -t {VIP}:80 -r 10.0.0.11:80", at=3)
    director.run(f"-a -t {VIP}:80 -r 10.0.0.11:80 -m", at=7)
    dests = director.stats(shown=True).dests
    assert [dests[WEB, f"10.0.0.{n}:80"].connections for n in (11, 12)] == [0, 1]
    director.advance(9.1)
    assert director.stats(shown=True).dests[WEB, "10.0.0.11:80"].connections == 1


# Copies at 2.0 s: what the destinations, but not the service, counted between that and the deletion reappears.
@pytest.mark.parametrize("profile", KERNELS)
def test_a_service_made_again_shows_what_its_destinations_counted_since_the_last_copy(profile: str) -> None:
    director = Director(CONFIG, profile=profile)
    for number, at in ((1, 0.1), (2, 2.5)):
        director.receive(syn(2 * number), at=at)
        director.receive(syn(2 * number + 1), at=at)
    director.run(f"-D -t {VIP}:80", at=2.6)
    for line in CONFIG.splitlines():
        director.run(line, at=3.3)
    assert shown(director) == Counters()
    director.advance(7.5)
    stats = director.stats(shown=True)
    assert shown(director) == Counters()
    assert [stats.dests[WEB, f"10.0.0.{n}:80"] for n in (11, 12)] == [Counters(1, 1, 0, 40, 0)] * 2
    assert stats.total == Counters(4, 4, 0, 160, 0)
    assert director.stats() == stats


# Rates


def test_220_bytes_in_a_period_fade_like_this() -> None:
    # facts, packet-path.md section 18.3, seen live
    director = Director(CONFIG)
    director.receive(syn(1, payload=180), at=0.1)
    found = []
    for run in range(1, 11):
        director.advance(run * 504 * TICK + 0.1)
        found.append(director.rates().services[WEB].in_bytes)
    assert found == [27, 21, 15, 12, 9, 6, 5, 4, 3, 2]


# One connection and its answer every 50 ms, but for these pauses. What a real kernel showed at each time, of the
# service and of both destinations: connections per second (those of packets were the same), bytes per second (likewise)
# and, as long as there was traffic, connections.
PAUSES = (3.0, 5.05, 7.1, 9.15)
TIMES = [round(1 + 0.05 * n, 3) for n in range(204) if round(1 + 0.05 * n, 3) not in PAUSES]
AT = [3.0, 5.05, 7.1, 9.15, 11.2, 14.25, 17.35, 20.45, 23.55, 26.65, 29.75, 32.85, 35.95, 39.05, 42.15]
RECORDED: dict[str, dict[str, tuple[list[int], list[int], list[int]]]] = {
    "linux-6.1.192": {
        "": (
            [2, 7, 10, 12, 14, 10, 8, 4, 3, 2, 1, 1, 1, 0, 0],
            [100, 270, 402, 497, 568, 406, 304, 171, 128, 72, 54, 30, 23, 13, 10],
            [20, 59, 99, 138, 177],
        ),
        "10.0.0.11:80": (
            [1, 3, 5, 6, 7, 5, 4, 2, 2, 1, 1, 0, 0, 0, 0],
            [50, 132, 199, 250, 282, 204, 153, 86, 64, 36, 27, 15, 11, 6, 5],
            [10, 29, 49, 69, 88],
        ),
        "10.0.0.12:80": (
            [1, 3, 5, 6, 7, 5, 4, 2, 2, 1, 1, 0, 0, 0, 0],
            [50, 137, 203, 247, 285, 202, 151, 85, 64, 36, 27, 15, 11, 6, 5],
            [10, 30, 50, 69, 89],
        ),
    },
    "linux-6.12.117": {
        "": (
            [2, 7, 10, 12, 14, 10, 8, 4, 3, 2, 1, 1, 0, 0, 0],
            [95, 266, 395, 491, 563, 411, 308, 173, 130, 73, 55, 31, 17, 13, 7],
            [19, 58, 97, 136, 175],
        ),
        "10.0.0.11:80": (
            [1, 3, 5, 6, 7, 5, 4, 2, 2, 1, 1, 0, 0, 0, 0],
            [45, 134, 195, 246, 280, 206, 155, 87, 65, 37, 27, 15, 9, 6, 4],
            [9, 29, 48, 68, 87],
        ),
        "10.0.0.12:80": (
            [1, 3, 5, 6, 7, 5, 4, 2, 2, 1, 1, 0, 0, 0, 0],
            [50, 132, 199, 245, 283, 204, 153, 86, 65, 36, 27, 15, 9, 6, 4],
            [10, 29, 49, 68, 88],
        ),
    },
}


def played(profile: str, age: int) -> dict[str, tuple[list[int], list[int], list[int]]]:
    """What is shown of each row at the recorded times by a director of that age."""
    director = Director(CONFIG, profile=profile, age=age * TICK)
    found: dict[str, tuple[list[int], list[int], list[int]]] = {name: ([], [], []) for name in RECORDED[profile]}
    events: list[tuple[float, int]] = [*((at, n) for n, at in enumerate(TIMES)), *((at, -1) for at in AT)]
    for at, number in sorted(events):
        if number >= 0:
            (sent,) = director.receive(syn(number), at=at).departures
            director.receive(syn_ack(number, sent.to), via=sent.to)
            continue
        director.advance(at)
        rates, stats = director.rates(), director.stats(shown=True)
        for name, (conns, octets, counted) in found.items():
            rate = rates.dests[WEB, name] if name else rates.services[WEB]
            count = stats.dests[WEB, name] if name else stats.services[WEB]
            assert rate == Rates(*[rate.connections] * 3, *[rate.in_bytes] * 2)
            assert count == Counters(*[count.connections] * 3, *[40 * count.connections] * 2)
            conns.append(rate.connections)
            octets.append(rate.in_bytes)
            if at < 12:
                counted.append(count.connections)
    return found


# The age of a recorded director is not known, and in later kernels nor is the turn of a row: then there must be one
# with which all is as it was. Turns are ten ticks apart, the timer of earlier kernels fires at a multiple of eight.
def test_rates_are_those_of_a_kernel_with_one_timer_for_all() -> None:
    ours = [played(KERNELS[0], age) for age in range(0, 504, 8)]
    assert RECORDED[KERNELS[0]] in ours


def test_rates_are_those_of_a_kernel_with_turns() -> None:
    ours = [played(KERNELS[1], age) for age in range(0, 500, 10)]
    for name, recorded in RECORDED[KERNELS[1]].items():
        assert recorded in [one[name] for one in ours], name


# The formula restated: the kernel's own, with Python's shift that rounds down


def restated(counts: list[int], shift: int) -> list[int]:
    """A rate after each run, with so many counted before it."""
    rate, rates = 0, []
    for count in counts:
        rate += ((count << shift) - rate) >> 2
        rates.append(rate)
    return rates


@given(counts=st.lists(st.integers(0, 30) | st.just(0), min_size=1, max_size=12), payload=st.integers(0, 1400))
def test_rates_follow_the_formula(counts: list[int], payload: int) -> None:
    director = Director(CONFIG)
    found = []
    number = 0
    for run, count in enumerate(counts, start=1):
        for _ in range(count):
            director.receive(syn(number % 20000, payload), at=(run * 504 - 1) * TICK)
            number += 1
        director.advance(run * 504 * TICK + TICK / 2)
        copy = director._host.tables.copies[director._host.tables.services[1].copy_row]
        found.append((copy.in_packets_rate, copy.in_bytes_rate))
        assert director.rates().services[WEB].in_packets == (copy.in_packets_rate + 511) >> 10
        assert director.rates().services[WEB].in_bytes == (copy.in_bytes_rate + 15) >> 5
    sizes = [count * (40 + payload) for count in counts]
    assert found == list(zip(restated(counts, 9), restated(sizes, 4), strict=True))


# Leaving out runs


def copies(director: Director) -> list[Any]:
    host = director._host
    used = host.tables.director[0].copies_used
    names = host.tables.copies[0].__slots__
    return [[getattr(copy, name) for name in names] for copy in host.tables.copies[1 : used + 1]]


STEPS = st.lists(
    st.tuples(st.sampled_from(["packet", "packet", "zero", "delete", "add", "wait", "flush"]), st.integers(0, 9000)),
    min_size=1,
    max_size=15,
)


@pytest.mark.parametrize("profile", KERNELS)
@given(steps=STEPS, age=st.integers(0, 1000))
def test_a_long_silence_at_once_is_as_good_as_tick_by_tick(
    profile: str, steps: list[tuple[str, int]], age: int
) -> None:
    jumps, walks = (Director(CONFIG, profile=profile, age=age * TICK) for _ in range(2))
    tick = 0
    for number, (kind, gap) in enumerate(steps):
        for one in range(tick, tick + gap, 100):
            walks.advance(one * TICK)
        tick += gap
        for director in (jumps, walks):
            director.advance(tick * TICK)
            if kind == "packet":
                director.receive(syn(number))
            elif kind == "zero":
                director.run("-Z" if gap % 2 else f"-Z -t {VIP}:80")
            elif kind == "flush":
                director.run("-C")
            elif kind == "delete":
                director.run(f"-d -t {VIP}:80 -r 10.0.0.11:80")
            elif kind == "add":
                for line in CONFIG.splitlines():
                    director.run(line)
    assert copies(jumps) == copies(walks)


@pytest.mark.parametrize("profile", KERNELS)
def test_a_silence_of_ten_years_takes_no_time(profile: str) -> None:
    # 79 million runs each; 1 is left of a rate after a few dozen of them, then 0
    director = Director(CONFIG, profile=profile)
    director.receive(syn(1))
    director.advance(10 * 365 * 86400.0)
    assert (shown(director), director.rates().total) == (Counters(1, 1, 0, 40, 0), Rates())
    every = {KERNELS[0]: 504, KERNELS[1]: 500}[profile]
    start, ticks = PROFILES[profile].boot_jiffies, 10 * 365 * 86400 * 250
    fires = {copy[2] - start - ticks for copy in copies(director)}
    assert len(fires) == 1
    assert 0 < fires.pop() <= every


def test_a_director_that_nobody_looks_at_copies_nothing() -> None:
    director = Director(CONFIG, estimator=False)
    director.receive(syn(1))
    director.advance(86400.0)
    assert director._host.tables.director[0].copy_fire == 0
    assert all(not any(copy[2:]) for copy in copies(director))
