"""Which packets are explained, and that explanations and results of ordinary runs say the same."""

from __future__ import annotations

from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lbsim.config import parse
from lbsim.engine.lanes import compiled_lane
from lbsim.errors import LbsimError
from lbsim.explain import FlowName, TheFlow, ThePacket, explained, lines
from lbsim.explain.flow_text import flow_text
from lbsim.explain.scheduler_words import candidate_lines
from lbsim.model.explanation import Explanation
from lbsim.model.result import Result
from lbsim.model.trace import Trace
from lbsim.model.verdict import Verdict, reason_of
from lbsim.pipeline import explain as explain_scenario
from lbsim.pipeline import run_loaded, trace_blocks_of, trace_of
from lbsim.scenario import Loaded, load
from lbsim.simulate import simulate
from lbsim.traffic.script import parse as packets
from tests.explain.asking import VIP, config, explain_last, said, timed
from tests.traces import config_text, random_trace

SCENARIOS = Path(__file__).parents[2] / "scenarios"


class Every:
    """All packets."""

    def places(self, block: Trace, first: int) -> list[int]:
        return list(range(len(block)))

    def needs(self, packets: int) -> int:
        return packets

    def complete(self) -> bool:
        return False

    def missing(self, packets: int) -> LbsimError:
        return LbsimError("none")


def every(loaded: Loaded) -> list[Explanation]:
    found: list[Explanation] = []
    explain_scenario(loaded, Every(), found.append)
    return found


# The same as in results


@pytest.mark.parametrize(
    "name",
    [
        "capture/curl-nginx",
        "dr/direct-routing",
        "lblcr/one-address",
        "operations/drain",
        "operations/server-deleted",
        "seed/source-hashing",
        "timeouts/idle-900s",
        "tunnel/dns-tunnel",
        "tunnel/too-large",
        "twos/two-choices",
        "wrr/laps",
    ],
)
def test_every_packet_is_explained_as_the_result_has_it(name: str) -> None:
    loaded = load(SCENARIOS / f"{name}.lbsim.yaml")
    result = run_loaded(loaded).result
    found = every(loaded)
    assert len(found) == len(result)
    for i, one in enumerate(found):
        assert in_result(result, i) == in_explanation(one)
        assert said(one, "verdict").startswith(", ".join([one.verdict, f"reason {one.reason}"]))
        assert one.dest is None or f"destination {one.dest}." in said(one, "verdict")
        if one.header is not None:
            assert one.header.new[1] in said(one, "leaves")
        assert one.decision is None or said(one, "scheduler")
        if one.decision is not None and one.decision.picked:
            assert one.decision.picked == one.dest
            assert one.decision.picked in said(one, "scheduler")
    states = last_states(found)
    for row in result.final.connections:
        assert states.get((row.protocol.lower(), row.client, row.virtual), row.state) == row.state


def last_states(found: list[Explanation]) -> dict[tuple[str, str, str], str]:
    """The state in which the last packet of each connection left its entry."""
    entries = [one.after for one in found if one.after is not None]
    return {(entry.protocol, entry.client, entry.virtual): entry.state for entry in entries}


def in_result(result: Result, i: int) -> dict[str, Any]:
    """A packet's row of a result."""
    dest, new = int(result["dest"][i]), int(result["new_dst"][i])
    return {
        "time": result["time"][i],
        "verdict": Verdict(int(result["verdict"][i])).name,
        "reason": reason_of(int(result["reason"][i])).name,
        "dest": result.destinations[dest].dest if dest >= 0 else None,
        "new": None
        if new < 0
        else (
            result.endpoint(int(result["new_src"][i]), int(result["new_sport"][i])),
            result.endpoint(new, int(result["new_dport"][i])),
        ),
    }


def in_explanation(one: Explanation) -> dict[str, Any]:
    """The same of an explanation."""
    return {
        "time": one.packet.time,
        "verdict": one.verdict,
        "reason": one.reason,
        "dest": one.dest,
        "new": one.header and one.header.new,
    }


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "wlc", "sh", "mh", "lblcr", "twos"])
def test_random_traffic_is_explained_as_the_result_has_it(scheduler: str) -> None:
    parsed, trace = parse(config_text(4, scheduler)), random_trace(3, 400)
    result = simulate(parsed, trace)
    found = explained(parsed, trace, Every())
    assert [in_result(result, i) for i in range(len(result))] == [in_explanation(one) for one in found]


@pytest.mark.parametrize("scheduler", ["wlc", "mh", "sh", "lblcr"])
def test_a_run_that_begins_compiled_is_explained_in_the_same_words(scheduler: str) -> None:
    parsed, trace = parse(config_text(4, scheduler)), random_trace(3, 400)
    for number in (0, 350):
        interpreted = explained(parsed, trace, ThePacket(number))
        assert explained(parsed, trace, ThePacket(number), lane=compiled_lane()) == interpreted


def test_json_and_words_tell_the_same_numbers() -> None:
    script = "\n".join(f"{i} 203.0.113.{i + 1}:40000 > {VIP} tcp S" for i in range(5))
    found = explain_last(config("wlc", "10.0.0.11 -w 3", "10.0.0.12"), script)
    document = asdict(found)
    text = "\n".join(lines(found))
    assert found.decision is not None
    table = candidate_lines(found.decision)
    assert all(line in text for line in table)
    for candidate in document["decision"]["candidates"]:
        row = next(line for line in table if line.split()[:1] == [candidate["dest"]])
        assert row.split()[1:4] == [str(candidate[name]) for name in ("weight", "active", "inactive")]
        assert f"{candidate['load']}/{candidate['weight']}" in row
        assert candidate["picked"] == ("<- picked" in row)
    assert str(document["timer"]["fires"]) in text


# Which packets


SCRIPT = f"""
0 203.0.113.1:40001 > {VIP} tcp S
1 203.0.113.2:40001 > {VIP} tcp S
2 {VIP} > 203.0.113.1:40001 tcp SA
3 203.0.113.1:40001 > {VIP} tcp A
"""
FLOW = FlowName.parse(f"tcp:203.0.113.1:40001->{VIP}")


def numbers(wanted: Any, **options: Any) -> list[int]:
    found = explained(parse(config("rr", "10.0.0.11")), packets(SCRIPT), wanted, **options)
    return [one.packet.number for one in found]


def test_packets_are_counted_from_0() -> None:
    assert numbers(ThePacket(0)) == [0]
    assert numbers(ThePacket(3)) == [3]


def test_a_flow_is_all_its_packets_in_both_directions() -> None:
    assert numbers(TheFlow(FLOW)) == [0, 2, 3]


@pytest.mark.parametrize(("at", "number"), [(0, 0), (1, 2), (2_000_000_000, 2), (2_000_000_001, 3)])
def test_of_a_flow_the_first_packet_at_or_after_a_time(at: int, number: int) -> None:
    assert numbers(TheFlow(FLOW, at)) == [number]


def test_packets_of_later_blocks_are_found() -> None:
    trace = packets(SCRIPT)
    blocks = [trace.part(0, 2), trace.part(2, 2), trace.part(2, 4)]
    parsed = parse(config("rr", "10.0.0.11"))
    assert [one.packet.number for one in explained(parsed, iter(blocks), TheFlow(FLOW))] == [0, 2, 3]
    assert [one.packet.number for one in explained(parsed, blocks, ThePacket(3))] == [3]
    assert [one.packet.number for one in explained(parsed, blocks, TheFlow(FLOW, 1))] == [2]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (ThePacket(4), "there is no packet 4: expected 0 to 3, as 4 packets are sent"),
        (ThePacket(-1), "there is no packet -1: expected 0 to 3, as 4 packets are sent"),
        (
            TheFlow(FlowName.parse(f"udp:203.0.113.1:40001->{VIP}")),
            f"there is no packet of flow udp:203.0.113.1:40001->{VIP}; expected a flow of the traffic, such as "
            f"tcp:203.0.113.1:40001->{VIP}",
        ),
        (
            TheFlow(FLOW, 3_500_000_000),
            f"flow tcp:203.0.113.1:40001->{VIP} has no packet at or after 3.5s: its last one is at 3s",
        ),
    ],
)
def test_what_is_not_there_is_said(wanted: Any, message: str) -> None:
    with pytest.raises(LbsimError) as caught:
        numbers(wanted)
    assert str(caught.value) == message


def test_packets_behind_the_end_of_the_run_are_not_there() -> None:
    with pytest.raises(LbsimError, match="expected 0 to 1, as 2 packets are sent"):
        numbers(ThePacket(3), until=1_500_000_000)
    with pytest.raises(LbsimError, match="has no packet before the run ends"):
        numbers(TheFlow(FLOW, 3_000_000_000), until=1_500_000_000)


def test_without_packets_there_is_nothing_to_explain() -> None:
    with pytest.raises(LbsimError, match="there is no packet 0: no packets are sent"):
        explained(parse(config("rr")), packets(""), ThePacket(0))
    with pytest.raises(LbsimError, match=r"there is no packet of flow tcp:[^;]*$"):
        explained(parse(config("rr")), packets(""), TheFlow(FLOW))


def test_commands_up_to_the_packet_count() -> None:
    """A command at the time of a packet comes before it."""
    edits = [timed(3, f"ipvsadm -e -t {VIP} -r 10.0.0.11:80 -m -w 5"), timed(3.5, "ipvsadm -C")]
    (found,) = explained(parse(config("rr", "10.0.0.11")), packets(SCRIPT), ThePacket(3), timeline=edits)
    assert [one.at for one in found.commands] == [3_000_000_000]


# Flows as text


@pytest.mark.parametrize(
    "text", [f"tcp:203.0.113.1:1->{VIP}", "udp:[2001:db8::1]:53->[2001:db8::2]:53", "sctp:10.0.0.1:1->10.0.0.2:2"]
)
def test_flows_are_written_as_they_are_read(text: str) -> None:
    assert str(FlowName.parse(text)) == text


def test_blanks_around_the_arrow_do_not_matter() -> None:
    assert FlowName.parse("tcp:10.0.0.1:1 -> 10.0.0.2:2").client == (ip_address("10.0.0.1"), 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no flow; expected tcp:203.0.113.1:40001->192.168.1.10:80"),
        ("tcp:1.2.3.4:5", "'tcp:1.2.3.4:5' is no flow"),
        ("tcpp:1.2.3.4:5->1.2.3.4:6", "unknown protocol 'tcpp', did you mean 'tcp'?"),
        ("tcp:1.2.3.4->1.2.3.4:6", "'1.2.3.4' is no address and port"),
        ("tcp:1.2.3.4:5->1.2.3.4:66666", "port 66666 is above 65535; expected tcp:203.0.113.1"),
    ],
)
def test_what_is_no_flow_is_said(text: str, message: str) -> None:
    with pytest.raises(LbsimError) as caught:
        FlowName.parse(text)
    assert message in str(caught.value)


def test_the_example_of_a_flow_can_be_asked_for() -> None:
    trace = packets(SCRIPT)
    assert flow_text(trace, trace.flows[0]) == str(FLOW)


def test_blocks_are_explained_as_the_whole() -> None:
    loaded = load(SCENARIOS / "wlc/uneven-servers.lbsim.yaml")
    parsed, wanted = loaded.config, [ThePacket(70), ThePacket(70)]
    whole, in_blocks = trace_of(loaded), trace_blocks_of(loaded)
    assert explained(parsed, whole, wanted[0]) == explained(parsed, in_blocks, wanted[1])
