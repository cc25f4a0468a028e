"""ICMP errors about packets of connection entries, from either side.

Kernel counterpart: ip_vs_core.c ip_vs_in_icmp(), ip_vs_out_icmp(), handle_response_icmp().
"""

from __future__ import annotations

from lbsim.engine.conntable import expire, put
from lbsim.engine.counting import count_in, count_out
from lbsim.engine.defence import to_drop
from lbsim.engine.forwarding import decide, stopped_back, told_length
from lbsim.engine.icmp import (
    about_connection,
    error_to_client,
    error_to_dest,
    quoted_entry,
    swap_ends,
    tunnel_error,
    tunnelled_entry,
)
from lbsim.engine.lanes import seldom
from lbsim.engine.numbers import AH, ESP, MASQ, ONE_PACKET
from lbsim.engine.opening import open_entry
from lbsim.engine.reasons import (
    DROP,
    DROP_PACKET,
    FORWARD,
    ICMP_CHECKSUM,
    ICMP_ROUTED,
    ICMP_TO_DEST,
    ICMP_UNRELATED,
    IPVS_OFF,
    LOCAL,
    NO_CONNECTION,
    NO_DEST_UNTOLD,
    NOT_BALANCED,
    ROUTE,
)
from lbsim.engine.records import Conn, Outcome, Packet, Tables
from lbsim.engine.services import FTP, FTP_DATA, find_service, hooked_in

__all__ = ["about_answer", "error_outward", "icmp_error"]


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
    if not hooked_in(t, p.dst):
        decide(v, LOCAL if here else ROUTE, IPVS_OFF if here else NOT_BALANCED, 0)
        return
    decide(v, LOCAL if here else ROUTE, ICMP_UNRELATED if here else NO_CONNECTION, 0)
    q = t.quotes[p.quote]
    if p.quote == 0 or not about_connection(t, q):
        return
    if q.outer != 0:
        c = tunnelled_entry(t, p) if here else 0
        if c != 0:
            error_of_tunnel(t, p, t.conns[c], v)
        return
    if here:
        c = quoted_entry(t, p, True) if director.own_clients != 0 else 0
        if c != 0:
            error_outward(t, p, t.conns[c], v)
        else:
            about_answer(t, p, v)
    elif not about_answer_on_its_way(t, p, v):
        c = quoted_entry(t, p, True)
        if c != 0:
            error_outward(t, p, t.conns[c], v)


@seldom
def about_answer(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether an ICMP error is about an answer of an entry, maybe a new one: then its verdict is written.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_in_icmp(), 6.1 and 6.12.
    """
    c = quoted_entry(t, p, False)
    if c != 0:
        error_inward(t, p, t.conns[c], v)
        return True
    return t.director[0].schedule_icmp != 0 and open_for_error(t, p, v)


@seldom
def about_answer_on_its_way(t: Tables, p: Packet, v: Outcome) -> bool:
    """Likewise of one that the director forwards: it loses a TTL as such, and another one as IPVS sends it.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_forward_icmp(), ip_forward.c; seen on 6.1.192 and 6.12.117.
    """
    p.ttl -= 1
    found = about_answer(t, p, v)
    p.ttl += 1
    if found and v.reason == ICMP_TO_DEST:
        v.reason = ICMP_ROUTED
    return found


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
    if conn.method == MASQ and t.quotes[p.quote].wrong != 0:
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
    if q.proto == AH or q.proto == ESP:  # these never open an entry
        return False
    swap_ends(p, q)
    s = find_service(t, p.proto, p.dst, p.dport, p.mark)
    c = 0
    if s != 0:
        if to_drop(t):
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
