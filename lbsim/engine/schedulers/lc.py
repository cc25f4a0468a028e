"""lc, least connections: the destination with the smallest load; of equals the newest.

Kernel counterpart: ip_vs_lc.c. Load is 256 * active + total: an active connection weighs as much as 257 inactive ones.
Before August 2026 (``Director.load_of_inactive``) it was 256 * active + inactive.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Dest, Packet, Tables
from lbsim.engine.schedulers.registry import register


@kernel
def load(t: Tables, dest: Dest) -> int:
    """How busy a destination is, as an unsigned 32-bit number.

    Source
    ------
    facts: schedulers.md section 1.4; ip_vs.h ip_vs_dest_conn_overhead(), 6.1.192 and 6.12.117, and before August 2026.
    """
    counted_twice = dest.active * t.director[0].load_of_inactive
    return ((dest.active << 8) + dest.total - counted_twice) & 0xFFFFFFFF


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The usable destination with the smallest load, the first in the list of equals; 0 if there is none.

    Source
    ------
    facts: schedulers.md section 3.3; ip_vs_lc.c ip_vs_lc_schedule(), 6.1 and 6.12.
    """
    least = 0
    least_load = 0
    d = t.services[s].first
    while d != 0:
        dest = t.dests[d]
        if dest.weight > 0 and dest.overload == 0:
            this_load = load(t, dest)
            if least == 0 or this_load < least_load:
                least = d
                least_load = this_load
        d = dest.next
    return least


register("lc", schedule=schedule)
