"""lblcr, locality-based least connections with replication: a destination address has a set of destinations.

Kernel counterpart: ip_vs_lblcr.c. Of the set the least loaded for its weight is picked; if it is overtaxed, the set
gets one more. A set that did not change for a day loses its most loaded member.
"""

from __future__ import annotations

from lbsim.engine.address_cache import close_cache, collect, find_cached, new_cached, open_cache, overtaxed, release
from lbsim.engine.addresses import wanted
from lbsim.engine.integers import signed32
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.lc import load
from lbsim.engine.schedulers.registry import register
from lbsim.engine.schedulers.wlc import least_for_weight


@kernel
def init_service(t: Tables, s: int) -> int:
    """Begin with an empty cache.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_lblcr_init_svc(), 6.1 and 6.12.
    """
    open_cache(t, s)
    return 0


@kernel
def done_service(t: Tables, s: int) -> None:
    """Forget everything.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_lblcr_done_svc(), 6.1 and 6.12.
    """
    close_cache(t, s)


@kernel
def timer_fired(t: Tables, s: int) -> None:
    """Forget what was not used for long.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_lblcr_check_expire(), 6.1 and 6.12.
    """
    collect(t, s, t.director[0].lblcr_expiration)


@seldom
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The least loaded member of the address's set, unless it is overtaxed; else the one that wlc picks, or 0.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_lblcr_schedule(), 6.1 and 6.12.
    """
    addr = wanted(p)
    e = find_cached(t, s, addr)
    if e != 0:
        t.cached[e].last_use = t.director[0].now
        d = least_member(t, e)
        shrink(t, e)
        if d != 0 and not overtaxed(t, s, d):
            return d
    d = least_for_weight(t, s)
    if d != 0:
        if e == 0:
            e = new_cached(t, s, addr)
        if e != 0:
            insert(t, e, d)
    return d


@kernel
def least_member(t: Tables, e: int) -> int:
    """The usable member of an entry's set with the smallest load / weight, the newest of equals; 0 if there is none.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_dest_set_min(), 6.1 and 6.12.
    """
    least = 0
    least_load = 0
    least_weight = 0
    m = t.cached[e].member
    while m != 0:
        d = t.members[m].dest
        dest = t.dests[d]
        if dest.weight > 0 and dest.overload == 0 and dest.available != 0:
            this_load = signed32(load(t, dest))
            if least == 0 or least_load * dest.weight > this_load * least_weight:
                least = d
                least_load = this_load
                least_weight = dest.weight
        m = t.members[m].next
    return least


@kernel
def shrink(t: Tables, e: int) -> None:
    """Remove the most loaded member of a set that has more than one and did not change for long.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_lblcr_schedule(), ip_vs_dest_set_erase(), 6.1 and 6.12.
    """
    director = t.director[0]
    entry = t.cached[e]
    if t.members[entry.member].next == 0 or director.now <= entry.last_change + director.lblcr_expiration * director.hz:
        return
    gone = most_loaded(t, e)
    if gone == 0:
        return
    entry.last_change = director.now
    if entry.member == gone:
        entry.member = t.members[gone].next
    else:
        before = entry.member
        while t.members[before].next != gone:
            before = t.members[before].next
        t.members[before].next = t.members[gone].next
    release(t, gone)


@kernel
def most_loaded(t: Tables, e: int) -> int:
    """The member with the largest load / weight, the newest of equals, usable or not; 0 if all weights are 0.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_dest_set_max(), 6.1 and 6.12.
    """
    most = 0
    most_load = 0
    most_weight = 0
    m = t.cached[e].member
    while m != 0:
        dest = t.dests[t.members[m].dest]
        if dest.weight > 0:
            this_load = signed32(load(t, dest))
            if most == 0 or most_load * dest.weight < this_load * most_weight:
                most = m
                most_load = this_load
                most_weight = dest.weight
        m = t.members[m].next
    return most


@kernel
def insert(t: Tables, e: int, d: int) -> None:
    """Put a destination in front of an entry's set, unless it is in it already.

    The caller has made room for one more member.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_dest_set_insert(), 6.1 and 6.12.
    """
    director = t.director[0]
    entry = t.cached[e]
    m = entry.member
    while m != 0:
        if t.members[m].dest == d:
            return
        m = t.members[m].next
    m = director.free_member
    if m != 0:
        director.free_member = t.members[m].next
    else:
        director.members_used += 1
        m = director.members_used
    t.members[m].dest = d
    t.members[m].next = entry.member
    entry.member = m
    entry.last_change = director.now
    t.dests[d].cached += 1


register("lblcr", init_service=init_service, done_service=done_service, timer_fired=timer_fired, schedule=schedule)
