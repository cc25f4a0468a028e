"""From a scenario file to a result and a report, with everything in between real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import wrpcap

from lbsim.errors import LbsimError, ScenarioError, TraceError
from lbsim.model.result import Result
from lbsim.pipeline import run, trace_blocks_of, trace_of
from lbsim.report.terminal import plain_text
from lbsim.scenario import load
from lbsim.simulate import simulate
from tests.scenario.texts import changed, line_with, write

HEAD = """\
name: piped
config: |
  ipvsadm -A -t 192.168.1.10:80 -s rr
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:80 -m
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12:80 -m
"""
SCRIPT = """\
traffic:
  - packets: |
      0s   198.51.100.1:1001 > 192.168.1.10:80 tcp S
      10ms 192.168.1.10:80 > 198.51.100.1:1001 tcp SA
      1s   198.51.100.2:1002 > 192.168.1.10:80 tcp S
"""
MADE_UP = """\
  - service: tcp 192.168.1.10:80
    connections: 5
    clients: {cidr: 198.51.100.0/24}
    arrivals: {poisson: 10}
"""
SECOND = 1_000_000_000


def destinations(result: Result) -> list[str]:
    """The destination of each connection, in order."""
    return [result.destinations[at].dest for at in result["dest"][result.connection_packets()].tolist()]


# rr starts with the newest destination and then goes on to the older ones.
def test_a_packet_script_is_balanced_in_turn(tmp_path: Path) -> None:
    done = run(write(tmp_path, HEAD + SCRIPT))
    assert destinations(done.result) == ["10.0.0.12:80", "10.0.0.11:80"]
    assert done.result.reason_counts() == {"new": 2, "translated": 1}


def test_a_command_of_the_timeline_comes_between_the_packets(tmp_path: Path) -> None:
    command = "timeline:\n  - {at: 500ms, run: ipvsadm -d -t 192.168.1.10:80 -r 10.0.0.11:80}\n"
    assert destinations(run(write(tmp_path, HEAD + SCRIPT + command)).result) == ["10.0.0.12:80", "10.0.0.12:80"]


def test_the_run_ends_when_the_scenario_says(tmp_path: Path) -> None:
    done = run(write(tmp_path, HEAD + SCRIPT + "until: 900ms\n"))
    assert (len(done.result), done.result.final.at) == (2, 900_000_000)


def test_only_the_shown_moments_are_reported(tmp_path: Path) -> None:
    text = HEAD + SCRIPT + "show: [2s]\nexpect:\n  - {table: 1500ms, count: 2}\n  - {table: 500ms, count: 1}\n"
    done = run(write(tmp_path, text), out=tmp_path / "reports", figures=False)
    assert done.passed
    assert [moment.at for moment in done.result.moments] == [2 * SECOND]
    kept = Result.from_json(tmp_path / "reports" / "piped" / "result.json")
    assert [moment.at for moment in kept.moments] == [2 * SECOND]


LONG = (
    HEAD
    + "traffic:\n"
    + MADE_UP.replace("5", "150", 1)
    + f"show: [1s]\nexpect:\n  - sequence: [{', '.join(['10.0.0.12:80', '10.0.0.11:80'] * 75)}]\n    complete: true\n"
    + "  - reasons: {new: 150}\n  - share: {10.0.0.11:80: 0.5}\n    of: packets\n  - table: 2s\n    complete: false\n"
)


def test_a_report_without_columns_shows_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, LONG)
    whole = run(path, out=tmp_path / "whole")
    monkeypatch.setitem(simulate.__globals__, "KEPT_PACKETS", 0)
    summed = run(path, out=tmp_path / "summed")
    assert (whole.result.summed, summed.result.columns) == (None, {})
    assert summed.outcomes == whole.outcomes
    assert summed.passed
    for name in ("summary.md", "share.png", "first.png", "connections.png", "topology.png"):
        assert (tmp_path / "summed" / "piped" / name).read_bytes() == (tmp_path / "whole" / "piped" / name).read_bytes()
    assert summed.summary() | {"report": ""} == whole.summary() | {"report": ""}
    assert plain_text(summed.result) == plain_text(whole.result)


def test_a_sequence_that_differs_late_is_shown_without_columns_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [changed("'10.0.0.11:80']", "'10.0.0.12:80']", LONG.replace("10.0.0.11:80]", "'10.0.0.11:80']"))]
    texts.append(LONG.replace("connections: 150", "connections: 149"))
    texts.append(LONG.replace("connections: 150", "connections: 160"))
    for text in texts:
        path = write(tmp_path, text)
        whole = run(path)
        monkeypatch.setitem(simulate.__globals__, "KEPT_PACKETS", 0)
        summed = run(path)
        monkeypatch.undo()
        assert not whole.outcomes[0].passed
        assert summed.outcomes[0] == whole.outcomes[0]


def test_columns_are_kept_for_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, LONG)
    monkeypatch.setitem(simulate.__globals__, "KEPT_PACKETS", 0)
    assert run(path, keep_columns=True).result.columns
    assert run(path, pcap_out=tmp_path / "captures").captures


@pytest.mark.parametrize("kept", [0, 700, 1400])
def test_traffic_that_is_too_long_to_be_kept_is_dealt_with_in_blocks(
    tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 150 and 5 connections of 9 packets, and 3 packets
    text = LONG.replace("traffic:\n", SCRIPT + MADE_UP).replace("show: [1s]", "show: [1s]\nuntil: 40s")
    path = write(tmp_path, text.split("expect:")[0])
    whole = run(path, keep_columns=True).result
    monkeypatch.setattr("lbsim.pipeline.KEPT_PACKETS", kept)
    monkeypatch.setitem(simulate.__globals__, "KEPT_PACKETS", kept)
    blockwise = run(path).result
    assert (len(whole), bool(blockwise.columns)) == (1398, kept >= 1398)
    assert blockwise.aggregates == whole.aggregates
    assert replace(blockwise, columns={}, addresses=(), summed=None) == replace(whole, columns={}, addresses=())


def test_how_many_made_up_packets_will_come_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.pipeline.KEPT_PACKETS", 0)
    told: list[tuple[str, int, int]] = []
    run(write(tmp_path, HEAD + "traffic:\n" + MADE_UP + MADE_UP), progress=lambda *row: told.append(row))
    assert {total for step, _, total in told if step == "simulate"} == {2 * 5 * 9}
    told.clear()
    run(write(tmp_path, HEAD + SCRIPT + MADE_UP), progress=lambda *row: told.append(row))
    assert {total for step, _, total in told if step == "simulate"} == {0}


def test_one_missed_expectation_fails_the_run(tmp_path: Path) -> None:
    text = HEAD + SCRIPT + "expect:\n  - reasons: {new: 2}\n  - reasons: {new: 3}\n"
    done = run(write(tmp_path, text))
    assert [outcome.passed for outcome in done.outcomes] == [True, False]
    assert not done.passed


def test_traffic_is_merged_in_order_of_time(tmp_path: Path) -> None:
    text = HEAD + SCRIPT + "  - start: 500ms\n    packets: |\n      0 198.51.100.9:1009 > 192.168.1.10:80 tcp S\n"
    trace = trace_of(load(write(tmp_path, text)))
    assert trace["time"].tolist() == [0, 10_000_000, 500_000_000, SECOND]
    assert trace["sport"].tolist() == [1001, 80, 1009, 1002]


def test_long_traffic_comes_in_blocks_which_simulated_are_the_whole_trace(tmp_path: Path) -> None:
    # 40,000 connections of 9 packets are more than a block
    long = MADE_UP.replace("connections: 5", "connections: 40000").replace("poisson: 10", "poisson: 10000")
    loaded = load(write(tmp_path, HEAD + SCRIPT + long))
    blocks = list(trace_blocks_of(loaded))
    assert len(blocks) > 1
    assert sum(map(len, blocks)) == 3 + 9 * 40_000
    of_blocks, of_whole = (simulate(loaded.config, traffic) for traffic in (iter(blocks), trace_of(loaded)))
    assert of_blocks.reason_counts() == of_whole.reason_counts()
    assert of_blocks.destinations == of_whole.destinations


def test_traffic_that_cannot_be_made_is_refused_before_there_is_a_block(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "traffic:\n" + MADE_UP.replace("poisson: 10", "poisson: 1e-12"))
    with pytest.raises(ScenarioError, match="the connections begin for") as caught:
        trace_blocks_of(load(path))
    assert (caught.value.file, caught.value.line) == (str(path), line_with("service: tcp", path.read_text()))


def test_each_part_of_the_traffic_has_its_own_random_numbers(tmp_path: Path) -> None:
    single = trace_of(load(write(tmp_path, HEAD + "traffic:\n" + MADE_UP)))
    both = trace_of(load(write(tmp_path, HEAD + "traffic:\n" + MADE_UP + MADE_UP)))
    assert len(both) == 2 * len(single)
    assert len(set(both["time"].tolist())) > len(set(single["time"].tolist()))


def test_the_same_scenario_gives_the_same_result(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "traffic:\n" + MADE_UP)
    for name in ("one", "two"):
        run(path, out=tmp_path / name, figures=False)
    one, two = ((tmp_path / name / "piped" / "result.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_provenance_travels_with_the_result(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + SCRIPT + "seed: 5\nprofile: linux-6.12.117\nstart_jiffies: 1000\n")
    origin = run(path).result.provenance
    assert (origin.scenario, origin.seed, origin.kernel, origin.start_jiffies, origin.digest) == (
        "piped", 5, "linux-6.12.117", 1000, load(path).digest,
    )  # fmt: skip


# conn_reuse_mode 1 gives a SYN that meets a closed connection a new one; 0 does not.
@pytest.mark.parametrize(("mode", "connections"), [(1, 2), (0, 1)])
def test_sysctls_reach_the_director(tmp_path: Path, mode: int, connections: int) -> None:
    talk = (
        "traffic:\n  - packets: |\n"
        "      0s 198.51.100.1:1001 > 192.168.1.10:80 tcp S\n"
        "      +1ms 192.168.1.10:80 > 198.51.100.1:1001 tcp SA\n"
        "      +1ms 198.51.100.1:1001 > 192.168.1.10:80 tcp A\n"
        "      +1ms 198.51.100.1:1001 > 192.168.1.10:80 tcp R\n"
        "      +1ms 198.51.100.1:1001 > 192.168.1.10:80 tcp S\n"
    )
    done = run(write(tmp_path, f"{HEAD}sysctls: {{net.ipv4.vs.conn_reuse_mode: {mode}}}\n{talk}"))
    assert len(destinations(done.result)) == connections


def test_a_scenario_without_traffic_runs(tmp_path: Path) -> None:
    done = run(write(tmp_path, HEAD + "show: [1s]\nexpect:\n  - table: 1s\n"))
    assert (done.passed, len(done.result)) == (True, 0)


def test_a_service_without_destinations_rejects_and_the_run_goes_on(tmp_path: Path) -> None:
    text = "name: x\nconfig: ipvsadm -A -t 192.168.1.10:80 -s rr\n" + SCRIPT
    assert run(write(tmp_path, text)).result.reason_counts() == {"no_dest": 2, "no_responder": 1}


# What ipvsadm prints for a destination of a missing service: ipvsadm facts, section 2.
def test_a_command_that_the_kernel_refuses_is_a_finding_and_the_run_goes_on(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        HEAD + SCRIPT + "timeline:\n  - at: 5ms\n    run: ipvsadm -a -t 192.168.1.10:443 -r 10.0.0.11:443 -m\n",
    )
    result = run(path).result
    (finding,) = result.findings
    assert (finding.severity, finding.place) == ("error", f"{path}:{line_with('443', path.read_text())}")
    assert "Service not defined" in finding.text
    assert len(result) == 3


def test_a_mistake_in_a_packet_script_has_its_place_in_the_yaml(tmp_path: Path) -> None:
    text = HEAD + changed("tcp SA", "tcp SX", SCRIPT)
    path = write(tmp_path, text)
    with pytest.raises(TraceError) as caught:
        run(path)
    line = line_with("SX", text)
    assert (caught.value.file, caught.value.line) == (str(path), line)
    assert caught.value.column == text.splitlines()[line - 1].index("SX") + 1


def test_too_much_traffic_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    text = HEAD + "traffic:\n" + changed("connections: 5", "connections: 10000000\n    tcp: {requests: 1000}", MADE_UP)
    path = write(tmp_path, text)
    with pytest.raises(ScenarioError, match="packets") as caught:
        run(path)
    assert (caught.value.file, caught.value.line) == (str(path), line_with("service: tcp", text))


def write_capture(path: Path, server: str, port: int) -> None:
    """A client's SYN to a server, its answer, and the client's ACK, as raw IP."""
    client = ("198.51.100.1", 1001)
    packets = [
        IP(src=client[0], dst=server) / TCP(sport=client[1], dport=port, flags="S"),
        IP(src=server, dst=client[0]) / TCP(sport=port, dport=client[1], flags="SA"),
        IP(src=client[0], dst=server) / TCP(sport=client[1], dport=port, flags="A"),
    ]
    for number, packet in enumerate(packets):
        packet.time = 1000 + number
    wrpcap(str(path), packets)


@pytest.mark.parametrize(
    ("server", "port", "services"),
    [("192.168.1.10", 80, ""), ("203.0.113.7", 8080, "\n    services: {203.0.113.7:8080: tcp 192.168.1.10:80}")],
)
def test_a_capture_is_traffic_of_the_service_it_names(tmp_path: Path, server: str, port: int, services: str) -> None:
    write_capture(tmp_path / "a.pcap", server, port)
    done = run(write(tmp_path, f"{HEAD}traffic:\n  - capture: a.pcap\n    start: 2s{services}\n"))
    assert done.result.reason_counts() == {"new": 1, "known": 1, "translated": 1}
    assert done.result["time"].tolist() == [2 * SECOND, 3 * SECOND, 4 * SECOND]


def test_a_service_that_the_timeline_makes_counts_for_captures(tmp_path: Path) -> None:
    write_capture(tmp_path / "a.pcap", "192.168.1.99", 80)
    text = f"{HEAD}traffic:\n  - capture: a.pcap\ntimeline:\n  - at: 1s\n    run: ipvsadm -A -t 192.168.1.99:80 -s rr\n"
    assert run(write(tmp_path, text)).result.left_out == {}


def test_a_damaged_capture_is_one_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"no capture at all")
    with pytest.raises(TraceError) as caught:
        run(write(tmp_path, f"{HEAD}traffic:\n  - capture: a.pcap\n"))
    assert caught.value.file == str(tmp_path / "a.pcap")


def test_of_damaged_captures_what_can_be_read_is_used_and_the_damage_has_their_names(tmp_path: Path) -> None:
    for name in ("a.pcap", "b.pcap", "c.pcap"):
        write_capture(tmp_path / name, "192.168.1.10", 80)
    whole = (tmp_path / "a.pcap").read_bytes()
    for name in ("a.pcap", "b.pcap"):
        (tmp_path / name).write_bytes(whole[:-1])  # ends within its last packet
    traffic = "".join(f"  - capture: {name}.pcap\n" for name in "abc")
    result = run(write(tmp_path, f"{HEAD}traffic:\n{traffic}")).result
    damage = f"cut in packet 3 at byte {len(whole) - 1}"
    assert result.damage == f"a.pcap: {damage}; b.pcap: {damage}"
    assert len(result) == 2 + 2 + 3


def test_a_report_and_captures_are_written_where_asked(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + SCRIPT)
    done = run(path, out=tmp_path / "out", figures=False, pcap_out=tmp_path / "captures")
    assert done.folder == tmp_path / "out" / "piped"
    assert {file.name for file in done.folder.iterdir()} == {"result.json", "summary.md"}
    assert {file.name for file in done.captures} == {"clients.pcap", "10.0.0.11_80.pcap", "10.0.0.12_80.pcap"}
    assert all(file.parent == tmp_path / "captures" for file in done.captures)


@pytest.mark.parametrize("option", ["out", "pcap_out"])
def test_an_unwritable_folder_is_found_before_the_run(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    with pytest.raises(LbsimError, match="is a file, expected a folder"):
        run(
            write(tmp_path, HEAD + SCRIPT),
            figures=False,
            progress=lambda step, _done, _total: told.append(step),
            **{option: tmp_path / "file" / "below"},
        )
    assert told == []


def test_a_folder_without_permission_is_found_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda _path, _mode: False)  # the superuser may write everywhere
    with pytest.raises(LbsimError, match=f"cannot write: no permission to write in {tmp_path}"):
        run(write(tmp_path, HEAD + SCRIPT), out=tmp_path / "new")


def test_a_folder_whose_name_is_too_long_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(LbsimError, match="cannot write: File name too long"):
        run(write(tmp_path, HEAD + SCRIPT), out=tmp_path / ("x" * 300))


def test_progress_names_the_steps_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    run(
        write(tmp_path, HEAD + SCRIPT),
        out=tmp_path / "out",
        figures=False,
        progress=lambda step, _done, _total: told.append(step),
    )
    assert list(dict.fromkeys(told)) == ["traffic", "simulate", "report"]


# Each connection: SYN of 40 bytes in; the first one's SYN/ACK of 40 bytes out.
def test_a_summary_adds_destinations_up(tmp_path: Path) -> None:
    summary = run(write(tmp_path, HEAD + SCRIPT)).summary()
    (service,) = summary["services"]
    assert service["service"] == "tcp 192.168.1.10:80"
    assert service["totals"] == {
        "connections": 2, "in_packets": 2, "out_packets": 1, "in_bytes": 80, "out_bytes": 40,
    }  # fmt: skip
    assert [row["counters"]["connections"] for row in service["destinations"]] == [1, 1]
    assert summary["reasons"] == {"new": 2, "translated": 1}


def test_a_service_without_destinations_is_in_the_summary(tmp_path: Path) -> None:
    summary = run(write(tmp_path, "name: x\nconfig: ipvsadm -A -t 192.168.1.10:80 -s rr\n")).summary()
    assert [(one["service"], one["destinations"]) for one in summary["services"]] == [("tcp 192.168.1.10:80", [])]
