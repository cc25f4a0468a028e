"""One packet in, one verdict out. Read this file first.

A packet from a client (``request``): find its connection entry, else schedule it to a destination; count it, move the
entry's state, forward it, re-arm the entry's timer. A packet from a real server (``reply``): find its entry, else
let it pass untranslated. Before each packet the clock moves to its tick and timers that are due fire.

Each of these steps has a module: ``conntable`` (find, re-arm), ``opening`` (schedule), ``counting``, ``tcp``, ``udp``
and ``sctp`` (states), ``forwarding``, ``clock``; ``answering`` has those of a reply. What is no plain packet has one,
too: ``icmp_errors``, ``ipsec``.

Kernel counterpart: ip_vs_core.c. Modelled: TCP, UDP and SCTP with every forwarding method, requests that arrive at the
director or that it sends itself, replies likewise, ICMP errors about both. Of a datagram that comes in fragments, those
that do not complete it are only kept; then it comes here as a whole (``lbsim.packet.fragments``).
"""

from __future__ import annotations

from lbsim.engine.answering import answer, step_state
from lbsim.engine.clock import advance
from lbsim.engine.conntable import client_bucket, expire, expire_now, find_in, put
from lbsim.engine.counting import count_in, count_out
from lbsim.engine.forwarding import decide, stopped_back, told_length, transmit
from lbsim.engine.icmp import about_connection, quoted_entry
from lbsim.engine.icmp_errors import about_answer, error_outward, icmp_error
from lbsim.engine.ip_layer import kept_from_ipvs
from lbsim.engine.ipsec import reply_of_ipsec, request_of_ipsec
from lbsim.engine.lanes import COMPILED, kernel, prefetch, seldom
from lbsim.engine.numbers import (
    AH,
    BAD_IP_HEADER,
    BAD_OPTIONS,
    CONTROLLED,
    ESP,
    FRAGMENT,
    FROM_CLIENTS,
    FROM_SERVERS,
    ICMP,
    ICMP_ERROR,
    IN,
    IPV4,
    LOCAL_NODE,
    MASQ,
    NO_PORTS,
    ONE_PACKET,
    OWN,
    REPLY,
    SCTP,
    SOURCE_ROUTE,
    STRAIGHT,
    SYN,
    TCP,
    UDP,
    WHOLE,
)
from lbsim.engine.opening import try_schedule
from lbsim.engine.reasons import (
    BAD_OPTION,
    DEST_REMOVED,
    DROP,
    FORWARD,
    FRAGMENT_KEPT,
    HEADER_CUT,
    INVALID_IP,
    IPVS_OFF,
    KNOWN,
    LOCAL,
    MASQUERADED,
    NEW,
    NO_CONNECTION,
    NO_RESPONDER,
    NONE,
    NOT_BALANCED,
    NOT_LOCAL,
    OTHER_PROTOCOL,
    REJECT,
    RESCHEDULED,
    ROUTE,
    SOURCE_ROUTED,
    STRAIGHT_REPLY,
    TO_PROGRAM,
    TOLD_ITSELF,
    TTL_EXCEEDED,
    UNMODELLED,
)
from lbsim.engine.records import Conn, Outcome, Packet, Tables
from lbsim.engine.sctp import CLOSED
from lbsim.engine.sctp_chunks import INIT
from lbsim.engine.services import hooked_in
from lbsim.engine.tcp import reusable

__all__ = ["receive", "receive_block", "send_itself", "step_state", "to_reschedule"]

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
        prefetch(t.addresses, p.src if p.direction == IN else p.dst)
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
        set_aside(t, p, v)
    elif p.direction == IN:
        request(t, p, v)
        note_receiver(t, p, v)
    elif p.direction == OWN:
        send_itself(t, p, v)
        note_receiver(t, p, v)
    else:
        if p.direction == REPLY:
            answer_of_flow(t, p)
        elif kept_from_ipvs(t, p, v):
            return
        if p.src > 0:
            reply(t, p, v)
        else:
            unsent(t, p, v)


@kernel
def note_receiver(t: Tables, p: Packet, v: Outcome) -> None:
    """Note who got a client's packet: the flow's answers come from there.

    Source
    ------
    lbsim's own: the responder is simulated.
    """
    if v.verdict == FORWARD:
        flow = t.flows[p.flow]
        flow.addr = v.new_dst if v.method == MASQ and passes_director(t, p, v) else STRAIGHT
        flow.port = v.new_dport
    elif v.reason in TO_PROGRAM:
        flow = t.flows[p.flow]
        flow.addr = v.new_dst
        flow.port = v.new_dport


@kernel
def passes_director(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether the answer to a client's packet will come this way: the director is the real server's router to it.

    Source
    ------
    facts: packet-path.md section 17.3.
    """
    if t.director[0].straight_replies == 0:
        return True
    return t.addresses[p.src].straight == 0 and t.addresses[v.new_dst].straight == 0


@kernel
def answer_of_flow(t: Tables, p: Packet) -> None:
    """Let the packet come from whoever got the flow's last IN packet.

    Source
    ------
    lbsim's own: the responder is simulated.
    """
    flow = t.flows[p.flow]
    p.src = flow.addr
    p.sport = flow.port


@seldom
def error_of_flow(t: Tables, p: Packet) -> None:
    """Let the ICMP error come from whoever got the flow's last IN packet, and be about what that got.

    Source
    ------
    lbsim's own: the responder is simulated, so the trace has the virtual end in its place.
    """
    answer_of_flow(t, p)
    if p.quote != 0 and p.src > 0:
        t.quotes[p.quote].dst = p.src
        t.quotes[p.quote].dport = p.sport
    p.sport = 0


@seldom
def unsent(t: Tables, p: Packet, v: Outcome) -> None:
    """The verdict for an answer that the director never has: nobody sends it, or it goes straight to the client.

    Source
    ------
    facts: packet-path.md sections 13.3 to 13.5.
    """
    decide(v, NONE, NO_RESPONDER if p.src == 0 else STRAIGHT_REPLY, 0)
    p.src = 0
    p.sport = 0


@seldom
def set_aside(t: Tables, p: Packet, v: Outcome) -> None:
    """The verdict for a packet that is no plain one: an ICMP error, a fragment, or what the IP layer drops.

    The way of a packet is looked for before its options are read.

    Source
    ------
    facts: packet-path.md sections 12 to 14; seen on 6.1.192 and 6.12.117; ip_input.c ip_rcv_finish_core(),
    ip_rcv_options().
    """
    if p.shape == BAD_IP_HEADER:
        decide(v, DROP, INVALID_IP, 0)
    elif p.shape == FRAGMENT:
        fragment(t, p, v)
    elif kept_from_ipvs(t, p, v):
        return
    elif p.direction == OWN:
        send_itself(t, p, v)
    else:
        if p.direction == REPLY:
            error_of_flow(t, p)
        if p.src <= 0:
            unsent(t, p, v)
        elif p.shape == BAD_OPTIONS:
            decide(v, REJECT, BAD_OPTION, 0)
        elif p.shape == SOURCE_ROUTE:
            decide(v, DROP, SOURCE_ROUTED, 0)
        else:
            icmp_error(t, p, v)


@seldom
def fragment(t: Tables, p: Packet, v: Outcome) -> None:
    """The verdict for a fragment that does not complete its datagram, or one that IPVS does not wait for.

    The router looks at each of them before IPVS does. Who sends an answer is known if its ports are; ahead of the first
    fragment they are not, and then it is as good as sent.

    Source
    ------
    facts: packet-path.md sections 2, 12 and 16; ip_forward.c, ip_vs_core.c ip_vs_gather_frags(), 6.1 and 6.12.
    """
    if p.direction == REPLY and p.sport != 0:
        answer_of_flow(t, p)
        if p.src <= 0:
            unsent(t, p, v)
            return
    local = t.addresses[p.dst].local != 0
    if not local and (kept_from_ipvs(t, p, v) or stopped_back(t, p, v)):
        return
    if local or gathers(t, p):
        decide(v, LOCAL, FRAGMENT_KEPT, 0)
    elif p.direction != IN and (p.proto == AH or p.proto == ESP) and looks_at_ipv4(t, p):
        reply_of_ipsec(t, p, v)  # ports do not matter, so no fragment is waited for
    else:
        decide(v, ROUTE, NOT_LOCAL if p.direction == IN else NOT_BALANCED, 0)


@seldom
def looks_at_ipv4(t: Tables, p: Packet) -> bool:
    """Whether it is a packet of IPv4, and IPVS is hooked in there.

    Source
    ------
    facts: packet-path.md section 1; ip_vs_ctl.c ip_vs_add_service().
    """
    return t.addresses[p.dst].family == IPV4 and hooked_in(t, p.dst)


@seldom
def gathers(t: Tables, p: Packet) -> bool:
    """Whether IPVS has the fragments of a packet that is only routed put together: then it may look at the whole.

    Source
    ------
    facts: packet-path.md sections 12 and 16; ip_vs_core.c ip_vs_out(), nf_conntrack_reasm.c, 6.1 and 6.12.
    """
    if not hooked_in(t, p.dst):
        return False
    return t.addresses[p.dst].family != IPV4 or p.proto == TCP or p.proto == UDP or p.proto == SCTP or p.proto == ICMP


@kernel
def request(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet from a client.

    Source
    ------
    facts: packet-path.md section 2; ip_vs_core.c ip_vs_in(), 6.1 and 6.12.
    """
    if for_ipvs(t, p, v):
        balance(t, p, v)
    else:
        kept_from_ipvs(t, p, v)


@kernel
def balance(t: Tables, p: Packet, v: Outcome) -> None:
    """A client's packet that IPVS looks at: to the destination of its entry, which may be a new one.

    Source
    ------
    facts: packet-path.md section 2; ip_vs_core.c ip_vs_in(), 6.1 and 6.12.
    """
    c = find_in(t, p)
    reason = KNOWN
    given_up = 0  # the destination of an entry that is not over NAT
    if c != 0 and p.tcp_flags & SYN != 0 and to_reschedule(t, p, t.conns[c]):
        given_up = t.conns[c].dest if t.conns[c].method != MASQ else 0
        expire_now(t, c)
        c = 0
        reason = RESCHEDULED
    if c != 0 and t.dests[t.conns[c].dest].available == 0 and t.conns[c].dest != 0:
        if t.director[0].expire_nodest_conn == 0:
            decide(v, DROP, DEST_REMOVED, t.conns[c].dest)
            return
        expire_now(t, c)
        c = 0
        reason = RESCHEDULED
    if c == 0:
        if kept_from_ipvs(t, p, v):
            return
        c = try_schedule(t, p, v)
        if c == 0:
            if given_up != 0 and v.verdict == REJECT:  # a kernel's timer has not fired yet: the error finds the entry
                count_out(t, given_up, told_length(t, p.dst, p.length))
            return
        if reason == KNOWN:
            reason = NEW
    conn = t.conns[c]
    count_in(t, conn.dest, p.length)
    if p.shape == WHOLE:
        step_state(t, c, p, IN)
    transmit(t, p, conn, reason, v)
    if v.verdict == REJECT and conn.method != MASQ and conn.marks & ONE_PACKET == 0:
        count_out(t, conn.dest, told_length(t, p.dst, p.length))
    if conn.marks & ONE_PACKET == 0:
        put(t, c)
    else:
        expire(t, c)


@kernel
def for_ipvs(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether IPVS looks at the client's packet at all; if not, its verdict is written.

    Source
    ------
    facts: packet-path.md sections 1 and 2; ip_vs_core.c ip_vs_in(), ip_vs_ctl.c (hooks exist only with services).
    """
    target = t.addresses[p.dst]
    director = t.director[0]
    if target.local != 1 and (target.local == 0 or p.mark == 0):
        if not stopped_back(t, p, v):
            decide(v, ROUTE, NOT_LOCAL, 0)
            route_on(t, p, FROM_CLIENTS, v)
    elif not hooked_in(t, p.dst):
        decide(v, LOCAL, IPVS_OFF, 0)
    elif director.nat_icmp_send + director.own_clients == 0 or not answered_here(t, p, v):
        return balanced(t, p, v)
    return False


@kernel
def balanced(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether a packet is of the kind that services balance; if not, its verdict is written.

    Source
    ------
    facts: packet-path.md sections 2 and 5.2; ip_vs_core.c ip_vs_in(), 6.1 and 6.12.
    """
    if p.proto == AH or p.proto == ESP:
        request_of_ipsec(t, p, v)
    elif p.proto != TCP and p.proto != UDP and p.proto != SCTP:
        decide(v, LOCAL, OTHER_PROTOCOL, 0)
    elif p.shape == NO_PORTS:
        decide(v, DROP, HEADER_CUT, 0)
    else:
        return True
    return False


@seldom
def answered_here(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether a packet to a program on the director, or from one, is an answer, or refused as one; then its verdict is
    written. It is looked at as an answer before it is looked at as a request, and is not routed.

    Source
    ------
    facts: packet-path.md sections 2, 12 and 15; ip_vs_core.c ip_vs_out(), hooks LOCAL_IN and LOCAL_OUT, 6.1 and 6.12.
    """
    answer(t, p, v)
    v.method = LOCAL_NODE
    return v.verdict != ROUTE


@kernel
def to_reschedule(t: Tables, p: Packet, conn: Conn) -> bool:
    """Whether a SYN (whatever else is set) or INIT gives up the entry it matched and is scheduled anew.

    An entry with a template never goes for its state.

    Source
    ------
    facts: packet-path.md sections 2 and 11; ip_vs_core.c is_new_conn(), ip_vs_in(), 6.1 and 6.12.
    """
    if p.shape != WHOLE or p.proto == UDP or (p.proto == SCTP and p.tcp_flags != INIT):
        return False
    director = t.director[0]
    if director.expire_nodest_conn != 0 and conn.dest != 0 and t.dests[conn.dest].weight == 0:
        return True
    if director.conn_reuse_mode == 0 or conn.marks & CONTROLLED != 0:
        return False
    return reusable(conn, director.conn_reuse_mode) if p.proto == TCP else conn.state == CLOSED


@kernel
def reply(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet from a real server. Whether its destination is still there or has weight 0 does not matter.

    The director forwards it like any router, so the TTL is looked at first. What one of its own sockets sends is no
    longer on its way, nor is what is for one of its own clients.

    Source
    ------
    facts: packet-path.md sections 12 and 15; ip_vs_core.c ip_vs_out(), handle_response(), 6.1 and 6.12.
    """
    if t.addresses[p.src].local != 0 and p.direction == REPLY:
        send_itself(t, p, v)
        return
    if t.director[0].own_clients != 0 and t.addresses[p.dst].local != 0:
        request(t, p, v)
        return
    if p.length > t.director[0].plain_length and stopped_back(t, p, v):
        return
    if p.ttl <= 1:
        decide(v, REJECT, TTL_EXCEEDED, 0)
        return
    answer(t, p, v)
    if v.verdict == ROUTE:
        route_on(t, p, FROM_SERVERS, v)


@seldom
def route_on(t: Tables, p: Packet, come_in: int, v: Outcome) -> None:
    """A packet that is routed and not for IPVS: a MASQUERADE rule may give it the director's address as its source.

    That is the work of connection tracking, which does it to packets that can begin a connection, and to all others of
    such a connection.

    Source
    ------
    facts: packet-path.md section 17.1.
    """
    if t.addresses[p.src].family == IPV4 and t.director[0].masquerades & come_in != 0:
        decide(v, UNMODELLED, MASQUERADED, 0)


@seldom
def send_itself(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet that the director itself sends: an answer, a request, or an ICMP error.

    Where IPVS refuses it, the director is told by itself. That error comes to IPVS like any other, so it may open a
    connection.

    Source
    ------
    facts: packet-path.md sections 14 and 15; ip_vs_core.c ip_vs_out(), ip_vs_in(), hook LOCAL_OUT, 6.1 and 6.12.
    """
    if p.shape == ICMP_ERROR:
        tell_itself(t, p, v)
        return
    if not answered_here(t, p, v) and p.direction == OWN:
        request_itself(t, p, v)
    if v.verdict == REJECT and t.director[0].schedule_icmp != 0:
        decide(v, UNMODELLED, TOLD_ITSELF, 0)


@seldom
def request_itself(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet of a client that is a program on the director. Whether its target is the director's does not matter.

    What no service takes goes where it would go without IPVS. On its way to the director itself IPVS looks at it once
    more, and finds the same.

    Source
    ------
    facts: packet-path.md section 15; ip_vs_core.c ip_vs_in(), hook LOCAL_OUT; seen on 6.1.192 and 6.12.117.
    """
    if not hooked_in(t, p.dst):
        decide(v, LOCAL, IPVS_OFF, 0)
    elif balanced(t, p, v):
        balance(t, p, v)
    if v.verdict == LOCAL and v.dest == 0 and t.addresses[p.dst].local == 0:
        decide(v, ROUTE, NO_CONNECTION, 0)


@seldom
def tell_itself(t: Tables, p: Packet, v: Outcome) -> None:
    """An ICMP error that the director itself sends: about a client's packet to it, or about an answer to it.

    Source
    ------
    facts: packet-path.md sections 14 and 15; ip_vs_core.c ip_vs_out_icmp(), ip_vs_in_icmp(), hook LOCAL_OUT, 6.1 and
    6.12.
    """
    decide(v, ROUTE, NO_CONNECTION, 0)
    if not hooked_in(t, p.dst):
        return
    c = quoted_entry(t, p, True)
    if c != 0:
        error_outward(t, p, t.conns[c], v)
    elif p.direction == OWN and about_connection(t, t.quotes[p.quote]):
        about_answer(t, p, v)
