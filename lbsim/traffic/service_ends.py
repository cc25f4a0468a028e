"""Which packets are a service's: the ends of services, as captured, and the virtual addresses that they stand for.

Functions marked ``@kernel`` run in both lanes. Ends are found by hash: last word of the address, port, protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lbsim.engine.ipsec import IKE
from lbsim.engine.lanes import Lane, kernel
from lbsim.engine.numbers import AH, BAD_OPTIONS, CUT_HEADER, ESP, SCTP, TCP, UDP
from lbsim.engine.records import i2, i4, i8
from lbsim.errors import TraceError
from lbsim.model.config import Address, ServiceId, format_endpoint
from lbsim.packet.headers import ICMP, ICMPV6, Bytes, double_word

__all__ = [
    "LEFT_OUT",
    "NOT_CAPTURED",
    "NO_SERVICE",
    "OTHER_PROTOCOL",
    "PORT_MASK",
    "SAME_PORT",
    "UNREADABLE",
    "End",
    "Pair",
    "ServiceEnds",
    "end_at",
]

#: Why a packet of a capture is not in the trace -> the exact condition. The first one that holds is counted.
LEFT_OUT: Mapping[str, str] = {
    "other_link_type": "Captured on an interface of a link type that lbsim cannot read (pcapng: the file has "
    "other interfaces, too).",
    "arp": "ARP.",
    "not_ip": "The link layer carries neither IPv4 nor IPv6 nor ARP.",
    "unreadable": "The frame ends within its link-layer or IP header, or its IP header contradicts itself.",
    "other_protocol": "Neither TCP nor UDP nor SCTP nor an ICMP error sent to the address of a service, nor AH or ESP "
    "from or to a service of UDP port 500.",
    "no_service": "TCP, UDP or SCTP, but neither destination nor source is a service. Of fragments that complete no "
    "datagram, and of packets that end before their ports, address and protocol alone decide.",
    "not_captured": "From or to a service, but the capture ends within the transport header (TCP 20 bytes, "
    "UDP 8, SCTP 12): made with too small a snapshot length.",
}

# Numbers of LEFT_OUT's names; the first four are those of links.find_ip, with another sign
UNREADABLE = 3
OTHER_PROTOCOL = 4
NO_SERVICE = 5
NOT_CAPTURED = 6

EVERY_PORT = 0  # an end of a service that has all ports
NO_PORT = 0  # an end for packets of a protocol without ports
ANY_PORT = 1 << 16  # an end for packets of which address and protocol decide
PORT_MASK = 0x3FF
MOST_PAIRS = 0xFFFF  # so that a pair and a port are 32 bits
SAME_PORT = -1  # the virtual port is that of the packet

_PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
_ICMP_OF_VERSION = {4: ICMP, 6: ICMPV6}


@dataclass(slots=True, eq=False)
class End:
    """The captured end of a service: packets from and to it are the service's."""

    version: i8 = 0
    proto: i8 = 0
    port: i8 = 0  # or ANY_PORT
    word0: i8 = 0  # the address; IPv4 is word3 alone
    word1: i8 = 0
    word2: i8 = 0
    word3: i8 = 0
    pair: i4 = 0
    virtual_port: i4 = 0  # or SAME_PORT
    next_same_hash: i4 = 0


@dataclass(slots=True, eq=False)
class Pair:
    """A protocol and the virtual address of a service."""

    proto: i2 = 0
    version: i2 = 0
    word0: i8 = 0
    word1: i8 = 0
    word2: i8 = 0
    word3: i8 = 0
    number: i4 = 0  # of the address in the trace, from 1; 0: it has none yet


class Book(NamedTuple):
    """The tables in which the ends of services are looked up.

    Attributes
    ----------
    ends : table of :class:`End`.
    heads : bucket -> first end of it.
    ports : low bits of a port -> whether a service may have it; 0 spares looking for an end.
    pairs : table of :class:`Pair`.
    """

    ends: list[End]
    heads: list[int]
    ports: list[int]
    pairs: list[Pair]


class ServiceEnds:
    """The ends of all services: ``book`` has them as tables of a lane."""

    def __init__(
        self,
        services: Collection[ServiceId],
        mapping: Mapping[tuple[Address, int], ServiceId],
        *,
        lane: Lane,
        file: str,
    ) -> None:
        """Where several ends have an address, port and protocol, the first one counts, and ``mapping`` comes first.

        Raises
        ------
        TraceError : the mapping leads from one address family to the other; or there are too many services.
        """
        #: Address, port, protocol -> pair, virtual port.
        self._ends: dict[tuple[Address, int, int], tuple[int, int]] = {}
        self._pairs: dict[tuple[int, Address], int] = {}
        for (address, port), service in mapping.items():
            if address.version != service.address.version:
                end = format_endpoint(address, port)
                raise TraceError(f"{end} cannot stand for {service}: another address family", file=file)
            self._add(address, port, service)
        for service in (*services, *mapping.values()):
            if service.protocol == "fwm":
                continue  # has no end of its own
            self._add(service.address, service.port, service)
        if len(self._pairs) > MOST_PAIRS:
            raise TraceError(f"{len(services)} services are too many to find in one capture", file=file)
        self.book = Book(*self._end_tables(lane), self._pair_table(lane))

    def _add(self, address: Address, port: int, service: ServiceId) -> None:
        proto = _PROTOCOLS[service.protocol]
        pair = self._pair(proto, service.address)
        self._ends.setdefault((address, port, proto), (pair, service.port or SAME_PORT))
        self._ends.setdefault((address, ANY_PORT, proto), (pair, SAME_PORT))
        without_ports = [(ANY_PORT, _ICMP_OF_VERSION[address.version])]
        if proto == UDP and service.port in (IKE, EVERY_PORT):
            without_ports += [(end, ipsec) for ipsec in (AH, ESP) for end in (NO_PORT, ANY_PORT)]
        for end, other in without_ports:
            self._ends.setdefault((address, end, other), (self._pair(other, service.address), SAME_PORT))

    def _pair(self, proto: int, virtual: Address) -> int:
        return self._pairs.setdefault((proto, virtual), len(self._pairs) + 1)  # row 0 is none

    def _pair_table(self, lane: Lane) -> list[Pair]:
        protocols, addresses = zip(*self._pairs, strict=True) if self._pairs else ((), ())
        columns = {"proto": protocols, **_words(addresses), "number": [0] * len(addresses)}
        pairs: list[Pair] = _table(lane, Pair, columns)
        return pairs

    def _end_tables(self, lane: Lane) -> tuple[list[End], Any, Any]:
        addresses, ports, protocols = zip(*self._ends, strict=True) if self._ends else ((), (), ())
        columns = {"proto": protocols, "port": ports, **_words(addresses)}
        columns["pair"] = [pair for pair, _ in self._ends.values()]
        columns["virtual_port"] = [port for _, port in self._ends.values()]
        next_same_hash = [0] * len(ports)
        heads = [0] * (1 << (4 * len(ports)).bit_length())
        for number, (word3, port, proto) in enumerate(zip(columns["word3"], ports, protocols, strict=True), 1):
            bucket = _bucket(word3, port, proto, len(heads) - 1)
            next_same_hash[number - 1] = heads[bucket]
            heads[bucket] = number
        may_be = [0] * (PORT_MASK + 1)
        for port in ports:
            may_be[port & PORT_MASK] = 1
        if EVERY_PORT in ports:
            may_be = [1] * len(may_be)
        columns["next_same_hash"] = next_same_hash
        return _table(lane, End, columns), lane.integers(heads), lane.integers(may_be)


def _words(addresses: Sequence[Address]) -> dict[str, list[int]]:
    """The columns of a row that say its address."""
    numbers = [int(address) for address in addresses]
    return {
        "version": [address.version for address in addresses],
        "word0": [number >> 96 for number in numbers],
        "word1": [number >> 64 & 0xFFFFFFFF for number in numbers],
        "word2": [number >> 32 & 0xFFFFFFFF for number in numbers],
        "word3": [number & 0xFFFFFFFF for number in numbers],
    }


def _table(lane: Lane, record: type[Any], columns: Mapping[str, Sequence[int]]) -> Any:
    """A table of these rows behind row 0, which is none."""
    return lane.rows(record, {name: np.array([0, *column]) for name, column in columns.items()})


@kernel
def end_at(raw: Bytes, at: int, version: int, proto: int, word3: int, port: int, shape: int, book: Book) -> int:
    """The end with the address at ``at``, whose last 32 bits are ``word3``, and this port; 0: none.

    Where no end has this port, one of a service of port 0 has it. Of a packet whose shape does not say its ports for
    sure, the address alone decides then.
    """
    end = find_end(raw, at, version, proto, word3, port, book)
    if end == 0:
        end = find_end(raw, at, version, proto, word3, EVERY_PORT, book)
    if end == 0 and CUT_HEADER < shape < BAD_OPTIONS:
        return find_end(raw, at, version, proto, word3, ANY_PORT, book)
    return end


@kernel
def _bucket(word3: int, port: int, proto: int, mask: int) -> int:
    """The bucket of an end. There are few ends, so this may be simple; it runs twice for every packet."""
    return (word3 * 613 + port + proto) & mask


@kernel
def find_end(raw: Bytes, at: int, version: int, proto: int, word3: int, port: int, book: Book) -> int:
    """The end with the address at ``at``, whose last 32 bits are ``word3``; 0: none."""
    number = book.heads[_bucket(word3, port, proto, len(book.heads) - 1)]
    while number != 0:
        end = book.ends[number]
        if (
            end.word3 == word3
            and end.port == port
            and end.proto == proto
            and end.version == version
            and (version == 4 or _same_upper_words(raw, at, end.word0, end.word1, end.word2))
        ):
            return number
        number = end.next_same_hash
    return 0


@kernel
def _same_upper_words(raw: Bytes, at: int, word0: int, word1: int, word2: int) -> bool:
    return double_word(raw, at) == word0 and double_word(raw, at + 4) == word1 and double_word(raw, at + 8) == word2
