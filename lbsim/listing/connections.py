"""``ipvsadm -Lnc``: the entries of the connection table.

Source: ipvsadm 1.31 (Debian), run; facts: ipvsadm.md section 3.5, packet-path.md section 19.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from lbsim.config.endpoints import format_endpoint
from lbsim.model.config import parse_endpoint
from lbsim.model.listing import ListConnections
from lbsim.model.result import ConnRow

__all__ = ["connection_list"]


def connection_list(rows: Iterable[ConnRow], asked: ListConnections) -> str:
    """The entries in the order given; the kernel's own is that of a hash table with a random seed."""
    head = "pro expire state       source             virtual            destination"
    if asked.engine_data:
        head += "        pe name          pe_data"
    return "".join(f"{line}\n" for line in ("IPVS connection entries", head, *map(_line, rows)))


def _line(row: ConnRow) -> str:
    left = f"{row.expires // 60:02}:{row.expires % 60:02}"
    client, virtual, destination = (
        format_endpoint(*parse_endpoint(end)) for end in (row.client, row.virtual, row.destination)
    )
    return f"{row.protocol:<3} {left:<6} {row.state:<11} {client:<18} {virtual:<18} {destination}"
