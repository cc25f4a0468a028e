"""Explanations of packets that no scenario's author would think of: what they state is checked against the oracle.

A live director does random jobs, and each packet that it receives is explained on the way.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from lbsim import Director
from lbsim.engine.profile import SYSCTLS
from lbsim.engine.records import Outcome, Packet
from lbsim.explain import lines
from lbsim.explain.facts import explanation_of
from lbsim.explain.names import Names
from lbsim.explain.observing import observe
from lbsim.host import EngineHost
from lbsim.kernel.job import CLIENT, Command, Job
from lbsim.kernel.job import Packet as Sent
from lbsim.kernel.job_rules import marks_of, router_of
from lbsim.kernel.rehearsal import OWN_ADDRESSES
from lbsim.model.config import DirectorConfig
from lbsim.model.explanation import Decision, Explanation
from lbsim.model.result import ServiceRow
from tests.kernel.random_features import KINDS, random_feature_job
from tests.kernel.random_jobs import SCHEDULERS, random_job
from tests.oracles.picks import PICKERS, Ask, fold, hash32, siphash

TICK = 4_000_000  # ns


@pytest.fixture
def explanations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Explanation, tuple[ServiceRow, ...]]]:
    """Every packet's explanation, and what the services looked like before it."""
    found: list[tuple[Explanation, tuple[ServiceRow, ...]]] = []
    receive_block = EngineHost.receive_block

    def explained(host: EngineHost, packets: list[Packet], outcomes: list[Outcome], count: int) -> None:
        assert count == 1
        host.advance((packets[0].tick - host.start_jiffies) * TICK)
        host.room_for(1)
        names, services = Names(host), host.services()
        seen = observe(host.tables, packets[0], names, lambda: receive_block(host, packets, outcomes, 1))
        found.append((explanation_of(seen, outcomes[0], names, number=0, time=0, commands=()), services))

    monkeypatch.setattr(EngineHost, "receive_block", explained)
    return found


def play(job: Job) -> None:
    """Let a director do what the job has for it, but for answers of real servers."""
    sysctls = {name.split(".")[-1]: int(value) for name, value in job.sysctls if name.split(".")[-1] in SYSCTLS}
    router = DirectorConfig(router=router_of(job))
    director = Director(router, marks=marks_of(job), sysctls=sysctls, own=(*OWN_ADDRESSES, *job.vips))
    for line in job.setup:
        if line[0] == "ipvsadm":
            director.run(" ".join(line))
    for event in job.events:
        if isinstance(event, Command):
            director.run(" ".join(event.argv), at=event.at / 1e9)
        elif isinstance(event, Sent) and event.side == CLIENT:
            director.receive(event.content, at=event.at / 1e9)


def oracle_dests(decision: Decision) -> list[dict[str, Any]]:
    """The destinations of a decision, as the oracle's schedulers take them."""
    return [
        {
            "name": one.dest,
            "weight": one.weight,
            "last_weight": one.weight,
            "active": one.active,
            "total": one.total,
            "overload": one.skipped == "overloaded",
            "there": True,
        }
        for one in decision.candidates
    ]


def check(found: Explanation, services: tuple[ServiceRow, ...]) -> None:
    """What must hold of every explanation."""
    json.dumps(asdict(found))
    text = lines(found)
    assert text[0].startswith("packet 0 at 0s, tick ")
    assert found.after is None or found.dest is None or found.entry == "none" or found.after.destination
    if found.decision is not None:
        check_decision(found, found.decision, services)


def check_decision(found: Explanation, decision: Decision, services: tuple[ServiceRow, ...]) -> None:
    assert found.service is not None
    row = next(row for row in services if row.service == found.service.service)
    told = [(one.dest, one.weight, one.active, one.inactive) for one in decision.candidates]
    assert told == [(dest.dest, dest.weight, dest.active, dest.inactive) for dest in row.dests], "before the packet"
    picked = [one for one in decision.candidates if one.picked]
    assert [one.dest for one in picked] == ([decision.picked] if decision.picked else [])
    assert decision.scheduler == "lblc" or not [one for one in picked if one.skipped], "lblc keeps who is overloaded"
    dests = oracle_dests(decision)
    for one, dest in zip(decision.candidates, dests, strict=True):
        if decision.scheduler in ("lc", "wlc", "lblc", "lblcr"):
            assert one.load == 256 * dest["active"] + dest["total"]
        elif decision.scheduler in ("sed", "nq"):
            assert one.load == dest["active"] + 1
        else:
            assert one.load is None
    if decision.scheduler in ("lc", "wlc", "sed", "nq", "fo", "ovf"):
        pick = PICKERS[decision.scheduler](dests).pick(Ask(client="0.0.0.0"))
        assert decision.picked == (pick and pick["name"])
    check_hashes(found, decision)


def check_hashes(found: Explanation, decision: Decision) -> None:
    """Keys, buckets and slots by the fact sheet's formulas."""
    address, _, port = found.packet.src.rpartition(":")
    key = (fold(address.strip("[]")) + (int(port) if decision.value("port_hashed") else 0)) % 2**32
    if decision.scheduler == "sh":
        assert (decision.value("key"), decision.value("bucket")) == (key, hash32(key, 8))
    elif decision.scheduler == "mh":
        assert (decision.value("key"), decision.value("slot")) == (key, siphash(key, 2654435761) % 4093)
    elif decision.scheduler == "dh":
        target = fold(found.packet.dst.rpartition(":")[0].strip("[]"))
        assert (decision.value("key"), decision.value("bucket")) == (target, hash32(target, 8))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_random_histories_of_a_scheduler(scheduler: str, explanations: list[Any]) -> None:
    play(random_job(scheduler, 1))
    for one in explanations:
        check(*one)
    assert {found.decision.scheduler for found, _ in explanations if found.decision} == {scheduler}


@pytest.mark.parametrize("kind", KINDS)
def test_random_histories_of_other_features(kind: str, explanations: list[Any]) -> None:
    jobs = [random_feature_job(kind, seed) for seed in range(2)]
    for job in jobs:
        play(job)
    for one in explanations:
        check(*one)
    found = [one for one, _ in explanations]
    assert any(one.decision is not None for one in found)
    persistent = any(argv[0] == "ipvsadm" and "-p" in argv for job in jobs for argv in job.commands())
    assert any(one.template is not None for one in found) == persistent
    assert any(one.service and one.service.how == "mark" for one in found) == KINDS[kind].marked
    assert any(one.service and one.service.how == "port 0" for one in found) == (kind == "persistent-port-0")
