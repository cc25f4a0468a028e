"""The cache of lblc and lblcr: what they remember of destination addresses, and how it is forgotten.

Kernel counterpart: the tables of ip_vs_lblc.c and ip_vs_lblcr.c, which are alike. A service has 1024 buckets of
entries. Every 60 s its timer counts rounds; every 30th round forgets what was not used for a day, and when there are
more than 16384 entries, the rounds forget in some of the buckets what was not used for six minutes. An entry keeps the
destinations that it names in the trash after their removal.
"""

from __future__ import annotations

from lbsim.engine.hashing import hash32
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.records import Tables
from lbsim.engine.scheduler_timers import set_timer, stop_timer

__all__ = ["close_cache", "collect", "find_cached", "forget", "new_cached", "open_cache", "overtaxed", "release"]

BITS = 10
BUCKETS = 1 << BITS
MANY = 16 * BUCKETS  # entries
MOST = MANY * 3 // 2
PERIOD = 60  # seconds between two rounds
ROUNDS = 30  # from one full check to the next
UNUSED = 360  # seconds after which an entry may go when there are many


@kernel
def open_cache(t: Tables, s: int) -> None:
    """Give the service an empty cache and start its timer.

    The caller has made room for 1024 more buckets.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_init_svc(), ip_vs_lblcr.c likewise, 6.1 and 6.12.
    """
    service = t.services[s]
    director = t.director[0]
    if service.cache_heads == 0:
        director.cache_heads_used += BUCKETS
        service.cache_heads = director.cache_heads_used
    service.cache_count = 0
    service.cache_rounds = 1
    service.cache_rover = 0
    set_timer(t, s, director.now + PERIOD * director.hz)


@seldom
def close_cache(t: Tables, s: int) -> None:
    """Stop the timer and forget all entries.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_done_svc(), ip_vs_lblcr.c likewise, 6.1 and 6.12.
    """
    stop_timer(t, s)
    for bucket in range(BUCKETS):
        while t.cache_heads[t.services[s].cache_heads + bucket] != 0:
            forget(t, s, t.cache_heads[t.services[s].cache_heads + bucket])


@kernel
def head_of(t: Tables, s: int, addr: int) -> int:
    """Where in :attr:`Tables.cache_heads` the address's bucket is.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_hashkey(), 6.1 and 6.12.
    """
    return t.services[s].cache_heads + hash32(t.addresses[addr].fold + 0, BITS)


@kernel
def find_cached(t: Tables, s: int, addr: int) -> int:
    """The service's entry for an address, or 0.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_get(), 6.1 and 6.12.
    """
    e = t.cache_heads[head_of(t, s, addr)]
    while e != 0 and t.cached[e].addr != addr:
        e = t.cached[e].next_same_hash
    return e


@kernel
def new_cached(t: Tables, s: int, addr: int) -> int:
    """A new entry of the service for an address, without destinations; 0 if the cache is full.

    The caller has made room for one more entry.

    Source
    ------
    facts: schedulers.md sections 3.12 and 7; ip_vs_lblc.c ip_vs_lblc_new(), 6.1.192 and 6.12.117, and before.
    """
    director = t.director[0]
    service = t.services[s]
    if service.cache_count >= MOST and director.endless_cache == 0:
        return 0
    e = director.free_cached
    if e != 0:
        director.free_cached = t.cached[e].next_same_hash
    else:
        director.cached_used += 1
        e = director.cached_used
    entry = t.cached[e]
    entry.addr = addr
    entry.last_use = director.now
    entry.last_change = director.now
    head = head_of(t, s, addr)
    entry.next_same_hash = t.cache_heads[head]
    t.cache_heads[head] = e
    service.cache_count += 1
    return e


@kernel
def forget(t: Tables, s: int, e: int) -> None:
    """Remove an entry; its destinations are referred to once less.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_del(), ip_vs_lblcr.c ip_vs_lblcr_free(), 6.1 and 6.12.
    """
    director = t.director[0]
    entry = t.cached[e]
    head = head_of(t, s, entry.addr)
    before = t.cache_heads[head]
    if before == e:
        t.cache_heads[head] = entry.next_same_hash
    else:
        while t.cached[before].next_same_hash != e:
            before = t.cached[before].next_same_hash
        t.cached[before].next_same_hash = entry.next_same_hash
    if entry.dest != 0:
        t.dests[entry.dest].cached -= 1
    while entry.member != 0:
        m = entry.member
        entry.member = t.members[m].next
        release(t, m)
    entry.dest = 0
    entry.next_same_hash = director.free_cached
    director.free_cached = e
    t.services[s].cache_count -= 1


@kernel
def release(t: Tables, m: int) -> None:
    """Free the row of a set's member that is no longer in the set.

    Source
    ------
    facts: schedulers.md section 3.13; ip_vs_lblcr.c ip_vs_lblcr_elem_rcu_free(), 6.1 and 6.12.
    """
    director = t.director[0]
    member = t.members[m]
    t.dests[member.dest].cached -= 1
    member.next = director.free_member
    director.free_member = m


@seldom
def collect(t: Tables, s: int, expiration: int) -> None:
    """One round of the service's timer.

    Parameters
    ----------
    expiration : seconds without use after which a full check forgets an entry.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_check_expire(), ip_vs_lblcr.c likewise, 6.1 and 6.12.
    """
    director = t.director[0]
    service = t.services[s]
    if service.cache_rounds % ROUNDS == 0:
        for bucket in range(BUCKETS):
            forget_unused(t, s, bucket, expiration * director.hz)
        service.cache_rounds = 1
    elif service.cache_count <= MANY:
        service.cache_rounds += 1
    else:
        goal = min((service.cache_count - MANY) * 4 // 3, MANY // 2)
        for _ in range(BUCKETS):
            service.cache_rover = (service.cache_rover + 1) % BUCKETS
            goal -= forget_unused(t, s, service.cache_rover, UNUSED * director.hz)
            if goal <= 0:
                break
    set_timer(t, s, director.now + PERIOD * director.hz)


@kernel
def forget_unused(t: Tables, s: int, bucket: int, ticks: int) -> int:
    """Remove the bucket's entries that were not used for so many ticks; how many they were.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c ip_vs_lblc_full_check(), 6.1 and 6.12.
    """
    gone = 0
    e = t.cache_heads[t.services[s].cache_heads + bucket]
    while e != 0:
        following = t.cached[e].next_same_hash
        if t.director[0].now >= t.cached[e].last_use + ticks:
            forget(t, s, e)
            gone += 1
        e = following
    return gone


@kernel
def overtaxed(t: Tables, s: int, d: int) -> bool:
    """Whether a destination has more active connections than its weight while one has less than half of its own.

    Source
    ------
    facts: schedulers.md section 3.12; ip_vs_lblc.c is_overloaded(), ip_vs_lblcr.c likewise, 6.1 and 6.12.
    """
    if t.dests[d].active <= t.dests[d].weight:
        return False
    d = t.services[s].first
    while d != 0:
        if 2 * t.dests[d].active < t.dests[d].weight:
            return True
        d = t.dests[d].next
    return False
