"""How packets leave: which way, with which headers, and what keeps them from it.

Kernel counterpart: ip_vs_xmit.c (requests), ip_vs_core.c handle_response() (replies), ip_forward.c. Only addresses
and ports are decided here; bytes, checksums and the headers of tunnels are the business of ``lbsim.packet``.

A packet over NAT that is no longer than ``Director.plain_length`` needs no second look at its way, which is why most
packets only come to :func:`masquerade` and :func:`unmasquerade`.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.numbers import (
    BY_ROUTING,
    BYPASS,
    DROUTE,
    FROM_CLIENTS,
    FROM_SERVERS,
    GRE,
    GUE,
    ICMP_ERROR,
    IN,
    IPV4,
    LEAST_V4,
    LEAST_V6,
    MASQ,
    OWN,
    TUN_CSUM,
    TUNNEL,
    WHOLE,
)
from lbsim.engine.reasons import (
    DROP,
    FORWARD,
    FORWARD_DROPPED,
    HEADER_CUT,
    LOCAL,
    LOCAL_DEST,
    LOCAL_NEW,
    MTU_EXCEEDED,
    MTU_UNTOLD,
    NEW,
    NO_NEXT_HOP,
    NO_ROUTE,
    NO_ROUTE_UNTOLD,
    REJECT,
    RESCHEDULED,
    TOO_NARROW,
    TRANSLATED,
    TTL_EXCEEDED,
    TTL_UNTOLD,
    WRONG_WAY,
)
from lbsim.engine.records import Conn, Outcome, Packet, Tables

__all__ = [
    "can_tell",
    "decide",
    "masquerade",
    "overhead",
    "path_limit",
    "stopped_back",
    "told_length",
    "transmit",
    "unmasquerade",
]

QUOTING_V4 = 576  # bytes of the longest ICMP error, and 28 of them are its headers
QUOTING_V6 = 1280  # likewise, and 48
LOOPBACK_NET = 0x7F000000
ENDLESS = 1 << 30

# Dest.route
WITH_NEXT_HOP = 1
WITHOUT_NEXT_HOP = 2


@kernel
def decide(v: Outcome, verdict: int, reason: int, dest: int) -> None:
    """Write a verdict without header changes.

    Source
    ------
    lbsim's own.
    """
    v.verdict = verdict
    v.reason = reason
    v.dest = dest
    v.method = MASQ
    v.new_src = 0
    v.new_sport = 0
    v.new_dst = 0
    v.new_dport = 0


@seldom
def reject(t: Tables, p: Packet, reason: int, dest: int, v: Outcome) -> None:
    """Write that the packet goes no further, and that its sender is told why: if anybody can be told.

    Source
    ------
    facts: packet-path.md sections 4.3 and 13.1; icmp.c icmp_send(), ip6_icmp.c icmp6_send(), 6.1 and 6.12.
    """
    if can_tell(t, p):
        decide(v, REJECT, reason, dest)
    elif reason == TTL_EXCEEDED:
        decide(v, DROP, TTL_UNTOLD, dest)
    elif reason == NO_ROUTE:
        decide(v, DROP, NO_ROUTE_UNTOLD, dest)
    else:
        decide(v, DROP, MTU_UNTOLD, dest)


@seldom
def can_tell(t: Tables, p: Packet) -> bool:
    """Whether the director may send an error about the packet, and has an address to send it from.

    There are no errors about errors. What only a routing rule brought to the director cannot be answered over IPv4: the
    answer would come from the packet's own target. Over IPv6 it comes from an address of the director.

    Source
    ------
    facts: packet-path.md section 4.3; icmp.c icmp_send(), ip6_icmp.c icmp6_send(); seen on 6.1.192 and 6.12.117.
    """
    if p.shape == ICMP_ERROR:
        return False
    target = t.addresses[p.dst]
    return target.local != BY_ROUTING or target.family != IPV4 or p.mark == 0


@kernel
def transmit(t: Tables, p: Packet, conn: Conn, reason: int, v: Outcome) -> None:
    """Send a client's packet to the entry's destination, the way that the entry says.

    Source
    ------
    facts: packet-path.md section 13.1; ip_vs_conn.c ip_vs_bind_xmit(), 6.1 and 6.12.
    """
    if conn.method == MASQ and p.length <= t.director[0].plain_length:
        masquerade(t, p, conn, reason, v)
    else:
        send(t, p, conn, reason, v)


@kernel
def masquerade(t: Tables, p: Packet, conn: Conn, reason: int, v: Outcome) -> None:
    """Send a client's packet to the entry's destination: the virtual end becomes the destination end.

    A TTL that is used up and a transport header that is cut end the packet here, after it was counted.

    Source
    ------
    facts: packet-path.md sections 4.4, 13.1 and 13.2; ip_vs_xmit.c ip_vs_nat_xmit(), 6.1 and 6.12.
    """
    if p.ttl <= 1:
        reject(t, p, TTL_EXCEEDED, conn.dest, v)
    elif p.shape != WHOLE:
        decide(v, DROP, HEADER_CUT, conn.dest)
    else:
        v.verdict = FORWARD
        v.reason = reason
        v.dest = conn.dest
        v.method = MASQ
        v.new_src = p.src
        v.new_sport = p.sport
        v.new_dst = conn.daddr
        v.new_dport = conn.dport


@seldom
def send(t: Tables, p: Packet, conn: Conn, reason: int, v: Outcome) -> None:
    """Send a client's packet that is not over NAT, or whose way must be looked at.

    With direct routing and tunnels the packet keeps its header, however little of it there is.

    Source
    ------
    facts: packet-path.md sections 13.1 to 13.5; ip_vs_xmit.c ip_vs_dr_xmit(), ip_vs_tunnel_xmit(),
    ip_vs_bypass_xmit() and the same with _v6, 6.1 and 6.12.
    """
    target = p.dst if conn.method == BYPASS else conn.daddr
    if t.addresses[target].local == 1:
        deliver(t, p, conn, reason, v)
    elif not stopped(t, p, conn, target, v):
        if not finds_next_hop(t, conn):
            decide(v, REJECT, NO_NEXT_HOP, conn.dest)
        elif conn.method == MASQ:
            masquerade(t, p, conn, reason, v)
        else:
            keep_header(p, conn, FORWARD, reason, v)


@seldom
def finds_next_hop(t: Tables, conn: Conn) -> bool:
    """Whether the route that is kept for the entry's destination leads there.

    It is found for the first packet and kept until the destination is edited. Only one that was found for direct
    routing says that the next hop is the destination: with any other, direct routing looks for the packet's own
    target, the virtual address, beside the destination.

    Source
    ------
    facts: schedulers.md section 5.2 (when it is dropped); seen on 6.1.192 and 6.12.117; ip_vs_xmit.c
    __ip_vs_get_out_rt(), __ip_vs_get_out_rt_v6().
    """
    dest = t.dests[conn.dest]
    if dest.route == 0:
        dest.route = WITH_NEXT_HOP if conn.method == DROUTE else WITHOUT_NEXT_HOP
    return conn.method != DROUTE or dest.route == WITH_NEXT_HOP


@kernel
def keep_header(p: Packet, conn: Conn, verdict: int, reason: int, v: Outcome) -> None:
    """Let a client's packet go on with the header that it has.

    Source
    ------
    facts: packet-path.md sections 13.3 to 13.5; ip_vs_xmit.c ip_vs_dr_xmit(), ip_vs_tunnel_xmit(), ip_vs_null_xmit().
    """
    v.verdict = verdict
    v.reason = reason
    v.dest = conn.dest
    v.method = conn.method
    v.new_src = p.src
    v.new_sport = p.sport
    v.new_dst = p.dst
    v.new_dport = p.dport


@seldom
def deliver(t: Tables, p: Packet, conn: Conn, reason: int, v: Outcome) -> None:
    """Hand a client's packet to a socket of the director: the entry's destination is an address of its own.

    The TTL does not matter. Only packets over NAT change. 127.0.0.0/8 cannot be reached from outside that way, though
    from the director itself.

    Source
    ------
    facts: packet-path.md sections 13.1, 13.2 and 15; ip_vs_xmit.c crosses_local_route_boundary(), ip_vs_nat_xmit().
    """
    outside = p.direction != OWN
    if conn.method == BYPASS or (outside and conn.method == MASQ and loopback(t, conn.daddr)):
        decide(v, DROP, WRONG_WAY, conn.dest)
    elif conn.method == MASQ and p.shape != WHOLE:
        decide(v, DROP, HEADER_CUT, conn.dest)
    else:
        keep_header(p, conn, LOCAL, LOCAL_NEW if reason in (NEW, RESCHEDULED) else LOCAL_DEST, v)
        if conn.method == MASQ:
            v.new_dst = conn.daddr
            v.new_dport = conn.dport


@kernel
def loopback(t: Tables, a: int) -> bool:
    """Whether it is an address of the loopback device: 127.0.0.0/8 or ::1.

    Source
    ------
    facts: packet-path.md sections 13.1 and 15; ip_vs_xmit.c ip_vs_nat_xmit(), ip_vs_nat_xmit_v6().
    """
    row = t.addresses[a]
    if row.family == IPV4:
        return row.word3 & 0xFF000000 == LOOPBACK_NET
    return row.word0 == 0 and row.word1 == 0 and row.word2 == 0 and row.word3 == 1


@seldom
def stopped(t: Tables, p: Packet, conn: Conn, target: int, v: Outcome) -> bool:
    """Whether something keeps a client's packet from going to ``target``; then its verdict is written.

    Source
    ------
    facts: packet-path.md sections 13.1, 13.4 and 15; ip_vs_xmit.c __ip_vs_get_out_rt(), decrement_ttl(),
    ensure_mtu_is_adequate(), crosses_local_route_boundary(), 6.1 and 6.12.
    """
    limit = path_limit(t, target, conn.dest if conn.method == TUNNEL else 0)
    least = LEAST_V4 if t.addresses[target].family == IPV4 else LEAST_V6
    if t.addresses[target].no_route != 0:
        reject(t, p, NO_ROUTE, conn.dest, v)
    elif p.direction == OWN and loopback(t, p.src):
        decide(v, DROP, WRONG_WAY, conn.dest)
    elif p.ttl <= 1:
        reject(t, p, TTL_EXCEEDED, conn.dest, v)
    elif conn.method == TUNNEL and limit < least:
        decide(v, DROP, TOO_NARROW, conn.dest)
    elif p.length > limit and must_fit(t, p, conn.method):
        reject(t, p, MTU_EXCEEDED, conn.dest, v)
    else:
        return False
    v.method = conn.method
    return True


@kernel
def must_fit(t: Tables, p: Packet, method: int) -> bool:
    """Whether a client's packet that is too large for its way is refused: else it is sent in fragments.

    Source
    ------
    facts: packet-path.md sections 13.1 and 13.4; ip_vs_xmit.c ensure_mtu_is_adequate(), 6.1 and 6.12.
    """
    if t.addresses[p.dst].family == IPV4 and (
        p.shape == ICMP_ERROR or (method == TUNNEL and t.director[0].pmtu_disc == 0)
    ):
        return False
    return p.may_split == 0


@seldom
def path_limit(t: Tables, target: int, tunnel: int) -> int:
    """The longest packet that fits onto the route to ``target``, inside the tunnel of destination ``tunnel`` (0: none).

    Source
    ------
    facts: packet-path.md sections 13.1 and 13.4; ip_vs_xmit.c __ip_vs_get_out_rt(), 6.1 and 6.12.
    """
    mtu = t.addresses[target].mtu
    if mtu == 0:
        return ENDLESS
    return mtu - (overhead(t, tunnel) if tunnel != 0 else 0)


@seldom
def overhead(t: Tables, d: int) -> int:
    """Bytes that the tunnel to destination ``d`` puts in front of a packet.

    Source
    ------
    facts: packet-path.md section 13.4; ip_vs_xmit.c ip_vs_tunnel_xmit(), ip_vs_tunnel_xmit_v6(), 6.1 and 6.12.
    """
    dest = t.dests[d]
    outer = 20 if t.addresses[dest.addr].family == IPV4 else 40
    if dest.tun_type == GUE:
        return outer + 12
    if dest.tun_type == GRE:
        return outer + (8 if dest.tun_flags & TUN_CSUM != 0 else 4)
    return outer


@seldom
def told_length(t: Tables, target: int, length: int) -> int:
    """Bytes of the ICMP error about a packet to ``target`` of that length.

    Source
    ------
    facts: packet-path.md sections 13.1 and 14; icmp.c icmp_send(), ip6_icmp.c icmp6_send().
    """
    if t.addresses[target].family == IPV4:
        return min(28 + length, QUOTING_V4)
    return min(48 + length, QUOTING_V6)


@kernel
def unmasquerade(p: Packet, conn: Conn, v: Outcome) -> None:
    """Send a real server's packet to the client: the destination end becomes the virtual end.

    An answer that is not over NAT has the virtual end already.

    Source
    ------
    facts: packet-path.md sections 12 and 13.2; ip_vs_core.c handle_response(), 6.1 and 6.12.
    """
    v.verdict = FORWARD
    v.reason = TRANSLATED
    v.dest = conn.dest
    v.method = conn.method
    v.new_src = conn.vaddr
    v.new_sport = conn.vport
    v.new_dst = p.dst
    v.new_dport = p.dport


@seldom
def stopped_back(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether the director as a router cannot, or must not, forward a packet; then its verdict is written.

    Rules of the chain FORWARD come last, still before IPVS.

    Source
    ------
    facts: packet-path.md sections 1 and 12; ip_forward.c ip_forward(), ip6_output.c ip6_forward(), 6.1 and 6.12.
    """
    route = t.addresses[p.dst]
    if route.no_route != 0:
        reject(t, p, NO_ROUTE, 0, v)
    elif p.ttl <= 1:
        reject(t, p, TTL_EXCEEDED, 0, v)
    elif p.length > path_limit(t, p.dst, 0) and p.may_split == 0:
        reject(t, p, MTU_EXCEEDED, 0, v)
    elif t.addresses[p.src].kept_back & (FROM_CLIENTS if p.direction == IN else FROM_SERVERS) != 0:
        decide(v, DROP, FORWARD_DROPPED, 0)
    else:
        return False
    return True
