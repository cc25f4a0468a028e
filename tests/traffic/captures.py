"""Captures for tests, written byte by byte from the formats' definitions: nothing of lbsim writes what lbsim reads."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import IN, REPLY
from lbsim.model.config import ServiceId, parse_endpoint
from lbsim.model.trace import Trace
from lbsim.traffic import pcap

SERVICE = "tcp 192.168.1.10:80"
CLIENT = "203.0.113.1"
VIRTUAL = "192.168.1.10"
SYN, ACK = 2, 16
T0 = 1_700_000_000_000_000_000  # ns, when the captures of these tests begin
CURL_NGINX = Path(__file__).parents[2] / "scenarios" / "capture" / "curl-nginx.pcap"


# --- packets --------------------------------------------------------------------------------------


def tcp(sport: int = 40001, dport: int = 80, flags: int = SYN, payload: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", sport, dport, 1000, 2000, 5 << 4, flags, 65535, 0, 0) + payload


def udp(sport: int = 40001, dport: int = 53, payload: bytes = b"") -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def ip(
    payload: bytes, src: str = CLIENT, dst: str = VIRTUAL, *, proto: int = 6, fragment: int = 0, ttl: int = 64
) -> bytes:
    """An IPv4 or IPv6 packet; ``fragment`` is the 16-bit word of flags and offset of IPv4."""
    a, b = ip_address(src).packed, ip_address(dst).packed
    if len(a) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), proto, ttl) + a + b + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, ttl, proto, 0)
    return header + a + b + payload


def ethernet(packet: bytes, ethertype: int | None = None, tags: tuple[int, ...] = ()) -> bytes:
    if ethertype is None:
        ethertype = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    vlan = b"".join(struct.pack("!HH", tag, 7) for tag in tags)
    return bytes(12) + vlan + struct.pack("!H", ethertype) + packet


REQUEST = ip(tcp())
ANSWER = ip(tcp(80, 40001, SYN | ACK), VIRTUAL, CLIENT)
ARP = ethernet(bytes(28), 0x0806)


# --- files ----------------------------------------------------------------------------------------


@dataclass
class Record:
    """A frame and its time after T0 in ns; ``kept`` cuts it, ``claims`` lies about its captured length."""

    frame: bytes
    at: int = 0
    kept: int | None = None
    claims: int | None = None


def pcap_file(
    *records: Record | bytes, order: str = "<", nanoseconds: bool = False, link: int = 1, snaplen: int = 65535
) -> bytes:
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for entry in records:
        record = entry if isinstance(entry, Record) else Record(entry)
        kept = record.frame[: record.kept]
        seconds, rest = divmod(T0 + record.at, 10**9)
        claims = len(kept) if record.claims is None else record.claims
        out += struct.pack(order + "IIII", seconds, rest // unit, claims, len(record.frame)) + kept
    return out


class Pcapng:
    """The blocks of pcapng, in one byte order."""

    def __init__(self, order: str = "<") -> None:
        self.order = order

    def block(self, kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        length = struct.pack(self.order + "I", len(body) + 12)
        return struct.pack(self.order + "I", kind) + length + body + length

    def section(self) -> bytes:
        return self.block(0x0A0D0D0A, struct.pack(self.order + "IHHq", 0x1A2B3C4D, 1, 0, -1))

    def option(self, code: int, value: bytes) -> bytes:
        return struct.pack(self.order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    def interface(self, link: int = 1, *options: bytes, snaplen: int = 0) -> bytes:
        return self.block(1, struct.pack(self.order + "HHI", link, 0, snaplen) + b"".join(options))

    def packet(self, frame: bytes, stamp: int = T0 // 1000, interface: int = 0) -> bytes:
        fields = (interface, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame))
        return self.block(6, struct.pack(self.order + "IIIII", *fields) + frame)

    def old_packet(self, frame: bytes, stamp: int = T0 // 1000, interface: int = 0) -> bytes:
        fields = (interface, 5, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame))
        return self.block(2, struct.pack(self.order + "HHIIII", *fields) + frame)

    def simple_packet(self, frame: bytes, length: int | None = None) -> bytes:
        return self.block(3, struct.pack(self.order + "I", length or len(frame)) + frame)


NG = Pcapng()
NG_START = NG.section() + NG.interface()


REQUEST_V6 = ip(tcp(), "2001:db8::1", "2001:db8::10")
COOKED = bytes(14)
COOKED_V2 = bytes(18)


THREE = (ethernet(REQUEST), ARP, ethernet(ANSWER))
EVERYTHING_NG = (
    NG.section()
    + NG.interface(1, NG.option(2, b"eth0"), NG.option(9, b"\x09"), snaplen=100)
    + NG.interface(276, NG.option(14, struct.pack("<q", 1)))
    + NG.simple_packet(ethernet(REQUEST))
    + NG.packet(ethernet(REQUEST, tags=(0x8100,)))
    + NG.packet(b"\x08\x00" + COOKED_V2 + ANSWER, interface=1)
    + NG.old_packet(ethernet(REQUEST_V6))
    + Pcapng(">").section()
    + Pcapng(">").interface(101)
    + Pcapng(">").packet(ip(tcp(), fragment=0x2000))
)
EVERYTHING = pcap_file(
    *THREE, ethernet(REQUEST_V6), ethernet(ip(tcp()[:3])), ethernet(ip(bytes(24), fragment=0x2003)),
    ethernet(ip(b"\x03\x01" + bytes(6) + ANSWER[:28], proto=1)), ethernet(REQUEST, tags=(0x88A8, 0x8100)),
)  # fmt: skip

MANY_RESOLUTIONS = (
    NG.section()
    + b"".join(
        NG.interface(1, NG.option(9, bytes([resolution])), NG.option(14, struct.pack("<q", offset)))
        for resolution, offset in ((6, 0), (9, 5), (12, 0), (0, 0), (0x80 | 10, 0), (0x80 | 40, -5), (25, 1))
    )
    + b"".join(NG.packet(ethernet(REQUEST), 3**36 << 3 * k, interface=k % 7) for k in range(2))
    + b"".join(NG.packet(ethernet(ANSWER), 10**9 * k, interface=k % 7) for k in range(14))
)
BACKWARDS = pcap_file(
    Record(ethernet(ip(tcp(1))), 5_000),
    Record(ethernet(ip(tcp(2))), 2_000),
    Record(ethernet(ip(tcp(3))), 5_000),
    Record(ethernet(ip(tcp(4))), 2_000),
)


def originals() -> list[bytes]:
    """A capture of each kind, to be mutated."""
    return [EVERYTHING, EVERYTHING_NG, MANY_RESOLUTIONS, BACKWARDS, CURL_NGINX.read_bytes()]


# --- traces -------------------------------------------------------------------------------------


class Reader:
    """Writes bytes into a file and reads it in a lane; services and mapping as text."""

    def __init__(self, path: Path, lane: Lane) -> None:
        self.path = path
        self.lane = lane

    def __call__(self, content: bytes, *services: str, mapping: dict[str, str] | None = None, start: int = 0) -> Trace:
        self.path.write_bytes(content)
        return pcap.read(
            self.path,
            services=[ServiceId.parse(text) for text in services or (SERVICE,)],
            mapping=mapping and {parse_endpoint(a): ServiceId.parse(b) for a, b in mapping.items()},
            start=start,
            lane=self.lane,
        )


def rows(trace: Trace) -> list[str]:
    """``in 203.0.113.1:40001 > 192.168.1.10:80``, one line per row."""
    return [
        f"{ {IN: 'in', REPLY: 'reply'}[int(trace['direction'][i])] } "
        f"{trace.addresses[trace['src'][i]]}:{trace['sport'][i]} > "
        f"{trace.addresses[trace['dst'][i]]}:{trace['dport'][i]}"
        for i in range(len(trace))
    ]


def flows(trace: Trace) -> list[str]:
    return [
        f"{flow.proto} {trace.addresses[flow.client]}:{flow.client_port} "
        f"{trace.addresses[flow.server]}:{flow.server_port}"
        for flow in trace.flows
    ]


def times(trace: Trace) -> list[int]:
    return trace["time"].tolist()
