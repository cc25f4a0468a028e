"""A service whose destinations' counters are set by hand, and the scheduler's answer to one client."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from lbsim.engine import schedulers
from lbsim.engine.lanes import Lane, interpreted_lane
from lbsim.engine.numbers import TCP
from lbsim.engine.records import Dest as DestRow
from lbsim.engine.records import Packet
from lbsim.host import EngineHost
from lbsim.model.config import AddDest, AddService, AdminCommand, DeleteDest, DestId, EditDest, EditService, ServiceId

__all__ = ["Rig"]


class Rig:
    """Destinations have one-letter names: A is 192.168.10.11 or 2001:db8:1::11, added in the order given."""

    def __init__(
        self,
        scheduler: str,
        weights: dict[str, int],
        *,
        flags: str = "",
        version: int = 4,
        lane: Lane | None = None,
        **options: Any,
    ) -> None:
        self.vip = ip_address("192.0.2.1" if version == 4 else "2001:db8::80")
        self.pattern = "192.168.10.{}" if version == 4 else "2001:db8:1::{}"
        self.host = EngineHost(lane=lane or interpreted_lane(), **options)
        self.service = ServiceId("tcp", self.vip, 80)
        self.apply(AddService(self.service, scheduler, tuple(flags.split())))
        for name, weight in weights.items():
            self.add(name, weight)

    def dest(self, name: str) -> DestId:
        return DestId(ip_address(self.pattern.format(11 + "ABCDEFGH".index(name))), 80)

    def apply(self, command: AdminCommand) -> None:
        assert self.host.apply(command) == ""

    def add(self, name: str, weight: int) -> None:
        self.apply(AddDest(self.service, self.dest(name), weight=weight))

    def edit(self, name: str, weight: int) -> None:
        self.apply(EditDest(self.service, self.dest(name), weight=weight))

    def switch(self, scheduler: str, flags: str = "") -> str:
        """Give the service another scheduler; the kernel's error, if it refuses."""
        return self.host.apply(EditService(self.service, scheduler, tuple(flags.split())))

    def delete(self, name: str) -> None:
        self.apply(DeleteDest(self.service, self.dest(name)))

    def row(self, name: str) -> DestRow:
        """The engine's row of a destination, to set its counters and its overload flag."""
        newest = next(d for d in range(self.used, 0, -1) if self.name_of(d) == name)  # older ones are forgotten
        return self.host.tables.dests[newest]

    @property
    def used(self) -> int:
        return int(self.host.tables.director[0].dests_used)

    def name_of(self, d: int) -> str:
        """The name of a row; "-" for row 0."""
        if d == 0:
            return "-"
        address = self.host.address(self.host.tables.dests[d].addr)
        return next(name for name in "ABCDEFGH" if self.dest(name).address == address)

    def pick(self, client: str = "203.0.113.1", port: int = 40001, to: str = "") -> str:
        """Who gets a connection of this client, to the virtual address unless another is named."""
        self.host.room_for(1)
        packets = self.host.lane.table(Packet, 1)
        packets[0].src = self.host.intern(ip_address(client))
        packets[0].dst = self.host.intern(ip_address(to) if to else self.vip)
        packets[0].sport = port
        packets[0].proto = TCP
        picked = self.host.lane.function(schedulers.schedule)(self.host.tables, 1, packets[0])
        return self.name_of(int(picked))

    def picks(self, count: int) -> str:
        """Who gets so many connections in a row."""
        return " ".join(self.pick() for _ in range(count))

    def buckets(self) -> str:
        """The owners of the 256 buckets of sh or dh in order."""
        first = self.host.tables.services[1].buckets
        return "".join(self.name_of(int(self.host.tables.hash_buckets[first + i])) for i in range(256))

    def slots(self) -> str:
        """The owners of mh's 4093 slots in order."""
        first = self.host.tables.services[1].mh_slots
        return "".join(self.name_of(int(self.host.tables.mh_slots[first + i])) for i in range(4093))
