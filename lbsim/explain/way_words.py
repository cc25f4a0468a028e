"""Sentences about a packet's way: what it quotes, how it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbsim.model.wording import counted

if TYPE_CHECKING:
    from lbsim.model.explanation import Explained, Explanation, HeaderChange

__all__ = ["hops", "icmp_name", "leaving", "own_error", "quoting"]

_SUMS = {
    "ip": "IP",
    "quoted ip": "the quoted packet's IP",
    "tcp": "TCP",
    "udp": "UDP",
    "sctp": "SCTP",
    "icmp": "ICMP",
}


def hops(p: Explained) -> str:
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


# What the director sends itself


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
            f"that its routing takes for {header.via}, and begin with the same {hops(e.packet)}.",
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
    # whether it was 0 the engine does not know: it has no use for checksums
    unsummed = "If its UDP checksum was 0, which means that it has none, it does not stay so: one is computed."
    return [f"{whole}.", changed, *([unsummed] if "udp" in header.checksums else [])]


def _passed_on(e: Explanation, header: HeaderChange) -> list[str]:
    made = "The director makes an error of the same kind about the packet inside the tunnel's"
    return [f"{made}, and sends it from {header.new[0]} to {header.new[1]}."]


def _changed(e: Explanation, header: HeaderChange) -> str:
    """TTL and checksums."""
    before, after = header.ttl
    name = hops(e.packet)
    ttl = f"the {name} stays {before}" if before == after else f"{name} {before} becomes {after}"
    if not header.checksums:
        return f"{ttl}, no checksum changes" if header.old != header.new else ttl
    sums = [_SUMS[name] for name in header.checksums]
    listed = " and ".join([", ".join(sums[:-1])] * (len(sums) > 1) + sums[-1:])
    return f"{ttl}, and the checksum{'s' * (len(sums) > 1)} of {listed} follow{'s' * (len(sums) == 1)}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
