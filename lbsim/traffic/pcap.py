"""Captures as traffic: :func:`read` makes a trace of what clients and services say to each other.

A capture shows both directions. Packets to a service are what the director gets (IN). Packets from a service
are answers (REPLY): in the simulation they come from whichever destination got the flow's last IN packet, so
their ``src`` and ``sport`` hold the virtual end. All other packets are counted by name, see :data:`LEFT_OUT`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from struct import Struct
from typing import TypeAlias

import numpy as np

from lbsim.engine.records import CUT_HEADER, FRAGMENT, ICMP_ERROR, IN, NO_PORTS, REPLY, TCP, UDP
from lbsim.errors import TraceError
from lbsim.model.config import Address, ServiceId, format_endpoint
from lbsim.model.trace import COLUMN_TYPES, AddressTable, Flow, FlowTable, IntColumn, Trace
from lbsim.packet.headers import ICMP, ICMPV6, Headers, parse
from lbsim.traffic.capture_reader import ARP, NO_TIME, NOT_IP, OTHER_LINK, UNREADABLE, Capture, open_capture

__all__ = ["LEFT_OUT", "read"]

#: Why a packet of a capture is not in the trace -> the exact condition. The first one that holds is counted.
LEFT_OUT: Mapping[str, str] = {
    "other_link_type": "Captured on an interface of a link type that lbsim cannot read (pcapng: the file has "
    "other interfaces, too).",
    "arp": "ARP.",
    "not_ip": "The link layer carries neither IPv4 nor IPv6 nor ARP.",
    "unreadable": "The frame ends within its link-layer or IP header, or its IP header contradicts itself.",
    "other_protocol": "Neither TCP nor UDP nor an ICMP error sent to the address of a service.",
    "no_service": "TCP or UDP, but neither destination nor source is a service. Of fragments, and of packets "
    "that end before their ports, address and protocol alone decide.",
    "not_captured": "From or to a service, but the capture ends within the transport header (TCP 20 bytes, "
    "UDP 8): made with too small a snapshot length.",
}

_LINK_REASONS = {ARP: "arp", NOT_IP: "not_ip", UNREADABLE: "unreadable", OTHER_LINK: "other_link_type"}
_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_ICMP_OF_VERSION = {4: ICMP, 6: ICMPV6}
_HEADER_SIZE = {TCP: 20, UDP: 8}
_BY_ADDRESS_ALONE = frozenset({FRAGMENT, NO_PORTS, ICMP_ERROR})

_ROW = np.dtype([(name, "<" + kind) for name, kind in COLUMN_TYPES.items()])
_CODES = {"i8": "q", "i4": "i", "i2": "h", "i1": "b"}
_pack_row = Struct("<" + "".join(_CODES[kind] for kind in COLUMN_TYPES.values())).pack

#: As captured: proto, shape, whether the capture cut the transport header, src, sport, dst, dport.
_Key: TypeAlias = tuple[int, int, bool, bytes, int, bytes, int]
#: As in the trace: flow, direction, src, sport, dst, dport, proto.
_Ends: TypeAlias = tuple[int, int, int, int, int, int, int]


def read(
    path: Path,
    *,
    services: Collection[ServiceId],
    mapping: Mapping[tuple[Address, int], ServiceId] | None = None,
    start: int = 0,
) -> Trace:
    """The trace of a capture: its packets to and from services, in time order.

    ``raw_at`` and ``raw_len`` of a row say where its IP packet lies **as captured** in ``Trace.raw``, which
    is the whole file. With a ``mapping`` those bytes carry the captured server's address and port where the
    row says the virtual service's. ``lbsim.packet.build`` hands out the captured bytes: who sends or stores
    such a packet applies the full Rewrite to it (each new address and port, even if the row has it already),
    so that nothing is lost.

    Parameters
    ----------
    path : a pcap or pcapng file. Link types: Ethernet (VLAN tags are skipped), Linux cooked, raw IP, BSD
        loopback.
    services : the virtual services; packets from or to the address and port of one, and of its protocol, are
        its.
    mapping : captured server ends -> the virtual service that each stands for, for packets of that service's
        protocol. It counts as one of ``services``. Servers that stand for the same service share its flows.
        Where the address alone decides (see :data:`LEFT_OUT`), the first pair with that address does.
    start : ns, when the capture's first packet is sent (even if that is one of those left out).

    Returns
    -------
    Trace. ``left_out`` counts by the names of :data:`LEFT_OUT`. ``damage`` says from where on a damaged file
    could not be read, and whether time runs backwards in it: then the rows are sorted (those of one instant
    stay in the order of the file), and the earliest packet counts as the first.

    Fragments and packets that end before their ports have port 0 where none can be read; ICMP errors (those
    sent to a service's address) always have.

    Raises
    ------
    TraceError : the file cannot be read, is no capture or has no supported link type; or the mapping leads
        from one address family to the other.
    """
    capture = open_capture(path)
    conversations = _Conversations(services, mapping or {}, file=str(path))
    found = _Found(capture, conversations)
    columns = found.columns(start)
    flows = list(conversations.flows)
    if found.backwards:
        flows = _sort_by_time(columns, flows)
    return Trace(
        columns=columns,
        addresses=AddressTable(ip_address(address) for address in conversations.addresses),
        flows=FlowTable(flows),
        raw=capture.raw,
        left_out={reason: found.left_out[reason] for reason in LEFT_OUT if reason in found.left_out},
        damage="; ".join(text for text in (capture.damage, found.backwards) if text) or None,
    )


class _Found:
    """What one pass over a capture finds: rows, counts of the packets left out, and how time went.

    Attributes
    ----------
    left_out : name of :data:`LEFT_OUT` -> number of packets.
    backwards : where time runs backwards, as a sentence; empty if it does not.
    """

    def __init__(self, capture: Capture, conversations: _Conversations) -> None:
        self.left_out: Counter[str] = Counter()
        self.backwards = ""
        self._rows = bytearray()  # of _ROW
        self._first_time = 0
        self._read(capture, conversations)

    def _read(self, capture: Capture, conversations: _Conversations) -> None:
        raw = capture.raw
        rows = self._rows
        left_out = self.left_out
        known: dict[_Key, _Ends | str] = {}
        last = -1
        for number, (stamp, begin, end, find_ip) in enumerate(capture.frames(), 1):
            time = stamp if stamp >= last >= 0 else self._unusual_time(stamp, last, number)
            last = time
            at = find_ip(raw, begin, end)
            if at < 0:
                left_out[_LINK_REASONS[at]] += 1
                continue
            headers = parse(raw[at:end])
            if headers is None:
                left_out["unreadable"] += 1
                continue
            shape = headers.shape
            length = headers.length
            captured = min(end - at, length)  # what follows is padding
            cut = captured < length and _is_cut_by_capture(headers)
            key = (headers.proto, shape, cut, headers.src, headers.sport, headers.dst, headers.dport)
            ends = known.get(key)
            if ends is None:
                ends = known[key] = conversations.ends(key)
            if isinstance(ends, str):
                left_out[ends] += 1
                continue
            rows += _pack_row(  # in the order of COLUMN_TYPES
                time, *ends, headers.flags, length, headers.ttl, shape, headers.seq, headers.ack, at, captured
            )

    def _unusual_time(self, stamp: int, last: int, number: int) -> int:
        """The time of a packet that is the first one, has none, or is earlier than the one before it."""
        if stamp == NO_TIME:
            return last
        if last < 0:
            self._first_time = stamp
            return stamp
        self._first_time = min(self._first_time, stamp)
        if not self.backwards:
            self.backwards = f"time runs backwards, first at packet {number} by {last - stamp} ns"
        return stamp

    def columns(self, start: int) -> dict[str, IntColumn]:
        """The rows as columns, in the order of the file; the capture's earliest packet is at ``start``."""
        table = np.frombuffer(self._rows, dtype=_ROW)
        columns: dict[str, IntColumn] = {
            name: np.ascontiguousarray(table[name], dtype=kind) for name, kind in COLUMN_TYPES.items()
        }
        # Packets without a time at the beginning of the file are of the first known time.
        columns["time"] = np.maximum(columns["time"] - self._first_time, 0) + start
        return columns


def _is_cut_by_capture(headers: Headers) -> bool:
    """Whether the transport header is incomplete here, but was complete in the packet."""
    size = _HEADER_SIZE.get(headers.proto, 0)
    return headers.shape in (CUT_HEADER, NO_PORTS) and headers.length - headers.l4 >= size


def _sort_by_time(columns: dict[str, IntColumn], flows: list[Flow]) -> list[Flow]:
    """Bring the columns into time order; returns the flows in the order of their first packets then."""
    order = np.argsort(columns["time"], kind="stable")
    for name in columns:
        columns[name] = columns[name][order]
    _, first_row = np.unique(columns["flow"], return_index=True)
    old_numbers = np.argsort(first_row)
    new_numbers = np.argsort(old_numbers)
    columns["flow"] = new_numbers.astype("i4")[columns["flow"]]
    return [flows[number] for number in old_numbers]


class _Conversations:
    """Who talks to which service: knows or makes the flow of a packet.

    Attributes
    ----------
    addresses : address as network bytes -> its number in the trace, in the order of the numbers.
    flows : likewise.
    """

    def __init__(
        self, services: Collection[ServiceId], mapping: Mapping[tuple[Address, int], ServiceId], *, file: str
    ) -> None:
        self.addresses: dict[bytes, int] = {}
        self.flows: dict[Flow, int] = {}
        self._exact: dict[tuple[int, bytes, int], tuple[bytes, int]] = {}  # captured end -> virtual end
        self._by_address: dict[tuple[int, bytes], bytes] = {}  # the same without ports
        for (address, port), service in mapping.items():
            if address.version != service.address.version:
                end = format_endpoint(address, port)
                raise TraceError(f"{end} cannot stand for {service}: another address family", file=file)
            self._add(address, port, service)
        for service in (*services, *mapping.values()):
            self._add(service.address, service.port, service)

    def _add(self, address: Address, port: int, service: ServiceId) -> None:
        virtual = service.address.packed
        proto = _PROTOCOLS[service.protocol]
        self._exact.setdefault((proto, address.packed, port), (virtual, service.port))
        self._by_address.setdefault((proto, address.packed), virtual)
        self._by_address.setdefault((_ICMP_OF_VERSION[address.version], address.packed), virtual)

    def ends(self, key: _Key) -> _Ends | str:
        """Flow, direction and ends of a packet with these headers, or why it is left out."""
        proto, shape, cut, src, sport, dst, dport = key
        to = self._virtual_end(proto, shape, dst, dport)
        if shape == ICMP_ERROR:
            return self._row(IN, proto, (src, sport), to) if to else "other_protocol"
        if proto not in _HEADER_SIZE:
            return "other_protocol"
        virtual = to or self._virtual_end(proto, shape, src, sport)
        if virtual is None:
            return "no_service"
        if cut:
            return "not_captured"
        return self._row(IN, proto, (src, sport), to) if to else self._row(REPLY, proto, (dst, dport), virtual)

    def _virtual_end(self, proto: int, shape: int, address: bytes, port: int) -> tuple[bytes, int] | None:
        virtual = self._exact.get((proto, address, port))
        if virtual is None and shape in _BY_ADDRESS_ALONE and (proto, address) in self._by_address:
            return self._by_address[proto, address], port
        return virtual

    def _row(self, direction: int, proto: int, client: tuple[bytes, int], virtual: tuple[bytes, int]) -> _Ends:
        near = self.addresses.setdefault(client[0], len(self.addresses))
        far = self.addresses.setdefault(virtual[0], len(self.addresses))
        flow = self.flows.setdefault(Flow(proto, near, client[1], far, virtual[1]), len(self.flows))
        if direction == IN:
            return flow, direction, near, client[1], far, virtual[1], proto
        return flow, direction, far, virtual[1], near, client[1], proto
