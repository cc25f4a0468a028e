"""Why a director did what it did with one packet: facts in plain values, ``dataclasses.asdict`` of them is the JSON.

All numbers are the engine's own, read before, while and after it received the packet. Ends are written as in every
result, ``10.0.0.11:80``; times are nanoseconds since time 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Candidate",
    "Cause",
    "Command",
    "CounterChange",
    "Decision",
    "Entry",
    "Explained",
    "Explanation",
    "HeaderChange",
    "IcmpError",
    "Input",
    "Quoted",
    "ServiceMatch",
    "StateChange",
    "Template",
    "Timer",
    "Transition",
]

Value: TypeAlias = "int | str | bool | tuple[str, ...] | tuple[int, ...] | None"


@dataclass(frozen=True, slots=True)
class Quoted:
    """The packet that an ICMP error is about: its ends as they were on its way, without ports if it has none."""

    protocol: str
    src: str
    dst: str


@dataclass(frozen=True, slots=True)
class IcmpError:
    """What an ICMP error says.

    Attributes
    ----------
    type, code : of the message; None if they are not known.
    name : what they are called, ``""`` likewise.
    quoted : None if it cannot be read. Of an error about a tunnel's packet, the packet inside.
    """

    type: int | None
    code: int | None
    name: str
    quoted: Quoted | None


@dataclass(frozen=True, slots=True)
class Explained:
    """The packet that is explained.

    Attributes
    ----------
    number : of the trace's packets, counted from 0 as in results and comparisons.
    direction : ``in`` from a client, ``out`` from a real server.
    sender : ``client``, ``real server``, or ``program on the director``, which may be either.
    flags : of TCP ``SYN+ACK`` or ``none``, of SCTP the event, else ``""``.
    version : of IP, 4 or 6.
    icmp : what it says if it is an ICMP error.
    """

    number: int
    time: int
    tick: int
    direction: str
    sender: str
    protocol: str
    src: str
    dst: str
    flags: str
    length: int
    ttl: int
    mark: int
    version: int
    icmp: IcmpError | None


@dataclass(frozen=True, slots=True)
class ServiceMatch:
    """The service that a packet belongs to.

    Attributes
    ----------
    how : ``mark``, ``exact``, ``ftp`` (the service of port 21 takes port 20 and high ports), ``port 0``; ``entry`` if
        nobody looked for a service, because the connection entry says which one it is.
    persistence : seconds that a template lives; None: the service is not persistent.
    """

    service: str
    how: str
    scheduler: str
    flags: tuple[str, ...]
    persistence: int | None
    one_packet: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection entry or template at one moment.

    Attributes
    ----------
    dest_is : its destination is ``usable``, has ``weight 0``, is ``overloaded`` or ``removed``; ``""`` if it has none.
    one_sided : no answer was seen yet, and with this forwarding method perhaps none will be.
    """

    protocol: str
    client: str
    virtual: str
    destination: str
    dest_is: str
    method: str
    state: str
    active: bool
    one_sided: bool
    one_packet: bool


@dataclass(frozen=True, slots=True)
class Timer:
    """An entry's timer as this packet set it.

    Attributes
    ----------
    timeout, seconds : what it was set to.
    asked : the tick that is this far away.
    fires : the tick at which the timer wheel really fires it, ``fires_at`` the same as time.
    """

    timeout: int
    seconds: float
    asked: int
    fires: int
    fires_at: int


@dataclass(frozen=True, slots=True)
class Transition:
    """How a packet moved an entry's state.

    ``table`` : the transitions that were looked up: ``in``, ``out``, or ``in only`` of an entry without answers.
    """

    event: str
    table: str
    before: str
    after: str
    active_before: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A persistent service's template of the client's net.

    Attributes
    ----------
    how : ``found``, ``made``, or ``missing``: there is none, and no destination for one.
    key : what it is looked for by: protocol, client net, virtual end.
    refused : one was found, but its destination is ``removed``, or with expire_quiescent_template has ``weight 0``.
    """

    how: str
    key: tuple[str, str, str]
    refused: str
    entry: Entry | None
    controls: int  # entries, after the packet
    timer: Timer | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A destination as the scheduler saw it.

    Attributes
    ----------
    load : what the scheduler compares, None if it compares no loads.
    share : buckets or slots that it has in the scheduler's table, None without such a table.
    skipped : why it cannot be picked: ``weight 0``, ``overloaded``, ``overflowed``, ``lap``; else ``""``.
    """

    dest: str
    weight: int
    active: int
    inactive: int
    total: int
    upper: int
    relief: int
    load: int | None
    share: int | None
    skipped: str
    picked: bool


@dataclass(frozen=True, slots=True)
class Input:
    """A number or name that the decision depends on, or that was found on the way to it."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class StateChange:
    """What a scheduler remembers, before and after the decision."""

    name: str
    before: Value
    after: Value


@dataclass(frozen=True, slots=True)
class Decision:
    """What a scheduler was asked and answered.

    ``candidates`` are the service's destinations in list order, newest first. ``picked`` is None if nobody was.
    """

    scheduler: str
    flags: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    inputs: tuple[Input, ...]
    state: tuple[StateChange, ...]
    picked: str | None

    def value(self, name: str) -> Value:
        """An input, or what the scheduler remembered before; None if there is no such."""
        for one in self.inputs:
            if one.name == name:
                return one.value
        return next((one.before for one in self.state if one.name == name), None)


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """How the packet leaves.

    Attributes
    ----------
    method : masq, droute, tunnel, local or bypass.
    old, new : source and destination end, before and behind the director; the same unless over NAT. Without ports if
        the protocol has none.
    quoted : of an ICMP error, the end of the packet that it quotes which is written anew; else "".
    via : to whom it goes as it is (droute), or inside a tunnel; else "".
    tunnel : ipip, gue, gre, or "".
    ttl : before and behind the director; likewise the hop limit.
    checksums : those that have another value then: ip, tcp, udp, sctp, icmp, and quoted ip of the packet that an ICMP
        error quotes.
    overhead : bytes that the tunnel puts in front.
    """

    method: str
    old: tuple[str, str]
    new: tuple[str, str]
    quoted: str
    via: str
    tunnel: str
    ttl: tuple[int, int]
    checksums: tuple[str, ...]
    overhead: int


@dataclass(frozen=True, slots=True)
class CounterChange:
    """A counter that moved: of a destination, or with ``dest`` None of the service itself."""

    service: str
    dest: str | None
    counter: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Command:
    """An admin command that was given before the packet, and the kernel's error or ``""``."""

    at: int
    text: str
    error: str


@dataclass(frozen=True, slots=True)
class Cause:
    """Of a reason that has several cases or a limit, what holds of this packet.

    Attributes
    ----------
    case : which one it is; what a reason's cases are called stands in ``lbsim.explain.causes``.
    target : the address that it depends on: whose route is too narrow or is not there, or which is one that no single
        host has.
    mtu, overhead, limit : mtu_exceeded, too_narrow: of that route, of the tunnel's headers, and what they leave for the
        packet.
    rule : forward_dropped: the line that drops the packet.
    every : drop_packet: one of so many packets that would open a connection is dropped.
    answer : what the director sends to the sender; ``""``: nothing.
    """

    case: str
    target: str = ""
    mtu: int | None = None
    overhead: int = 0
    limit: int | None = None
    rule: str = ""
    every: int | None = None
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one packet got its verdict.

    Attributes
    ----------
    when : the exact condition of ``reason``.
    cause : which of its cases it is; None of a reason that has only one.
    dest : the destination concerned.
    entry : ``found``, ``made``, ``bypass`` (made without destination), ``none``; ``""`` if nobody looked for one.
    before, after : the entry; before is None of a new one, after is None if it is gone.
    given_up : the entry that was found and given up, with ``given_up_why``: ``finished``, ``quiesced``, ``removed``.
    """

    packet: Explained
    verdict: str
    reason: str
    when: str
    cause: Cause | None
    dest: str | None
    entry: str
    before: Entry | None
    after: Entry | None
    given_up: Entry | None
    given_up_why: str
    service: ServiceMatch | None
    template: Template | None
    decision: Decision | None
    transition: Transition | None
    timer: Timer | None
    header: HeaderChange | None
    counters: tuple[CounterChange, ...]
    commands: tuple[Command, ...]
