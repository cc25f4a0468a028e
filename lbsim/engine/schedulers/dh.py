"""dh, destination hashing: the packet's destination address decides, through a table of 256 buckets.

Kernel counterpart: ip_vs_dh.c (2**8 buckets, the build's default). Destinations fill the buckets in turn, one each;
weights do not matter unless they are 0. Of an ordinary service every packet has the same destination address, the
virtual one: dh is for services by firewall mark. An ICMP error that opens a connection has the client's.
"""

from __future__ import annotations

from lbsim.engine.addresses import wanted
from lbsim.engine.hashing import hash32
from lbsim.engine.lanes import kernel
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.registry import register
from lbsim.engine.schedulers.sh import BITS, BUCKETS, room_for_buckets, usable


@kernel
def init_service(t: Tables, s: int) -> int:
    """Give the service a bucket table and fill it.

    Source
    ------
    facts: schedulers.md sections 1.6 and 3.10; ip_vs_dh.c ip_vs_dh_init_svc(), 6.1 and 6.12.
    """
    room_for_buckets(t, s)
    deal(t, s)
    return 0


@kernel
def deal(t: Tables, s: int) -> None:
    """Deal the buckets out: round the list, one to each destination.

    Source
    ------
    facts: schedulers.md section 3.10; ip_vs_dh.c ip_vs_dh_reassign(), 6.1 and 6.12.
    """
    service = t.services[s]
    d = service.first
    for i in range(BUCKETS):
        t.hash_buckets[service.buckets + i] = d
        if d != 0:
            d = t.dests[d].next
            if d == 0:
                d = service.first


@kernel
def dest_came_or_went(t: Tables, s: int, d: int) -> None:
    """Deal the buckets out anew; an edit of a destination does not do so.

    Source
    ------
    facts: schedulers.md sections 1.6 and 3.10; ip_vs_dh.c ip_vs_dh_dest_changed(), 6.1 and 6.12.
    """
    deal(t, s)


@kernel
def bucket_of(t: Tables, p: Packet) -> int:
    """The bucket of the packet's destination address.

    Source
    ------
    facts: schedulers.md section 3.10; ip_vs_dh.c ip_vs_dh_hashkey(), 6.1 and 6.12.
    """
    return hash32(t.addresses[wanted(p)].fold + 0, BITS)


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The destination of the address's bucket, or 0 if it takes no connections.

    Source
    ------
    facts: schedulers.md section 3.10; ip_vs_dh.c ip_vs_dh_schedule(), 6.1 and 6.12.
    """
    d = t.hash_buckets[t.services[s].buckets + bucket_of(t, p)]
    return d if d != 0 and usable(t, d) else 0


register("dh", init_service=init_service, add_dest=dest_came_or_went, del_dest=dest_came_or_went, schedule=schedule)
