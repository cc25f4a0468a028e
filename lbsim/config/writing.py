"""Admin commands and tables -> text: scripts that read back, and dumps as ``ipvsadm -S -n`` prints them.

Source: ipvsadm 1.31 (Debian), run; facts: ipvsadm.md section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from lbsim.config import iptables
from lbsim.config.endpoints import format_endpoint
from lbsim.config.options import ANY_SCHEDULER_FLAGS, SCHEDULER_FLAGS
from lbsim.config.sysctls import TUNABLES
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    Dest,
    DirectorConfig,
    EditDest,
    EditService,
    Persistence,
    Service,
    ServiceId,
    SetSysctl,
    SetTimeouts,
    Tunnel,
    Zero,
)
from lbsim.model.kernel_sort import endpoint_key, service_key, sorted_as_listed

__all__ = ["dump", "dump_services", "format_command", "save", "shown_flags"]

_LETTERS: Mapping[type[AdminCommand], str] = {
    AddService: "-A",
    EditService: "-E",
    DeleteService: "-D",
    AddDest: "-a",
    EditDest: "-e",
    DeleteDest: "-d",
    Clear: "-C",
    Zero: "-Z",
    SetTimeouts: "--set",
}
_PROTOCOLS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_METHODS = {"masq": "-m", "droute": "-g", "tunnel": "-i"}


def format_command(command: AdminCommand) -> str:
    """The line that makes this command, its options in the order that dumps have.

    >>> format_command(AddService(ServiceId.parse("tcp 192.0.2.1:80"), "rr"))
    'ipvsadm -A -t 192.0.2.1:80 -s rr'
    """
    if isinstance(command, SetSysctl):
        return f"sysctl -w {TUNABLES}{command.name}={command.value}"
    words = ["ipvsadm", _LETTERS[type(command)]]
    match command:
        case SetTimeouts(tcp, tcpfin, udp):
            words += [str(tcp), str(tcpfin), str(udp)]
        case Zero(service):
            words += _service_words(service) if service is not None else []
        case DeleteService(service):
            words += _service_words(service)
        case AddService(service) | EditService(service):
            words += _service_words(service) + _service_options(command)
        case AddDest(service, dest) | EditDest(service, dest):
            words += [*_service_words(service), "-r", format_endpoint(dest.address, dest.port)]
            words += _dest_options(command) + _thresholds(command)
        case DeleteDest(service, dest):
            words += [*_service_words(service), "-r", format_endpoint(dest.address, dest.port)]
    return " ".join(words)


def save(config: DirectorConfig) -> str:
    """A script that reads back as an equal table, equal timeouts, tunables and router settings.

    Services and destinations stand in the order in which they were added.
    """
    lines = iptables.format_settings(config.router)
    lines += [format_command(command) for command in config.commands if isinstance(command, SetTimeouts | SetSysctl)]
    for service in config.services():
        lines.append(format_command(_add_service(service)))
        lines += [format_command(_add_dest(service, dest)) for dest in service.dests]
    return "".join(f"{line}\n" for line in lines)


def dump(config: DirectorConfig) -> str:
    """The table as ``ipvsadm -S -n`` prints it, sorted as that sorts. Router settings and timeouts are no part of it.

    Where addresses have no order by themselves (:mod:`lbsim.model.kernel_sort`), it counts in which order they were
    before. For destinations that is newest first, as in the kernel. For services the kernel's own order differs from
    boot to boot; here it is that of adding.
    """
    newest_first = [replace(service, dests=service.dests[::-1]) for service in config.services()]
    return dump_services(newest_first)


def dump_services(services: Iterable[Service]) -> str:
    """``ipvsadm -S -n`` of services that are in the kernel's order, their destinations likewise (newest first).

    It prints no thresholds. Firewall marks are printed as signed numbers, and of a flag that the scheduler has no name
    for nothing is printed; such lines do not read back.
    """
    lines: list[str] = []
    for service in sorted_as_listed(services, lambda row: service_key(row.id)):
        name = " ".join(_service_words(service.id, signed=True))
        lines.append(" ".join(["-A", name, *_service_options(_add_service(service), as_listed=True)]))
        for dest in sorted_as_listed(service.dests, lambda row: endpoint_key(row.id.address, row.id.port)):
            server = format_endpoint(dest.id.address, dest.id.port)
            lines.append(" ".join(["-a", name, "-r", server, *_dest_options(dest)]))
    return "".join(f"{line}\n" for line in lines)


def _add_service(service: Service) -> AddService:
    return AddService(
        service.id,
        service.scheduler,
        service.flags,
        persistence=service.persistence,
        one_packet=service.one_packet,
        engine=service.engine,
    )


def _add_dest(service: Service, dest: Dest) -> AddDest:
    return AddDest(service.id, dest.id, dest.method, dest.weight, dest.upper, dest.lower, dest.tunnel)


def _service_words(service: ServiceId, *, signed: bool = False) -> list[str]:
    if service.protocol != "fwm":
        return [_PROTOCOLS[service.protocol], format_endpoint(service.address, service.port)]
    mark = service.fwmark - (1 << 32 if signed and service.fwmark > 0x7FFFFFFF else 0)
    return ["-f", str(mark), *(["-6"] if service.address.version == 6 else [])]


def _service_options(command: AddService | EditService, *, as_listed: bool = False) -> list[str]:
    words = ["-s", command.scheduler, *_persistence(command.persistence, command.service.address.version)]
    words += ["--pe", command.engine] if command.engine else []
    words += ["-o"] if command.one_packet else []
    flags = shown_flags(command.scheduler, command.flags) if as_listed else command.flags
    return words + (["-b", ",".join(flags)] if command.flags else [])


def shown_flags(scheduler: str, flags: Iterable[str]) -> tuple[str, ...]:
    """The flags that are printed: of a scheduler with names of its own only those that have one."""
    unnamed = ANY_SCHEDULER_FLAGS if scheduler in SCHEDULER_FLAGS else ()
    return tuple(flag for flag in flags if flag not in unnamed)


def _persistence(persistence: Persistence | None, version: int) -> list[str]:
    if persistence is None:
        return []
    words = ["-p", str(persistence.timeout)]
    if persistence.mask(version) == Persistence().mask(version):
        return words
    return [*words, "-M", str(IPv4Address(persistence.mask(4)) if version == 4 else persistence.mask(6))]


def _dest_options(dest: AddDest | EditDest | Dest) -> list[str]:
    words = [_METHODS[dest.method], "-w", str(dest.weight)]
    return words + (_tunnel(dest.tunnel) if dest.method == "tunnel" else [])


def _tunnel(tunnel: Tunnel) -> list[str]:
    words = ["--tun-type", tunnel.type]
    words += ["--tun-port", str(tunnel.port)] if tunnel.type == "gue" else []
    return words + ([f"--tun-{tunnel.checksum}"] if tunnel.type != "ipip" else [])


def _thresholds(dest: AddDest | EditDest) -> list[str]:
    words = ["-x", str(dest.upper)] if dest.upper else []
    return words + (["-y", str(dest.lower)] if dest.lower else [])
