"""Of reasons that have several cases or a limit: what holds of a packet, and what its sender is told."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from lbsim.config.iptables import format_settings
from lbsim.engine import reasons
from lbsim.engine.forwarding import overhead
from lbsim.engine.numbers import (
    BY_ROUTING,
    BYPASS,
    ICMP_ERROR,
    IN,
    IPV4,
    MASQ,
    NEVER_SOURCE,
    NEVER_TARGET,
    NO_PORTS,
    OWN,
    RST,
    TCP,
    TUNNEL,
    UDP,
    WHOLE,
)
from lbsim.engine.sctp_chunks import ABORT
from lbsim.engine.services import hooked_in
from lbsim.model.config import INTERFACES, RouterSettings
from lbsim.model.explanation import Cause

if TYPE_CHECKING:
    from lbsim.engine.records import Conn, Outcome
    from lbsim.explain.names import Names
    from lbsim.explain.observing import Observed

__all__ = ["cause_of", "why_given_up"]

#: Reason -> the ICMP error that tells it, and the ICMPv6 error.
_ERRORS = {
    reasons.TTL_EXCEEDED: ("time exceeded (ICMP 11/0)", "time exceeded (ICMPv6 3/0)"),
    reasons.MTU_EXCEEDED: ("fragmentation needed (ICMP 3/4)", "packet too big (ICMPv6 2/0)"),
}
_NO_HOST = ("host unreachable (ICMP 3/1)", "address unreachable (ICMPv6 1/3)")
_NO_NET = ("network unreachable (ICMP 3/0)", "no route to destination (ICMPv6 1/0)")
_NO_SUCH_PORT = ("port unreachable (ICMP 3/3)", "port unreachable (ICMPv6 1/4)")
_NO_SUCH_PROTOCOL = ("protocol unreachable (ICMP 3/2)", "unrecognized next header (ICMPv6 4/1)")


def cause_of(seen: Observed, v: Outcome, names: Names) -> Cause | None:
    """Which case of its reason a packet is; None if there is only one, or nobody can tell."""
    told = _CAUSES.get(v.reason)
    return told(seen, v, names) if told else None


def _family(seen: Observed, names: Names) -> int:
    return int(names.tables.addresses[seen.packet.dst].family)


def _of_family(seen: Observed, names: Names, pair: tuple[str, str]) -> str:
    return pair[0] if _family(seen, names) == IPV4 else pair[1]


def _told(seen: Observed, v: Outcome, names: Names) -> str:
    """The error that the sender gets, if it gets one."""
    return _of_family(seen, names, _ERRORS[v.reason]) if v.reason in _ERRORS else ""


def _looked(seen: Observed) -> str:
    """Who found that a packet cannot go on: IPVS does so only after it has an entry."""
    return "ipvs" if seen.found or seen.made else "router"


def _conn(seen: Observed, names: Names) -> Conn:
    """The packet's entry, as it was if it is gone by now (one-packet scheduling)."""
    c = seen.made or seen.found
    return seen.last.get(c) or names.tables.conns[c]


def _only_routed_here(seen: Observed, names: Names) -> bool:
    """Whether only a routing rule made the packet's target the director's, from which nothing leaves over IPv4."""
    target = names.tables.addresses[seen.packet.dst]
    return bool(target.local == BY_ROUTING and target.family == IPV4)


def _own_stack(seen: Observed, names: Names) -> str:
    """What the director's own stack answers to a packet that is no RST: nobody listens there."""
    if _only_routed_here(seen, names):
        return ""
    if seen.packet.proto == TCP:
        return "RST"
    return _of_family(seen, names, _NO_SUCH_PORT if seen.packet.proto == UDP else _NO_SUCH_PROTOCOL)


# Entries


def _new(seen: Observed, v: Outcome, names: Names) -> Cause:
    if seen.bypass:
        return Cause(case="bypass")
    return Cause(case="template" if seen.template_before is not None and seen.decision is None else "scheduler")


def _known(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case="bypass" if _conn(seen, names).method == BYPASS else "destination")


def _rescheduled(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case=why_given_up(seen, names))


def why_given_up(seen: Observed, names: Names) -> str:
    """Why the entry that was found was given up; the engine asks for the destination's weight first."""
    if seen.given_up is None:
        return ""
    if not seen.by_state:
        return "removed"
    d = seen.given_up.dest
    quiesced = names.tables.director[0].expire_nodest_conn != 0 and d != 0 and seen.dests[d].weight == 0
    return "quiesced" if quiesced else "finished"


def _way(seen: Observed, v: Outcome, names: Names) -> Cause:
    """How the entry's packets go: over NAT their ends are written anew."""
    method = _conn(seen, names).method
    return Cause(case="masq" if method == MASQ else "bypass" if method == BYPASS else "as it is")


def _routed(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case="by mark" if names.tables.addresses[seen.packet.dst].local == BY_ROUTING else "not local")


# What opens no connection


def _not_opening(seen: Observed, v: Outcome, names: Names) -> Cause:
    p = seen.packet
    if p.proto == TCP:
        return Cause(case="rst") if p.tcp_flags & RST else Cause(case="no syn", answer=_own_stack(seen, names))
    return Cause(case="abort" if p.tcp_flags == ABORT else "no init", answer=_own_stack(seen, names))


def _ftp_data(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case=names.protocol(seen.packet.proto), answer=_own_stack(seen, names))


def _no_ftp(seen: Observed, v: Outcome, names: Names) -> Cause:
    persistent = names.tables.services[seen.service].persistent != 0
    return Cause(case="no destination" if persistent else "not persistent", answer=_own_stack(seen, names))


def _untold(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case="error" if seen.packet.shape == ICMP_ERROR else "routing rule")


def _dropped(seen: Observed, v: Outcome, names: Names) -> Cause:
    """The counter stands at 0 until the first packet is dropped, and at the rate behind each one that is."""
    if seen.drop_counter <= 0:
        return Cause(case="first", every=int(names.tables.director[0].dropped_every))
    return Cause(case="turn", every=seen.dropped_every)


def _cut(seen: Observed, v: Outcome, names: Names) -> Cause:
    shape = seen.packet.shape
    return Cause(case="ports" if shape == NO_PORTS else "chunk" if shape == WHOLE else "header")


def _no_entry(seen: Observed, v: Outcome, names: Names) -> Cause:
    if seen.packet.shape == ICMP_ERROR:
        return Cause(case="error")
    return Cause(case="director" if seen.packet.direction == OWN else "real server")


def _refused(seen: Observed, v: Outcome, names: Names) -> Cause:
    here = names.tables.addresses[seen.packet.dst].local != 0
    return Cause(case="to the director" if here else "forwarded", answer=_of_family(seen, names, _NO_SUCH_PORT))


# What stops a packet on its way


def _used_up(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case=_looked(seen), answer=_told(seen, v, names))


def _target(seen: Observed, v: Outcome, names: Names) -> int:
    """Where a packet could not go: to its destination, or to the target that it has."""
    return int(names.tables.dests[v.dest].addr if v.dest and _looked(seen) == "ipvs" else seen.packet.dst)


def _no_way(seen: Observed, v: Outcome, names: Names) -> Cause:
    looked = _looked(seen)
    pair = _NO_HOST if looked == "ipvs" else _NO_NET
    return Cause(
        case=looked,
        target=str(names.host.address(_target(seen, v, names))),
        answer=_of_family(seen, names, pair) if v.reason == reasons.NO_ROUTE else "",
    )


def _too_large(seen: Observed, v: Outcome, names: Names) -> Cause:
    t, target = names.tables, _target(seen, v, names)
    mtu = int(t.addresses[target].mtu)
    in_front = int(overhead(t, v.dest)) if v.method == TUNNEL and v.dest else 0
    return Cause(
        case=_looked(seen),
        target=str(names.host.address(target)),
        mtu=mtu,
        overhead=in_front,
        limit=mtu - in_front,
        answer=_told(seen, v, names),
    )


def _wrong_way(seen: Observed, v: Outcome, names: Names) -> Cause:
    """Only what the director itself sends is looked at for its source, and only if it goes to another host."""
    conn, p = _conn(seen, names), seen.packet
    target = p.dst if conn.method == BYPASS else conn.daddr
    if names.tables.addresses[target].local != 1:
        return Cause(case="from loopback", target=str(names.host.address(p.src)))
    case = "bypass" if conn.method == BYPASS else "to loopback"
    return Cause(case=case, target=str(names.host.address(target)))


def _odd_source(seen: Observed, v: Outcome, names: Names) -> Cause:
    odd = names.tables.addresses[seen.packet.src].odd & NEVER_SOURCE
    return Cause(case=_kind(seen.packet.src, names) if odd else "own", target=str(names.host.address(seen.packet.src)))


def _odd_target(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case=_kind(seen.packet.dst, names), target=str(names.host.address(seen.packet.dst)))


def _kind(a: int, names: Names) -> str:
    """What an address is that no single host has (``AddressRow.odd``)."""
    address = names.host.address(a)
    if names.tables.addresses[a].odd & NEVER_TARGET:
        return "nobody" if address.is_unspecified else "loopback"
    return "multicast" if address.is_multicast else "broadcast"


def _not_ours(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case="protocol" if hooked_in(names.tables, seen.packet.dst) else "no service")


def _fragment(seen: Observed, v: Outcome, names: Names) -> Cause:
    return Cause(case="IPv4" if _family(seen, names) == IPV4 else "IPv6")


def _kept_back(seen: Observed, v: Outcome, names: Names) -> Cause:
    """The chain FORWARD knows clients and real servers by the interfaces of the classic set-up."""
    p = seen.packet
    source = names.host.address(p.src)
    assert isinstance(source, IPv4Address), "there are no rules for IPv6"
    rule = names.host.router.rule_for(INTERFACES[0] if p.direction == IN else INTERFACES[1], source)
    if rule is not None:
        return Cause(case="rule", rule=format_settings(RouterSettings(forward=(rule,)))[0])
    return Cause(case="policy", rule=format_settings(RouterSettings(policies=(("FORWARD", "DROP"),)))[0])


#: Reason -> which of its cases a packet is.
_CAUSES: dict[int, Callable[[Observed, Outcome, Names], Cause]] = {
    reasons.NEW: _new,
    reasons.KNOWN: _known,
    reasons.RESCHEDULED: _rescheduled,
    reasons.TRANSLATED: _way,
    reasons.ICMP_TO_DEST: _way,
    reasons.ICMP_TO_CLIENT: _way,
    reasons.ICMP_ROUTED: _routed,
    reasons.LOCAL_NEW: _way,
    reasons.LOCAL_DEST: _way,
    reasons.NOT_SYN: _not_opening,
    reasons.FTP_DATA_SOURCE: _ftp_data,
    reasons.FTP_NO_DEST: _no_ftp,
    reasons.NO_DEST_UNTOLD: _untold,
    reasons.DROP_PACKET: _dropped,
    reasons.HEADER_CUT: _cut,
    reasons.NO_CONNECTION: _no_entry,
    reasons.SERVER_REFUSED: _refused,
    reasons.TTL_EXCEEDED: _used_up,
    reasons.TTL_UNTOLD: _used_up,
    reasons.NO_ROUTE: _no_way,
    reasons.NO_ROUTE_UNTOLD: _no_way,
    reasons.MTU_EXCEEDED: _too_large,
    reasons.MTU_UNTOLD: _too_large,
    reasons.TOO_NARROW: _too_large,
    reasons.WRONG_WAY: _wrong_way,
    reasons.MARTIAN_SOURCE: _odd_source,
    reasons.MARTIAN_TARGET: _odd_target,
    reasons.NOT_UNICAST: _odd_target,
    reasons.NOT_BALANCED: _not_ours,
    reasons.FRAGMENT_KEPT: _fragment,
    reasons.FORWARD_DROPPED: _kept_back,
}
