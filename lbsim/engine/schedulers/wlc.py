"""wlc, weighted least connections: the destination with the smallest load for its weight; of equals the newest.

Kernel counterpart: ip_vs_wlc.c. What ``ipvsadm`` takes if no scheduler is given. As long as all are idle the newest
destination is picked, whatever the weights are.
"""

from __future__ import annotations

from lbsim.engine.integers import signed32
from lbsim.engine.lanes import kernel
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.lc import load
from lbsim.engine.schedulers.registry import register


@kernel
def least_for_weight(t: Tables, s: int) -> int:
    """The usable destination with the smallest load / weight, the first in the list of equals; 0 if there is none.

    Compared by multiplying crosswise: of 31 bits each, the products fit into 63.

    Source
    ------
    facts: schedulers.md section 3.4; ip_vs_wlc.c ip_vs_wlc_schedule(), 6.1 and 6.12.
    """
    least = 0
    least_load = 0
    least_weight = 0
    d = t.services[s].first
    while d != 0:
        dest = t.dests[d]
        if dest.weight > 0 and dest.overload == 0:
            this_load = signed32(load(t, dest))
            if least == 0 or least_load * dest.weight > this_load * least_weight:
                least = d
                least_load = this_load
                least_weight = dest.weight
        d = dest.next
    return least


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The usable destination with the smallest load for its weight, or 0.

    Source
    ------
    facts: schedulers.md section 3.4; ip_vs_wlc.c ip_vs_wlc_schedule(), 6.1 and 6.12.
    """
    return least_for_weight(t, s)


register("wlc", schedule=schedule)
