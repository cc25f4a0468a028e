"""What is counted of a packet that belongs to an entry.

Kernel counterpart: ip_vs_core.c ip_vs_in_stats(), ip_vs_out_stats().
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Tables

__all__ = ["count_in", "count_out"]


@kernel
def count_in(t: Tables, d: int, length: int) -> None:
    """Count a client's packet at its destination and service, unless the destination was removed.

    Source
    ------
    facts: packet-path.md section 18.1; ip_vs_core.c ip_vs_in_stats().
    """
    dest = t.dests[d]
    if dest.available != 0:
        dest.in_packets += 1
        dest.in_bytes += length
        service = t.services[dest.service]
        service.in_packets += 1
        service.in_bytes += length


@kernel
def count_out(t: Tables, d: int, length: int) -> None:
    """Count a real server's packet at its destination and service, unless the destination was removed.

    Source
    ------
    facts: packet-path.md section 18.1; ip_vs_core.c ip_vs_out_stats().
    """
    dest = t.dests[d]
    if dest.available != 0:
        dest.out_packets += 1
        dest.out_bytes += length
        service = t.services[dest.service]
        service.out_packets += 1
        service.out_bytes += length
