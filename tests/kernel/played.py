"""A kernel that is played: the engine's answers in the form, and with the texts, in which a real one gives them.

What it shows is that everything around the comparison works; that the engine is right is for recordings to show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address

from lbsim.kernel.job import (
    CLIENT,
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
)
from lbsim.kernel.rehearsal import rehearse, setup_answers
from lbsim.kernel.reply import Responders
from lbsim.kernel.seen import Listing, Step
from lbsim.model.config import parse_endpoint
from lbsim.model.result import ConnRow

__all__ = ["RELEASE", "Spoil", "listing_text", "played", "played_all"]

RELEASE = "6.1.0-9-played"
LATE = 7_000  # ns

#: Changes what was seen of an event, to play a kernel that does otherwise.
Spoil = Callable[[int, Event, Seen], Seen]

_VERSION = "IP Virtual Server version 1.2.1 (size=4096)\n"
_COLUMNS = (
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
)  # fmt: skip
_STATS = (
    "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n"
    "  -> RemoteAddress:Port\n"
)  # fmt: skip
_CONNS = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"


def played(job: Job, spoil: Spoil | None = None, release: str = RELEASE) -> Observation:
    """What a kernel that agrees with the engine would be seen to do, each event a little late; then spoilt."""
    profile = "linux-6.12.117" if release.startswith("6.12.") else "linux-6.1.192"
    clock = Observation(job.name, release, 4294893568, events=tuple(PacketSeen(e.at + LATE) for e in job.events))
    steps = rehearse(job, clock, profile=profile)
    responders = Responders(job.straight)
    events = [_seen(event, step, responders) for event, step in zip(job.events, steps, strict=True)]
    if spoil:
        events = [spoil(i, job.events[i], seen) for i, seen in enumerate(events)]
    answers = zip(job.setup, setup_answers(job, profile=profile), strict=True)
    setup = tuple(CommandSeen(0, argv, status, output) for argv, (status, output) in answers)
    return clock._replace(setup=setup, events=tuple(events))


def played_all(spoil: Spoil | None = None, release: str = RELEASE) -> Callable[..., list[Observation]]:
    """A stand-in for ``lbsim.kernel.run.run``."""

    def run(jobs: Sequence[Job], way: str = "auto", **_options: object) -> list[Observation]:
        return [played(job, spoil, release) for job in jobs]

    return run


def _seen(event: Event, step: Step, responders: Responders) -> Seen:
    match event:
        case Packet(flow=flow, side=side, content=content):
            arrivals = tuple(Arrival(where, data, step.at) for where, data in step.arrivals)
            if side == CLIENT:
                responders.note(flow, step.arrivals)
            _, sent = (responders.answer(flow, content) or ("", b"")) if side == REPLY else ("", None)
            return PacketSeen(step.at, arrivals, sent)
        case Command(argv=argv):
            assert step.answer
            return CommandSeen(step.at, argv, *step.answer)
        case _:
            assert step.listing
            return ShowSeen(
                step.at, step.at, listing_text(step.listing), _stats_text(step.listing), _conns_text(step.listing)
            )


def listing_text(listing: Listing) -> str:
    """As ``ipvsadm -Ln`` prints it."""
    text = _VERSION + _COLUMNS
    for service, (scheduler, flags) in listing.services.items():
        options = listing.options[service]
        text += f"{_name(service)} {scheduler}{_in_brackets(flags)}{' ' if options else ''}{options}\n"
        for (of, dest), (weight, active, inactive) in listing.dests.items():
            if of == service:
                text += f"  -> {dest:<28} {listing.options[of, dest]:<7} {weight:<6} {active:<10} {inactive:<10}\n"
    return text


def _name(service: str) -> str:
    """The name of a service as ipvsadm has it."""
    protocol, end = service.split(maxsplit=1)
    return f"{protocol.upper():<4} {end.replace(' ipv6', ' IPv6')}"


def _stats_text(listing: Listing) -> str:
    if listing.counters is None:
        return ""
    text = _VERSION + _STATS
    for service in listing.services:
        for (of, dest), c in listing.counters.items():
            if of == service:
                name = f"  -> {dest:<28}" if dest else f"{_name(service):<33}"
                values = (c.connections, c.in_packets, c.out_packets, c.in_bytes, c.out_bytes)
                text += name + "".join(f" {value:>8}" for value in values) + "\n"
    return text


def _conns_text(listing: Listing) -> str:
    return _CONNS + "".join(f"{_conn_line(row)}\n" for row in listing.conns)


def _conn_line(row: ConnRow) -> str:
    ends = " ".join(map(_end, (row.client, row.virtual, row.destination)))
    return f"{row.protocol:<3} {ends} {row.state:<11} {row.expires:>7}"


def _end(text: str) -> str:
    address, port = parse_endpoint(text)
    parsed = ip_address(address)
    return f"{f'{int(parsed):08X}' if isinstance(parsed, IPv4Address) else parsed.exploded} {port:04X}"


def _in_brackets(flags: tuple[str, ...]) -> str:
    return f" ({','.join(flags)})" if flags else ""
