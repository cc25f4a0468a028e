"""lblc, locality-based least connections: a destination address stays with whom it was given to, who is as wlc says.

Kernel counterpart: ip_vs_lblc.c. Meant for a cluster of transparent caches: of an ordinary service every packet has the
same destination address, the virtual one, so all go to one destination until it is overtaxed.
"""

from __future__ import annotations

from lbsim.engine.address_cache import close_cache, collect, find_cached, forget, new_cached, open_cache, overtaxed
from lbsim.engine.addresses import wanted
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.registry import register
from lbsim.engine.schedulers.wlc import least_for_weight


@kernel
def init_service(t: Tables, s: int) -> int:
    """Begin with an empty cache.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_init_svc(), 6.1 and 6.12.
    """
    open_cache(t, s)
    return 0


@kernel
def done_service(t: Tables, s: int) -> None:
    """Forget everything.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_done_svc(), 6.1 and 6.12.
    """
    close_cache(t, s)


@kernel
def timer_fired(t: Tables, s: int) -> None:
    """Forget what was not used for long.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_check_expire(), 6.1 and 6.12.
    """
    collect(t, s, t.director[0].lblc_expiration)


@seldom
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The destination that the packet's destination address has, overloaded or not; else the one that wlc picks, or 0.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_schedule(), 6.1 and 6.12.
    """
    addr = wanted(p)
    e = find_cached(t, s, addr)
    if e != 0:
        t.cached[e].last_use = t.director[0].now
        d = t.cached[e].dest
        if t.dests[d].available != 0 and t.dests[d].weight > 0 and not overtaxed(t, s, d):
            return d
    d = least_for_weight(t, s)
    if d != 0 and (e == 0 or t.cached[e].dest != d):
        give(t, s, e, addr, d)
    return d


@kernel
def give(t: Tables, s: int, e: int, addr: int, d: int) -> None:
    """Remember that the address has destination ``d``, in place of entry ``e`` if there is one.

    Source
    ------
    facts: schedulers.md sections 3.12 and 7; ip_vs_lblc.c ip_vs_lblc_new(), 6.1.192 and 6.12.117, and before.
    """
    if e != 0:
        forget(t, s, e)
        t.services[s].cache_count += t.director[0].miscounted_cache
    e = new_cached(t, s, addr)
    if e != 0:
        t.cached[e].dest = d
        t.dests[d].cached += 1


register("lblc", init_service=init_service, done_service=done_service, timer_fired=timer_fired, schedule=schedule)
