"""How a packet leaves: its ends, TTL and checksums behind the director."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbsim.engine import reasons
from lbsim.engine.forwarding import overhead
from lbsim.engine.numbers import DROUTE, ICMP_ERROR, IN, IPV4, LOCAL_NODE, OWN, SCTP, TCP, TUNNEL, UDP
from lbsim.explain.names import METHODS, TUNNELS
from lbsim.model.explanation import HeaderChange
from lbsim.model.verdict import Verdict

if TYPE_CHECKING:
    from lbsim.engine.records import Outcome, Packet
    from lbsim.explain.names import Names

__all__ = ["header_of"]

OWN_TTL = 64  # of packets that the director makes


def header_of(p: Packet, v: Outcome, names: Names) -> HeaderChange | None:
    """How a packet leaves; None if it does not, or IPVS lets it alone.

    Source: packet-path facts, sections 13.1 to 13.5, 14 and 15.
    """
    if v.new_dst <= 0 or v.verdict not in (Verdict.FORWARD, Verdict.LOCAL):
        return None
    t, d = names.tables, names.tables.dests[v.dest]
    request = p.direction in (IN, OWN)
    as_it_is = v.method in (DROUTE, TUNNEL) and request
    in_tunnel = v.method == TUNNEL and request
    return HeaderChange(
        method=METHODS[v.method],
        old=(names.place(p, p.src, p.sport), names.place(p, p.dst, p.dport)),
        new=(names.place(p, v.new_src, v.new_sport), names.place(p, v.new_dst, v.new_dport)),
        quoted=_quoted(p, v, names),
        via=str(names.host.address(d.addr)) if as_it_is and v.dest else "",
        tunnel=TUNNELS[d.tun_type] if in_tunnel else "",
        ttl=(p.ttl, _ttl(p, v, names)),
        checksums=_checksums(p, v, names),
        overhead=int(overhead(t, v.dest)) if in_tunnel and v.verdict == Verdict.FORWARD else 0,
    )


def _quoted(p: Packet, v: Outcome, names: Names) -> str:
    """The end that is another one in the packet that an ICMP error quotes: the one whose port is not 0."""
    if p.shape != ICMP_ERROR or v.reason == reasons.TUNNEL_ERROR:  # which has an MTU there
        return ""
    if v.new_sport:
        return names.end(v.new_src, v.new_sport)
    return names.end(v.new_dst, v.new_dport) if v.new_dport else ""


def _ttl(p: Packet, v: Outcome, names: Names) -> int:
    """An error that the director forwards loses one as such, and another one as IPVS sends it."""
    if v.reason == reasons.TUNNEL_ERROR:
        return OWN_TTL
    if v.verdict == Verdict.LOCAL or v.method == LOCAL_NODE:  # to and from programs on the director: not routed
        return p.ttl
    return p.ttl - (2 if v.reason == reasons.ICMP_ROUTED else 1)


def _checksums(p: Packet, v: Outcome, names: Names) -> tuple[str, ...]:
    """That of IP counts the TTL and the addresses, those of TCP and UDP addresses and ports, that of SCTP ports."""
    if v.reason == reasons.TUNNEL_ERROR:
        return ()
    v4 = names.tables.addresses[p.dst].family == IPV4
    addresses = (p.src, p.dst) != (v.new_src, v.new_dst)
    ports = (p.sport, p.dport) != (v.new_sport, v.new_dport)
    error = p.shape == ICMP_ERROR
    changed = {
        "ip": v4 and (addresses or _ttl(p, v, names) != p.ttl),
        "quoted ip": v4 and error and ports,
        "icmp": error and ports,
        "tcp": not error and p.proto == TCP and (addresses or ports),
        "udp": not error and p.proto == UDP and (addresses or ports),
        "sctp": not error and p.proto == SCTP and ports,
    }
    return tuple(name for name, is_new in changed.items() if is_new)
