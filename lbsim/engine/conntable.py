"""The connection table: entries, their two lookups, their birth and their end.

Kernel counterpart: ip_vs_conn.c. Entries of the same protocol, client address and client port share a bucket, newest
first; both directions look there. Templates are in the bucket of their client net and port 0, see ``persistence.py``.

Not modelled: entries whose client port is not known yet (they are FTP's only).
"""

from __future__ import annotations

from lbsim.engine.addresses import intern_address
from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.numbers import (
    ASSURED,
    BYPASS,
    CONTROLLED,
    CONTROLS,
    IN,
    INACTIVE,
    MASQ,
    NO_OUTPUT,
    ONE_PACKET,
    TEMPLATE,
)
from lbsim.engine.records import Packet, Tables
from lbsim.engine.thresholds import filled, vacated
from lbsim.engine.timers import arm, disarm, fires_after_trash, note_turn

MOST_SERIALS = 0x7FFFFFFF  # what fits into the field
STEP = 60  # seconds after which an entry that controls others looks again whether it may go
NEWBORN = 3  # seconds that an entry has until a packet gives it a state

__all__ = [
    "assure",
    "bind",
    "client_bucket",
    "control",
    "expire",
    "expire_now",
    "find_in",
    "find_out",
    "hash_conn",
    "new_bypass",
    "new_conn",
    "new_row",
    "put",
    "rehash_conns",
    "sweep_removed",
    "unhash_conn",
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

    Of NAT entries it comes from the destination end, of others (whose answers the director sees only if it is told to
    forward them) from the virtual end. Two entries that differ only in their virtual end cannot be told apart here:
    the newer one gets the packet.

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
            and (conn.dport if conn.method == MASQ else conn.vport) == p.sport
            and (conn.daddr if conn.method == MASQ else conn.vaddr) == p.src
            and conn.proto == p.proto
        ):
            return c
        c = conn.next_same_hash
    return 0


@kernel
def new_row(t: Tables) -> int:
    """A row for a new entry. The caller has made room in the table.

    Source
    ------
    lbsim's own.
    """
    director = t.director[0]
    c = director.free_conn
    if c != 0:
        director.free_conn = t.conns[c].next_same_hash
    else:
        director.conns_used += 1
        c = director.conns_used
    director.conns_made += 1
    t.conns[c].serial = 1 + (director.conns_made - 1) % MOST_SERIALS
    return c


@kernel
def new_conn(t: Tables, p: Packet, d: int, dport: int, marks: int) -> int:
    """A new entry for the client's packet, bound to port ``dport`` of destination ``d``; without a timer.

    Parameters
    ----------
    marks : ONE_PACKET (then it is not in the table) or 0.

    Source
    ------
    facts: packet-path.md sections 4.2, 5.1 and 10; ip_vs_conn.c ip_vs_conn_new(), 6.1 and 6.12.
    """
    c = new_row(t)
    conn = t.conns[c]
    conn.proto = p.proto
    conn.caddr = p.src
    conn.cport = p.sport
    conn.vaddr = p.dst
    conn.vport = p.dport
    bind(t, c, d, dport, marks)
    if marks & ONE_PACKET == 0:
        hash_conn(t, c)
    return c


@kernel
def bind(t: Tables, c: int, d: int, dport: int, marks: int) -> None:
    """Give the new entry its destination end and count it there; it starts inactive.

    Invariants
    ----------
    A destination's ``total`` is the number of its entries but templates, ``persist`` that of its templates.

    Source
    ------
    facts: packet-path.md sections 5.1 and 6; ip_vs_conn.c ip_vs_conn_new(), ip_vs_bind_dest(), 6.1 and 6.12.
    """
    dest = t.dests[d]
    conn = t.conns[c]
    conn.daddr = dest.addr
    conn.dport = dport
    conn.state = 0
    conn.timeout = NEWBORN * t.director[0].hz
    conn.marks = marks | INACTIVE | (0 if dest.method == MASQ else NO_OUTPUT)
    conn.method = dest.method
    conn.dest = d
    if marks & TEMPLATE != 0:
        dest.persist += 1
    else:
        dest.total += 1
    if dest.upper != 0:
        filled(t, dest)


@kernel
def new_bypass(t: Tables, p: Packet, marks: int) -> int:
    """A new entry without destination for the client's packet, which goes where its sender wanted it.

    Source
    ------
    facts: packet-path.md section 4.3; ip_vs_core.c ip_vs_leave(), 6.1 and 6.12.
    """
    c = new_row(t)
    conn = t.conns[c]
    conn.proto = p.proto
    conn.caddr = p.src
    conn.cport = p.sport
    conn.vaddr = p.dst
    conn.vport = p.dport
    conn.daddr = intern_address(t, t.addresses[p.dst].family, 0, 0, 0, 0)
    conn.dport = 0
    conn.state = 0
    conn.timeout = NEWBORN * t.director[0].hz
    conn.marks = marks
    conn.method = BYPASS
    conn.dest = 0
    if marks & ONE_PACKET == 0:
        hash_conn(t, c)
    return c


@kernel
def control(t: Tables, c: int, by: int) -> None:
    """Let entry ``by``, a template, control entry ``c``.

    Invariants
    ----------
    ``Link.controls`` is the number of entries whose ``Link.control`` it is; the marks say whether there are such.

    Source
    ------
    facts: packet-path.md section 9; ip_vs.h ip_vs_control_add().
    """
    t.links[c].control = by
    t.conns[c].marks |= CONTROLLED
    t.links[by].controls += 1
    t.conns[by].marks |= CONTROLS


@kernel
def assure(t: Tables, c: int) -> None:
    """Note at the template that controls the entry that a real server answers.

    Source
    ------
    facts: packet-path.md section 7.5; ip_vs.h ip_vs_control_assure_ct().
    """
    t.conns[t.links[c].control].state |= ASSURED


@kernel
def hash_conn(t: Tables, c: int) -> None:
    """Put the entry in front of its bucket.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_conn.c ip_vs_conn_hash().
    """
    conn = t.conns[c]
    bucket = row_bucket(conn.caddr, conn.cport, conn.proto, t.director[0].conn_mask)
    conn.next_same_hash = t.conn_heads[bucket]
    t.conn_heads[bucket] = c


@kernel
def unhash_conn(t: Tables, c: int) -> None:
    """Take the entry out of its bucket.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_conn.c ip_vs_conn_unhash().
    """
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
    expires = t.director[0].now + t.conns[c].timeout
    if t.conns[c].marks & (TEMPLATE | CONTROLLED) != 0 or t.director[0].trash_fire != 0:
        note_turn(t, c, expires)
    arm(t, c, expires)


@kernel
def expire_now(t: Tables, c: int) -> None:
    """Let the entry's timer fire at the next tick; until then it stays in the table and in the counters.

    Source
    ------
    facts: packet-path.md section 8.4; ip_vs_conn.c ip_vs_conn_expire_now(), 6.1 and 6.12.
    """
    now = t.director[0].now
    if t.conns[c].expires > now:
        if t.conns[c].marks & (TEMPLATE | CONTROLLED) != 0 or t.director[0].trash_fire != 0:
            note_turn(t, c, now)
        arm(t, c, now)


@kernel
def expire(t: Tables, c: int) -> None:
    """The entry's timer fired, it is no longer in the wheel: the entry goes, unless it controls others (or did when the
    kernel looked, which was before the timer of one of those fired in this very tick).

    Source
    ------
    facts: packet-path.md section 8.2; ip_vs_conn.c ip_vs_conn_expire(), 6.1 and 6.12.
    """
    conn = t.conns[c]
    if conn.marks & CONTROLS != 0 or (conn.marks & TEMPLATE != 0 and t.links[c].goes_on != 0):
        t.links[c].goes_on = 0
        conn.timeout = STEP * t.director[0].hz
        put(t, c)
        return
    if conn.marks & CONTROLLED != 0:
        template = t.links[t.links[c].control]
        if template.turn == t.director[0].now and template.order > t.links[c].order:
            template.goes_on = 1
        _leave_control(t, c)
    if t.director[0].trash_fire == t.director[0].now and conn.dest != 0 and fires_after_trash(t, c):
        t.dests[conn.dest].busy = t.director[0].now
    _remove(t, c)


@kernel
def _leave_control(t: Tables, c: int) -> None:
    """The entry's template controls one entry less."""
    link = t.links[c]
    by = link.control
    link.control = 0
    t.links[by].controls -= 1
    if t.links[by].controls == 0:
        t.conns[by].marks -= CONTROLS


@kernel
def _remove(t: Tables, c: int) -> None:
    """Take the entry out of the table and of its destination's counters.

    Source
    ------
    facts: packet-path.md sections 6 and 8.2; ip_vs_conn.c ip_vs_conn_expire(), ip_vs_unbind_dest(), 6.1 and 6.12.
    """
    conn = t.conns[c]
    if conn.marks & ONE_PACKET == 0:
        unhash_conn(t, c)
    if conn.dest != 0:
        dest = t.dests[conn.dest]
        if conn.marks & TEMPLATE != 0:
            dest.persist -= 1
        else:
            dest.total -= 1
            if conn.marks & INACTIVE == 0:
                dest.active -= 1
        if dest.upper != 0:
            vacated(t, dest)
    director = t.director[0]
    conn.serial = 0
    conn.next_same_hash = director.free_conn
    director.free_conn = c


@seldom
def sweep_removed(t: Tables) -> None:
    """Delete every entry whose destination is no longer in its service (expire_nodest_conn), and then its template.

    Source
    ------
    facts: packet-path.md sections 8.4 and 11.3; ip_vs_conn.c ip_vs_expire_nodest_conn_flush(), 6.1 and 6.12.
    """
    for c in range(1, t.director[0].conns_used + 1):
        conn = t.conns[c]
        if conn.serial == 0 or conn.dest == 0 or t.dests[conn.dest].available != 0 or conn.marks & CONTROLS != 0:
            continue
        template = t.links[c].control if conn.marks & CONTROLLED != 0 else 0
        disarm(t, c)
        expire(t, c)
        if template != 0 and t.conns[template].marks & CONTROLS == 0:
            disarm(t, template)
            expire(t, template)


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
            hash_conn(t, newest_last)
            newest_last = following
