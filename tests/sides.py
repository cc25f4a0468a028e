"""Two directors behind one interface: lbsim's (in either lane) and the naive oracle.

Whoever drives a side does not know which one it is, so every script and every random history runs on both. Times are
ticks since time 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Protocol

from lbsim import Director
from lbsim.config import refusal
from lbsim.config.marks import read_marks
from lbsim.engine.lanes import Lane
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
    format_endpoint,
    parse_endpoint,
)
from lbsim.model.result import ConnRow, Counters, DestRow, ServiceOptions, ServiceRow
from lbsim.packet.build import build_packet
from lbsim.packet.headers import parse as parse_headers
from tests.oracles.director import End, NaiveDirector, Seen, Sent, ServiceKey

__all__ = ["HZ", "MARKS", "PROTOCOLS", "EngineSide", "OracleSide", "Side", "checksums_are_right", "packet"]

HZ = 250
#: Packets to port 8000 of any address have mark 1; without a service by that mark it means nothing.
MARKS = "\n".join(
    f"{program} -t mangle -A PREROUTING -p {proto} --dport 8000 -j MARK --set-mark 1"
    for program in ("iptables", "ip6tables")
    for proto in ("tcp", "udp")
)
TICK = 1_000_000_000 // HZ
PROTOCOLS = {"tcp": 6, "udp": 17, "gre": 47}
HEADERS = {"tcp": 20, "udp": 8, "gre": 4}


def packet(
    proto: str,
    src: End,
    dst: End,
    *flags: str,
    direction: str = "in",
    ttl: int = 64,
    payload: int = 0,
    cut: int | None = None,
) -> Sent:
    """A packet; ``cut`` leaves only that many bytes of its transport header, and no payload."""
    header = HEADERS[proto] if cut is None else cut
    behind = payload if cut is None else 0
    length = (20 if ip_address(src[0]).version == 4 else 40) + header + behind
    return Sent(proto, src, dst, frozenset(flags), direction, ttl, length, header)


class Side(Protocol):
    """A director that commands and packets are given to."""

    def command(self, command: AdminCommand) -> str:
        """ipvsadm's message if the kernel refuses the command, else ``""``."""

    def receive(self, sent: Sent) -> Seen:
        """What becomes of the packet."""

    def advance(self, tick: int) -> None:
        """Let time pass."""

    def table(self) -> tuple[ConnRow, ...]:
        """The connection table, sorted by its ends."""

    def services(self) -> tuple[ServiceRow, ...]:
        """The services in order of address, protocol and port, destinations newest first."""


class EngineSide:
    """lbsim's live director; each packet goes in and comes out as bytes, which are checked."""

    def __init__(
        self,
        lane: Lane | None = None,
        sysctls: Mapping[str, int] | None = None,
        marks: str = MARKS,
        profile: str = "linux-6.1.192",
        *,
        estimator: bool = True,
    ) -> None:
        self.director = Director(lane=lane, sysctls=sysctls, marks=marks, profile=profile, estimator=estimator)

    def command(self, command: AdminCommand) -> str:
        return self.director.run(command).message

    def receive(self, sent: Sent) -> Seen:
        data = as_bytes(sent)
        via = "clients" if sent.direction == "in" else sent.src[0]
        answer = self.director.receive(data, via=via)
        dest = _end(answer.dest) if answer.dest else None
        header = None
        if answer.verdict.name == "FORWARD":
            (departure,) = answer.departures
            header = forwarded_header(data, departure.packet)
            assert departure.to == (header[1][0] if sent.direction == "in" else "clients"), departure
        return Seen(answer.verdict.name, answer.reason, dest, header)

    def advance(self, tick: int) -> None:
        self.director.advance(tick * TICK / 1_000_000_000)

    def table(self) -> tuple[ConnRow, ...]:
        return self.director.connections()

    def services(self) -> tuple[ServiceRow, ...]:
        return self.director.services()


class OracleSide:
    """The naive director; nothing of the engine runs."""

    def __init__(self, sysctls: Mapping[str, int] | None = None, marks: str = MARKS, *, old: bool = False) -> None:
        self.director = NaiveDirector(old=old, **(sysctls or {}))
        self.marks = read_marks(marks)
        self.start = self.director.now

    def command(self, command: AdminCommand) -> str:
        errno = self._apply(command)
        return refusal(command, errno)[1] if errno else ""

    def _apply(self, command: AdminCommand) -> str:
        director = self.director
        match command:
            case AddService(service, scheduler, flags):
                return director.add_service(_key(service), scheduler, set(flags), _keeps(command), command.one_packet)
            case EditService(service, scheduler, flags):
                return director.edit_service(_key(service), scheduler, set(flags), _keeps(command), command.one_packet)
            case DeleteService(service):
                return director.delete_service(_key(service))
            case AddDest(service, dest, _, weight, upper, lower):
                return director.add_dest(_key(service), (str(dest.address), dest.port), weight, upper, lower)
            case EditDest(service, dest, _, weight, upper, lower):
                return director.edit_dest(_key(service), (str(dest.address), dest.port), weight, upper, lower)
            case DeleteDest(service, dest):
                return director.delete_dest(_key(service), (str(dest.address), dest.port))
            case Clear():
                return director.clear()

    def receive(self, sent: Sent) -> Seen:
        mark = self.marks.mark_of(ip_address(sent.dst[0]), PROTOCOLS[sent.proto], sent.dst[1])
        return self.director.receive(replace(sent, mark=mark))

    def advance(self, tick: int) -> None:
        self.director.advance(self.start + tick)

    def table(self) -> tuple[ConnRow, ...]:
        now = self.director.now
        rows = [
            ConnRow(
                conn["proto"].upper(),
                _text(conn["client"]),
                _text(conn["virtual"]),
                _text(conn["server"]),
                conn["state"],
                max(0, conn["expires"] - now) // HZ,
            )
            for conn in reversed(self.director.conns)
        ]
        return tuple(sorted(rows, key=_row_order))

    def services(self) -> tuple[ServiceRow, ...]:
        rows = []
        for key in sorted(self.director.services, key=_service_order):
            service = self.director.services[key]
            name = str(ServiceId.marked(int(key[1]), key[2])) if key[0] == "fwm" else f"{key[0]} {_text(key[1:])}"
            rows.append(
                ServiceRow(
                    name,
                    service["scheduler"],
                    listed(service["scheduler"], service["flags"]),
                    _counters(service),
                    tuple(self._dest_row(dest) for dest in service["dests"]),
                    _options(service, ServiceId.parse(name).address.version),
                )
            )
        return tuple(rows)

    def _dest_row(self, dest: dict[str, object]) -> DestRow:
        active, total = self.director.active(dest), self.director.total(dest)
        limits = dest["upper"], dest["lower"]
        return DestRow(_text(dest["end"]), dest["weight"], active, total - active, _counters(dest), "masq", *limits)


def listed(scheduler: str, flags: set[str]) -> tuple[str, ...]:
    """Flags by the names that ipvsadm prints for the scheduler: sh and mh have two of their own, and no third."""
    names = [f"{scheduler}-fallback", f"{scheduler}-port"]
    names = names if scheduler in ("sh", "mh") else ["flag-1", "flag-2", "flag-3"]
    return tuple(name for i, name in enumerate(names) if flags & {name, f"flag-{i + 1}"})


def as_bytes(sent: Sent) -> bytes:
    """The packet as it lies on the wire."""
    bits = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}
    return build_packet(
        src=sent.src[0],
        dst=sent.dst[0],
        proto=PROTOCOLS[sent.proto],
        sport=sent.src[1],
        dport=sent.dst[1],
        flags=sum(bits[name] for name in sent.flags),
        ttl=sent.ttl,
        length=sent.length,
    )


def forwarded_header(before: bytes, after: bytes) -> tuple[End, End]:
    """(src, dst) of a packet that was forwarded, once everything else in it is found to be as it must be."""
    old, new = parse_headers(before), parse_headers(after)
    assert old is not None
    assert new is not None
    assert new.ttl == old.ttl - 1
    assert checksums_are_right(after)
    kept = ("version", "proto", "flags", "seq", "ack", "length", "shape")
    assert all(getattr(old, name) == getattr(new, name) for name in kept)
    return (str(ip_address(new.src)), new.sport), (str(ip_address(new.dst)), new.dport)


def checksums_are_right(data: bytes) -> bool:
    """Whether the IPv4 header's and the TCP or UDP checksum are, by adding everything up."""
    if data[0] >> 4 == 4:
        addresses, proto, segment = data[12:20], data[9], data[20:]
        if ones_sum(data[:20]) != 0xFFFF:
            return False
    else:
        addresses, proto, segment = data[8:40], data[6], data[40:]
    pseudo = addresses + len(segment).to_bytes(4, "big") + bytes([0, 0, 0, proto])
    return ones_sum(pseudo + segment) == 0xFFFF


def ones_sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words."""
    padded = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    return (total - 1) % 0xFFFF + 1 if total else 0


def _keeps(command: AddService | EditService) -> tuple[int, int] | None:
    """(seconds, prefix length); the masks of these tests are prefixes."""
    kept = command.persistence
    if kept is None:
        return None
    mask = kept.mask(command.service.address.version)
    return kept.timeout, mask.bit_count() if command.service.address.version == 4 else mask


def _options(service: dict[str, object], version: int) -> ServiceOptions:
    if service["keeps"] is None:
        return ServiceOptions(one_packet=service["ops"])
    timeout, prefix = service["keeps"]
    mask = (1 << 32) - (1 << 32 - prefix) if version == 4 else prefix
    return ServiceOptions(Persistence(timeout, mask), one_packet=service["ops"])


def _service_order(key: ServiceKey) -> tuple[int, int, int, int]:
    if key[0] == "fwm":
        return key[2], 1 << 128, 6, int(key[1])
    return (*_order(key[1:]), PROTOCOLS[key[0]], key[2])


def _key(service: ServiceId) -> ServiceKey:
    if service.protocol == "fwm":
        return "fwm", str(service.fwmark), service.address.version
    return service.protocol, str(service.address), service.port


def _end(text: str) -> End:
    address, port = parse_endpoint(text)
    return str(address), port


def _text(end: object) -> str:
    assert isinstance(end, tuple)
    return format_endpoint(ip_address(end[0]), end[1])


def _order(end: tuple[str, int]) -> tuple[int, int]:
    address = ip_address(end[0])
    return address.version, int(address)


def _row_order(row: ConnRow) -> tuple[int, ...]:
    ends = [parse_endpoint(text) for text in (row.client, row.virtual, row.destination)]
    return PROTOCOLS.get(row.protocol.lower(), 0), *(
        number for address, port in ends for number in (int(address), port)
    )


def _counters(of: dict[str, object]) -> Counters:
    counts = of["counters"]
    assert isinstance(counts, Mapping)
    names = ("conns", "in_packets", "out_packets", "in_bytes", "out_bytes")
    return Counters(*(counts.get(name, 0) for name in names))
