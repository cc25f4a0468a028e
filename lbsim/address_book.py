"""The addresses that a director has met: their ids, and what its routes, rules and networks say about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

import numpy as np

from lbsim.engine import forwarding
from lbsim.engine.addresses import intern_address, intern_addresses, rehash_addresses
from lbsim.engine.lanes import replaced
from lbsim.engine.numbers import FROM_CLIENTS, FROM_SERVERS
from lbsim.engine.profile import Profile
from lbsim.engine.records import Outcome, Packet, Tables
from lbsim.model.config import INTERFACES, Address, RouterSettings
from lbsim.model.trace import AddressTable, IntColumn
from lbsim.packet.octets import words_of
from lbsim.readout import Readout

__all__ = ["AddressBook", "Network"]

Network: TypeAlias = IPv4Network | IPv6Network

ETHERNET = 1500  # bytes
EVERYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class AddressBook(Readout):
    """A director's addresses.

    Parameters
    ----------
    profile : which kernel is imitated.

    Attributes
    ----------
    router : what the director is as a router.
    """

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._ids: dict[Address, int] = {}  # of those that were interned alone
        self._packed_ids: dict[bytes, int] = {}  # likewise, as they stand in headers
        # That the director has as a whole: AddressRow.local
        self._networks: list[tuple[Network, int]] = [(network, 1) for network in LOOPBACK]
        self._mtus: list[tuple[Network, int]] = []  # of routes, the most specific last
        self._reachable: list[Network] | None = None  # None: everything
        self.router = RouterSettings()
        self._straight: tuple[Network, ...] = ()
        self._dest_ids: set[int] = set()

    # Ids

    def intern(self, address: Address) -> int:
        """The id of an address; the same address has the same id."""
        known = self._ids.get(address)
        if known is not None:
            return known
        self._room_for_addresses(1)
        a: int = self._call(intern_address, address.version, *words_of(address))
        self._note_address(a, address)
        self._ids[address] = a
        for network, local in self._networks:
            if address in network:
                self._make_local(a, local)
        self._look_at(a, address)
        return a

    def intern_packed(self, packed: bytes) -> int:
        """The id of an address that is given by its 4 or 16 bytes."""
        known = self._packed_ids.get(packed)
        if known is None:
            known = self._packed_ids[packed] = self.intern(ip_address(packed))
        return known

    def intern_all(self, addresses: AddressTable) -> IntColumn:
        """The ids of all addresses of a table, in its order."""
        count, before = len(addresses), len(self.addresses)
        self._room_for_addresses(count)
        columns = [addresses.family, *addresses.words.T]
        ids = self.lane.heads(count)
        self._call(intern_addresses, *(self.lane.column(column) for column in columns), ids)
        found = np.asarray(ids, dtype="i4")
        first = _where_new(found, before)
        self._addresses.extend_columns(family=addresses.family[first], words=addresses.words[first])
        for network, local in self._networks:
            for a in np.unique(found[addresses.inside(network)]).tolist():
                self._make_local(a, local)
        if self._mtus or self._reachable is not None or self.router.drops or self._straight:
            for a in found[first].tolist():
                self._look_at(a, self.address(a))
        return found

    def _room_for_addresses(self, count: int) -> None:
        row = self.tables.director[0]
        wanted = int(row.addresses_used) + count + 1
        t = self._room("addresses", wanted)
        if wanted > len(t.address_heads):
            larger = 1 << (wanted - 1).bit_length()
            self.tables = replaced(self.lane, t, address_heads=self.lane.heads(larger))
            row.address_mask = larger - 1
            self._call(rehash_addresses)

    # What is the director's

    def own(self, address: Address) -> None:
        """Note that the director has this address, besides those of its services."""
        self._make_local(self.intern(address), 1)

    def own_network(self, network: Network, *, by_routing: bool = False) -> None:
        """Note that packets to the whole network are delivered to the director: ``ip route add local NETWORK dev lo``.

        Parameters
        ----------
        by_routing : only a routing rule does so; the addresses are not the director's own.
        """
        local = 2 if by_routing else 1
        self._networks.append((network, local))
        for address, a in self._ids.items():
            if address in network:
                self._make_local(a, local)

    def deliver(self, a: int) -> None:
        """Note that a routing rule brings marked packets to this address, given by its id, to the director."""
        self._make_local(a, 2)

    def _make_local(self, a: int, local: int) -> None:
        row = self.tables.addresses[a]
        row.local = local if row.local == 0 else min(local, row.local)
        self._look_at_dest(a)

    # What its routes and rules say

    def route(self, mtus: Mapping[Network, int], reachable: Iterable[Network] | None = None) -> None:
        """Note the MTU of the routes to networks, and which networks there are routes to; None: to everything.

        Of several networks that an address is in, the smallest one's MTU counts; in none, it is 1500. Before the first
        call there is no limit.
        """
        self._mtus = sorted((dict.fromkeys(EVERYWHERE, ETHERNET) | dict(mtus)).items(), key=lambda it: it[0].prefixlen)
        self._reachable = None if reachable is None else list(reachable)
        row = self.tables.director[0]
        row.plain_length = 0 if self._reachable is not None else min([row.plain_length, ETHERNET, *mtus.values()])
        self._look_at_all()

    def _look_at_all(self) -> None:
        for a, address in enumerate(self.addresses, start=1):
            self._look_at(a, address)

    def _look_at(self, a: int, address: Address) -> None:
        """Note what routes, rules and networks say about an address."""
        self._find_route(a, address)
        self._filter(a, address)
        self._find_straight(a, address)

    def _find_route(self, a: int, address: Address) -> None:
        row = self.tables.addresses[a]
        for network, mtu in self._mtus:
            if address in network:
                row.mtu = mtu
        if self._reachable is not None:
            row.no_route = int(not any(address in network for network in self._reachable))

    def be_router(self, router: RouterSettings) -> None:
        """Note the rules and the policy of the chain FORWARD, which every packet passes that the director routes, and
        where it masquerades what it routes: towards the real servers by its second interface, else towards clients.
        """
        self.router = router
        inward = INTERFACES[1]
        bits = {FROM_CLIENTS if name == inward else FROM_SERVERS for name in router.masquerade}
        self.tables.director[0].masquerades = sum(bits)
        if router.drops:
            self.tables.director[0].plain_length = 0
        self._look_at_all()

    def _filter(self, a: int, address: Address) -> None:
        """Note from where packets of an address are not forwarded."""
        if self.router.drops and isinstance(address, IPv4Address):
            sides = zip(INTERFACES, (FROM_CLIENTS, FROM_SERVERS), strict=True)
            kept_back = [bit for name, bit in sides if self.router.target(name, address) == "DROP"]
            self.tables.addresses[a].kept_back = sum(kept_back)

    def let_straight(self, networks: Iterable[Network]) -> None:
        """Note from whom, and to whom, answers of simulated real servers do not pass the director."""
        self._straight = tuple(networks)
        self.tables.director[0].straight_replies = int(bool(self._straight))
        self._look_at_all()

    def _find_straight(self, a: int, address: Address) -> None:
        if any(address in network for network in self._straight):
            self.tables.addresses[a].straight = 1

    def _note_dest(self, a: int) -> None:
        """Note that a destination has this address, given by its id."""
        self._dest_ids.add(a)
        self._look_at_dest(a)

    def is_dest(self, a: int) -> bool:
        """Whether it is, or was, the address of a destination."""
        return a in self._dest_ids

    def _look_at_dest(self, a: int) -> None:
        """Have every packet's way looked at, if this address of a destination is the director's."""
        if a in self._dest_ids and self.tables.addresses[a].local == 1:
            self.tables.director[0].plain_length = 0

    def limit(self, a: int, d: int) -> int:
        """The longest packet that fits onto the way to an address, in the tunnel of destination ``d`` (0: none)."""
        return int(self._call(forwarding.path_limit, a, d))

    def limits(self) -> IntColumn:
        """The MTU of the route to each address, in the order of :attr:`addresses`."""
        rows = self.lane.read(self.tables.addresses, ("mtu",), len(self.addresses) + 1)
        return np.asarray(rows["mtu"][1:], dtype="i4")

    def router_stops(self, packets: list[Packet], outcomes: list[Outcome]) -> bool:
        """Whether the director as a router does not forward the first packet; then the first outcome is its verdict."""
        return bool(self._call(forwarding.stopped_back, packets[0], outcomes[0]))

    # Tables

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call an engine function on this lane's tables."""
        return self.lane.function(function)(self.tables, *arguments)

    def _room(self, table: str, rows: int) -> Tables:
        old = getattr(self.tables, table)
        if rows > len(old):
            more = 3 * len(old) if len(old) < self.lane.spare else len(old) // 2
            larger = self.lane.grown(old, max(rows, len(old) + more))
            self.tables = replaced(self.lane, self.tables, **{table: larger})
        return self.tables


def _where_new(ids: IntColumn, before: int) -> IntColumn:
    """Where each id above ``before`` stands first. They are given in the order in which addresses appear."""
    highest = np.maximum.accumulate(np.append(np.int32(before), ids))  # of those in front
    return np.flatnonzero(ids > highest[:-1])
