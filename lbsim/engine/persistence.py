"""Persistence: a client, or its whole net, stays with the destination that it got first.

A template remembers that: an entry of the client's net and no port, with a timer of its own. Each new connection is
made through the template, is controlled by it and arms its timer anew; packets do not. A template that still controls
connections when its timer fires stays, and looks again every 60 s.

Kernel counterpart: ip_vs_core.c ip_vs_sched_persist(), ip_vs_conn.c (templates). Not modelled: persistence engines.
"""

from __future__ import annotations

from lbsim.engine.addresses import intern_address
from lbsim.engine.conntable import bind, control, hash_conn, new_conn, new_row, put, unhash_conn
from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import IP_ANY, IPV4, TEMPLATE
from lbsim.engine.records import Packet, Service, Tables
from lbsim.engine.schedulers import schedule

__all__ = ["client_net", "find_template", "mark_address", "schedule_persistent"]

FTP = 21
EVERY_BIT = 0xFFFFFFFF
NO_PORT = 0xFFFF  # of a template that is no longer valid


@kernel
def schedule_persistent(t: Tables, s: int, p: Packet, marks: int) -> int:
    """A new entry, made through the template of the client's net; 0 if that needs a destination and there is none.

    The template's destination is taken whatever its weight and its thresholds are. What the template is found by does
    not say which service made it: FTP and a service of port 0 share theirs.

    Source
    ------
    facts: packet-path.md section 9, schedulers.md section 1.7; ip_vs_core.c ip_vs_sched_persist(), 6.1 and 6.12.
    """
    service = t.services[s]
    own_port = p.dport == service.port
    proto = p.proto
    vaddr = p.dst
    vport = 0
    if own_port:
        if service.port != FTP:
            vport = p.dport
    elif service.fwmark != 0:
        proto = IP_ANY
        vaddr = mark_address(t, service)
    net = client_net(t, p.src, service.netmask)
    ct = find_template(t, proto, net, vaddr, vport)
    if ct != 0 and not _valid(t, ct):
        _invalidate(t, ct)
        ct = 0
    if ct == 0:
        d = schedule(t, s, p)
        if d == 0:
            return 0
        ct = new_row(t)
        conn = t.conns[ct]
        conn.proto = proto
        conn.caddr = net
        conn.cport = 0
        conn.vaddr = vaddr
        conn.vport = vport
        bind(t, ct, d, t.dests[d].port if own_port and service.port != FTP else 0, TEMPLATE)
        conn.timeout = service.timeout
        hash_conn(t, ct)
    d = t.conns[ct].dest
    dport = t.dests[d].port
    c = new_conn(t, p, d, dport if own_port and dport != 0 else p.dport, marks)
    control(t, c, ct)
    put(t, ct)
    return c


@kernel
def find_template(t: Tables, proto: int, net: int, vaddr: int, vport: int) -> int:
    """The newest template of that client net and virtual end, or 0.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_conn.c ip_vs_ct_in_get(), 6.1 and 6.12.
    """
    c = t.conn_heads[row_bucket(net, 0, proto, t.director[0].conn_mask)]
    while c != 0:
        conn = t.conns[c]
        if (
            conn.marks & TEMPLATE != 0
            and conn.cport == 0
            and conn.caddr == net
            and conn.vport == vport
            and conn.vaddr == vaddr
            and conn.proto == proto
        ):
            return c
        c = conn.next_same_hash
    return 0


@kernel
def _valid(t: Tables, ct: int) -> bool:
    """Whether new connections may go where the template says.

    Source
    ------
    facts: packet-path.md section 9; ip_vs_conn.c ip_vs_check_template(), 6.1 and 6.12.
    """
    dest = t.dests[t.conns[ct].dest]
    if dest.available == 0:
        return False
    return t.director[0].expire_quiescent_template == 0 or dest.weight != 0


@kernel
def _invalidate(t: Tables, ct: int) -> None:
    """Let no packet find the template any more; it stays until its timer fires.

    Source
    ------
    facts: packet-path.md section 9; ip_vs_conn.c ip_vs_check_template(), 6.1 and 6.12.
    """
    conn = t.conns[ct]
    if conn.vport != NO_PORT:
        unhash_conn(t, ct)
        conn.vport = NO_PORT
        conn.dport = NO_PORT
        hash_conn(t, ct)


@kernel
def client_net(t: Tables, a: int, netmask: int) -> int:
    """The address of the client's net: the client's own if the mask has every bit.

    Parameters
    ----------
    netmask : a mask as a number (IPv4) or a prefix length (IPv6).

    Source
    ------
    facts: packet-path.md section 9; ip_vs_core.c ip_vs_sched_persist().
    """
    row = t.addresses[a]
    if row.family == IPV4:
        if netmask == EVERY_BIT:
            return a
        return intern_address(t, IPV4, 0, 0, 0, row.word3 & netmask)
    if netmask >= 128:
        return a
    word0 = _first_bits(row.word0 + 0, netmask)
    word1 = _first_bits(row.word1 + 0, netmask - 32)
    word2 = _first_bits(row.word2 + 0, netmask - 64)
    return intern_address(t, row.family, word0, word1, word2, _first_bits(row.word3 + 0, netmask - 96))


@kernel
def _first_bits(word: int, bits: int) -> int:
    """The word with all but its first bits cleared."""
    if bits <= 0:
        return 0
    if bits >= 32:
        return word
    return word >> (32 - bits) << (32 - bits)


@kernel
def mark_address(t: Tables, service: Service) -> int:
    """The virtual address of a template of a service by firewall mark: the mark itself, in an address's first bytes.

    Source
    ------
    facts: packet-path.md sections 7.5 and 9; ip_vs_core.c ip_vs_sched_persist(), ip_vs.h ip_vs_addr_set().
    """
    if service.family == IPV4:
        return intern_address(t, IPV4, 0, 0, 0, service.fwmark)
    return intern_address(t, service.family, service.fwmark, 0, 0, 0)
