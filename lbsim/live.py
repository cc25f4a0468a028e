"""A live director for a Python prompt, and for every tool that wants to try one packet at a time.

>>> director = Director('''
...     ipvsadm -A -t 192.168.1.10:80 -s rr
...     ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11 -m
... ''')
>>> from scapy.layers.inet import IP, TCP
>>> answer = director.receive(IP(src="203.0.113.1", dst="192.168.1.10") / TCP(sport=40001, flags="S"), at=1.0)
>>> answer
<forward: new, to 10.0.0.11>
>>> answer.departures[0].packet.dst
'10.0.0.11'
>>> director.connections()[0].state
'SYN_RECV'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from lbsim import listing
from lbsim.config import dump_services, parse, parse_request, refusal
from lbsim.config.marks import Marks, read_marks
from lbsim.departures import CLIENTS, DIRECTOR, Arrived, Departure, Departures, may_split, note, valid_headers
from lbsim.engine import reasons
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import BAD_IP_HEADER, FRAGMENT, ICMP_ERROR, IN, IPV4, LEAST_V4, MOST_MTU, OUT
from lbsim.engine.records import Outcome, Packet
from lbsim.engine_words import PROTOCOLS
from lbsim.errors import CommandRefused, ConfigError, LbsimError, expected_one_of
from lbsim.host import SECOND, EngineHost, profile_named
from lbsim.model.address import address_of, network_of
from lbsim.model.config import AdminCommand, DirectorConfig, Place, ServiceId
from lbsim.model.finding import Finding
from lbsim.model.listing import (
    ListConnections,
    ListTable,
    ListTimeouts,
    Rates,
    Request,
    SaveTable,
    ShowVersion,
    as_configured,
)
from lbsim.model.result import ConnRow, Counters, ServiceRow
from lbsim.model.verdict import Verdict, reason_of
from lbsim.own_schedulers import load_schedulers
from lbsim.packet.fragments import Datagram, Fragments, without_empty_headers
from lbsim.packet.headers import Headers
from lbsim.packet.quoted import quoted

if TYPE_CHECKING:
    from scapy.packet import Packet as ScapyPacket

__all__ = ["Answer", "CommandAnswer", "Departure", "Director", "RateStats", "Stats"]

FRAGMENT_KEPT = reason_of(reasons.FRAGMENT_KEPT).name
_FILES = ("ip_vs", "ip_vs_conn", "ip_vs_conn_sync", "ip_vs_stats", "ip_vs_stats_percpu")  # of /proc/net


@dataclass(frozen=True, slots=True)
class Answer:
    """What a director did with one packet."""

    verdict: Verdict
    reason: str  # a name of lbsim.model.verdict.REASONS
    dest: str | None  # the destination concerned: "10.0.0.11:80"
    departures: tuple[Departure, ...]

    def __repr__(self) -> str:
        to = ", ".join(departure.to for departure in self.departures)
        return f"<{self.verdict.name.lower()}: {self.reason}{', to ' + to if to else ''}>"


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What ``ipvsadm`` (or ``sysctl``, without what that repeats when it succeeds) would have said.

    Attributes
    ----------
    status : its exit status.
    message : what it prints on standard error, without the last newline: why it, or the kernel, refused.
    output : what it prints on standard output.
    """

    status: int
    message: str
    output: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters: of all services together, by service, and by service and destination."""

    total: Counters
    services: Mapping[str, Counters]
    dests: Mapping[tuple[str, str], Counters]


@dataclass(frozen=True, slots=True)
class RateStats:
    """What there is per second, likewise."""

    total: Rates
    services: Mapping[str, Rates]
    dests: Mapping[tuple[str, str], Rates]


class Director:
    """A director that receives one packet at a time.

    Parameters
    ----------
    config : ipvsadm commands or a saved dump, perhaps tunables, as text; or an already parsed config.
    profile : which kernel is imitated, see :data:`lbsim.engine.profile.PROFILES`.
    sysctls : tunables of ``net.ipv4.vs.``, with or without that prefix.
    own : further addresses of the director; one of them is the source when it answers a real server itself, and of
        what it sends through tunnels.
    mtu : network (or address) -> MTU of the route to it; all others have 1500.
    networks : those that there are routes to; default: everything.
    accept_local : whether packets whose source is the director's own address are accepted, as with the sysctl of that
        name (IPv4): answers of destinations with direct routing that have the director as their router.
    listening : ends where programs listen on the director, as ``tcp 192.168.1.10:8080``: they get what comes there, and
        say only what :meth:`receive` is given via ``"director"``. Elsewhere the director's stack refuses.
    marks : lines that give packets firewall marks, see :mod:`lbsim.config.marks`; single addresses that they name are
        the director's.
    start_jiffies : the kernel's tick at time 0 (timers are rounded on absolute ticks).
    lane : how the engine runs.
    schedulers : Python files or installed entry points with schedulers of one's own, see ``own_schedulers``.
    seed : of the random numbers that the scheduler twos draws.
    estimator : listings show counters and rates as the kernel copied them last, up to two seconds ago; otherwise the
        counters of the moment, and no rates.
    age : seconds for which the director has existed at time 0 (the moments of these copies depend on it).

    Raises
    ------
    ConfigError : the text cannot be understood, or a name is not known.

    Notes
    -----
    Times are in seconds since the director's time 0 and never go back.
    """

    def __init__(
        self,
        config: str | DirectorConfig = "",
        *,
        profile: str = "linux-6.1.192",
        sysctls: Mapping[str, int] | None = None,
        own: Iterable[str] = (),
        mtu: Mapping[str, int] | None = None,
        networks: Iterable[str] | None = None,
        accept_local: bool = False,
        listening: Iterable[str] = (),
        marks: str | Marks = "",
        start_jiffies: int | None = None,
        lane: Lane | None = None,
        schedulers: Iterable[str | Path] = (),
        seed: int = 1,
        estimator: bool = True,
        age: float = 0.0,
    ) -> None:
        load_schedulers(schedulers)
        if not isinstance(config, str | DirectorConfig):
            raise ConfigError(f"{config!r} is no config: expected ipvsadm commands as text, or a DirectorConfig")
        parsed = parse(config) if isinstance(config, str) else config
        self._host = EngineHost(
            profile=profile,
            sysctls=sysctls,
            start_jiffies=start_jiffies,
            lane=lane,
            expected_rows=len(parsed.commands),
            seed=seed,
            estimator=estimator,
            age=round(age * profile_named(profile).hz),
        )
        self._time = 0
        with _understood():
            self._own = [address_of(text) for text in own]
            mtus = {network_of(name): _mtu(size) for name, size in (mtu or {}).items()}
            reachable = None if networks is None else [network_of(name) for name in networks]
        for address in self._own:
            self._host.own(address)
        self._marks = read_marks(marks) if isinstance(marks, str) else marks
        for address in self._marks.hosts:
            self._host.own(address)
        for network in self._marks.local:
            self._host.own_network(network)
        self._host.route(mtus, reachable)
        self._host.be_router(parsed.router)
        self._host.tables.director[0].accept_local = int(accept_local)
        self._fragments = Fragments()
        self._departures = Departures(self._host, self._own, [_listening_end(text) for text in listening])
        self._packets = self._host.lane.table(Packet, 1)
        self._outcomes = self._host.lane.table(Outcome, 1)
        self.findings: list[Finding] = []
        #: Told of every packet before the engine receives it.
        self.watch: Callable[[EngineHost, Packet], None] | None = None
        for command in parsed.commands:
            self._apply(command)

    # What happens to it

    def receive(self, packet: bytes | ScapyPacket, at: float | None = None, via: str = CLIENTS) -> Answer:
        """What leaves the director because of this packet.

        Parameters
        ----------
        packet : an IP packet as bytes, or a scapy packet (what is in front of IP is ignored).
        at : seconds; default: now.
        via : where it comes from: ``"clients"``, the address of the real server that sends it, or ``"director"``: a
            program on it, which is a destination or a client.

        Returns
        -------
        Answer : its packets are of the kind that was received.

        Raises
        ------
        ConfigError : it cannot come from there.
        LbsimError : the time is in the past.
        """
        if via not in (CLIENTS, DIRECTOR):
            with _understood(f"via is neither {CLIENTS!r} nor {DIRECTOR!r}: "):
                via = str(address_of(via))
        self.advance(at)
        if isinstance(packet, bytes):
            return self._receive(packet, via)
        from lbsim.traffic.packets import from_bytes, to_bytes

        answer = self._receive(to_bytes(packet), via)
        departures = tuple(Departure(one.to, from_bytes(one.packet)) for one in answer.departures)
        return Answer(answer.verdict, answer.reason, answer.dest, departures)

    def run(self, command: str | AdminCommand, at: float | None = None) -> CommandAnswer:
        """What ``ipvsadm`` answers to a command: ``director.run("ipvsadm -D -t 192.168.1.10:80")``; or ``sysctl`` to
        one that sets a tunable: ``director.run("sysctl -w net.ipv4.vs.expire_nodest_conn=1")``.

        Raises
        ------
        ConfigError : not such a command, or it asks for what lbsim does not model; nothing was changed.
        """
        try:
            request = parse_request(command) if isinstance(command, str) else command
        except CommandRefused as error:
            self.advance(at)
            return self._refused(error, str(command))
        self.advance(at)
        if isinstance(request, AdminCommand):
            return self._apply(request)
        return self._list(request)

    def ipvsadm(self, arguments: str, at: float | None = None) -> str:
        """What ``ipvsadm`` with these arguments prints on standard output, byte for byte: ``director.ipvsadm("-Ln")``.

        Raises
        ------
        CommandRefused : ipvsadm does not succeed; the error has its exit status and message.
        ConfigError : as :meth:`run`.
        """
        command = f"ipvsadm {arguments}"
        answer = self.run(command, at)
        if answer.status:
            raise CommandRefused(answer.message, status=answer.status, said=answer.message, text=command)
        return answer.output

    def proc(self, name: str, at: float | None = None) -> str:
        """What a file in /proc/net holds: "ip_vs", "ip_vs_conn", "ip_vs_conn_sync", "ip_vs_stats", or of one processor
        "ip_vs_stats_percpu".

        Raises
        ------
        ConfigError : another name.
        """
        self.advance(at)
        match name:
            case "ip_vs":
                return listing.proc_services(self._host.listed(), self._host.profile.hz)
            case "ip_vs_conn":
                return listing.proc_conns(self._host.connections())
            case "ip_vs_conn_sync":
                return listing.proc_conns_sync(self._host.connections())
            case "ip_vs_stats":
                return listing.proc_stats(*self._host.total())
            case "ip_vs_stats_percpu":
                return listing.proc_stats_percpu(self._host.counted(), *self._host.total())
        raise ConfigError(expected_one_of(name, _FILES, "file of /proc/net"))

    def advance(self, to: float | None = None) -> None:
        """Let time pass until ``to`` (seconds); timers that are due fire.

        Raises
        ------
        ConfigError : this is no time.
        LbsimError : it is in the past.
        """
        if to is not None:
            if not isinstance(to, Real) or not isfinite(to):
                raise ConfigError(f"{to!r} is no time: expected seconds")
            time = round(to * SECOND)
            if time < self._time:
                raise LbsimError(f"time {to} s is in the past; it is already {self._time / SECOND} s")
            self._time = time
        self._host.advance(self._time)

    # What there is to see

    def connections(self) -> tuple[ConnRow, ...]:
        """The connection table, sorted by protocol and ends."""
        return self._host.connections()

    def services(self) -> tuple[ServiceRow, ...]:
        """The services, each with its destinations, newest first as the kernel keeps them."""
        return self._host.services()

    def stats(self, *, shown: bool = False) -> Stats:
        """The counters, up to date.

        Parameters
        ----------
        shown : as the real tools show them: those of the copy that the kernel makes every two seconds.
        """
        rows = self._host.services(shown=shown)
        return Stats(
            total=self._host.total()[0] if shown else self._host.total_counters(),
            services={row.service: row.counters for row in rows},
            dests={(row.service, dest.dest): dest.counters for row in rows for dest in row.dests},
        )

    def rates(self) -> RateStats:
        """What there is per second, as the real tools show it."""
        rows = self._host.listed()
        return RateStats(
            total=self._host.total()[1],
            services={str(row.id): row.rates for row in rows},
            dests={(str(row.id), str(dest.id)): dest.rates for row in rows for dest in row.dests},
        )

    # How it is done

    def _list(self, request: Request) -> CommandAnswer:
        """What a request that changes nothing prints."""
        output = ""
        match request:
            case ListTable(service=service):
                rows = self._host.listed()
                if service is not None and service not in [row.id for row in rows]:
                    return CommandAnswer(1, "No such service")
                _need_numbers(request.numeric or not rows)
                output = listing.table(rows, request)
            case ListConnections():
                entries = self._host.connections()
                _need_numbers(request.numeric or not entries)
                output = listing.connection_list(entries, request)
            case ListTimeouts():
                output = listing.timeouts(self._host.timeouts())
            case SaveTable():
                rows = self._host.listed()
                _need_numbers(request.numeric or not rows)
                output = dump_services(map(as_configured, rows))
            case ShowVersion():
                output = listing.VERSION
        return CommandAnswer(0, "", output)

    def _refused(self, error: CommandRefused, command: str) -> CommandAnswer:
        text = f"{command}: {error.said} (exit {error.status})"
        self.findings.append(
            Finding("error", str(Place(error.file, error.line or 1)), text, f"ipvsadm refuses: {error.message}")
        )
        return CommandAnswer(error.status, error.said)

    def _apply(self, command: AdminCommand) -> CommandAnswer:
        error = self._host.apply(command)
        if not error:
            return CommandAnswer(0, "")
        status, message = refusal(command, error)
        text = f"{command.text or command}: {message} (exit {status})"
        self.findings.append(Finding("error", str(command.place), text, f"the kernel refuses: {error}"))
        return CommandAnswer(status, message)

    def _receive(self, data: bytes, via: str) -> Answer:
        headers = valid_headers(data)
        if headers is not None and headers.version != IPV4 and self._host.tables.director[0].services_v6:
            data = without_empty_headers(data[: headers.length])
            headers = valid_headers(data)
        came = None
        if headers is not None and headers.shape == FRAGMENT:
            answer = self._decide(data, headers, via)
            if answer.reason != FRAGMENT_KEPT:
                return answer
            came = self._fragments.add(data[: headers.length], self._time)
            if came is None:
                return answer
            data = came.data
            headers = valid_headers(data)
        return self._decide(data, headers, via, came)

    def _decide(self, data: bytes, headers: Headers | None, via: str, came: Datagram | None = None) -> Answer:
        """What becomes of a packet; ``came``: as of :class:`Arrived`."""
        p, v = self._packets[0], self._outcomes[0]
        p.tick = self._host.tick(self._time)
        if headers is None:
            p.direction, p.shape = IN, BAD_IP_HEADER
            self._host.receive_block(self._packets, self._outcomes, 1)
            return Answer(Verdict(v.verdict), reason_of(v.reason).name, None, ())
        if via == DIRECTOR:
            sent = self._departures.sent_by_itself(data, headers)
            return Answer(
                Verdict(sent.verdict), reason_of(sent.reason).name, self._dest_name(sent.dest), sent.departures
            )
        arrived = self._noted(data, headers, via, came)
        if self.watch:
            self.watch(self._host, p)
        self._host.receive_block(self._packets, self._outcomes, 1)
        return self._answer(arrived, v)

    def _answer(self, arrived: Arrived, v: Outcome) -> Answer:
        departures = self._departures.of(arrived, v)
        return Answer(Verdict(v.verdict), reason_of(v.reason).name, self._dest_name(v.dest), departures)

    def _direction(self, headers: Headers, via: str) -> int:
        """IN also for what a real server sends to an address of the director: there it is a client like any other."""
        return IN if via == CLIENTS or self._local(headers.dst) else OUT

    def _local(self, address: bytes) -> int:
        return int(self._host.tables.addresses[self._host.intern_packed(address)].local)

    def _noted(self, data: bytes, headers: Headers, via: str, came: Datagram | None) -> Arrived:
        """Write the engine's row for the packet."""
        p = self._packets[0]
        direction = self._direction(headers, via)
        note(self._host, p, headers, direction)
        if self._marks.rules:
            self._mark(p, headers)
        p.may_split = int(may_split(data) or (came is not None and (direction == OUT or headers.version != IPV4)))
        quote = None
        if headers.shape == ICMP_ERROR:
            quote = quoted(data, headers, self._host.has_tunnel)
            p.quote = self._host.note_quote(quote) if quote else 0
        return Arrived(data, headers, via, direction, quote, came)

    def _mark(self, p: Packet, headers: Headers) -> None:
        dst = ip_address(headers.dst)
        p.mark = self._marks.mark_of(dst, headers.proto, headers.dport)
        if p.mark and self._marks.delivers(dst, p.mark):
            self._host.own_network(ip_network(dst), by_routing=True)

    def _dest_name(self, d: int) -> str | None:
        if not d:
            return None
        dest = self._host.tables.dests[d]
        return self._host.endpoint(dest.addr, dest.port)


def _mtu(size: int) -> int:
    if not isinstance(size, int) or not LEAST_V4 <= size <= MOST_MTU:
        raise ValueError(f"{size!r} is no MTU; expected {LEAST_V4} to {MOST_MTU}")
    return size


@contextmanager
def _understood(what: str = "") -> Iterator[None]:
    """What is wrong with an argument is a ConfigError; ``what`` stands in front of it."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{what}{error}") from error


def _listening_end(text: str) -> tuple[int, bytes, int]:
    with _understood():
        end = ServiceId.parse(text)
    if end.fwmark:
        raise ConfigError(f"{text!r} is no end of a program; expected 'tcp ADDRESS:PORT', likewise udp or sctp")
    return PROTOCOLS[end.protocol], end.address.packed, end.port


def _need_numbers(given: bool) -> None:
    if not given:
        raise ConfigError("a listing with names; lbsim looks no host names up: expected -n with it")
