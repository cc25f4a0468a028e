"""A kernel's answer as a :class:`~lbsim.model.result.Result`, and the engine's to exactly the same questions.

Of a packet the wires around the director show what left it: where to, and with which ends. Why that is, the kernel
does not tell, so the reasons are those of :data:`lbsim.model.verdict.SEEN`. The tables are those that the real tools
printed: at the asked moments and at the end; counters at the end only, when the kernel has brought them up to date.
Thresholds are in none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TypeAlias

import numpy as np

from lbsim import __version__
from lbsim.config import parse_command
from lbsim.config.marks import Marks
from lbsim.engine.ipsec import IKE
from lbsim.engine.numbers import AH, ESP, FRAGMENT, ICMP_ERROR, SCTP, TCP, UDP
from lbsim.engine.profile import PROFILES
from lbsim.engine.services import FIRST_UNPRIVILEGED, FTP, FTP_DATA
from lbsim.errors import LbsimError
from lbsim.kernel.job import (
    ASKING,
    DIRECTOR,
    REPLY,
    Arrival,
    Command,
    CommandSeen,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Show,
    ShowSeen,
    administers,
)
from lbsim.kernel.job_rules import marks_of
from lbsim.kernel.lots import LeadingLots, has_lots
from lbsim.kernel.reply import Responders, put_together
from lbsim.kernel.seen import Listing, listing_of, options_of, profile_of
from lbsim.listing.table import METHODS
from lbsim.model.config import (
    AddDest,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DestId,
    DirectorConfig,
    EditDest,
    Protocol,
    ServiceId,
    TimedCommand,
)
from lbsim.model.finding import Finding
from lbsim.model.result import (
    RESULT_COLUMNS,
    UNTOLD,
    Counters,
    Destination,
    DestRow,
    Moment,
    Provenance,
    Result,
    ServiceRow,
)
from lbsim.model.trace import IntColumn, Trace
from lbsim.model.verdict import Reason, reason_named
from lbsim.packet.headers import ICMP, ICMPV6, Headers, parse
from lbsim.packet.quoted import quoted
from lbsim.packet.tunnel import unwrap
from lbsim.simulate import simulate

__all__ = ["commands_of", "engine_result", "result_of"]

NO_MARKS = Marks()
_METHODS = {shown: method for method, shown in METHODS.items()}
_NUMBERS = {"tcp": TCP, "udp": UDP, "sctp": SCTP, "fwm": TCP}
_BY_NUMBER: dict[int, Protocol] = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
_TRANSLATED, _UNTRANSLATED, _ANSWERED_ICMP, _ANSWERED, _NOTHING, _DELIVERED = map(
    reason_named,
    ("seen_translated", "seen_untranslated", "seen_icmp", "seen_answer", "seen_nothing", "seen_delivered"),
)
_NOT_SENT, _STRAIGHT = reason_named("no_responder"), reason_named("straight_reply")
_OF_THE_TRACE = ("time", "flow", "direction", "proto", "length", "src", "sport", "dst", "dport")
_NOWHERE = (-1, 0, -1, 0)

_End: TypeAlias = tuple[bytes, int]  # address as it lies on the wire, port
_Ends: TypeAlias = tuple[int, int, int, int]  # source and target: numbers of their addresses, ports


def result_of(
    trace: Trace,
    job: Job,
    seen: Observation,
    *,
    moments: Collection[int] = (),
    commands: Sequence[AdminCommand] | None = None,
    scenario: str = "",
    digest: str = "",
    seed: int = 0,
) -> Result:
    """What a kernel did with the trace; its parts, as far as a kernel tells them, are those that ``simulate`` makes.

    Parameters
    ----------
    trace, job : what :func:`lbsim.kernel.scenario_job.job_of` was given, and what it made of that.
    moments : of the times (ns) at which the tables were looked at, those that the result shows.
    commands : the job's admin commands in their order, with the places where they stand; None: read from the job.

    Returns
    -------
    Result : columns in the trace's order, of the packets that the job sends. Commands that the kernel refused are
        findings.

    Raises
    ------
    LbsimError : the job was not carried out to its end.
    """
    if seen.error:
        raise LbsimError(f"the replay on linux-{seen.release} broke off: {seen.error}")
    done = list(_carried_out(job, seen, commands))
    life = _Life.of(command for command, said in done if said.status == 0)
    *looks, (end, at_end), (_, settled) = (
        (event, row) for event, row in zip(job.events, seen.events, strict=True) if isinstance(row, ShowSeen)
    )
    final = _moment(end.at, at_end, _settled(settled, life))
    addresses = {address.packed: i for i, address in enumerate(trace.addresses)}
    columns = _columns(trace, job, seen, life, addresses)
    return Result(
        provenance=Provenance(
            lbsim=__version__,
            side="kernel",
            lane="",
            kernel=seen.release,
            scenario=scenario,
            digest=digest,
            seed=seed,
            hz=PROFILES[profile_of(seen.release)].hz,
            start_jiffies=seen.jiffies,
        ),
        addresses=tuple(str(ip_address(packed)) for packed in addresses),
        destinations=tuple(_destinations(life, final)),
        columns=columns,
        moments=tuple(_moment(look.at, row) for look, row in (*looks, (end, at_end)) if look.at in moments),
        final=final,
        findings=tuple(_findings(job, seen, done)),
        left_out=dict(trace.left_out),
        damage=trace.damage,
    )


def engine_result(
    config: DirectorConfig,
    trace: Trace,
    job: Job,
    seen: Observation,
    *,
    timeline: Sequence[TimedCommand] = (),
    moments: Collection[int] = (),
    sysctls: Mapping[str, int] | None = None,
    marks: Marks = NO_MARKS,
    straight_replies: Sequence[IPv4Network | IPv6Network] = (),
    mtu: Mapping[IPv4Network | IPv6Network, int] | None = None,
    scenario: str = "",
    digest: str = "",
    seed: int = 0,
) -> Result:
    """What ``simulate`` answers to what the kernel really was asked: from its tick on, at the times that it saw.

    A packet that leaves a little late may belong to another tick, and so may all that follows from it. The times in
    the result are those of the trace, as in :func:`result_of`; there are no series. Lots of twos fall as the kernel's.
    """
    rows = list(zip(job.events, seen.events, strict=True))
    sent = [row.at for event, row in rows if isinstance(event, Packet)]
    given = [row.at for event, row in rows if isinstance(event, Command)]
    planned = {row.at: event.at for event, row in rows if isinstance(event, Show)}
    *looks, end, _ = planned
    n = len(sent)
    columns = {name: column[:n] for name, column in trace.columns.items()}
    made = simulate(
        config,
        replace(trace, columns=columns | {"time": np.array(sent, dtype="i8")}),
        timeline=[TimedCommand(at, timed.command) for at, timed in zip(given, timeline, strict=False)],
        moments=[at for at in (*looks, end) if planned[at] in moments],
        until=end,
        profile=profile_of(seen.release),
        sysctls=sysctls,
        marks=marks,
        straight_replies=straight_replies,
        mtu=mtu,
        start_jiffies=seen.jiffies,
        scenario=scenario,
        digest=digest,
        seed=seed,
        samples=0,
        columns=True,
        watch=LeadingLots(job, seen) if has_lots(job) else None,
    )
    return replace(
        made,
        columns={**made.columns, "time": trace["time"][:n]},
        moments=tuple(replace(moment, at=planned[moment.at]) for moment in made.moments),
        final=replace(made.final, at=planned[end]),
    )


# Commands


def commands_of(job: Job) -> Iterator[AdminCommand]:
    """The job's admin commands, in their order.

    Raises
    ------
    ConfigError : one of them is not understood.
    """
    return (parse_command(" ".join(argv)) for argv in job.commands() if administers(argv))


def _carried_out(
    job: Job, seen: Observation, commands: Sequence[AdminCommand] | None
) -> Iterator[tuple[AdminCommand, CommandSeen]]:
    """Each admin command with what the kernel's tool said to it."""
    said = (row for row in (*seen.setup, *seen.events) if isinstance(row, CommandSeen) and administers(row.argv))
    return zip(commands_of(job) if commands is None else commands, said, strict=True)


def _findings(job: Job, seen: Observation, done: Sequence[tuple[AdminCommand, CommandSeen]]) -> Iterator[Finding]:
    why = f"linux-{seen.release} refuses"
    for row in seen.setup:
        if row.status != 0 and not administers(row.argv):
            yield Finding("error", job.name, _refused(" ".join(row.argv), row), why)
    for command, row in done:
        if row.status != 0:
            yield Finding("error", str(command.place), _refused(command.text or " ".join(row.argv), row), why)


def _refused(text: str, row: CommandSeen) -> str:
    return f"{text}: {' '.join(row.output.split())} (exit {row.status})"


@dataclass(frozen=True)
class _Life:
    """The destinations that ever were, in the order in which they were first added.

    weights : each with its last weight.
    removed : those that were removed at some time, even if they came back.
    renewed : those of them that were removed with their service.
    """

    weights: dict[tuple[ServiceId, DestId], int] = field(default_factory=dict)
    removed: set[tuple[ServiceId, DestId]] = field(default_factory=set)
    renewed: set[tuple[ServiceId, DestId]] = field(default_factory=set)

    @classmethod
    def of(cls, commands: Iterator[AdminCommand]) -> _Life:
        """What these commands, none of them refused, lead to."""
        life = cls()
        for command in commands:
            match command:
                case AddDest(service, dest, _, weight) | EditDest(service, dest, _, weight):
                    life.weights[service, dest] = weight
                case DeleteDest(service, dest):
                    life.removed.add((service, dest))
                case DeleteService(service):
                    life.renewed.update(key for key in life.weights if key[0] == service)
                case Clear():
                    life.renewed.update(life.weights)
                case _:
                    pass
        life.removed.update(life.renewed)
        return life


# Tables


def _settled(look: ShowSeen, life: _Life) -> dict[tuple[str, str], Counters]:
    """The counters at the end, but for those of destinations whose service was deleted and made again.

    These may hold up to two seconds of the time before: facts, packet-path.md section 11.3.
    """
    unsure = {(str(service), str(dest)) for service, dest in life.renewed}
    return {key: row for key, row in (listing_of(look).counters or {}).items() if key not in unsure}


def _moment(at: int, look: ShowSeen, counters: Mapping[tuple[str, str], Counters] | None = None) -> Moment:
    """The tables of a look that was planned for ``at``; without counters these are not told."""
    listing = listing_of(look)
    names = sorted(listing.services, key=lambda name: _address_order(ServiceId.parse(name)))
    services = tuple(_service_row(listing, name, counters or {}) for name in names)
    return Moment(at, services, listing.conns, took=max(0, look.until - at))


def _address_order(service: ServiceId) -> tuple[int, int, int, int]:
    address = service.address
    number = 1 << 128 if service.fwmark else int(address)  # those by firewall mark come last
    return address.version, number, _NUMBERS[service.protocol], service.port or service.fwmark


def _service_row(listing: Listing, name: str, counters: Mapping[tuple[str, str], Counters]) -> ServiceRow:
    scheduler, flags = listing.services[name]
    dests = tuple(
        DestRow(dest, *numbers, counters.get((name, dest), UNTOLD), _METHODS[listing.options[name, dest]], None, None)
        for (service, dest), numbers in listing.dests.items()
        if service == name
    )
    options = options_of(listing.options[name], ServiceId.parse(name).address.version)
    return ServiceRow(name, scheduler, flags, counters.get((name, ""), UNTOLD), dests, options)


def _destinations(life: _Life, final: Moment) -> Iterator[Destination]:
    """Counters of one that was removed are not told: those of the row that came back may have begun anew."""
    listed = {(service.service, dest.dest): dest for service in final.services for dest in service.dests}
    for (service, dest), weight in life.weights.items():
        row = listed.get((str(service), str(dest)))
        if row is None:
            yield Destination(str(service), str(dest), False, weight, -1, -1, UNTOLD)
        else:
            counters = UNTOLD if (service, dest) in life.removed else row.counters
            yield Destination(str(service), str(dest), True, row.weight, row.active, row.inactive, counters)


# Packets


def _columns(
    trace: Trace, job: Job, seen: Observation, life: _Life, addresses: dict[bytes, int]
) -> dict[str, IntColumn]:
    """The per-packet columns; addresses that the trace does not have are added to ``addresses``."""
    wires = _Wires(job, life, addresses)
    events = [
        (event, row)
        for event, row in zip(job.events, seen.events, strict=True)
        if isinstance(event, Packet) and isinstance(row, PacketSeen)
    ]
    ports = {i: (int(trace["sport"][i]), int(trace["dport"][i])) for i in _fragments(trace)}
    fates = [wires.fate(event, row, ports.get(i)) for i, (event, row) in enumerate(events)]
    n = len(fates)
    columns = {name: trace[name][:n].astype(RESULT_COLUMNS[name]) for name in _OF_THE_TRACE}
    columns["direction"] = trace.answers[:n].astype(RESULT_COLUMNS["direction"])
    read = {
        "verdict": [fate.reason.verdict for fate in fates],
        "reason": [fate.reason.code for fate in fates],
        "dest": [fate.dest for fate in fates],
    }
    for i, name in enumerate(("new_src", "new_sport", "new_dst", "new_dport")):
        read[name] = [fate.ends[i] for fate in fates]
    for i, fate in enumerate(fates):
        if fate.sender is not None:
            columns["src"][i], columns["sport"][i] = fate.sender
    return columns | {name: np.array(values, dtype=RESULT_COLUMNS[name]) for name, values in read.items()}


def _fragments(trace: Trace) -> list[int]:
    """The packets that were sent as fragments."""
    return sorted({*trace.datagrams.rows, *np.flatnonzero(trace["shape"] == FRAGMENT).tolist()})


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of a packet. ``sender``: number of the address and port of whoever sent a reply."""

    reason: Reason
    dest: int = -1
    ends: _Ends = _NOWHERE
    sender: tuple[int, int] | None = None


class _Wires:
    """Reads the wires around the director: which packet that left it belongs to which that came."""

    def __init__(self, job: Job, life: _Life, addresses: dict[bytes, int]) -> None:
        self._places = {f"r:{address}": ip_address(address).packed for address in job.servers}
        self._own = {ip_address(address) for address in job.vips}
        self._vips = {address.packed for address in self._own}
        self._rows = {key: i for i, key in enumerate(life.weights)}
        self._services = {service for service, _ in self._rows}
        self._marks = marks_of(job)
        self._addresses = addresses
        self._responders = Responders(job.straight)

    def fate(self, event: Packet, row: PacketSeen, ports: tuple[int, int] | None) -> _Fate:
        """What became of a packet that was sent. ``ports`` : of a fragment, those of its datagram; of a reply, the
        virtual one.
        """
        is_reply = event.side == REPLY
        if is_reply and ports is not None and ports[0] == 0:
            return _Fate(_NOTHING)  # of a fragment ahead of the first one no result says who sends it, and whether
        if is_reply and not row.sent:
            return _Fate(_STRAIGHT if self._responders.is_straight(event.flow) else _NOT_SENT, sender=(-1, 0))
        if event.side in ASKING:
            self._responders.note(event.flow, ((arrival.where, arrival.content) for arrival in row.arrivals))
        sent = parse(row.sent or event.content)
        assert sent is not None, "a job sends IP packets only"
        if ports is not None:
            sport = self._responders.port_of(event.flow) if is_reply else ports[0]
            sent = sent._replace(sport=sport, dport=ports[1])
        fate = self._fate(sent, row.sent or event.content, row.arrivals, event.side)
        return replace(fate, sender=(self._number(sent.src), sent.sport)) if is_reply else fate

    def _fate(self, sent: Headers, data: bytes, arrivals: Sequence[Arrival], side: str) -> _Fate:
        """What goes back to the sender is an answer; anything else is the packet itself, sent on."""
        whole = put_together((arrival.where, arrival.content) for arrival in arrivals)
        contents = [(where, unwrap(content) or content) for where, content in whole]
        left = [(where, content, headers) for where, content in contents if (headers := parse(content))]
        for where, content, new in left:
            if where == DIRECTOR:
                return self._at_director(sent, new, side)
            if side == DIRECTOR or new.dst != sent.src:
                if new.shape == ICMP_ERROR and self._is_virtual(sent):
                    return self._error_sent_on(sent, data, where, content, new)
                return self._sent_on(sent, where, new)
        if not left:
            return _Fate(_NOTHING)
        return _Fate(_ANSWERED_ICMP if left[0][2].proto in (ICMP, ICMPV6) else _ANSWERED)

    def _error_sent_on(self, sent: Headers, data: bytes, where: str, content: bytes, new: Headers) -> _Fate:
        """An ICMP error has no ports: those of the packet that it quotes say what it is about."""
        about, now = (quoted(packet, headers, lambda *_: False) for packet, headers in ((data, sent), (content, new)))
        if about is None or now is None:
            return _Fate(_TRANSLATED, ends=(self._number(new.src), 0, self._number(new.dst), 0))
        service = self._service(about.packet.proto, about.packet.src, about.packet.sport)
        dest = self._row(service, self._places.get(where, new.dst), now.packet.sport)
        port = now.packet.sport if new.dst != sent.dst else 0
        return _Fate(_TRANSLATED, dest, (self._number(new.src), 0, self._number(new.dst), port))

    def _sent_on(self, sent: Headers, where: str, new: Headers) -> _Fate:
        ends = self._number(new.src), new.sport, self._number(new.dst), new.dport
        sent, new = _as_key_exchange(sent), _as_key_exchange(new)
        if not self._is_virtual(sent):
            return self._answer_sent_on(sent, new, ends)
        service = self._service(sent.proto, sent.dst, sent.dport)
        dest = self._row(service, self._places.get(where, new.dst), new.dport)
        return _Fate(_TRANSLATED, dest, ends)

    def _answer_sent_on(self, sent: Headers, new: Headers, ends: _Ends) -> _Fate:
        by_program = sent.src in self._vips
        changed = (new.src, new.sport) != (sent.src, sent.sport)
        service = self._service(sent.proto, new.src, new.sport) if changed or by_program else None
        dest = self._row(service, sent.src, sent.sport)
        if by_program and dest < 0:  # not over NAT, as nothing changed
            dest = self._own_row(service)
        if service is None or (dest < 0 and not changed):
            return _Fate(_UNTRANSLATED)
        return _Fate(_TRANSLATED, dest, ends)

    def _at_director(self, sent: Headers, new: Headers, side: str) -> _Fate:
        """What a program on the director got: an answer to it, what the director's stack refuses of its own packet, or
        a request.
        """
        if side == REPLY:
            return self._answer_sent_on(sent, new, (self._number(new.src), new.sport, self._number(new.dst), new.dport))
        if side == DIRECTOR and (new.dst, new.dport) == (sent.src, sent.sport):
            return _Fate(_ANSWERED)
        return self._delivered(sent, new)

    def _delivered(self, sent: Headers, new: Headers) -> _Fate:
        """A packet that a program on the director got: over NAT it was sent to the destination's end, else to that of
        the service.
        """
        service = self._service(sent.proto, sent.dst, sent.dport)
        dest = self._row(service, new.dst, new.dport)
        if dest < 0 and new.dst == sent.dst:
            dest = self._own_row(service)
        ends = self._number(new.src), new.sport, self._number(new.dst), new.dport
        return _Fate(_DELIVERED, dest, ends)

    def _own_row(self, service: ServiceId | None) -> int:
        """The row of the service's destination that is the director itself, -1 if there is none."""
        rows = {to.address: row for (of, to), row in self._rows.items() if of == service}
        return max((row for to, row in rows.items() if to in self._own or to.is_loopback), default=-1)

    def _is_virtual(self, sent: Headers) -> bool:
        if sent.dst in self._vips:
            return True
        target = ip_address(sent.dst)
        mark = self._marks.mark_of(target, sent.proto, sent.dport)
        return any(target in network for network in self._marks.local) or self._marks.delivers(target, mark)

    def _service(self, proto: int, address: bytes, port: int) -> ServiceId | None:
        """The service that packets to this end are for: by their mark, else by address and port, else by address."""
        end, protocol = ip_address(address), _BY_NUMBER.get(proto)
        if protocol is None:
            return None
        mark = self._marks.mark_of(end, proto, port)
        names = [ServiceId.marked(mark, end.version)] if mark else []
        names += [ServiceId(protocol, end, port)]
        if protocol == "tcp" and (port == FTP_DATA or port >= FIRST_UNPRIVILEGED):
            names += [ServiceId(protocol, end, FTP)]
        names += [ServiceId(protocol, end, 0)]
        return next((name for name in names if name in self._services), None)

    def _row(self, service: ServiceId | None, address: bytes, port: int) -> int:
        """The row of a destination, -1 if there is none; one of port 0, or of an FTP service, has every port."""
        if service is None:
            return -1
        end = ip_address(address)
        if service.port == FTP:
            ports = {to.port: row for (of, to), row in self._rows.items() if (of, to.address) == (service, end)}
            return ports.get(port, max(ports.values(), default=-1))
        return max(self._rows.get((service, DestId(end, number)), -1) for number in (port, 0))

    def _number(self, address: bytes) -> int:
        return self._addresses.setdefault(address, len(self._addresses))


def _as_key_exchange(headers: Headers) -> Headers:
    """The headers; of an AH or ESP packet, which goes where the key exchange of its ends goes, those of that."""
    if headers.proto not in (AH, ESP):
        return headers
    return headers._replace(proto=UDP, sport=IKE, dport=IKE)
