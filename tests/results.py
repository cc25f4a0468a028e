"""Results made by hand, for tests of what reads results: no simulator is involved.

Every packet has 100 bytes, so that bytes can be computed in the head.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from lbsim.model.config import AddDest, AddService, DestId, DirectorConfig, ServiceId, parse_endpoint
from lbsim.model.result import (
    RESULT_COLUMNS,
    ConnRow,
    Counters,
    Destination,
    DestRow,
    Moment,
    Provenance,
    Result,
    Series,
    ServiceRow,
)
from lbsim.model.verdict import Verdict, reason_named

WEB = "tcp 192.168.1.10:80"
DNS = "udp 192.168.1.10:53"
A, B, C = "10.0.0.11:80", "10.0.0.12:80", "10.0.0.13:80"
SECOND = 1_000_000_000
LENGTH = 100
ORIGIN = Provenance(
    lbsim="0.1.0",
    side="engine",
    lane="interpreted",
    kernel="linux-6.1.192",
    scenario="by-hand",
    digest="0123456789abcdef",
    seed=7,
    hz=250,
    start_jiffies=1000,
)


def entry(client: str, dest: str, state: str = "ESTABLISHED", expires: int = 890, *, service: str = WEB) -> ConnRow:
    """A connection entry of a client's connection to a service."""
    protocol, _, virtual = service.partition(" ")
    return ConnRow(protocol.upper(), client, virtual, dest, state, expires)


class Run:
    """A result in the making. Services first, then what clients did; counters follow from the packets."""

    def __init__(self) -> None:
        self.services: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.dests: dict[tuple[str, str], dict[str, int]] = {}
        self.rows: list[dict[str, int]] = []
        self.addresses: dict[str, int] = {}
        self.flows: dict[tuple[str, str], int] = {}
        self.moments: list[Moment] = []
        self.entries: tuple[ConnRow, ...] = ()
        self.series = Series()

    def service(self, name: str = WEB, scheduler: str = "rr", flags: tuple[str, ...] = ()) -> Run:
        """Add a service without destinations."""
        self.services[name] = (scheduler, flags)
        return self

    def dest(self, name: str, weight: int = 1, *, service: str = WEB, active: int = 0, inactive: int = 0) -> Run:
        """Add a destination to a service."""
        self.dests[service, name] = {"weight": weight, "active": active, "inactive": inactive, "present": 1}
        return self

    def remove(self, name: str, *, service: str = WEB) -> Run:
        """Remove a destination: it stays in the result, marked."""
        self.dests[service, name]["present"] = 0
        return self

    def packet(
        self,
        client: str,
        dest: str | None,
        reason: str,
        *,
        service: str = WEB,
        out: bool = False,
        at: int = 0,
        length: int = LENGTH,
    ) -> Run:
        """Add a packet from a client to a service, or back (``out``), with its reason."""
        protocol, _, virtual = service.partition(" ")
        known = reason_named(reason)
        forwarded = known.verdict == Verdict.FORWARD
        before = (dest or virtual, client) if out else (client, virtual)
        after = (virtual, client) if out else (client, dest)
        row = {
            "time": at,
            "flow": self.flows.setdefault((client, service), len(self.flows)),
            "direction": int(out),
            "proto": {"tcp": 6, "udp": 17}[protocol],
            "length": length,
            "verdict": known.verdict,
            "reason": known.code,
            "dest": list(self.dests).index((service, dest)) if dest else -1,
        }
        for name, end in zip(("src", "dst"), before, strict=True):
            row |= self._end(name, "sport" if name == "src" else "dport", end)
        for name, end in zip(("new_src", "new_dst"), after, strict=True):
            port = "new_sport" if name == "new_src" else "new_dport"
            row |= self._end(name, port, end) if forwarded and end else {name: -1, port: 0}
        self.rows.append(row)
        return self

    def connect(
        self, client: str, dest: str, *, service: str = WEB, sent: int = 2, answered: int = 1, at: int = 0
    ) -> Run:
        """Add a connection: ``sent`` packets from the client, of which the first makes it, then answers."""
        self.packet(client, dest, "new", service=service, at=at)
        for _ in range(sent - 1):
            self.packet(client, dest, "known", service=service, at=at)
        for _ in range(answered):
            self.packet(client, dest, "translated", service=service, at=at, out=True)
        return self

    def moment(self, at: int, *entries: ConnRow) -> Run:
        """Show the tables as they are by now, with these connection entries."""
        self.moments.append(Moment(at, self._listing(), entries))
        return self

    def result(self, **changes: Any) -> Result:
        """The result; ``changes`` replace its fields."""
        columns = {
            name: np.array([row[name] for row in self.rows], dtype=kind) for name, kind in RESULT_COLUMNS.items()
        }
        made = Result(
            provenance=ORIGIN,
            addresses=tuple(self.addresses),
            destinations=tuple(
                Destination(
                    service,
                    name,
                    bool(d["present"]),
                    d["weight"],
                    d["active"],
                    d["inactive"],
                    self._counters(i),
                )
                for i, ((service, name), d) in enumerate(self.dests.items())
            ),
            columns=columns,
            moments=tuple(self.moments),
            final=Moment(max((row["time"] for row in self.rows), default=0), self._listing(), self.entries),
            series=self.series,
            left_out={},
        )
        return replace(made, **changes)

    def config(self) -> DirectorConfig:
        """The config of these services and destinations."""
        commands: list[AddService | AddDest] = [
            AddService(ServiceId.parse(name), scheduler, flags) for name, (scheduler, flags) in self.services.items()
        ]
        commands += [
            AddDest(ServiceId.parse(service), DestId.parse(name), "masq", d["weight"])
            for (service, name), d in self.dests.items()
        ]
        return DirectorConfig(tuple(commands))

    def _end(self, address_name: str, port_name: str, end: str) -> dict[str, int]:
        address, port = parse_endpoint(end)
        return {address_name: self.addresses.setdefault(str(address), len(self.addresses)), port_name: port}

    def _counters(self, *dests: int) -> Counters:
        forwarded = [row for row in self.rows if row["dest"] in dests and row["verdict"] == Verdict.FORWARD]
        packets = Counter(row["direction"] for row in forwarded)
        sizes: Counter[int] = Counter()
        for row in forwarded:
            sizes[row["direction"]] += row["length"]
        made = {reason_named("new").code, reason_named("rescheduled").code}
        connections = sum(row["reason"] in made for row in forwarded)
        return Counters(connections, packets[0], packets[1], sizes[0], sizes[1])

    def _listing(self) -> tuple[ServiceRow, ...]:
        numbers = {key: i for i, key in enumerate(self.dests)}
        return tuple(
            ServiceRow(
                service,
                scheduler,
                flags,
                self._counters(*(i for (name, _), i in numbers.items() if name == service)),
                tuple(
                    DestRow(name, d["weight"], d["active"], d["inactive"], self._counters(numbers[owner, name]))
                    for (owner, name), d in reversed(self.dests.items())
                    if owner == service and d["present"]
                ),
            )
            for service, (scheduler, flags) in self.services.items()
        )


def web(*dests: str, scheduler: str = "rr") -> Run:
    """A run of one web service with these destinations, all of weight 1; A, B and C if none are given."""
    run = Run().service(WEB, scheduler)
    for dest in dests or (A, B, C):
        run.dest(dest)
    return run
