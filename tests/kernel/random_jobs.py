"""Random jobs: configs, admin histories and traffic that no scenario's author would think of, seeded."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from lbsim.kernel.job import CLIENT, REPLY, Command, Event, Job, Packet, Show
from lbsim.kernel.scenario_job import COUNTERS_SETTLE
from lbsim.packet.build import build_packet

VIP = "192.168.1.10"
SERVERS = tuple(f"10.0.0.{10 + n}" for n in range(1, 9))
FLAGS = {"S": 2, "A": 16, "PA": 24, "FA": 17, "R": 4, "SA": 18}
MILLISECOND = 1_000_000
#: Gaps between two bursts, in milliseconds: busy, a pause, and long enough for each kind of timeout.
GAPS = (20, 50, 200, 1_000, 11_000, 65_000, 130_000, 930_000)

#: Those whose picks can be compared one by one: all but twos, which draws lots.
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "fo", "ovf", "lblc", "lblcr")
#: The weights of destinations, where others than the usual ones matter: several laps and common divisors; turns that
#: are shifted; places that overflow while connections last.
WEIGHTS = {
    "wrr": (0, 1, 2, 2, 3, 4, 6, 12),
    "mh": (0, 1, 1, 2, 3, 50, 100, 300),
    "sh": (0, 1, 1, 2, 3, 5, 40, 300),
    "ovf": (0, 1, 1, 2, 3, 5),
    "lblc": (0, 1, 1, 1, 2, 4),
    "lblcr": (0, 1, 1, 1, 2, 4),
}
USUAL_WEIGHTS = (0, 1, 1, 2, 3, 5, 40)


@dataclass
class _Writer:
    """What has been written so far, and who has connected."""

    rng: random.Random
    scheduler: str
    at: int = 1_000 * MILLISECOND
    events: list[Event] = field(default_factory=list)
    flows: list[tuple[str, int]] = field(default_factory=list)
    decisions: int = 0
    present: list[str] = field(default_factory=list)
    service: bool = True

    def step(self) -> None:
        self.at += self.rng.choice((4, 8, 20)) * MILLISECOND

    def packet(self, flow: int, flags: str, *, reply: bool = False, payload: int = 0) -> None:
        client, port = self.flows[flow]
        here, there = (client, port), (VIP, 80)
        (src, sport), (dst, dport) = (there, here) if reply else (here, there)
        data = build_packet(
            src=src,
            sport=sport,
            dst=dst,
            dport=dport,
            flags=FLAGS[flags],
            payload=bytes(payload),
            identification=len(self.events) + 1 & 0xFFFF,
        )
        self.events.append(Packet(self.at, flow, REPLY if reply else CLIENT, data))
        self.step()

    def command(self, text: str) -> None:
        self.events.append(Command(self.at, tuple(f"ipvsadm {text}".split())))
        self.at += 40 * MILLISECOND  # a command takes its time

    def connect(self) -> None:
        """A new connection, mostly of a new client; now and then an old one's ends again."""
        if self.flows and self.rng.random() < 0.1:
            flow = self.rng.randrange(len(self.flows))
        else:
            client = f"{self.rng.choice(('198.51.100', '203.0.113', '100.64.7'))}.{self.rng.randrange(1, 255)}"
            self.flows.append((client, self.rng.randrange(1024, 65536)))
            flow = len(self.flows) - 1
        self.decisions += 1
        self.packet(flow, "S")

    def continue_one(self) -> None:
        """One more packet of a connection that exists or has existed."""
        flow = self.rng.randrange(len(self.flows))
        kind = self.rng.choice(("SA", "SA", "A", "A", "A", "PA", "FA", "FA", "sFA", "R", "sR", "sPA", "S"))
        reply = kind.startswith("s") or kind == "SA"
        flags = kind.removeprefix("s")
        self.packet(flow, flags, reply=reply, payload=self.rng.randrange(1, 400) if flags == "PA" else 0)

    def administer(self) -> None:
        """One admin command; some are refused on purpose."""
        service = f"-t {VIP}:80"
        server = self.rng.choice(SERVERS)
        weight = self.weight()
        kind = self.rng.choices(("add", "edit", "delete", "readd", "flip", "service"), (5, 5, 3, 3, 1, 1))[0]
        if kind == "add":
            self.command(f"-a {service} -r {server}:80 -m -w {weight}")
        elif kind == "edit":
            self.command(f"-e {service} -r {server}:80 -m -w {weight}")
        elif kind == "delete":
            self.command(f"-d {service} -r {server}:80")
        elif kind == "readd":
            self.command(f"-d {service} -r {server}:80")
            self.command(f"-a {service} -r {server}:80 -m -w {weight}")
        elif kind == "flip":
            other = self.rng.choice(SCHEDULERS)
            self.command(f"-E {service} -s {other}{_flags(self.rng, other)}")
            self.command(f"-E {service} -s {self.scheduler}{_flags(self.rng, self.scheduler)}")
        else:
            self.command(f"-D {service}")
            self.command(f"-A {service} -s {self.scheduler}{_flags(self.rng, self.scheduler)}")
            for again in self.rng.sample(SERVERS, 3):
                self.command(f"-a {service} -r {again}:80 -m -w {max(1, self.weight())}")

    def weight(self) -> int:
        return self.rng.choice(WEIGHTS.get(self.scheduler, USUAL_WEIGHTS))


def _flags(rng: random.Random, scheduler: str) -> str:
    if scheduler not in ("sh", "mh"):
        return ""
    port, fallback = f"{scheduler}-port", f"{scheduler}-fallback"
    return rng.choice(("", f" -b {port}", f" -b {fallback}", f" -b {fallback},{port}"))


def random_job(scheduler: str, seed: int, decisions: int = 100) -> Job:
    """A job with about so many new connections, in bursts, with admin commands and idle gaps between them."""
    rng = random.Random(f"{scheduler}-{seed}")
    writer = _Writer(rng, scheduler)
    setup = [f"ipvsadm -A -t {VIP}:80 -s {scheduler}{_flags(rng, scheduler)}"]
    setup += [
        f"ipvsadm -a -t {VIP}:80 -r {server}:80 -m -w {writer.weight()}"
        for server in rng.sample(SERVERS, rng.randrange(1, 7))
    ]
    while writer.decisions < decisions:
        for _ in range(rng.randrange(1, 12)):
            if not writer.flows or rng.random() < 0.55:
                writer.connect()
            else:
                writer.continue_one()
        if rng.random() < 0.4:
            writer.administer()
        if rng.random() < 0.2:
            writer.events.append(Show(writer.at))
        writer.at += rng.choices(GAPS, (16, 16, 12, 8, 2, 1, 0.6, 0.3))[0] * MILLISECOND
    writer.events += [Show(writer.at), Show(writer.at + COUNTERS_SETTLE, stats=True)]
    sysctls = []
    if rng.random() < 0.3:
        sysctls.append(("net.ipv4.vs.conn_reuse_mode", "0"))
    if rng.random() < 0.3:
        sysctls.append(("net.ipv4.vs.expire_nodest_conn", "1"))
    if rng.random() < 0.2:
        sysctls.append(("net.ipv4.vs.sloppy_tcp", "1"))
    return Job(
        name=f"{scheduler}-{seed}",
        vips=(VIP,),
        servers=SERVERS,
        setup=tuple(tuple(line.split()) for line in setup),
        sysctls=tuple(sysctls),
        events=tuple(writer.events),
    )
