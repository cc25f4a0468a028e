"""Random jobs on a real kernel and on the engine, until they differ.

    python -m tests.kernel.differential --cases 200 --kernel vm:6.1 [--kind rr] [--first-seed 1] [--save FOLDER]

A kind is a scheduler, or what else IPVS can do (random_features.py). Prints one line per kind. Every mismatch, up to
--save-most per kind and kernel, is saved as a scenario: as it is at once, then shrunk (events are left out as long as
both still differ). Exit 0 only if nothing differs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from lbsim.engine.lanes import compiled_lane, interpreted_lane
from lbsim.engine.numbers import ACK, SCTP, SYN, TCP, UDP
from lbsim.engine.sctp_chunks import INIT
from lbsim.kernel.job import ASKING, CLIENT, DIRECTOR, REPLY, Command, Event, Job, Observation, Packet, Show
from lbsim.kernel.rehearsal import rehearse, setup_answers
from lbsim.kernel.run import run as run_jobs
from lbsim.kernel.seen import profile_of, series_of, steps_of
from lbsim.kernel.verification import Verification, compare_steps, setup_differences
from lbsim.model.config import format_endpoint
from lbsim.packet.headers import parse
from tests.kernel.random_features import KINDS, random_feature_job
from tests.kernel.random_jobs import SCHEDULERS, random_job

PER_BOOT = 50
ALL_KINDS = (*SCHEDULERS, *KINDS)
SAVED = 10

Ask = Callable[[Sequence[Job]], list[Observation]]


def verified(job: Job, seen: Observation) -> Verification:
    """Engine against kernel for one job: both lanes, the first that differs is told."""
    if seen.error:
        raise SystemExit(f"{job.name}: the kernel's side broke off: {seen.error}")
    profile = profile_of(seen.release)
    kernel, setup = steps_of(seen), setup_differences(job, seen, tuple(setup_answers(job, profile=profile)))
    for lane in (interpreted_lane(), compiled_lane()):
        engine = rehearse(job, seen, profile=profile, lane=lane)
        found = compare_steps(job, kernel, engine, release=f"linux-{seen.release}", setup=setup)
        if not found.identical:
            return found
    return found


def shrunk(job: Job, ask: Ask) -> Job:
    """A job with as few events as possible on which both sides still differ; several attempts per boot."""
    size = len(job.events) // 2
    while size:
        attempts = [
            job._replace(events=job.events[:start] + job.events[start + size :])
            for start in range(0, len(job.events), size)
            if len(job.events) > size
        ]
        seen = ask(attempts)
        still = (a for a, s in zip(attempts, seen, strict=True) if not s.error and not verified(a, s).identical)
        smaller = next(still, None)
        if smaller is None:
            size //= 2
        else:
            job = smaller
            size = min(size, len(job.events) // 2)
    return job


def as_scenario(job: Job) -> str:
    """The job as a scenario file; a reply of a flow that nobody began, which nobody sends, is left out."""
    lines = [f"name: {job.name.lower()}", "description: found by the differential run", "config: |"]
    lines += [f"  {' '.join(argv)}" for argv in job.setup if "MARK" not in argv]
    marks = [f"  {' '.join(argv)}" for argv in job.setup if "MARK" in argv]
    lines += ["marks: |", *marks] if marks else []
    if job.sysctls:
        lines += ["sysctls:", *(f"  {name}: {value}" for name, value in job.sysctls)]
    begun: set[int] = set()
    lines += ["traffic:", "  - packets: |", *(f"      {_script(e, begun)}" for e in _sent(job.events))]
    commands = [e for e in job.events if isinstance(e, Command)]
    if commands:
        lines += ["timeline:", *(f'  - {{at: {e.at}ns, run: "{" ".join(e.argv)}"}}' for e in commands)]
    shows = [e for e in job.events if isinstance(e, Show) and not e.stats]  # that look comes by itself
    if shows:
        lines.append(f"show: [{', '.join(f'{e.at}ns' for e in shows)}]")
    return "\n".join(lines) + "\n"


def _sent(events: Sequence[Event]) -> Iterator[Packet]:
    begun: set[int] = set()
    for event in events:
        if isinstance(event, Packet):
            if event.side != REPLY:
                begun.add(event.flow)
            if event.flow in begun:
                yield event


def _script(event: Packet, begun: set[int]) -> str:
    """The line of a packet. ``begun``: flows with a packet before it."""
    headers = parse(event.content)
    assert headers is not None
    source, target = (
        format_endpoint(ip_address(address), port)
        for address, port in ((headers.src, headers.sport), (headers.dst, headers.dport))
    )
    is_tcp = headers.proto == TCP
    flags = "".join(letter for bit, letter in enumerate("FSRPAU") if headers.flags >> bit & 1) or "-"
    payload = headers.length - headers.l4 - (20 if is_tcp else 8)
    assert event.side in (REPLY, CLIENT, DIRECTOR)
    words = f"tcp {flags} seq={headers.seq} ack={headers.ack}" if is_tcp else "udp"
    first = " via=director" if event.side == DIRECTOR and event.flow not in begun else ""
    begun.add(event.flow)
    return f"{event.at}ns {source} > {target} {words}" + (f" len={payload}" if payload else "") + first


def decisions(events: Sequence[Event]) -> int:
    """How many packets ask for a new connection: SYNs and INITs of clients, and their flows' first packets over UDP."""
    syns, flows = 0, set()
    for event in events:
        if isinstance(event, Packet) and event.side in ASKING:
            headers = parse(event.content)
            assert headers is not None
            syns += headers.proto == TCP and headers.flags & (SYN | ACK) == SYN
            syns += headers.proto == SCTP and headers.flags == INIT
            if headers.proto == UDP:
                flows.add(event.flow)
    return syns + len(flows)


def job_of_kind(kind: str, seed: int) -> Job:
    """The random job of that kind, which is a scheduler or one of random_features.KINDS, and seed."""
    return random_feature_job(kind, seed) if kind in KINDS else random_job(kind, seed)


def compare_all(kind: str, cases: int, first_seed: int, ask: Ask, save: Path, most: int = SAVED) -> int:
    """Run the cases of one kind; how many differ. The first ``most`` of these are saved."""
    wrong = asked = packets = rows = 0
    release = "?"
    for begin in range(0, cases, PER_BOOT):
        jobs = [job_of_kind(kind, first_seed + i) for i in range(begin, min(begin + PER_BOOT, cases))]
        for job, seen in zip(jobs, ask(jobs), strict=True):
            found = verified(job, seen)
            release = seen.release
            asked += decisions(job.events)
            packets += found.packets
            rows += found.connections
            if not found.identical:
                wrong += 1
                print("\n".join(found.lines()), flush=True)
                if wrong <= most:
                    _save(job, release, ask, save)
    print(
        f"{kind} on linux-{release}: {cases} cases, {asked:,} scheduling decisions, {packets:,} packets, "
        f"{rows:,} connection rows: {wrong} mismatches",
        flush=True,
    )
    return wrong


class InFewBoots:
    """Asks a kernel for jobs; the first time for some of those that will come next as well, in the same boot."""

    def __init__(self, way: str, coming: Iterable[Job]) -> None:
        self._way = way
        self._coming = list(coming)
        self._seen: dict[Job, Observation] = {}

    def __call__(self, jobs: Sequence[Job]) -> list[Observation]:
        while self._coming and any(job in self._coming for job in jobs):
            now, self._coming = self._coming[:PER_BOOT], self._coming[PER_BOOT:]
            self._seen.update(zip(now, run_jobs(now, way=self._way), strict=True))
        if all(job in self._seen for job in jobs):
            return [self._seen.pop(job) for job in jobs]
        return run_jobs(jobs, way=self._way)


def _save(job: Job, release: str, ask: Ask, folder: Path) -> None:
    """The job as a scenario, whole until it is shrunk: a run that is broken off leaves the mismatch all the same."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job.name.lower()}-linux-{series_of(release)}.lbsim.yaml"
    path.write_text(as_scenario(job), encoding="utf-8")
    path.write_text(as_scenario(shrunk(job, ask)), encoding="utf-8")
    print(f"shrunk to {path}", flush=True)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200, help="per kind and kernel")
    parser.add_argument("--kernel", action="append", help="vm:6.1, vm:6.12, netns; may be repeated; default: both vm")
    parser.add_argument("--kind", action="append", choices=ALL_KINDS, help="may be repeated; default: all")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--save", type=Path, default=Path("reports/mismatches"))
    parser.add_argument("--save-most", type=int, default=SAVED, help="how many mismatches per kind and kernel")
    arguments = parser.parse_args()
    ways = arguments.kernel or ["vm:6.1", "vm:6.12"]
    if len(ways) == 1:
        return 1 if _on_kernel(arguments, ways[0]) else 0
    with ProcessPoolExecutor(max_workers=min(len(ways), os.cpu_count() or 1)) as pool:  # a guest has one processor
        return 1 if sum(pool.map(partial(_on_kernel, arguments), ways)) else 0


def _on_kernel(arguments: argparse.Namespace, way: str) -> int:
    """How many cases differ on one kernel."""
    kinds = arguments.kind or ALL_KINDS
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.cases)
    ask = InFewBoots(way, (job_of_kind(kind, seed) for kind in kinds for seed in seeds))
    return sum(
        compare_all(kind, arguments.cases, arguments.first_seed, ask, arguments.save, arguments.save_most)
        for kind in kinds
    )


if __name__ == "__main__":
    sys.exit(main())
