"""One packet in, one verdict out. Read this file first.

A packet from a client (``request``): find its connection entry, else schedule it to a destination; count it, move the
entry's state, forward it, re-arm the entry's timer. A packet from a real server (``reply``): find its entry, else
let it pass untranslated. Before each packet the clock moves to its tick and timers that are due fire.

Kernel counterpart: ip_vs_core.c. Modelled: TCP, UDP and SCTP with every forwarding method, requests that arrive at the
director, replies that it forwards or sends itself, ICMP errors about both. Fragments come here reassembled
(``lbsim.packet.fragments``). Not modelled: clients that run on the director.
"""

from __future__ import annotations

from lbsim.engine.conntable import (
    client_bucket,
    expire,
    expire_now,
    find_in,
    find_out,
    new_bypass,
    new_conn,
    put,
    sweep_removed,
)
from lbsim.engine.estimator import catch_up
from lbsim.engine.forwarding import decide, hindrance, stopped_back, told_length, transmit, unmasquerade
from lbsim.engine.icmp import (
    about_connection,
    error_to_client,
    error_to_dest,
    quoted_entry,
    swap_ends,
    tunnel_error,
    tunnelled_entry,
)
from lbsim.engine.lanes import COMPILED, kernel, prefetch, seldom
from lbsim.engine.persistence import schedule_persistent
from lbsim.engine.reasons import (
    DEST_REMOVED,
    DROP,
    DROP_PACKET,
    FORWARD,
    FORWARD_DROPPED,
    FRAGMENT_SEEN,
    FTP_DATA_SOURCE,
    FTP_NO_DEST,
    HEADER_CUT,
    ICMP_CHECKSUM,
    ICMP_UNRELATED,
    INVALID_IP,
    IPVS_OFF,
    KNOWN,
    LOCAL,
    LOCAL_DEST,
    MARTIAN_SOURCE,
    MASQUERADED,
    NEW,
    NO_CONNECTION,
    NO_DEST,
    NO_DEST_UNTOLD,
    NO_IKE,
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
    SERVER_REFUSED,
    STRAIGHT_REPLY,
    TEMPLATE_ANSWERED,
    TTL_EXCEEDED,
    UNMODELLED,
)
from lbsim.engine.records import (
    AH,
    BAD_IP_HEADER,
    CONTROLLED,
    CONTROLS,
    CUT_HEADER,
    ESP,
    FRAGMENT,
    FROM_CLIENTS,
    FROM_SERVERS,
    ICMP_ERROR,
    IN,
    IPV4,
    MARTIAN,
    MASQ,
    NO_PORTS,
    ONE_PACKET,
    OUT,
    REPLY,
    RST,
    SCTP,
    STRAIGHT,
    SYN,
    TCP,
    TEMPLATE,
    UDP,
    WHOLE,
    Conn,
    Outcome,
    Packet,
    Tables,
)
from lbsim.engine.schedulers import run_timers, schedule
from lbsim.engine.sctp import ABORT, CLOSED, INIT, NO_CHUNK, step_sctp
from lbsim.engine.services import FTP, FTP_DATA, clean_trash, find_service
from lbsim.engine.tcp import reusable, step_tcp
from lbsim.engine.timers import take_due
from lbsim.engine.udp import step_udp

__all__ = ["advance", "receive", "receive_block"]

AHEAD = 8  # packets
IKE = 500  # the UDP port of IPsec's key exchange: its entry is that of AH and ESP packets, too
DEFENCE_ON = 3  # of drop_packet; 1 and 2 are on only when memory runs short, which it never does here
BY_ROUTING = 2  # AddressRow.local of what only a routing rule makes local


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
        set_aside(t, p, v)
    elif p.direction == IN:
        request(t, p, v)
        if v.verdict == FORWARD:
            flow = t.flows[p.flow]
            flow.addr = v.new_dst if v.method == MASQ else STRAIGHT
            flow.port = v.new_dport
        elif v.reason == LOCAL_DEST:
            flow = t.flows[p.flow]
            flow.addr = v.new_dst
            flow.port = v.new_dport
    else:
        if p.direction == REPLY:
            answer_of_flow(t, p)
        if p.src > 0:
            reply(t, p, v)
        else:
            unsent(t, p, v)


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

    Source
    ------
    facts: packet-path.md sections 12 to 14.
    """
    if p.shape == BAD_IP_HEADER:
        decide(v, DROP, INVALID_IP, 0)
    elif p.shape == MARTIAN:
        decide(v, DROP, MARTIAN_SOURCE, 0)
    elif p.shape == FRAGMENT:
        decide(v, UNMODELLED, FRAGMENT_SEEN, 0)
    else:
        if p.direction == REPLY:
            error_of_flow(t, p)
        if p.src > 0:
            icmp_error(t, p, v)
        else:
            unsent(t, p, v)


@seldom
def icmp_error(t: Tables, p: Packet, v: Outcome) -> None:
    """An ICMP error about another packet.

    Source
    ------
    facts: packet-path.md sections 12 and 14; ip_vs_core.c ip_vs_in_icmp(), ip_vs_out_icmp(), 6.1 and 6.12.
    """
    director = t.director[0]
    target = t.addresses[p.dst]
    here = target.local == 1 or (target.local != 0 and p.mark != 0)
    if not here and stopped_back(t, p, v):
        return
    if (director.services_v4 if target.family == IPV4 else director.services_v6) == 0:
        decide(v, LOCAL if here else ROUTE, IPVS_OFF if here else NOT_BALANCED, 0)
        return
    decide(v, LOCAL if here else ROUTE, ICMP_UNRELATED if here else NO_CONNECTION, 0)
    q = t.quotes[p.quote]
    if p.quote == 0 or not about_connection(q):
        return
    if q.outer != 0:
        c = tunnelled_entry(t, p) if here else 0
        if c != 0:
            error_of_tunnel(t, p, t.conns[c], v)
        return
    c = quoted_entry(t, p, False)
    if c != 0:
        error_inward(t, p, t.conns[c], v)
    elif director.schedule_icmp != 0 and open_for_error(t, p, v):
        return
    elif not here:
        c = quoted_entry(t, p, True)
        if c != 0:
            error_outward(t, p, t.conns[c], v)


@seldom
def error_inward(t: Tables, p: Packet, conn: Conn, v: Outcome) -> None:
    """An ICMP error about an answer of the entry.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_in_icmp(), 6.1 and 6.12.
    """
    if conn.method == MASQ and t.quotes[p.quote].wrong != 0:
        decide(v, DROP, ICMP_CHECKSUM, conn.dest)
        return
    count_in(t, conn.dest, p.length)
    error_to_dest(t, p, conn, v)


@seldom
def error_outward(t: Tables, p: Packet, conn: Conn, v: Outcome) -> None:
    """An ICMP error about a client's packet of the entry.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c handle_response_icmp(), 6.1 and 6.12.
    """
    if t.quotes[p.quote].wrong != 0:
        decide(v, DROP, ICMP_CHECKSUM, conn.dest)
        return
    error_to_client(p, conn, v)
    count_out(t, conn.dest, p.length)


@seldom
def error_of_tunnel(t: Tables, p: Packet, conn: Conn, v: Outcome) -> None:
    """An ICMP error about a packet in which one of the entry went.

    What the client is told counts twice: as what is passed on, and as an error that the director makes.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_in_icmp(), 6.1 and 6.12.
    """
    q = t.quotes[p.quote]
    if q.wrong != 0:
        decide(v, DROP, ICMP_CHECKSUM, conn.dest)
        return
    tunnel_error(t, q, conn, v)
    if v.verdict == FORWARD:
        count_out(t, conn.dest, q.length)
        count_out(t, conn.dest, told_length(t, p.dst, q.length))


@seldom
def open_for_error(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether an ICMP error without entry (schedule_icmp) got a verdict: a new entry or none at all.

    The entry has no state and stays for 3 s.

    Source
    ------
    facts: packet-path.md sections 4.1 to 4.3, 5.1 and 14; ip_vs_core.c ip_vs_try_to_schedule(), 6.1 and 6.12.
    """
    q = t.quotes[p.quote]
    swap_ends(p, q)
    s = find_service(t, p.proto, p.dst, p.dport, p.mark)
    c = 0
    if s != 0:
        if t.director[0].drop_packet == DEFENCE_ON and to_drop(t):
            decide(v, DROP, DROP_PACKET, 0)
        elif p.sport != FTP_DATA:
            c = open_entry(t, s, p)
            if c == 0 and (t.services[s].port != FTP or p.dport == FTP):
                decide(v, DROP, NO_DEST_UNTOLD, 0)
    swap_ends(p, q)
    if c == 0:
        return v.verdict == DROP
    error_inward(t, p, t.conns[c], v)
    if t.conns[c].marks & ONE_PACKET == 0:
        put(t, c)
    else:
        expire(t, c)
    return True


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
    if c != 0 and t.dests[t.conns[c].dest].available == 0 and t.conns[c].dest != 0:
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
        decide(v, ROUTE, NOT_LOCAL, 0)
        if t.addresses[p.src].kept_back & FROM_CLIENTS != 0 and hindrance(t, p) == FORWARD_DROPPED:
            decide(v, DROP, FORWARD_DROPPED, 0)
        else:
            route_on(t, p, FROM_CLIENTS, v)
    elif (director.services_v4 if target.family == IPV4 else director.services_v6) == 0:
        decide(v, LOCAL, IPVS_OFF, 0)
    elif p.proto != TCP and p.proto != UDP and p.proto != SCTP:
        if p.proto == AH or p.proto == ESP:
            request_of_ipsec(t, p, v)
        else:
            decide(v, LOCAL, OTHER_PROTOCOL, 0)
    elif p.shape == NO_PORTS:
        decide(v, DROP, HEADER_CUT, 0)
    else:
        return True
    return False


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
def request_of_ipsec(t: Tables, p: Packet, v: Outcome) -> None:
    """An AH or ESP packet from a client: it goes where the key exchange of the two ends goes, on UDP port 500.

    The entry's timer is armed anew, nothing else happens to it. Only addresses are translated.

    Source
    ------
    facts: packet-path.md sections 5.2 and 7.4; ip_vs_proto_ah_esp.c ah_esp_conn_in_get(), 6.1 and 6.12.
    """
    c = ike_entry(t, p)
    if c != 0 and t.dests[t.conns[c].dest].available == 0 and t.conns[c].dest != 0:
        if t.director[0].expire_nodest_conn == 0:
            decide(v, DROP, DEST_REMOVED, t.conns[c].dest)
            return
        expire_now(t, c)
        c = 0
    if c == 0:
        decide(v, LOCAL, NO_IKE, 0)
        return
    count_in(t, t.conns[c].dest, p.length)
    transmit(t, p, t.conns[c], KNOWN, v)
    put(t, c)


@kernel
def ike_entry(t: Tables, p: Packet) -> int:
    """The entry of the key exchange between the packet's ends, or 0.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_proto_ah_esp.c ah_esp_conn_fill_param_proto().
    """
    proto = p.proto
    p.proto = UDP
    p.sport = IKE
    p.dport = IKE
    c = find_in(t, p) if p.direction == IN else find_out(t, p)
    p.proto = proto
    p.sport = 0
    p.dport = 0
    return c


@kernel
def try_schedule(t: Tables, p: Packet, v: Outcome) -> int:
    """A new entry for the client's packet, or 0 with the verdict written.

    Source
    ------
    facts: packet-path.md sections 4.1 to 4.3; ip_vs_proto_tcp.c tcp_conn_schedule() and likewise of UDP and SCTP,
    ip_vs_core.c ip_vs_schedule(), 6.1 and 6.12.
    """
    if p.shape == CUT_HEADER or (p.proto == SCTP and p.tcp_flags == NO_CHUNK):
        decide(v, DROP, HEADER_CUT, 0)
        return 0
    s = find_service(t, p.proto, p.dst, p.dport, p.mark)
    if s == 0:
        decide(v, LOCAL, NO_SERVICE, 0)
        return 0
    if not may_open(t, p):
        decide(v, LOCAL, NOT_SYN, 0)
        return 0
    if t.director[0].drop_packet == DEFENCE_ON and to_drop(t):
        decide(v, DROP, DROP_PACKET, 0)
        return 0
    if p.sport == FTP_DATA:
        decide(v, LOCAL, FTP_DATA_SOURCE, 0)
        return 0
    c = open_entry(t, s, p)
    return c if c != 0 else leave(t, s, p, marks_of(t, s, p), v)


@kernel
def open_entry(t: Tables, s: int, p: Packet) -> int:
    """A new entry for the packet to service ``s``, counted; 0 if there is no destination.

    Source
    ------
    facts: packet-path.md section 4.2; ip_vs_core.c ip_vs_schedule(), 6.1 and 6.12.
    """
    marks = marks_of(t, s, p)
    c = schedule_persistent(t, s, p, marks) if t.services[s].persistent != 0 else schedule_once(t, s, p, marks)
    if c != 0:
        t.services[s].conns += 1
        t.dests[t.conns[c].dest].conns += 1
    return c


@kernel
def marks_of(t: Tables, s: int, p: Packet) -> int:
    """The marks that an entry of the service has from the beginning.

    Source
    ------
    facts: packet-path.md section 4.2; ip_vs_core.c ip_vs_schedule().
    """
    return ONE_PACKET if t.services[s].one_packet != 0 and p.proto == UDP else 0


@kernel
def may_open(t: Tables, p: Packet) -> bool:
    """Whether a packet without entry is one that opens a connection, or the director is sloppy about it.

    Source
    ------
    facts: packet-path.md section 4.1; ip_vs_proto_tcp.c tcp_conn_schedule(), ip_vs_proto_sctp.c sctp_conn_schedule().
    """
    director = t.director[0]
    if p.proto == TCP:
        return p.tcp_flags & RST == 0 and (p.tcp_flags & SYN != 0 or director.sloppy_tcp != 0)
    if p.proto == SCTP:
        return p.tcp_flags == INIT or (p.tcp_flags != ABORT and director.sloppy_sctp != 0)
    return True


@kernel
def to_drop(t: Tables) -> bool:
    """Whether drop_packet drops this packet, that would have opened a connection: the first one and then each n-th.

    Source
    ------
    facts: packet-path.md section 20; ip_vs.h ip_vs_todrop(), ip_vs_ctl.c update_defense_level().
    """
    director = t.director[0]
    if director.am_droprate == 0:
        return False
    director.drop_counter -= 1
    if director.drop_counter > 0:
        return False
    director.drop_counter = director.am_droprate
    return True


@kernel
def schedule_once(t: Tables, s: int, p: Packet, marks: int) -> int:
    """A new entry for the client's packet to a service that is not persistent; 0 if there is no destination.

    Source
    ------
    facts: packet-path.md section 4.2; ip_vs_core.c ip_vs_schedule(), 6.1 and 6.12.
    """
    service = t.services[s]
    if service.fwmark == 0 and p.dport != service.port:
        return 0
    d = schedule(t, s, p)
    if d == 0:
        return 0
    dport = t.dests[d].port
    return new_conn(t, p, d, dport if dport != 0 else p.dport, marks)


@kernel
def leave(t: Tables, s: int, p: Packet, marks: int, v: Outcome) -> int:
    """What becomes of a packet whose service has no destination for it: a new entry that bypasses, or 0 with the
    verdict written.

    Source
    ------
    facts: packet-path.md section 4.3; ip_vs_core.c ip_vs_leave(), 6.1 and 6.12.
    """
    service = t.services[s]
    by_routing = t.addresses[p.dst].local == BY_ROUTING
    if t.director[0].cache_bypass != 0 and service.fwmark != 0 and by_routing:
        return new_bypass(t, p, marks)
    if service.port == FTP and p.dport != FTP:
        decide(v, LOCAL, FTP_NO_DEST, 0)
    elif by_routing:
        decide(v, DROP, NO_DEST_UNTOLD, 0)
    else:
        decide(v, REJECT, NO_DEST, 0)
    return 0


@kernel
def step_state(t: Tables, c: int, p: Packet, direction: int) -> None:
    """Let the packet move the entry's state and timeout.

    Source
    ------
    facts: packet-path.md section 7; ip_vs_core.c ip_vs_set_state().
    """
    if p.proto == TCP:
        step_tcp(t, c, p.tcp_flags, direction)
    elif p.proto == UDP:
        step_udp(t, c, direction)
    else:
        step_sctp(t, c, p.tcp_flags, direction)


@kernel
def reply(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet from a real server. Whether its destination is still there or has weight 0 does not matter.

    The director forwards it like any router, so the TTL is looked at first.

    Source
    ------
    facts: packet-path.md section 12; ip_vs_core.c ip_vs_out(), handle_response(), 6.1 and 6.12.
    """
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
def answer_itself(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet that the director itself sends: an answer of one of its sockets, or an ICMP error in place of it.

    Source
    ------
    facts: packet-path.md sections 14 and 15; ip_vs_core.c ip_vs_out(), hook LOCAL_OUT, 6.1 and 6.12.
    """
    if p.shape != ICMP_ERROR:
        answer(t, p, v)
        return
    decide(v, ROUTE, NO_CONNECTION, 0)
    c = quoted_entry(t, p, True)
    if c != 0:
        error_outward(t, p, t.conns[c], v)


@kernel
def answer(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet from a real server that the director forwards, or from a socket of the director itself.

    Source
    ------
    facts: packet-path.md sections 12 and 15; ip_vs_core.c ip_vs_out(), handle_response(), 6.1 and 6.12.
    """
    director = t.director[0]
    hooked = director.services_v4 if t.addresses[p.src].family == IPV4 else director.services_v6
    if hooked == 0 or (p.proto != TCP and p.proto != UDP and p.proto != SCTP):
        if hooked != 0 and (p.proto == AH or p.proto == ESP):
            reply_of_ipsec(t, p, v)
        else:
            decide(v, ROUTE, NOT_BALANCED, 0)
        return
    c = find_out(t, p) if p.shape != NO_PORTS else 0
    if c == 0:
        reply_without_entry(t, p, v)
        return
    conn = t.conns[c]
    if conn.marks & TEMPLATE != 0:
        decide(v, UNMODELLED, TEMPLATE_ANSWERED, conn.dest)
        return
    if p.shape == CUT_HEADER:
        decide(v, DROP, HEADER_CUT, conn.dest)
        put(t, c)
        return
    count_out(t, conn.dest, p.length)
    step_state(t, c, p, OUT)
    unmasquerade(p, conn, v)
    put(t, c)


@kernel
def reply_of_ipsec(t: Tables, p: Packet, v: Outcome) -> None:
    """An AH or ESP packet from a real server; see :func:`request_of_ipsec`.

    Source
    ------
    facts: packet-path.md sections 7.4 and 12; ip_vs_proto_ah_esp.c ah_esp_conn_out_get(), 6.1 and 6.12.
    """
    c = ike_entry(t, p)
    if c == 0:
        decide(v, ROUTE, NO_CONNECTION, 0)
        return
    count_out(t, t.conns[c].dest, p.length)
    unmasquerade(p, t.conns[c], v)
    put(t, c)


@kernel
def reply_without_entry(t: Tables, p: Packet, v: Outcome) -> None:
    """A real server's packet that belongs to no entry: routed, unless nat_icmp_send has it refused.

    Source
    ------
    facts: packet-path.md section 12; ip_vs_core.c ip_vs_out(), 6.1 and 6.12.
    """
    if t.director[0].nat_icmp_send != 0 and p.shape != NO_PORTS and from_real_server(t, p):
        last = (p.proto == TCP and p.tcp_flags & RST != 0) or (p.proto == SCTP and p.tcp_flags == ABORT)
        if not last:
            decide(v, REJECT, SERVER_REFUSED, 0)
            return
    decide(v, ROUTE, NO_CONNECTION, 0)


@kernel
def from_real_server(t: Tables, p: Packet) -> bool:
    """Whether a packet comes from a destination over NAT of some service of its protocol, or by firewall mark.

    Source
    ------
    facts: packet-path.md section 12; ip_vs_ctl.c ip_vs_has_real_service(), 6.1 and 6.12.
    """
    for d in range(1, t.director[0].dests_used + 1):
        dest = t.dests[d]
        if dest.available != 0 and dest.addr == p.src and dest.port == p.sport and dest.method == MASQ:
            service = t.services[dest.service]
            if service.proto == p.proto or service.fwmark != 0:
                return True
    return False


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

    Timers of a tick fire before packets of that tick. The one that copies counters sees nothing of what the others do:
    all its runs come first.

    Source
    ------
    facts: packet-path.md section 8.3; timer.c run_timer_softirq().
    """
    director = t.director[0]
    if director.copy_fire != 0 and director.copy_fire <= tick:
        catch_up(t, tick)
    due = next_event(t)
    while due != 0 and due <= tick:
        if due > director.now:
            director.now = due
        if director.wheel_next != 0 and director.wheel_next <= director.now:
            expire_due(t)
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
def expire_due(t: Tables) -> None:
    """Let every timer of this tick fire; those of templates that control others after those of the others, which note
    at their template if the kernel's order is another one.

    Source
    ------
    facts: packet-path.md section 8.2; timer.c expire_timers(), 6.1 and 6.12.
    """
    later = 0
    c = take_due(t)
    while c != 0:
        if t.conns[c].marks & CONTROLS != 0:
            t.timers[c].next = later
            later = c
        else:
            expire(t, c)
        c = take_due(t)
    while later != 0:
        following = t.timers[later].next
        t.timers[later].next = 0
        expire(t, later)
        later = following


@kernel
def next_event(t: Tables) -> int:
    """The next tick at which a timer may fire that changes anything but copies of counters; 0 if none is pending.

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
