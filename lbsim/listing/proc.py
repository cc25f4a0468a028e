"""/proc/net/ip_vs, ip_vs_conn, ip_vs_stats and their like: numbers in hexadecimal, timeouts in ticks.

Source: facts: packet-path.md section 19; ip_vs_ctl.c ip_vs_info_seq_show(), ip_vs_stats_show(),
ip_vs_stats_percpu_show(); ip_vs_conn.c ip_vs_conn_seq_show(), ip_vs_conn_sync_seq_show(); 6.1 and 6.12.
"""

from __future__ import annotations

from collections.abc import Iterable

from lbsim.listing.table import METHODS, TABLE_SIZE
from lbsim.model.config import Address, parse_endpoint
from lbsim.model.listing import ListedDest, ListedService, Rates
from lbsim.model.result import ConnRow, Counters

__all__ = ["proc_conns", "proc_conns_sync", "proc_services", "proc_stats", "proc_stats_percpu"]


def proc_services(services: Iterable[ListedService], hz: int) -> str:
    """/proc/net/ip_vs, services and destinations in the order given (the kernel's)."""
    lines = [
        f"IP Virtual Server version 1.2.1 (size={TABLE_SIZE})",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
    ]
    for row in services:
        lines.append(_service(row, hz))
        lines += map(_dest, row.dests)
    return "".join(f"{line}\n" for line in lines)


def _service(row: ListedService, hz: int) -> str:
    service = row.id
    ops = "ops " if row.one_packet else ""
    if service.protocol == "fwm":
        text = f"FWM  {service.fwmark:08X} {row.scheduler} {ops}"
    else:
        text = f"{service.protocol.upper()}  {_end(service.address, service.port)} {row.scheduler} "
        text += f"{ops} " if service.address.version == 4 else ""  # those of IPv6 never show it
    if row.persistence is None:
        return text
    version = row.id.address.version
    mask = row.persistence.mask(version) << (0 if version == 4 else 24)  # the prefix length in the first byte
    return f"{text}persistent {row.persistence.timeout * hz} {mask:08X}"


def _dest(dest: ListedDest) -> str:
    end = _end(dest.id.address, dest.id.port)
    return f"  -> {end}      {METHODS[dest.method]:<7} {dest.weight:<6} {dest.active:<10} {dest.inactive:<10}"


def _end(address: Address, port: int) -> str:
    text = _address(address)
    return f"[{text}]:{port:04X}" if address.version == 6 else f"{text}:{port:04X}"


def _address(address: Address) -> str:
    return address.exploded if address.version == 6 else f"{int(address):08X}"


def proc_conns(rows: Iterable[ConnRow]) -> str:
    """/proc/net/ip_vs_conn, the entries in the order given; the kernel's own is that of a random hash."""
    head = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData"
    return "".join(f"{line}\n" for line in (head, *(f"{_conn(row)} {row.expires:>7}" for row in rows)))


def proc_conns_sync(rows: Iterable[ConnRow]) -> str:
    """/proc/net/ip_vs_conn_sync: likewise, and where entries come from. No other director tells this one of its own."""
    head = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires"
    return "".join(f"{line}\n" for line in (head, *(f"{_conn(row)} LOCAL  {row.expires:>7}" for row in rows)))


def _conn(row: ConnRow) -> str:
    """What both files say of an entry."""
    ends = [parse_endpoint(end) for end in (row.client, row.virtual, row.destination)]
    text = " ".join(f"{_address(address)} {port:04X}" for address, port in ends)
    return f"{row.protocol:<3} {text} {row.state:<11}"


def proc_stats(total: Counters, rates: Rates) -> str:
    """/proc/net/ip_vs_stats: of all services together."""
    lines = (
        "   Total Incoming Outgoing         Incoming         Outgoing",
        "   Conns  Packets  Packets            Bytes            Bytes",
        _five(total),
        "",
        " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s",
        _five(rates),
    )
    return "".join(f"{line}\n" for line in lines)


def proc_stats_percpu(counted: Counters, total: Counters, rates: Rates) -> str:
    """/proc/net/ip_vs_stats_percpu of a machine with one processor.

    Parameters
    ----------
    counted : what the processor has counted up to now; nothing ever zeroes that.
    total, rates : as of :func:`proc_stats`.
    """
    lines = (
        "       Total Incoming Outgoing         Incoming         Outgoing",
        "CPU    Conns  Packets  Packets            Bytes            Bytes",
        f"  0 {_five(counted)}",
        f"  ~ {_five(total)}",
        "",
        "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s",
        f"    {_five(rates)}",
    )
    return "".join(f"{line}\n" for line in lines)


def _five(row: Counters | Rates) -> str:
    counts = f"{row.connections:8X} {row.in_packets:8X} {row.out_packets:8X}"
    return f"{counts} {row.in_bytes:16X} {row.out_bytes:16X}"
