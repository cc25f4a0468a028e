"""The connection table: entries, their two lookups, their birth and their end.

Kernel counterpart: ip_vs_conn.c. Entries of the same protocol, client address and client port share a bucket, newest
first; both directions look there.

Modelled: entries of TCP and UDP over NAT. Not yet: templates, control connections, one-packet entries.
"""

from __future__ import annotations

from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.records import IN, INACTIVE, Packet, Tables
from lbsim.engine.thresholds import filled, vacated
from lbsim.engine.timers import arm, disarm

MOST_SERIALS = 0x7FFFFFFF  # what fits into the field

__all__ = [
    "client_bucket",
    "expire",
    "expire_now",
    "find_in",
    "find_out",
    "new_conn",
    "put",
    "rehash_conns",
    "sweep_removed",
]


@kernel
def client_bucket(p: Packet, mask: int) -> int:
    """The bucket in which the packet's entry is, if there is one: that of its client end.

    Source
    ------
    lbsim's own; see :func:`find_in`, :func:`find_out`.
    """
    if p.direction == IN:
        return row_bucket(p.src, p.sport, p.proto, mask)
    return row_bucket(p.dst, p.dport, p.proto, mask)


@kernel
def find_in(t: Tables, p: Packet) -> int:
    """The newest entry that a packet from a client belongs to, or 0.

    A source port of 0 never matches: such a packet makes a new entry each time.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_conn.c ip_vs_conn_in_get(), 6.1 and 6.12.
    """
    c = t.conn_heads[row_bucket(p.src, p.sport, p.proto, t.director[0].conn_mask)]
    while c != 0:
        conn = t.conns[c]
        if (
            conn.cport == p.sport
            and conn.caddr == p.src
            and conn.vport == p.dport
            and conn.vaddr == p.dst
            and conn.proto == p.proto
            and p.sport != 0
        ):
            return c
        c = conn.next_same_hash
    return 0


@kernel
def find_out(t: Tables, p: Packet) -> int:
    """The newest entry that a packet from a real server belongs to, or 0.

    Two entries that differ only in their virtual end cannot be told apart here: the newer one gets the packet.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_conn.c ip_vs_conn_out_get(), 6.1 and 6.12.
    """
    c = t.conn_heads[row_bucket(p.dst, p.dport, p.proto, t.director[0].conn_mask)]
    while c != 0:
        conn = t.conns[c]
        if (
            conn.cport == p.dport
            and conn.caddr == p.dst
            and conn.dport == p.sport
            and conn.daddr == p.src
            and conn.proto == p.proto
        ):
            return c
        c = conn.next_same_hash
    return 0


@kernel
def new_conn(t: Tables, p: Packet, d: int) -> int:
    """A new entry for the client's packet, bound to destination ``d``; it starts inactive and without a timer.

    The caller has made room in the table.

    Invariants
    ----------
    A destination's ``total`` is the number of its entries.

    Source
    ------
    facts: packet-path.md sections 4.2, 5.1 and 6; ip_vs_conn.c ip_vs_conn_new(), ip_vs_bind_dest(), 6.1 and 6.12.
    """
    director = t.director[0]
    c = director.free_conn
    if c != 0:
        director.free_conn = t.conns[c].next_same_hash
    else:
        director.conns_used += 1
        c = director.conns_used
    director.conns_made += 1
    dest = t.dests[d]
    conn = t.conns[c]
    conn.serial = 1 + (director.conns_made - 1) % MOST_SERIALS
    conn.proto = p.proto
    conn.caddr = p.src
    conn.cport = p.sport
    conn.vaddr = p.dst
    conn.vport = p.dport
    conn.daddr = dest.addr
    conn.dport = dest.port if dest.port != 0 else p.dport
    conn.state = 0
    conn.marks = INACTIVE
    conn.method = dest.method
    conn.dest = d
    dest.total += 1
    if dest.upper != 0:
        filled(t, dest)
    _hash(t, c)
    return c


@kernel
def _hash(t: Tables, c: int) -> None:
    """Put the entry in front of its bucket."""
    conn = t.conns[c]
    bucket = row_bucket(conn.caddr, conn.cport, conn.proto, t.director[0].conn_mask)
    conn.next_same_hash = t.conn_heads[bucket]
    t.conn_heads[bucket] = c


@kernel
def _unhash(t: Tables, c: int) -> None:
    """Take the entry out of its bucket."""
    conn = t.conns[c]
    bucket = row_bucket(conn.caddr, conn.cport, conn.proto, t.director[0].conn_mask)
    before = t.conn_heads[bucket]
    if before == c:
        t.conn_heads[bucket] = conn.next_same_hash
        return
    while t.conns[before].next_same_hash != c:
        before = t.conns[before].next_same_hash
    t.conns[before].next_same_hash = conn.next_same_hash


@kernel
def put(t: Tables, c: int) -> None:
    """Arm the entry's timer with its timeout, as every packet that used the entry does at its end.

    Source
    ------
    facts: packet-path.md section 8.1; ip_vs_conn.c ip_vs_conn_put(), 6.1 and 6.12.
    """
    arm(t, c, t.director[0].now + t.conns[c].timeout)


@kernel
def expire_now(t: Tables, c: int) -> None:
    """Let the entry's timer fire at the next tick; until then it stays in the table and in the counters.

    Source
    ------
    facts: packet-path.md section 8.4; ip_vs_conn.c ip_vs_conn_expire_now(), 6.1 and 6.12.
    """
    if t.conns[c].expires > t.director[0].now:
        arm(t, c, t.director[0].now)


@kernel
def expire(t: Tables, c: int) -> None:
    """Remove the entry from the table and from its destination's counters; its timer is no longer in the wheel.

    Source
    ------
    facts: packet-path.md section 8.2; ip_vs_conn.c ip_vs_conn_expire(), ip_vs_unbind_dest(), 6.1 and 6.12.
    """
    _unhash(t, c)
    conn = t.conns[c]
    dest = t.dests[conn.dest]
    dest.total -= 1
    if dest.upper != 0:
        vacated(t, dest)
    if conn.marks & INACTIVE == 0:
        dest.active -= 1
    director = t.director[0]
    conn.serial = 0
    conn.next_same_hash = director.free_conn
    director.free_conn = c


@seldom
def sweep_removed(t: Tables) -> None:
    """Delete every entry whose destination is no longer in its service (expire_nodest_conn).

    Source
    ------
    facts: packet-path.md section 11.3; ip_vs_conn.c ip_vs_expire_nodest_conn_flush(), 6.1 and 6.12.
    """
    for c in range(1, t.director[0].conns_used + 1):
        conn = t.conns[c]
        if conn.serial != 0 and t.dests[conn.dest].available == 0:
            disarm(t, c)
            expire(t, c)


@kernel
def rehash_conns(t: Tables, old_heads: list[int], old_buckets: int) -> None:
    """Move all entries from ``old_heads`` into the (empty, larger) table; equal keys keep their order.

    Source
    ------
    lbsim's own: the kernel's table has a fixed size, which nothing visible depends on.
    """
    for bucket in range(old_buckets):
        newest_last = 0
        c = old_heads[bucket]
        while c != 0:
            following = t.conns[c].next_same_hash
            t.conns[c].next_same_hash = newest_last
            newest_last = c
            c = following
        while newest_last != 0:
            following = t.conns[newest_last].next_same_hash
            _hash(t, newest_last)
            newest_last = following
