"""What a kernel did, kept beside the scenario: compact, readable text, compared without any kernel.

A recording holds, per event, by how much it was late and what left the director (where to, and a CRC-32 of the bytes),
and the listings of the real tools. It is good for exactly one job: the checksum of the job is in it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lbsim.errors import LbsimError
from lbsim.kernel.job import CLIENT, Command, CommandSeen, Job, Observation, PacketSeen, ShowSeen, server
from lbsim.kernel.seen import Step, comparable, listing_of

__all__ = ["Recording", "checksummed", "path_of", "read", "write"]

FORMAT = "lbsim-recording/1"


@dataclass(frozen=True, slots=True)
class Recording:
    """A kernel's steps with checksums in place of bytes, and the observation without the packets."""

    release: str
    command: str
    steps: tuple[Step, ...]
    observation: Observation


def path_of(scenario: Path, kernel: str) -> Path:
    """Where the recording of a scenario lies: ``walkthrough.linux-6.1.recording.json`` beside it."""
    return scenario.with_name(f"{scenario.name.removesuffix('.lbsim.yaml')}.linux-{kernel}.recording.json")


def checksummed(steps: Iterator[Step] | tuple[Step, ...]) -> Iterator[Step]:
    """The steps with a CRC-32 in place of each packet's bytes."""
    for step in steps:
        yield replace(step, arrivals=tuple((where, _crc(data)) for where, data in step.arrivals))


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4)


def write(path: Path, job: Job, observation: Observation, command: str) -> None:
    """Write a recording; the file is complete or not there at all.

    Raises
    ------
    LbsimError : the file cannot be written.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "kernel": observation.release,
        "command": command,
        "job": _digest_of(job),
        "jiffies": observation.jiffies,
        "setup": [[seen.status, seen.output] for seen in observation.setup],
        "events": [_row(job, i, seen) for i, seen in enumerate(observation.events)],
    }
    document["checksum"] = _checksum(document)
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in document.pop("events")]
    head = json.dumps(document, indent=1, ensure_ascii=False)[:-2]
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(f'{head},\n "events": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise LbsimError(f"cannot write the recording: {error.strerror}", file=str(path)) from None
    finally:
        part.unlink(missing_ok=True)


def read(path: Path, job: Job) -> Recording:
    """The recording of that job.

    Raises
    ------
    LbsimError : there is none, it is damaged, or it is of another job (the scenario was changed since).
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LbsimError(f"no recording: {error.strerror}; lbsim kernel record makes it", file=str(path)) from None
    except (ValueError, RecursionError):
        raise LbsimError("not a recording; lbsim kernel record makes a new one", file=str(path)) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise LbsimError(f"not a recording; expected the format {FORMAT!r}", file=str(path))
    if document.pop("checksum", None) != _checksum(document):
        raise LbsimError("the recording was changed by hand; lbsim kernel record makes a new one", file=str(path))
    if document["job"] != _digest_of(job):
        raise LbsimError(
            "the scenario was changed since this was recorded; lbsim kernel record makes a new one", file=str(path)
        )
    rows = [_seen(job, i, row) for i, row in enumerate(document["events"])]
    return Recording(
        release=document["kernel"],
        command=document["command"],
        steps=tuple(step for step, _ in rows),
        observation=Observation(
            job.name,
            document["kernel"],
            document["jiffies"],
            setup=tuple(CommandSeen(0, argv, *row) for argv, row in zip(job.setup, document["setup"], strict=True)),
            events=tuple(seen for _, seen in rows),
        ),
    )


def _digest_of(job: Job) -> str:
    return hashlib.sha256(job.to_json().encode()).hexdigest()


def _checksum(document: dict[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _row(job: Job, number: int, seen: PacketSeen | CommandSeen | ShowSeen) -> list[Any] | str:
    """One event: how late (ns), and what came of it. Servers are numbered from 1 in the job's order."""
    late = seen.at - job.events[number].at
    words = [f"{_short(job, where)}={_crc(data).hex()}" for where, data in map(comparable, seen.arrivals)]
    match seen:
        case PacketSeen():
            return " ".join([str(late), *words])
        case CommandSeen():
            return [late, seen.status, seen.output, *words]
        case ShowSeen():
            return [late, seen.listing.splitlines(), seen.stats.splitlines(), seen.conns.splitlines(), *words]


def _short(job: Job, where: str) -> str:
    if where == CLIENT:
        return CLIENT
    address = where.removeprefix("r:")
    return str(job.servers.index(address) + 1) if address in job.servers else "?"


def _long(job: Job, word: str) -> str:
    return {"c": CLIENT, "?": server("?")}.get(word) or server(job.servers[int(word) - 1])


def _seen(job: Job, number: int, row: list[Any] | str) -> tuple[Step, PacketSeen | CommandSeen | ShowSeen]:
    event = job.events[number]
    if isinstance(row, str):
        late, *words = row.split()
        at = event.at + int(late)
        return Step(at, _arrivals(job, words)), PacketSeen(at)
    at = event.at + row[0]
    if isinstance(event, Command):
        status, output, *words = row[1:]
        answer = status, " ".join(output.split())
        return Step(at, _arrivals(job, words), answer=answer), CommandSeen(at, event.argv, status, output)
    listing, stats, conns = ("".join(f"{line}\n" for line in lines) for lines in row[1:4])
    shown = ShowSeen(at, at + 20_000_000, listing, stats, conns)
    return Step(at, _arrivals(job, row[4:]), listing=listing_of(shown)), shown


def _arrivals(job: Job, words: list[str]) -> tuple[tuple[str, bytes], ...]:
    pairs = (word.split("=") for word in words)
    return tuple((_long(job, to), bytes.fromhex(crc)) for to, crc in pairs)
