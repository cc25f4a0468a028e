"""rr, round robin: one destination after the other, newest first; weights do not matter unless they are 0.

Kernel counterpart: ip_vs_rr.c.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.registry import register


@kernel
def init_service(t: Tables, s: int) -> int:
    """Start before the head of the list.

    Source
    ------
    facts: schedulers.md section 3.1; ip_vs_rr.c ip_vs_rr_init_svc(), 6.1 and 6.12.
    """
    t.services[s].cursor = 0
    return 0


@kernel
def del_dest(t: Tables, s: int, d: int) -> None:
    """If the cursor's destination goes, the cursor steps back, so that its successor is next.

    Source
    ------
    facts: schedulers.md section 3.1; ip_vs_rr.c ip_vs_rr_del_dest(), 6.1 and 6.12.
    """
    if t.services[s].cursor == d:
        t.services[s].cursor = t.dests[d].prev


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The first usable destination after the cursor, round the list and up to the cursor itself; 0 if there is none.

    Source
    ------
    facts: schedulers.md section 3.1; ip_vs_rr.c ip_vs_rr_schedule(), 6.1 and 6.12.
    """
    service = t.services[s]
    last = service.cursor
    d = t.dests[last].next if last != 0 else service.first
    wrapped = last == 0
    while True:
        if d == 0:
            if wrapped:
                return 0
            wrapped = True
            d = service.first
            continue
        dest = t.dests[d]
        if dest.weight > 0 and dest.overload == 0:
            service.cursor = d
            return d
        if wrapped and d == last:
            return 0
        d = dest.next


register("rr", init_service=init_service, del_dest=del_dest, schedule=schedule)
