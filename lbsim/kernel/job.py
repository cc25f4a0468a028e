"""What a kernel is asked and what it was seen to do: the two formats, and their JSON.

A job goes into a guest as one line of JSON and comes back as one line: nothing in it is ever read by a shell. All are
named tuples: guests need no dataclasses, whose import takes most of a second under emulation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = [
    "ASKING",
    "CLIENT",
    "DIRECTOR",
    "REPLY",
    "ROUTING",
    "Arrival",
    "Command",
    "CommandSeen",
    "Event",
    "Job",
    "Observation",
    "Packet",
    "PacketSeen",
    "Seen",
    "Show",
    "ShowSeen",
    "administers",
    "server",
]

CLIENT = "c"  # on the clients' side
DIRECTOR = "d"  # of what a program on the director gets and sends
ASKING = (CLIENT, DIRECTOR)  # sides whose packets have answers
REPLY = "reply"  # on the servers' side, from whichever server got the flow's last request
ROUTING = (("ip", "rule"), ("ip", "route"))  # how commands begin for which no program is needed

_LONG = 100  # bytes from which on a packet is told without the zeros at its end


def server(address: str) -> str:
    """The side of a packet that a given real server sends, or the place of an arrival there."""
    return f"r:{address}"


def administers(argv: Sequence[str]) -> bool:
    """Whether a command is one of ``ipvsadm``, or sets a tunable of ``net.ipv4.vs``."""
    return argv[0] == "ipvsadm" or (argv[0] == "sysctl" and "net.ipv4.vs." in argv[-1])


class Packet(NamedTuple):
    """An IP packet that is put onto a wire ``at`` nanoseconds after time 0.

    Of a :data:`REPLY` source address and port are replaced by those of the server that got the last request of the
    same ``flow``; TTL and a UDP checksum of 0 stay. Without such a server nothing is sent.
    """

    at: int
    flow: int
    side: str
    content: bytes


class Command(NamedTuple):
    """A command that is run in the director: ``ipvsadm``, ``iptables`` and so on, or ``sysctl NAME=VALUE``."""

    at: int
    argv: tuple[str, ...]


class Show(NamedTuple):
    """A look at the tables. ``stats``: also ``ipvsadm -Ln --stats``.

    The kernel shows counters as they were up to two seconds ago: let at least 4.2 s pass after the last packet.
    """

    at: int
    stats: bool = False


Event = Packet | Command | Show


class Job(NamedTuple):
    """What is to be done in fresh network namespaces.

    vips : addresses of the director besides its own 192.168.1.1, 10.0.0.1, 2001:db8:1::1 and fd00::1.
    servers : addresses of the real servers.
    setup : commands before time 0.
    sysctls : tunables (name with dots, value), set before the commands.
    events : in order of time; equal times keep their order.
    straight : networks of real servers whose answers, and of clients to whom answers, do not pass the director.
    mtu : (network, MTU of the director's route to it).
    listening : where programs listen on the director itself (``tcp 192.168.1.10:80``, ``udp [2001:db8::10]:53``); they
        answer only what the events say.
    """

    name: str
    vips: tuple[str, ...]
    servers: tuple[str, ...]
    setup: tuple[tuple[str, ...], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    events: tuple[Event, ...] = ()
    straight: tuple[str, ...] = ()
    mtu: tuple[tuple[str, int], ...] = ()
    listening: tuple[str, ...] = ()

    def commands(self) -> list[tuple[str, ...]]:
        """All that is run in the director, in order."""
        return [*self.setup, *(event.argv for event in self.events if isinstance(event, Command))]

    def to_json(self, text: Callable[[bytes], str] | None = None) -> str:
        """One line, without a line feed. ``text`` writes packets: as short as they can be read, or ``bytes.hex``."""
        text = text or _text
        events = [_event_row(event, text) for event in self.events]
        parts = {"name": self.name, "vips": self.vips, "servers": self.servers, "setup": self.setup,
                 "sysctls": self.sysctls, "events": events}  # fmt: skip
        if self.straight:
            parts["straight"] = self.straight
        if self.mtu:
            parts["mtu"] = self.mtu
        if self.listening:
            parts["listening"] = self.listening
        return json.dumps(parts, separators=(",", ":"))

    @staticmethod
    def from_json(line: str | bytes) -> Job:
        """The job of :meth:`to_json`."""
        parts = json.loads(line)
        return Job(
            parts["name"],
            tuple(parts["vips"]),
            tuple(parts["servers"]),
            tuple(tuple(argv) for argv in parts["setup"]),
            tuple((name, value) for name, value in parts["sysctls"]),
            tuple(_event(row) for row in parts["events"]),
            tuple(parts.get("straight", ())),
            tuple((network, size) for network, size in parts.get("mtu", ())),
            tuple(parts.get("listening", ())),
        )


class Arrival(NamedTuple):
    """A packet that left the director: ``where`` is :data:`CLIENT`, ``r:ADDRESS``, or ``r:?`` (no known server);
    or one that came to a program on it: :data:`DIRECTOR`.
    """

    where: str
    content: bytes
    at: int


class PacketSeen(NamedTuple):
    """What became of a packet. ``at``: when it really left. ``sent``: its bytes if it was a reply (b"": not sent)."""

    at: int
    arrivals: tuple[Arrival, ...] = ()
    sent: bytes | None = None


class CommandSeen(NamedTuple):
    """What a command said. ``output``: standard output and error; ``arrivals``: what left the director by itself."""

    at: int
    argv: tuple[str, ...]
    status: int
    output: str
    arrivals: tuple[Arrival, ...] = ()


class ShowSeen(NamedTuple):
    """The tables: ``ipvsadm -Ln``, ``ipvsadm -Ln --stats`` ("" if not asked for), ``/proc/net/ip_vs_conn``.

    They were read between ``at`` and ``until``; destinations are in the kernel's order, counters have all digits.
    """

    at: int
    until: int
    listing: str
    stats: str
    conns: str
    arrivals: tuple[Arrival, ...] = ()


Seen = PacketSeen | CommandSeen | ShowSeen


class Observation(NamedTuple):
    """What a kernel did with a job; all times are nanoseconds after the job's time 0.

    release : the kernel's version, ``6.1.192``; for kernels that do not tell it, what ``uname -r`` says.
    jiffies : the kernel's tick counter at time 0 (-1: not known).
    setup : the outcome of each set-up command.
    events : one row per event of the job, in its order.
    error : why the job could not be carried out to its end; "" if it was.
    """

    name: str
    release: str
    jiffies: int = -1
    setup: tuple[CommandSeen, ...] = ()
    events: tuple[Seen, ...] = ()
    error: str = ""
    late: int = 0  # by how much the latest packet left too late

    def to_json(self) -> str:
        """One line, without a line feed."""
        parts = {"name": self.name, "release": self.release, "jiffies": self.jiffies, "late": self.late,
                 "setup": [_seen_row(seen) for seen in self.setup],
                 "events": [_seen_row(seen) for seen in self.events], "error": self.error}  # fmt: skip
        return json.dumps(parts, separators=(",", ":"))

    @staticmethod
    def from_json(line: str | bytes) -> Observation:
        """The observation of :meth:`to_json`."""
        parts = json.loads(line)
        setup = (_seen(row) for row in parts["setup"])
        return Observation(
            parts["name"],
            parts["release"],
            parts["jiffies"],
            tuple(seen for seen in setup if isinstance(seen, CommandSeen)),
            tuple(_seen(row) for row in parts["events"]),
            parts["error"],
            parts["late"],
        )


def _event_row(event: Event, text: Callable[[bytes], str]) -> list[Any]:
    match event:
        case Packet():
            return [event.at, "packet", event.flow, event.side, text(event.content)]
        case Command():
            return [event.at, "command", event.argv]
        case Show():
            return [event.at, "show", event.stats]


def _event(row: list[Any]) -> Event:
    match row:
        case [at, "packet", flow, side, content]:
            return Packet(at, flow, side, _bytes(content))
        case [at, "command", argv]:
            return Command(at, tuple(argv))
        case [at, "show", stats]:
            return Show(at, stats)
    raise ValueError(f"not an event: {row}")


def _seen_row(seen: Seen) -> list[Any]:
    arrivals = [[arrival.where, arrival.at, _text(arrival.content)] for arrival in seen.arrivals]
    match seen:
        case PacketSeen():
            sent = None if seen.sent is None else _text(seen.sent)
            return ["packet", seen.at, arrivals, sent]
        case CommandSeen():
            return ["command", seen.at, arrivals, seen.argv, seen.status, seen.output]
        case ShowSeen():
            return ["show", seen.at, arrivals, seen.until, seen.listing, seen.stats, seen.conns]


def _seen(row: list[Any]) -> Seen:
    kind, at, found, *rest = row
    arrivals = tuple(Arrival(where, _bytes(content), time) for where, time, content in found)
    if kind == "packet":
        return PacketSeen(at, arrivals, None if rest[0] is None else _bytes(rest[0]))
    if kind == "command":
        return CommandSeen(at, tuple(rest[0]), rest[1], rest[2], arrivals)
    if kind == "show":
        return ShowSeen(at, rest[0], rest[1], rest[2], rest[3], arrivals)
    raise ValueError(f"not an observation: {row}")


def _text(content: bytes) -> str:
    """Hexadecimal. Made-up payloads are zeros: of a long packet, only the number of those at its end is told."""
    if len(content) < _LONG:
        return content.hex()
    begin = content.rstrip(b"\0")
    return f"{begin.hex()}+{len(content) - len(begin)}"


def _bytes(text: str) -> bytes:
    begin, _, zeros = text.partition("+")
    return bytes.fromhex(begin) + bytes(int(zeros or 0))
