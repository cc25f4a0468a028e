"""Packets and switches that few directors meet: facts, packet-path.md sections 7.1 (--set), 7.4, 12, 20."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim import Director
from lbsim.engine.services import set_timeouts
from lbsim.host import EngineHost
from lbsim.model.config import (
    AddDest,
    AddService,
    DestId,
    DirectorConfig,
    EditDest,
    EditService,
    Persistence,
    ServiceId,
    SetTimeouts,
)
from lbsim.model.verdict import Rewrite
from lbsim.packet.build import build_packet, ip_packet
from lbsim.packet.headers import parse as parse_headers
from lbsim.packet.rewrite import rewrite

V, A, C = "192.0.2.1", "10.0.0.11", "203.0.113.1"
IKE = ServiceId("udp", ip_address(V), 500)
WEB = ServiceId("tcp", ip_address(V), 80)
AT_A = DestId(ip_address(A), 500)
TCP, UDP, SCTP = 6, 17, 132


def director(service: ServiceId, dest: DestId, **sysctls: int) -> Director:
    made = Director(DirectorConfig((AddService(service, "rr"), AddDest(service, dest))), sysctls=sysctls)
    made.run(AddService(ServiceId("tcp", ip_address(V), 9), "rr"))  # so that IPVS stays hooked in
    return made


def reason(of: Director, src: str, dst: str, proto: int, sport: int = 0, dport: int = 0, flags: int = 0) -> str:
    data = build_packet(src=src, dst=dst, proto=proto, sport=sport, dport=dport, flags=flags, payload=bytes(16))
    return of.receive(data, via="clients" if dst == V else src).reason


# nat_icmp_send


@pytest.mark.parametrize(
    ("switch", "port", "proto", "flags", "seen"),
    [
        (0, 80, TCP, 16, "no_connection"),
        (1, 80, TCP, 16, "server_refused"),
        (1, 81, TCP, 16, "no_connection"),
        (1, 80, UDP, 0, "no_connection"),
        (1, 80, TCP, 4, "no_connection"),
    ],
)
def test_a_servers_packet_without_entry(switch: int, port: int, proto: int, flags: int, seen: str) -> None:
    d = director(WEB, DestId(ip_address(A), 80), nat_icmp_send=switch)
    assert reason(d, A, C, proto, port, 40001, flags) == seen


@pytest.mark.parametrize(
    ("server", "to", "own", "lowered"),
    [
        ("10.0.0.11", "203.0.113.1", "10.0.0.1", 1),
        ("10.0.0.11", "192.168.1.1", "192.168.1.1", 0),
        ("fd00::11", "2001:db8:9::1", "fd00::1", 1),
        ("fd00::11", "2001:db8:1::1", "2001:db8:1::1", 0),
    ],
)
def test_who_refuses_a_server_and_what_of_its_packet_is_quoted(server: str, to: str, own: str, lowered: int) -> None:
    """As both kernels do it: about what they forward, of the director's address nearest the server."""
    virtual = "2001:db8::10" if ":" in server else V
    d = Director(
        DirectorConfig(
            (
                AddService(ServiceId("tcp", ip_address(virtual), 80), "rr"),
                AddDest(ServiceId("tcp", ip_address(virtual), 80), DestId(ip_address(server), 80)),
            )
        ),
        sysctls={"nat_icmp_send": 1},
        own=["192.168.1.1", "10.0.0.1", "2001:db8:1::1", "fd00::1"],
    )
    data = build_packet(src=server, dst=to, sport=80, dport=40001, flags=16, ttl=64, payload=bytes(16))
    (error,) = d.receive(data, via=server).departures
    kind, at = (1, 40) if ":" in server else (3, 20)
    assert error.to == server
    headers = parse_headers(error.packet)
    assert headers is not None
    assert (headers.src, headers.dst) == (ip_address(own).packed, ip_address(server).packed)
    assert error.packet[at : at + 2] == bytes([kind, 4 if ":" in server else 3])
    assert error.packet[at + 8 :] == rewrite(data, Rewrite(ttl_down=lowered))


def test_destinations_by_mark_are_of_every_protocol() -> None:
    d = director(ServiceId.marked(1), DestId(ip_address(A), 80), nat_icmp_send=1)
    assert reason(d, A, C, UDP, 80, 40001) == "server_refused"


def test_an_abort_is_routed() -> None:
    d = director(ServiceId("sctp", ip_address(V), 80), DestId(ip_address(A), 80), nat_icmp_send=1)
    for chunk, seen in ((6, "no_connection"), (0, "server_refused")):
        content = bytes([0, 80, 156, 65, *bytes(8), chunk, 0, 0, 4])
        packet = ip_packet(ip_address(A).packed, ip_address(C).packed, SCTP, content)
        assert d.receive(packet, via=A).reason == seen


# A template that is taken for a connection


def test_an_answer_to_port_0_that_only_a_template_matches_is_not_modelled() -> None:
    d = Director(DirectorConfig((AddService(WEB, "rr", (), Persistence(100)), AddDest(WEB, DestId(ip_address(A), 80)))))
    assert reason(d, C, V, TCP, 40001, 80, 2) == "new"
    assert reason(d, A, C, TCP, 80, 0, 16) == "template_answered"


# ipvsadm --set


def test_timeouts_are_set_for_entries_to_come_and_with_the_next_packet() -> None:
    d = director(WEB, DestId(ip_address(A), 80))
    for flags in (2, 16):
        reason(d, C, V, TCP, 40001, 80, flags)
    assert d.run(SetTimeouts(100, 0, 0)).status == 0
    assert d.connections()[0].expires == 900
    reason(d, C, V, TCP, 40001, 80, 16)
    assert d.connections()[0].expires == 100
    assert d.run(SetTimeouts(0, 7, 0)).status == 0
    reason(d, A, C, TCP, 80, 40001, 17)
    assert (d.connections()[0].state, d.connections()[0].expires) == ("FIN_WAIT", 7)


def test_udp_has_a_timeout_of_its_own() -> None:
    d = director(IKE, AT_A)
    d.run(SetTimeouts(0, 0, 33))
    reason(d, C, V, UDP, 500, 500)
    assert d.connections()[0].expires == 33


@pytest.mark.parametrize("wrong", [-1, 0x7FFFFFFF // 250 + 1])
def test_timeouts_that_no_int_of_ticks_holds_are_refused(wrong: int) -> None:
    tables = EngineHost().tables
    assert [set_timeouts(tables, *row) for row in ((wrong, 1, 1), (1, wrong, 1), (1, 1, wrong))] == [-22] * 3
    assert set_timeouts(tables, 0x7FFFFFFF // 250, 0, 0) == 0


# What the kernel refuses


@pytest.mark.parametrize("prefix", [0, 129])
@pytest.mark.parametrize("command", [AddService, EditService])
def test_a_prefix_length_that_ipv6_does_not_have(prefix: int, command: type[AddService] | type[EditService]) -> None:
    service = ServiceId("tcp", ip_address("2001:db8::1"), 80)
    host = EngineHost()
    if command is EditService:
        host.apply(AddService(service, "rr"))
    assert host.apply(command(service, "rr", (), Persistence(100, prefix))) == "EINVAL"


@pytest.mark.parametrize(("upper", "lower", "error"), [(1, 2, "ERANGE"), (0, 1, "ERANGE"), (1 << 31, 0, "EINVAL")])
def test_thresholds_that_cannot_be(upper: int, lower: int, error: str) -> None:
    host = EngineHost()
    host.apply(AddService(WEB, "rr"))
    assert host.apply(AddDest(WEB, AT_A, "masq", 1, upper, lower)) == error
    host.apply(AddDest(WEB, AT_A))
    assert host.apply(EditDest(WEB, AT_A, "masq", 1, upper, lower)) == error


# Thresholds and marks


def test_a_full_destination_is_used_again_below_three_quarters() -> None:
    # limit 4: again below 4 - (4 >> 2) = 3; UDP entries live 300 s and at most 16.4 s more
    d = Director(DirectorConfig((AddService(IKE, "rr"), AddDest(IKE, AT_A, upper=4))))
    for seconds in (0, 100, 200, 300):
        d.advance(seconds)
        assert reason(d, C, V, UDP, 1000 + seconds, 500) == "new"
    assert reason(d, C, V, UDP, 999, 500) == "no_dest"
    d.advance(400)  # one has gone: 3 left
    assert (len(d.connections()), reason(d, C, V, UDP, 999, 500)) == (3, "no_dest")
    d.advance(500)
    assert (len(d.connections()), reason(d, C, V, UDP, 999, 500)) == (2, "new")


def test_a_mark_that_no_service_has_means_nothing() -> None:
    services = [AddService(ServiceId.marked(mark), "rr") for mark in range(2, 400)]  # more than there are buckets
    marks = "nft add rule ip m pre meta mark set 1"
    config = DirectorConfig((*services, AddService(WEB, "rr"), AddDest(WEB, DestId(ip_address(A), 80))))
    assert reason(Director(config, marks=marks), C, V, TCP, 40001, 80, 2) == "new"
    first = Director(DirectorConfig((AddService(ServiceId.marked(1), "none"), *services)), marks=marks, own=[V])
    assert reason(first, C, V, TCP, 40001, 80, 2) == "no_dest"
