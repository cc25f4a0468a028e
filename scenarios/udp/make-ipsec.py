"""Make ``ipsec.pcap``, the traffic of ``ipsec.lbsim.yaml``: key exchanges, and the ESP and AH packets of their ends.

python scenarios/udp/make-ipsec.py scenarios/udp/ipsec.pcap
"""

from __future__ import annotations

import sys

from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

SERVICE = "192.168.1.10"
FIRST, SECOND = "203.0.113.1", "203.0.113.2"


def keys() -> Packet:
    """What a key exchange says, 108 bytes of it."""
    return UDP(sport=500, dport=500) / Raw(bytes(100))


def esp(number: int) -> Packet:
    """An ESP packet of 48 bytes."""
    return ESP(spi=0x1000, seq=number, data=bytes(40))


def ah(number: int) -> Packet:
    """An AH packet of 64 bytes."""
    return AH(nh=17, payloadlen=4, spi=0x2000, seq=number, icv=bytes(12)) / Raw(bytes(40))


def main() -> None:
    """Write the capture."""
    client, answer = {"dst": SERVICE}, {"src": SERVICE}
    packets = [
        IP(src=FIRST, **client) / esp(1),  # too early
        IP(src=FIRST, **client) / keys(), IP(dst=FIRST, **answer) / keys(),
        IP(src=SECOND, **client) / keys(), IP(dst=SECOND, **answer) / keys(),
        IP(src=FIRST, **client) / esp(2), IP(dst=FIRST, **answer) / esp(1),
        IP(src=SECOND, **client) / ah(1), IP(dst=SECOND, **answer) / ah(1),
        IP(src=FIRST, **client) / esp(3),
    ]  # fmt: skip
    for number, packet in enumerate(packets, start=1):
        packet.id, packet.flags = number, "DF"
    frames = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets]
    for k, frame in enumerate(frames):
        frame.time = 1_700_000_000 + k * 0.02
    wrpcap(sys.argv[1], frames)


if __name__ == "__main__":
    main()
