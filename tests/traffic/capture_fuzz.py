"""Random captures through both lanes: ``python -m tests.traffic.capture_fuzz --inputs 1000000``.

Each input is a capture that was built here or recorded from real servers, mutated at random: bits, bytes, lengths,
cuts, pieces put twice. It is read in the interpreted lane and in a compiled one that checks every index, whole or in
blocks through a small window, and the same must come out: rows, flows, addresses, quotes, counts, damage, refusal.

A capture of your own is added with ``--captures FOLDER``. The first input that the lanes disagree about, that raises
anything but a refusal, or takes longer than ten seconds, is written to ``--keep`` and ends the run.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.errors import TraceError
from lbsim.model.config import ServiceId, parse_endpoint
from lbsim.model.trace import COLUMN_TYPES, Trace
from lbsim.traffic import pcap
from lbsim.traffic.capture_bytes import CaptureBytes, _Plain
from tests.traffic.captures import originals

__all__ = ["Case", "DisagreementError", "cases", "check", "digest", "fuzz", "main"]

SERVICES = (
    "tcp 192.168.1.10:80", "udp 192.168.1.10:53", "tcp [2001:db8::10]:80", "udp [2001:db8::10]:53",
    "tcp 192.168.1.11:80", "tcp 192.150.187.43:80", "udp 192.168.90.10:53", "tcp 141.142.228.5:80",
    "tcp [2001:470:4867:99::21]:21",
)  # fmt: skip
MAPPING = {
    parse_endpoint("198.51.100.7:8080"): ServiceId.parse("tcp 192.168.1.10:80"),
    parse_endpoint("[2001:db8::7]:80"): ServiceId.parse("tcp [2001:db8::10]:80"),
}
LIES = (0, 1, 15, 16, 20, 40, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 28, (1 << 28) + 1)
PIECE = 5_000  # inputs of one seed
SECONDS = 10  # for one input in both lanes


@dataclass(frozen=True)
class Case:
    """An input: the file, what is looked for in it, and how it is read."""

    content: bytes
    services: tuple[str, ...]
    mapped: bool
    window: int | None
    block: int
    keep_raw: bool
    survey: bool


def cases(seed: int, folder: Path | None = None) -> Iterator[Case]:
    """Inputs without end; the same for the same seed."""
    random = Random(seed)
    captures = originals() + ([path.read_bytes() for path in sorted(folder.glob("*.pcap*"))] if folder else [])
    pieces = [records for capture in captures if (records := _records(capture))]
    while True:
        content = _shortened(random, random.choice(pieces)) if random.random() < 0.6 else random.choice(captures)
        yield Case(
            content=_mutated(random, content[: random.choice((700, 3000))]),
            services=tuple(random.sample(SERVICES, random.randint(1, 5))),
            mapped=random.random() < 0.3,
            window=random.choice((None, 64, 300, 5000)),
            block=random.choice((1, 7, 1000)),
            keep_raw=random.random() < 0.5,
            survey=random.random() < 0.3,
        )


def _records(capture: bytes) -> tuple[bytes, list[bytes]] | None:
    """The header and the records of a pcap file."""
    if capture[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return None
    at = 24
    records = []
    while at + 16 <= len(capture):
        (size,) = struct.unpack_from("<I", capture, at + 8)
        records.append(capture[at : at + 16 + size])
        at += 16 + size
    return (capture[:24], records) if records else None


def _shortened(random: Random, pieces: tuple[bytes, list[bytes]]) -> bytes:
    """A few records that follow each other, some of them twice."""
    header, records = pieces
    at = random.randrange(len(records))
    few = records[at : at + random.randint(1, 6)]
    return header + b"".join(record * random.choice((1, 1, 1, 2)) for record in few)


def _mutated(random: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((0, 1, 1, 2, 3, 6))):
        at = random.randrange(len(changed) + 1) if random.random() < 0.8 else random.randrange(60)
        match random.randrange(6):
            case 0:
                changed[at : at + 1] = random.randbytes(1)
            case 1 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 2:
                del changed[at : at + random.randint(1, 8)]
            case 3:
                changed[at:at] = random.randbytes(random.randint(1, 8))
            case 4:
                lie = random.choice((*LIES, random.getrandbits(32), random.getrandbits(7)))
                changed[at : at + 4] = struct.pack(random.choice("<>") + "I", lie)
            case 5 if random.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def read(case: Case, lane: Lane) -> Trace:
    """The trace of the input."""
    order: pcap._Watermarks = pcap._Watermarks() if case.window is None else pcap._OneBlock()
    if case.survey:
        order = pcap._Survey(_source(case), "input", lane)
    decoder = pcap._Decoder(
        _source(case),
        services=[ServiceId.parse(text) for text in case.services],
        mapping=MAPPING if case.mapped else {},
        start=7,
        block_packets=case.block,
        lane=lane,
        file="input",
        keep_raw=case.window is None or case.keep_raw,
    )
    return Trace.joined(decoder.traces(order))


def _source(case: Case) -> CaptureBytes:
    size = len(case.content)
    return _Plain(io.BytesIO(case.content), Path("input"), size, case.window, keep=case.window is None or case.keep_raw)


def digest(case: Case, lane: Lane) -> str:
    """What came out of the input, as a short text: a refusal as it is, everything else as a hash."""
    try:
        trace = read(case, lane)
    except TraceError as error:
        return str(error)
    found = hashlib.sha256()
    columns: list[Any] = [trace[name] for name in COLUMN_TYPES]
    columns += [trace.addresses.family, trace.addresses.words]
    columns += [trace.flows.column(name) for name in trace.flows.TYPES]
    columns += trace.quotes.columns.values()
    for column in columns:
        found.update(str(column.dtype).encode() + column.tobytes())
    found.update(repr((sorted(trace.left_out.items()), trace.damage)).encode())
    return found.hexdigest()


class DisagreementError(Exception):
    """The lanes disagree, or one of them broke; the text says how."""


def check(case: Case, lanes: Sequence[Lane]) -> str:
    """What came out of the input in all lanes.

    Raises
    ------
    DisagreementError : it is not the same, took too long, or is an error that is no refusal.
    """
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        found = [digest(case, lane) for lane in lanes]
    except Exception as error:
        raise DisagreementError(f"{type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if len(set(found)) > 1:
        raise DisagreementError(f"{[lane.name for lane in lanes]} found {found}")
    return found[0]


def _too_long(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"not done after {SECONDS} s")


def compile_all(lanes: Sequence[Lane]) -> None:
    """Read one capture in each lane: what is compiled for that is not part of an input's time."""
    for lane in lanes:
        digest(Case(originals()[0], SERVICES, mapped=False, window=64, block=7, keep_raw=True, survey=True), lane)


def fuzz(seed: int, inputs: int, captures: Path | None, keep: Path) -> tuple[int, int, str]:
    """How many inputs were read and how many refused; and what went wrong, if anything."""
    lanes = (interpreted_lane(), compiled_lane(checked=True))
    compile_all(lanes)
    signal.signal(signal.SIGALRM, _too_long)
    refused = 0
    for number, case in zip(range(inputs), cases(seed, captures), strict=False):
        try:
            refused += check(case, lanes).startswith("input: ")
        except DisagreementError as error:
            place = keep / f"fuzz-{seed}-{number}.pcap"
            place.write_bytes(case.content)
            return number, refused, f"{place}: {error}\n{case}"
    return inputs, refused, ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the inputs on several processes; the exit code is 1 if the lanes disagree."""
    parser = argparse.ArgumentParser(description="Random captures through both lanes.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--captures", type=Path, help="folder of more captures to mutate")
    parser.add_argument("--keep", type=Path, default=Path(), help="folder for an input that goes wrong")
    options = parser.parse_args(arguments)
    pieces = max(1, options.inputs // PIECE)
    jobs = [
        (options.seed * 1_000_000 + piece, options.inputs // pieces, options.captures, options.keep)
        for piece in range(pieces)
    ]
    compile_all([compiled_lane(checked=True)])  # once for all processes
    began = time.monotonic()
    done = refused = 0
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for read_now, refused_now, problem in pool.imap_unordered(_fuzz, jobs):
            done, refused = done + read_now, refused + refused_now
            print(f"{done:,} inputs, {refused:,} refused, {time.monotonic() - began:.0f} s", file=sys.stderr)
            if problem:
                print(problem)
                return 1
    print(f"{done:,} captures, {refused:,} of them refused, in {time.monotonic() - began:.0f} s: the lanes agree")
    return 0


def _fuzz(job: tuple[int, int, Path | None, Path]) -> tuple[int, int, str]:
    return fuzz(*job)


if __name__ == "__main__":
    sys.exit(main())
