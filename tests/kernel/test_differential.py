"""The differential run, on a played kernel: what deviates is found, shrunk and saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lbsim.engine.director import receive_block
from lbsim.engine.forwarding import decide
from lbsim.engine.lanes import interpreted_lane
from lbsim.engine.reasons import DROP, INVALID_IP
from lbsim.kernel.job import CLIENT, DIRECTOR, REPLY, Command, Event, Job, Observation, Packet, PacketSeen, Seen
from lbsim.replays import job_from
from lbsim.scenario import load
from tests.kernel import differential
from tests.kernel.differential import as_scenario, compare_all, shrunk, verified
from tests.kernel.played import played, played_all
from tests.kernel.random_features import KINDS, random_feature_job
from tests.kernel.random_jobs import random_job


def loses_resets(_number: int, event: Event, seen: Seen) -> Seen:
    """A kernel that forwards no packet with a client's RST."""
    is_reset = isinstance(event, Packet) and event.side == CLIENT and event.content[33] == 4
    return seen._replace(arrivals=()) if is_reset else seen


def loses_resets_after_an_edit(jobs: Sequence[Job]) -> list[Observation]:
    """A kernel that forwards no RST any more once a destination was edited."""

    def seen_of(job: Job) -> Observation:
        edits = [i for i, e in enumerate(job.events) if isinstance(e, Command) and e.argv[1] == "-e"]
        first = edits[0] if edits else len(job.events)
        return played(job, lambda i, event, seen: loses_resets(i, event, seen) if i > first else seen)

    return list(map(seen_of, jobs))


def without_id(event: Event) -> Event:
    """A packet without its IPv4 id, and so without its checksum: both are counted by whoever builds it."""
    if not isinstance(event, Packet):
        return event
    return event._replace(flow=0, content=event.content[:4] + event.content[6:10] + event.content[12:])


def as_job(text: str, folder: Path) -> Job:
    """The job of a scenario's text."""
    (folder / "x.lbsim.yaml").write_text(text)
    return job_from(load(folder / "x.lbsim.yaml"))


@pytest.mark.parametrize(
    "make", [partial(random_job, "rr"), partial(random_job, "sh"), partial(random_feature_job, "mark")]
)
def test_a_saved_job_is_the_same_job_again(make: Callable[[int], Job], tmp_path: Path) -> None:
    for seed in range(5):
        job = make(seed)
        again = as_job(as_scenario(job), tmp_path)
        assert list(map(without_id, again.events)) == list(map(without_id, job.events))
        assert (again.setup, again.sysctls, again.vips) == (job.setup, job.sysctls, job.vips)


def test_clients_on_the_director_are_saved_as_such(tmp_path: Path) -> None:
    job = random_feature_job("udp-own-clients", 1)
    sent = [event for event in job.events if isinstance(event, Packet)]
    again = [e for e in as_job(as_scenario(job), tmp_path).events if isinstance(e, Packet)]
    assert {event.side for event in sent} == {CLIENT, DIRECTOR, REPLY}
    assert list(map(without_id, again)) == list(map(without_id, sent))


def test_a_reply_of_a_flow_that_nobody_began_is_not_saved(tmp_path: Path) -> None:
    job = random_job("rr", 1)
    replies = tuple(e for e in job.events if isinstance(e, Packet) and e.side == REPLY)
    requests = tuple(e for e in job.events if isinstance(e, Packet) and e.side == CLIENT)[:1]
    text = as_scenario(job._replace(events=(*replies, *(e._replace(at=replies[-1].at) for e in requests))))
    assert [e.side for e in as_job(text, tmp_path).events if isinstance(e, Packet)] == [CLIENT]


def test_a_kernel_that_agrees_has_no_mismatch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_all("lc", 3, 1, played_all(), tmp_path / "save") == 0
    said = capsys.readouterr().out
    assert said.startswith("lc on linux-6.1.0-9-played: 3 cases, 3")
    assert said.endswith("connection rows: 0 mismatches\n")
    assert not (tmp_path / "save").exists()


def test_a_mismatch_is_shrunk_to_what_makes_it() -> None:
    job = next(job for job in (random_job("rr", n) for n in range(20)) if _deviates(job))
    small = shrunk(job, loses_resets_after_an_edit)
    assert _deviates(small)
    edit, syn, reset = sorted(small.events, key=lambda e: (isinstance(e, Packet), e.at))
    assert isinstance(edit, Command)
    assert isinstance(syn, Packet)
    assert isinstance(reset, Packet)
    assert (edit.argv[1], syn.content[33], reset.content[33], syn.flow) == ("-e", 2, 4, reset.flow)


def _deviates(job: Job) -> bool:
    (seen,) = loses_resets_after_an_edit([job])
    return not differential.verified(job, seen).identical


def test_every_mismatch_is_saved_as_a_scenario_on_which_both_still_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = compare_all("rr", 4, 1, played_all(loses_resets), tmp_path / "save")
    assert wrong > 1
    paths = list((tmp_path / "save").iterdir())
    assert len(paths) == wrong
    said = capsys.readouterr().out
    assert said.endswith(f"{wrong} mismatches\n")
    for path in paths:
        assert f"shrunk to {path}\n" in said
        job = job_from(load(path))
        assert len([e for e in job.events if isinstance(e, Packet)]) == 2
        assert not differential.verified(job, played(job, loses_resets)).identical


def test_only_so_many_mismatches_are_saved_and_all_counted(tmp_path: Path) -> None:
    wrong = compare_all("rr", 4, 1, played_all(loses_resets), tmp_path, most=1)
    assert wrong > 1
    assert len(list(tmp_path.iterdir())) == 1


def test_both_kernels_mismatches_are_kept(tmp_path: Path) -> None:
    for release in ("6.1.192", "6.12.117"):
        compare_all("rr", 1, 1, played_all(loses_resets, release), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "rr-1-linux-6.1.lbsim.yaml",
        "rr-1-linux-6.12.lbsim.yaml",
    ]


def test_a_run_that_breaks_off_while_shrinking_leaves_the_mismatch(tmp_path: Path) -> None:
    asked: list[int] = []

    def once(jobs: Sequence[Job]) -> list[Observation]:
        if asked:
            raise KeyboardInterrupt
        asked.append(len(jobs))
        return [played(job, loses_resets) for job in jobs]

    with pytest.raises(KeyboardInterrupt):
        compare_all("rr", 1, 1, once, tmp_path)
    (path,) = tmp_path.iterdir()
    job = job_from(load(path))
    assert not differential.verified(job, played(job, loses_resets)).identical


def test_a_shrinking_attempt_that_breaks_off_is_passed_over() -> None:
    def breaks_off(jobs: Sequence[Job]) -> list[Observation]:
        return [Observation(job.name, "6.1.0", error="OSError") for job in jobs]

    job = random_job("rr", 1, decisions=3)
    assert shrunk(job, breaks_off) == job


def test_a_job_that_breaks_off_ends_the_run_with_its_name() -> None:
    with pytest.raises(SystemExit, match="rr-1: the kernel's side broke off: OSError"):
        differential.verified(random_job("rr", 1), Observation("rr-1", "6.1.0", error="OSError"))


@pytest.mark.parametrize(("spoil", "status"), [(None, 0), (loses_resets, 1)])
def test_the_exit_status_says_whether_anything_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: object, status: int
) -> None:
    monkeypatch.setattr(differential, "run_jobs", played_all(loses_resets if spoil else None))
    words = ["x", "--cases", "2", "--kind", "rr", "--kernel", "vm:6.1", "--save", str(tmp_path / "save")]
    monkeypatch.setattr("sys.argv", words)
    assert differential.main() == status


def test_each_kernel_and_kind_has_its_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def run(jobs: Sequence[Job], way: str) -> list[Observation]:
        print(way, flush=True)  # in a process of its own
        return [played(job) for job in jobs]

    monkeypatch.setattr(differential, "run_jobs", run)
    monkeypatch.setattr("sys.argv", ["x", "--cases", "1", *(f"--kind={kind}" for kind in ("rr", "lc", "sh"))])
    assert differential.main() == 0
    words = sorted(line.split()[0] for line in capfd.readouterr().out.splitlines())
    assert words == sorted(["vm:6.1", "vm:6.12", *["rr", "lc", "sh"] * 2])  # one boot each


def test_a_played_kernel_sees_every_event() -> None:
    job = random_job("rr", 1)
    assert [isinstance(seen, PacketSeen) for seen in played(job).events] == [isinstance(e, Packet) for e in job.events]


# What the interpreted lane does with random jobs, played as if a kernel had done it, is what the compiled lane does.
@pytest.mark.parametrize("scheduler", ["rr", "lc", "sh"])
def test_both_lanes_do_the_same_with_random_jobs(scheduler: str) -> None:
    for seed in range(1, 5):
        job = random_job(scheduler, seed)
        assert verified(job, played(job)).identical


@pytest.mark.parametrize("kind", KINDS)
def test_both_lanes_do_the_same_with_every_kind_of_random_job(kind: str) -> None:
    job = random_feature_job(kind, 1)
    assert verified(job, played(job)).identical


class Idle:
    """A lane whose director forwards nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(interpreted_lane(), name)

    def function(self, marked: Callable[..., Any]) -> Callable[..., Any]:
        return (lambda t, p, v, *_: decide(v[0], DROP, INVALID_IP, 0)) if marked is receive_block else marked


def test_a_lane_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    job = random_job("rr", 1)
    seen = played(job)
    monkeypatch.setattr(differential, "compiled_lane", Idle)
    assert not verified(job, seen).identical
