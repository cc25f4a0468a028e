"""ovf, weighted overflow: like fo, until the destination has more active connections than its weight.

Kernel counterpart: ip_vs_ovf.c. A destination takes as many active connections as its weight, and one more.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Dest, Packet, Tables
from lbsim.engine.schedulers.registry import register


@kernel
def overflowed(dest: Dest) -> bool:
    """Whether a destination has more active connections than its weight.

    Source
    ------
    facts: schedulers.md section 3.8; ip_vs_ovf.c ip_vs_ovf_schedule(), 6.1 and 6.12.
    """
    return dest.active > dest.weight


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The usable destination with the largest weight of those that have not overflowed, the first of equals; or 0.

    Source
    ------
    facts: schedulers.md section 3.8; ip_vs_ovf.c ip_vs_ovf_schedule(), 6.1 and 6.12.
    """
    best = 0
    largest = 0
    d = t.services[s].first
    while d != 0:
        dest = t.dests[d]
        if dest.overload == 0 and dest.weight > largest and not overflowed(dest):
            best = d
            largest = dest.weight
        d = dest.next
    return best


register("ovf", schedule=schedule)
