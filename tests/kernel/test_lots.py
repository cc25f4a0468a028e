"""Lots of twos: found in what a kernel did, and known to fall as they should."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from math import exp
from pathlib import Path
from random import Random

import pytest

from lbsim.compare import compare
from lbsim.kernel.job import Event, Job, Observation, Seen, ShowSeen
from lbsim.kernel.lots import LEAST_LOADED, Lots, chances, has_lots, likelihood
from lbsim.kernel.verification import IN_LOTS
from lbsim.live import Director
from lbsim.replays import Replay, job_from, replay, verify
from lbsim.scenario import Loaded, load
from tests.engine.schedulers.rig import Rig
from tests.kernel.played import played

SCENARIO = """
name: lots
config: |
  ipvsadm -A -t 192.168.1.10:80 -s twos
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11 -m -w 3
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12 -m -w 2
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.13 -m -w 1
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.14 -m -w 0
traffic:
  - service: tcp 192.168.1.10:80
    connections: CONNECTIONS
    clients: {cidr: 203.0.113.0/24}
    arrivals: {every: 100ms}
    tcp: {requests: 1, close: never}
"""


def loaded(folder: Path, connections: int = 400) -> Loaded:
    path = folder / "lots.lbsim.yaml"
    path.write_text(SCENARIO.replace("CONNECTIONS", str(connections)))
    return load(path)


def kernel_with(scheduler: str) -> Callable[..., list[Observation]]:
    """A kernel that calls another scheduler twos."""

    def named(_number: int, _event: Event, seen: Seen) -> Seen:
        if not isinstance(seen, ShowSeen):
            return seen
        return seen._replace(listing=seen.listing.replace(f" {scheduler}\n", " twos\n"))

    def run(jobs: Sequence[Job], way: str = "auto", **_options: object) -> list[Observation]:
        made = [job._replace(setup=tuple(_other(argv) for argv in job.setup)) for job in jobs]
        return [played(job, named) for job in made]

    def _other(argv: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(scheduler if word == "twos" else word for word in argv)

    return run


# The chances


def oracle(rig: Rig) -> dict[int, float]:
    """Every pair of lots, the newest destination being the first in the list: facts, schedulers.md section 3.14."""
    dests = [rig.row(name) for name in "FEDCBA" if rig.row(name).weight > 0]
    total = sum(dest.weight for dest in dests)

    def selected(number: int) -> int:
        for k, dest in enumerate(dests):
            number -= dest.weight
            if number <= 0:
                return k
        raise AssertionError

    found: dict[int, float] = defaultdict(float)
    for r1 in range(total + 1):
        for r2 in range(total + 1):
            a, b = selected(r1), selected(r2)
            load = [256 * dest.active + dest.total for dest in dests]
            found[b if dests[b].weight * load[a] > dests[a].weight * load[b] else a] += 1 / (total + 1) ** 2
    return found


@pytest.mark.parametrize("seed", range(20))
def test_chances_are_those_of_all_pairs_of_lots(seed: int) -> None:
    random = Random(seed)
    weights = {name: random.randrange(0, 9) for name in "ABCDE"} | {"F": 2}
    rig = Rig("twos", weights)
    for name in weights:
        rig.row(name).total = random.randrange(0, 4)
        rig.row(name).active = random.randrange(0, rig.row(name).total + 1)
    expected = oracle(rig)
    found = [chance for chance, _ in chances(rig.host.tables, 1).values()]
    assert found == [pytest.approx(expected[k]) for k in range(len(found))]
    assert sum(found) == pytest.approx(1)


def test_what_is_as_often_as_expected_is_likely() -> None:
    assert likelihood(0, 10) == 1
    assert likelihood(30, 100) == likelihood(-30, 100) == pytest.approx(exp(-900 / 220))


def test_an_unlikely_pick_or_two_is_no_reason_to_worry() -> None:
    assert likelihood(2, 2 / 1000) > 1e-3


# Kernels


def test_lots_of_a_kernel_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The played kernel and the verification begin with the same seed, so the played one gets another."""
    monkeypatch.setattr("lbsim.kernel.run.run", other_seed)
    (found,) = verify([loaded(tmp_path)], way="vm:6.12")
    assert found.identical, found.lines()
    assert found.lots == 400
    assert "400 lots as likely as they should be on linux-6.1" in found.lines()[0]


def other_seed(jobs: Sequence[Job], way: str = "auto", **_options: object) -> list[Observation]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lbsim.kernel.rehearsal.Director", partial(Director, seed=4711))
        return [played(job) for job in jobs]


def test_results_follow_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.kernel.run.run", other_seed)
    (one,) = replay([loaded(tmp_path)], way="vm:6.12")
    assert isinstance(one, Replay)
    found = compare(one.engine(), one.kernel())
    assert found.identical, found.lines()


@pytest.mark.parametrize("scheduler", ["wlc", "wrr", "lc"])
def test_a_kernel_that_picks_otherwise_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    monkeypatch.setattr("lbsim.kernel.run.run", kernel_with(scheduler))
    (found,) = verify([loaded(tmp_path)], way="vm:6.12")
    assert not found.identical
    assert found.divergence is not None
    assert found.divergence.event == IN_LOTS
    assert "DIFFERENT on linux-6.1.0-9-played, in its lots only" in found.lines()[0]
    assert all(line.startswith("lots: of 400 picks ") for line in found.divergence.differences)


def test_what_twos_cannot_pick_is_a_difference_of_that_packet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has a weight for the destination that should have none."""

    def run(jobs: Sequence[Job], way: str = "auto", **_options: object) -> list[Observation]:
        def other(argv: tuple[str, ...]) -> tuple[str, ...]:
            return (*argv[:-1], "9") if argv[-2:] == ("-w", "0") else argv

        return [played(job._replace(setup=tuple(map(other, job.setup)))) for job in jobs]

    monkeypatch.setattr("lbsim.kernel.run.run", run)
    (found,) = verify([loaded(tmp_path, 40)], way="vm:6.12")
    assert found.divergence is not None
    assert found.divergence.event >= 0
    assert "sent to: kernel r:10.0.0.14" in found.divergence.differences[0]


def test_only_jobs_with_twos_have_lots(tmp_path: Path) -> None:
    one = loaded(tmp_path)
    assert has_lots(job_from(one))
    one.path.write_text(one.path.read_text().replace("twos", "rr"))
    assert not has_lots(job_from(load(one.path)))


def test_a_service_may_change_its_scheduler_in_mid_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = loaded(tmp_path)
    text = one.path.read_text().replace("-s twos", "-s rr")
    one.path.write_text(f"{text}timeline: [{{at: 20s, run: ipvsadm -E -t 192.168.1.10:80 -s twos}}]\n")
    monkeypatch.setattr("lbsim.kernel.run.run", other_seed)
    (found,) = verify([load(one.path)], way="vm:6.12")
    assert (found.identical, found.lots) == (True, 200)


def test_sums_tell_who_was_picked_too_often() -> None:
    lots = Lots()
    for _ in range(100):
        lots._add("10.0.0.11", True, 0.5)
        lots._add(LEAST_LOADED, True, 0.9)
    lots.drawn = 100
    assert list(lots.differences()) == ["lots: of 100 picks 10.0.0.11 got 50.0 more often than twos would let it"]
