"""Made-up traffic restated in Python's own numbers, one packet after the other; lbsim.traffic.synthetic has columns."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterator

from lbsim.engine.numbers import IN, REPLY
from lbsim.model.scenario import SyntheticTraffic
from lbsim.model.trace import Trace

__all__ = [
    "FLAGS",
    "digest_of",
    "flags",
    "microsecond",
    "naive_digest",
    "naive_exponential",
    "naive_normal",
    "naive_uniform",
    "naive_words",
    "naive_zipf",
]

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}


def flags(letters: str) -> int:
    return sum(FLAGS[letter] for letter in letters)


def naive_words(seed: int, purpose: str, n: int) -> list[int]:
    key = int.from_bytes(hashlib.sha256(f"lbsim {seed} {purpose}".encode()).digest()[:8], "little")
    words = []
    for i in range(1, n + 1):
        z = (key + i * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        words.append(z ^ z >> 31)
    return words


def naive_uniform(seed: int, purpose: str, n: int) -> list[float]:
    return [((word >> 11) + 1) / 2**53 for word in naive_words(seed, purpose, n)]


def naive_exponential(seed: int, purpose: str, n: int) -> list[float]:
    return [-math.log(u) for u in naive_uniform(seed, purpose, n)]


def naive_normal(seed: int, purpose: str, n: int) -> list[float]:
    u = naive_uniform(seed, purpose, 2 * n)
    return [math.sqrt(-2 * math.log(u[2 * i])) * math.sin(2 * math.pi * u[2 * i + 1]) for i in range(n)]


def naive_zipf(seed: int, purpose: str, n: int, ranks: int, exponent: float) -> list[int]:
    total = math.fsum(k**-exponent for k in range(1, ranks + 1))
    heaped = [math.fsum(k**-exponent for k in range(1, r + 1)) / total for r in range(1, ranks + 1)]
    return [sum(h < u for h in heaped) for u in naive_uniform(seed, purpose, n)]


def microsecond(seconds: float) -> int:
    return round(seconds * 1e6) * 1000


Packet = tuple[int, int, int, int, int, int]  # time, direction, flags, payload, seq, ack


def naive_tcp(begin: int, life: int, first: tuple[int, int], half: int, spec: SyntheticTraffic) -> Iterator[Packet]:
    """One connection, closed by its client; data goes in segments of 1460 or 1440 bytes."""
    assert spec.tcp is not None
    script = spec.tcp
    segment = 1460 if spec.service.address.version == 4 else 1440
    at = {IN: first[0], REPLY: first[1]}

    def say(time: int, who: int, letters: str, payload: int = 0) -> Packet:
        seq, ack = at[who], at[REPLY if who == IN else IN] if "A" in letters else 0
        at[who] = (seq + payload + ("S" in letters) + ("F" in letters)) % 2**32
        return time, who, flags(letters), payload, seq, ack

    def data(time: int, who: int, size: int) -> Iterator[Packet]:
        for sent in range(0, size, segment):
            rest = size - sent
            yield say(time, who, "A" if rest > segment else "PA", min(rest, segment))

    yield say(begin, IN, "S")
    yield say(begin + half, REPLY, "SA")
    yield say(begin + 2 * half, IN, "A")
    last = max(life, 2 * half * (1 + script.requests))
    for request in range(script.requests):
        time = begin + 2 * half + (last - 2 * half) * request // script.requests
        yield from data(time, IN, script.request_bytes)
        yield from data(time + half, REPLY, script.answer_bytes)
        yield say(time + 2 * half, IN, "A")
    yield say(begin + last, IN, "FA")
    yield say(begin + last + half, REPLY, "FA")
    yield say(begin + last + 2 * half, IN, "A")


def naive_udp(begin: int, life: int, spec: SyntheticTraffic) -> Iterator[Packet]:
    assert spec.udp is not None
    script = spec.udp
    last = max(life, script.queries * script.rtt)
    for query in range(script.queries):
        time = begin + last * query // script.queries
        yield time, IN, 0, script.query_bytes, 0, 0
        yield time + script.rtt, REPLY, 0, script.answer_bytes, 0, 0


DIGESTED = ["time", "flow", "direction", "src", "sport", "dst", "dport"]
DIGESTED += ["proto", "flags", "length", "ttl", "seq", "ack"]


def digest(rows: list[tuple[int, ...]], addresses: list[str], flows: list[tuple[int, ...]]) -> str:
    text = hashlib.sha256()
    for row in rows:
        text.update(struct.pack("<13q", *row))
    text.update(repr((addresses, flows)).encode())
    return text.hexdigest()


def digest_of(trace: Trace) -> str:
    rows = list(zip(*(trace[name].tolist() for name in DIGESTED), strict=True))
    flows = [(f.proto, f.client, f.client_port, f.server, f.server_port) for f in trace.flows]
    return digest(rows, [str(a) for a in trace.addresses], flows)


def naive_digest(spec: SyntheticTraffic, hosts: list[str], begins: list[int], lives: list[int], seed: int) -> str:
    service = spec.service
    proto = 6 if service.protocol == "tcp" else 17
    headers = (20 if service.address.version == 4 else 40) + (20 if proto == 6 else 8)
    addresses, flows, packets = [str(service.address)], [], []
    used: Counter[str] = Counter()
    words = naive_words(seed, "sequence numbers", spec.connections)
    for number, (host, begin, life) in enumerate(zip(hosts, begins, lives, strict=True)):
        if host not in addresses:
            addresses.append(host)
        client = addresses.index(host), 32768 + used[host]
        used[host] += 1
        server = 0, service.port
        flows.append((proto, *client, *server))
        if spec.tcp is not None:
            first = words[number] // 2**32, words[number] % 2**32
            talk = naive_tcp(begin, life, first, spec.tcp.rtt // 2, spec)
        else:
            talk = naive_udp(begin, life, spec)
        for step, (time, who, flag, payload, seq, ack) in enumerate(talk):
            ends = client + server if who == IN else server + client
            row = time, number, who, *ends, proto, flag, headers + payload, 64, seq, ack
            packets.append(((time, step, number), row))
    return digest([row for _, row in sorted(packets)], addresses, flows)
