"""Reading a capture with dpkt: every packet's addresses, ports and flags."""

from __future__ import annotations

from pathlib import Path

__all__ = ["parsed"]


def parsed(path: Path, packets: int) -> list[tuple[int, bytes, int, bytes, int, int]]:
    """(time in ns, source, port, destination, port, flags) of the first packets."""
    import dpkt

    out = []
    with path.open("rb") as file:
        for (time, frame), _ in zip(dpkt.pcap.Reader(file), range(packets), strict=False):
            ip = dpkt.ethernet.Ethernet(frame).data
            tcp = ip.data
            out.append((round(time * 1_000_000_000), ip.src, tcp.sport, ip.dst, tcp.dport, tcp.flags))
    return out
