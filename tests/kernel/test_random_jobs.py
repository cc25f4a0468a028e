"""Random jobs: the same for the same seed, and with everything in them that they are for."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lbsim.engine.schedulers import BUILT_IN
from lbsim.kernel.job import REPLY, Command, Packet, Show
from lbsim.kernel.rehearsal import setup_answers
from tests.kernel.differential import decisions
from tests.kernel.random_jobs import SCHEDULERS, WEIGHTS, random_job


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_seed_always_makes_the_same_job(scheduler: str) -> None:
    assert random_job(scheduler, 5) == random_job(scheduler, 5)
    assert random_job(scheduler, 5) != random_job(scheduler, 6)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_events_are_in_order_of_time(scheduler: str) -> None:
    for seed in range(10):
        assert all(one.at <= other.at for one, other in pairwise(random_job(scheduler, seed).events))


def test_there_are_as_many_new_connections_as_asked_for() -> None:
    assert [decisions(random_job("rr", seed, decisions=50).events) >= 50 for seed in range(10)] == [True] * 10


def test_a_reply_or_a_later_packet_is_no_decision() -> None:
    events = random_job("rr", 1).events
    packets = [event for event in events if isinstance(event, Packet)]
    others = [one for one in packets if one.side == REPLY or not one.content[33] & 2]
    assert others
    assert decisions(others) == 0


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_kind_of_command_and_an_idle_time_out_occur(scheduler: str) -> None:
    jobs = [random_job(scheduler, seed) for seed in range(20)]
    given = {event.argv[1] for job in jobs for event in job.events if isinstance(event, Command)}
    assert given == {"-a", "-e", "-d", "-A", "-D", "-E"}
    assert max(other.at - one.at for job in jobs for one, other in pairwise(job.events)) > 900 * 10**9
    assert all(isinstance(job.events[-1], Show) for job in jobs)
    assert {name for job in jobs for name, _ in job.sysctls} == {
        "net.ipv4.vs.conn_reuse_mode", "net.ipv4.vs.expire_nodest_conn", "net.ipv4.vs.sloppy_tcp",
    }  # fmt: skip


def test_the_set_up_is_never_refused() -> None:
    for seed in range(20):
        assert {status for status, _ in setup_answers(random_job("sh", seed), profile="linux-6.1.192")} == {0}


def test_every_scheduler_but_the_one_that_draws_lots_is_asked() -> None:
    assert {*SCHEDULERS, "twos"} == set(BUILT_IN)
    assert set(WEIGHTS) <= set(SCHEDULERS)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_weights_are_those_that_matter(scheduler: str) -> None:
    jobs = [random_job(scheduler, seed) for seed in range(10)]
    lines = [" ".join(argv) for job in jobs for argv in job.setup]
    lines += [" ".join(e.argv) for job in jobs for e in job.events if isinstance(e, Command)]
    assert all(any(f" -s {scheduler}{flags}" in line for line in lines) for flags in FLAGS.get(scheduler, [""]))
    assert len({line.split(" -w ")[1] for line in lines if " -w " in line}) >= 4


FLAGS = {
    name: ["", f" -b {name}-port", f" -b {name}-fallback", f" -b {name}-fallback,{name}-port"] for name in ("sh", "mh")
}
