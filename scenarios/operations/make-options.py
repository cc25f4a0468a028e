"""Make ``ip-options.pcap``, the traffic of ``ip-options.lbsim.yaml``: SYNs whose IPv4 headers have options.

python scenarios/operations/make-options.py scenarios/operations/ip-options.pcap
"""

from __future__ import annotations

import sys

from scapy.layers.inet import IP, TCP, IPOption, IPOption_LSRR, IPOption_NOP, IPOption_Router_Alert, IPOption_SSRR
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap


def syn(number: int, *options: IPOption) -> Packet:
    """A client's SYN."""
    ip = IP(src="203.0.113.1", dst="192.168.1.10", id=number, flags="DF", options=list(options))
    return ip / TCP(sport=40000 + number, dport=80, flags="S", seq=1000 * number)


def main() -> None:
    """Write the capture."""
    packets = [
        syn(1, IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP()),
        syn(2, IPOption_Router_Alert()),
        syn(3, IPOption_LSRR(routers=["10.0.0.11"])),
        syn(4, IPOption_SSRR(routers=["10.0.0.11"])),
        syn(5, IPOption(b"\x07\x01\x00\x00")),  # record route, 1 byte long
        syn(6),
    ]
    frames = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets]
    for k, frame in enumerate(frames):
        frame.time = 1_700_000_000 + k * 0.02
    wrpcap(sys.argv[1], frames)


if __name__ == "__main__":
    main()
