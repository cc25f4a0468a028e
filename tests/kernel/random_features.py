"""Random jobs about what no scheduler decides: persistence, marks, ICMP errors, MTUs, IPv6, switches; seeded.

Each job has a kind, which says what its services are like; traffic, admin commands and idle gaps are random.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from lbsim.engine.numbers import SCTP, TCP, UDP
from lbsim.engine.sctp_chunks import EVENTS
from lbsim.kernel.job import CLIENT, DIRECTOR, REPLY, Command, Event, Job, Packet, Show
from lbsim.kernel.scenario_job import COUNTERS_SETTLE
from lbsim.packet.answers import port_unreachable, time_exceeded, too_big, unreachable
from lbsim.packet.build import build_packet
from tests.kernel.random_jobs import FLAGS, GAPS, MILLISECOND, SCHEDULERS

__all__ = ["KINDS", "random_feature_job"]

WEIGHTS = (0, 1, 1, 2, 3, 5)
TCP_STEPS = ("SA", "SA", "A", "A", "A", "PA", "FA", "FA", "sFA", "R", "sR", "sPA", "S")
# an association in its order, once more in parts, and what may come out of turn
SCTP_STEPS = (
    "sINIT-ACK", "COOKIE-ECHO", "sCOOKIE-ACK", "DATA", "sDATA", "SHUTDOWN", "sSHUTDOWN-ACK", "SHUTDOWN-COMPLETE",
    "sINIT-ACK", "COOKIE-ECHO", "sCOOKIE-ACK", "sINIT-ACK", "COOKIE-ECHO", "sCOOKIE-ACK", "DATA", "sDATA",
    "sSHUTDOWN", "SHUTDOWN-ACK", "sSHUTDOWN-COMPLETE", "INIT", "sINIT", "ABORT", "sABORT", "ERROR", "sERROR",
)  # fmt: skip
WORDS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
LETTERS = {TCP: "-t", UDP: "-u", SCTP: "--sctp-service"}
OPENING = {TCP: "S", UDP: "", SCTP: "INIT"}
STEPS = {TCP: TCP_STEPS, UDP: ("", "s"), SCTP: SCTP_STEPS}


@dataclass(frozen=True)
class Net:
    """The addresses of an IP version on the bench."""

    vips: tuple[str, ...]
    servers: tuple[str, ...]
    clients: tuple[str, ...]  # patterns with a place for a number

    def end(self, address: str, port: int) -> str:
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


NETS = {
    4: Net(
        ("192.168.1.10", "192.168.1.11"),
        tuple(f"10.0.0.{10 + n}" for n in range(1, 6)),
        ("198.51.100.{}", "203.0.113.{}", "100.64.7.{}"),
    ),
    6: Net(
        ("2001:db8:1::10", "2001:db8:1::11"),
        tuple(f"fd00::{10 + n}" for n in range(1, 6)),
        ("2001:db8:a::{}", "2001:db8:b::{}", "2001:db8:c:1::{}"),
    ),
}


#: Addresses of somebody far behind the director, to which only marks bring packets.
FAR = Net(("192.0.2.10", "192.0.2.11"), NETS[4].servers, NETS[4].clients)
#: The director's own addresses are destinations, too: programs listen there.
OWN = {version: Net(net.vips, (*net.servers[:2], *net.vips), net.clients) for version, net in NETS.items()}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
#: A client's, and those of routers on the way to clients.
SENDERS = {4: ("{client}", "198.51.100.254", "192.168.1.254"), 6: ("{client}", "2001:db8:a::fe")}


@dataclass(frozen=True)
class Kind:
    """What a job's services are like; each function makes options from a random generator."""

    version: int = 4
    proto: int = TCP
    service: Callable[[random.Random], str] = lambda rng: ""
    dest: Callable[[random.Random], str] = lambda rng: ""
    method: Callable[[random.Random], str] = lambda rng: "-m"
    marked: bool = False
    port: int = 80  # of the services
    ports: tuple[int, ...] = (80,)  # that clients call
    sysctls: tuple[tuple[str, tuple[str, ...]], ...] = ()
    rules: Callable[[random.Random], list[str]] = lambda rng: []  # of the router
    errors: bool = False  # clients and routers before them send ICMP errors, too
    net: Net | None = None  # where clients call; default: NETS[version]
    payloads: tuple[int, int] = (1, 400)  # bytes of data, from and up to
    mtu: tuple[tuple[str, int], ...] = ()
    own_clients: bool = False  # half of the clients are programs on the director
    flips: tuple[tuple[str, tuple[str, ...]], ...] = ()  # tunables that are set in mid-run


def forward_rules(rng: random.Random) -> list[str]:
    """A policy, and rules of which some are about real servers, and several may be about the same."""
    sources = [*(f" -s {server}" for server in NETS[4].servers), " -s 10.0.0.12/30", " -s 10.0.0.0/24", ""]
    rules = []
    for _ in range(rng.randrange(4)):
        matches = rng.choice((" -i eth0", " -i eth1", "")) + rng.choice(sources)
        rules.append(f"iptables -A FORWARD{matches} -j {rng.choice(('ACCEPT', 'DROP'))}")
    return [f"iptables -P FORWARD {rng.choice(('ACCEPT', 'DROP'))}", *rules]


def persistence(rng: random.Random) -> str:
    return f" -p {rng.choice((5, 30, 60, 100, 360))}" + rng.choice(("", "", " -M 255.255.255.0", " -M 255.255.0.0"))


def persistence_v6(rng: random.Random) -> str:
    return f" -p {rng.choice((5, 30, 100))}" + rng.choice(("", " -M 64", " -M 48"))


def thresholds(rng: random.Random) -> str:
    upper = rng.choice((0, 1, 2, 3, 4, 7, 10))
    lower = rng.choice((0, 0, max(upper // 2, 0), upper))
    return (f" -x {upper}" if upper else "") + (f" -y {lower}" if lower and upper else "")


def any_method(rng: random.Random) -> str:
    return rng.choice(("-g", "-g", "-m", tunnel(rng)))


def tunnel(rng: random.Random) -> str:
    """Every kind of tunnel, with what ipvsadm lets each of them say."""
    kind = rng.choice(("", " --tun-type ipip", " --tun-type gre", " --tun-type gue --tun-port 6080"))
    checks = ("", " --tun-nocsum", " --tun-csum") if "gre" in kind else ("", " --tun-csum", " --tun-remcsum")
    return f"-i{kind}{rng.choice(checks) if 'gre' in kind or 'gue' in kind else ''}"


_TEMPLATES = (("expire_quiescent_template", ("0", "1")), ("expire_nodest_conn", ("0", "1")))

# What the kernel accepts and nothing comes of, without a sync daemon and with enough memory.
_WITHOUT_EFFECT = (
    ("drop_entry", ("1", "2")),
    ("ignore_tunneled", ("1",)),
    ("sync_ports", ("2",)),
    ("sync_persist_mode", ("1",)),
    ("sync_refresh_period", ("3",)),
    ("sync_retries", ("2",)),
)
_ERRORS = (("schedule_icmp", ("0", "1")), ("nat_icmp_send", ("0", "1")), ("expire_nodest_conn", ("0", "1")))

KINDS: dict[str, Kind] = {
    "persistent": Kind(service=persistence, sysctls=_TEMPLATES),
    "persistent-port-0": Kind(service=persistence, port=0, ports=(80, 443, 8080), sysctls=_TEMPLATES),
    "thresholds": Kind(dest=thresholds),
    "persistent-thresholds": Kind(service=persistence, dest=thresholds, sysctls=_TEMPLATES),
    "udp": Kind(proto=UDP, ports=(80,)),
    "udp-one-packet": Kind(proto=UDP, service=lambda rng: " -o"),
    "udp-persistent": Kind(proto=UDP, service=persistence, sysctls=_TEMPLATES),
    "sctp": Kind(proto=SCTP, sysctls=(("sloppy_sctp", ("0", "1")), *_TEMPLATES)),
    "sctp-persistent": Kind(proto=SCTP, service=persistence, method=any_method, sysctls=_TEMPLATES),
    "mark": Kind(marked=True, ports=(80, 443)),
    "mark-persistent": Kind(marked=True, service=persistence, ports=(80, 443), sysctls=_TEMPLATES),
    "direct-routing": Kind(method=lambda rng: "-g"),
    "tunnel": Kind(method=tunnel),
    "any-method": Kind(method=any_method, service=lambda rng: rng.choice(("", " -p 30"))),
    "udp-any-method": Kind(proto=UDP, method=any_method),
    "mark-any-method": Kind(marked=True, method=any_method, ports=(80, 443)),
    "ipv6": Kind(version=6),
    "ipv6-any-method": Kind(version=6, method=any_method),
    "ipv6-persistent": Kind(version=6, service=persistence_v6, sysctls=_TEMPLATES),
    "forward-rules": Kind(method=any_method, rules=forward_rules),
    "icmp": Kind(method=any_method, errors=True, sysctls=_ERRORS),
    "udp-icmp": Kind(proto=UDP, method=any_method, errors=True, sysctls=_ERRORS),
    "ipv6-icmp": Kind(version=6, method=any_method, errors=True, sysctls=_ERRORS),
    "bypass": Kind(marked=True, net=FAR, ports=(80, 443), errors=True, sysctls=(("cache_bypass", ("1",)), *_ERRORS)),
    "narrow-routes": Kind(
        method=any_method,
        payloads=(1200, 1460),
        mtu=(("10.0.0.12/32", 1400), ("10.0.0.14/32", 1300), ("203.0.113.0/24", 1350)),
        sysctls=(("pmtu_disc", ("0", "1")),),
    ),
    # all without schedule_icmp: told_itself
    "own": Kind(net=OWN[4], method=any_method, service=lambda rng: rng.choice(("", " -p 30")), sysctls=_ERRORS[1:]),
    "udp-own": Kind(net=OWN[4], proto=UDP, method=any_method, errors=True, sysctls=_ERRORS[1:]),
    # not by direct routing: with it 6.1 and 6.12 never let go of the namespace
    "ipv6-own": Kind(net=OWN[6], version=6, method=lambda rng: rng.choice(("-m", tunnel(rng))), sysctls=_ERRORS[1:]),
    "own-clients": Kind(
        net=OWN[4],
        method=any_method,
        service=lambda rng: rng.choice(("", " -p 30")),
        sysctls=_ERRORS[1:],
        errors=True,
        own_clients=True,
    ),
    "udp-own-clients": Kind(
        net=OWN[4],
        proto=UDP,
        method=any_method,
        service=lambda rng: rng.choice(("", " -o")),
        sysctls=_ERRORS[1:],
        own_clients=True,
    ),
    "ipv6-own-clients": Kind(
        net=OWN[6],
        version=6,
        method=lambda rng: rng.choice(("-m", tunnel(rng))),
        sysctls=_ERRORS[1:],
        own_clients=True,
    ),
    "switches": Kind(
        sysctls=(
            *_WITHOUT_EFFECT,
            ("conn_reuse_mode", ("0", "1", "2")),
            ("expire_nodest_conn", ("0", "1")),
            ("sloppy_tcp", ("0", "1")),
            ("secure_tcp", ("0", "3")),
            ("drop_packet", ("0", "3")),
            ("am_droprate", ("2", "5")),
            ("nat_icmp_send", ("0", "1")),
        )
    ),
    "flips": Kind(
        method=any_method,
        service=lambda rng: rng.choice(("", "", persistence(rng))),
        errors=True,
        sysctls=(("drop_packet", ("3",)), ("am_droprate", ("2", "5"))),
        flips=(
            *_TEMPLATES,
            ("conn_reuse_mode", ("0", "1", "2")),
            ("drop_packet", ("0", "3")),
            ("nat_icmp_send", ("0", "1")),
            ("pmtu_disc", ("0", "1")),
            ("schedule_icmp", ("0", "1")),
            ("secure_tcp", ("0", "3")),
            ("sloppy_tcp", ("0", "1")),
        ),
    ),
    "mark-flips": Kind(
        marked=True,
        net=FAR,
        ports=(80, 443),
        service=lambda rng: rng.choice(("", persistence(rng))),
        flips=(*_TEMPLATES, ("cache_bypass", ("0", "1"))),
    ),
    "sctp-flips": Kind(
        proto=SCTP,
        method=any_method,
        service=lambda rng: rng.choice(("", persistence(rng))),
        flips=(*_TEMPLATES, ("sloppy_sctp", ("0", "1")), ("conn_reuse_mode", ("0", "1", "2"))),
    ),
}


@dataclass
class _Writer:
    """What has been written so far, and who has connected."""

    rng: random.Random
    kind: Kind
    at: int = 1_000 * MILLISECOND
    events: list[Event] = field(default_factory=list)
    flows: list[tuple[str, int, str, int]] = field(default_factory=list)  # client end, virtual end
    decisions: int = 0
    methods: dict[str, str] = field(default_factory=dict)  # destination -> how it is reached
    own: set[int] = field(default_factory=set)  # flows that programs on the director begin
    listening: dict[str, None] = field(default_factory=dict)  # the ends of these programs, as far as they listen

    @property
    def net(self) -> Net:
        return self.kind.net or NETS[self.kind.version]

    # The config

    def services(self) -> list[str]:
        """How the two services are named, as ipvsadm has it."""
        if self.kind.marked:
            return ["-f 1", "-f 2"]
        return [f"{LETTERS[self.kind.proto]} {self.net.end(vip, self.kind.port)}" for vip in self.net.vips]

    def marks(self) -> list[str]:
        """Rules that mark the traffic of each virtual address."""
        if not self.kind.marked:
            return []
        word = WORDS[self.kind.proto]
        routes = ["ip rule add fwmark 1 lookup 100", "ip rule add fwmark 2 lookup 100"] if self.kind.net else []
        routes += ["ip route add local 0.0.0.0/0 dev lo table 100"] if self.kind.net else []
        return routes + [
            f"iptables -t mangle -A PREROUTING -d {vip} -p {word} --dport {port} -j MARK --set-mark {mark}"
            for mark, vip in enumerate(self.net.vips, start=1)
            for port in self.kind.ports
        ]

    def add_service(self, service: str) -> str:
        return f"-A {service} -s {self.rng.choice(SCHEDULERS)}{self.kind.service(self.rng)}"

    def dest(self, letter: str, service: str, server: str) -> str:
        port = 0 if self.kind.marked and self.rng.random() < 0.5 else self.kind.port
        ends = f"{service} -r {self.net.end(server, port)}"
        if letter == "-d":
            return f"-d {ends}"
        if ends not in self.methods:
            self.methods[ends] = self.kind.method(self.rng)
        return f"{letter} {ends} {self.methods[ends]} -w {self.rng.choice(WEIGHTS)}{self.kind.dest(self.rng)}"

    def setup(self) -> list[str]:
        lines = self.kind.rules(self.rng) + self.marks()
        for service in self.services():
            lines.append(f"ipvsadm {self.add_service(service)}")
            servers = self.rng.sample(self.net.servers, self.rng.randrange(1, 5))
            lines += [f"ipvsadm {self.dest('-a', service, server)}" for server in servers]
        return lines

    # What happens

    def packet(self, flow: int, flags: str, *, reply: bool = False, payload: int = 0) -> None:
        client, port, vip, vport = self.flows[flow]
        (src, sport), (dst, dport) = ((vip, vport), (client, port)) if reply else ((client, port), (vip, vport))
        data = build_packet(
            src=src, sport=sport, dst=dst, dport=dport, proto=self.kind.proto,
            flags=EVENTS.index(flags) if flags in EVENTS else FLAGS.get(flags, 0),
            payload=bytes(payload), identification=len(self.events) + 1 & 0xFFFF,
        )  # fmt: skip
        side = REPLY if reply else DIRECTOR if flow in self.own else CLIENT
        self.events.append(Packet(self.at, flow, side, data))
        self.at += self.rng.choice((4, 8, 20)) * MILLISECOND

    def command(self, text: str) -> None:
        self.events.append(Command(self.at, tuple(f"ipvsadm {text}".split())))
        self.at += 40 * MILLISECOND

    def flip(self) -> None:
        """A tunable gets a value, perhaps the one that it has."""
        name, values = self.rng.choice(self.kind.flips)
        self.events.append(Command(self.at, ("sysctl", "-w", f"net.ipv4.vs.{name}={self.rng.choice(values)}")))
        self.at += 40 * MILLISECOND

    def connect(self) -> None:
        """A new connection; of few clients, so that persistence has something to do."""
        by_director = self.kind.own_clients and self.rng.random() < 0.5
        clients = self.net.clients if not by_director else (*self.net.vips, LOOPBACK[self.kind.version])
        client = self.rng.choice(clients).format(self.rng.choice((1, 2, 3, 77)))
        vip, vport = self.rng.choice(self.net.vips), self.rng.choice(self.kind.ports)
        port = self.rng.randrange(1024, 65536)
        if by_director:
            self.own.add(len(self.flows))
            if self.rng.random() < 0.9:
                self.listening[f"{WORDS[self.kind.proto]} {self.net.end(client, port)}"] = None
        self.flows.append((client, port, vip, vport))
        self.decisions += 1
        self.packet(len(self.flows) - 1, OPENING[self.kind.proto], payload=0 if self.kind.proto == TCP else 10)

    def continue_one(self) -> None:
        flow = self.rng.randrange(max(0, len(self.flows) - 30), len(self.flows))
        step = self.rng.choice(STEPS[self.kind.proto])
        reply = step.startswith("s") or step == "SA"
        flags = step.removeprefix("s")
        payload = self.rng.randrange(*self.kind.payloads) if flags in ("PA", "", "DATA") else 0
        self.packet(flow, flags, reply=reply, payload=payload)

    def error(self) -> None:
        """An ICMP error about what a client was sent, from the client or a router on the way; some are damaged."""
        flow = self.rng.randrange(max(0, len(self.flows) - 30), len(self.flows))
        client, port, vip, vport = self.flows[flow]
        about = build_packet(
            src=vip, sport=vport, dst=client, dport=port, proto=self.kind.proto,
            flags=FLAGS["A"] if self.kind.proto == TCP else 0, payload=bytes(self.rng.choice((8, 100, 600, 1400))),
        )  # fmt: skip
        source = ip_address(self.rng.choice(SENDERS[self.kind.version]).format(client=client))
        data = self.rng.choice((
            port_unreachable(about, source=source),
            time_exceeded(about, source=source),
            unreachable(about, source=source, host=self.rng.random() < 0.5),
            too_big(about, source=source, limit=1300),
        ))  # fmt: skip
        assert data
        if self.rng.random() < 0.1:
            check = 42 if self.kind.version == 6 else 22
            data = data[:check] + bytes([data[check] ^ 0x55]) + data[check + 1 :]
        self.events.append(Packet(self.at, flow, CLIENT, data))
        self.at += self.rng.choice((4, 8, 20)) * MILLISECOND

    def administer(self) -> None:
        service, server = self.rng.choice(self.services()), self.rng.choice(self.net.servers)
        what = self.rng.choices(("add", "edit", "delete", "readd", "reservice", "set"), (5, 6, 3, 3, 1, 0.5))[0]
        if what == "reservice":
            self.command(f"-E {service} -s {self.rng.choice(SCHEDULERS)}{self.kind.service(self.rng)}")
        elif what == "set":
            self.command(f"--set {self.rng.choice((0, 30, 900))} {self.rng.choice((0, 15))} {self.rng.choice((0, 40))}")
        else:
            for letter in {"add": ("-a",), "edit": ("-e",), "delete": ("-d",), "readd": ("-d", "-a")}[what]:
                self.command(self.dest(letter, service, server))


def random_feature_job(name: str, seed: int, decisions: int = 80) -> Job:
    """A job of that kind with about so many new connections, in bursts, with admin commands and idle gaps between."""
    kind, rng = KINDS[name], random.Random(f"{name}-{seed}")
    writer = _Writer(rng, kind)
    setup = writer.setup()
    while writer.decisions < decisions:
        for _ in range(rng.randrange(1, 10)):
            if not writer.flows or rng.random() < 0.5:
                writer.connect()
            elif kind.errors and rng.random() < 0.4:
                writer.error()
            else:
                writer.continue_one()
        if rng.random() < 0.4:
            writer.administer()
        if kind.flips and rng.random() < 0.3:
            writer.flip()
        if rng.random() < 0.2:
            writer.events.append(Show(writer.at))
        writer.at += rng.choices(GAPS, (16, 16, 12, 8, 3, 1.5, 0.8, 0.3))[0] * MILLISECOND
    writer.events += [Show(writer.at), Show(writer.at + COUNTERS_SETTLE, stats=True)]
    vips, word = NETS[kind.version].vips, WORDS[kind.proto]
    own = [server for server in writer.net.servers if server in vips]
    return Job(
        name=f"{name}-{seed}",
        vips=vips,
        servers=tuple(server for server in writer.net.servers if server not in own),
        setup=tuple(tuple(line.split()) for line in setup),
        sysctls=tuple((f"net.ipv4.vs.{key}", rng.choice(values)) for key, values in kind.sysctls if rng.random() < 0.5),
        events=tuple(writer.events),
        mtu=kind.mtu,
        listening=(
            *(f"{word} {writer.net.end(address, port)}" for address in own for port in kind.ports),
            *writer.listening,
        ),
    )
