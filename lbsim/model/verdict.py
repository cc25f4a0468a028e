"""What can happen to a packet, and why: the one table of all verdicts and reasons.

A real kernel shows what becomes of a packet, but not why: its packets have the reasons of :data:`SEEN`.

The page ``docs/verdicts.md`` is generated from :data:`REASONS`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from lbsim.engine import reasons as code
from lbsim.model.address import Address

__all__ = ["REASONS", "SEEN", "Reason", "Rewrite", "Verdict", "reason_named", "reason_of", "reasons_page"]


class Verdict(IntEnum):
    """What becomes of a packet."""

    NONE = code.NONE
    FORWARD = code.FORWARD
    DROP = code.DROP
    REJECT = code.REJECT
    LOCAL = code.LOCAL
    ROUTE = code.ROUTE
    UNMODELLED = code.UNMODELLED


class Reason(NamedTuple):
    """Why a packet got its verdict: ``name`` in files and reports, ``when`` the exact condition."""

    code: int
    name: str
    verdict: Verdict
    when: str
    source: str


_BENCH = "lbsim: seen on the wires around a real kernel"

#: What is seen of a real kernel's packets; which of the other reasons it was, the kernel does not tell.
SEEN: tuple[Reason, ...] = (
    Reason(
        80, "seen_translated", Verdict.FORWARD,
        "A real kernel sent the packet on with other ends: from a client to a destination, or from a destination with "
        "the source of its service.",
        _BENCH,
    ),
    Reason(
        81, "seen_untranslated", Verdict.ROUTE,
        "A real kernel sent the packet on, and not as a packet of one of its services.",
        _BENCH,
    ),
    Reason(
        82, "seen_icmp", Verdict.REJECT,
        "A real kernel answered the sender with an ICMP error; IPVS may have done it, or the director's own stack.",
        _BENCH,
    ),
    Reason(
        83, "seen_answer", Verdict.LOCAL,
        "A real kernel answered the sender, and not with an ICMP error: the director's own stack.",
        _BENCH,
    ),
    Reason(
        84, "seen_nothing", Verdict.DROP,
        "Nothing left a real kernel: IPVS dropped the packet, or the director's own stack kept it without an answer.",
        _BENCH,
    ),
    Reason(
        85, "seen_delivered", Verdict.LOCAL,
        "A program that runs on the director got the packet from a real kernel.",
        _BENCH,
    ),
)  # fmt: skip

#: Every reason, in the order of the codes.
REASONS: tuple[Reason, ...] = (
    Reason(
        code.NEW, "new", Verdict.FORWARD,
        "From a client: no entry matched, a service did, its scheduler or a persistence template gave a destination "
        "and an entry was made. Or there was no destination, and with cache_bypass an entry without one was made, of a "
        "service by mark: the packet goes on to its own target.",
        "ip_vs_core.c ip_vs_schedule(), ip_vs_leave()",
    ),
    Reason(
        code.KNOWN, "known", Verdict.FORWARD,
        "From a client: an entry matched; the packet goes to the entry's destination, or to its own target if the "
        "entry has none (cache_bypass).",
        "ip_vs_core.c ip_vs_in()",
    ),
    Reason(
        code.RESCHEDULED, "rescheduled", Verdict.FORWARD,
        "From a client: the packet matched an entry that the kernel gives up, and made a new one as with new. Given up "
        "are, of a SYN (SCTP: INIT), a finished connection without a template (conn_reuse_mode) and one whose "
        "destination has weight 0 (expire_nodest_conn), and of any packet one whose destination was removed "
        "(expire_nodest_conn).",
        "ip_vs_core.c ip_vs_in()",
    ),
    Reason(
        code.TRANSLATED, "translated", Verdict.FORWARD,
        "From a real server: an entry matched; the source is rewritten to the virtual service, unless the entry is not "
        "over NAT: then it is that already.",
        "ip_vs_core.c handle_response()",
    ),
    Reason(
        code.ICMP_TO_DEST, "icmp_to_dest", Verdict.FORWARD,
        "An ICMP error (IPv4: unreachable, source quench, time exceeded; ICMPv6: any) about an answer of an "
        "entry: it goes to the entry's destination, over NAT with the destination end in the quoted packet, too. "
        "With schedule_icmp the entry may be a new one.",
        "ip_vs_core.c ip_vs_in_icmp()",
    ),
    Reason(
        code.ICMP_TO_CLIENT, "icmp_to_client", Verdict.FORWARD,
        "An ICMP error about a client's packet of an entry: it goes to the client, over NAT from the virtual "
        "address, with the virtual end in the quoted packet.",
        "ip_vs_core.c handle_response_icmp()",
    ),
    Reason(
        code.TUNNEL_ERROR, "tunnel_error", Verdict.FORWARD,
        "An ICMP error about a tunnel's packet: the director sends the client one about its packet inside.",
        "ip_vs_core.c ip_vs_in_icmp()",
    ),
    Reason(
        code.ICMP_ROUTED, "icmp_routed", Verdict.FORWARD,
        "As icmp_to_dest, but the director was forwarding the error when IPVS found it: its target is the director's "
        "for packets with a mark only, or not at all. Its TTL is lowered twice.",
        "ip_vs_core.c ip_vs_forward_icmp(); ip_forward.c",
    ),
    Reason(
        code.DEST_REMOVED, "dest_removed", Verdict.DROP,
        "From a client: an entry matched, but its destination was removed and expire_nodest_conn is 0. The entry's "
        "timer is not refreshed, nothing is counted.",
        "ip_vs_core.c ip_vs_in()",
    ),
    Reason(
        code.HEADER_CUT, "header_cut", Verdict.DROP,
        "The transport header is not complete (TCP 20 bytes, UDP 8, SCTP 12 and, to open a connection, a chunk's 4).",
        "ip_vs_proto_tcp.c tcp_conn_schedule(), tcp_dnat_handler(); ip_vs_proto_udp.c likewise",
    ),
    Reason(
        code.INVALID_IP, "invalid_ip", Verdict.DROP,
        "Not a valid IP packet (version, header length, total length or IPv4 header checksum): the director's IP layer "
        "drops it, IPVS never sees it. In captures a total length of 0 and a wrong header checksum are let pass: the "
        "sender's network card may have had to write them. So is a total length beyond what was captured, whatever the "
        "capture says of the length on the wire: tools that cut packets often forget it.",
        "ip_input.c ip_rcv_core(); ip6_input.c ip6_rcv_core()",
    ),
    Reason(
        code.DROP_PACKET, "drop_packet", Verdict.DROP,
        "From a client: the packet would have opened a connection, drop_packet is 3, and it was the first such one or "
        "the am_droprate-th after the last one dropped.",
        "ip_vs.h ip_vs_todrop()",
    ),
    Reason(
        code.NO_DEST_UNTOLD, "no_dest_untold", Verdict.DROP,
        "From a client: as no_dest, but over IPv4 to an address that only a routing rule makes the director's: the "
        "answer finds no source address, so nobody is told. Or an ICMP error that would open an entry (schedule_icmp).",
        "ip_vs_core.c ip_vs_leave(); icmp.c icmp_send()",
    ),
    Reason(
        code.WRONG_WAY, "wrong_way", Verdict.DROP,
        "From a client: the entry's destination is in 127.0.0.0/8 (or ::1) and over NAT, which cannot be reached "
        "from outside; or the packet comes from there, which leads to programs on the director only; or the entry has "
        "no destination (cache_bypass, IPv6) and the packet is for the director itself.",
        "ip_vs_xmit.c ip_vs_nat_xmit(), crosses_local_route_boundary()",
    ),
    Reason(
        code.ICMP_CHECKSUM, "icmp_checksum", Verdict.DROP,
        "An ICMP error about a packet of an entry, and its own checksum is wrong.",
        "ip_vs_core.c ip_vs_in_icmp(), handle_response_icmp()",
    ),
    Reason(
        code.TOO_NARROW, "too_narrow", Verdict.DROP,
        "From a client: what the route leaves for packets inside the tunnel is less than every link carries (IPv4 "
        "68 bytes, IPv6 1280).",
        "ip_vs_xmit.c __ip_vs_get_out_rt()",
    ),
    Reason(
        code.MARTIAN_SOURCE, "martian_source", Verdict.DROP,
        "From an IPv4 address that only the director itself has (unless accept_local is on), or from one that nobody "
        "has: 0.0.0.0 (unless to many), 127.0.0.0/8, 255.255.255.255, ::1, multicast. The IP layer drops it.",
        "fib_frontend.c fib_validate_source(); route.c ip_route_input_slow(); ip6_input.c ip6_rcv_core()",
    ),
    Reason(
        code.TUNNEL_NOTED, "tunnel_noted", Verdict.DROP,
        "An ICMP error about a tunnel's packet that was too large: the route's MTU is noted. The client is not "
        "told, as its packets may be sent in fragments.",
        "ip_vs_core.c ip_vs_in_icmp()",
    ),
    Reason(
        code.NO_DEST, "no_dest", Verdict.REJECT,
        "From a client: a service matched, but its scheduler has no usable destination. Answered with port "
        "unreachable, also for TCP.",
        "ip_vs_core.c ip_vs_leave()",
    ),
    Reason(
        code.TTL_EXCEEDED, "ttl_exceeded", Verdict.REJECT,
        "The TTL (hop limit) is 1 or 0. From a client to a service: counted and the entry updated all the same. From a "
        "real server, or to somebody behind the director: before IPVS sees it. Of the fragments of a datagram only the "
        "first one is answered.",
        "ip_vs_xmit.c decrement_ttl(); ip_forward.c",
    ),
    Reason(
        code.SERVER_REFUSED, "server_refused", Verdict.REJECT,
        "From a real server, whose address and port are those of a destination over NAT: no entry matches and "
        "nat_icmp_send is 1. A RST or ABORT is routed, all else answered with port unreachable; what is sent to the "
        "director itself, too.",
        "ip_vs_core.c ip_vs_out()",
    ),
    Reason(
        code.NO_ROUTE, "no_route", Verdict.REJECT,
        "There is no route to where the packet goes. From a client: counted and the entry updated all the same; "
        "answered with host unreachable.",
        "ip_vs_xmit.c __ip_vs_get_out_rt(); route.c ip_error()",
    ),
    Reason(
        code.MTU_EXCEEDED, "mtu_exceeded", Verdict.REJECT,
        "The packet is larger than the MTU of its route, for a tunnel less the tunnel's headers, and must not be "
        "fragmented (IPv6: never). From a client: counted and the entry updated all the same. Answered with "
        "fragmentation needed (packet too big).",
        "ip_vs_xmit.c ensure_mtu_is_adequate(); ip_forward.c",
    ),
    Reason(
        code.NO_NEXT_HOP, "no_next_hop", Verdict.REJECT,
        "From a client, with direct routing: the route that is kept for the destination was found for a packet over "
        "NAT or in a tunnel, as it had that method before, and does not say who the next hop is. Counted and the entry "
        "updated all the same; answered with host unreachable, by a kernel after three seconds of asking.",
        "ip_vs_xmit.c __ip_vs_get_out_rt(); arp.c arp_error_report()",
    ),
    Reason(
        code.BAD_OPTION, "bad_option", Verdict.REJECT,
        "IPv4 options that cannot be read: a length or a pointer that does not fit, an option that comes twice, or "
        "CIPSO. The IP layer answers with parameter problem, IPVS never sees the packet.",
        "ip_options.c __ip_options_compile()",
    ),
    Reason(
        code.NO_SERVICE, "no_service", Verdict.LOCAL,
        "From a client, to an address of the director: no entry and no service matches. The director's own stack "
        "answers.",
        "ip_vs_core.c ip_vs_in()",
    ),
    Reason(
        code.NOT_SYN, "not_syn", Verdict.LOCAL,
        "From a client: a TCP packet of a service without an entry that is a RST, or no SYN while sloppy_tcp is 0; an "
        "SCTP packet likewise with ABORT, INIT and sloppy_sctp. The director's own stack answers (RST to anything but "
        "a RST).",
        "ip_vs_proto_tcp.c tcp_conn_schedule(), ip_vs_proto_sctp.c sctp_conn_schedule()",
    ),
    Reason(
        code.FTP_DATA_SOURCE, "ftp_data_source", Verdict.LOCAL,
        "From a client with source port 20: never scheduled.",
        "ip_vs_core.c ip_vs_schedule()",
    ),
    Reason(
        code.OTHER_PROTOCOL, "other_protocol", Verdict.LOCAL,
        "From a client, to an address of the director: none of TCP, UDP, SCTP, AH and ESP, so not for IPVS.",
        "ip_vs_core.c ip_vs_in()",
    ),
    Reason(
        code.IPVS_OFF, "ipvs_off", Verdict.LOCAL,
        "From a client, to an address of the director: no service of this address family exists, IPVS is not hooked "
        "in.",
        "ip_vs_ctl.c ip_vs_add_service(), ip_vs_core.c ip_vs_register_hooks()",
    ),
    Reason(
        code.FTP_NO_DEST, "ftp_no_dest", Verdict.LOCAL,
        "From a client, to port 20 or one from 1024 on, which only the service of FTP (port 21) takes: there is no "
        "destination, or the service is not persistent. The director's own stack answers.",
        "ip_vs_core.c ip_vs_leave()",
    ),
    Reason(
        code.NO_IKE, "no_ike", Verdict.LOCAL,
        "From a client: an AH or ESP packet, and the two ends have no entry of UDP port 500. Such packets are never "
        "scheduled.",
        "ip_vs_proto_ah_esp.c ah_esp_conn_schedule()",
    ),
    Reason(
        code.LOCAL_DEST, "local_dest", Verdict.LOCAL,
        "From a client: the entry's destination is an address of the director itself. A socket of the director "
        "gets the packet, over NAT with the destination end; what it answers passes IPVS.",
        "ip_vs_xmit.c ip_vs_nat_xmit(), ip_vs_dr_xmit()",
    ),
    Reason(
        code.ICMP_UNRELATED, "icmp_unrelated", Verdict.LOCAL,
        "An ICMP error to an address of the director, about no packet of an entry: the director's own stack takes "
        "it.",
        "ip_vs_core.c ip_vs_in_icmp()",
    ),
    Reason(
        code.FRAGMENT_KEPT, "fragment_kept", Verdict.LOCAL,
        "A fragment: the director keeps it until the packet is complete, at most for 30 s (IPv6: 60 s). The one "
        "that completes the packet gets the verdict of the whole.",
        "ip_fragment.c ip_defrag()",
    ),
    Reason(
        code.NOT_LOCAL, "not_local", Verdict.ROUTE,
        "From a client, to an address that is not the director's: routed.",
        "ip_vs_core.c, hook LOCAL_IN",
    ),
    Reason(
        code.NO_CONNECTION, "no_connection", Verdict.ROUTE,
        "From a real server: no entry matches. The packet leaves with the real server's own address. Likewise routed "
        "are an ICMP error about no packet of an entry, and what a program on the director sends elsewhere and IPVS "
        "does not take.",
        "ip_vs_core.c ip_vs_out()",
    ),
    Reason(
        code.NOT_BALANCED, "not_balanced", Verdict.ROUTE,
        "From a real server: no service of this address family exists, or the protocol is none of TCP, UDP, SCTP, AH "
        "and ESP.",
        "ip_vs_core.c ip_vs_out()",
    ),
    Reason(
        code.LOCAL_NEW, "local_new", Verdict.LOCAL,
        "From a client: the packet made an entry whose destination is an address of the director itself. A socket of "
        "the director gets it, as with local_dest.",
        "ip_vs_xmit.c ip_vs_nat_xmit(), ip_vs_dr_xmit()",
    ),
    Reason(
        code.NO_RESPONDER, "no_responder", Verdict.NONE,
        "An answer in the trace for which there is no sender: no packet of this flow has reached a destination.",
        "lbsim: the responder is simulated",
    ),
    Reason(
        code.STRAIGHT_REPLY, "straight_reply", Verdict.NONE,
        "An answer in the trace whose sender is a destination with direct routing or a tunnel, or one that is "
        "bypassed, or whose way does not lead through the director (straight_replies): it goes straight to the client, "
        "the director never has it.",
        "packet-path facts, sections 13.3 to 13.5 and 17.3",
    ),
    Reason(
        code.TEMPLATE_ANSWERED, "template_answered", Verdict.UNMODELLED,
        "From a real server to a client's port 0, where only a persistence template matches: the kernel takes it for a "
        "connection and moves its state, which means something else there.",
        "ip_vs_conn.c ip_vs_conn_out_get()",
    ),
    Reason(
        code.MASQUERADED, "masqueraded", Verdict.UNMODELLED,
        "A packet that is routed, and not for IPVS, while a MASQUERADE rule is set for where it goes: connection "
        "tracking gives it the director's address, if it begins a connection or is of one that began so.",
        "packet-path facts, section 17.1",
    ),
    Reason(
        code.TOLD_ITSELF, "told_itself", Verdict.UNMODELLED,
        "A packet of the director itself that is refused, as a request or as an answer (nat_icmp_send): the error "
        "about it comes to IPVS, too, and may open a connection (schedule_icmp).",
        "ip_vs_core.c ip_vs_out(), ip_vs_in_icmp(); seen on 6.1.192 and 6.12.117",
    ),
    Reason(
        code.FORWARD_DROPPED, "forward_dropped", Verdict.DROP,
        "A packet that the director would have to forward, a real server's answer for example: its FORWARD rules or "
        "that chain's policy drop it, before IPVS sees it. Nothing is counted, no entry changes.",
        "ip_forward.c ip_forward(); packet-path facts, section 1",
    ),
    Reason(
        code.SOURCE_ROUTED, "source_routed", Verdict.DROP,
        "IPv4 options that tell the packet's way (loose or strict source route): the IP layer drops it, as "
        "accept_source_route is off.",
        "ip_input.c ip_rcv_options()",
    ),
    Reason(
        code.MARTIAN_TARGET, "martian_target", Verdict.DROP,
        "To 0.0.0.0, 127.0.0.0/8 or ::1, which nobody outside can mean: the IP layer drops it.",
        "route.c ip_route_input_slow(); ip6_input.c ip6_rcv_core()",
    ),
    Reason(
        code.NOT_UNICAST, "not_unicast", Verdict.LOCAL,
        "To 255.255.255.255 or a multicast address: never balanced or routed. The director's own stack takes it, if "
        "it listens there, and gives no answer.",
        "route.c ip_route_input_rcu(); ip_vs_core.c ip_vs_in()",
    ),
    Reason(
        code.TTL_UNTOLD, "ttl_untold", Verdict.DROP,
        "As ttl_exceeded, but nobody is told: the packet is an ICMP error, or over IPv4 to an address that only a "
        "routing rule makes the director's. Counted as with ttl_exceeded.",
        "icmp.c icmp_send(), ip6_icmp.c icmp6_send()",
    ),
    Reason(
        code.NO_ROUTE_UNTOLD, "no_route_untold", Verdict.DROP,
        "As no_route, but nobody is told; see ttl_untold.",
        "icmp.c icmp_send(), ip6_icmp.c icmp6_send()",
    ),
    Reason(
        code.MTU_UNTOLD, "mtu_untold", Verdict.DROP,
        "As mtu_exceeded, but nobody is told; see ttl_untold.",
        "icmp.c icmp_send(), ip6_icmp.c icmp6_send()",
    ),
    *SEEN,
)  # fmt: skip

_BY_NAME = {reason.name: reason for reason in REASONS}
_BY_CODE = {reason.code: reason for reason in REASONS}


def reason_named(name: str) -> Reason:
    """The reason of that name; KeyError if there is none (the caller lists the known ones)."""
    return _BY_NAME[name]


def reason_of(number: int) -> Reason:
    """The reason of that code."""
    return _BY_CODE[number]


#: Verdict -> what it means.
MEANINGS: dict[Verdict, str] = {
    Verdict.FORWARD: "translated and sent on",
    Verdict.DROP: "silently gone",
    Verdict.REJECT: "gone, and the director answers with an ICMP error",
    Verdict.LOCAL: "handed to the director's own network stack",
    Verdict.ROUTE: "forwarded like any router would, untouched by IPVS",
    Verdict.UNMODELLED: "lbsim does not model yet what the kernel would do",
    Verdict.NONE: "the director never had the packet: nobody was there to send it, or it went another way",
}


def reasons_page() -> str:
    """The page ``docs/verdicts.md``: every verdict, and every reason with its exact condition."""
    lines = [
        "# Verdicts and reasons",
        "",
        "Nothing a packet does raises an error: it gets a verdict, and a reason that says why. This page is generated",
        "from `lbsim.model.verdict`.",
        "",
        "| verdict | what becomes of the packet |",
        "| --- | --- |",
        *(f"| {verdict.name} | {meaning} |" for verdict, meaning in MEANINGS.items()),
        "",
        "| reason | verdict | when | kernel source |",
        "| --- | --- | --- | --- |",
        *(f"| `{r.name}` | {r.verdict.name} | {r.when} | {r.source} |" for r in REASONS),
        "",
    ]
    return "\n".join(lines)


class Rewrite(NamedTuple):
    """The header changes of a forwarded packet; ``None`` leaves a field as it is.

    The TTL (hop limit) always goes down by ``ttl_down``.
    """

    src: Address | None = None
    sport: int | None = None
    dst: Address | None = None
    dport: int | None = None
    ttl_down: int = 1
