"""Admin commands: facts, schedulers.md sections 4 to 6, packet-path.md section 11.3."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim.config import parse
from lbsim.engine.errnos import EEXIST, EINVAL, ENOENT, ESRCH
from lbsim.engine.lanes import Lane
from lbsim.engine.services import find_service, hooked_in
from lbsim.host import EngineHost
from lbsim.model.config import AddService, DeleteService, ServiceId
from tests.playbook import Playbook

# Services


def test_a_service_is_found_by_protocol_address_and_port(lane: Lane) -> None:
    host = EngineHost(lane=lane, expected_rows=1)  # 64 buckets: services share some
    keys = [
        (protocol, f"192.0.2.{n}", port) for protocol in ("tcp", "udp") for n in range(1, 9) for port in (80, 81, 443)
    ]
    for protocol, address, port in keys:
        assert host.apply(AddService(ServiceId(protocol, ip_address(address), port), "rr")) == ""
    find = host.lane.function(find_service)
    numbers = {"tcp": 6, "udp": 17}
    found = [find(host.tables, numbers[p], host.intern(ip_address(a)), port, 0) for p, a, port in keys]
    assert found == list(range(1, 49))
    assert find(host.tables, 6, host.intern(ip_address("192.0.2.1")), 82, 0) == 0


def test_a_service_cannot_be_added_twice(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").add_service("tcp V:80 lc").refused("Service already exists")
    play.listing("tcp V:80 rr: A")


def test_protocols_and_ports_make_different_services(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "udp V:80 lc", "B", "tcp V:81 sh", "C")
    play.listing("tcp V:80 rr: A", "tcp V:81 sh: C", "udp V:80 lc: B")


def test_editing_a_service_replaces_scheduler_and_flags(play: Playbook) -> None:
    play.config("tcp V:80 sh sh-port", "A").edit_service("tcp V:80 sh sh-fallback")
    play.listing("tcp V:80 sh sh-fallback: A").edit_service("tcp V:80 lc").listing("tcp V:80 lc: A")


def test_editing_a_service_keeps_destinations_connections_and_counters(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B weight 2").send("c1 SYN").expect("FORWARD B new").edit_service("tcp V:80 lc")
    play.send("c1 ACK").expect("FORWARD B known").listing("tcp V:80 lc: B A").totals(V={"conns": 1, "in_packets": 2})


@pytest.mark.parametrize("edit", ["edit_service", "delete_service"])
def test_a_missing_service_can_be_neither_edited_nor_deleted(play: Playbook, edit: str) -> None:
    play.config("tcp V:80 rr")
    getattr(play, edit)("udp V:80 rr" if edit == "edit_service" else "udp V:80").refused("No such service")
    play.listing("tcp V:80 rr:")


def test_deleting_one_of_many_services_leaves_the_others_findable(lane: Lane) -> None:
    host = EngineHost(lane=lane, expected_rows=1)
    ids = [ServiceId("tcp", ip_address("192.0.2.1"), port) for port in range(1, 200)]
    for service in ids:
        host.apply(AddService(service, "rr"))
    for service in ids[::2]:
        host.apply(DeleteService(service))
    assert [row.service for row in host.services()] == [str(service) for service in ids[1::2]]
    assert host.apply(AddService(ids[0], "rr")) == ""
    assert host.apply(AddService(ids[1], "rr")) == "EEXIST"


def test_clearing_deletes_every_service(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "udp W:53 lc", "B").clear().listing().clear().listing()


def test_connections_survive_the_deletion_of_their_service(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "tcp W:80 rr").send("c1 SYN").expect("FORWARD A new").delete_service("tcp V:80")
    play.table("c1 SYN_RECV A 60")


def test_error_numbers_are_the_kernels() -> None:
    assert (ENOENT, ESRCH, EEXIST, EINVAL) == (-2, -3, -17, -22)


def test_ipvs_looks_at_a_family_only_while_it_has_services(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    ends = [host.intern(ip_address(text)) for text in ("198.51.100.1", "2001:db8:9::1")]

    def looked_at() -> list[bool]:
        return [bool(lane.function(hooked_in)(host.tables, a)) for a in ends]

    assert looked_at() == [False, False]
    for line, expected in (
        ("-A -t 192.168.1.10:80 -s rr", [True, False]),
        ("-A -f 1 -6 -s rr", [True, True]),
        ("-D -t 192.168.1.10:80", [False, True]),
    ):
        for command in parse(line).commands:
            assert host.apply(command) == ""
        assert looked_at() == expected
