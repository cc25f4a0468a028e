"""Sentences about a packet's way: what it quotes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbsim.model.explanation import Explained, Explanation

__all__ = ["icmp_name", "quoting"]


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
