"""The cache of lblc and lblcr when it is large: facts, schedulers.md sections 3.12 and 7."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest

from lbsim.engine.address_cache import MANY, MOST, overtaxed
from lbsim.engine.lanes import Lane, compiled_lane
from lbsim.host import EngineHost
from tests.engine.schedulers.rig import Rig
from tests.oracles.picks import PICKERS, Ask, hash32
from tests.oracles.wheel import fire_jiffy

HZ = 250
START = 2**32 - 300 * HZ


def filled(lane: Lane, count: int, scheduler: str = "lblc", profile: str = "linux-6.1.192") -> Rig:
    """A service that remembers so many addresses."""
    rig = Rig(scheduler, {"A": 1}, lane=lane, profile=profile)
    for n in range(count):
        rig.pick(to=str(ip_address((10 << 24) + n)))
    return rig


def count(rig: Rig) -> int:
    return int(rig.host.tables.services[1].cache_count)


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_there_is_no_room_for_more_than_24576_addresses(scheduler: str) -> None:
    rig = filled(compiled_lane(), MOST, scheduler)
    assert (count(rig), rig.row("A").cached) == (24576, 24576)
    assert rig.pick(to="11.0.0.1") == "A"  # picked all the same
    assert count(rig) == 24576


def test_older_kernels_have_no_limit() -> None:
    assert count(filled(compiled_lane(), MOST + 3, profile="linux-6.1.0")) == 24579


def test_a_round_with_many_addresses_forgets_those_unused_for_six_minutes_bucket_by_bucket() -> None:
    rig = filled(compiled_lane(), MANY + 300)
    seconds = 330  # five rounds: nothing is six minutes old
    rig.host.advance(seconds * 10**9)
    assert count(rig) == MANY + 300
    service = rig.host.tables.services[1]
    assert service.cache_rounds == 1  # only quiet rounds count
    rig.host.advance(400 * 10**9)  # one more round: 300 x 4 / 3 = 400 may go, and the rest of the last bucket
    # addresses from 10.0.0.0 on, in the buckets of the restated hash: 1, 2, ... until 400 are gone
    sizes = [0] * 1024
    for n in range(MANY + 300):
        sizes[hash32((10 << 24) + n, 10)] += 1
    gone = visited = 0
    while gone < 400:
        visited += 1
        gone += sizes[visited]
    assert count(rig) == MANY + 300 - gone


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
@pytest.mark.parametrize("profile", ["linux-6.1.192", "linux-6.1.0"])
def test_rounds_go_as_the_restatement_says(scheduler: str, profile: str) -> None:
    random = Random(5)
    rig = Rig(scheduler, {"A": 1, "B": 1}, lane=compiled_lane(), profile=profile)
    dests = [{"name": name, "weight": 1, "active": 0, "total": 0, "overload": 0, "there": True} for name in ("B", "A")]
    naive = PICKERS[scheduler](dests, hz=HZ, old=profile == "linux-6.1.0")
    now, due = START, fire_jiffy(START + 60 * HZ, START)
    for _ in range(12):
        for _ in range(2500):
            target = str(ip_address((10 << 24) + random.randrange(30_000)))
            assert rig.pick(to=target) == naive.pick(Ask("", 0, target, now))["name"]  # type: ignore[index]
        now += random.choice([10, 61, 130]) * HZ
        rig.host.advance((now - START) * 10**9 // HZ)
        while due <= now:
            naive.tick(due)
            due = fire_jiffy(due + 60 * HZ, due)
        assert count(rig) == naive.count()  # type: ignore[attr-defined]


def test_an_entry_in_the_middle_of_its_bucket_can_go(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1, "B": 1}, lane=lane)
    same = [n for n in range(8000) if hash32((10 << 24) + n, 10) == hash32(10 << 24, 10)][:3]
    targets = [str(ip_address((10 << 24) + n)) for n in same]
    for target in targets:
        rig.pick(to=target)
    rig.edit("B", 0)
    for target in (targets[0], targets[1], targets[2]):
        assert rig.pick(to=target) == "A"
    assert (rig.row("A").cached, rig.row("B").cached, count(rig)) == (3, 0, 3)


@pytest.mark.parametrize(
    ("active", "weights", "expected"),
    [((3, 0), (2, 2), True), ((2, 0), (2, 2), False), ((3, 1), (2, 2), False), ((3, 1), (2, 3), True)],
)
def test_a_destination_is_overtaxed_if_another_is_half_idle(
    active: tuple[int, int], weights: tuple[int, int], expected: bool
) -> None:
    rig = Rig("lblc", dict(zip("AB", weights, strict=True)))
    for name, number in zip("AB", active, strict=True):
        rig.row(name).active = number
    host: EngineHost = rig.host
    assert overtaxed(host.tables, 1, 1) is expected
