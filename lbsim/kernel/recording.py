"""What a kernel did, kept beside the scenario: compact, readable text that answers as the kernel did, without it.

Per event a recording holds by how much it was late and what left the director: where to, and a CRC-32 of the bytes.
The bytes themselves are there only if they cannot be made again from those that came in (:mod:`lbsim.kernel.rebuild`).
Then there are the listings of the real tools. A recording is good for exactly one job: the checksum of the job is in
it.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lbsim.errors import LbsimError
from lbsim.kernel.job import (
    ASKING,
    CLIENT,
    DIRECTOR,
    REPLY,
    Arrival,
    Command,
    CommandSeen,
    Event,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Seen,
    ShowSeen,
    server,
)
from lbsim.kernel.rebuild import Rebuilder, crc_of
from lbsim.kernel.reply import Responders
from lbsim.kernel.seen import Step, all_comparable, steps_of

__all__ = ["BUILT_WITHOUT", "Recording", "checksummed", "path_of", "read", "write"]

FORMAT = "lbsim-recording/2"
#: Schedulers that lbsim has and Debian's kernel of a series has not: scenarios with them have no recording.
BUILT_WITHOUT = {"6.1": frozenset({"twos"})}
_CONNS_HEAD = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"


class _Left(NamedTuple):
    """A packet that left the director: where to, the CRC-32 of its bytes, and these if they cannot be made again."""

    where: str
    crc: bytes
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A kernel's steps with checksums in place of bytes, and what the kernel said.

    events : what was seen, without the packets; ``left`` : those, per event.
    """

    path: Path
    job: Job
    release: str
    command: str
    jiffies: int
    setup: tuple[CommandSeen, ...]
    events: tuple[Seen, ...]
    left: tuple[tuple[_Left, ...], ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """What verification compares, as :func:`checksummed` makes it."""
        arrivals = [[(one.where, one.crc) for one in left] for left in self.left]
        return tuple(map(_with_arrivals, steps_of(self.timing), arrivals))

    @property
    def timing(self) -> Observation:
        """The kernel's clock and answers, without any packets: all that a rehearsal needs."""
        return Observation(self.job.name, self.release, self.jiffies, self.setup, self.events)

    def observation(self) -> Observation:
        """What was seen, with all the bytes; without what the kernel picks at random in its own errors.

        Raises
        ------
        LbsimError : bytes cannot be made again, because lbsim itself rewrites otherwise than the kernel did.
        """
        return self.timing._replace(events=tuple(_rebuilt(self)))


def path_of(scenario: Path, kernel: str) -> Path:
    """Where the recording of a scenario lies: ``walkthrough.linux-6.1.recording.json`` beside it."""
    return scenario.with_name(f"{scenario.name.removesuffix('.lbsim.yaml')}.linux-{kernel}.recording.json")


def checksummed(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps with a CRC-32 in place of each packet's bytes."""
    for step in steps:
        yield _with_arrivals(step, [(where, crc_of(data)) for where, data in step.arrivals])


def write(path: Path, job: Job, observation: Observation, command: str) -> None:
    """Write a recording; the file is complete or not there at all.

    Raises
    ------
    LbsimError : the file cannot be written.
    """
    rebuilder, senders = Rebuilder(job), _Senders(job)
    rows = []
    for event, seen in zip(job.events, observation.events, strict=True):
        sent = senders.sent(event)
        arrivals = all_comparable([(arrival.where, arrival.content) for arrival in seen.arrivals])
        senders.note(event, arrivals)
        words = [_word(job, rebuilder, event, sent, *arrival) for arrival in arrivals]
        rows.append(_row(event, seen, words))
    document: dict[str, Any] = {
        "format": FORMAT,
        "kernel": observation.release,
        "command": command,
        "job": _digest_of(job),
        "jiffies": observation.jiffies,
        "setup": [[seen.status, seen.output] for seen in observation.setup],
        "events": rows,
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
        raise LbsimError(
            f"not a recording; expected the format {FORMAT!r}, lbsim kernel record makes it", file=str(path)
        )
    if document.pop("checksum", None) != _checksum(document):
        raise LbsimError("the recording was changed by hand; lbsim kernel record makes a new one", file=str(path))
    if document["job"] != _digest_of(job):
        raise LbsimError(
            "the scenario was changed since this was recorded; lbsim kernel record makes a new one", file=str(path)
        )
    places = _places(job)
    events = [_seen(event, row) for event, row in zip(job.events, document["events"], strict=True)]
    return Recording(
        path,
        job,
        document["kernel"],
        document["command"],
        document["jiffies"],
        tuple(CommandSeen(0, argv, *row) for argv, row in zip(job.setup, document["setup"], strict=True)),
        tuple(seen for seen, _ in events),
        tuple([tuple([_left(places, word) for word in words]) for _, words in events]),
    )


@lru_cache(maxsize=1)  # the recordings of a scenario are read one after the other
def _digest_of(job: Job) -> str:
    return hashlib.sha256(job.to_json(bytes.hex).encode()).hexdigest()


def _checksum(document: dict[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class _Senders:
    """The bytes of replies: who answers is who got the flow's last request, as on the bench."""

    def __init__(self, job: Job) -> None:
        self._responders = Responders(job.straight)

    def sent(self, event: Event) -> bytes | None:
        """A reply as it is sent, b"" if nobody is there to send it; None for any other event."""
        if not isinstance(event, Packet) or event.side != REPLY:
            return None
        _, sent = self._responders.answer(event.flow, event.content) or ("", b"")
        return sent

    def note(self, event: Event, arrivals: Iterable[tuple[str, bytes]]) -> None:
        """Note where a packet arrived."""
        if isinstance(event, Packet) and event.side in ASKING:
            self._responders.note(event.flow, arrivals)


# Writing


def _row(event: Event, seen: Seen, words: list[str]) -> list[Any] | str:
    """One event: how late (ns), and what came of it."""
    late = seen.at - event.at
    match seen:
        case PacketSeen():
            return " ".join([str(late), *words])
        case CommandSeen():
            return [late, seen.status, seen.output, *words]
        case ShowSeen():
            tables = seen.listing.splitlines(), seen.stats.splitlines(), _grouped(seen.conns)
            return [late, seen.until - seen.at, *tables, *words]


def _word(job: Job, rebuilder: Rebuilder, event: Event, sent: bytes | None, where: str, content: bytes) -> str:
    """Where to, servers numbered from 1 in the job's order; CRC-32; if need be the bytes: ``2=cbf43926``."""
    crc = crc_of(content)
    word = f"{_short(job, where)}={crc.hex()}"
    again = rebuilder.rebuilt(event, sent or event.content, where, crc) if isinstance(event, Packet) else None
    return word if again == content else f"{word}={b64encode(content).decode()}"


def _short(job: Job, where: str) -> str:
    if where in (CLIENT, DIRECTOR):
        return where
    address = where.removeprefix("r:")
    return str(job.servers.index(address) + 1) if address in job.servers else "?"


def _grouped(conns: str) -> dict[str, list[str]]:
    """``/proc/net/ip_vs_conn``, whose order is random, by all but the client's end and the seconds left."""
    groups: dict[str, list[str]] = {}
    for line in sorted(conns.splitlines()[1:]):
        protocol, address, port, *group, expires = line.split()[:9]
        groups.setdefault(" ".join((protocol, *group)), []).append(f"{address} {port} {expires}")
    return groups


# Reading


def _seen(event: Event, row: list[Any] | str) -> tuple[Seen, Sequence[str]]:
    """What was seen of an event, without the packets; and the words for these."""
    if isinstance(row, str):
        late, *words = row.split()
        return PacketSeen(event.at + int(late)), words
    at = event.at + row[0]
    if isinstance(event, Command):
        return CommandSeen(at, event.argv, row[1], row[2]), row[3:]
    listing, stats = ("".join(f"{line}\n" for line in lines) for lines in row[2:4])
    return ShowSeen(at, at + row[1], listing, stats, _ungrouped(row[4])), row[5:]


def _ungrouped(groups: dict[str, list[str]]) -> str:
    lines = []
    for group, rows in groups.items():
        protocol, rest = group.split(" ", 1)
        for row in rows:
            address, port, expires = row.split()
            lines.append(f"{protocol} {address} {port} {rest} {expires}\n")
    return _CONNS_HEAD + "".join(sorted(lines))


def _places(job: Job) -> dict[str, str]:
    """The places by their short names."""
    known = {CLIENT: CLIENT, DIRECTOR: DIRECTOR, "?": server("?")}
    return known | {str(i): server(name) for i, name in enumerate(job.servers, start=1)}


def _left(places: Mapping[str, str], word: str) -> _Left:
    where, crc, *content = word.split("=", 2)
    return _Left(places[where], bytes.fromhex(crc), b64decode(content[0]) if content else None)


def _with_arrivals(step: Step, arrivals: Sequence[tuple[str, bytes]]) -> Step:
    return Step(step.at, tuple(arrivals), *step[2:]) if arrivals else step


def _rebuilt(kept: Recording) -> Iterator[Seen]:
    """The events with their packets."""
    rebuilder, senders = Rebuilder(kept.job), _Senders(kept.job)
    for event, seen, left in zip(kept.job.events, kept.events, kept.left, strict=True):
        sent = senders.sent(event)
        arrivals = tuple(Arrival(one.where, _content(kept, rebuilder, event, sent, one), seen.at) for one in left)
        senders.note(event, ((arrival.where, arrival.content) for arrival in arrivals))
        if isinstance(seen, PacketSeen):
            yield PacketSeen(seen.at, arrivals, sent)
        else:
            yield seen._replace(arrivals=arrivals)


def _content(kept: Recording, rebuilder: Rebuilder, event: Event, sent: bytes | None, left: _Left) -> bytes:
    content = left.content
    if content is None and isinstance(event, Packet):
        content = rebuilder.rebuilt(event, sent or event.content, left.where, left.crc)
    if content is None:
        message = f"the packet sent at {event.at} ns cannot be made again from its checksum"
        raise LbsimError(f"{message}; lbsim kernel record makes a new recording", file=str(kept.path))
    return content
