"""What holds in every history."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim import Director
from lbsim.packet.build import build_packet
from lbsim.traffic.packets import from_bytes
from tests.engine.audit import audit
from tests.engine.histories import ALL_SYSCTLS, Step, histories, play, random_history
from tests.oracles.director import End, Seen, Sent
from tests.playbook import START
from tests.sides import MARKS, EngineSide, checksums_are_right, packet


class Audited(EngineSide):
    """A side that looks through its tables after every step."""

    def advance(self, tick: int) -> None:
        super().advance(tick)
        audit(self.director._host.tables)

    def receive(self, sent: Sent) -> Seen:
        seen = super().receive(sent)
        audit(self.director._host.tables)
        return seen


class Faithful(EngineSide):
    """A side that remembers where each connection went."""

    def __init__(self) -> None:
        super().__init__()
        self.home: dict[tuple[str, End, End], End | None] = {}

    def receive(self, sent: Sent) -> Seen:
        seen = super().receive(sent)
        if sent.direction != "in":
            return seen
        connection = (sent.proto, sent.src, sent.dst)
        if seen.verdict == "FORWARD" and seen.reason in ("new", "rescheduled"):
            self.home[connection] = seen.dest
        elif seen.reason == "ttl_exceeded":  # may have made an entry and not said so
            self.home.pop(connection, None)
        elif seen.verdict == "FORWARD":
            assert seen.dest == self.home.setdefault(connection, seen.dest)
        return seen


@given(sysctls=st.sampled_from(ALL_SYSCTLS), history=histories(10, 50))
def test_counters_chains_and_timers_always_fit_the_table(sysctls: dict[str, int], history: list[Step]) -> None:
    play(4, [Audited(sysctls=sysctls)], history)


@pytest.mark.parametrize("seed", [1, 2])
def test_counters_chains_and_timers_fit_the_table_in_the_long_run(seed: int) -> None:
    play(6, [Audited(sysctls=ALL_SYSCTLS[2])], random_history(seed, 600))


@given(history=histories(10, 60))
def test_a_connection_keeps_its_destination_while_it_lives(history: list[Step]) -> None:
    play(4, [Faithful()], history)


@given(history=histories(10, 50), size=st.sampled_from([1, 200]))
def test_the_size_of_the_indices_does_not_show(history: list[Step], size: int) -> None:
    small, other = EngineSide(), EngineSide()
    other.director = Director("-C\n" * size, marks=MARKS)
    play(4, [small, other], history)


@given(history=histories(10, 50), later=st.integers(0, 2**30))
def test_apart_from_the_timer_wheels_phase_the_start_does_not_matter(history: list[Step], later: int) -> None:
    # 8**6 ticks later every slot of the levels in use is where it was
    moved = EngineSide()
    moved.director = Director(start_jiffies=START + later * 8**6, marks=MARKS)
    play(4, [EngineSide(), moved], history)


# NAT


@given(
    version=st.sampled_from([4, 6]),
    proto=st.sampled_from(["tcp", "udp"]),
    client=st.tuples(st.integers(1, 2**32 - 2), st.integers(1, 65535).filter(lambda port: port != 20)),
    server=st.tuples(st.integers(1, 2**24), st.integers(1, 65535)),
    payload=st.binary(max_size=64),
    ttl=st.integers(3, 255),
)
def test_nat_there_and_back_is_the_identity(
    version: int, proto: str, client: End, server: End, payload: bytes, ttl: int
) -> None:
    vip = "192.0.2.1" if version == 4 else "2001:db8::1"
    prefix = 10 << 24 if version == 4 else 0xFD << 120
    around = "{}" if version == 4 else "[{}]"
    real = ip_address((prefix + server[0]) if version == 6 else prefix + server[0] % 2**24)
    letter, number = {"tcp": ("t", 6), "udp": ("u", 17)}[proto]
    director = Director(
        f"-A -{letter} {around.format(vip)}:80 -s rr\n"
        f"-a -{letter} {around.format(vip)}:80 -r {around.format(real)}:{server[1]} -m"
    )
    src = ip_address(client[0] if version == 4 else (0x20010DB8 << 96) + (7 << 64) + client[0])
    request = build_packet(src=src, dst=vip, proto=number, sport=client[1], dport=80, flags=2, payload=payload, ttl=ttl)
    (there,) = director.receive(request).departures
    assert checksums_are_right(there.packet)
    (back,) = director.receive(mirrored(there.packet), via=str(real)).departures
    assert checksums_are_right(back.packet)
    assert without_ttl(back.packet) == without_ttl(mirrored(request))
    assert ttl_of(back.packet) == ttl - 2


def mirrored(data: bytes) -> bytes:
    """The same packet the other way round; no checksum changes by that."""
    at, size = (12, 4) if data[0] >> 4 == 4 else (8, 16)
    ports = at + 2 * size
    src, dst = data[at : at + size], data[at + size : ports]
    return data[:at] + dst + src + data[ports + 2 : ports + 4] + data[ports : ports + 2] + data[ports + 4 :]


def without_ttl(data: bytes) -> bytes:
    """The packet without TTL and IPv4 header checksum."""
    return data[:8] + data[9:10] + data[12:] if data[0] >> 4 == 4 else data[:7] + data[8:]


def ttl_of(data: bytes) -> int:
    return data[8] if data[0] >> 4 == 4 else data[7]


def test_scapy_sees_the_same_packet_there_and_back() -> None:
    director = Director("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m")
    request = build_packet(src="203.0.113.1", dst="192.0.2.1", sport=40001, dport=80, flags=24, payload=b"hello")
    director.receive(build_packet(src="203.0.113.1", dst="192.0.2.1", sport=40001, dport=80, flags=2))
    seen = from_bytes(director.receive(request).departures[0].packet)
    assert (seen.src, seen.dst, seen.sport, seen.dport, seen.ttl) == ("203.0.113.1", "10.0.0.11", 40001, 8080, 63)
    rebuilt = seen.copy()
    del rebuilt.chksum, rebuilt.payload.chksum
    assert bytes(rebuilt) == bytes(seen)


# Services that have nothing to do with each other

X_DESTS = ("10.0.0.11:80", "10.0.0.12:80", "10.0.0.13:80")
NUMBERS = st.integers(0, 255)
X_STEPS = st.lists(
    st.tuples(st.sampled_from(["packet", "packet", "packet", "weight", "scheduler", "pass"]), NUMBERS, NUMBERS),
    min_size=5,
    max_size=40,
)


def steps_of(service: str, dests: tuple[str, ...], steps: list[tuple[str, int, int]]) -> list[tuple[str, object]]:
    """Commands and packets that only concern one service."""
    address, port = service.rsplit(":", 1)
    out: list[tuple[str, object]] = []
    for kind, a, b in steps:
        if kind == "packet":
            flags = (("SYN",), ("SYN",), ("ACK",), ("FIN", "ACK"), ("RST",))[b % 5]
            client = (f"203.0.113.{1 + a % 5}", 1000 + b % 3)
            out.append(("packet", packet("tcp", client, (address, int(port)), *flags)))
        elif kind == "weight":
            out.append(("command", f"-e -t {service} -r {dests[a % len(dests)]} -m -w {b % 4}"))
        elif kind == "scheduler":
            out.append(("command", f"-E -t {service} -s {('rr', 'lc', 'sh')[a % 3]}"))
        else:
            out.append(("pass", a * 100))
    return out


def configured(side: EngineSide, *services: tuple[str, tuple[str, ...]]) -> None:
    for service, dests in services:
        side.director.run(f"-A -t {service} -s rr")
        for dest in dests:
            side.director.run(f"-a -t {service} -r {dest} -m")


def answers(side: EngineSide, steps: list[tuple[str, object]], of: str) -> list[object]:
    """What a side answers to the packets to one address."""
    seen: list[object] = []
    now = 0
    for kind, what in steps:
        if kind == "packet":
            assert isinstance(what, Sent)
            one = side.receive(what)
            seen += [one] if f"{what.dst[0]}:{what.dst[1]}" == of else []
        elif kind == "command":
            assert isinstance(what, str)
            side.director.run(what)
        else:
            assert isinstance(what, int)
            now += what
            side.advance(now)
    return seen


@given(x=X_STEPS, y=X_STEPS, data=st.data())
def test_another_service_changes_nothing(
    x: list[tuple[str, int, int]], y: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    here, there = ("192.0.2.1:80", X_DESTS), ("192.0.2.2:80", ("10.0.1.11:80", "10.0.1.12:80"))
    alone = steps_of(*here, x)
    others = [step for step in steps_of(*there, y) if step[0] != "pass"]
    mixed = list(alone)
    for step in others:
        mixed.insert(data.draw(st.integers(0, len(mixed))), step)
    first, second = EngineSide(), EngineSide()
    configured(first, here)
    configured(second, *data.draw(st.permutations([here, there])))
    assert answers(first, alone, here[0]) == answers(second, mixed, here[0])
    assert first.services()[0] == second.services()[0]
