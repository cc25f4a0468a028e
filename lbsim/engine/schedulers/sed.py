"""sed, shortest expected delay: like wlc, but only active connections count, and the one to come with them.

Kernel counterpart: ip_vs_sed.c. UDP is never active: there the destination with the largest weight gets everything.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Dest, Packet, Tables
from lbsim.engine.schedulers.registry import register


@kernel
def load(dest: Dest) -> int:
    """How busy a destination would be with the connection that is about to come.

    Source
    ------
    facts: schedulers.md section 3.5; ip_vs_sed.c ip_vs_sed_dest_overhead(), 6.1 and 6.12.
    """
    return dest.active + 1


@kernel
def shortest_delay(t: Tables, s: int) -> int:
    """The usable destination with the smallest (active + 1) / weight, the first in the list of equals; or 0.

    Source
    ------
    facts: schedulers.md section 3.5; ip_vs_sed.c ip_vs_sed_schedule(), 6.1 and 6.12.
    """
    least = 0
    least_load = 0
    least_weight = 0
    d = t.services[s].first
    while d != 0:
        dest = t.dests[d]
        if dest.weight > 0 and dest.overload == 0:
            this_load = load(dest)
            if least == 0 or least_load * dest.weight > this_load * least_weight:
                least = d
                least_load = this_load
                least_weight = dest.weight
        d = dest.next
    return least


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The usable destination with the shortest expected delay, or 0.

    Source
    ------
    facts: schedulers.md section 3.5; ip_vs_sed.c ip_vs_sed_schedule(), 6.1 and 6.12.
    """
    return shortest_delay(t, s)


register("sed", schedule=schedule)
