"""Sentences about a packet's way: what it quotes, what stops it, how it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbsim.model.config import INTERFACES
from lbsim.model.wording import counted

if TYPE_CHECKING:
    from lbsim.model.explanation import Cause, Explained, Explanation, HeaderChange

__all__ = ["cause_words", "icmp_name", "leaving", "own_error", "quoting"]

ONE_ERROR = "No error is sent about an error."
NO_SOURCE = (
    "Nobody is told: only a routing rule brought the packet to the director, which could answer from no address but "
    "the packet's own target, and that is not its own."
)
OWN_STACK = "The director's own stack gets the packet"
_SUMS = {
    "ip": "IP",
    "quoted ip": "the quoted packet's IP",
    "tcp": "TCP",
    "udp": "UDP",
    "sctp": "SCTP",
    "icmp": "ICMP",
}


def _hops(p: Explained) -> str:
    """What the field is called that every router counts down."""
    return "TTL" if p.version == 4 else "hop limit"


# ICMP errors


def icmp_name(p: Explained) -> str:
    """``icmp time exceeded (type 11, code 0)``; of all but ICMP errors the protocol alone."""
    if p.icmp is None or p.icmp.type is None:
        return p.protocol
    return f"{p.protocol} {p.icmp.name} (type {p.icmp.type}, code {p.icmp.code})"


def quoting(e: Explanation) -> list[str]:
    """What packet an ICMP error is about."""
    if e.packet.icmp is None:
        return []
    quoted = e.packet.icmp.quoted
    if quoted is None:
        return ["Which packet the error is about cannot be read."]
    return [f"The error is about a packet that was sent before: {quoted.protocol} {quoted.src} > {quoted.dst}."]


# What stops a packet


def cause_words(e: Explanation, cause: Cause) -> list[str]:
    """Which of its cases the reason is, instead of all of them."""
    match e.reason:
        case "not_syn":
            return _not_opening(e, cause)
        case "ttl_exceeded" | "ttl_untold":
            told = f"The packet came with a {_hops(e.packet)} of {e.packet.ttl}, so no router may send it on."
            return [told, _whose(e, cause), *_answered(e, cause)]
        case "mtu_exceeded" | "mtu_untold":
            return [*_too_large(e, cause), _whose(e, cause), *_answered(e, cause)]
    return _kept_back(e, cause)


def _not_opening(e: Explanation, cause: Cause) -> list[str]:
    why = {
        "rst": "a RST opens no connection",
        "no syn": "while sloppy_tcp is 0 only a SYN opens a connection: the packet is none",
        "abort": "an ABORT opens no connection",
        "no init": "while sloppy_sctp is 0 only an INIT opens a connection: the packet is none",
    }[cause.case]
    told = f"{'Its entry is given up' if e.given_up else 'No entry matches'}, and {why}."
    if not cause.answer:
        return [told, f"{OWN_STACK}, and answers nothing to a RST."]
    if cause.answer == "RST":
        return [told, f"{OWN_STACK}. It does not know the connection either, and answers with a RST."]
    return [
        told,
        f"{OWN_STACK}. Without the module sctp it does not know the protocol, and answers with {cause.answer}.",
    ]


def _too_large(e: Explanation, cause: Cause) -> list[str]:
    must = "and must not be sent in fragments" if e.packet.version == 4 else "and IPv6 routers make no fragments"
    told = [
        f"The packet has {counted(e.packet.length, 'byte')}, {must}.",
        f"The route to {cause.target} has an MTU of {counted(cause.mtu or 0, 'byte')}",
    ]
    if cause.overhead:
        told[1] += f", and the tunnel's headers take {cause.overhead} of them: {cause.limit:,} are left"
    return [told[0], f"{told[1]}."]


def _whose(e: Explanation, cause: Cause) -> str:
    if cause.case == "router":
        return "The director found that as a router, before IPVS saw the packet: nothing is counted, no entry changes."
    if e.packet.icmp is not None:
        return "IPVS found that on the way to the destination: the error was counted all the same."
    return "IPVS found that on the way to the destination: the packet was counted and its entry updated all the same."


def _answered(e: Explanation, cause: Cause) -> list[str]:
    if not cause.answer:
        return [NO_SOURCE if e.packet.icmp is None else ONE_ERROR]
    limit = f", which tells {counted(cause.limit, 'byte')} as what fits" if cause.limit is not None else ""
    return [f"The director answers with {cause.answer}{limit}."]


def _kept_back(e: Explanation, cause: Cause) -> list[str]:
    side, interface = ("clients", INTERFACES[0]) if e.packet.direction == "in" else ("real servers", INTERFACES[1])
    came = f"The packet comes in from the {side} ({interface}), and the director would have to forward it."
    dropped = (
        f"The first rule of the chain FORWARD that matches it drops it: {cause.rule}."
        if cause.case == "rule"
        else f"No rule of the chain FORWARD matches it, and the chain's policy drops it: {cause.rule}."
    )
    return [came, dropped, "That is before IPVS sees it: nothing is counted, no entry changes."]


def own_error(e: Explanation) -> list[str]:
    """Why an error that the director makes itself is counted as an answer."""
    if not any(one.counter == "out_packets" for one in e.counters):
        return []
    if e.verdict == "REJECT":
        return [
            "What is counted as out is the director's own error to the client: with direct routing and tunnels IPVS "
            "takes it for an answer of the entry."
        ]
    if e.reason == "tunnel_error":
        return [
            "What is counted as out is the same error twice: as the packet that is passed on, and as one that the "
            "director sends."
        ]
    return []


# How it leaves


def leaving(e: Explanation, header: HeaderChange) -> list[str]:
    """Who gets it, and what is another one in its headers."""
    if e.reason == "tunnel_error":
        return _passed_on(e, header)
    (src, dst), (new_src, new_dst) = header.old, header.new
    ends = f"{src} > {dst}"
    whole = ends if header.old == header.new else f"{ends} becomes {new_src} > {new_dst}"
    it = "It" if e.packet.icmp is None else "The error"
    if e.verdict == "LOCAL" or (header.method == "local" and e.packet.sender == "real server"):
        given = f"{whole}; {_changed(e, header)}" if header.checksums else "as it is"
        return [f"A socket of the director gets it: {given}."]
    if header.tunnel:
        return [
            f"{it} goes inside a packet to {header.via} ({header.tunnel} tunnel), with the ends that it has: {ends}.",
            f"{_capital(_changed(e, header))}; nothing else inside changes.",
            f"The headers in front take {counted(header.overhead, 'byte')}: they are from the director's own address "
            f"that its routing takes for {header.via}, and begin with the same {_hops(e.packet)}.",
        ]
    if header.via:
        return [
            f"{it} goes to {header.via} (direct routing) with the ends that it has: {ends}.",
            f"{_capital(_changed(e, header))}; nothing else changes.",
        ]
    changed = f"{_capital(_changed(e, header))}."
    if e.packet.icmp is not None and header.quoted:
        return [
            f"The error goes from {new_src} to {new_dst}.",
            f"The packet that it quotes has the end {header.quoted} now.",
            f"{changed} The checksum of what the quoted packet carries stays.",
        ]
    if header.old == header.new:
        return [f"{it} goes on with the ends that it has: {ends}.", changed]
    unsummed = "A UDP checksum of 0 does not stay so: it is computed."
    return [f"{whole}.", changed, *([unsummed] if "udp" in header.checksums else [])]


def _passed_on(e: Explanation, header: HeaderChange) -> list[str]:
    made = "The director makes an error of the same kind about the packet inside the tunnel's"
    return [f"{made}, and sends it from {header.new[0]} to {header.new[1]}."]


def _changed(e: Explanation, header: HeaderChange) -> str:
    """TTL and checksums."""
    before, after = header.ttl
    hops = f"the {_hops(e.packet)} stays {before}" if before == after else f"{_hops(e.packet)} {before} becomes {after}"
    if not header.checksums:
        return f"{hops}, no checksum changes" if header.old != header.new else hops
    sums = [_SUMS[name] for name in header.checksums]
    listed = " and ".join([", ".join(sums[:-1])] * (len(sums) > 1) + sums[-1:])
    return f"{hops}, and the checksum{'s' * (len(sums) > 1)} of {listed} follow{'s' * (len(sums) == 1)}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
