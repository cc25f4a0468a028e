"""A job for a kernel from the same arguments that ``simulate`` takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

import numpy as np

from lbsim.config import format_command
from lbsim.config.iptables import format_settings
from lbsim.config.marks import Marks
from lbsim.engine import numbers
from lbsim.engine.numbers import FRAGMENT, OUT, OWN, TCP, UDP, WHOLE
from lbsim.engine_words import SERVICE_PROTOCOLS
from lbsim.errors import KernelUnavailable
from lbsim.kernel.job import CLIENT, DIRECTOR, REPLY, Command, Event, Job, Packet, Show, server
from lbsim.kernel.job_rules import commands_for
from lbsim.kernel.rehearsal import OWN_ADDRESSES
from lbsim.model.config import (
    AddDest,
    Address,
    AdminCommand,
    DirectorConfig,
    EditDest,
    ServiceId,
    TimedCommand,
    destination_addresses,
    format_endpoint,
    service_addresses,
)
from lbsim.model.trace import Trace
from lbsim.model.verdict import Rewrite
from lbsim.model.wording import seconds
from lbsim.packet import checksum
from lbsim.packet.build import build, build_all
from lbsim.packet.fragments import Key, piece_of
from lbsim.packet.headers import parse
from lbsim.packet.rewrite import rewrite

__all__ = ["COUNTERS_SETTLE", "job_of"]

#: The counters that ipvsadm shows are a copy, made every two seconds: so long after the last packet they are final.
COUNTERS_SETTLE = 4_200_000_000
NO_MARKS = Marks()
MTU = 1500  # bytes of the longest IP packet on the bench's wires
_SIDES = {numbers.IN: CLIENT, numbers.REPLY: REPLY, OWN: DIRECTOR}
_INTERNAL = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))


def job_of(
    name: str,
    config: DirectorConfig,
    trace: Trace,
    *,
    timeline: Sequence[TimedCommand] = (),
    moments: Sequence[int] = (),
    until: int | None = None,
    sysctls: Mapping[str, int] | None = None,
    marks: Marks = NO_MARKS,
    straight_replies: Sequence[IPv4Network | IPv6Network] = (),
    mtu: Mapping[IPv4Network | IPv6Network, int] | None = None,
) -> Job:
    """The job that lets a kernel do what ``simulate`` lets the engine do with the same arguments.

    The last two looks at the tables are taken at the end of the run and when the kernel's counters have settled.

    Raises
    ------
    KernelUnavailable : the scenario needs a network that the bench does not have (destinations are real hosts in
        10.0.0.0/24 or fd00::/64 there), a real server that sends packets and is no destination, or packets that
        are too long for its wires.
    """
    commands = [*config.commands, *(timed.command for timed in timeline)]
    vips = _in_order(service_addresses(commands).union(marks.hosts))
    own = service_addresses(config.commands).union(marks.hosts)  # from the beginning
    servers = [address for address in _in_order(destination_addresses(commands)) if not _is_own(address, own)]
    _refuse_foreign(servers, vips)
    end = max([trace.duration, *(timed.at for timed in timeline), *moments]) if until is None else until
    events: list[tuple[int, int, Event]] = [
        (timed.at, 0, Command(timed.at, _argv(timed.command))) for timed in timeline if timed.at <= end
    ]
    packets = [packet for packet in _packets(trace) if packet.at <= end]
    _refuse_unsendable(packets, servers)
    events += [(packet.at, 1, packet) for packet in packets]
    events += [(at, 2, Show(at)) for at in sorted({*moments, end}) if at <= end]
    settled = end + COUNTERS_SETTLE
    return Job(
        name=name,
        vips=tuple(map(str, vips)),
        servers=tuple(map(str, servers)),
        setup=(*_router(config), *commands_for(marks), *map(_argv, config.commands)),
        sysctls=tuple((f"net.ipv4.vs.{key}", str(value)) for key, value in (sysctls or {}).items()),
        events=(*(event for *_, event in sorted(events, key=lambda row: row[:2])), Show(settled, stats=True)),
        straight=tuple(map(str, straight_replies)),
        mtu=tuple((str(network), size) for network, size in (mtu or {}).items()),
        listening=tuple(map(str, _listening(commands, own, trace))),
    )


def _in_order(addresses: set[Address]) -> list[Address]:
    return sorted(addresses, key=lambda address: (address.version, int(address)))


def _is_own(address: Address, own: Collection[Address]) -> bool:
    """Whether a destination is the director itself."""
    return address in own or address.is_loopback


def _listening(commands: Sequence[AdminCommand], own: Collection[Address], trace: Trace) -> list[ServiceId]:
    """Where programs listen on the director: at the ends of its own clients and destinations.

    Over NAT that is the destination's end (of a loopback address none without clients on the director: nothing else
    gets there), else that of the service; of one for every port, each port that clients ask for.

    Raises
    ------
    KernelUnavailable : it would have to be a program of SCTP, or for a firewall mark; or direct routing over IPv6 would
        lead to it: then 6.1 and 6.12 keep a reference to the interface, and the bench's namespaces stay for ever.
    """
    asked = np.unique(trace["dport"][~trace.answers]).tolist()
    own_clients = dict.fromkeys(_own_clients(trace))
    found = dict(own_clients)
    for command in commands:
        if not isinstance(command, AddDest | EditDest) or not _is_own(command.dest.address, own):
            continue
        service, dest = command.service, command.dest
        if command.method == "masq" and dest.address.is_loopback and not own_clients:
            continue
        if command.method == "droute" and dest.address.version == 6:
            raise KernelUnavailable(
                f"replay with destination {dest} of {service}",
                "with direct routing over IPv6 to the director itself a kernel never lets go of the bench's network",
                "send its packets over NAT or through a tunnel",
            )
        if service.protocol not in ("tcp", "udp"):
            raise KernelUnavailable(
                f"replay with destination {dest} of {service}",
                "a program that listens on the bench's director has a port of TCP or UDP",
                "give the destination an address of its own",
            )
        address, port = (dest.address, dest.port) if command.method == "masq" else (service.address, service.port)
        found |= {ServiceId(service.protocol, address, number): None for number in ([port] if port else asked)}
    return list(found)


def _own_clients(trace: Trace) -> Iterator[ServiceId]:
    """The ends of clients that are programs on the director.

    Raises
    ------
    KernelUnavailable : one of SCTP.
    """
    for number in np.unique(trace["flow"][trace["direction"] == OWN]).tolist():
        flow = trace.flows[number]
        address = trace.addresses[flow.client]
        if flow.proto not in (TCP, UDP):
            raise KernelUnavailable(
                f"replay of SCTP from the director itself, {format_endpoint(address, flow.client_port)}",
                "a program on the bench's director has a port of TCP or UDP",
                "let a client elsewhere send it",
            )
        yield ServiceId(SERVICE_PROTOCOLS[flow.proto], address, flow.client_port)


def _refuse_foreign(servers: list[Address], vips: Collection[Address]) -> None:
    for address in servers:
        network = next((network for network in _INTERNAL if address in network), None)
        if network is None:
            reason = "the bench has no such network"
        elif address in (network.network_address, network.broadcast_address):
            reason = "no host can have this address on the bench"
        elif address in vips or str(address) in OWN_ADDRESSES:
            reason = "on the bench this is the director itself"
        else:
            continue
        raise KernelUnavailable(
            f"replay with destination {address}", reason, "give destinations addresses in 10.0.0.0/24 or fd00::/64"
        )


def _refuse_unsendable(packets: Sequence[Packet], servers: Sequence[Address]) -> None:
    """Every packet must have a wire on which it can be sent, and fit onto it."""
    wires = {CLIENT, REPLY, DIRECTOR, *(server(str(address)) for address in servers)}
    for packet in packets:
        if packet.side not in wires:
            sender = packet.side.removeprefix("r:")
            raise KernelUnavailable(
                f"replay of the packet that the real server {sender} sends at {seconds(packet.at)}",
                "it is no destination of any service, so the bench has no wire for it",
                "make it a destination",
            )
        if len(packet.content) > MTU:
            raise KernelUnavailable(
                f"replay of the packet at {seconds(packet.at)}, {len(packet.content):,} bytes long",
                f"the bench's wires carry {MTU:,}",
                "if it is from a capture made on a host, capture with its card's offloads (TSO, GRO) switched off",
            )


def _argv(command: AdminCommand) -> tuple[str, ...]:
    return tuple(format_command(command).split())


def _router(config: DirectorConfig) -> Iterator[tuple[str, ...]]:
    for line in format_settings(config.router):
        yield tuple(line.split())


def _packets(trace: Trace) -> Iterator[Packet]:
    """The trace's packets as they are put onto a wire: a reply still bears the virtual end."""
    names = ("time", "direction", "src", "sport", "dst", "dport", "raw_at")
    rows = zip(*(trace[name].tolist() for name in names), strict=True)
    flows = _flows(trace)
    addresses = list(trace.addresses)
    for flow, row, content in zip(flows, rows, build_all(trace), strict=True):
        time, direction, src, sport, dst, dport, raw_at = row
        source, target = addresses[src], addresses[dst]
        side = server(str(source)) if direction == OUT else _SIDES[direction]
        # captured: perhaps not to its end, perhaps with a server that stands for a service
        ends = Rewrite(source, sport, target, dport, ttl_down=0) if raw_at >= 0 else None
        yield Packet(time, flow, side, _moved(content, ends) if ends else content)


def _flows(trace: Trace) -> list[int]:
    """The flow of each packet. One that comes ahead of its datagram's first fragment has that of the datagram here: who
    sends it must be known.
    """
    flows: list[int] = trace["flow"].tolist()
    ahead: dict[Key, list[int]] = {}  # datagram -> its fragments so far
    whole = set(trace.datagrams.rows)
    for i in sorted({*whole, *np.flatnonzero(trace["shape"] == FRAGMENT).tolist()}):
        captured = trace["raw_at"][i] >= 0
        piece = piece_of(build(trace, i).ljust(int(trace["length"][i]), b"\0")) if captured else None
        if piece is None:
            continue
        if i not in whole:
            ahead.setdefault(piece.key, []).append(i)
            continue
        for before in ahead.pop(piece.key, []):
            flows[before] = flows[i]
    return flows


def _moved(content: bytes, ends: Rewrite) -> bytes:
    """A captured packet with other ends; a UDP checksum of 0 stays 0, as its sender left it out.

    One that was captured only in part has its true length again: zeros stand for what is missing, and the checksum is
    theirs, since a packet that is shorter than its header says never gets past the kernel's IP layer.
    """
    headers = parse(content)
    if headers is None:
        return content
    at = headers.l4 + 6
    unchecked = headers.proto == UDP and headers.l4 > 0 and content[at : at + 2] == b"\0\0"
    whole = len(content) >= headers.length
    changed = rewrite(content if whole else content.ljust(headers.length, b"\0"), ends)
    if unchecked:
        return changed[:at] + b"\0\0" + changed[at + 2 :]
    return changed if whole else _with_right_checksum(changed)


def _with_right_checksum(data: bytes) -> bytes:
    headers = parse(data)
    if headers is None or headers.shape != WHOLE or headers.proto not in (TCP, UDP):
        return data
    at = 16 if headers.proto == TCP else 6
    segment = bytearray(data[headers.l4 :])
    segment[at : at + 2] = b"\0\0"
    check = checksum.transport(headers.src, headers.dst, headers.proto, segment)
    segment[at : at + 2] = (check or (0xFFFF if headers.proto == UDP else 0)).to_bytes(2, "big")
    return data[: headers.l4] + segment
