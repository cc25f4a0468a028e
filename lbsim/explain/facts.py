"""From what was seen of a packet to its explanation: rows become words of results, differences become changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lbsim.engine import tcp
from lbsim.engine.numbers import CONTROLS, ICMP_ERROR, IN, INACTIVE, NO_OUTPUT, ONE_PACKET, OWN, TCP
from lbsim.engine.records import Conn, Dest, Outcome, Packet
from lbsim.engine.sctp_chunks import EVENTS
from lbsim.engine.timers import fire_tick
from lbsim.explain.causes import cause_of, why_given_up
from lbsim.explain.headers import header_of
from lbsim.explain.icmp_names import kind_name
from lbsim.explain.names import METHODS
from lbsim.model.explanation import (
    Command,
    CounterChange,
    Entry,
    Explained,
    Explanation,
    IcmpError,
    Quoted,
    ServiceMatch,
    Template,
    Timer,
    Transition,
)
from lbsim.model.trace import DIRECTION_NAMES
from lbsim.model.verdict import Verdict, reason_of

if TYPE_CHECKING:
    from lbsim.explain.names import Names
    from lbsim.explain.observing import Observed

__all__ = ["explanation_of"]

FTP = 21
_TABLES = ("in", "out", "in only")
#: Field of a row -> what it is called; ``total`` counts active and inactive entries.
_OF_SERVICE = {
    "conns": "connections",
    "in_packets": "in_packets",
    "in_bytes": "in_bytes",
    "out_packets": "out_packets",
    "out_bytes": "out_bytes",
}
_OF_DEST = _OF_SERVICE | {"total": "total", "active": "active", "persist": "persistent", "overload": "overloaded"}


def explanation_of(
    seen: Observed,
    v: Outcome,
    names: Names,
    *,
    number: int,
    time: int,
    commands: Sequence[Command],
    kind: tuple[int, int] | None = None,
) -> Explanation:
    """The explanation of the packet that was seen, whose outcome is ``v``.

    ``kind`` : type and code of an ICMP error, if they are known: the engine does not need them.
    """
    t, p = names.tables, seen.packet
    reason = reason_of(v.reason)
    c = seen.made or seen.found
    return Explanation(
        packet=_packet(p, names, number, time, kind),
        verdict=Verdict(v.verdict).name,
        reason=reason.name,
        when=reason.when,
        cause=cause_of(seen, v, names),
        dest=names.dest(v.dest),
        entry=_how_entry(seen),
        before=_entry(seen.entry, names, seen.dests) if seen.entry is not None else None,
        after=_entry(t.conns[c], names, t.dests) if c and t.conns[c].serial else None,
        given_up=_entry(seen.given_up, names, seen.dests) if seen.given_up is not None else None,
        given_up_why=why_given_up(seen, names),
        service=_service(seen, names),
        template=_template(seen, names),
        decision=seen.decision,
        transition=_transition(seen, names),
        timer=_timer(t.conns[c], names) if c in seen.armed else None,
        header=header_of(p, v, names),
        counters=tuple(_counters(seen, names)),
        commands=tuple(commands),
    )


def _packet(p: Packet, names: Names, number: int, time: int, kind: tuple[int, int] | None) -> Explained:
    known = p.shape != ICMP_ERROR
    version = int(names.tables.addresses[p.dst].family)
    return Explained(
        number=number,
        time=time,
        tick=int(p.tick),
        direction=DIRECTION_NAMES[p.direction],
        sender=_sender(p, names),
        protocol=names.protocol(p.proto) if known else "icmp",
        src=names.place(p, p.src, p.sport),
        dst=names.place(p, p.dst, p.dport),
        flags=names.packet_flags(p.proto, p.tcp_flags) if known else "",
        length=p.length,
        ttl=p.ttl,
        mark=p.mark,
        version=version,
        icmp=None if known else _icmp(p, names, version, kind),
    )


def _sender(p: Packet, names: Names) -> str:
    if p.direction == OWN or (p.direction != IN and names.tables.addresses[p.src].local == 1):
        return "program on the director"
    return "client" if p.direction == IN else "real server"


def _icmp(p: Packet, names: Names, version: int, kind: tuple[int, int] | None) -> IcmpError:
    q = names.tables.quotes[p.quote]
    quoted = Quoted(names.protocol(q.proto), names.quoted(q, q.src, q.sport), names.quoted(q, q.dst, q.dport))
    return IcmpError(
        type=kind[0] if kind else None,
        code=kind[1] if kind else None,
        name=kind_name(version, *kind) if kind else "",
        quoted=quoted if p.quote else None,
    )


# Entries


def _entry(conn: Conn, names: Names, dests: Sequence[Dest]) -> Entry:
    return Entry(
        protocol=names.protocol(conn.proto),
        client=names.end(conn.caddr, conn.cport),
        virtual=names.end(conn.vaddr, conn.vport),
        destination=names.end(conn.daddr, conn.dport),
        dest_is=_condition(dests[conn.dest]) if conn.dest else "",
        method=METHODS[conn.method],
        state=names.state(conn),
        active=conn.marks & INACTIVE == 0,
        one_sided=conn.marks & NO_OUTPUT != 0,
        one_packet=conn.marks & ONE_PACKET != 0,
    )


def _condition(dest: Dest) -> str:
    if dest.available == 0:
        return "removed"
    if dest.weight == 0:
        return "weight 0"
    return "overloaded" if dest.overload else "usable"


def _how_entry(seen: Observed) -> str:
    if seen.made:
        return "bypass" if seen.bypass else "made"
    return "found" if seen.found else "none" if seen.looked_for_entry else ""


def _timer(conn: Conn, names: Names) -> Timer:
    fires = fire_tick(conn.expires, conn.armed)
    return Timer(
        timeout=conn.timeout,
        seconds=conn.timeout / names.host.profile.hz,
        asked=conn.expires,
        fires=fires,
        fires_at=names.time(fires),
    )


def _transition(seen: Observed, names: Names) -> Transition | None:
    step, p = seen.step, seen.packet
    if step is None or step.after is None:
        return None
    event = tcp.EVENTS[tcp.event(p.tcp_flags)] if p.proto == TCP else EVENTS[p.tcp_flags] if p.tcp_flags else ""
    return Transition(
        event=event,
        table=_TABLES[step.table],
        before=names.state(step.before),
        after=names.state(step.after),
        active_before=step.before.marks & INACTIVE == 0,
        active=step.after.marks & INACTIVE == 0,
    )


# Services and templates


def _service(seen: Observed, names: Names) -> ServiceMatch | None:
    t = names.tables
    entry = seen.entry or seen.given_up
    s = seen.service if seen.looked_for_service else t.dests[entry.dest].service if entry is not None else 0
    if not s:
        return None
    row = t.services[s]
    scheduler, flags = names.scheduler(s)
    return ServiceMatch(
        service=names.service(s),
        how=_how(seen, row.fwmark, row.port),
        scheduler=scheduler,
        flags=flags,
        persistence=int(row.timeout) // names.host.profile.hz if row.persistent else None,
        one_packet=bool(row.one_packet),
    )


def _how(seen: Observed, fwmark: int, port: int) -> str:
    """How the service was found; :func:`lbsim.engine.services.find_service` has the order."""
    if not seen.looked_for_service:
        return "entry"
    if fwmark:
        return "mark"
    if port == seen.service_port:
        return "exact"
    return "port 0" if port == 0 else "ftp"


def _template(seen: Observed, names: Names) -> Template | None:
    if seen.template_key is None:
        return None
    t, before = names.tables, seen.template_before
    proto, net, vaddr, vport = seen.template_key
    followed = seen.template if seen.made else 0
    found = before is not None and seen.decision is None
    return Template(
        how="found" if found else "made" if followed else "missing",
        key=(names.protocol(proto), names.end(net, 0), names.end(vaddr, vport)),
        refused=_condition(seen.dests[before.dest]) if before is not None and seen.decision is not None else "",
        entry=_entry(t.conns[followed], names, t.dests) if followed else None,
        controls=int(t.links[followed].controls) if followed and t.conns[followed].marks & CONTROLS else 0,
        timer=_timer(t.conns[followed], names) if followed else None,
    )


# What moved


def _counters(seen: Observed, names: Names) -> Iterator[CounterChange]:
    """The counters that are not what they were, of services first."""
    t = names.tables
    for s, was in enumerate(seen.services):
        for field, called in _OF_SERVICE.items():
            before, after = int(getattr(was, field)), int(getattr(t.services[s], field))
            if before != after and s:
                yield CounterChange(names.service(s), None, called, before, after)
    for d, gone in enumerate(seen.dests):
        for field, called in _OF_DEST.items():
            before, after = int(getattr(gone, field)), int(getattr(t.dests[d], field))
            if before != after and d:
                yield CounterChange(names.service(gone.service), names.dest(d), called, before, after)
