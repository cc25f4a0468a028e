"""The engine's host: addresses become ids, nanoseconds ticks, admin commands rows; tables become readable again.

The engine knows integers only. Everything that feeds it (a whole trace in ``simulate``, one packet at a time in
``live``) goes through here, so there is one translation and not two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from errno import errorcode
from typing import Any

import numpy as np

from lbsim import own_schedulers
from lbsim.address_book import AddressBook
from lbsim.config.ipvsadm import ENGINES
from lbsim.engine import (
    address_cache,
    blocks,
    clock,
    conntable,
    defence,
    destinations,
    director,
    errnos,
    estimator,
    icmp,
    sctp,
    services,
    tcp,
    udp,
)
from lbsim.engine.blocks import Found, Given
from lbsim.engine.estimator import AT_ONCE, NEVER, PERIODIC, start_copies
from lbsim.engine.lanes import Lane, interpreted_lane, replaced
from lbsim.engine.numbers import TCP
from lbsim.engine.profile import (
    PROFILES,
    SWITCHES,
    SYSCTLS,
    TAKEN,
    Profile,
    refused_by_kernel,
    refused_value,
    unmodelled_value,
)
from lbsim.engine.records import (
    AddressRow,
    CachedAddress,
    Conn,
    Copy,
    Dest,
    DestRequest,
    Flow,
    Link,
    Member,
    Outcome,
    Packet,
    Quote,
    Service,
    ServiceRequest,
    Tables,
    Timer,
)
from lbsim.engine.records import Director as DirectorRow
from lbsim.engine.schedulers import BUILT_IN, KNOWN, NUMBERS, mh, sh
from lbsim.engine.timers import LEVELS, SLOTS
from lbsim.engine_words import (
    CHECKSUMS,
    FLAGS,
    METHODS,
    PROTOCOLS,
    TUNNELS,
)
from lbsim.errors import ConfigError, LbsimError, expected_one_of
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    EditDest,
    EditService,
    Persistence,
    ServiceId,
    SetSysctl,
    SetTimeouts,
    Zero,
)
from lbsim.model.quotes import Quotes
from lbsim.model.trace import AddressTable, IntColumn
from lbsim.packet.quoted import Quoted

__all__ = ["EngineHost", "profile_named", "sysctl_values"]

SECOND = 1_000_000_000
ENDLESS = 1 << 30  # bytes
_ADDRESS_BUCKETS = _CONN_BUCKETS = 1024  # at the beginning; of connections more where unused ones cost nothing
_DEFENCES = ("drop_entry", "drop_packet", "secure_tcp")
SECURE_TCP = 3  # 1 and 2 are on only when memory runs short
#: Scheduler -> the table that it needs, the mark up to which that is used, the rows of one service.
_ROOMS = {
    "sh": ("hash_buckets", "buckets_used", sh.BUCKETS),
    "dh": ("hash_buckets", "buckets_used", sh.BUCKETS),
    "mh": ("mh_slots", "mh_slots_used", mh.SLOTS),
    "lblc": ("cache_heads", "cache_heads_used", address_cache.BUCKETS),
    "lblcr": ("cache_heads", "cache_heads_used", address_cache.BUCKETS),
}

#: Table -> what its rows are; the others hold plain integers.
_RECORDS: dict[str, type[Any]] = {
    "director": DirectorRow,
    "addresses": AddressRow,
    "services": Service,
    "dests": Dest,
    "conns": Conn,
    "links": Link,
    "timers": Timer,
    "flows": Flow,
    "quotes": Quote,
    "cached": CachedAddress,
    "members": Member,
    "copies": Copy,
}
#: Table -> the mark up to which it is used, if it has one.
_USED = {
    "addresses": "addresses_used",
    "services": "services_used",
    "dests": "dests_used",
    "conns": "conns_used",
    "links": "conns_used",
    "timers": "conns_used",
    "cached": "cached_used",
    "members": "members_used",
    "copies": "copies_used",
}


def profile_named(name: str) -> Profile:
    """The profile of that name; ConfigError lists the known ones."""
    if name not in PROFILES:
        raise ConfigError(expected_one_of(name, list(PROFILES), "profile"))
    return PROFILES[name]


def sysctl_values(given: Mapping[str, int] | None) -> dict[str, int]:
    """The value of every tunable that is a switch of the engine: the kernel's default unless given, names with or
    without ``net.ipv4.vs.``.
    """
    values = {name: known.default for name, known in SYSCTLS.items() if known.switch}
    for name, value in (given or {}).items():
        short = name.replace("/", ".").removeprefix("net.ipv4.vs.")
        if short not in SYSCTLS:
            raise ConfigError(_unknown_sysctl(short))
        if not isinstance(value, int):
            raise ConfigError(f"net.ipv4.vs.{short}={value!r} is no number")
        if refused_value(short, value):
            raise ConfigError(refused_value(short, value))
        if short in values:
            values[short] = value
    return values


def _settled(defence: int) -> int:
    """What becomes of a value of a defence, as memory never runs short: 2 turns into 1."""
    return 1 if defence == 2 else defence


def _unknown_sysctl(name: str) -> str:
    return expected_one_of(name, TAKEN, "sysctl")


class EngineHost(AddressBook):
    """A director's tables, spoken to in addresses, nanoseconds and admin commands.

    Parameters
    ----------
    profile : which kernel is imitated.
    sysctls : tunables of net.ipv4.vs.; the kernel's defaults for the rest.
    start_jiffies : the tick at time 0; default: that of a machine that has just booted.
    lane : how the engine runs.
    expected_rows : a hint for the size of the service and destination indices.
    seed : of the random numbers that the scheduler twos draws.
    estimator : listings show the counters that the kernel copied last, as real ones do; otherwise those of the moment.
    age : ticks for which the director has existed at time 0; the moments of these copies depend on it.
    """

    def __init__(
        self,
        *,
        profile: str = "linux-6.1.192",
        sysctls: Mapping[str, int] | None = None,
        start_jiffies: int | None = None,
        lane: Lane | None = None,
        expected_rows: int = 64,
        seed: int = 1,
        estimator: bool = False,
        age: int = 0,
    ) -> None:
        super().__init__(profile_named(profile))
        self.start_jiffies = self.profile.boot_jiffies if start_jiffies is None else start_jiffies
        self.lane = lane or interpreted_lane()
        self._persistent = False
        self._schedulers = dict(NUMBERS)  # as they are called now
        self.tables = self._empty_tables(1 << max(6, (expected_rows - 1).bit_length()))
        self._requests = self.lane.table(ServiceRequest, 1), self.lane.table(DestRequest, 1)
        row = self.tables.director[0]
        for name, value in sysctl_values(sysctls).items():
            setattr(row, name, _settled(value) if name in _DEFENCES else value)
        self._choose_tcp_states(int(row.secure_tcp))
        for name in SWITCHES:
            setattr(row, name, int(name in self.profile.on))
        row.random_state = seed & 0xFFFFFFFF
        row.copying = _copying(sysctls) if estimator else AT_ONCE
        row.copy_age = min(age, self.start_jiffies)
        self._call(start_copies)

    def _empty_tables(self, index_size: int) -> Tables:
        lane, hz = self.lane, self.profile.hz
        parts = {
            "director": lane.table(DirectorRow, 1),
            "addresses": lane.table(AddressRow, 64),
            "services": lane.table(Service, 8),
            "dests": lane.table(Dest, 64),
            "conns": lane.table(Conn, 64),
            "links": lane.table(Link, 64),
            "timers": lane.table(Timer, 64),
            "flows": lane.table(Flow, 1),
            "quotes": lane.table(Quote, 2),
            "cached": lane.table(CachedAddress, 1),
            "members": lane.table(Member, 1),
            "copies": lane.table(Copy, 72),
            "address_heads": lane.heads(_ADDRESS_BUCKETS),
            "service_heads": lane.integers([0] * index_size),
            "dest_heads": lane.integers([0] * index_size),
            "conn_heads": lane.heads(max(_CONN_BUCKETS, lane.spare)),
            "wheel_heads": lane.integers([0] * (LEVELS * SLOTS)),
            "hash_buckets": lane.heads(1),
            "mh_slots": lane.heads(1),
            "cache_heads": lane.heads(1),
            "tcp_next": lane.integers(tcp.next_states()),
            "tcp_timeouts": lane.integers(tcp.timeouts(hz)),
            "udp_timeouts": lane.integers(udp.timeouts(hz)),
            "sctp_next": lane.integers(sctp.next_states()),
            "sctp_timeouts": lane.integers(sctp.timeouts(hz)),
        }
        tables = lane.tables(parts)
        row = tables.director[0]
        row.now = self.start_jiffies
        row.hz = hz
        row.conn_reuse_mode = 1
        row.address_mask = _ADDRESS_BUCKETS - 1
        row.service_mask = row.dest_mask = index_size - 1
        row.conn_mask = len(tables.conn_heads) - 1
        row.plain_length = ENDLESS
        return tables

    # Time

    def tick(self, time: int) -> int:
        """The tick in which a moment (ns since time 0) lies."""
        return self.start_jiffies + time * self.profile.hz // SECOND

    # Commands

    def apply(self, command: AdminCommand) -> str:
        """Let an admin command change the tables; the name of the kernel's error (``"EEXIST"``), or ``""``."""
        row = self.tables.director[0]
        self._room("services", row.services_used + 2)
        self._room("dests", row.dests_used + 2)
        self._room("copies", row.copies_used + 2)
        match command:
            case AddService() | EditService():
                code = self._put_service(command)
            case DeleteService():
                code = self._call(services.delete_service, self._service_request(command.service))
            case Clear():
                code = self._clear()
            case AddDest() | EditDest() | DeleteDest():
                code = self._apply_to_dest(command)
            case Zero(service):
                code = self._zero(service)
            case SetSysctl(name, value):
                code = self._set_sysctl(name, value)
            case SetTimeouts(tcp_seconds, tcpfin_seconds, udp_seconds):
                code = self._call(services.set_timeouts, tcp_seconds, tcpfin_seconds, udp_seconds)
        return errorcode[-code] if code else ""

    def _set_sysctl(self, name: str, value: int) -> int:
        """Give a tunable a value in mid-run."""
        if name not in SYSCTLS or unmodelled_value(name, value):
            raise ConfigError(unmodelled_value(name, value) if name in SYSCTLS else _unknown_sysctl(name))
        if SYSCTLS[name].absent in self.profile.on:
            return errnos.ENOENT
        if refused_by_kernel(name, value):
            return errnos.EINVAL
        if name == "am_droprate":
            self._call(defence.set_am_droprate, value)
        elif name == "run_estimation":
            self._call(estimator.set_run_estimation, value)
        elif name in _DEFENCES:
            self._set_defence(name, value)
        elif SYSCTLS[name].switch:
            setattr(self.tables.director[0], name, value)
        return 0

    def _set_defence(self, name: str, value: int) -> None:
        """Set one of the tunables that are on, or off, or up to the memory."""
        row = self.tables.director[0]
        if getattr(row, name) != value:
            setattr(row, name, _settled(value))
            self._choose_tcp_states(int(row.secure_tcp))
            self._call(defence.take_over)

    def _choose_tcp_states(self, secure_tcp: int) -> None:
        """Let TCP go by the table of states that this value of secure_tcp says."""
        states = self.lane.integers(tcp.next_states(secure=secure_tcp == SECURE_TCP))
        self.tables = replaced(self.lane, self.tables, tcp_next=states)

    def _put_service(self, command: AddService | EditService) -> int:
        """Add or edit a service. That it is there, or not, is found before a name that is not known."""
        adds = isinstance(command, AddService)
        if self._number_of(command.scheduler) < 0 or command.engine not in ("", *ENGINES):
            there = self._call(services.requested_service, self._service_request(command.service)) != 0
            return errnos.ENOENT if there != adds else errnos.EEXIST if adds else errnos.ESRCH
        self._room_for_scheduler(command.scheduler)
        put = services.add_service if adds else services.edit_service
        code: int = self._call(put, self._service_request(command.service, command))
        if code == 0:
            s = self._call(services.requested_service, self._service_request(command.service))
            self._engines[int(s)] = command.engine
            self._look_at_dest(int(self.tables.services[s].addr))
        return code

    def _zero(self, service: ServiceId | None) -> int:
        """Let what is shown of a service, or of all, begin anew."""
        if service is None:
            return int(self._call(services.zero_all))
        return int(self._call(services.zero_service, self._service_request(service)))

    def _scheduler(self, s: int) -> int:
        return int(self.tables.services[s].scheduler)

    def _number_of(self, scheduler: str) -> int:
        """The number of the scheduler that had this name when this director was made, or else has it now; -1: none."""
        return self._schedulers.get(scheduler, NUMBERS.get(scheduler, -1))

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call an engine function on this lane's tables.

        Raises
        ------
        LbsimError : a scheduler of a user's own fails, or picks what it cannot pick.
        """
        if len(KNOWN) == len(BUILT_IN) + 1:  # there are none
            return super()._call(function, *arguments)
        try:
            value = super()._call(function, *arguments)
        except (LbsimError, MemoryError):
            raise
        except Exception as error:
            if self.lane.name == "compiled":
                why = own_schedulers.compiled_fault(error, map(self._scheduler, self._service_rows()))
            else:
                why = own_schedulers.fault(error)
            raise why or error from error
        row = self.tables.director[0]
        if s := int(row.wrong_pick_for):
            raise own_schedulers.wrong_pick(self._scheduler(s), int(row.wrong_pick), str(self.service_id(s)))
        return value

    def _room_for_scheduler(self, name: str) -> None:
        """Make room for what the scheduler of one more service needs."""
        if name in _ROOMS:
            table, used, rows = _ROOMS[name]
            self._room(table, getattr(self.tables.director[0], used) + 2 * rows)

    def _clear(self) -> int:
        request = self._requests[0][0]
        for s in self._service_rows():
            row = self.tables.services[s]
            for name in ("proto", "addr", "port", "fwmark", "family"):
                setattr(request, name, getattr(row, name))
            self._call(services.delete_service, request)
        return 0

    def _apply_to_dest(self, command: AddDest | EditDest | DeleteDest) -> int:
        s = self._call(services.requested_service, self._service_request(command.service))
        if s == 0:
            return errnos.ESRCH
        does = {AddDest: destinations.add_dest, EditDest: destinations.edit_dest, DeleteDest: destinations.delete_dest}
        code: int = self._call(does[type(command)], s, self._dest_request(command))
        return code

    def _service_request(self, service: ServiceId, options: AddService | EditService | None = None) -> ServiceRequest:
        """What a command says of a service, as the engine reads it."""
        u: ServiceRequest = self._requests[0][0]
        marked = service.protocol == "fwm"
        u.proto = TCP if marked else PROTOCOLS[service.protocol]
        u.addr = 0 if marked else self.intern(service.address)
        u.port, u.fwmark, u.family = service.port, service.fwmark, service.address.version
        if options:
            kept = options.persistence
            self._persistent = self._persistent or kept is not None
            u.scheduler, u.sched_flags = self._number_of(options.scheduler), _flag_bits(options.flags)
            u.persistent, u.one_packet = int(kept is not None), int(options.one_packet)
            u.timeout = kept.timeout * self.profile.hz if kept else 0
            u.netmask = (kept or Persistence()).mask(service.address.version)
        return u

    def _dest_request(self, command: AddDest | EditDest | DeleteDest) -> DestRequest:
        """What a command says of a destination, as the engine reads it."""
        u: DestRequest = self._requests[1][0]
        u.addr, u.port = self.intern(command.dest.address), command.dest.port
        self._note_dest(u.addr)
        if not isinstance(command, DeleteDest):
            u.weight, u.method, u.upper, u.lower = command.weight, METHODS[command.method], command.upper, command.lower
            tunnel = command.tunnel
            u.tun_type, u.tun_port, u.tun_flags = TUNNELS[tunnel.type], tunnel.port, CHECKSUMS[tunnel.checksum]
        return u

    # Packets

    def room_for(self, packets: int) -> None:
        """Make room for one new connection entry per packet (and one template, of two new addresses, if services are
        persistent) and one address in a scheduler's cache, and keep the buckets short.
        """
        row = self.tables.director[0]
        wanted = int(row.conns_used) + packets * (1 + self._persistent) + 1
        if self._persistent or row.cache_bypass:
            self._room_for_addresses(2 * packets)
        if row.cache_heads_used:
            self._room("cached", int(row.cached_used) + packets + 1)
            self._room("members", int(row.members_used) + packets + 1)
        self._room("timers", wanted)
        self._room("links", wanted)
        t = self._room("conns", wanted)
        buckets = len(t.conn_heads)
        if wanted > buckets:
            old = t.conn_heads
            larger = 1 << (wanted - 1).bit_length()
            self.tables = replaced(self.lane, t, conn_heads=self.lane.heads(larger))
            row.conn_mask = larger - 1
            self._call(conntable.rehash_conns, old, buckets)

    def room_for_flows(self, flows: int) -> None:
        """Make room for that many flows."""
        self._room("flows", max(flows, 1))

    def move_to(self, lane: Lane) -> None:
        """Go on in another lane, with tables that hold the same."""
        parts: dict[str, Any] = {}
        for name in (field.name for field in fields(Tables)):
            table, record = getattr(self.tables, name), _RECORDS.get(name)
            if record is None:
                parts[name] = lane.integers([int(value) for value in table])
                continue
            columns = tuple(field.name for field in fields(record))
            used = getattr(self.tables.director[0], _USED.get(name, ""), len(table) - 2)
            read = self.lane.read(table, columns, min(int(used) + 2, len(table)))
            parts[name] = lane.rows(record, {column: np.asarray(values) for column, values in read.items()})
        self.lane, self.tables = lane, lane.tables(parts)
        self._requests = lane.table(ServiceRequest, 1), lane.table(DestRequest, 1)

    def receive_block(self, packets: list[Packet], outcomes: list[Outcome], count: int) -> None:
        """Receive the first ``count`` packets; outcome i belongs to packet i."""
        self.room_for(count)
        self._call(director.receive_block, packets, outcomes, 0, count)

    def receive_columns(
        self, given: Given, ids: IntColumn, found: Found, rows: tuple[list[Packet], list[Outcome]], part: slice
    ) -> None:
        """Receive a part of a block's packets, see :func:`lbsim.engine.blocks.receive_columns`.

        Parameters
        ----------
        rows : tables to work in.
        """
        self.room_for(part.stop - part.start)
        self._call(blocks.receive_columns, given, ids, found, *rows, part.start, part.stop)

    def send_itself(self, packets: list[Packet], outcomes: list[Outcome]) -> None:
        """Let the first packet be one that a program on the director sends: what IPVS makes of it."""
        self.room_for(1)
        self._call(director.send_itself, packets[0], outcomes[0])

    def note_quote(self, q: Quoted) -> int:
        """The row of a quoted packet, the only one until the next is noted."""
        row = self.tables.quotes[1]
        row.proto, row.sport, row.dport, row.shape = q.packet.proto, q.packet.sport, q.packet.dport, q.packet.shape
        row.src, row.dst = self.intern_packed(q.packet.src), self.intern_packed(q.packet.dst)
        row.outer = self.intern_packed(q.outer) if q.outer else 0
        row.wrong, row.limit, row.may_split, row.length = int(q.wrong), q.limit, int(q.may_split), q.length
        return 1

    def note_quotes(self, quotes: Quotes) -> None:
        """Make the quoted packets of a block of a trace the rows from 1 on."""
        rows = self._room("quotes", len(quotes) + 1).quotes
        ends = {}
        for name in ("src", "dst"):
            addresses = AddressTable()
            addresses.extend_columns(family=quotes["family"], words=quotes[name])
            ends[name] = self.intern_all(addresses).tolist()
        columns = {name: quotes[name].tolist() for name in ("proto", "sport", "dport", "shape", "wrong")} | ends
        for i in range(len(quotes)):
            row = rows[i + 1]
            for name, values in columns.items():
                setattr(row, name, values[i])
            row.outer = 0

    def has_tunnel(self, address: bytes, kind: int, port: int) -> bool:
        """Whether a destination with this address has such a tunnel."""
        return bool(self._call(icmp.has_tunnel, self.intern_packed(address), kind, port))

    def advance(self, time: int) -> None:
        """Move the clock to ``time`` (ns); timers that are due fire."""
        self._call(clock.advance, self.tick(time))


def _flag_bits(flags: Iterable[str]) -> int:
    return sum(FLAGS[name] for name in flags)


def _copying(sysctls: Mapping[str, int] | None) -> int:
    """What a kernel's estimator does with these tunables: Director.copying."""
    run = {name.replace("/", ".").removeprefix("net.ipv4.vs."): value for name, value in (sysctls or {}).items()}
    return PERIODIC if run.get("run_estimation", SYSCTLS["run_estimation"].default) else NEVER
