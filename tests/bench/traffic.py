"""The traffic that is measured: web requests of many clients to one service, as columns and as captures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lbsim.config import parse
from lbsim.engine.numbers import TCP
from lbsim.model.config import DirectorConfig
from lbsim.model.scenario import SyntheticTraffic
from lbsim.model.trace import Blocks, Trace
from lbsim.traffic.synthetic import generate_blocks

__all__ = ["VIP", "config_of", "steady", "web", "write_capture"]

VIP = "192.0.2.1"
CONNECTIONS_OF_A_CLIENT = 4  # that are in the table at a time, more or less
LIFETIME = 60  # seconds, on average
CLOSED = 120  # seconds: how long a closed connection stays in the table
WARM_UP = 240  # seconds after which the number of entries stays the same


def config_of(scheduler: str, dests: int = 8) -> DirectorConfig:
    """One service with so many destinations; more of its options may follow the scheduler's name."""
    weight = 65_535 if scheduler == "ovf" else 1  # it gives a destination no more connections than its weight
    lines = "".join(f"-a -t {VIP}:80 -r 10.0.0.{n}:80 -m -w {weight}\n" for n in range(11, 11 + dests))
    return parse(f"-A -t {VIP}:80 -s {scheduler}\n{lines}")


def steady(entries: int, packets: int) -> tuple[Blocks, int]:
    """Connections that come and go so that the table has so many entries; and when that begins (ns).

    They last a minute on average, and stay in TIME_WAIT for two. From then on there are at least so many packets.
    """
    per_second = entries / (LIFETIME + CLOSED)
    script = 9  # packets of a connection
    connections = int(per_second * (WARM_UP + 30)) + 2 * packets // script + 100
    clients = entries // CONNECTIONS_OF_A_CLIENT
    return web(connections, per_second, LIFETIME, clients=clients), WARM_UP * 10**9


def web(connections: int, per_second: float, lifetime: float, *, clients: int = 50_000, answer: int = 1000) -> Blocks:
    """TCP connections with a request and an answer each, of at least so many clients."""
    network = 32 - (clients + 1).bit_length()
    spec = SyntheticTraffic.model_validate(
        {
            "service": f"tcp {VIP}:80",
            "connections": connections,
            "clients": {"cidr": f"100.0.0.0/{network}"},
            "arrivals": {"poisson": per_second},
            "lifetime": {"exponential": f"{lifetime}s"},
            "tcp": {"request_bytes": min(200, answer), "answer_bytes": answer},
        }
    )
    return generate_blocks(spec, seed=1, block_packets=2**16)


def write_capture(path: Path, blocks: Iterator[Trace], packets: int) -> None:
    """An Ethernet capture of the first so many packets: IPv4 without options, TCP, data of zeros, right checksums."""
    with path.open("wb") as file:
        file.write(np.array([0xA1B23C4D, 2 | 4 << 16, 0, 0, 262144, 1], dtype="<u4").tobytes())
        for block in blocks:
            part = block.part(0, packets)
            file.write(_records(part))
            packets -= len(part)
            if not packets:
                return
    raise AssertionError(f"{packets} packets too few")


_FIELDS = (
    "sec <u4, ns <u4, caplen <u4, wirelen <u4, macs S12, type >u2, "
    "ihl_tos >u2, length >u2, id_frag >u4, ttl_proto >u2, ipsum >u2, src >u4, dst >u4, "
    "sport >u2, dport >u2, seq >u4, ack >u4, flags >u2, window >u2, tcpsum >u2, urgent >u2"
)
_ROW = np.dtype([(name, kind) for name, kind in (field.split() for field in _FIELDS.split(", "))])
_RECORD, _ETHERNET = 16, 14


def _records(trace: Trace) -> bytes:
    """The packets as records of a capture, with times in ns."""
    rows = np.zeros(len(trace), dtype=_ROW)
    ip = trace.addresses.words[:, 3]
    rows["sec"], rows["ns"] = np.divmod(trace["time"], 10**9)
    rows["caplen"] = rows["wirelen"] = trace["length"] + _ETHERNET
    rows["macs"], rows["type"] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe", 0x0800
    rows["ihl_tos"], rows["length"], rows["ttl_proto"] = 0x4500, trace["length"], 64 << 8 | TCP
    rows["src"], rows["dst"] = ip[trace["src"]], ip[trace["dst"]]
    rows["sport"], rows["dport"] = trace["sport"], trace["dport"]
    rows["seq"], rows["ack"] = trace["seq"], trace["ack"]
    rows["flags"], rows["window"] = 5 << 12 | trace["flags"].astype("i4"), 64240
    addresses = _words(rows["src"]) + _words(rows["dst"])
    rows["ipsum"] = _checksum(addresses + 0x4500 + trace["length"] + (64 << 8 | TCP))
    segment = addresses + TCP + trace["length"] - 20 + rows["sport"] + rows["dport"]
    segment += _words(rows["seq"]) + _words(rows["ack"]) + rows["flags"] + rows["window"]
    rows["tcpsum"] = _checksum(segment)
    # headers and data lie one behind the other: each packet's bytes at its place
    sizes = _RECORD + _ETHERNET + trace["length"].astype("i8")
    begins = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), dtype="u1")
    headers = rows.view("u1").reshape(len(rows), _ROW.itemsize)
    out[begins[:, np.newaxis] + np.arange(_ROW.itemsize)] = headers
    return out.tobytes()


def _words(column: np.ndarray) -> np.ndarray:
    """The sum of both halves of 32-bit numbers."""
    wide = column.astype("i8")
    return (wide >> 16) + (wide & 0xFFFF)


def _checksum(total: np.ndarray) -> np.ndarray:
    """The Internet checksum of sums of 16-bit words."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
