"""A whole trace at once: the same as one packet at a time, with commands and looks at the tables in between."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lbsim
from lbsim import ConfigError, Director, parse
from lbsim.block_columns import ticks_of
from lbsim.config import parse_command
from lbsim.config.marks import read_marks
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import CUT_HEADER, ICMP_ERROR, IN, NO_PORTS, OUT, REPLY, TCP, WHOLE
from lbsim.host import EngineHost
from lbsim.model.config import DirectorConfig, TimedCommand
from lbsim.model.quotes import QUOTE_TYPES, Quotes
from lbsim.model.result import RESULT_COLUMNS, Result, ResultBlock
from lbsim.model.trace import AddressTable, Flow, FlowTable, Trace
from lbsim.model.verdict import Verdict, reason_of
from lbsim.packet.build import build_packet
from lbsim.packet.headers import parse as parse_headers
from lbsim.simulate import BLOCK, simulate
from lbsim.traffic import script
from tests.engine.test_both_lanes import digest
from tests.traces import EVERY_SHAPE, config_text, in_blocks, random_trace

SECOND = 1_000_000_000
WEB = parse("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.11:80 -m\n-a -t 192.0.2.1:80 -r 10.0.0.12:80 -m")
DELETE_12 = parse_command("-d -t 192.0.2.1:80 -r 10.0.0.12:80")


def made(*rows: tuple[float, str, int, int]) -> Trace:
    """A trace of one client: (seconds, "in", "reply" or "out", client port, flags); "out" is from 10.0.0.12."""
    addresses = tuple(map(ip_address, ("192.0.2.1", "203.0.113.1", "10.0.0.12")))
    ports = list(dict.fromkeys(port for _, _, port, _ in rows))
    columns = Trace.empty_columns(len(rows))
    for i, (seconds, direction, port, flags) in enumerate(rows):
        sent = {"in": (IN, 1, port, 0, 80), "reply": (REPLY, 0, 80, 1, port), "out": (OUT, 2, 80, 1, port)}[direction]
        values = zip(("direction", "src", "sport", "dst", "dport"), sent, strict=True)
        row = {"time": round(seconds * SECOND), "flow": ports.index(port), "flags": flags, "proto": TCP, "length": 40}
        for name, value in {**row, **dict(values)}.items():
            columns[name][i] = value
    return Trace(columns, addresses, tuple(Flow(TCP, 1, port, 0, 80) for port in ports))


def reasons(result: Result) -> list[str]:
    return [reason_of(int(code)).name for code in result["reason"]]


def dests(result: Result) -> list[str]:
    return [result.destinations[d].dest if d >= 0 else "-" for d in result["dest"]]


EMPTY = made()

# The same as one packet at a time


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("scheduler", ["rr", "lc", "sh", "sh -b sh-port"])
def test_a_trace_gives_what_its_packets_give_one_by_one(scheduler: str, version: int) -> None:
    config = config_text(version, scheduler)
    shapes = (WHOLE, WHOLE, WHOLE, CUT_HEADER, NO_PORTS)
    trace = random_trace(5, 1500, version=version, shapes=shapes)
    result = simulate(parse(config), trace)
    assert len(result.reason_counts()) >= 9  # the trace is worth comparing
    director = Director(config)
    for i in range(len(trace)):
        if reason_of(int(result["reason"][i])).name == "no_responder":
            continue
        assert one_by_one(director, trace, result, i) == from_result(result, i), f"packet {i}"
    director.advance(result.final.at / SECOND)
    assert director.connections() == result.final.connections
    assert director.services() == result.final.services


def one_by_one(director: Director, trace: Trace, result: Result, i: int) -> tuple[object, ...]:
    """What the live director says to packet ``i``; who sent an answer is taken from the result."""
    src, dst = (result.addresses[result[name][i]] for name in ("src", "dst"))
    row = {name: int(trace[name][i]) for name in ("dport", "proto", "flags", "length", "ttl")}
    data = build_packet(src=src, dst=dst, sport=int(result["sport"][i]), **row)
    via = "clients" if trace["direction"][i] == IN else src
    answer = director.receive(data, at=int(trace["time"][i]) / SECOND, via=via)
    header = None
    if answer.verdict == Verdict.FORWARD:
        new = parse_headers(answer.departures[0].packet)
        assert new is not None
        header = (str(ip_address(new.src)), new.sport, str(ip_address(new.dst)), new.dport)
    return answer.verdict, answer.reason, answer.dest, header


def from_result(result: Result, i: int) -> tuple[object, ...]:
    verdict, reason, dest = (int(result[name][i]) for name in ("verdict", "reason", "dest"))
    header = None
    if verdict == Verdict.FORWARD:
        new_src, new_dst = (result.addresses[result[name][i]] for name in ("new_src", "new_dst"))
        header = (new_src, int(result["new_sport"][i]), new_dst, int(result["new_dport"][i]))
    name = result.destinations[dest].dest if dest >= 0 else None
    return Verdict(verdict), reason_of(reason).name, name, header


def test_where_one_block_ends_and_the_next_begins_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = random_trace(6, 800, shapes=EVERY_SHAPE)
    config = parse(config_text(4, "lc"))
    whole = simulate(config, trace)
    monkeypatch.setitem(simulate.__globals__, "BLOCK", 7)
    pieces = simulate(config, trace)
    assert all((whole[name] == pieces[name]).all() for name in RESULT_COLUMNS)
    assert whole.final == pieces.final


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [0, 400, 400, 799, 800], list(range(0, 800, 50))])
def test_a_trace_in_blocks_gives_what_the_whole_trace_gives(cuts: list[int]) -> None:
    trace = random_trace(6, 800, shapes=EVERY_SHAPE)
    config = parse(config_text(4, "lc"))
    options = {"timeline": [TimedCommand(100 * SECOND, DELETE_12)], "moments": [50 * SECOND], "until": 500 * SECOND}
    whole = simulate(config, trace, **options)
    assert_equal(simulate(config, in_blocks(trace, cuts), **options), whole)


def assert_equal(a: Result, b: Result) -> None:
    """Every column and everything else is the same."""
    assert {name: column.tolist() for name, column in a.columns.items()} == {
        name: column.tolist() for name, column in b.columns.items()
    }
    assert replace(a, columns={}) == replace(b, columns={})


def test_a_run_may_end_in_the_middle_of_a_block() -> None:
    trace = random_trace(6, 800)
    config = parse(config_text(4, "rr"))
    for until in (0, int(trace["time"][399]), int(trace["time"][400]) + 1):
        whole = simulate(config, trace, until=until)
        assert_equal(simulate(config, in_blocks(trace, [400]), until=until), whole)
        assert len(whole) == int((trace["time"] <= until).sum())


def test_of_blocks_that_come_after_the_end_at_most_one_is_taken() -> None:
    taken: list[int] = []

    def blocks() -> Iterator[Trace]:
        for n in range(10):
            taken.append(n)
            yield made((n, "in", 1000 + n, 2))

    simulate(WEB, blocks(), until=2 * SECOND)
    assert taken == [0, 1, 2, 3]


def test_no_blocks_at_all_are_a_run_without_packets() -> None:
    result = simulate(WEB, iter(()), timeline=[TimedCommand(SECOND, DELETE_12)])
    assert (len(result), result.final.at, result.columns["time"].dtype) == (0, SECOND, np.dtype("i8"))


def test_what_blocks_left_out_adds_up_and_damage_is_said() -> None:
    blocks = [replace(EMPTY, left_out={"arp": 3}), replace(EMPTY, left_out={"arp": 1, "icmp": 2}, damage="cut")]
    result = simulate(WEB, blocks)
    assert (result.left_out, result.damage) == ({"arp": 4, "icmp": 2}, "cut")


def test_of_blocks_nobody_knows_how_many_packets_will_come() -> None:
    told: list[tuple[int, int]] = []
    trace = made((0, "in", 1000, 2), (1, "in", 1001, 2), (2, "in", 1002, 2))
    simulate(WEB, in_blocks(trace, [2]), progress=lambda done, total: told.append((done, total)))
    assert (told[0], told[-1], {total for _, total in told}) == ((1, 0), (3, 0), {0})


# What is kept of the packets


@pytest.mark.parametrize(("most", "columns", "kept"), [
    (400, None, True), (399, None, False), (0, True, True), (1000, False, False),
])  # fmt: skip
def test_columns_are_kept_if_asked_for_or_if_there_are_few_packets(
    most: int, columns: bool | None, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(simulate.__globals__, "KEPT_PACKETS", most)
    result = simulate(parse(config_text(4, "rr")), random_trace(8, 400), columns=columns)
    assert (result.summed is None, bool(result.columns), bool(result.addresses)) == (kept, kept, kept)
    assert len(result) == 400


@pytest.mark.parametrize("cuts", [[], [399], [100, 200, 300]])
def test_sums_are_those_of_the_columns_whenever_they_are_left_out(
    cuts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, trace = parse(config_text(4, "rr")), random_trace(8, 400, shapes=EVERY_SHAPE)
    with_columns = simulate(config, trace, columns=True)
    monkeypatch.setitem(simulate.__globals__, "KEPT_PACKETS", 250)
    summed = simulate(config, in_blocks(trace, cuts), until=with_columns.final.at)
    assert summed.summed == with_columns.aggregates
    assert replace(summed, summed=None, columns={}) == replace(with_columns, columns={}, addresses=())


def test_as_many_first_connections_are_known_as_asked_for() -> None:
    result = simulate(WEB, made(*((n, "in", 1000 + n, 2) for n in range(9))), columns=False, first=5)
    names = [result.destinations[at].dest for at in result.first_connections("tcp 192.0.2.1:80", 5)]
    assert names == ["10.0.0.12:80", "10.0.0.11:80"] * 2 + ["10.0.0.12:80"]


class Collector:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Trace, ResultBlock]] = []

    def add(self, trace: Trace, answers: ResultBlock) -> None:
        self.blocks.append((trace, answers))


@pytest.mark.parametrize("columns", [True, False])
def test_connections_of_the_directors_own_destinations_count_like_others(columns: bool) -> None:
    service = "-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m\n"
    config = parse(service + "-a -t 192.168.1.10:80 -r 192.168.1.10:8080 -m\n")
    lines = [f"{at}s 203.0.113.1:{1000 + at} > 192.168.1.10:80 tcp S" for at in range(5)]
    lines += [f"{5 + at}s 203.0.113.1:{1000 + at} > 192.168.1.10:80 tcp A" for at in range(5)]
    result = simulate(config, script.parse("\n".join(lines)), columns=columns)
    first, second = (row.dest for row in result.destinations)
    assert (first, second) == ("10.0.0.11:80", "192.168.1.10:8080")
    assert result.first_connections("tcp 192.168.1.10:80", 9) == [1, 0, 1, 0, 1]  # rr begins at the newest one
    assert result.made_connections("tcp 192.168.1.10:80") == 5
    assert [sum(packets) for packets in result.aggregates.bins.packets] == [4, 6]
    assert result.reason_counts() == {"local_new": 3, "local_dest": 3, "new": 2, "known": 2}


def test_sinks_get_every_packet_and_what_became_of_it() -> None:
    config, trace = parse(config_text(4, "lc")), random_trace(9, 500, shapes=EVERY_SHAPE)
    sinks = [Collector(), Collector()]
    until = int(trace["time"][450])
    whole = simulate(config, in_blocks(trace, [100, 300]), until=until, sinks=sinks)
    for sink in sinks:
        assert [len(answers) for _, answers in sink.blocks] == [100, 200, 151]
        assert all(len(sent) == len(answers) for sent, answers in sink.blocks)
        for name in RESULT_COLUMNS:
            assert np.concatenate([answers[name] for _, answers in sink.blocks]).tolist() == whole[name].tolist()
        assert np.concatenate([sent["seq"] for sent, _ in sink.blocks]).tolist() == trace["seq"][:451].tolist()


def test_a_block_of_answers_names_what_its_columns_index() -> None:
    sink = Collector()
    timeline = [TimedCommand(SECOND, parse_command("-a -t 192.0.2.1:80 -r 10.0.0.13:80 -m"))]
    trace = made((0, "in", 1000, 2), (2, "in", 1001, 2))
    result = simulate(WEB, in_blocks(trace, [1]), timeline=timeline, sinks=[sink])
    assert [[len(answers.destinations) for _, answers in sink.blocks][-1], len(result.destinations)] == [3, 3]
    for _, answers in sink.blocks:
        (dest,), (new_dst,) = answers["dest"].tolist(), answers["new_dst"].tolist()
        assert answers.destinations[dest] == ("tcp 192.0.2.1:80", f"{answers.addresses[new_dst]}:80")


def test_long_traces_are_handed_over_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.__globals__, "TRACE_BLOCK", 150)
    sink = Collector()
    simulate(parse(config_text(4, "rr")), random_trace(9, 400), sinks=[sink])
    assert [len(sent) for sent, _ in sink.blocks] == [150, 150, 100]


def test_looking_at_the_tables_changes_nothing() -> None:
    trace = random_trace(7, 800)
    config = parse(config_text(4, "rr"))
    plain = simulate(config, trace, samples=0)
    watched = simulate(config, trace, samples=150, moments=range(0, 400 * SECOND, SECOND))
    assert all((plain[name] == watched[name]).all() for name in RESULT_COLUMNS)
    assert plain.final == watched.final


@given(time=st.integers(0, 2**62), hz=st.sampled_from([100, 250, 300, 1000]))
def test_ticks_of_a_column_are_those_of_single_times(time: int, hz: int) -> None:
    assert int(ticks_of(np.array([time]), hz)[0]) == time * hz // SECOND


# Who answers


def test_an_answer_comes_from_whoever_got_the_flows_last_packet() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2), (1, "reply", 1000, 18), (2, "in", 1001, 2), (3, "reply", 1001, 18)))
    assert dests(result) == ["10.0.0.12:80", "10.0.0.12:80", "10.0.0.11:80", "10.0.0.11:80"]
    senders = [result.endpoint(int(result["src"][i]), int(result["sport"][i])) for i in range(4)]
    assert senders == ["203.0.113.1:1000", "10.0.0.12:80", "203.0.113.1:1001", "10.0.0.11:80"]


def test_an_answer_in_a_flow_that_reached_nobody_never_existed() -> None:
    result = simulate(WEB, made((0, "in", 1000, 16), (1, "reply", 1000, 16)))
    assert reasons(result) == ["not_syn", "no_responder"]
    assert (result["verdict"][1], result["src"][1], result["sport"][1]) == (Verdict.NONE, -1, 0)


def test_a_server_that_the_trace_names_answers_itself() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2), (1, "out", 1000, 18), (2, "out", 1001, 18)))
    assert reasons(result) == ["new", "translated", "no_connection"]


# Commands in mid-run


def test_commands_come_before_packets_of_the_same_instant() -> None:
    timeline = [TimedCommand(SECOND, DELETE_12)]
    result = simulate(WEB, made((0, "in", 1000, 2), (1, "in", 1000, 16), (1, "in", 1001, 2)), timeline=timeline)
    assert reasons(result) == ["new", "dest_removed", "new"]


def test_commands_of_one_instant_keep_their_order_and_others_are_sorted() -> None:
    add = parse_command("-a -t 192.0.2.1:80 -r 10.0.0.12:80 -m -w 7")
    timeline = [TimedCommand(5, DELETE_12), TimedCommand(5, add), TimedCommand(3, DELETE_12), TimedCommand(4, add)]
    result = simulate(WEB, EMPTY, timeline=timeline)
    assert result.findings == ()
    assert result.final.services[0].dests[0].weight == 7


def test_a_refused_command_is_a_finding_and_the_run_goes_on() -> None:
    timeline = [TimedCommand(0, parse_command("-D -t 192.0.2.1:81"))]
    result = simulate(WEB, made((0, "in", 1000, 2)), timeline=timeline)
    (finding,) = result.findings
    assert (finding.severity, finding.text) == ("error", "-D -t 192.0.2.1:81: No such service (exit 255)")
    assert finding.why == "the kernel refuses: ESRCH"
    assert reasons(result) == ["new"]


def test_a_refused_line_of_the_config_is_a_finding_with_its_place() -> None:
    result = simulate(parse("-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.1:80 -s rr", file="a.ipvs"), EMPTY)
    assert [finding.place for finding in result.findings] == ["a.ipvs:2"]


def test_timers_of_a_tick_fire_before_its_commands() -> None:
    # The entry goes at 60.384 s; by then nothing holds the destination, so a listing right after shows none.
    timeline = [TimedCommand(round(60.384 * SECOND), DELETE_12)]
    result = simulate(WEB, made((0, "in", 1000, 2)), timeline=timeline)
    assert result.final.connections == ()


# Looks at the tables


def test_a_moment_shows_the_tables_after_the_packets_of_its_instant() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2), (1, "in", 1001, 2)), moments=[SECOND, 0])
    assert [moment.at for moment in result.moments] == [0, SECOND]
    assert [len(moment.connections) for moment in result.moments] == [1, 2]


def test_a_moment_shows_the_tables_after_the_commands_of_its_instant() -> None:
    result = simulate(WEB, EMPTY, timeline=[TimedCommand(5, DELETE_12)], moments=[4, 5])
    assert [len(moment.services[0].dests) for moment in result.moments] == [2, 1]


def test_a_moment_that_is_asked_for_twice_is_shown_once() -> None:
    assert [moment.at for moment in simulate(WEB, EMPTY, moments=[7, 7]).moments] == [7]


def test_the_run_ends_at_the_last_packet_command_or_moment() -> None:
    trace = made((3, "in", 1000, 2))
    ends = [
        simulate(WEB, trace),
        simulate(WEB, trace, timeline=[TimedCommand(4 * SECOND, DELETE_12)]),
        simulate(WEB, trace, moments=[5 * SECOND]),
        simulate(WEB, trace, until=6 * SECOND, moments=[5 * SECOND]),
    ]
    assert [result.final.at // SECOND for result in ends] == [3, 4, 5, 6]


def test_what_comes_after_the_end_does_not_happen() -> None:
    trace = made((0, "in", 1000, 2), (1, "in", 1001, 2), (2, "in", 1002, 2))
    timeline = [TimedCommand(2 * SECOND, DELETE_12)]
    result = simulate(WEB, trace, until=SECOND, timeline=timeline, moments=[SECOND, 2 * SECOND])
    assert len(result) == 2
    assert [moment.at for moment in result.moments] == [SECOND]
    assert len(result.final.services[0].dests) == 2


def test_the_final_tables_show_entries_that_ran_out_before_the_end() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2)), until=100 * SECOND)
    assert result.final.connections == ()
    assert result.final.services[0].counters.connections == 1


# The rest of a result


def test_columns_have_the_types_of_the_contract() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2)))
    assert {name: str(result[name].dtype) for name in RESULT_COLUMNS} == {
        name: str(np.dtype(kind)) for name, kind in RESULT_COLUMNS.items()
    }


def test_a_packet_that_is_not_forwarded_has_no_new_header() -> None:
    result = simulate(WEB, made((0, "in", 1000, 16)))
    assert [int(result[name][0]) for name in ("new_src", "new_sport", "new_dst", "new_dport", "dest")] == [
        -1,
        0,
        -1,
        0,
        -1,
    ]


def test_an_answer_has_direction_1_whether_its_sender_was_named_or_not() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2), (1, "reply", 1000, 18), (1, "out", 1000, 18)))
    assert result["direction"].tolist() == [0, 1, 1]


def test_a_result_says_where_it_comes_from() -> None:
    result = simulate(WEB, EMPTY, profile="linux-6.12.117", start_jiffies=77, scenario="drain", digest="ab", seed=5)
    p = result.provenance
    assert (p.lbsim, p.side, p.lane, p.kernel) == (lbsim.__version__, "engine", "interpreted", "linux-6.12.117")
    assert (p.scenario, p.digest, p.seed, p.hz, p.start_jiffies) == ("drain", "ab", 5, 250, 77)


def test_what_the_source_left_out_travels_on() -> None:
    trace = replace(EMPTY, left_out={"arp": 3}, damage="cut in packet 9")
    result = simulate(WEB, trace)
    assert (result.left_out, result.damage) == ({"arp": 3}, "cut in packet 9")


def test_progress_is_told_after_every_block() -> None:
    told: list[tuple[int, int]] = []
    n = 2 * BLOCK + 5
    simulate(WEB, random_trace(1, n, seconds=1), samples=0, progress=lambda done, total: told.append((done, total)))
    assert told == [(BLOCK, n), (2 * BLOCK, n), (n, n)]


def test_sysctls_and_start_reach_the_engine() -> None:
    trace = made((0, "in", 1000, 16), (61.436, "in", 1001, 16))
    result = simulate(WEB, trace, sysctls={"net.ipv4.vs.sloppy_tcp": 1}, start_jiffies=0)
    assert reasons(result) == ["new", "new"]


@pytest.mark.parametrize("options", [{"profile": "linux-2.4"}, {"sysctls": {"no_such": 1}}])
def test_unknown_names_are_config_errors(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected one of"):
        simulate(WEB, EMPTY, **options)


def test_an_empty_config_and_an_empty_trace_are_a_run() -> None:
    result = simulate(DirectorConfig(), EMPTY)
    assert (len(result), result.destinations, result.final.services) == (0, (), ())


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_collection_is_left_as_it_was(was_on: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if was_on else gc.disable)()
        simulate(WEB, EMPTY)
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()


def test_garbage_collection_is_switched_on_again_after_an_error() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(WEB, made((0, "in", 1000, 2)), progress=stop)
    assert gc.isenabled()


def test_addresses_of_the_config_and_the_trace_are_all_there() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2)))
    assert set(result.addresses) == {"192.0.2.1", "10.0.0.11", "10.0.0.12", "203.0.113.1"}


def test_the_ticks_of_a_trace_are_the_hosts() -> None:
    times = np.array([0, 3_999_999, 4_000_000, 10 * SECOND + 1])
    host = EngineHost(start_jiffies=0)
    assert ticks_of(times, 250).tolist() == [host.tick(int(time)) for time in times]


@pytest.mark.parametrize("packets", [1, 700, 5000])
def test_a_list_of_blocks_is_the_trace(packets: int) -> None:
    trace = random_trace(5, 2000, shapes=EVERY_SHAPE)
    whole = simulate(parse(config_text(4, "lc")), trace)
    listed = simulate(parse(config_text(4, "lc")), list(trace.blocks(packets)))
    assert digest(listed) == digest(whole)
    assert listed.series == whole.series


def test_an_empty_list_of_blocks_is_an_empty_trace() -> None:
    assert len(simulate(parse(config_text(4, "rr")), [])) == 0


# ICMP errors of a trace


def test_errors_of_a_trace_travel_with_what_they_quote() -> None:
    vip, client, router = (ip_address(a) for a in ("192.0.2.1", "203.0.113.1", "203.0.113.254"))
    columns = Trace.empty_columns(4)
    rows = [
        {"src": 1, "dst": 0, "sport": 1000, "dport": 80, "proto": 6, "flags": 2, "length": 40},
        {"src": 2, "dst": 0, "proto": 1, "shape": ICMP_ERROR, "length": 56},  # about an answer
        {"src": 0, "dst": 1, "proto": 1, "shape": ICMP_ERROR, "length": 56, "direction": REPLY},  # about the request
        {"src": 2, "dst": 0, "proto": 1, "shape": ICMP_ERROR, "length": 56},  # of which nothing is known
    ]
    for i, row in enumerate(rows):
        for name, value in ({"ttl": 64, "time": i} | row).items():
            columns[name][i] = value
    words = {vip: [0, 0, 0, int(vip)], client: [0, 0, 0, int(client)]}
    quotes = {
        "row": [1, 2], "kind": [3, 3], "code": [1, 3], "family": [4, 4], "proto": [6, 6],
        "src": [words[vip], words[client]],
        "sport": [80, 1000], "dst": [words[client], words[vip]], "dport": [1000, 80], "shape": [0, 0], "wrong": [0, 0],
    }  # fmt: skip
    trace = Trace(
        columns, AddressTable([vip, client, router]), FlowTable([Flow(6, 1, 1000, 0, 80)]),
        quotes=Quotes({name: np.array(quotes[name], dtype=kind.lstrip("4")) for name, kind in QUOTE_TYPES.items()}),
    )  # fmt: skip
    config = parse("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m")
    result = simulate(config, trace)
    assert [reason_of(code).name for code in result["reason"].tolist()] == [
        "new", "icmp_to_dest", "icmp_to_client", "icmp_unrelated",
    ]  # fmt: skip
    assert result["new_dport"].tolist()[:2] == [8080, 8080]
    assert result["new_sport"].tolist()[2] == 80
    row = result.final.services[0]
    assert (row.counters.in_packets, row.counters.out_packets) == (2, 1)


MARKED = """\
ipvsadm -A -f 7 -s rr
ipvsadm -a -f 7 -r 10.0.0.11:0 -m
"""
ROUTED = """\
iptables -t mangle -A PREROUTING -d 192.168.1.10 -p tcp --dport 80 -j MARK --set-mark 7
iptables -t mangle -A PREROUTING -p udp --dport 53 -j MARK --set-mark 7
iptables -t mangle -A PREROUTING -d 198.18.2.0/24 -j MARK --set-mark 7
ip route add local 198.18.2.0/24 dev lo
ip rule add fwmark 7 lookup 100
ip route add local 198.18.0.0/24 dev lo table 100
"""


# A single address that a rule names is the director's; a network only by a route, which may ask for the mark.
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("192.168.1.10:80 tcp S", "new"),
        ("192.168.1.10:81 tcp S", "no_service"),
        ("198.18.2.5:99 tcp S", "new"),
        ("198.18.0.5:53 udp", "new"),
        ("198.18.0.5:54 udp", "not_local"),
        ("198.18.1.5:53 udp", "not_local"),
    ],
)
@pytest.mark.parametrize("before", ["", "0s 203.0.113.9:9 > 198.18.0.9:53 udp\n"])
def test_marks_make_packets_those_of_a_service_by_mark(end: str, reason: str, before: str, lane: Lane) -> None:
    trace = script.parse(f"{before}1s 203.0.113.1:1001 > {end}\n")
    result = simulate(parse(MARKED), trace, marks=read_marks(ROUTED), lane=lane)
    assert reason_of(int(result["reason"][-1])).name == reason


TALK = """\
0s 203.0.113.1:1001 > 192.168.1.10:80 tcp S
1s 192.168.1.10:80 > 203.0.113.1:1001 tcp SA
2s 203.0.113.2:1002 > 192.168.1.10:80 tcp S
3s 192.168.1.10:80 > 203.0.113.2:1002 tcp SA
"""


# The newest destination gets the first connection: .12, then .11.
@pytest.mark.parametrize(
    ("straight", "reasons"),
    [
        ([], ["translated", "translated"]),
        (["10.0.0.12/32"], ["straight_reply", "translated"]),
        (["10.0.0.0/24"], ["straight_reply", "straight_reply"]),
        (["203.0.113.2/32"], ["translated", "straight_reply"]),
        (["192.168.1.0/24"], ["translated", "translated"]),
    ],
)
def test_answers_past_the_director_are_not_seen(straight: list[str], reasons: list[str], lane: Lane) -> None:
    config = parse(
        "-A -t 192.168.1.10:80 -s rr\n" + "".join(f"-a -t 192.168.1.10:80 -r 10.0.0.1{n} -m\n" for n in (1, 2))
    )
    result = simulate(config, script.parse(TALK), straight_replies=[ip_network(text) for text in straight], lane=lane)
    assert [reason_of(int(code)).name for code in result["reason"][1::2]] == reasons
