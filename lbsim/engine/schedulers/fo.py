"""fo, weighted failover: everything goes to the destination with the largest weight that takes connections.

Kernel counterpart: ip_vs_fo.c.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.registry import register


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The usable destination with the largest weight, the first in the list of equals; 0 if there is none.

    Source
    ------
    facts: schedulers.md section 3.7; ip_vs_fo.c ip_vs_fo_schedule(), 6.1 and 6.12.
    """
    best = 0
    largest = 0
    d = t.services[s].first
    while d != 0:
        dest = t.dests[d]
        if dest.overload == 0 and dest.weight > largest:
            best = d
            largest = dest.weight
        d = dest.next
    return best


register("fo", schedule=schedule)
