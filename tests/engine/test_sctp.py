"""SCTP: facts, packet-path.md sections 6 and 7.3."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim import Director
from lbsim.engine import sctp
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import IN, INACTIVE
from lbsim.engine.sctp_chunks import INIT
from lbsim.host import EngineHost
from lbsim.live import Answer
from lbsim.model.config import AddDest, AddService, DestId, DirectorConfig, EditDest, Persistence, ServiceId
from lbsim.packet.build import ip_packet
from tests.engine.test_sctp_chunks import TYPES

V, A, C = "192.0.2.1", "10.0.0.11", "203.0.113.1"
SERVICE = ServiceId("sctp", ip_address(V), 80)


def naive_crc(data: bytes) -> bytes:
    """CRC-32C by long division of the reflected polynomial, lowest byte first."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def segment(sport: int, dport: int, *chunks: str, rest: bytes = b"") -> bytes:
    """A packet with these chunks; ``COOKIE-ECHO:5`` is five bytes long and padded."""
    body = b""
    for chunk in chunks:
        name, _, size = chunk.partition(":")
        length = int(size or 4)
        body += (bytes([TYPES[name], 0]) + length.to_bytes(2, "big")).ljust((length + 3) // 4 * 4, b"\0")
    head = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(4)
    body += rest
    return head + naive_crc(head + bytes(4) + body) + body


def director(**sysctls: int) -> Director:
    made = Director(DirectorConfig((AddService(SERVICE, "rr"),)), sysctls=sysctls)
    made.run(AddDest(SERVICE, DestId(ip_address(A), 8080)))
    return made


def packet(src: str, dst: str, content: bytes) -> bytes:
    return ip_packet(ip_address(src).packed, ip_address(dst).packed, 132, content)


def send(to: Director, *chunks: str, rest: bytes = b"") -> Answer:
    return to.receive(packet(C, V, segment(4000, 80, *chunks, rest=rest)))


def reply(to: Director, *chunks: str) -> Answer:
    return to.receive(packet(A, C, segment(8080, 4000, *chunks)), via=A)


def state(of: Director) -> tuple[str, int]:
    (row,) = of.connections()
    return row.state, row.expires


def activity(of: Director) -> tuple[int, int]:
    dest = of.services()[0].dests[0]
    return dest.active, dest.inactive


def test_an_association_from_its_first_chunk_to_its_last() -> None:
    d = director()
    assert send(d, "INIT").reason == "new"
    assert (state(d), activity(d)) == (("INIT1", 4), (0, 1))
    assert reply(d, "INIT-ACK").reason == "translated"
    assert (state(d), activity(d)) == (("C-SENT", 61), (0, 1))
    assert send(d, "COOKIE-ECHO:6", "DATA").reason == "known"
    assert state(d) == ("C-REPLIED", 61)
    reply(d, "COOKIE-ACK")
    assert (state(d), activity(d)) == (("ESTABLISHED", 900), (1, 0))
    send(d, "DATA:20")
    assert state(d) == ("ESTABLISHED", 900)
    send(d, "SHUTDOWN")
    assert (state(d), activity(d)) == (("S-RECEIVED", 61), (0, 1))
    reply(d, "SHUTDOWN-ACK")
    assert state(d) == ("S-ACK-SENT", 61)
    send(d, "SHUTDOWN-COMPLETE")
    assert state(d) == ("CLOSED", 61)
    assert send(d, "INIT").reason == "rescheduled"
    assert [row.state for row in d.connections()] == ["CLOSED", "INIT1"]  # the old one goes with the next tick


def test_ports_change_and_the_crc_with_them() -> None:
    d = director()
    (there,) = send(d, "INIT:20").departures
    assert there.packet[20:] == segment(4000, 8080, "INIT:20")
    (back,) = reply(d, "INIT-ACK:20").departures
    assert back.packet[20:] == segment(80, 4000, "INIT-ACK:20")


def test_a_wrong_crc_stays_if_no_port_changes() -> None:
    d = director()
    d.run(AddDest(SERVICE, DestId(ip_address("10.0.0.12"), 80)))
    wrong = segment(4000, 80, "INIT")[:8] + bytes(4) + segment(4000, 80, "INIT")[12:]
    (there,) = d.receive(packet(C, V, wrong)).departures
    assert (there.to, there.packet[20:]) == ("10.0.0.12", wrong)


@pytest.mark.parametrize(
    ("chunks", "sloppy", "reason"),
    [
        (["DATA"], 0, "not_syn"), (["DATA"], 1, "new"), (["ABORT"], 1, "not_syn"), (["COOKIE-ECHO", "ABORT"], 1, "new"),
        (["COOKIE-ECHO", "ABORT"], 0, "not_syn"), ([], 1, "header_cut"),
    ],
)  # fmt: skip
def test_what_may_open_an_association(chunks: list[str], sloppy: int, reason: str) -> None:
    assert send(director(sloppy_sctp=sloppy), *chunks).reason == reason


def test_an_abort_behind_a_cookie_is_an_abort() -> None:
    d = director(sloppy_sctp=1)
    send(d, "COOKIE-ECHO", "ABORT")
    assert state(d) == ("CLOSED", 61)


def test_a_packet_without_a_chunk_arms_the_timer_and_nothing_else() -> None:
    d = director()
    send(d, "INIT")
    d.advance(2)
    assert send(d).reason == "known"
    assert state(d) == ("INIT1", 4)


@pytest.mark.parametrize(("reuse", "reason"), [(0, "known"), (1, "rescheduled")])
def test_an_init_on_a_closed_association(reuse: int, reason: str) -> None:
    d = director(conn_reuse_mode=reuse)
    send(d, "INIT")
    send(d, "ABORT")
    assert state(d)[0] == "CLOSED"
    assert send(d, "DATA").reason == "known"
    assert send(d, "INIT").reason == reason


def test_an_init_leaves_a_destination_of_weight_0() -> None:
    d = director(expire_nodest_conn=1)
    send(d, "INIT")
    d.run(EditDest(SERVICE, DestId(ip_address(A), 8080), weight=0))
    assert send(d, "DATA").reason == "known"
    assert send(d, "INIT").reason == "no_dest"


def test_an_established_association_assures_its_template() -> None:
    d = Director(DirectorConfig((AddService(SERVICE, "rr", (), Persistence(100)),)))
    d.run(AddDest(SERVICE, DestId(ip_address(A), 8080)))
    for step in (send(d, "INIT"), reply(d, "INIT-ACK"), send(d, "COOKIE-ECHO")):
        assert step.verdict.name == "FORWARD"
    assert sorted(row.state for row in d.connections()) == ["C-REPLIED", "NONE"]
    reply(d, "COOKIE-ACK")
    assert sorted(row.state for row in d.connections()) == ["ASSURED", "ESTABLISHED"]


def test_all_transitions_are_there() -> None:
    assert len(sctp.next_states()) == 3 * 14 * 16
    assert sctp.timeouts(250) == [500, 1000, *[15250] * 6, 225000, *[15250] * 3, 1000, 15250]


def test_both_lanes_step_alike(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    conn = host.tables.conns[1]
    conn.marks = INACTIVE
    lane.function(sctp.step_sctp)(host.tables, 1, INIT, IN)
    assert (sctp.STATES[conn.state], conn.timeout) == ("INIT1", 1000)
