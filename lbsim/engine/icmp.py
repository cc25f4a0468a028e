"""ICMP errors about packets of connections: whose they are, and how they travel on.

An error quotes the packet that it is about, which went the other way: its entry is found with the quoted ends
exchanged. Errors move no entry's state and arm no timer.

Kernel counterpart: ip_vs_core.c ip_vs_in_icmp(), ip_vs_out_icmp() and the same with _v6.
"""

from __future__ import annotations

from lbsim.engine.conntable import find_in, find_out
from lbsim.engine.forwarding import decide, overhead, send, stopped
from lbsim.engine.ipsec import ike_entry
from lbsim.engine.lanes import seldom
from lbsim.engine.numbers import AH, ESP, FRAGMENT, IPV4, LEAST_V4, MASQ, NO_PORTS, SCTP, TCP, TUNNEL, UDP
from lbsim.engine.reasons import (
    DROP,
    FORWARD,
    ICMP_TO_CLIENT,
    ICMP_TO_DEST,
    LOCAL,
    LOCAL_DEST,
    TUNNEL_ERROR,
    TUNNEL_NOTED,
)
from lbsim.engine.records import Conn, Outcome, Packet, Quote, Tables

__all__ = [
    "about_connection",
    "error_to_client",
    "error_to_dest",
    "has_tunnel",
    "quoted_entry",
    "swap_ends",
    "tunnel_error",
    "tunnelled_entry",
]


@seldom
def swap_ends(p: Packet, q: Quote) -> None:
    """Let the packet be the one that it quotes, on its way back; done twice, it is itself again.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_fill_iph_skb_icmp().
    """
    src = p.src
    sport = p.sport
    dst = p.dst
    dport = p.dport
    proto = p.proto
    p.src = q.dst
    p.sport = q.dport
    p.dst = q.src
    p.dport = q.sport
    p.proto = q.proto
    q.src = dst
    q.sport = dport
    q.dst = src
    q.dport = sport
    q.proto = proto


@seldom
def about_connection(t: Tables, q: Quote) -> bool:
    """Whether the quoted packet may be one of a connection: it has ports, and is not a later fragment.

    ESP and AH need no ports, so any fragment will do. A quoted AH header of IPv6 is stepped over.

    Source
    ------
    facts: packet-path.md sections 5.2 and 14; ip_vs_core.c ip_vs_in_icmp(), ip_vs_in_icmp_v6(); seen on 6.1.192 and
    6.12.117.
    """
    if q.proto == ESP or (q.proto == AH and t.addresses[q.src].family == IPV4):
        return True
    if q.shape == NO_PORTS or q.shape == FRAGMENT:
        return False
    return q.proto == TCP or q.proto == UDP or q.proto == SCTP


@seldom
def quoted_entry(t: Tables, p: Packet, backward: bool) -> int:
    """The entry of the connection that an ICMP error is about, or 0.

    Parameters
    ----------
    backward : the error is about a client's packet; else about an answer.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_in_icmp(), ip_vs_out_icmp(), 6.1 and 6.12.
    """
    q = t.quotes[p.quote]
    swap_ends(p, q)
    c = entry_of(t, p, backward)
    swap_ends(p, q)
    return c


@seldom
def entry_of(t: Tables, p: Packet, backward: bool) -> int:
    """The entry of a packet, or 0.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_proto_ah_esp.c, ip_vs_conn.c, 6.1 and 6.12.
    """
    if p.proto == AH or p.proto == ESP:
        return ike_entry(t, p, backward)
    return find_out(t, p) if backward else find_in(t, p)


@seldom
def error_to_dest(t: Tables, p: Packet, conn: Conn, v: Outcome) -> None:
    """Send an ICMP error about an answer to the entry's destination.

    Over NAT both its target and the quoted packet's sender become the destination end.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_xmit.c ip_vs_icmp_xmit(), ip_vs_icmp_xmit_v6(), 6.1 and 6.12.
    """
    if conn.method != MASQ:
        send(t, p, conn, ICMP_TO_DEST, v)
    elif t.addresses[conn.daddr].local == 1:
        decide(v, LOCAL, LOCAL_DEST, conn.dest)
    elif not stopped(t, p, conn, conn.daddr, v):
        decide(v, FORWARD, ICMP_TO_DEST, conn.dest)
        v.new_src = p.src
        v.new_dst = conn.daddr
        v.new_dport = conn.dport


@seldom
def error_to_client(p: Packet, conn: Conn, v: Outcome) -> None:
    """Send an ICMP error about a client's packet to the client.

    Over NAT it comes from the virtual address, whoever sent it; otherwise it stays as it is.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c handle_response_icmp(), ip_vs_nat_icmp(); seen on 6.1.192 and
    6.12.117.
    """
    decide(v, FORWARD, ICMP_TO_CLIENT, conn.dest)
    v.method = conn.method
    v.new_src = p.src
    v.new_dst = p.dst
    if conn.method == MASQ:
        v.new_src = conn.vaddr
        v.new_sport = conn.vport


@seldom
def tunnelled_entry(t: Tables, p: Packet) -> int:
    """The entry of the packet inside a tunnel's packet that an ICMP error is about, or 0.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_in_icmp(), 6.1 and 6.12.
    """
    q = t.quotes[p.quote]
    swap_ends(p, q)
    src = p.src  # the packet inside went from the client to the service: no exchange of its ends
    sport = p.sport
    p.src = p.dst
    p.sport = p.dport
    p.dst = src
    p.dport = sport
    c = entry_of(t, p, False)
    p.dst = p.src
    p.dport = p.sport
    p.src = src
    p.sport = sport
    swap_ends(p, q)
    return c


@seldom
def has_tunnel(t: Tables, addr: int, tun_type: int, port: int) -> bool:
    """Whether a destination with this address has such a tunnel: only then a UDP or GRE packet to it may be one of it.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_ctl.c ip_vs_find_tunnel(), 6.1 and 6.12.
    """
    for d in range(1, t.director[0].dests_used + 1):
        dest = t.dests[d]
        same_end = dest.addr == addr and dest.tun_port == port
        if same_end and dest.available != 0 and dest.method == TUNNEL and dest.tun_type == tun_type:
            return True
    return False


@seldom
def tunnel_error(t: Tables, q: Quote, conn: Conn, v: Outcome) -> None:
    """Tell the client of an ICMP error about a tunnel's packet, as one about its own packet inside.

    A shorter MTU is noted for the route; the client is told what was known before, and nothing if its packet may be
    sent in fragments.

    Source
    ------
    facts: packet-path.md section 14; ip_vs_core.c ip_vs_in_icmp(), 6.1 and 6.12.
    """
    told = 0
    if q.limit != 0:
        row = t.addresses[q.outer]
        told = row.mtu if row.mtu != 0 else q.limit
        if told > LEAST_V4 + overhead(t, conn.dest):
            told -= overhead(t, conn.dest)
        if row.mtu == 0 or q.limit < row.mtu:
            row.mtu = q.limit
            t.director[0].plain_length = min(t.director[0].plain_length, q.limit)
        if q.may_split != 0:
            decide(v, DROP, TUNNEL_NOTED, conn.dest)
            return
    decide(v, FORWARD, TUNNEL_ERROR, conn.dest)
    v.new_src = conn.vaddr
    v.new_dst = conn.caddr
    v.new_dport = told
