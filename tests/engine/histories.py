"""Random histories of a director: admin commands, packets, idle time. Played on several sides at once.

A step is a tuple of small numbers, so that hypothesis can shrink it, and so that one test can make a thousand of them
from a seed. Names are few: most steps meet something that earlier ones made.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from random import Random
from typing import TypeAlias

from hypothesis import strategies as st

from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DestId,
    EditDest,
    EditService,
    Persistence,
    ServiceId,
    parse_endpoint,
)
from lbsim.model.result import ConnRow
from tests.oracles.director import End, Sent
from tests.sides import Side, packet

__all__ = ["ALL_SYSCTLS", "Step", "histories", "play", "random_history"]

Step: TypeAlias = tuple[str, int, int, int, int]

SCHEDULERS = (
    ("rr", ()), ("wrr", ()), ("lc", ()), ("wlc", ()), ("sh", ()), ("mh", ()), ("lblc", ()), ("lblcr", ()),
    ("sh", ("sh-port",)), ("sh", ("sh-fallback",)), ("sh", ("sh-fallback", "sh-port")),
    ("mh", ("mh-fallback",)), ("mh", ("mh-fallback", "mh-port")), ("mh", ("flag-2", "flag-3")), ("rr", ("flag-1",)),
    ("sed", ()), ("nq", ()), ("dh", ()), ("fo", ()), ("ovf", ()), ("twos", ()), ("none", ()),
)  # fmt: skip
THRESHOLDS = ((0, 0), (0, 0), (0, 0), (1, 0), (2, 0), (4, 0), (4, 2), (3, 3), (2, 3), (2**31, 0))
WEIGHTS = (1, 1, 1, 0, 2, 3, 100, 300)
FLAGS = (
    ("SYN",), ("SYN",), ("SYN",), ("ACK",), ("ACK",), ("FIN", "ACK"), ("RST",), ("SYN", "ACK"), (), ("PSH", "ACK"),
)  # fmt: skip
GAPS = (1, 1, 1, 2, 63, 250, 250, 250, 2560, 2560, 2561, 15_000, 15_360, 15_488, 30_720, 75_000, 250_000)
KINDS = (
    *("again",) * 12, *("answer",) * 10, *("client",) * 14, *("server",) * 2, *("odd",) * 3, *("pass",) * 8,
    *("add",) * 8, *("edit",) * 4, *("delete",) * 3, *("service",) * 5, *("reservice",) * 2, "unservice",
)  # fmt: skip
KEEPS = (None, None, None, (30, 32), (100, 24), (360, 32))  # seconds and prefix length of persistence
MARKED = 8000  # the port whose packets get mark 1, see tests.sides.MARKS
ALL_SYSCTLS = [
    {
        "conn_reuse_mode": reuse,
        "expire_nodest_conn": nodest,
        "sloppy_tcp": sloppy,
        "expire_quiescent_template": 1 - nodest,
        "secure_tcp": 3 * (1 - reuse),
        "drop_packet": 3 * nodest * sloppy,
        "am_droprate": 5,
    }
    for reuse in (1, 0)
    for nodest in (0, 1)
    for sloppy in (0, 1)
]


class World:
    """Which addresses the small numbers stand for."""

    def __init__(self, version: int) -> None:
        vip, server, client = {
            4: ("192.0.2.{}", "10.0.0.{}", "203.0.113.{}"),
            6: ("2001:db8::{}", "fd00::{}", "2001:db8:c::{}"),
        }[version]
        self.vips = [vip.format(1), vip.format(2)]
        self.services = [
            ServiceId("tcp", ip_address(self.vips[0]), 80),
            ServiceId("tcp", ip_address(self.vips[1]), 80),
            ServiceId("udp", ip_address(self.vips[0]), 53),
            ServiceId.marked(1, version),
            ServiceId("tcp", ip_address(self.vips[1]), 0),
            ServiceId("tcp", ip_address(self.vips[1]), 21),
        ]
        self.version = version
        ends = [(1, 80), (2, 80), (3, 80), (4, 80), (1, 8080), (2, 0)]
        self.dests = [DestId(ip_address(server.format(n)), port) for n, port in ends]
        self.dests.append(DestId(ip_address("224.0.0.1" if version == 4 else "ff02::1"), 80))
        self.clients: list[End] = [(client.format(n), port) for n in (1, 2, 3) for port in (1000, 1001, 0, 20)]


def command_of(world: World, step: Step) -> AdminCommand:
    """The admin command that a step is."""
    kind, a, b, c, d = step
    service = world.services[a % 6]
    dest = world.dests[b % 7]
    scheduler, flags = SCHEDULERS[b % len(SCHEDULERS)]
    weight = WEIGHTS[c % len(WEIGHTS)]
    upper, lower = THRESHOLDS[d % len(THRESHOLDS)]
    commands: dict[str, AdminCommand] = {
        "add": AddDest(service, dest, weight=weight, upper=upper, lower=lower),
        "edit": EditDest(service, dest, weight=weight, upper=upper, lower=lower),
        "delete": DeleteDest(service, dest),
        "service": AddService(service, scheduler, flags, keeping(world, c), d % 3 == 0),
        "reservice": EditService(service, scheduler, flags, keeping(world, c), d % 3 == 0),
        "unservice": DeleteService(service),
        "clear": Clear(),
    }
    return commands[kind]


def keeping(world: World, number: int) -> Persistence | None:
    """The persistence that a number stands for."""
    kept = KEEPS[number % 6]
    if kept is None:
        return None
    seconds, prefix = kept
    if world.version == 6:
        return Persistence(seconds, 64 if prefix < 32 else 128)
    return Persistence(seconds, 0xFFFFFFFF >> (32 - prefix) << (32 - prefix))


def packet_of(world: World, step: Step, table: Sequence[ConnRow]) -> Sent:
    """The packet that a step is. "again" and "answer" belong to an entry of the table, if there is one."""
    kind, a, b, c, d = step
    flags = FLAGS[c % len(FLAGS)]
    table = [row for row in table if row.state not in ("NONE", "ASSURED")]  # without templates
    if kind in ("again", "answer") and table:
        finished = [row for row in table if row.state in ("CLOSE", "TIME_WAIT")] if d >= 192 else []
        row = (finished or table)[a % len(finished or table)]
        proto, client = row.protocol.lower(), end(row.client)
        if kind == "again":
            flags = ("SYN",) if d >= 128 else flags
            return packet(proto, client, end(row.virtual), *flags_for(proto, flags), payload=d % 50)
        return packet(proto, end(row.destination), client, *flags_for(proto, flags), direction="out", payload=d % 50)
    service = world.services[b % 6]
    proto, virtual = service.protocol, (str(service.address), service.port or (21, 79, 1025)[d % 3])
    if proto == "fwm":
        proto, virtual = ("tcp", "udp")[d % 2], (world.vips[d // 2 % 2], MARKED)
    client = world.clients[a % len(world.clients)]
    if kind in ("server", "answer"):
        dest = world.dests[d % 5]
        source = (str(dest.address), dest.port)
        return packet(proto, source, client, *flags_for(proto, flags), direction="out", ttl=1 + d % 4)
    if kind == "odd":
        return odd(proto, client, virtual, flags_for(proto, flags), d)
    return packet(proto, client, virtual, *flags_for(proto, flags), payload=d % 50)


def odd(proto: str, client: End, virtual: End, flags: Sequence[str], which: int) -> Sent:
    """Packets that something is wrong with."""
    match which % 6:
        case 0 | 1:
            return packet(proto, client, virtual, *flags, ttl=which % 6)
        case 2:
            return packet(proto, client, virtual, *flags, cut=(0, 3, 4, 7)[which // 6 % 4])
        case 3:
            return packet(proto, client, (virtual[0], 81), *flags)
        case 4:
            return packet(proto, client, (client[0], 80), *flags)
        case _:
            return packet("gre", (client[0], 0), (virtual[0], 0))


def flags_for(proto: str, flags: Sequence[str]) -> Sequence[str]:
    return flags if proto == "tcp" else ()


def end(text: str) -> End:
    address, port = parse_endpoint(text)
    return str(address), port


def play(version: int, sides: Sequence[Side], history: Sequence[Step]) -> None:
    """Play a history on all sides; after every step each must give the same answer and show the same tables."""
    world = World(version)
    start = [
        *(AddService(service, *SCHEDULERS[i * 2]) for i, service in enumerate(world.services[:3])),
        *(AddService(service, "rr", (), keeping(world, i)) for i, service in enumerate(world.services[3:], start=3)),
        *(AddDest(service, dest) for service in world.services for dest in world.dests[:3]),
    ]
    for command in start:
        for side in sides:
            assert side.command(command) == ""
    now = 0
    for number, step in enumerate(history):
        now += GAPS[step[1] % len(GAPS)] if step[0] == "pass" else 0
        table = sides[0].table()
        answers = [answer(side, world, step, now, table) for side in sides]
        told = f"step {number}, {step}, tick {now}"
        assert all(one == answers[0] for one in answers), (told, answers)
        for side in sides[1:]:
            assert side.table() == sides[0].table(), told
            assert side.services() == sides[0].services(), told


def answer(side: Side, world: World, step: Step, now: int, table: Sequence[ConnRow]) -> object:
    """What a side answers to one step."""
    side.advance(now)
    if step[0] == "pass":
        return None
    if step[0] in ("again", "answer", "client", "server", "odd"):
        return side.receive(packet_of(world, step, table))
    return side.command(command_of(world, step))


def histories(least: int = 1, most: int = 60) -> st.SearchStrategy[list[Step]]:
    """Histories for hypothesis."""
    number = st.integers(0, 255)
    return st.lists(
        st.tuples(st.sampled_from([*KINDS, "clear"]), number, number, number, number), min_size=least, max_size=most
    )


def random_history(seed: int, steps: int) -> list[Step]:
    """A long history from a seed; clearing everything is rare."""
    random = Random(seed)
    return [
        (
            "clear" if random.random() < 0.002 else random.choice(KINDS),
            random.randrange(256),
            random.randrange(256),
            random.randrange(256),
            random.randrange(256),
        )
        for _ in range(steps)
    ]
