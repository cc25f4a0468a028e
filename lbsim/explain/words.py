"""An explanation as sentences, in the order in which the director goes."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from lbsim.explain.cause_words import cause_words
from lbsim.explain.scheduler_words import candidate_lines, sentences
from lbsim.explain.way_words import icmp_name, leaving, own_error, quoting
from lbsim.model.wording import and_more, counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbsim.model.explanation import CounterChange, Entry, Explanation, Template, Timer

__all__ = ["lines", "sections"]

LABEL = 11  # columns
SHOWN_COMMANDS = 5
ONE_SIDED = (
    "The director has seen no answer of this connection (with direct routing and tunnels they go straight to the "
    "client), so it looks the next state up in the table for connections of which only the client's side is seen."
)
PORT_0 = "one with client port 0 never does"
NO_DEST = ("no_dest", "no_dest_untold", "ftp_no_dest")


def lines(explanation: Explanation, width: int = 100) -> list[str]:
    """What is printed of a packet: a headline, then one paragraph per part."""
    printed = [headline(explanation)]
    for label, told, table in sections(explanation):
        text = textwrap.wrap(" ".join(told), max(width - LABEL - 2, 40), break_long_words=False, break_on_hyphens=False)
        printed += [f"  {(label if i == 0 else ''):<{LABEL}}{line}".rstrip() for i, line in enumerate(text)]
        printed += [f"  {'':<{LABEL}}  {line}".rstrip() for line in table]
    return printed


def headline(explanation: Explanation) -> str:
    """``packet 0 at 0s, tick 4294892296: tcp 203.0.113.1:40001 > 192.168.1.10:80 SYN, 40 bytes, from a client``."""
    p = explanation.packet
    flags = f" {p.flags}" if p.flags and p.flags != "none" else " without flags" if p.flags else ""
    mark = f", mark {p.mark}" if p.mark else ""
    whose = f"a {p.sender}"
    if p.icmp is not None:  # routers send errors, too
        whose = "the clients' side" if p.direction == "in" else "the real servers' side"
    return (
        f"packet {p.number} at {seconds(p.time)}, tick {p.tick}: {icmp_name(p)} {p.src} > {p.dst}{flags}, "
        f"{counted(p.length, 'byte')}{mark}, from {whose}"
    )


def sections(explanation: Explanation) -> list[tuple[str, list[str], list[str]]]:
    """Label, sentences and table lines of each part that there is something to say about."""
    e = explanation
    decision = e.decision
    parts: list[tuple[str, list[str], list[str]]] = [
        ("verdict", _verdict(e), []),
        ("quotes", quoting(e), []),
        ("commands", _commands(e), []),
        ("entry", _entry(e), []),
        ("service", _service(e), []),
        ("template", _template(e.template) if e.template else [], []),
        ("scheduler", _scheduler(e), candidate_lines(decision) if decision and decision.candidates else []),
        ("state", _state(e), []),
        ("timer", _timer(e), []),
        ("leaves", leaving(e, e.header) if e.header else [], []),
        ("counters", [*_counters(e), *own_error(e)], []),
    ]
    return [part for part in parts if part[1]]


def _verdict(e: Explanation) -> list[str]:
    to = f", destination {e.dest}" if e.dest else ""
    return [f"{e.verdict}, reason {e.reason}{to}.", *(cause_words(e, e.cause) if e.cause else [e.when])]


def _commands(e: Explanation) -> list[str]:
    if not e.commands:
        return []
    shown = e.commands[-SHOWN_COMMANDS:]
    left_out = len(e.commands) - len(shown)
    texts = [f"at {seconds(one.at)} {one.text}{f' (refused: {one.error})' if one.error else ''}" for one in shown]
    more = f" ({and_more(left_out)} before)" if left_out else ""
    return [f"Given before this packet{more}: {'; '.join(texts)}."]


# The entry


def _entry(e: Explanation) -> list[str]:
    told = [_given_up(e.given_up, e.given_up_why)] if e.given_up else []
    whose = "the packet" if e.packet.icmp is None else "the connection of the quoted packet"
    match e.entry:
        case "found":
            assert e.before is not None
            return [
                *told,
                f"The connection table has an entry for {whose}: {_row(e.before)}.",
                *_followed(e, e.before),
            ]
        case "made":
            return [*told, *_made(e)]
        case "bypass":
            made = "A new one is made that has no destination: the packet goes on to its own target."
            return [*told, f"{_no_match(e)}{made}"]
        case "none" if not told:
            never = f" that matches: {PORT_0}" if _from_port_0(e) else ""
            return [f"The connection table has no entry for {whose}{never}."]
    return told


def _followed(e: Explanation, entry: Entry) -> list[str]:
    """What an entry means to a client's packet."""
    if e.packet.direction != "in" or e.reason != "known":
        return []
    if not entry.dest_is:
        return ["It has no destination: the packet goes on to its own target, and no scheduler is asked."]
    aside = {
        "weight 0": ["Its destination has weight 0 by now: that keeps new connections away, not this one."],
        "overloaded": ["Its destination is overloaded: that keeps new connections away, not this one."],
    }
    return ["It says where the packet goes: no scheduler is asked.", *aside.get(entry.dest_is, [])]


def _made(e: Explanation) -> list[str]:
    begun = _no_match(e)
    if e.after is None:
        return [
            f"{begun}A new one is made for this packet alone (one-packet scheduling): it is in no table and gone again."
        ]
    return [f"{begun}A new one is made: {_row(e.after)}."]


def _no_match(e: Explanation) -> str:
    """That there was no entry, ahead of what is said of the new one."""
    if e.given_up:
        return ""
    never = f": {PORT_0}, so each packet from there makes another one" if _from_port_0(e) else ""
    return f"No entry matches{never}. "


def _from_port_0(e: Explanation) -> bool:
    """Whether a client's packet, or the client of one that an ICMP error is about, has port 0."""
    quoted = e.packet.icmp.quoted if e.packet.icmp else None
    client = quoted.dst if quoted else e.packet.src
    has_port = client.count(":") == 1 or "]:" in client
    return e.packet.direction == "in" and has_port and client.endswith(":0")


def _row(entry: Entry) -> str:
    marks = ", no answer seen yet" if entry.one_sided else ""
    return (
        f"{entry.protocol} {entry.client} -> {entry.virtual} -> {entry.destination} "
        f"({entry.method}, {entry.state}, {'active' if entry.active else 'inactive'}{marks})"
    )


def _given_up(entry: Entry, why: str) -> str:
    reason = {
        "finished": "it is finished, and conn_reuse_mode lets a new connection take its place",
        "quiesced": "its destination has weight 0, and expire_nodest_conn is on",
        "removed": "its destination was removed, and expire_nodest_conn is on",
    }[why]
    return (
        f"The entry {_row(entry)} matches and is given up: {reason}. Its timer fires at the next tick, "
        "until then it counts."
    )


# The service, its template, its scheduler


def _service(e: Explanation) -> list[str]:
    service = e.service
    if service is None:
        return []
    name = f"{service.service} ({' '.join([service.scheduler, *service.flags])})"
    quoted = e.packet.icmp.quoted if e.packet.icmp and service.how != "entry" else None
    back = "With schedule_icmp the error counts as a packet {} > {}, the quoted one on its way back."
    told = {
        "entry": f"The entry's destination belongs to {name}; no service is looked for.",
        "mark": f"{name} matches by the packet's firewall mark {e.packet.mark}.",
        "exact": f"{name} matches exactly: protocol, address and port.",
        "ftp": f"No service has this port; {name} takes port 20 and those from 1024 on, as FTP sends its data there.",
        "port 0": f"No service has this port; {name} takes every port of its address.",
    }[service.how]
    extra = []
    if service.persistence is not None and service.how != "entry":
        extra.append(f"It is persistent, its templates live {service.persistence} s.")
    if service.one_packet and e.packet.protocol == "udp":
        extra.append("It schedules each UDP packet anew.")
    return [*([back.format(quoted.dst, quoted.src)] if quoted else []), told, *extra]


def _template(template: Template) -> list[str]:
    protocol, net, virtual = template.key
    key = f"{protocol} {net} -> {virtual}"
    none = f"There is no template {key}"
    if template.refused:
        why = "is removed" if template.refused == "removed" else "has weight 0, and expire_quiescent_template is on"
        none = f"The template {key} is not followed any more, as its destination {why}"
    if template.how == "missing":
        return [f"{none}, and no destination for a new one."]
    assert template.entry is not None
    if template.how == "found":
        told = (
            f"The template {key} has destination {template.entry.destination}: the connection goes there, whatever "
            "weight and thresholds say, and no scheduler is asked."
        )
    else:
        told = f"{none}: the scheduler picks, and a new template remembers it."
    timer = [_timer_words("The template's timer", template.timer)] if template.timer else []
    return [told, f"It controls {counted(template.controls, 'entry', 'entries')} now.", *timer]


def _scheduler(e: Explanation) -> list[str]:
    if e.decision is not None:
        listed = ["The list, newest first:"] if e.decision.candidates else []
        return [*sentences(e.decision), *listed]
    if e.reason in NO_DEST and e.service is not None:
        return ["The scheduler is not asked: the service is not persistent, and its port is not the packet's."]
    return []


# What changes


def _state(e: Explanation) -> list[str]:
    step = e.transition
    if step is None:
        return []
    whose = f"the {e.packet.sender}"
    event = f"{_event(e.packet.flags, step.event)} from {whose}" if step.event else f"A packet from {whose}"
    moved = (
        f"moves the entry from {step.before} to {step.after}"
        if step.before != step.after
        else f"leaves it in {step.after}"
    )
    told = [f"{event[0].upper()}{event[1:]} {moved}."]
    if step.active != step.active_before:
        told.append(f"It counts as {'active' if step.active else 'inactive'} at its destination now.")
    if step.table == "in only":
        told.append(ONE_SIDED)
    elif e.before and e.before.one_sided and e.after and not e.after.one_sided:
        told.append("It is the first answer that the director sees: from now on it follows both sides.")
    return told


def _event(flags: str, event: str) -> str:
    """Of TCP the first of RST, SYN, FIN and ACK counts."""
    if event not in flags.split("+"):
        return "a packet with none of RST, SYN, FIN, ACK" if event == "none of them" else event
    return event if flags == event else f"{flags} (counts as {event})"


def _timer(e: Explanation) -> list[str]:
    if e.timer is not None and e.after is not None:
        return [_timer_words("The entry's timer", e.timer)]
    return ["The entry's timer is not set anew."] if e.entry == "found" else []


def _timer_words(whose: str, timer: Timer) -> str:
    late = timer.fires - timer.asked
    at = f"at tick {timer.fires} ({seconds(timer.fires_at)})"
    return (
        f"{whose} is set to {timer.seconds:g} s ({counted(timer.timeout, 'tick')}), to tick {timer.asked}; "
        f"the timer wheel fires it {counted(late, 'tick')} later, {at}, if no packet sets it anew."
    )


def _counters(e: Explanation) -> Iterator[str]:
    rows: dict[tuple[str, str | None], list[CounterChange]] = {}
    for change in e.counters:
        rows.setdefault((change.service, change.dest), []).append(change)
    for (service, dest), changes in rows.items():
        yield f"{dest or service}: {', '.join(map(_moved, changes))}."


def _moved(change: CounterChange) -> str:
    if change.counter == "overloaded":
        return "is overloaded now" if change.after else "is no longer overloaded"
    return f"{change.counter} {change.before:,} -> {change.after:,}"
