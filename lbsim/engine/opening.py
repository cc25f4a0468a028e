"""A client's packet without a connection entry: whether it may open a connection, and what becomes of it if not.

Kernel counterpart: ip_vs_core.c ip_vs_schedule(), ip_vs_leave(), and the conn_schedule functions of the protocols.
"""

from __future__ import annotations

from lbsim.engine.conntable import new_bypass, new_conn
from lbsim.engine.defence import to_drop
from lbsim.engine.forwarding import can_tell, decide
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.numbers import BY_ROUTING, CUT_HEADER, IPV4, ONE_PACKET, RST, SCTP, SYN, TCP, UDP
from lbsim.engine.persistence import schedule_persistent
from lbsim.engine.reasons import (
    DROP,
    DROP_PACKET,
    FTP_DATA_SOURCE,
    FTP_NO_DEST,
    HEADER_CUT,
    LOCAL,
    NO_DEST,
    NO_DEST_UNTOLD,
    NO_SERVICE,
    NOT_SYN,
    REJECT,
)
from lbsim.engine.records import Outcome, Packet, Tables
from lbsim.engine.schedulers import schedule
from lbsim.engine.sctp_chunks import ABORT, INIT, NO_CHUNK
from lbsim.engine.services import FTP, FTP_DATA, find_service

__all__ = ["open_entry", "try_schedule"]


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
    if to_drop(t):
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
        if t.addresses[p.src].local != 0:
            expect_answers_here(t)
    return c


@seldom
def expect_answers_here(t: Tables) -> None:
    """From now on look at all packets to the director as answers to clients on it, and at all ways of packets.

    Source
    ------
    facts: packet-path.md section 15; ip_vs_core.c ip_vs_out(), hook LOCAL_IN, 6.1 and 6.12.
    """
    t.director[0].own_clients = 1
    t.director[0].plain_length = 0


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

    An entry may bypass to an IPv4 address only if it is not the director's own. To one of IPv6 it may, but the packets
    go nowhere.

    Source
    ------
    facts: packet-path.md section 4.3, schedulers.md section 1.7 (IPv6: checked live); ip_vs_core.c ip_vs_leave(), 6.1
    and 6.12.
    """
    service = t.services[s]
    target = t.addresses[p.dst]
    by_routing = target.local == BY_ROUTING
    if t.director[0].cache_bypass != 0 and service.fwmark != 0 and (by_routing or target.family != IPV4):
        return new_bypass(t, p, marks)
    if service.port == FTP and p.dport != FTP:
        decide(v, LOCAL, FTP_NO_DEST, 0)
    elif can_tell(t, p):
        decide(v, REJECT, NO_DEST, 0)
    else:
        decide(v, DROP, NO_DEST_UNTOLD, 0)
    return 0
