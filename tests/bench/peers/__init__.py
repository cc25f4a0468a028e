"""Others that do a part of what lbsim does, measured in the same run."""

from __future__ import annotations

__all__ = ["COMPARED"]

#: The row of a peer, the row of lbsim that it is compared with, and how many times as fast that shall be.
COMPARED = (
    ("scapy: dissect, NAT, rebuild", "capture to rewritten capture", 500),
    ("dpkt: parse", "capture to decisions", 30),
    ("dict of flows in Python, rr", "rr, compiled", None),
    ("nftables NAT of this kernel", "capture to decisions", None),
    ("nftables NAT of this kernel, without the sender", "capture to decisions", 6),
    ("IPVS of Linux 6.1, emulated", "capture to decisions", None),
)
