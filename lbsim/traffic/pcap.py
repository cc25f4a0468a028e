"""Captures as traffic: :func:`read` makes a trace of what clients and services said to each other in a pcap or pcapng.

A capture shows both directions. Packets to a service are what the director gets (IN). Packets from a service are
answers (REPLY): in the simulation they come from whichever destination got the flow's last IN packet, so their ``src``
and ``sport`` hold the virtual end.

Everything else is counted by name in ``Trace.left_out``, see :data:`LEFT_OUT`.
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
from lbsim.model.trace import COLUMN_TYPES, Flow, IntColumn, Trace
from lbsim.packet.headers import ICMP, ICMPV6, Headers, parse
from lbsim.traffic.capture_reader import ARP, NOT_IP, OTHER_LINK, UNREADABLE, Capture, open_capture

__all__ = ["LEFT_OUT", "read"]

#: Why a packet of a capture is not in the trace -> the exact condition. The first that holds is counted.
LEFT_OUT: Mapping[str, str] = {
    "other_link_type": "Captured on an interface of a link type that lbsim cannot read (pcapng only: other interfaces "
    "of the file can be read).",
    "arp": "ARP.",
    "not_ip": "The link layer carries neither IPv4 nor IPv6 nor ARP.",
    "unreadable": "The frame ends within its link-layer or IP header, or its IP header contradicts itself.",
    "other_protocol": "Neither TCP nor UDP nor an ICMP error sent to the address of a service.",
    "no_service": "TCP or UDP, but neither its destination nor its source is a service. Where the ports cannot be read "
    "(fragments, packets that end before them) the address and protocol of a service suffice.",
    "not_captured": "To or from a service, but the capture ends within the transport header (TCP 20 bytes, UDP 8): "
    "captured with too small a snapshot length.",
}

_LINK_REASONS = {ARP: "arp", NOT_IP: "not_ip", UNREADABLE: "unreadable", OTHER_LINK: "other_link_type"}
_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_ICMP_OF_VERSION = {4: ICMP, 6: ICMPV6}
_HEADER_SIZE = {TCP: 20, UDP: 8}
_WITHOUT_PORTS = frozenset({FRAGMENT, NO_PORTS, ICMP_ERROR})

_ROW = np.dtype([(name, "<" + kind) for name, kind in COLUMN_TYPES.items()])
_pack_row = Struct("<" + "".join({"i8": "q", "i4": "i", "i2": "h", "i1": "b"}[kind] for kind in COLUMN_TYPES.values())).pack

_Key: TypeAlias = tuple[int, int, bytes, int, bytes, int]  # proto, shape, src, sport, dst, dport as captured
_Ends: TypeAlias = tuple[int, int, int, int, int, int, int]  # flow, direction, src, sport, dst, dport, proto of a row


def read(
    path: Path,
    *,
    services: Collection[ServiceId],
    mapping: Mapping[tuple[Address, int], ServiceId] | None = None,
    start: int = 0,
) -> Trace:
    """The trace of a capture: its packets to and from services, in time order.

    A row's ``raw_at`` and ``raw_len`` give the IP packet **as captured** within ``Trace.raw`` (the whole file). With
    ``mapping`` those bytes still carry the captured server's address and port, while ``src``/``dst`` and the ports say
    the virtual service's. ``lbsim.packet.build`` hands out the captured bytes; who sends or writes such a packet
    rewrites it with all four fields of the Rewrite (not only with those that differ from the row), and nothing is lost.

    Parameters
    ----------
    path : a pcap or pcapng file. Link types: Ethernet (VLAN tags are skipped), Linux cooked, raw IP, BSD loopback.
    services : the virtual services; a packet from or to the address, port and protocol of one belongs to it.
    mapping : server ends as captured -> the virtual service that each stands for, which then counts as one of
        ``services``. Only packets of the service's protocol are meant. Servers that stand for the same service share
        its flows. Where the ports of a packet cannot be read, the first pair of its address decides.
    start : ns, when the capture's first packet is sent, whether or not that packet is part of the trace.

    Returns
    -------
    Trace. ``left_out`` counts by the names of :data:`LEFT_OUT`. ``damage`` says where a damaged file could not be read
    any further, and whether time runs backwards in it; the rows are sorted then, equal times in the order of the file,
    and the earliest packet counts as the first.

    A row with shape FRAGMENT or NO_PORTS has port 0 where no port could be read. A row with shape ICMP_ERROR is an error
    that was sent to a service's address; its ports are 0.

    Raises
    ------
    TraceError : the file cannot be read, is no capture, or has no supported link type; a mapping that leads from one
        address family to the other.
    """
    capture = open_capture(path)
    conversations = _Conversations(services, mapping or {}, file=str(path))
    collected = _Collected(capture, conversations)
    columns = collected.columns(start)
    flows = list(conversations.flows)
    if collected.backwards:
        flows = _sort_by_time(columns, flows)
    return Trace(
        columns=columns,
        addresses=tuple(ip_address(address) for address in conversations.addresses),
        flows=tuple(flows),
        raw=capture.raw,
        left_out={reason: collected.left_out[reason] for reason in LEFT_OUT if collected.left_out[reason]},
        damage="; ".join(text for text in (capture.damage, collected.backwards) if text) or None,
    )


class _Collected:
    """What one pass over a capture gives: rows of packets, counts of the others, and how time went."""

    def __init__(self, capture: Capture, conversations: _Conversations) -> None:
        self.left_out: Counter[str] = Counter()
        self.backwards = ""
        self._rows = bytearray()  # of _ROW
        self._first_time = 0
        self._collect(capture, conversations)

    def _collect(self, capture: Capture, conversations: _Conversations) -> None:
        raw = capture.raw
        rows = self._rows
        left_out = self.left_out
        known: dict[_Key, _Ends | str] = {}
        number = last = 0
        for time, begin, end, find_ip in capture.frames():
            number += 1
            if time < last or number == 1:
                self._note_time(time, last, number)
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
            key = (headers.proto, shape, headers.src, headers.sport, headers.dst, headers.dport)
            ends = known.get(key)
            if ends is None:
                ends = known[key] = conversations.ends(key)
            if isinstance(ends, str):
                left_out[ends] += 1
                continue
            length = headers.length
            captured = end - at
            if captured >= length:
                captured = length  # what follows is padding
            elif _cut_by_capture(headers):
                left_out["not_captured"] += 1
                continue
            # In the order of COLUMN_TYPES.
            rows += _pack_row(
                time, *ends, headers.flags, length, headers.ttl, shape, headers.seq, headers.ack, at, captured
            )

    def _note_time(self, time: int, last: int, number: int) -> None:
        if number == 1:
            self._first_time = time
            return
        self._first_time = min(self._first_time, time)
        self.backwards = self.backwards or f"time runs backwards, first at packet {number} by {last - time} ns"

    def columns(self, start: int) -> dict[str, IntColumn]:
        """The rows as columns, in the order of the file."""
        rows = np.frombuffer(self._rows, dtype=_ROW)
        columns: dict[str, IntColumn] = {
            name: np.ascontiguousarray(rows[name], dtype=kind) for name, kind in COLUMN_TYPES.items()
        }
        columns["time"] += start - self._first_time
        return columns


def _cut_by_capture(headers: Headers) -> bool:
    """Whether the transport header is incomplete only because no more of the packet was captured."""
    return headers.shape in (CUT_HEADER, NO_PORTS) and headers.length - headers.l4 >= _HEADER_SIZE[headers.proto]


def _sort_by_time(columns: dict[str, IntColumn], flows: list[Flow]) -> list[Flow]:
    """Bring the columns into time order, and return the flows in the order of their first packets then."""
    order = np.argsort(columns["time"], kind="stable")
    for name in columns:
        columns[name] = columns[name][order]
    _, first_rows = np.unique(columns["flow"], return_index=True)
    new_order = np.argsort(first_rows)
    new_number = np.argsort(new_order)
    columns["flow"] = new_number.astype("i4")[columns["flow"]]
    return [flows[i] for i in new_order]


class _Conversations:
    """Who talks to which service: finds or makes the flow of a packet.

    Attributes
    ----------
    addresses : the interned addresses, as network bytes, in the order of their numbers.
    flows : likewise.
    """

    def __init__(
        self, services: Collection[ServiceId], mapping: Mapping[tuple[Address, int], ServiceId], *, file: str
    ) -> None:
        self.addresses: dict[bytes, int] = {}
        self.flows: dict[Flow, int] = {}
        self._exact: dict[tuple[int, bytes, int], tuple[bytes, int]] = {}  # captured end -> virtual end
        self._by_address: dict[tuple[int, bytes], bytes] = {}  # likewise without the port
        for (address, port), service in mapping.items():
            if address.version != service.address.version:
                end = format_endpoint(address, port)
                raise TraceError(f"{end} cannot stand for {service}: the address families differ", file=file)
            self._add(service, address, port)
        for service in services:
            self._add(service, service.address, service.port)
        for service in (mapping or {}).values():
            self._add(service, service.address, service.port)

    def _add(self, service: ServiceId, address: Address, port: int) -> None:
        virtual = service.address.packed
        proto = _PROTOCOLS[service.protocol]
        self._exact.setdefault((proto, address.packed, port), (virtual, service.port))
        self._by_address.setdefault((proto, address.packed), virtual)
        self._by_address.setdefault((_ICMP_OF_VERSION[address.version], address.packed), virtual)

    def ends(self, key: _Key) -> _Ends | str:
        """Flow, direction and ends of a packet with these headers, or why it is left out."""
        proto, shape, src, sport, dst, dport = key
        if shape == ICMP_ERROR:
            virtual = self._virtual_end(proto, shape, dst, 0)
            return self._row(IN, proto, (src, 0), virtual) if virtual else "other_protocol"
        if proto not in _HEADER_SIZE:
            return "other_protocol"
        virtual = self._virtual_end(proto, shape, dst, dport)
        if virtual:
            return self._row(IN, proto, (src, sport), virtual)
        virtual = self._virtual_end(proto, shape, src, sport)
        if virtual:
            return self._row(REPLY, proto, (dst, dport), virtual)
        return "no_service"

    def _virtual_end(self, proto: int, shape: int, address: bytes, port: int) -> tuple[bytes, int] | None:
        virtual = self._exact.get((proto, address, port))
        if virtual is None and shape in _WITHOUT_PORTS and (proto, address) in self._by_address:
            return self._by_address[proto, address], port
        return virtual

    def _row(self, direction: int, proto: int, client: tuple[bytes, int], virtual: tuple[bytes, int]) -> _Ends:
        near = self.addresses.setdefault(client[0], len(self.addresses))
        far = self.addresses.setdefault(virtual[0], len(self.addresses))
        flow = self.flows.setdefault(Flow(proto, near, client[1], far, virtual[1]), len(self.flows))
        if direction == IN:
            return flow, direction, near, client[1], far, virtual[1], proto
        return flow, direction, far, virtual[1], near, client[1], proto
