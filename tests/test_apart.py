"""Services of one trace in several processes: the same result, to the last byte."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim import apart, parse, simulate
from lbsim.apart import groups_of_packets, groups_of_services, simulate_apart
from lbsim.config import parse_command
from lbsim.engine.numbers import IN, OUT, REPLY, TCP, UDP
from lbsim.errors import LbsimError
from lbsim.model.config import AddService, DirectorConfig, ServiceId, TimedCommand
from lbsim.model.quotes import QUOTE_TYPES, Quotes
from lbsim.model.result import Result
from lbsim.model.trace import Flow, Trace
from tests.traces import EVERY_SHAPE

SECOND = 1_000_000_000
SERVICES = ("-t 192.0.2.1:80", "-t 192.0.2.1:443", "-u 192.0.2.1:53", "-t 192.0.2.2:80")
PORTS = {0: (TCP, 1, 80), 1: (TCP, 1, 443), 2: (UDP, 1, 53), 3: (TCP, 2, 80), 4: (TCP, 1, 81)}  # 4: no service


def config(schedulers: tuple[str, ...] = ("rr", "lc", "sh", "lc"), *, shared: bool = False) -> DirectorConfig:
    """Four services with three destinations each, at different real servers."""
    lines = []
    for n, (service, scheduler) in enumerate(zip(SERVICES, schedulers, strict=True)):
        lines.append(f"-A {service} -s {scheduler}")
        for server in range(3):
            host = 9 if shared and n in (0, 3) and server == 0 else 10 + n
            lines.append(
                f"-a {service} -r 10.0.{host}.{server + 1}:{80 if n in (0, 3) else 0} -m -w {(server + 1) % 3}"
            )
    return parse("\n".join(lines))


def traffic(seed: int, packets: int = 900, *, shapes: tuple[int, ...] = EVERY_SHAPE) -> Trace:
    """Packets of 60 flows to the four services and to a port without one: requests and both kinds of answers."""
    random = Random(seed)
    addresses = ["203.0.113.1", "192.0.2.1", "192.0.2.2", *(f"203.0.113.{n}" for n in range(2, 9))]
    servers = {f"10.0.{host}.{n}": 10 + 3 * host + n for host in (9, 10, 11, 12, 13) for n in (1, 2, 3)}
    addresses += servers
    number = {address: n for n, address in enumerate(addresses)}
    flows = []
    for n in range(60):
        proto, virtual, port = PORTS[n % 5]
        flows.append(Flow(proto, (0, *range(3, 10))[n % 8], 1000 + n // 40, virtual, port))
    columns = Trace.empty_columns(packets)
    times = sorted(random.randrange(300 * SECOND) for _ in range(packets))
    for i in range(packets):
        at = random.randrange(60)
        flow = flows[at]
        direction = random.choice((IN, IN, IN, REPLY, REPLY, OUT))
        client, virtual = (flow.client, flow.client_port), (flow.server, flow.server_port)
        host = random.choice((9, 10 + min(at % 5, 3)))
        server = (number[f"10.0.{host}.{random.randrange(1, 4)}"], flow.server_port)
        source, target = {IN: (client, virtual), REPLY: (virtual, client), OUT: (server, client)}[direction]
        row = {
            "time": times[i], "flow": at, "direction": direction, "proto": flow.proto, "length": 60 + at,
            "flags": random.choice((2, 2, 16, 24, 17, 4)), "ttl": random.choice((64, 64, 64, 1)),
            "shape": random.choice(shapes),
            "src": source[0], "sport": source[1], "dst": target[0], "dport": target[1],
        }  # fmt: skip
        for name, value in row.items():
            columns[name][i] = value
    return Trace(columns, [ip_address(a) for a in addresses], flows, left_out={"arp": 2}, damage="cut")


TIMELINE = [
    TimedCommand(50 * SECOND, parse_command("-e -t 192.0.2.1:80 -r 10.0.10.2:80 -m -w 0")),
    TimedCommand(60 * SECOND, parse_command("-a -t 192.0.2.1:443 -r 10.0.11.9 -m -w 5")),
    TimedCommand(70 * SECOND, parse_command("-a -t 192.0.2.1:443 -r 10.0.11.9 -m -w 5")),  # refused: it is there
    TimedCommand(80 * SECOND, parse_command("-A -t 192.0.2.2:443 -s rr")),
    TimedCommand(90 * SECOND, parse_command("-E -t 192.0.2.2:80 -s rr")),
]
OPTIONS: dict[str, Any] = {
    "timeline": TIMELINE,
    "moments": [SECOND, 100 * SECOND, 200 * SECOND],
    "samples": 7,
    "scenario": "apart",
    "seed": 3,
    "sysctls": {"expire_nodest_conn": 1},
    "start_jiffies": 4_294_900_000,
}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are worked on one after another in this process: the same, without the time that processes take."""

    def one_after_another(work: Any, things: Any, _jobs: int, **_options: Any) -> Any:
        yield from map(work, things)

    monkeypatch.setattr(apart, "side_by_side", one_after_another)


def assert_same(found: Result | None, wanted: Result) -> None:
    assert found is not None
    for name, column in wanted.columns.items():
        assert (found[name].dtype, found[name].tobytes()) == (column.dtype, column.tobytes()), name
    assert replace(found, columns={}) == replace(wanted, columns={})


@pytest.mark.parametrize("jobs", [2, 3, 4, 9])
@pytest.mark.usefixtures("here")
def test_the_result_is_that_of_one_run(jobs: int) -> None:
    trace = traffic(1)
    whole = simulate(config(), trace, **OPTIONS)
    assert len(whole.reason_counts()) >= 9  # the trace is worth comparing
    assert len(whole.findings) == 1
    assert_same(simulate_apart(config(), trace, jobs=jobs, **OPTIONS), whole)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    jobs=st.integers(2, 4),
    schedulers=st.tuples(*[st.sampled_from(["rr", "lc", "sh", "sh -b sh-port"])] * 4),
    until=st.none() | st.integers(0, 400 * SECOND),
    samples=st.integers(0, 9),
)
def test_any_trace_gives_the_result_of_one_run(
    seed: int, jobs: int, schedulers: tuple[str, ...], until: int | None, samples: int
) -> None:
    trace = traffic(seed, 300)
    options = OPTIONS | {"until": until, "samples": samples}
    before, apart.side_by_side = apart.side_by_side, lambda work, things, _jobs, **_: (work(thing) for thing in things)
    try:
        found = simulate_apart(config(schedulers), trace, jobs=jobs, **options)
    finally:
        apart.side_by_side = before
    assert_same(found, simulate(config(schedulers), trace, **options))


def test_processes_give_it_too() -> None:
    trace = traffic(2)
    assert_same(simulate_apart(config(), trace, jobs=2, **OPTIONS), simulate(config(), trace, **OPTIONS))


@pytest.mark.usefixtures("here")
def test_services_with_a_common_real_server_stay_together() -> None:
    shared = config(shared=True)
    groups = groups_of_services(shared, TIMELINE)
    assert {str(service): group for service, group in groups.items()} == {
        "tcp 192.0.2.1:80": 0, "tcp 192.0.2.1:443": 1, "udp 192.0.2.1:53": 2, "tcp 192.0.2.2:80": 0,
        "tcp 192.0.2.2:443": 3,
    }  # fmt: skip
    trace = traffic(3)
    assert_same(simulate_apart(shared, trace, jobs=4, **OPTIONS), simulate(shared, trace, **OPTIONS))


def test_a_real_server_that_a_service_gets_later_counts_too() -> None:
    later = [TimedCommand(SECOND, parse_command("-a -t 192.0.2.1:80 -r 10.0.13.1:80 -m"))]
    groups = groups_of_services(config(), later)
    assert {group for service, group in groups.items() if service.port == 80} == {0}


def test_a_destination_without_a_port_answers_from_that_of_its_service() -> None:
    same = parse("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:0 -m\n"
                 "-A -t 192.0.2.2:81 -s rr\n-a -t 192.0.2.2:81 -r 10.0.0.1:80 -m")  # fmt: skip
    assert set(groups_of_services(same, []).values()) == {0}


def test_chains_of_common_real_servers_are_one_group() -> None:
    lines = [f"-A -t 192.0.2.1:{n} -s rr" for n in range(1, 6)]
    for n, servers in enumerate(("ab", "c", "bd", "dc", "e"), start=1):
        lines += [f"-a -t 192.0.2.1:{n} -r 10.0.0.{ord(server)}:7 -m" for server in servers]
    assert list(groups_of_services(parse("\n".join(lines)), []).values()) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("command", ["-d -t 192.0.2.1:80 -r 10.0.10.1:80", "-D -t 192.0.2.1:443", "-C"])
def test_a_timeline_that_removes_something_is_not_split(command: str) -> None:
    timeline = [TimedCommand(SECOND, parse_command(command))]
    assert simulate_apart(config(), traffic(1), jobs=4, timeline=timeline) is None


def test_a_timeline_that_switches_drop_packet_on_is_not_split() -> None:
    for name, split in (("drop_packet", False), ("sloppy_tcp", True)):
        timeline = [TimedCommand(SECOND, parse_command(f"sysctl -w net.ipv4.vs.{name}=3"))]
        assert (simulate_apart(config(), traffic(1), jobs=4, timeline=timeline) is not None) == split


@pytest.mark.usefixtures("here")
def test_a_tunable_that_is_set_in_mid_run_is_set_for_all() -> None:
    commands = ("expire_nodest_conn=0", "conn_reuse_mode=0", "sloppy_tcp=1", "secure_tcp=3")
    timeline = [
        TimedCommand((20 + i) * SECOND, parse_command(f"sysctl -w net.ipv4.vs.{c}")) for i, c in enumerate(commands)
    ]
    trace, options = traffic(1), OPTIONS | {"timeline": timeline}
    assert_same(simulate_apart(config(), trace, jobs=3, **options), simulate(config(), trace, **options))


def test_a_flow_with_packets_to_two_groups_is_not_split() -> None:
    trace = traffic(1, shapes=(0,))
    groups = groups_of_services(config(), [])
    assert groups_of_packets(trace, config(), [], groups) is not None
    trace.columns["flow"][:] = 0
    assert groups_of_packets(trace, config(), [], groups) is None
    assert simulate_apart(config(), trace, jobs=4) is None


@pytest.mark.parametrize("jobs", [0, 1])
def test_without_several_jobs_nothing_is_split(jobs: int) -> None:
    assert simulate_apart(config(), traffic(1), jobs=jobs) is None


def test_one_service_or_none_is_not_split() -> None:
    assert simulate_apart(parse("-A -t 192.0.2.1:80 -s rr"), traffic(1), jobs=4) is None
    assert simulate_apart(parse(""), traffic(1), jobs=4) is None


def test_without_packets_of_several_services_nothing_is_split() -> None:
    assert simulate_apart(config(), traffic(1, 0), jobs=4) is None


def test_parts_have_about_equally_many_packets() -> None:
    # the largest first, each to the part that has least: 9 and 5, 4 to the 5, 3 to the first 9, 1 to the other
    assert apart._packed(np.array([5, 1, 9, 4, 3]), 2).tolist() == [1, 1, 0, 1, 0]


def killed(_part: object) -> Result:
    raise SystemExit(3)  # no answer


def test_a_part_whose_process_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_simulated", killed)
    with pytest.raises(LbsimError, match="its process ended early"):
        simulate_apart(config(), traffic(1), jobs=2)


def services_of(*services: ServiceId) -> DirectorConfig:
    return DirectorConfig(tuple(AddService(service, "rr") for service in services))


@pytest.mark.parametrize(("port", "groups"), [(80, 2), (0, 1), (21, 1)])
def test_services_of_several_ports_stay_with_all_others(port: int, groups: int) -> None:
    web = ServiceId("tcp", ip_address("192.0.2.2"), 80)
    made = services_of(web, ServiceId("tcp", ip_address("192.0.2.1"), port))
    assert len(set(groups_of_services(made, ()).values())) == groups
    assert len(set(groups_of_services(services_of(web, ServiceId.marked(1)), ()).values())) == 1


@pytest.mark.usefixtures("here")
def test_a_trace_with_icmp_errors_is_not_split_and_none_whose_bytes_are_needed() -> None:
    trace = traffic(1)
    assert simulate_apart(config(), trace, jobs=2) is not None
    assert simulate_apart(config(), trace, jobs=2, mtu={ip_network("10.0.0.0/8"): 1400}) is None
    error = Quotes({name: np.zeros(1, dtype=kind) for name, kind in QUOTE_TYPES.items()})
    assert simulate_apart(config(), replace(trace, quotes=error), jobs=2) is None


def test_drop_packet_counts_the_packets_of_all_services() -> None:
    assert simulate_apart(config(), traffic(1), jobs=2, sysctls={"drop_packet": 3}) is None
