"""nq, never queue: whoever is idle gets the connection at once; if nobody is, as sed would do.

Kernel counterpart: ip_vs_nq.c. UDP is never active: there the newest destination is always idle and gets everything.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Dest, Packet, Tables
from lbsim.engine.schedulers.registry import register
from lbsim.engine.schedulers.sed import shortest_delay


@kernel
def idle(dest: Dest) -> bool:
    """Whether a destination has no active connections.

    Source
    ------
    facts: schedulers.md section 3.6; ip_vs_nq.c ip_vs_nq_schedule(), 6.1 and 6.12.
    """
    return dest.active == 0


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The first usable destination without active connections; else the one with the shortest expected delay; or 0.

    Source
    ------
    facts: schedulers.md section 3.6; ip_vs_nq.c ip_vs_nq_schedule(), 6.1 and 6.12.
    """
    d = t.services[s].first
    while d != 0:
        dest = t.dests[d]
        if dest.weight > 0 and dest.overload == 0 and idle(dest):
            return d
        d = dest.next
    return shortest_delay(t, s)


register("nq", schedule=schedule)
