"""Who makes made-up connections, and from which ports: drawn in order of arrival, some at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lbsim.engine.numbers import SCTP, TCP, UDP
from lbsim.model.numbering import Numbering
from lbsim.model.trace import AddressTable, FlowTable, IntColumn, Words
from lbsim.traffic.draws import Draws, zipf

if TYPE_CHECKING:
    from lbsim.model.scenario import Clients, SyntheticTraffic

__all__ = ["PORTS", "PROTOCOLS", "SERVICE", "Callers"]

#: Protocols of the services that can be called -> IP protocol numbers.
PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}

#: Source ports of every client, used in turn: Linux's ephemeral ports.
PORTS = range(32768, 61000)

#: The service's index in the addresses.
SERVICE = 0

_MOST_HOSTS = 2**32
_MOST_RANKS = 2**20


class Callers:
    """Who makes the connections, one after the other: their addresses, ports and flows."""

    def __init__(self, spec: SyntheticTraffic, draws: Draws) -> None:
        self.addresses = AddressTable([spec.service.address])
        self.flows = FlowTable()
        self._proto = PROTOCOLS[spec.service.protocol]
        self._server_port = spec.service.port
        self._hosts = _Hosts(spec.clients, draws)
        self._numbering = Numbering(self.addresses)
        self._used = np.zeros(0, dtype="i4")  # by address: how many connections it has made
        self._all_used = np.zeros(0, dtype="i4")  # by address: its row in flows_by_turn, or -1
        self._flows_by_turn = np.zeros((0, len(PORTS)), dtype="i4")  # of the addresses that used all of their ports

    def next(self, count: int) -> IntColumn:
        """The flows of the next ``count`` connections : int32[count]."""
        family = np.full(count, self._hosts.family, dtype="i1")
        client = self._numbering.of(family=family, words=self._hosts.next(count))
        turn = self._turns(client)
        is_new = turn < len(PORTS)
        flow = np.cumsum(is_new, dtype="i4") + np.int32(len(self.flows) - 1)
        self.flows.extend_columns(
            proto=self._proto,
            client=client[is_new],
            client_port=PORTS[0] + turn[is_new],
            server=SERVICE,
            server_port=self._server_port,
        )
        again = np.flatnonzero(~is_new)
        if len(again):
            flow[again] = self._flows_again(client[again], turn[again] % len(PORTS))
        return flow

    def _turns(self, client: IntColumn) -> IntColumn:
        """How many connections each client has made before : int32[n]."""
        self._used = _longer(self._used, len(self.addresses), 0)
        turn = self._used[client] + _turns(client)
        np.maximum.at(self._used, client, turn + 1)
        return turn

    def _flows_again(self, client: IntColumn, turn: IntColumn) -> IntColumn:
        """The flows that the clients began with the port whose turn it is."""
        self._all_used = _longer(self._all_used, len(self.addresses), -1)
        new = np.unique(client[self._all_used[client] < 0])
        if len(new):
            known = len(self._flows_by_turn)
            self._all_used[new] = np.arange(known, known + len(new))
            theirs = np.flatnonzero(self._all_used[self.flows.client] >= known)
            by_client = np.argsort(self.flows.client[theirs], kind="stable")
            rows = theirs[by_client].astype("i4").reshape(-1, len(PORTS))
            self._flows_by_turn = np.concatenate([self._flows_by_turn, rows])
        return self._flows_by_turn[self._all_used[client], turn]


class _Hosts:
    """The addresses of a population, as they are picked; only those that are asked for are made."""

    def __init__(self, clients: Clients, draws: Draws) -> None:
        self.clients, self.draws = clients, draws
        if clients.cidr:
            network = clients.cidr
            bare = network.max_prefixlen - network.prefixlen <= 1  # neither a network nor a broadcast address
            edges = 0 if bare else 1 if network.version == 6 else 2
            self.family: int = network.version
            self._words = AddressTable([network[not bare]]).words  # of the first one
            self._population = min(network.num_addresses - edges, _MOST_HOSTS)
        else:
            listed = clients.addresses or clients.gateways or []
            self.family = listed[0].version
            self._words = AddressTable(listed).words
            self._population = min(clients.hosts, _MOST_HOSTS) if clients.gateways else len(listed)
        if clients.pick == "zipf":
            self._shares = zipf(min(self._population, _MOST_RANKS), clients.exponent)
        self._begun = 0

    def next(self, count: int) -> Words:
        """Those of the next ``count`` connections : uint32[count, 4]."""
        numbers = self._numbers(self._begun, count)
        self._begun += count
        if not self.clients.cidr:
            return self._words.take(numbers % len(self._words), axis=0)
        low = numbers + self._words[0, 3].astype(np.int64)
        words = np.tile(self._words, (count, 1))
        words[:, 3] = low & 0xFFFFFFFF
        words[:, 2] += (low >> 32).astype("u4")  # of the last one of 2**32 hosts of an IPv6 network
        return words

    def _numbers(self, begin: int, count: int) -> IntColumn:
        """Which hosts make the connections from number ``begin`` on : int64[count]."""
        if self.clients.pick == "in_turn":
            return np.arange(begin, begin + count, dtype=np.int64) % self._population
        if self.clients.pick == "uniform":
            return self.draws.below("clients", count, self._population, begin)
        return self.draws.ranks("clients", count, self._shares, begin)


def _turns(values: IntColumn) -> IntColumn:
    """How often each value was there before: 7 7 9 7 -> 0 1 0 2."""
    order = np.argsort(values, kind="stable")
    group = values[order]
    place = np.arange(len(group), dtype="i4")
    begins = np.ones(len(group), dtype=bool)
    begins[1:] = group[1:] != group[:-1]
    turns = np.empty_like(place)
    turns[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return turns


def _longer(column: IntColumn, length: int, value: int) -> IntColumn:
    """The column with more rows of one value."""
    return np.concatenate([column, np.full(length - len(column), value, dtype=column.dtype)])
