"""What is in a director's tables, in words and rows: for listings, results and people.

The engine itself never reads any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np

from lbsim.config.writing import shown_flags
from lbsim.engine import estimator, tcp
from lbsim.engine.estimator import AT_ONCE
from lbsim.engine.lanes import Lane
from lbsim.engine.profile import Profile
from lbsim.engine.records import Conn, Copy, Dest, Service, Tables
from lbsim.engine.schedulers import KNOWN
from lbsim.engine_words import (
    ANY_FLAGS,
    CHECKSUM_NAMES,
    METHOD_NAMES,
    OWN_FLAGS,
    PROTOCOL_NAMES,
    SERVICE_PROTOCOLS,
    STATES,
    TUNNEL_NAMES,
    state_index,
)
from lbsim.model.config import Address, DestId, Persistence, ServiceId, Tunnel
from lbsim.model.listing import ListedDest, ListedService, Rates, Timeouts
from lbsim.model.result import ConnRow, Counters, Destination, DestRow, ServiceOptions, ServiceRow
from lbsim.model.trace import AddressTable

__all__ = ["Activity", "Readout"]

Activity: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.signedinteger]]"
"""Active and inactive connections, per row of the destination table : int64[2, rows]."""


class Readout:
    """A director's tables, read."""

    tables: Tables
    lane: Lane

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._addresses = AddressTable()  # id - 1 -> address
        self._known: dict[int, Address] = {}  # those that were asked for
        self._names: dict[int, str] = {}  # likewise, as text
        self._engines: dict[int, str] = {}  # service row -> its persistence engine

    @property
    def addresses(self) -> AddressTable:
        """The address of every id (id - 1 is the index), also of those that the engine interned by itself."""
        first, last = len(self._addresses) + 1, int(self.tables.director[0].addresses_used)
        if first <= last:
            rows = [self.tables.addresses[a] for a in range(first, last + 1)]
            words = [[int(row.word0), int(row.word1), int(row.word2), int(row.word3)] for row in rows]
            self._addresses.extend_columns(
                family=np.array([row.family for row in rows], dtype="i1"), words=np.array(words, dtype="i8")
            )
        return self._addresses

    def address(self, a: int) -> Address:
        """The address of an id."""
        known = self._known.get(a)
        if known is None:
            known = self._known[a] = self.addresses[a - 1]
        return known

    def _note_address(self, a: int, address: Address) -> None:
        """Note what :meth:`address` says of an id; without a zone, as no packet has one."""
        if isinstance(address, IPv4Address) or address.scope_id is None:
            self._known[a] = address

    def address_name(self, a: int) -> str:
        """The address of an id as text."""
        name = self._names.get(a)
        if name is None:
            name = self._names[a] = str(self.address(a))
        return name

    # Tables

    def endpoint(self, a: int, port: int | Literal[""]) -> str:
        """An address id and a port as ``10.0.0.11:80``; without a port as what is written in front of one."""
        name = self.address_name(a)
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def service_name(self, s: int) -> str:
        """A service row as ``tcp 192.168.1.10:80`` or ``fwm 1``."""
        return str(self.service_id(s))

    def services(self, *, shown: bool = False) -> tuple[ServiceRow, ...]:
        """The services in order of address, protocol and port, their destinations newest first as the kernel
        has them; with counters as listings show them, or those of the moment.
        """
        counters = self.shown if shown else self.counters
        return tuple(self._service_row(s, counters) for s in sorted(self._service_rows(), key=self._service_order))

    def _service_rows(self) -> list[int]:
        t = self.tables
        return [s for s in range(1, t.director[0].services_used + 1) if t.services[s].exists]

    def _service_order(self, s: int) -> tuple[int, int, int, int]:
        row = self.tables.services[s]
        address = int(self.address(row.addr)) if row.addr else 1 << 128  # those by firewall mark come last
        return int(row.family), address, int(row.proto), int(row.port or row.fwmark)

    def _service_row(self, s: int, counters: Callable[[Service | Dest], Counters]) -> ServiceRow:
        t = self.tables
        row = t.services[s]
        dests = []
        for d in self._dest_rows(s):
            dest = t.dests[d]
            name, method = self.endpoint(dest.addr, dest.port), METHOD_NAMES[dest.method]
            limits = int(dest.upper), int(dest.lower)
            dests.append(DestRow(name, int(dest.weight), *_activity(dest), counters(dest), method, *limits))
        scheduler, flags = self.scheduler_of(s)
        kept = self._persistence(row)
        options = ServiceOptions(kept, self._engines.get(s, "") if kept else "", bool(row.one_packet))
        return ServiceRow(self.service_name(s), scheduler, flags, counters(row), tuple(dests), options)

    def _persistence(self, row: Service) -> Persistence | None:
        return Persistence(int(row.timeout) // self.profile.hz, int(row.netmask)) if row.persistent else None

    def scheduler_of(self, s: int) -> tuple[str, tuple[str, ...]]:
        """A service row's scheduler and the flags of it that results show."""
        row = self.tables.services[s]
        scheduler = _scheduler_name(row)
        return scheduler, shown_flags(scheduler, _flag_names(scheduler, row.sched_flags))

    def _dest_rows(self, s: int) -> list[int]:
        """The destinations of a service, newest first."""
        found = []
        d = self.tables.services[s].first
        while d:
            found.append(int(d))
            d = self.tables.dests[d].next
        return found

    # Counters and listings

    def shown(self, row: Service | Dest) -> Counters:
        """The counters of a row as the tools show them."""
        if self.tables.director[0].copying == AT_ONCE:
            return self.counters(row)
        copy = self.tables.copies[row.copy_row]
        return _since_zero(copy, copy)

    def rates(self, row: Service | Dest) -> Rates:
        """What there is per second of a row as the tools show it."""
        return _rates(self.tables.copies[row.copy_row])

    def total(self) -> tuple[Counters, Rates]:
        """What the tools show of all services together, those that are gone included."""
        copy = self.tables.copies[estimator.TOTAL]
        if self.tables.director[0].copying == AT_ONCE:
            return self.total_counters(), _rates(copy)
        return _since_zero(copy, copy), _rates(copy)

    def counters(self, row: Service | Dest) -> Counters:
        """The counters of a row as they are at this moment, since they were zeroed."""
        return _since_zero(row, self.tables.copies[row.copy_row])

    def total_counters(self) -> Counters:
        """Likewise of all services together, those that are gone included."""
        return _less(self.counted(), _zero_point(self.tables.copies[estimator.TOTAL]))

    def counted(self) -> Counters:
        """What all services together, those that are gone included, have counted; nothing zeroes that."""
        t = self.tables
        rows = [_counters(t.services[s]) for s in range(1, t.director[0].services_used + 1)]
        return Counters(*(sum(getattr(row, name) for row in rows) for name in Counters.__slots__))

    def listed(self) -> tuple[ListedService, ...]:
        """The services as listings have them, in a kernel's order: by address before by mark, newest destination first.

        The kernel's order of services is otherwise that of a random hash; here it is that of adding.
        """
        rows = sorted(self._service_rows(), key=lambda s: bool(self.tables.services[s].fwmark))
        return tuple(self._listed_service(s) for s in rows)

    def _listed_service(self, s: int) -> ListedService:
        row = self.tables.services[s]
        scheduler = _scheduler_name(row)
        return ListedService(
            self.service_id(s),
            scheduler,
            _flag_names(scheduler, row.sched_flags),
            persistence=self._persistence(row),
            engine=self._engines.get(s, ""),
            one_packet=bool(row.one_packet),
            counters=self.shown(row),
            rates=self.rates(row),
            dests=tuple(self._listed_dest(d) for d in self._dest_rows(s)),
        )

    def service_id(self, s: int) -> ServiceId:
        """What names a service row in commands."""
        row = self.tables.services[s]
        if row.fwmark:
            return ServiceId.marked(int(row.fwmark), int(row.family))
        return ServiceId(SERVICE_PROTOCOLS[row.proto], self.address(row.addr), int(row.port))

    def _listed_dest(self, d: int) -> ListedDest:
        dest = self.tables.dests[d]
        active, inactive = _activity(dest)
        return ListedDest(
            DestId(self.address(dest.addr), int(dest.port)),
            method=METHOD_NAMES[dest.method],
            weight=int(dest.weight),
            upper=int(dest.upper),
            lower=int(dest.lower),
            tunnel=Tunnel(TUNNEL_NAMES[dest.tun_type], int(dest.tun_port), CHECKSUM_NAMES[dest.tun_flags]),
            active=active,
            inactive=inactive,
            persistent=int(dest.persist),
            counters=self.shown(dest),
            rates=self.rates(dest),
        )

    def timeouts(self) -> Timeouts:
        """The timeouts that ``--set`` changes."""
        t, hz = self.tables, self.profile.hz
        return Timeouts(
            tcp=int(t.tcp_timeouts[tcp.ESTABLISHED]) // hz,
            tcpfin=int(t.tcp_timeouts[tcp.FIN_WAIT]) // hz,
            udp=int(t.udp_timeouts[0]) // hz,
        )

    # Rows of results

    def destinations(self) -> tuple[tuple[Destination, ...], list[int]]:
        """Every destination that ever was, and for each row of the table which of them it is (row 0: -1).

        A destination that was forgotten and added anew has two rows; its counters are added up.
        """
        t = self.tables
        found: dict[tuple[str, str], int] = {}
        merged: list[Destination] = []
        index = [-1]
        for d in range(1, t.director[0].dests_used + 1):
            dest = t.dests[d]
            key = self.service_name(dest.service), self.endpoint(dest.addr, dest.port)
            active, inactive = _activity(dest)
            this = Destination(*key, bool(dest.available), int(dest.weight), active, inactive, self.counters(dest))
            at = found.setdefault(key, len(merged))
            index.append(at)
            if at == len(merged):
                merged.append(this)
            else:
                merged[at] = _merged(merged[at], this)
        return tuple(merged), index

    def activity(self) -> Activity:
        """Active and inactive connections of every row of the destination table from row 1 on."""
        t = self.tables
        rows = self.lane.read(t.dests, ("active", "total"), int(t.director[0].dests_used) + 1)
        found = np.empty((2, t.director[0].dests_used), dtype="i8")
        found[0], found[1] = rows["active"][1:], rows["total"][1:]
        found[1] -= found[0]
        return np.maximum(found, 0, out=found)

    def connections(self) -> tuple[ConnRow, ...]:
        """The connection table, sorted by protocol and ends (the kernel's order is random)."""
        t = self.tables
        used = [conn for conn in islice(t.conns, 1, int(t.director[0].conns_used) + 1) if conn.serial]
        ends = {a for conn in used for a in (conn.caddr, conn.vaddr, conn.daddr)}
        numbers = {a: int(self.address(a)) for a in ends}
        used.sort(key=lambda conn: _conn_order(conn, numbers))
        hosts = {a: self.endpoint(a, "") for a in ends}
        now, hz = t.director[0].now, self.profile.hz
        return tuple([_conn_row(conn, hosts, now, hz) for conn in used])


def _conn_order(conn: Conn, numbers: Mapping[int, int]) -> tuple[int, ...]:
    """What entries are sorted by; ``numbers`` are the addresses of their ids."""
    client, virtual, destination = numbers[conn.caddr], numbers[conn.vaddr], numbers[conn.daddr]
    return conn.proto, client, conn.cport, virtual, conn.vport, destination, conn.dport, conn.serial


def _conn_row(conn: Conn, hosts: Mapping[int, str], now: int, hz: int) -> ConnRow:
    """``hosts`` are what is written in front of a port, by the ids of addresses."""
    left = conn.expires - now
    return ConnRow(
        PROTOCOL_NAMES[conn.proto].upper(),
        f"{hosts[conn.caddr]}{conn.cport}",
        f"{hosts[conn.vaddr]}{conn.vport}",
        f"{hosts[conn.daddr]}{conn.dport}",
        STATES[conn.proto][int(state_index(conn.proto, conn.state, conn.marks))],
        int(left // hz) if left > 0 else 0,
    )


def _scheduler_name(row: Service) -> str:
    return KNOWN[int(row.scheduler)][0]


def _flag_names(scheduler: str, bits: int) -> tuple[str, ...]:
    """The flags as ipvsadm lists them: by the scheduler's own names if it has such."""
    own = {bit: name for name, bit in OWN_FLAGS.get(scheduler, {}).items()}
    return tuple(own.get(bit, name) for name, bit in ANY_FLAGS.items() if bits & bit)


def _activity(dest: Dest) -> tuple[int, int]:
    """(active, inactive) as listings show them."""
    return int(dest.active), int(max(dest.total - dest.active, 0))


def _since_zero(row: Service | Dest | Copy, copy: Copy) -> Counters:
    return _less(_counters(row), _zero_point(copy))


def _zero_point(copy: Copy) -> Counters:
    return Counters(
        int(copy.zero_conns),
        int(copy.zero_in_packets),
        int(copy.zero_out_packets),
        int(copy.zero_in_bytes),
        int(copy.zero_out_bytes),
    )


def _less(a: Counters, b: Counters) -> Counters:
    return Counters(
        a.connections - b.connections,
        a.in_packets - b.in_packets,
        a.out_packets - b.out_packets,
        a.in_bytes - b.in_bytes,
        a.out_bytes - b.out_bytes,
    )


def _rates(copy: Copy) -> Rates:
    """A copy's rates; all of them come as 64-bit numbers."""
    return Rates(
        estimator.per_second(int(copy.conns_rate)),
        estimator.per_second(int(copy.in_packets_rate)),
        estimator.per_second(int(copy.out_packets_rate)),
        estimator.bytes_per_second(int(copy.in_bytes_rate)),
        estimator.bytes_per_second(int(copy.out_bytes_rate)),
    )


def _counters(row: Service | Dest | Copy) -> Counters:
    return Counters(int(row.conns), int(row.in_packets), int(row.out_packets), int(row.in_bytes), int(row.out_bytes))


def _merged(old: Destination, new: Destination) -> Destination:
    """Two rows of one destination: what it is now is the newer one's, counters and connections are the sum."""
    a, b = old.counters, new.counters
    return Destination(
        service=new.service,
        dest=new.dest,
        present=new.present,
        weight=new.weight,
        active=old.active + new.active,
        inactive=old.inactive + new.inactive,
        counters=Counters(
            a.connections + b.connections,
            a.in_packets + b.in_packets,
            a.out_packets + b.out_packets,
            a.in_bytes + b.in_bytes,
            a.out_bytes + b.out_bytes,
        ),
    )
