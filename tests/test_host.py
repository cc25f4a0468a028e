"""The engine's host: names, numbers and sizes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from lbsim import Director
from lbsim.config import parse_command
from lbsim.engine.lanes import Lane, interpreted_lane
from lbsim.engine.numbers import IN, TCP, WHOLE
from lbsim.engine.profile import SYSCTLS
from lbsim.engine.records import Outcome, Packet
from lbsim.errors import ConfigError
from lbsim.host import EngineHost, profile_named, sysctl_values
from lbsim.model.config import (
    AddDest,
    AddService,
    DestId,
    EditService,
    Persistence,
    ServiceId,
    SetSysctl,
    SetTimeouts,
    Tunnel,
)
from lbsim.model.listing import ListedDest, ListedService, Timeouts
from lbsim.model.result import ConnRow, Counters, Destination, DestRow, ServiceOptions, ServiceRow
from lbsim.packet.build import build_packet

SECOND = 1_000_000_000
WEB = """
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.0.11:80 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.12:8080 -m
"""


def hosting(text: str = WEB, **options: Any) -> EngineHost:
    host = EngineHost(**options)
    for line in text.strip().splitlines():
        assert host.apply(parse_command(line)) == "", line
    return host


def client_sends(host: EngineHost, *ports: int, flags: int = 2, at: int = 0) -> list[int]:
    """A client's packets to the first service, one per port; the reasons of their verdicts."""
    packets, outcomes = host.lane.table(Packet, len(ports)), host.lane.table(Outcome, len(ports))
    for p, port in zip(packets, ports, strict=True):
        p.tick, p.direction, p.shape, p.proto, p.tcp_flags, p.ttl = host.tick(at), IN, WHOLE, TCP, flags, 64
        p.src, p.sport = host.intern(ip_address("203.0.113.1")), port
        p.dst, p.dport, p.length = host.intern(ip_address("192.0.2.1")), 80, 40
    host.receive_block(packets, outcomes, len(ports))
    return [int(v.reason) for v in outcomes]


# Names


def test_a_profile_has_a_name() -> None:
    assert profile_named("linux-6.12.117").name == "linux-6.12.117"


def test_an_unknown_profile_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        profile_named("linux-6.1")
    assert str(caught.value) == (
        "unknown profile 'linux-6.1', did you mean 'linux-6.1.0'? "
        "expected one of: linux-6.1.0, linux-6.1.192, linux-6.12.0, linux-6.12.117"
    )


@pytest.mark.parametrize("name", ["sloppy_tcp", "net.ipv4.vs.sloppy_tcp", "net/ipv4/vs/sloppy_tcp"])
def test_a_tunable_may_be_named_as_sysctl_names_it(name: str) -> None:
    assert sysctl_values({name: 1}) == sysctl_values({}) | {"sloppy_tcp": 1}


@pytest.mark.parametrize("given", [None, {}])
def test_tunables_that_are_not_given_have_the_kernels_defaults(given: dict[str, int] | None) -> None:
    assert sysctl_values(given) == {name: known.default for name, known in SYSCTLS.items() if known.switch}


def test_an_unknown_tunable_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="expected one of: am_droprate, amemthresh, backup_only, cache_bypass"):
        sysctl_values({"net.ipv4.vs.secure": 3})


def test_a_value_that_a_tunable_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="the kernel refuses"):
        sysctl_values({"net.ipv4.vs.secure_tcp": 4})


def test_a_tunable_without_effect_is_taken() -> None:
    assert sysctl_values({"snat_reroute": 0}) == sysctl_values({})


def test_tunables_reach_the_engine() -> None:
    row = EngineHost(sysctls={"conn_reuse_mode": 0, "expire_nodest_conn": 1, "sloppy_tcp": 1}).tables.director[0]
    assert (row.conn_reuse_mode, row.expire_nodest_conn, row.sloppy_tcp) == (0, 1, 1)


@pytest.mark.parametrize("name", [name for name, known in SYSCTLS.items() if known.switch])
def test_a_tunable_may_be_set_in_mid_run(name: str, lane: Lane) -> None:
    host, least = EngineHost(lane=lane), (SYSCTLS[name].kernel or (0, 0))[0]
    for value in (1, max(least, 0)):
        assert host.apply(SetSysctl(name, value)) == ""
        assert getattr(host.tables.director[0], name) == value


def test_in_mid_run_the_kernels_refusals_are_answers_and_others_errors() -> None:
    host = EngineHost()
    assert host.apply(SetSysctl("drop_packet", 4)) == "EINVAL"
    assert host.apply(SetSysctl("sync_ports", 3)) == "EINVAL"
    assert host.apply(SetSysctl("sync_ports", 4)) == ""
    for name, value, why in (
        ("conntrack", 1, "not modelled"),
        ("est_cpulist", 1, "not modelled"),
        ("no", 1, "expected one of"),
    ):
        with pytest.raises(ConfigError, match=why):
            host.apply(SetSysctl(name, value))


@pytest.mark.parametrize(("profile", "error"), [("linux-6.1.192", "ENOENT"), ("linux-6.12.117", "")])
def test_a_tunable_that_a_kernel_does_not_have_is_not_found(profile: str, error: str) -> None:
    assert EngineHost(profile=profile).apply(SetSysctl("est_nice", 3)) == error


def test_secure_tcp_changes_what_happens_to_entries_that_are_there(lane: Lane) -> None:
    """facts: packet-path.md section 7.1: what answers with SYN moves SYN_RECV to SYNACK in the secure table only."""
    director = Director("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m", lane=lane)
    states = []
    for port, (before, after) in enumerate([(0, 3), (3, 0), (0, 2), (3, 3)], start=1000):
        director.run(f"sysctl -w net.ipv4.vs.secure_tcp={before}")
        director.receive(build_packet(src="203.0.113.1", dst="192.0.2.1", sport=port, dport=80, flags=2))
        director.run(f"sysctl -w net.ipv4.vs.secure_tcp={after}")
        answer = build_packet(src="10.0.0.1", dst="203.0.113.1", sport=80, dport=port, flags=18)
        assert director.receive(answer, via="10.0.0.1").reason == "translated"
        states += [row.state for row in director.connections() if row.client.endswith(f":{port}")]
    assert states == ["SYNACK", "SYN_RECV", "SYN_RECV", "SYNACK"]


def test_names_of_ends_and_services_have_brackets_for_ipv6() -> None:
    host = hosting("-A -u [2001:db8::1]:53 -s rr")
    assert host.service_name(1) == "udp [2001:db8::1]:53"
    assert host.endpoint(host.intern(ip_address("10.0.0.1")), 80) == "10.0.0.1:80"


# Time


@pytest.mark.parametrize(
    ("time", "tick"), [(0, 1000), (3_999_999, 1000), (4_000_000, 1001), (SECOND, 1250), (10**17, 1000 + 25 * 10**9)]
)
def test_a_moment_lies_in_a_tick(time: int, tick: int) -> None:
    assert EngineHost(start_jiffies=1000).tick(time) == tick


def test_without_a_start_the_machine_has_just_booted() -> None:
    assert EngineHost().tick(0) == 2**32 - 300 * 250


def test_the_clock_of_a_new_host_stands_at_its_start() -> None:
    assert EngineHost(start_jiffies=7).tables.director[0].now == 7


# Addresses


def test_an_address_has_one_id(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    first = host.intern(ip_address("10.0.0.1"))
    assert host.intern(ip_address("10.0.0.2")) == first + 1
    assert host.intern(ip_address("10.0.0.1")) == first
    assert host.address(first) == ip_address("10.0.0.1")


def test_equal_numbers_of_two_families_are_two_addresses() -> None:
    host = EngineHost()
    assert host.intern(ip_address("0.0.0.1")) != host.intern(ip_address("::1"))


def test_there_is_room_for_many_addresses(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    ids = [host.intern(ip_address(0x0A000000 + n)) for n in range(500)]
    assert ids == list(range(1, 501))
    assert host.tables.addresses[500].word3 == 0x0A000000 + 499


def test_the_directors_own_addresses_are_known() -> None:
    host = hosting()
    host.own(ip_address("10.0.0.1"))
    local = [host.intern(ip_address(text)) for text in ("10.0.0.1", "192.0.2.1", "10.0.0.11")]
    assert [host.tables.addresses[a].local for a in local] == [1, 1, 0]


# Commands


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("-A -t 192.0.2.1:80 -s lc", "EEXIST"),
        ("-E -t 192.0.2.2:80 -s lc", "ESRCH"),
        ("-D -t 192.0.2.2:80", "ESRCH"),
        ("-a -t 192.0.2.1:80 -r 10.0.0.11:80 -m", "EEXIST"),
        ("-a -t 192.0.2.2:80 -r 10.0.0.11:80 -m", "ESRCH"),
        ("-a -t 192.0.2.1:80 -r 224.0.0.1:80 -m", "EINVAL"),
        ("-e -t 192.0.2.1:80 -r 10.0.0.13:80 -m", "ENOENT"),
        ("-d -t 192.0.2.1:80 -r 10.0.0.13:80", "ENOENT"),
        ("-E -t 192.0.2.1:80 -s sh -b sh-port", ""),
        ("-e -t 192.0.2.1:80 -r 10.0.0.11:80 -m", ""),
        ("-d -t 192.0.2.1:80 -r 10.0.0.11:80", ""),
        ("-D -t 192.0.2.1:80", ""),
        ("-C", ""),
    ],
)
def test_the_kernels_answer_to_a_command(command: str, error: str, lane: Lane) -> None:
    assert hosting(lane=lane).apply(parse_command(command)) == error


def test_there_is_room_for_many_services_and_destinations(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    for n in range(1, 31):
        assert host.apply(parse_command(f"-A -t 192.0.2.1:{n} -s sh")) == ""
        for m in range(1, 11):
            assert host.apply(parse_command(f"-a -t 192.0.2.1:{n} -r 10.0.{n}.{m}:80 -m")) == ""
    rows = host.services()
    assert [row.service for row in rows] == [f"tcp 192.0.2.1:{n}" for n in range(1, 31)]
    assert [dest.dest for dest in rows[29].dests] == [f"10.0.30.{m}:80" for m in range(10, 0, -1)]


# Packets


def test_there_is_room_for_every_packet_of_a_block(lane: Lane) -> None:
    host = hosting(lane=lane)
    client_sends(host, *range(1000, 4000))
    assert len(host.connections()) == 3000
    assert set(client_sends(host, *range(1000, 4000), flags=16)) == {2}  # known, all of them


def test_the_buckets_grow_with_the_table() -> None:
    host = hosting()
    host.room_for(5000)
    heads = len(host.tables.conn_heads)
    assert heads == 8192
    assert host.tables.director[0].conn_mask == 8191


def test_room_that_is_there_is_left_alone() -> None:
    host = hosting()
    host.room_for(10)
    before = host.tables
    host.room_for(10)
    assert host.tables is before


@pytest.mark.parametrize(("flows", "rows"), [(0, 1), (1, 1), (7, 7)])
def test_there_is_room_for_flows(flows: int, rows: int, lane: Lane) -> None:
    host = EngineHost(lane=lane)
    host.room_for_flows(flows)
    assert len(host.tables.flows) == rows


# Tables, readable


def test_a_service_is_shown_with_its_destinations_newest_first(lane: Lane) -> None:
    host = hosting(lane=lane)
    client_sends(host, 40001, 40002, 40003)
    assert host.services() == (
        ServiceRow(
            "tcp 192.0.2.1:80",
            "rr",
            (),
            Counters(3, 3, 0, 120, 0),
            (
                DestRow("10.0.0.12:8080", 1, 2, 0, Counters(2, 2, 0, 80, 0)),
                DestRow("10.0.0.11:80", 3, 1, 0, Counters(1, 1, 0, 40, 0)),
            ),
        ),
    )


def test_a_service_is_shown_with_its_options_and_its_destinations_thresholds(lane: Lane) -> None:
    host = hosting(
        """
        -A -t 192.0.2.1:80 -s rr -p 600 -M 255.255.255.0
        -a -t 192.0.2.1:80 -r 10.0.0.11:80 -m -x 100 -y 80
        -a -t 192.0.2.1:80 -r 10.0.0.12:80 -g -x 100
        -A -u 192.0.2.1:53 -s rr -o --pe sip
        -A -u 192.0.2.1:5060 -s rr -p --pe sip -o
        """,
        lane=lane,
    )
    web, dns, sip = host.services()
    assert web.options == ServiceOptions(Persistence(600, 0xFFFFFF00))
    assert dns.options == ServiceOptions(one_packet=True)  # without persistence nothing lists the engine
    assert sip.options == ServiceOptions(Persistence(360, 0xFFFFFFFF), "sip", one_packet=True)
    # one that was not given is listed as 0
    assert [(dest.method, dest.upper, dest.lower) for dest in web.dests] == [("droute", 100, 0), ("masq", 100, 80)]
    host.apply(parse_command("-E -t 192.0.2.1:80 -s rr"))
    host.apply(parse_command("-e -t 192.0.2.1:80 -r 10.0.0.11:80 -m"))
    edited = host.services()[0]
    assert (edited.options, edited.dests[1].upper, edited.dests[1].lower) == (ServiceOptions(), 0, 0)


def test_services_are_shown_by_family_address_protocol_and_port() -> None:
    ends = ["-t [2001:db8::1]:80", "-u 192.0.2.1:53", "-t 192.0.2.1:443", "-t 192.0.2.1:80", "-t 10.0.0.1:80"]
    host = hosting("\n".join(f"-A {end} -s sh -b sh-port,sh-fallback" for end in ends))
    assert [row.service for row in host.services()] == [
        "tcp 10.0.0.1:80",
        "tcp 192.0.2.1:80",
        "tcp 192.0.2.1:443",
        "udp 192.0.2.1:53",
        "tcp [2001:db8::1]:80",
    ]
    assert host.services()[0].flags == ("sh-fallback", "sh-port")


def test_the_connection_table_is_sorted_by_protocol_and_ends(lane: Lane) -> None:
    host = hosting(lane=lane)
    client_sends(host, 40002, 40010, 9)
    host.advance(SECOND)
    assert host.connections() == (
        ConnRow("TCP", "203.0.113.1:9", "192.0.2.1:80", "10.0.0.12:8080", "SYN_RECV", 59),
        ConnRow("TCP", "203.0.113.1:40002", "192.0.2.1:80", "10.0.0.12:8080", "SYN_RECV", 59),
        ConnRow("TCP", "203.0.113.1:40010", "192.0.2.1:80", "10.0.0.11:80", "SYN_RECV", 59),
    )


def test_activity_has_a_pair_for_every_destination_that_ever_was(lane: Lane) -> None:
    host = hosting(lane=lane)
    client_sends(host, 40001)
    host.apply(parse_command("-d -t 192.0.2.1:80 -r 10.0.0.11:80"))
    assert host.activity().tolist() == [[0, 1], [0, 0]]


def test_every_destination_that_ever_was_is_listed(lane: Lane) -> None:
    host = hosting(lane=lane)
    client_sends(host, 40001)
    host.apply(parse_command("-d -t 192.0.2.1:80 -r 10.0.0.12:8080"))
    found, index = host.destinations()
    assert found == (
        Destination("tcp 192.0.2.1:80", "10.0.0.11:80", True, 3, 0, 0, Counters()),
        Destination("tcp 192.0.2.1:80", "10.0.0.12:8080", False, 1, 1, 0, Counters(1, 1, 0, 40, 0)),
    )
    assert index == [-1, 0, 1]


def test_a_destination_that_was_forgotten_and_added_anew_is_one(lane: Lane) -> None:
    host = hosting(lane=lane)
    client_sends(host, 40001)
    host.apply(parse_command("-d -t 192.0.2.1:80 -r 10.0.0.12:8080"))
    host.advance(400 * SECOND)
    host.apply(parse_command("-a -t 192.0.2.1:80 -r 10.0.0.12:8080 -m -w 9"))
    client_sends(host, 40002, at=400 * SECOND)
    found, index = host.destinations()
    assert found[1] == Destination("tcp 192.0.2.1:80", "10.0.0.12:8080", True, 9, 1, 0, Counters(2, 2, 0, 80, 0))
    assert (len(found), index) == (2, [-1, 0, 1, 1])


def test_plain_numbers_come_out_of_either_lane(lane: Lane) -> None:
    host = hosting(lane=lane)
    client_sends(host, 40001)
    (service,) = host.services()
    numbers = [service.counters.connections, service.dests[0].weight, service.dests[0].active]
    numbers += [host.connections()[0].expires, *host.activity()[:, 0].tolist()]
    assert {type(number) for number in numbers} == {int}


# What names and numbers of commands the kernel refuses


@pytest.mark.parametrize("change", [{"scheduler": "nosuch"}, {"engine": "nosuch"}])
def test_an_unknown_scheduler_or_engine_is_refused_after_the_service_was_looked_for(change: dict[str, str]) -> None:
    # facts: ipvsadm.md section 1.7
    host = EngineHost()
    add = AddService(ServiceId.parse("tcp 192.168.1.10:80"), "rr")
    assert host.apply(replace(add, **change)) == "ENOENT"
    edit = EditService(add.service, **({"scheduler": "rr"} | change))
    assert host.apply(edit) == "ESRCH"
    assert host.apply(add) == ""
    assert host.apply(replace(add, **change)) == "EEXIST"
    assert host.apply(edit) == "ENOENT"


@pytest.mark.parametrize("timeouts", [(-1, 0, 0), (0, 2**31 // 250 + 1, 0)])
def test_timeouts_that_no_int_holds_in_ticks_are_refused(timeouts: tuple[int, int, int]) -> None:
    # facts: packet-path.md section 7.1: values < 0 or > INT_MAX/HZ
    host = EngineHost()
    assert host.apply(SetTimeouts(*timeouts)) == "EINVAL"
    assert host.timeouts() == Timeouts(900, 120, 300)
    assert host.apply(SetTimeouts(0, (2**31 - 1) // 250, 1)) == ""
    assert host.timeouts() == Timeouts(900, (2**31 - 1) // 250, 1)


# Listings


def test_a_listed_service_is_what_was_configured(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    marked = ServiceId.marked(3_000_000_000, 6)
    persistence = Persistence(300, 64)
    host.apply(AddService(marked, "sh", ("sh-port", "flag-3"), persistence=persistence, one_packet=True, engine="sip"))
    tunnel = Tunnel("gue", 6080, "csum")
    host.apply(AddDest(marked, DestId.parse("10.0.0.11:0"), "tunnel", 7, upper=100, lower=50, tunnel=tunnel))
    host.apply(AddService(ServiceId.parse("sctp [2001:db8::10]:80"), "rr"))
    assert host.listed() == (
        ListedService(ServiceId.parse("sctp [2001:db8::10]:80"), "rr"),
        ListedService(
            marked,
            "sh",
            ("sh-port", "flag-3"),
            persistence,
            "sip",
            one_packet=True,
            dests=(ListedDest(DestId.parse("10.0.0.11:0"), "tunnel", 7, 100, 50, tunnel),),
        ),
    )


# Lanes


@pytest.mark.parametrize("scheduler", ["rr", "sh", "mh", "lblc", "lblcr"])
def test_a_host_goes_on_in_another_lane(scheduler: str, lane: Lane) -> None:
    """Moved in mid-run or not: what it shows and what it does afterwards is the same."""
    text = WEB.replace("-s rr", f"-s {scheduler} -p 300")
    stays, moves = hosting(text), hosting(text, lane=lane)
    for host in (stays, moves):
        client_sends(host, *range(1000, 1200))
        client_sends(host, *range(1000, 1100), flags=4, at=SECOND)
    moves.move_to(interpreted_lane())
    assert moves.lane is interpreted_lane()
    assert (moves.connections(), moves.services()) == (stays.connections(), stays.services())
    answers = []
    for host in (stays, moves):
        host.apply(parse_command("-a -t 192.0.2.1:80 -r 10.0.0.13:80 -m"))
        answers.append(client_sends(host, *range(900, 1300), at=2 * SECOND))
        host.advance(400 * SECOND)
    assert answers[0] == answers[1]
    assert (moves.connections(), moves.services()) == (stays.connections(), stays.services())
