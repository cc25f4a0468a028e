"""The cache of lblc and lblcr when it is large: facts, schedulers.md sections 3.12 and 7."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest

from lbsim.engine import address_cache
from lbsim.engine.address_cache import MANY, overtaxed
from lbsim.engine.lanes import Lane
from lbsim.host import EngineHost
from tests.engine.schedulers.rig import Rig
from tests.oracles.picks import PICKERS, Ask, hash32
from tests.oracles.wheel import fire_jiffy

HZ = 250
START = 2**32 - 300 * HZ


def count(rig: Rig) -> int:
    return int(rig.host.tables.services[1].cache_count)


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_there_is_no_room_for_more_than_24576_addresses(scheduler: str, lane: Lane) -> None:
    rig = Rig(scheduler, {"A": 1}, lane=lane)
    rig.host.tables.services[1].cache_count = 24576
    assert rig.pick(to="10.0.0.1") == "A"  # picked all the same
    assert (count(rig), rig.row("A").cached) == (24576, 0)
    rig.host.tables.services[1].cache_count = 24575
    assert rig.pick(to="10.0.0.1") == "A"
    assert (count(rig), rig.row("A").cached) == (24576, 1)


def test_older_kernels_have_no_limit(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1}, lane=lane, profile="linux-6.1.0")
    rig.host.tables.services[1].cache_count = 24576
    rig.pick(to="10.0.0.1")
    assert (count(rig), rig.row("A").cached) == (24577, 1)


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
@pytest.mark.parametrize("profile", ["linux-6.1.192", "linux-6.1.0"])
def test_rounds_go_as_the_restatement_says(scheduler: str, profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # in small: many are 64, not 16384
    monkeypatch.setattr(address_cache, "MANY", 64)
    monkeypatch.setattr(address_cache, "MOST", 96)
    monkeypatch.setattr(PICKERS[scheduler], "many", 64)
    monkeypatch.setattr(PICKERS[scheduler], "most", 96)
    random = Random(5)
    rig = Rig(scheduler, {"A": 1, "B": 1}, profile=profile)
    dests = [{"name": name, "weight": 1, "active": 0, "total": 0, "overload": 0, "there": True} for name in ("B", "A")]
    naive = PICKERS[scheduler](dests, hz=HZ, old=profile == "linux-6.1.0")
    now, due, sizes = START, fire_jiffy(START + 60 * HZ, START), set()
    for _ in range(300):
        for _ in range(random.choice([0, 3, 30])):
            target = str(ip_address((10 << 24) + random.randrange(150)))
            for name, dest in zip("BA", dests, strict=True):
                rig.row(name).active = rig.row(name).total = dest["active"] = dest["total"] = random.choice([0, 0, 2])
            assert rig.pick(to=target) == naive.pick(Ask("", 0, target, now))["name"]
        now += random.choice([10, 61, 130]) * HZ
        rig.host.advance((now - START) * 10**9 // HZ)
        while due <= now:
            naive.tick(due)
            due = fire_jiffy(due + 60 * HZ, due)
        assert count(rig) == naive.count()
        sizes.add(count(rig))
    assert max(sizes) > 64 > min(sizes)


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


@pytest.mark.parametrize(("many", "left"), [(1, 1), (2, 0)])
def test_a_round_stops_behind_the_bucket_in_which_enough_are_gone(many: int, left: int, lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1}, lane=lane)
    bucket = {hash32((10 << 24) + n, 10): str(ip_address((10 << 24) + n)) for n in range(4000)}
    for number in (5, 900):
        rig.pick(to=bucket[number])
    rig.host.advance(400 * 10**9)
    service = rig.host.tables.services[1]
    service.cache_count = MANY + many  # 1 x 4 / 3 = 1 may go, or 2 x 4 / 3 = 2
    rig.host.advance(460 * 10**9)
    assert int(rig.row("A").cached) == left
    assert int(service.cache_rover) == (5 if many == 1 else 900)


def test_a_round_ends_when_all_buckets_were_looked_at(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1}, lane=lane)
    rig.pick(to="10.0.0.1")
    service = rig.host.tables.services[1]
    service.cache_count = MANY + 300  # 400 may go, but the one that is there was used just now
    rig.host.advance(62 * 10**9)
    assert (int(service.cache_rover), int(rig.row("A").cached), int(service.cache_rounds)) == (0, 1, 1)


def test_rows_of_forgotten_addresses_are_used_again(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1, "B": 1}, lane=lane)
    rig.pick(to="10.0.0.1")
    rig.edit("B", 0)
    rig.pick(to="10.0.0.1")
    assert rig.host.tables.director[0].cached_used == 1
