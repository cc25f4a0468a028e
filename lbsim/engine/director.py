"""One packet in, one verdict out. Read this file first.

A packet from a client (``request``): find its connection entry, else schedule it to a destination; count it, move the
entry's state, forward it, re-arm the entry's timer. A packet from a real server (``reply``): find its entry, else
let it pass untranslated. Before each packet the clock moves to its tick and timers that are due fire.

Kernel counterpart: ip_vs_core.c. Modelled: TCP and UDP over NAT, requests that arrive at the director, replies that it
forwards. Not yet: ICMP errors, fragments, local clients and servers, persistence, one-packet scheduling.
"""

from __future__ import annotations

from lbsim.engine.conntable import client_bucket, expire, expire_now, find_in, find_out, new_conn, put, sweep_removed
from lbsim.engine.forwarding import decide, masquerade, unmasquerade
from lbsim.engine.lanes import COMPILED, kernel, prefetch
from lbsim.engine.reasons import (
    DEST_REMOVED,
    DROP,
    FORWARD,
    FRAGMENT_SEEN,
    FTP_DATA_SOURCE,
    HEADER_CUT,
    ICMP_SEEN,
    INVALID_IP,
    IPVS_OFF,
    KNOWN,
    LOCAL,
    NEW,
    NO_CONNECTION,
    NO_DEST,
    NO_RESPONDER,
    NO_SERVICE,
    NONE,
    NOT_BALANCED,
    NOT_LOCAL,
    NOT_SYN,
    OTHER_PROTOCOL,
    REJECT,
    RESCHEDULED,
    ROUTE,
    TTL_EXCEEDED,
    UNMODELLED,
)
from lbsim.engine.records import (
    BAD_IP_HEADER,
    CUT_HEADER,
    FRAGMENT,
    IN,
    IPV4,
    NO_PORTS,
    OUT,
    REPLY,
    RST,
    SYN,
    TCP,
    UDP,
    WHOLE,
    Conn,
    Outcome,
    Packet,
    Tables,
)
from lbsim.engine.schedulers import run_timers, schedule
from lbsim.engine.services import FTP_DATA, clean_trash, find_service
from lbsim.engine.tcp import finished, step_tcp
from lbsim.engine.timers import take_due
from lbsim.engine.udp import step_udp

__all__ = ["advance", "receive", "receive_block"]

AHEAD = 8  # packets


@kernel
def receive_block(t: Tables, packets: list[Packet], outcomes: list[Outcome], start: int, stop: int) -> None:
    """Receive packets ``start`` .. ``stop`` - 1 in their order; outcome i belongs to packet i.

    The caller has made room for one new connection entry per packet.

    Source
    ------
    lbsim's own.
    """
    for i in range(start, stop):
        if COMPILED:
            look_ahead(t, packets, i, stop)
        receive(t, packets[i], outcomes[i])


@kernel
def look_ahead(t: Tables, packets: list[Packet], i: int, stop: int) -> None:
    """Let the processor fetch what packets a little after packet ``i`` will need: with many connections that is not
    at hand, and waiting for it would take longer than all the rest.

    Source
    ------
    lbsim's own.
    """
    mask = t.director[0].conn_mask
    if i + 2 * AHEAD < stop:
        p = packets[i + 2 * AHEAD]
        prefetch(t.conn_heads, client_bucket(p, mask))
        prefetch(t.flows, p.flow)
    if i + AHEAD < stop:
        prefetch(t.conns, t.conn_heads[client_bucket(packets[i + AHEAD], mask)])


@kernel
def receive(t: Tables, p: Packet, v: Outcome) -> None:
    """Decide what happens to one packet, and change the tables accordingly.

    Source
    ------
    facts: packet-path.md sections 1 and 2.
    """
    if p.tick > t.director[0].now:
        advance(t, p.tick)
    if p.shape > NO_PORTS:
        set_aside(p, v)
    elif p.direction == IN:
        request(t, p, v)
        if v.verdict == FORWARD:
            flow = t.flows[p.flow]
            flow.addr = v.new_dst
            flow.port = v.new_dport
    else:
        if p.direction == REPLY:
            p.src = t.flows[p.flow].addr
            p.sport = t.flows[p.flow].port
        if p.src == 0:
            decide(v, NONE, NO_RESPONDER, 0)
        else:
            reply(t, p, v)


@kernel
def set_aside(p: Packet, v: Outcome) -> None:
    """The verdict for a packet that the IP layer drops, or whose handling is not modelled.

    Source
    ------
    facts: packet-path.md sections 12 to 14.
    """
    if p.shape == BAD_IP_HEADER:
        decide(v, DROP, INVALID_IP, 0)
    elif p.shape == FRAGMENT:
        decide(v, UNMODELLED, FRAGMENT_SEEN, 0)
    else:
        decide(v, UNMODELLED, ICMP_SEEN, 0)


@kernel
def request(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet from a client.

    Source
    ------
    facts: packet-path.md section 2; ip_vs_core.c ip_vs_in(), 6.1 and 6.12.
    """
    if not for_ipvs(t, p, v):
        return
    c = find_in(t, p)
    reason = KNOWN
    if c != 0 and p.tcp_flags & SYN != 0 and to_reschedule(t, p, t.conns[c]):
        expire_now(t, c)
        c = 0
        reason = RESCHEDULED
    if c != 0 and t.dests[t.conns[c].dest].available == 0:
        if t.director[0].expire_nodest_conn == 0:
            decide(v, DROP, DEST_REMOVED, t.conns[c].dest)
            return
        expire_now(t, c)
        c = 0
        reason = RESCHEDULED
    if c == 0:
        c = try_schedule(t, p, v)
        if c == 0:
            return
        if reason == KNOWN:
            reason = NEW
    conn = t.conns[c]
    count_in(t, conn.dest, p.length)
    if p.shape == WHOLE:
        step_state(t, conn, p, IN)
    masquerade(p, conn, reason, v)
    put(t, c)


@kernel
def for_ipvs(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether IPVS looks at the client's packet at all; if not, its verdict is written.

    Source
    ------
    facts: packet-path.md sections 1 and 2; ip_vs_core.c ip_vs_in(), ip_vs_ctl.c (hooks exist only with services).
    """
    target = t.addresses[p.dst]
    director = t.director[0]
    if target.local == 0:
        decide(v, ROUTE, NOT_LOCAL, 0)
    elif (director.services_v4 if target.family == IPV4 else director.services_v6) == 0:
        decide(v, LOCAL, IPVS_OFF, 0)
    elif p.proto != TCP and p.proto != UDP:
        decide(v, LOCAL, OTHER_PROTOCOL, 0)
    elif p.shape == NO_PORTS:
        decide(v, DROP, HEADER_CUT, 0)
    else:
        return True
    return False


@kernel
def to_reschedule(t: Tables, p: Packet, conn: Conn) -> bool:
    """Whether a SYN (whatever else is set) gives up the entry it matched and is scheduled anew.

    Source
    ------
    facts: packet-path.md sections 2 and 11; ip_vs_core.c is_new_conn(), ip_vs_in(), 6.1 and 6.12.
    """
    if p.proto != TCP or p.shape != WHOLE:
        return False
    director = t.director[0]
    if director.expire_nodest_conn != 0 and t.dests[conn.dest].weight == 0:
        return True
    return director.conn_reuse_mode != 0 and finished(conn.state)


@kernel
def try_schedule(t: Tables, p: Packet, v: Outcome) -> int:
    """A new entry for the client's packet, or 0 with the verdict written.

    Source
    ------
    facts: packet-path.md sections 4.1 to 4.3; ip_vs_proto_tcp.c tcp_conn_schedule(), ip_vs_core.c ip_vs_schedule() and
    ip_vs_leave(), 6.1 and 6.12.
    """
    if p.shape == CUT_HEADER:
        decide(v, DROP, HEADER_CUT, 0)
        return 0
    s = find_service(t, p.proto, p.dst, p.dport, p.mark)
    if s == 0:
        decide(v, LOCAL, NO_SERVICE, 0)
        return 0
    if p.proto == TCP and (p.tcp_flags & RST != 0 or (p.tcp_flags & SYN == 0 and t.director[0].sloppy_tcp == 0)):
        decide(v, LOCAL, NOT_SYN, 0)
        return 0
    if p.sport == FTP_DATA:
        decide(v, LOCAL, FTP_DATA_SOURCE, 0)
        return 0
    d = schedule(t, s, p)
    if d == 0:
        decide(v, REJECT, NO_DEST, 0)
        return 0
    t.services[s].conns += 1
    t.dests[d].conns += 1
    return new_conn(t, p, d)


@kernel
def step_state(t: Tables, conn: Conn, p: Packet, direction: int) -> None:
    """Let the packet move the entry's state and timeout.

    Source
    ------
    facts: packet-path.md section 7; ip_vs_core.c ip_vs_set_state().
    """
    if conn.proto == TCP:
        step_tcp(t, conn, p.tcp_flags, direction)
    else:
        step_udp(t, conn)


@kernel
def reply(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet from a real server. Whether its destination is still there or has weight 0 does not matter.

    The director forwards it like any router, so the TTL is looked at first.

    Source
    ------
    facts: packet-path.md section 12; ip_vs_core.c ip_vs_out(), handle_response(), 6.1 and 6.12.
    """
    director = t.director[0]
    if p.ttl <= 1:
        decide(v, REJECT, TTL_EXCEEDED, 0)
        return
    hooked = director.services_v4 if t.addresses[p.src].family == IPV4 else director.services_v6
    if hooked == 0 or (p.proto != TCP and p.proto != UDP):
        decide(v, ROUTE, NOT_BALANCED, 0)
        return
    c = find_out(t, p) if p.shape != NO_PORTS else 0
    if c == 0:
        decide(v, ROUTE, NO_CONNECTION, 0)
        return
    conn = t.conns[c]
    if p.shape == CUT_HEADER:
        decide(v, DROP, HEADER_CUT, conn.dest)
        put(t, c)
        return
    count_out(t, conn.dest, p.length)
    step_state(t, conn, p, OUT)
    unmasquerade(p, conn, v)
    put(t, c)


@kernel
def count_in(t: Tables, d: int, length: int) -> None:
    """Count a client's packet at its destination and service, unless the destination was removed.

    Source
    ------
    facts: packet-path.md section 18.1; ip_vs_core.c ip_vs_in_stats().
    """
    dest = t.dests[d]
    if dest.available != 0:
        dest.in_packets += 1
        dest.in_bytes += length
        service = t.services[dest.service]
        service.in_packets += 1
        service.in_bytes += length


@kernel
def count_out(t: Tables, d: int, length: int) -> None:
    """Count a real server's packet at its destination and service, unless the destination was removed.

    Source
    ------
    facts: packet-path.md section 18.1; ip_vs_core.c ip_vs_out_stats().
    """
    dest = t.dests[d]
    if dest.available != 0:
        dest.out_packets += 1
        dest.out_bytes += length
        service = t.services[dest.service]
        service.out_packets += 1
        service.out_bytes += length


@kernel
def advance(t: Tables, tick: int) -> None:
    """Move the clock to ``tick``; every timer that is due until then fires, in the order of ticks.

    Timers of a tick fire before packets of that tick.

    Source
    ------
    facts: packet-path.md section 8.3; timer.c run_timer_softirq().
    """
    director = t.director[0]
    due = next_event(t)
    while due != 0 and due <= tick:
        if due > director.now:
            director.now = due
        if director.wheel_next != 0 and director.wheel_next <= director.now:
            c = take_due(t)
            while c != 0:
                expire(t, c)
                c = take_due(t)
        if director.sweep_fire != 0 and director.sweep_fire <= director.now:
            director.sweep_fire = 0
            sweep_removed(t)
        if director.trash_fire != 0 and director.trash_fire <= director.now:
            clean_trash(t)
        if director.scheduler_fire != 0 and director.scheduler_fire <= director.now:
            run_timers(t)
        due = next_event(t)
    if tick > director.now:
        director.now = tick


@kernel
def next_event(t: Tables) -> int:
    """The next tick at which a timer may fire; 0 if none is pending.

    Source
    ------
    lbsim's own.
    """
    director = t.director[0]
    due = director.wheel_next
    if director.sweep_fire != 0 and (due == 0 or director.sweep_fire < due):
        due = director.sweep_fire
    if director.trash_fire != 0 and (due == 0 or director.trash_fire < due):
        due = director.trash_fire
    if director.scheduler_fire != 0 and (due == 0 or director.scheduler_fire < due):
        due = director.scheduler_fire
    return due
