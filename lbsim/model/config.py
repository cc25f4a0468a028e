"""What the operator typed: admin commands in their order, and the table of services that they make.

The commands are kept rather than only their outcome, because the kernel's answers depend on their order: new
destinations go to the head of a service's list, so the one added last gets the first connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, TypeAlias

__all__ = [
    "AddDest",
    "AddService",
    "Address",
    "AdminCommand",
    "Clear",
    "DeleteDest",
    "DeleteService",
    "Dest",
    "DestId",
    "DirectorConfig",
    "EditDest",
    "EditService",
    "ForwardRule",
    "Place",
    "RouterSettings",
    "Service",
    "ServiceId",
    "TimedCommand",
    "format_endpoint",
    "parse_endpoint",
]

Address: TypeAlias = IPv4Address | IPv6Address
Protocol: TypeAlias = Literal["tcp", "udp"]
Method: TypeAlias = Literal["masq"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: file (or None for text typed at a prompt), line and column, counted from 1."""

    file: str | None = None
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file or '<text>'}:{self.line}"


def format_endpoint(address: Address, port: int) -> str:
    """``10.0.0.11:80`` or ``[fd00::11]:80``."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def parse_endpoint(text: str) -> tuple[Address, int]:
    """The opposite of :func:`format_endpoint`; ValueError says what was expected."""
    host, _, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = None if "%" in host else ip_address(host[1:-1] if bracketed else host)  # a packet has no zone
    except ValueError:
        address = None
    if address is None or (address.version == 6) != bracketed or not port.isascii() or not port.isdigit():
        raise ValueError(f"{text!r} is no address and port; expected 10.0.0.11:80 or [fd00::11]:80")
    if int(port) > 65535:
        raise ValueError(f"port {port} is above 65535")
    return address, int(port)


@dataclass(frozen=True, slots=True)
class ServiceId:
    """A virtual service: protocol, address and port. Prints as ``tcp 192.168.1.10:80``."""

    protocol: Protocol
    address: Address
    port: int

    @property
    def endpoint(self) -> str:
        return format_endpoint(self.address, self.port)

    def __str__(self) -> str:
        return f"{self.protocol} {self.endpoint}"

    @classmethod
    def parse(cls, text: str) -> ServiceId:
        """The service that ``tcp 192.168.1.10:80`` or ``udp [2001:db8::10]:53`` names; ValueError if it names none."""
        protocol, _, endpoint = text.strip().partition(" ")
        match protocol:
            case "tcp" | "udp":
                return cls(protocol, *parse_endpoint(endpoint))
        raise ValueError(f"{text!r} is no service; expected 'tcp ADDRESS:PORT' or 'udp ADDRESS:PORT'")


@dataclass(frozen=True, slots=True)
class DestId:
    """A destination within its service: address and port. Prints as ``10.0.0.11:80``."""

    address: Address
    port: int

    def __str__(self) -> str:
        return format_endpoint(self.address, self.port)

    @classmethod
    def parse(cls, text: str) -> DestId:
        """The destination that ``10.0.0.11:80`` or ``[fd00::11]:80`` names; ValueError if it names none."""
        return cls(*parse_endpoint(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    place: Place = field(default=Place(), compare=False)
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AddService(_Command):
    """``ipvsadm -A``. ``flags`` are scheduler flags as typed with -b, sorted: ``("sh-fallback", "sh-port")``."""

    service: ServiceId
    scheduler: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EditService(_Command):
    """``ipvsadm -E``: replaces scheduler and flags, keeps destinations and counters."""

    service: ServiceId
    scheduler: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteService(_Command):
    """``ipvsadm -D``."""

    service: ServiceId


@dataclass(frozen=True, slots=True)
class AddDest(_Command):
    """``ipvsadm -a``."""

    service: ServiceId
    dest: DestId
    method: Method = "masq"
    weight: int = 1


@dataclass(frozen=True, slots=True)
class EditDest(_Command):
    """``ipvsadm -e``: replaces method and weight."""

    service: ServiceId
    dest: DestId
    method: Method = "masq"
    weight: int = 1


@dataclass(frozen=True, slots=True)
class DeleteDest(_Command):
    """``ipvsadm -d``."""

    service: ServiceId
    dest: DestId


@dataclass(frozen=True, slots=True)
class Clear(_Command):
    """``ipvsadm -C``."""


AdminCommand: TypeAlias = AddService | EditService | DeleteService | AddDest | EditDest | DeleteDest | Clear


@dataclass(frozen=True, slots=True)
class TimedCommand:
    """An admin command and the moment it is given, in nanoseconds since time 0."""

    at: int
    command: AdminCommand


@dataclass(frozen=True, slots=True)
class Dest:
    """A destination as configured under one service."""

    id: DestId
    method: Method
    weight: int


@dataclass(frozen=True, slots=True)
class Service:
    """A virtual service as configured, its destinations in the order in which they were added."""

    id: ServiceId
    scheduler: str
    flags: tuple[str, ...]
    dests: tuple[Dest, ...]


@dataclass(frozen=True, slots=True)
class ForwardRule:
    """``iptables -A FORWARD -i IN -s SOURCE -j TARGET``; source as ``10.0.0.0/24``."""

    in_interface: str
    source: str
    target: Literal["ACCEPT"] = "ACCEPT"


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """The director as a router: what the five iptables lines of the classic NAT set-up say."""

    policies: tuple[tuple[str, str], ...] = ()  # (chain, policy), the last one per chain
    forward: tuple[ForwardRule, ...] = ()
    masquerade: tuple[str, ...] = ()  # out interfaces
    flushed: tuple[str, ...] = ()  # tables emptied: "filter", "nat"


@dataclass(frozen=True, slots=True)
class DirectorConfig:
    """A director's configuration: the admin commands in order, and its settings as a router."""

    commands: tuple[AdminCommand, ...] = ()
    router: RouterSettings = RouterSettings()

    def services(self) -> tuple[Service, ...]:
        """The table that the commands make, services and destinations in the order in which they were added.

        A command that the kernel would refuse (a service twice, a destination of a missing service) changes
        nothing, as in the kernel.
        """
        table: dict[ServiceId, tuple[str, tuple[str, ...], dict[DestId, Dest]]] = {}
        for command in self.commands:
            match command:
                case AddService(service, scheduler, flags):
                    table.setdefault(service, (scheduler, flags, {}))
                case EditService(service, scheduler, flags) if service in table:
                    table[service] = (scheduler, flags, table[service][2])
                case DeleteService(service):
                    table.pop(service, None)
                case AddDest(service, dest, method, weight) if service in table:
                    table[service][2].setdefault(dest, Dest(dest, method, weight))
                case EditDest(service, dest, method, weight) if service in table and dest in table[service][2]:
                    table[service][2][dest] = Dest(dest, method, weight)
                case DeleteDest(service, dest) if service in table:
                    table[service][2].pop(dest, None)
                case Clear():
                    table.clear()
                case _:
                    pass
        return tuple(
            Service(key, scheduler, flags, tuple(dests.values())) for key, (scheduler, flags, dests) in table.items()
        )
