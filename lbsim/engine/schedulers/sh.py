"""sh, source hashing: the client's address alone decides, through a table of 256 buckets.

Kernel counterpart: ip_vs_sh.c (2**8 buckets, the build's default). Destinations fill the buckets in turns, each as
many as its weight. A quiesced destination keeps one bucket per turn: clients that hash there are refused, unless
sh-fallback is set.
"""

from __future__ import annotations

from lbsim.engine.hashing import hash32
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import SH_FALLBACK, SH_PORT
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.registry import register

BITS = 8
BUCKETS = 1 << BITS


@kernel
def init_service(t: Tables, s: int) -> int:
    """Give the service a bucket table and fill it.

    Source
    ------
    facts: schedulers.md sections 1.6 and 3.9; ip_vs_sh.c ip_vs_sh_init_svc(), 6.1 and 6.12.
    """
    room_for_buckets(t, s)
    fill(t, s)
    return 0


@kernel
def room_for_buckets(t: Tables, s: int) -> None:
    """Give the service 256 buckets, unless it has had such: it keeps them when it gets another scheduler.

    The caller has made room for 256 more buckets.

    Source
    ------
    lbsim's own.
    """
    service = t.services[s]
    if service.buckets == 0:
        t.director[0].buckets_used += BUCKETS
        service.buckets = t.director[0].buckets_used


@kernel
def fill(t: Tables, s: int) -> None:
    """Deal the buckets out: round the list, ``max(weight, 1)`` buckets in a row to each destination.

    Source
    ------
    facts: schedulers.md section 3.9; ip_vs_sh.c ip_vs_sh_reassign(), 6.1 and 6.12.
    """
    service = t.services[s]
    d = service.first
    given = 0
    for i in range(BUCKETS):
        t.hash_buckets[service.buckets + i] = d
        if d == 0:
            continue
        given += 1
        if given >= t.dests[d].weight:
            given = 0
            d = t.dests[d].next
            if d == 0:
                d = service.first


@kernel
def refill(t: Tables, s: int, d: int) -> None:
    """Deal the buckets out anew after any change of a destination.

    Source
    ------
    facts: schedulers.md section 3.9; ip_vs_sh.c ip_vs_sh_dest_changed(), 6.1 and 6.12.
    """
    fill(t, s)


@kernel
def usable(t: Tables, d: int) -> bool:
    """Whether a bucket's destination takes new connections.

    Source
    ------
    facts: schedulers.md section 3.9; ip_vs_sh.c is_unavailable().
    """
    return t.dests[d].weight > 0 and t.dests[d].overload == 0


@kernel
def hash_key(t: Tables, s: int, p: Packet) -> int:
    """What is hashed: the client's address folded to 32 bits, with sh-port its port added.

    Source
    ------
    facts: schedulers.md section 3.9; ip_vs_sh.c ip_vs_sh_hashkey(), ip_vs_sh_get_port(), 6.1 and 6.12.
    """
    port = p.sport if t.services[s].sched_flags & SH_PORT != 0 else 0
    return (t.addresses[p.src].fold + port) & 0xFFFFFFFF


@kernel
def stand_in(bucket: int, i: int) -> int:
    """The bucket that is tried as number ``i`` in place of the client's own.

    Source
    ------
    facts: schedulers.md section 3.9; ip_vs_sh.c ip_vs_sh_get_fallback(), 6.1 and 6.12.
    """
    return (2 * bucket + i) % BUCKETS


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The destination of the client's bucket, or 0 if it takes no connections and nobody stands in for it.

    The stand-ins (sh-fallback) are the buckets from twice the client's own on, not from its own.

    Source
    ------
    facts: schedulers.md section 3.9; ip_vs_sh.c ip_vs_sh_schedule(), ip_vs_sh_get_fallback(), 6.1 and 6.12.
    """
    service = t.services[s]
    bucket = hash32(hash_key(t, s, p), BITS)
    d = t.hash_buckets[service.buckets + bucket]
    if d == 0 or usable(t, d):
        return d
    if service.sched_flags & SH_FALLBACK != 0:
        for i in range(BUCKETS):
            d = t.hash_buckets[service.buckets + stand_in(bucket, i)]
            if usable(t, d):
                return d
    return 0


register("sh", init_service=init_service, add_dest=refill, del_dest=refill, upd_dest=refill, schedule=schedule)
