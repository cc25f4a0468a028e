"""Make ``fragments.pcap``, the traffic of ``fragments.lbsim.yaml``: DNS over UDP with datagrams larger than the link.

    python scenarios/udp/make-fragments.py scenarios/udp/fragments.pcap

Messages are filled up to the sizes that stand here with a record of type TXT, so that the scenario can count on them.
"""

from __future__ import annotations

import sys

from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRROPT
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

SERVICE = "192.168.1.10"
QUERY, UPDATE, SHORT, LONG, LONGEST = 40, 1900, 100, 2900, 4000  # bytes of messages
LINK = 1480  # bytes behind the IP header


def message(number: int, size: int, *, answer: bool) -> bytes:
    """A DNS message of this size that allows answers of 4096 bytes."""
    question = DNSQR(qname="example.com", qtype="TXT")
    made = DNS(id=number, qr=int(answer), qd=question, ar=DNSRROPT(rclass=4096))
    missing = size - len(bytes(made))
    if missing:
        made.an = [DNSRR(rrname=".", type=65280, ttl=60, rdata=bytes(missing - 11))]
    raw = bytes(made)
    assert len(raw) == size, f"{len(raw)} bytes, not {size}"
    return raw


def packets(client: int, number: int, size: int, *, answer: bool = False) -> list[Packet]:
    """The frames of one message from or to a client."""
    address, port = f"203.0.113.{client}", 40000 + client
    ends = {"src": SERVICE, "dst": address} if answer else {"src": address, "dst": SERVICE}
    ports = {"sport": 53, "dport": port} if answer else {"sport": port, "dport": 53}
    datagram = IP(**ends, id=number) / UDP(**ports) / message(number, size, answer=answer)
    macs = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
    return [Ether(**macs) / piece for piece in fragment(datagram, LINK)]


def main() -> None:
    """Write the capture."""
    shuffled = packets(2, 2, LONGEST, answer=True)
    frames = [
        *packets(1, 1, QUERY), *packets(1, 1, LONG, answer=True),
        *packets(2, 2, QUERY), *reversed(shuffled),
        *packets(3, 3, UPDATE), *packets(3, 3, SHORT, answer=True),
        *packets(4, 4, QUERY), *packets(4, 4, LONG, answer=True)[:1],  # the rest got lost
        *packets(1, 5, QUERY), *packets(1, 5, SHORT, answer=True),
    ]  # fmt: skip
    for k, frame in enumerate(frames):
        frame.time = 1_700_000_000 + k * 0.02
    wrpcap(sys.argv[1], frames)


if __name__ == "__main__":
    main()
