"""Make ``errors.pcap``, the traffic of ``errors.lbsim.yaml``: UDP answers that do not arrive, and who says so.

    python scenarios/udp/make-errors.py scenarios/udp/errors.pcap

It is taken on the clients' side: it has what clients, routers and the virtual address sent there.
"""

from __future__ import annotations

import sys

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

SERVICE = "192.168.1.10"
ROUTER = "198.51.100.254"
QUOTED = 28  # bytes: the IP header and 8 more


def question(client: int) -> Packet:
    """40 bytes from a client."""
    udp = UDP(sport=40000 + client, dport=53)
    return IP(src=f"203.0.113.{client}", dst=SERVICE, id=client, flags="DF") / udp / Raw(bytes(40))


def answer(client: int, size: int) -> Packet:
    """So many bytes to a client."""
    udp = UDP(sport=53, dport=40000 + client)
    return IP(src=SERVICE, dst=f"203.0.113.{client}", id=client, flags="DF") / udp / Raw(bytes(size))


def error(source: str, kind: int, code: int, about: Packet, mtu: int = 0) -> Packet:
    """What a host says about a packet that it got."""
    icmp = ICMP(type=kind, code=code, nexthopmtu=mtu)
    return IP(src=source, dst=SERVICE, tos=0xC0, id=1) / icmp / Raw(bytes(about)[:QUOTED])


def main() -> None:
    """Write the capture."""
    packets = [
        question(1), answer(1, 200), error("203.0.113.1", 3, 3, answer(1, 200)),
        question(2), answer(2, 1400), error(ROUTER, 3, 4, answer(2, 1400), mtu=1300), answer(2, 1200),
        error(ROUTER, 11, 0, answer(9, 100)),  # nobody here has sent that
    ]  # fmt: skip
    frames = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets]
    for k, frame in enumerate(frames):
        frame.time = 1_700_000_000 + k * 0.02
    wrpcap(sys.argv[1], frames)


if __name__ == "__main__":
    main()
