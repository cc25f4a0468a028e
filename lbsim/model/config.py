"""What the operator typed: admin commands in their order, and the table of services that they make.

The commands are kept rather than only their outcome, because the kernel's answers depend on their order: new
destinations go to the head of a service's list, so the one added last gets the first connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Literal, TypeAlias

from lbsim.model.address import Address

__all__ = [
    "INTERFACES",
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
    "Persistence",
    "Place",
    "RouterSettings",
    "Service",
    "ServiceId",
    "SetSysctl",
    "SetTimeouts",
    "TimedCommand",
    "Tunnel",
    "Zero",
    "destination_addresses",
    "format_endpoint",
    "parse_endpoint",
    "service_addresses",
]

Protocol: TypeAlias = Literal["tcp", "udp", "sctp", "fwm"]
Method: TypeAlias = Literal["masq", "droute", "tunnel"]
TunnelType: TypeAlias = Literal["ipip", "gue", "gre"]
TunnelChecksum: TypeAlias = Literal["nocsum", "csum", "remcsum"]

EVERY_BIT_V4 = 0xFFFFFFFF
EVERY_BIT_V6 = 128


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
    """A virtual service: protocol, address and port, or a firewall mark and a family.

    Prints as ``tcp 192.168.1.10:80``, ``fwm 1`` or ``fwm 1 ipv6``. One by firewall mark has the protocol "fwm", port 0
    and an address of zeros, whose version says the family.
    """

    protocol: Protocol
    address: Address
    port: int
    fwmark: int = 0

    @property
    def endpoint(self) -> str:
        return format_endpoint(self.address, self.port)

    def __str__(self) -> str:
        if self.protocol == "fwm":
            return f"fwm {self.fwmark}" + (" ipv6" if self.address.version == 6 else "")
        return f"{self.protocol} {self.endpoint}"

    @classmethod
    def marked(cls, fwmark: int, version: int = 4) -> ServiceId:
        """The service by firewall mark, of IPv4 or IPv6."""
        return cls("fwm", IPv4Address(0) if version == 4 else IPv6Address(0), 0, fwmark)

    @classmethod
    def parse(cls, text: str) -> ServiceId:
        """The service that ``tcp 192.168.1.10:80``, ``udp [2001:db8::10]:53`` or ``fwm 1`` names; ValueError if it
        names none.
        """
        protocol, _, endpoint = text.strip().partition(" ")
        match protocol:
            case "tcp" | "udp" | "sctp":
                return cls(protocol, *parse_endpoint(endpoint))
            case "fwm":
                return cls._parse_mark(text, endpoint.split())
        raise ValueError(f"{text!r} is no service; expected 'tcp ADDRESS:PORT', likewise udp or sctp, or 'fwm MARK'")

    @classmethod
    def _parse_mark(cls, text: str, words: list[str]) -> ServiceId:
        mark, *family = words or [""]
        if family not in ([], ["ipv6"]) or not (mark.isascii() and mark.isdigit()) or not 0 < int(mark) <= 0xFFFFFFFF:
            raise ValueError(f"{text!r} is no service by firewall mark; expected 'fwm 1' or 'fwm 1 ipv6'")
        return cls.marked(int(mark), 6 if family else 4)


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
class Persistence:
    """``-p SECONDS -M MASK``: a client (or its net) stays with its destination."""

    timeout: int = 360  # seconds
    netmask: int | None = None  # IPv4: the mask as a number; IPv6: the prefix length; None: every bit

    def mask(self, version: int) -> int:
        """The netmask, or that with every bit of this IP version."""
        return self.netmask if self.netmask is not None else (EVERY_BIT_V4 if version == 4 else EVERY_BIT_V6)


@dataclass(frozen=True, slots=True)
class _ServiceOptions(_Command):
    service: ServiceId
    scheduler: str = "wlc"
    flags: tuple[str, ...] = ()  # scheduler flags as -b and listings have them: ("sh-fallback", "sh-port")
    persistence: Persistence | None = None
    one_packet: bool = False
    engine: str = ""  # --pe: a persistence engine; services without persistence may have one, too


@dataclass(frozen=True, slots=True)
class AddService(_ServiceOptions):
    """``ipvsadm -A``."""


@dataclass(frozen=True, slots=True)
class EditService(_ServiceOptions):
    """``ipvsadm -E``: replaces everything but destinations and counters."""


@dataclass(frozen=True, slots=True)
class DeleteService(_Command):
    """``ipvsadm -D``."""

    service: ServiceId


@dataclass(frozen=True, slots=True)
class Tunnel:
    """``--tun-type TYPE --tun-port PORT --tun-csum``: how packets for a destination are wrapped."""

    type: TunnelType = "ipip"
    port: int = 0
    checksum: TunnelChecksum = "nocsum"


@dataclass(frozen=True, slots=True)
class _DestOptions(_Command):
    service: ServiceId
    dest: DestId
    method: Method = "masq"
    weight: int = 1
    upper: int = 0  # thresholds of connections; 0: none
    lower: int = 0
    tunnel: Tunnel = Tunnel()


@dataclass(frozen=True, slots=True)
class AddDest(_DestOptions):
    """``ipvsadm -a``."""


@dataclass(frozen=True, slots=True)
class EditDest(_DestOptions):
    """``ipvsadm -e``: replaces everything but the connections and counters."""


@dataclass(frozen=True, slots=True)
class DeleteDest(_Command):
    """``ipvsadm -d``."""

    service: ServiceId
    dest: DestId


@dataclass(frozen=True, slots=True)
class Clear(_Command):
    """``ipvsadm -C``."""


@dataclass(frozen=True, slots=True)
class Zero(_Command):
    """``ipvsadm -Z``: counters of one service, or (None) of all, begin anew."""

    service: ServiceId | None = None


@dataclass(frozen=True, slots=True)
class SetTimeouts(_Command):
    """``ipvsadm --set TCP TCPFIN UDP``: seconds; 0 keeps what is."""

    tcp: int = 0
    tcpfin: int = 0
    udp: int = 0


@dataclass(frozen=True, slots=True)
class SetSysctl(_Command):
    """``sysctl -w net.ipv4.vs.NAME=VALUE``: a tunable gets a value."""

    name: str  # without net.ipv4.vs.
    value: int


AdminCommand: TypeAlias = (
    AddService | EditService | DeleteService | AddDest | EditDest | DeleteDest | Clear | Zero | SetTimeouts | SetSysctl
)


def destination_addresses(commands: Iterable[AdminCommand]) -> set[Address]:
    """The address of every destination that is ever added."""
    return {command.dest.address for command in commands if isinstance(command, AddDest)}


def service_addresses(commands: Iterable[AdminCommand]) -> set[Address]:
    """The address of every service that is ever added; those by firewall mark have none."""
    added = [command.service for command in commands if isinstance(command, AddService)]
    return {service.address for service in added if not service.fwmark}


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
    upper: int = 0
    lower: int = 0
    tunnel: Tunnel = Tunnel()


@dataclass(frozen=True, slots=True)
class Service:
    """A virtual service as configured, its destinations in the order in which they were added."""

    id: ServiceId
    scheduler: str
    flags: tuple[str, ...]
    dests: tuple[Dest, ...]
    persistence: Persistence | None = None
    one_packet: bool = False
    engine: str = ""


#: The director's interfaces: clients are on the first one, real servers on the second.
INTERFACES = ("eth0", "eth1")


@dataclass(frozen=True, slots=True)
class ForwardRule:
    """``iptables -A FORWARD -i IN -s SOURCE -j TARGET``; source as ``10.0.0.0/24``, "" for what is not said."""

    in_interface: str = ""
    source: str = ""
    target: Literal["ACCEPT", "DROP"] = "ACCEPT"


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """The director as a router: what the iptables lines of the classic NAT set-up say. They concern IPv4 only."""

    policies: tuple[tuple[str, str], ...] = ()  # (chain, policy), the last one per chain
    forward: tuple[ForwardRule, ...] = ()
    masquerade: tuple[str, ...] = ()  # out interfaces
    flushed: tuple[str, ...] = ()  # tables emptied: "filter", "nat"

    def target(self, in_interface: str, source: IPv4Address) -> str:
        """What becomes of a packet from ``source`` that is to be forwarded: ``ACCEPT`` or ``DROP``."""
        rule = self.rule_for(in_interface, source)
        return rule.target if rule else dict(self.policies).get("FORWARD", "ACCEPT")

    def rule_for(self, in_interface: str, source: IPv4Address) -> ForwardRule | None:
        """The first rule that concerns a packet from ``source`` that is to be forwarded; None: the policy decides."""
        for rule in self.forward:
            if rule.in_interface in ("", in_interface) and source in IPv4Network(rule.source or "0.0.0.0/0"):
                return rule
        return None

    @property
    def drops(self) -> bool:
        """Whether anything that is to be forwarded may be dropped."""
        return dict(self.policies).get("FORWARD") == "DROP" or any(rule.target == "DROP" for rule in self.forward)


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
        table: dict[ServiceId, tuple[AddService | EditService, dict[DestId, Dest]]] = {}
        for command in self.commands:
            match command:
                case AddService(service):
                    table.setdefault(service, (command, {}))
                case EditService(service) if service in table:
                    table[service] = (command, table[service][1])
                case DeleteService(service):
                    table.pop(service, None)
                case AddDest(service, dest) if service in table:
                    table[service][1].setdefault(dest, _dest_of(command))
                case EditDest(service, dest) if service in table and dest in table[service][1]:
                    table[service][1][dest] = _dest_of(command)
                case DeleteDest(service, dest) if service in table:
                    table[service][1].pop(dest, None)
                case Clear():
                    table.clear()
                case _:
                    pass
        return tuple(
            Service(
                key, said.scheduler, said.flags, tuple(dests.values()), said.persistence, said.one_packet, said.engine
            )
            for key, (said, dests) in table.items()
        )


def _dest_of(command: AddDest | EditDest) -> Dest:
    return Dest(command.dest, command.method, command.weight, command.upper, command.lower, command.tunnel)
