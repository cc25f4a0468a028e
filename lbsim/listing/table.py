"""``ipvsadm -Ln`` and its views.

Source: ipvsadm 1.31 (Debian), run; facts: ipvsadm.md sections 3.1 to 3.4, 3.6 and 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import TypeAlias

from lbsim.config.endpoints import format_endpoint
from lbsim.config.writing import shown_flags
from lbsim.model.config import EVERY_BIT_V4, EVERY_BIT_V6, Method, Tunnel
from lbsim.model.kernel_sort import endpoint_key, service_key, sorted_as_listed
from lbsim.model.listing import ListedDest, ListedService, ListTable, Rates, Timeouts, View
from lbsim.model.result import Counters, ServiceOptions

__all__ = ["METHODS", "TABLE_SIZE", "options_text", "table", "timeouts"]

#: How many buckets the kernel's connection table has unless it was loaded otherwise.
TABLE_SIZE = 4096
METHODS: Mapping[Method, str] = {"masq": "Masq", "tunnel": "Tunnel", "droute": "Route"}

_Numbers: TypeAlias = Sequence[int]
_UNITS = ((100_000_000, 1, ""), (10**9, 1000, "K"), (10**11, 10**6, "M"), (10**14, 10**9, "G"))


def table(services: Iterable[ListedService], asked: ListTable) -> str:
    """The table, or (with ``asked.service``) what there is of one service.

    ``services`` are in the kernel's order; the listing is sorted unless that was asked not to be.
    """
    rows = [row for row in services if asked.service in (None, row.id)]
    lines = list(_TITLES[asked.view])
    if asked.service is None:
        lines.insert(0, f"IP Virtual Server version 1.2.1 (size={TABLE_SIZE})")
    for row in sorted_as_listed(rows, lambda row: service_key(row.id)) if asked.sort else rows:
        lines.append(_service_line(row, asked))
        dests = row.dests
        if asked.sort:
            dests = sorted_as_listed(dests, lambda dest: endpoint_key(dest.id.address, dest.id.port))
        lines += [f"  -> {format_endpoint(d.id.address, d.id.port):<28}{_dest_line(d, asked)}" for d in dests]
    return "".join(f"{line}\n" for line in lines)


def timeouts(row: Timeouts) -> str:
    """``ipvsadm -L --timeout``."""
    return f"Timeout (tcp tcpfin udp): {row.tcp} {row.tcpfin} {row.udp}\n"


# Titles

_SERVICE_TITLE = "Prot LocalAddress:Port"
_DEST_TITLE = "  -> RemoteAddress:Port"


def _titles(columns: str, width: int) -> tuple[str, str]:
    return f"{_SERVICE_TITLE:<33}" + "".join(f" {column:>{width}}" for column in columns.split()), _DEST_TITLE


_TITLES: Mapping[View, tuple[str, str]] = {
    "plain": (
        f"{_SERVICE_TITLE} Scheduler Flags",
        f"{_DEST_TITLE:<34}Forward Weight ActiveConn InActConn",
    ),
    "stats": _titles("Conns InPkts OutPkts InBytes OutBytes", 8),
    "rate": _titles("CPS InPPS OutPPS InBPS OutBPS", 8),
    "thresholds": (f"{_SERVICE_TITLE:<33} Uthreshold Lthreshold ActiveConn InActConn ", _DEST_TITLE),
    "persistent-conn": (f"{_SERVICE_TITLE:<33} Weight    PersistConn ActiveConn InActConn ", _DEST_TITLE),
    "tun-info": (
        f"{_SERVICE_TITLE} Scheduler Flags",
        f"{_DEST_TITLE:<34}Forward TunnelInfo    Weight ActiveConn InActConn",
    ),
}


# Services


def _service_line(row: ListedService, asked: ListTable) -> str:
    if asked.view in ("stats", "rate"):
        values = _values(row.counters if asked.view == "stats" else row.rates)
        return f"{_name(row):<33}" + "".join(_number(value, asked.exact) for value in values)
    return f"{_name(row)} {row.scheduler}{_flags(row)}"


def _name(row: ListedService) -> str:
    """Protocol and end, or the mark as a signed number of 32 bits."""
    service = row.id
    if service.protocol != "fwm":
        return f"{service.protocol.upper():<4} {format_endpoint(service.address, service.port)}"
    mark = service.fwmark - (1 << 32 if service.fwmark > 0x7FFFFFFF else 0)
    return f"FWM  {mark}" + (" IPv6" if service.address.version == 6 else "")


def _flags(row: ListedService) -> str:
    text = f" ({','.join(shown_flags(row.scheduler, row.flags))})" if row.flags else ""
    options = ServiceOptions(row.persistence, row.engine, row.one_packet)
    return text + options_text(options, row.id.address.version)


def options_text(options: ServiceOptions, version: int) -> str:
    """`` persistent 600 mask 255.255.255.0 pe sip ops``, as far as it applies: what ends the line of a service of this
    IP version.
    """
    text = ""
    if options.persistence is not None:
        text = f" persistent {options.persistence.timeout}"
        mask = options.persistence.mask(version)
        if mask != (EVERY_BIT_V4 if version == 4 else EVERY_BIT_V6):
            text += f" mask {IPv4Address(mask) if version == 4 else mask}"
        text += f" pe {options.engine}" if options.engine else ""
    return text + (" ops" if options.one_packet else "")


# Destinations


def _dest_line(dest: ListedDest, asked: ListTable) -> str:
    """What follows the name of a destination."""
    return _DEST_LINES[asked.view](dest, asked.exact)


def _plain(dest: ListedDest, _exact: bool) -> str:
    return f" {METHODS[dest.method]:<7} {dest.weight:<6} {dest.active:<10} {dest.inactive:<10}"


def _stats(dest: ListedDest, exact: bool) -> str:
    """Connections and packets pass through 32 bits on their way, bytes do not."""
    conns, in_packets, out_packets, in_bytes, out_bytes = _values(dest.counters)
    values = (*_in_32_bits((conns, in_packets, out_packets)), in_bytes, out_bytes)
    return "".join(_number(value, exact) for value in values)


def _rate(dest: ListedDest, exact: bool) -> str:
    """All of it passes through 32 bits; connections and packets are never abbreviated."""
    *packets, in_bytes, out_bytes = _in_32_bits(_values(dest.rates))
    return "".join(f" {value:>8}" for value in packets) + _number(in_bytes, exact) + _number(out_bytes, exact)


def _thresholds(dest: ListedDest, _exact: bool) -> str:
    return "".join(f" {value:<10}" for value in (dest.upper, dest.lower, dest.active, dest.inactive))


def _persistent(dest: ListedDest, _exact: bool) -> str:
    return f" {dest.weight:<9} {dest.persistent:<11} {dest.active:<10} {dest.inactive:<10}"


def _tunnels(dest: ListedDest, _exact: bool) -> str:
    tunnel = _tunnel(dest.tunnel) if dest.method == "tunnel" else "n/a"
    counts = f"{dest.weight:<6} {dest.active:<10} {dest.inactive:<10}"
    return f" {METHODS[dest.method]:<7} {tunnel:<13} {counts}"


def _tunnel(tunnel: Tunnel) -> str:
    checksum = {"nocsum": "-c", "csum": "+c", "remcsum": "r+c"}[tunnel.checksum]
    return {"ipip": "ipip", "gue": f"gue:{tunnel.port}:{checksum}", "gre": f"gre:{checksum}"}[tunnel.type]


_DEST_LINES: Mapping[View, Callable[[ListedDest, bool], str]] = {
    "plain": _plain,
    "stats": _stats,
    "rate": _rate,
    "thresholds": _thresholds,
    "persistent-conn": _persistent,
    "tun-info": _tunnels,
}


# Numbers


def _values(row: Counters | Rates) -> _Numbers:
    return row.connections, row.in_packets, row.out_packets, row.in_bytes, row.out_bytes


def _in_32_bits(values: _Numbers) -> _Numbers:
    return [value & 0xFFFFFFFF for value in values]


def _number(value: int, exact: bool) -> str:
    """A number in a field of nine, in thousands, millions and so on if it has more than eight digits."""
    if exact:
        return f" {value:>8}"
    divisor, unit = next(((d, unit) for below, d, unit in _UNITS if value < below), (10**12, "T"))
    return f" {value:>8}" if not unit else f"{value // divisor:>8}{unit}"
