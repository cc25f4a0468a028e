"""Make the captures of scenarios, each beside its scenario: what clients, routers and virtual services sent.

    python scenarios/make-captures.py FOLDER

FOLDER is that of the scenarios. (How capture/curl-nginx.pcap came about is written beside it.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRROPT
from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_Router_Alert,
    IPOption_SSRR,
    fragment,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

SERVICE = "192.168.1.10"
ROUTER = "198.51.100.254"
LINK = 1480  # bytes behind the IP header
EVERY = 0.02  # seconds between two packets


def client_of(number: int) -> str:
    """The address of a client."""
    return f"203.0.113.{number}"


# udp/errors: UDP answers that do not arrive, and who says so


def question(client: int) -> Packet:
    """40 bytes from a client."""
    udp = UDP(sport=40000 + client, dport=53)
    return IP(src=client_of(client), dst=SERVICE, id=client, flags="DF") / udp / Raw(bytes(40))


def answer(client: int, size: int) -> Packet:
    """So many bytes to a client."""
    udp = UDP(sport=53, dport=40000 + client)
    return IP(src=SERVICE, dst=client_of(client), id=client, flags="DF") / udp / Raw(bytes(size))


def error(source: str, kind: int, code: int, about: Packet, mtu: int = 0) -> Packet:
    """What a host says about a packet that it got: it quotes the IP header and 8 bytes more."""
    icmp = ICMP(type=kind, code=code, nexthopmtu=mtu)
    return IP(src=source, dst=SERVICE, tos=0xC0, id=1) / icmp / Raw(bytes(about)[:28])


def errors() -> list[Packet]:
    """Port unreachable, fragmentation needed, and time exceeded of what nobody here has sent."""
    return [
        question(1), answer(1, 200), error(client_of(1), 3, 3, answer(1, 200)),
        question(2), answer(2, 1400), error(ROUTER, 3, 4, answer(2, 1400), mtu=1300), answer(2, 1200),
        error(ROUTER, 11, 0, answer(9, 100)),
    ]  # fmt: skip


# udp/fragments: DNS with datagrams larger than the link

QUERY, UPDATE, SHORT, LONG, LONGEST = 40, 1900, 100, 2900, 4000  # bytes of messages


def message(number: int, size: int, *, is_answer: bool) -> bytes:
    """A DNS message that allows answers of 4096 bytes, filled up with a record to exactly this size."""
    asked = DNSQR(qname="example.com", qtype="TXT")
    made = DNS(id=number, qr=int(is_answer), qd=asked, ar=DNSRROPT(rclass=4096))
    missing = size - len(bytes(made))
    if missing:
        made.an = [DNSRR(rrname=".", type=65280, ttl=60, rdata=bytes(missing - 11))]
    raw = bytes(made)
    assert len(raw) == size, f"{len(raw)} bytes, not {size}"
    return raw


def pieces(client: int, number: int, size: int, *, is_answer: bool = False) -> list[Packet]:
    """The packets of one message from or to a client."""
    address, port = client_of(client), 40000 + client
    ends = {"src": SERVICE, "dst": address} if is_answer else {"src": address, "dst": SERVICE}
    ports = {"sport": 53, "dport": port} if is_answer else {"sport": port, "dport": 53}
    return list(fragment(IP(**ends, id=number) / UDP(**ports) / message(number, size, is_answer=is_answer), LINK))


def fragments() -> list[Packet]:
    """Messages in one piece and in several, some in another order, one without its rest."""
    return [
        *pieces(1, 1, QUERY), *pieces(1, 1, LONG, is_answer=True),
        *pieces(2, 2, QUERY), *reversed(pieces(2, 2, LONGEST, is_answer=True)),
        *pieces(3, 3, UPDATE), *pieces(3, 3, SHORT, is_answer=True),
        *pieces(4, 4, QUERY), *pieces(4, 4, LONG, is_answer=True)[:1],
        *pieces(1, 5, QUERY), *pieces(1, 5, SHORT, is_answer=True),
    ]  # fmt: skip


# udp/ipsec: key exchanges, and the ESP and AH packets of their ends


def ipsec() -> list[Packet]:
    """An ESP packet that is too early, two key exchanges, and what follows them."""
    keys = UDP(sport=500, dport=500) / Raw(bytes(100))

    def esp(number: int) -> Packet:
        return ESP(spi=0x1000, seq=number, data=bytes(40))

    ah = AH(nh=17, payloadlen=4, spi=0x2000, seq=1, icv=bytes(12)) / Raw(bytes(40))
    talk = [
        (1, "in", esp(1)), (1, "in", keys), (1, "out", keys), (2, "in", keys), (2, "out", keys),
        (1, "in", esp(2)), (1, "out", esp(1)), (2, "in", ah), (2, "out", ah), (1, "in", esp(3)),
    ]  # fmt: skip
    made = []
    for number, (client, way, content) in enumerate(talk, start=1):
        src, dst = (client_of(client), SERVICE) if way == "in" else (SERVICE, client_of(client))
        made.append(IP(src=src, dst=dst, id=number, flags="DF") / content)
    return made


# operations/ip-options: SYNs whose IPv4 headers have options


def syn(number: int, *options: IPOption) -> Packet:
    """A client's SYN."""
    ip = IP(src=client_of(1), dst=SERVICE, id=number, flags="DF", options=list(options))
    return ip / TCP(sport=40000 + number, dport=80, flags="S", seq=1000 * number)


def ip_options() -> list[Packet]:
    """Padding, a router alert, two source routes, a record route that is 1 byte long, and none."""
    return [
        syn(1, IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP()),
        syn(2, IPOption_Router_Alert()),
        syn(3, IPOption_LSRR(routers=["10.0.0.11"])),
        syn(4, IPOption_SSRR(routers=["10.0.0.11"])),
        syn(5, IPOption(b"\x07\x01\x00\x00")),
        syn(6),
    ]


CAPTURES: dict[str, Callable[[], list[Packet]]] = {
    "udp/errors": errors,
    "udp/fragments": fragments,
    "udp/ipsec": ipsec,
    "operations/ip-options": ip_options,
}


def main(folder: Path) -> None:
    """Write all captures below a folder."""
    for name, packets in CAPTURES.items():
        frames = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets()]
        for k, frame in enumerate(frames):
            frame.time = 1_700_000_000 + k * EVERY
        path = folder / f"{name}.pcap"
        path.parent.mkdir(parents=True, exist_ok=True)
        wrpcap(str(path), frames)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
