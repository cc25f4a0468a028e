"""A scenario may not speak of what never exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim.errors import ScenarioError
from lbsim.scenario import load
from tests.scenario.texts import changed, line_with, write

SECOND_SERVICE = "  ipvsadm -A -u 192.168.1.10:53 -s rr\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("service: tcp 192.168.1.10:80", "service: tcp 192.168.1.10:81",
         "traffic[0].service: unknown service 'tcp 192.168.1.10:81', did you mean 'tcp 192.168.1.10:80'?"),
        ("  - sequence:", "  - service: tcp 192.168.1.99:80\n    sequence:",
         "expect[0].service: unknown service 'tcp 192.168.1.99:80', did you mean 'tcp 192.168.1.10:80'?"),
        ("[10.0.0.12:80, ", "[10.0.0.99:80, ",
         "expect[0]: tcp 192.168.1.10:80 never has it: unknown destination '10.0.0.99:80'"),
        ("share: {10.0.0.11:80:", "share: {10.0.0.11:81:",
         "expect[1]: tcp 192.168.1.10:80 never has it: unknown destination '10.0.0.11:81'"),
        ("share: {10.0.0.11:80:", "share: {10.0.0.11:", "'10.0.0.11' is no address and port"),
        ("      10.0.0.11:80:", "      10.0.0.21:80:",
         "expected one of: 10.0.0.11:80, 10.0.0.12:80, 10.0.0.13:80"),
        ("seed: 7", "profile: linux-6.2", "unknown profile 'linux-6.2', did you mean 'linux-6.12.0'?"),
        ("{conn_reuse_mode: 1}", "{net.ipv4.vs.conn_reuse_mod: 1}",
         "unknown sysctl 'conn_reuse_mod', did you mean 'conn_reuse_mode'?"),
        ("{conn_reuse_mode: 1}", "{conn_reuse_mode: 1, net.ipv4.vs.conn_reuse_mode: 0}",
         "sysctl 'conn_reuse_mode' a second time"),
        ("{conn_reuse_mode: 1}", "{est_cpulist: 0}", "net.ipv4.vs.est_cpulist is not modelled: a list of processors"),
        ("{conn_reuse_mode: 1}", "{conn_reuse_mode: 2147483648}", "expected a 32-bit number"),
        ("count: 6", "rows: [TCP * * *]", "'TCP * * *' has 4 words; expected PROTOCOL CLIENT VIRTUAL"),
        ("count: 6", "rows: [ESP * * * *]", "unknown protocol 'ESP'; expected TCP, UDP, SCTP, IP (of"),
        ("count: 6", "rows: [TCP 198.51.100.1 * * *]", "'198.51.100.1' is no address and port"),
        ("count: 6", "rows: [TCP * * * * soon]", "'soon' is no number of seconds"),
        ("show: [1s]", "show: [1s]\nuntil: 900ms", "show[0]: 1s is after the run's end (until: 0.9s)"),
        ("show: [1s]", "until: 200ms", "timeline[0].at: 0.25s is after the run's end (until: 0.2s)"),
        ("show: [1s]", "until: 900ms", "expect[3].table: 1s is after the run's end (until: 0.9s)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_is_known(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, changed(old, new)))
    assert says in str(caught.value)


def test_the_place_of_a_contradiction_is_the_name_that_is_wrong(tmp_path: Path) -> None:
    text = changed("      10.0.0.11:80:", "      10.0.0.21:80:")
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, text))
    assert (caught.value.line, caught.value.column) == (line_with("10.0.0.21", text), 7)


def test_with_several_services_an_expectation_must_name_one(tmp_path: Path) -> None:
    text = changed("  ipvsadm -A", SECOND_SERVICE + "  ipvsadm -A")
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, text))
    assert "expect[0]: missing key 'service'; expected one of: tcp 192.168.1.10:80, udp 192.168.1.10:53" in str(
        caught.value
    )


def test_a_service_that_only_the_timeline_makes_is_known(tmp_path: Path) -> None:
    text = changed("timeline:\n", "timeline:\n  - {at: 10s, run: ipvsadm -A -t 192.168.1.10:81 -s lc}\n")
    text = changed("service: tcp 192.168.1.10:80", "service: tcp 192.168.1.10:81", text)
    text = text[: text.index("expect:")]
    assert [str(service) for service in load(write(tmp_path, text)).services] == [
        "tcp 192.168.1.10:80",
        "tcp 192.168.1.10:81",
    ]


def test_a_destination_that_only_the_timeline_makes_is_known(tmp_path: Path) -> None:
    text = changed("      10.0.0.11:80:", "      10.0.0.13:80:")
    assert load(write(tmp_path, text)).scenario.name == "demo"


def test_a_destination_of_another_service_is_not_known(tmp_path: Path) -> None:
    text = changed("  ipvsadm -A", SECOND_SERVICE + "  ipvsadm -A")
    text = changed(
        "  - sequence: [10.0.0.12:80, ", "  - service: udp 192.168.1.10:53\n    sequence: [10.0.0.12:80, ", text
    )
    with pytest.raises(ScenarioError, match=r"udp 192\.168\.1\.10:53 never has it: unknown destination"):
        load(write(tmp_path, text))


@pytest.mark.parametrize(
    ("services", "says"),
    [
        ("{x: tcp 192.168.1.10:80}", "traffic[0].services: 'x' is no address and port"),
        ("{192.0.2.1:80: tcp 192.168.1.10:81}", "traffic[0].services[192.0.2.1:80]: unknown service"),
    ],
)
def test_the_server_ends_of_a_capture_stand_for_known_services(tmp_path: Path, services: str, says: str) -> None:
    (tmp_path / "a.pcap").write_bytes(b"")
    text = changed("traffic:\n", f"traffic:\n  - capture: a.pcap\n    services: {services}\n")
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, text))
    assert says in str(caught.value)


def test_expectations_without_any_service_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="the scenario makes no service"):
        load(write(tmp_path, "name: x\nconfig: ipvsadm -C\nexpect:\n  - sequence: [10.0.0.11:80]\n"))


@pytest.mark.parametrize(
    ("service", "why"),
    [
        ("fwm 1", "has no address and port that clients could call"),
        ("tcp 192.168.1.10:0", "has no address and port that clients could call"),
    ],
)
def test_traffic_of_some_services_is_not_made_up(tmp_path: Path, service: str, why: str) -> None:
    options = {"fwm": "-f 1", "tcp": "-t 192.168.1.10:0 -p"}
    text = f"""\
name: odd
config: ipvsadm -A {options[service.split(maxsplit=1)[0]]} -s rr
traffic:
  - service: {service}
    connections: 1
    clients: {{cidr: 203.0.113.0/24}}
    arrivals: {{every: 1s}}
"""
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, text))
    assert f"traffic[0].service: {service} {why}; expected the end that they call, or a capture" in str(caught.value)


def test_a_captured_end_stands_for_no_service_by_mark(tmp_path: Path) -> None:
    text = """\
name: odd
config: ipvsadm -A -f 1 -s rr
traffic:
  - capture: some.pcap
    services: {"10.0.0.1:80": fwm 1}
"""
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, text))
    assert "fwm 1 has no address that 10.0.0.1:80 could stand for; expected a service by address" in str(caught.value)


BY_MARK = changed("-A -t 192.168.1.10:80", "-A -f 1").replace("-a -t 192.168.1.10:80", "-a -f 1")
MARKS = "marks: |\n  iptables -t mangle -A PREROUTING -d 192.168.1.10 -p tcp --dport 80:81 -j MARK --set-mark 1\n"


def with_marks(marks: str = MARKS, text: str = BY_MARK) -> str:
    return changed("sysctls:", f"{marks}sysctls:", text)


@pytest.mark.parametrize("port", [80, 81])
def test_traffic_may_call_whatever_a_mark_makes_a_services(tmp_path: Path, port: int) -> None:
    text = changed("service: tcp 192.168.1.10:80", f"service: tcp 192.168.1.10:{port}", with_marks())
    loaded = load(write(tmp_path, text))
    assert list(map(str, loaded.called)) == ["fwm 1", "tcp 192.168.1.10:80", "tcp 192.168.1.10:81"]


def test_traffic_may_call_any_port_of_a_service_of_port_0(tmp_path: Path) -> None:
    text = changed("-A -t 192.168.1.10:80 -s rr", "-A -t 192.168.1.10:0 -s rr -p").replace(
        "-a -t 192.168.1.10:80", "-a -t 192.168.1.10:0"
    )
    assert load(write(tmp_path, text)).scenario.traffic


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (changed("service: tcp 192.168.1.10:80", "service: tcp 192.168.1.10:82", with_marks()),
         "traffic[0].service: unknown service 'tcp 192.168.1.10:82'"),
        (changed("service: tcp 192.168.1.10:80", "service: udp 192.168.1.10:80", with_marks()),
         "traffic[0].service: unknown service 'udp 192.168.1.10:80'"),
        (with_marks(MARKS.replace("mark 1", "mark 2")), "traffic[0].service: unknown service 'tcp 192.168.1.10:80'"),
        (changed("service: tcp 192.168.1.10:80", "service: fwm 1", with_marks()),
         "traffic[0].service: fwm 1 has no address and port that clients could call"),
    ],
)  # fmt: skip
def test_traffic_that_no_mark_makes_a_services_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, text))
    assert says in str(caught.value)
