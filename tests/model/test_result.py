"""What a run answered: questions to it, and its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lbsim import LbsimError, parse
from lbsim.compare import compare
from lbsim.config import parse_command
from lbsim.model.config import Persistence, TimedCommand
from lbsim.model.result import RESULT_COLUMNS, UNTOLD, Counters, Moment, Result, ServiceOptions
from lbsim.model.verdict import reason_of
from lbsim.simulate import simulate
from tests.traces import EVERY_SHAPE, config_text, random_trace

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def result() -> Result:
    """A result with something in every part of it."""
    trace = replace(random_trace(3, 400, shapes=EVERY_SHAPE), left_out={"arp": 2}, damage="cut")
    commands = ["-d -t 192.0.2.1:80 -r 10.0.0.12:80", "-D -t 192.0.2.9:80"]
    return simulate(
        parse(config_text(4, "sh -b sh-port")),
        trace,
        timeline=[TimedCommand(100 * SECOND, parse_command(command)) for command in commands],
        moments=[SECOND, 50 * SECOND],
        samples=4,
        scenario="all of it",
        digest="ab12",
        seed=9,
    )


# Questions


def test_a_result_is_as_long_as_its_columns(result: Result) -> None:
    assert len(result) == 400
    assert (result["time"] == result.columns["time"]).all()


def test_reasons_are_counted_most_frequent_first(result: Result) -> None:
    counts = result.reason_counts()
    assert sum(counts.values()) == 400
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert 0 not in counts.values()


def test_connection_packets_are_those_that_made_an_entry(result: Result) -> None:
    names = [reason_of(int(code)).name for code in result["reason"]]
    made = [i for i, name in enumerate(names) if name in ("new", "rescheduled")]
    assert result.connection_packets().tolist() == made


def test_without_used_up_ttls_there_is_one_for_each_connection_counted() -> None:
    trace = random_trace(3, 400)
    trace.columns["ttl"][:] = 64
    result = simulate(parse(config_text(4, "lc")), trace)
    assert len(result.connection_packets()) == sum(row.counters.connections for row in result.destinations) > 0


def test_an_end_has_brackets_for_ipv6(result: Result) -> None:
    changed = replace(result, addresses=("10.0.0.1", "fd00::1"))
    assert (changed.endpoint(0, 80), changed.endpoint(1, 81)) == ("10.0.0.1:80", "[fd00::1]:81")


def test_counters_add_both_directions_up() -> None:
    counters = Counters(connections=1, in_packets=2, out_packets=3, in_bytes=40, out_bytes=500)
    assert (counters.packets, counters.bytes) == (5, 540)


def test_first_connections_are_a_services_own_in_order(result: Result) -> None:
    at = result.connection_packets()
    made = [result.destinations[dest] for dest in result["dest"][at].tolist()]
    for service in ("tcp 192.0.2.1:80", "udp 192.0.2.1:53"):
        own = [row.dest for row in made if row.service == service]
        assert [result.destinations[i].dest for i in result.first_connections(service, 5)] == own[:5]
        assert result.made_connections(service) == len(own) > 5


def test_an_unknown_service_made_no_connections(result: Result) -> None:
    for found in (result, without_columns(result)):
        assert (found.first_connections("tcp 192.0.2.77:80", 5), found.made_connections("tcp 192.0.2.77:80")) == ([], 0)


# A result whose columns were left out


def without_columns(result: Result) -> Result:
    return replace(result, columns={}, addresses=(), summed=result.aggregates)


def test_what_packets_add_up_to_is_known_without_columns(result: Result) -> None:
    summed = without_columns(result)
    assert (len(summed), summed.reason_counts()) == (len(result), result.reason_counts())
    assert summed.aggregates == result.aggregates
    assert summed.first_connections("tcp 192.0.2.1:80", 7) == result.first_connections("tcp 192.0.2.1:80", 7)


@pytest.mark.parametrize(
    "question",
    [
        lambda result: result["time"],
        lambda result: result.connection_packets(),
        lambda result: result.first_connections("tcp 192.0.2.1:80", 101),
        lambda result: compare(result, result),
    ],
)
def test_whatever_needs_columns_says_so_in_one_line(question: Callable[[Result], object], result: Result) -> None:
    with pytest.raises(LbsimError) as caught:
        question(without_columns(result))
    assert str(caught.value) == (
        "all of it has no per-packet columns, they were left out of a run with 400 packets; "
        "expected one with --keep-columns (in Python: simulate(..., columns=True))"
    )


def test_a_result_without_columns_comes_back_from_its_file(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    summed = without_columns(result)
    summed.to_json(path)
    assert Result.from_json(path) == summed
    document = json.loads(path.read_text())
    assert (document["columns"], document["addresses"], document["aggregates"]["packets"]) == (None, [], 400)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("aggregates",), None),
        (("aggregates",), {}),
        (("aggregates", "connections"), [1]),
        (("aggregates", "reasons"), {"x": 1}),
        (("aggregates", "clients", "single"), [{}]),
        (("aggregates", "bins"), {"width": 1}),
        (("destinations",), []),
    ],
)
def test_damaged_aggregates_are_one_clear_line(
    where: tuple[str, ...], value: object, result: Result, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    without_columns(result).to_json(path)
    path.write_text(json.dumps(damaged(json.loads(path.read_text()), *where, value=value)))
    with pytest.raises(LbsimError, match="damaged result: "):
        Result.from_json(path)


def test_counters_that_are_not_told_say_so() -> None:
    assert (Counters().told, UNTOLD.told) == (True, False)


# The file


def test_a_result_comes_back_from_its_file(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result.to_json(path)
    back = Result.from_json(path)
    for name in RESULT_COLUMNS:
        assert back[name].dtype == result[name].dtype
        assert (back[name] == result[name]).all()
    assert replace(back, columns={}) == replace(result, columns={})


def test_how_long_a_table_was_read_comes_back(result: Result, tmp_path: Path) -> None:
    read = replace(result, final=replace(result.final, took=4_000_000))
    read.to_json(tmp_path / "r.json")
    assert Result.from_json(tmp_path / "r.json").final == read.final


def test_a_file_that_does_not_say_how_long_tables_were_read_comes_back(result: Result, tmp_path: Path) -> None:
    result.to_json(tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    for moment in (*document["moments"], document["final"]):
        del moment["took"]
    (tmp_path / "r.json").write_text(json.dumps(document))
    assert Result.from_json(tmp_path / "r.json").moments == result.moments


@pytest.fixture(scope="module")
def optioned() -> Result:
    """A result whose services have options and whose destinations have thresholds."""
    config = """
        -A -t 192.0.2.1:80 -s rr -p 600 -M 255.255.255.0
        -a -t 192.0.2.1:80 -r 10.0.0.11:80 -m -x 100 -y 80
        -A -u 192.0.2.1:5060 -s rr -p --pe sip -o
        -A -t [2001:db8::1]:80 -s rr -p 60 -M 64
    """
    return simulate(parse(config), random_trace(1, 0), moments=[0])


def test_options_and_thresholds_come_back(optioned: Result, tmp_path: Path) -> None:
    optioned.to_json(tmp_path / "r.json")
    back = Result.from_json(tmp_path / "r.json")
    assert (back.final, back.moments) == (optioned.final, optioned.moments)
    assert [row.options for row in back.final.services] == [
        ServiceOptions(Persistence(600, 0xFFFFFF00)),
        ServiceOptions(Persistence(360, 0xFFFFFFFF), "sip", one_packet=True),
        ServiceOptions(Persistence(60, 64)),
    ]
    assert [(dest.upper, dest.lower) for dest in back.final.services[0].dests] == [(100, 80)]


def test_the_file_has_options_and_thresholds_in_plain_values(optioned: Result, tmp_path: Path) -> None:
    optioned.to_json(tmp_path / "r.json")
    web, sip, _ = json.loads((tmp_path / "r.json").read_text())["final"]["services"]
    # 255.255.255.0 and 255.255.255.255 as numbers
    assert web["options"] == {"persistence": {"timeout": 600, "netmask": 4294967040}, "engine": "", "one_packet": False}
    assert sip["options"] == {
        "persistence": {"timeout": 360, "netmask": 4294967295}, "engine": "sip", "one_packet": True,
    }  # fmt: skip
    assert (web["dests"][0]["upper"], web["dests"][0]["lower"]) == (100, 80)


def test_a_file_without_options_and_thresholds_does_not_tell_them(optioned: Result, tmp_path: Path) -> None:
    optioned.to_json(tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    for service in document["final"]["services"]:
        del service["options"]
        for dest in service["dests"]:
            del dest["upper"], dest["lower"]
    (tmp_path / "r.json").write_text(json.dumps(document))
    back = Result.from_json(tmp_path / "r.json")
    untold = untelling(optioned.final)
    assert (back.final, back.moments) == (untold, optioned.moments)
    back.to_json(tmp_path / "again.json")
    assert Result.from_json(tmp_path / "again.json").final == untold


def untelling(moment: Moment) -> Moment:
    """The moment without what older files do not tell."""
    services = (
        replace(row, options=None, dests=tuple(replace(dest, upper=None, lower=None) for dest in row.dests))
        for row in moment.services
    )
    return replace(moment, services=tuple(services))


@pytest.mark.parametrize(
    ("service", "options"),
    [
        ("tcp 192.0.2.1:80", {}),
        ("tcp 192.0.2.1:80", {"persistence": 600, "engine": "", "one_packet": False}),
        ("tcp 192.0.2.1:80", {"persistence": {"timeout": 1, "netmask": -1}, "engine": "", "one_packet": False}),
        ("tcp [2001:db8::1]:80", {"persistence": {"timeout": 1, "netmask": 129}, "engine": "", "one_packet": False}),
        ("web", {"persistence": None, "engine": "", "one_packet": False}),
    ],
    ids=["none of them", "no persistence", "no mask", "no prefix", "no service"],
)
def test_options_that_no_service_has_are_one_clear_line(
    service: str, options: dict[str, Any], optioned: Result, tmp_path: Path
) -> None:
    optioned.to_json(tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    document["final"]["services"][0] |= {"service": service, "options": options}
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(LbsimError, match="damaged result: "):
        Result.from_json(tmp_path / "r.json")


def test_a_method_that_there_is_not_is_one_clear_line(optioned: Result, tmp_path: Path) -> None:
    optioned.to_json(tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    document["final"]["services"][0]["dests"][0]["method"] = "nat"
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(LbsimError, match="damaged result: "):
        Result.from_json(tmp_path / "r.json")


def test_an_empty_result_comes_back(tmp_path: Path) -> None:
    empty = simulate(parse(""), random_trace(1, 0))
    empty.to_json(tmp_path / "r.json")
    back = Result.from_json(tmp_path / "r.json")
    assert (len(back), back.destinations, back.final) == (0, (), empty.final)


def test_nothing_else_is_left_beside_the_file(result: Result, tmp_path: Path) -> None:
    result.to_json(tmp_path / "r.json")
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_file_that_cannot_be_finished_is_not_there(result: Result, tmp_path: Path) -> None:
    broken = replace(result, columns={})
    with pytest.raises(KeyError):
        broken.to_json(tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_survives_a_write_that_fails(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    result.to_json(path)
    with pytest.raises(KeyError):
        replace(result, columns={}).to_json(path)
    assert len(Result.from_json(path)) == 400


def test_the_file_explains_its_own_codes(result: Result, tmp_path: Path) -> None:
    result.to_json(tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["format"] == "lbsim-result/1"
    assert (document["verdicts"]["1"], document["reasons"]["2"]) == ("FORWARD", "known")


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LbsimError, match=r"none\.json: cannot read: No such file or directory"):
        Result.from_json(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["", "{", "\udcff", "[" * 100_000], ids=["empty", "cut", "bytes", "deep"])
def test_what_is_not_json_is_one_clear_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(LbsimError, match=r"not JSON; expected a result\.json that lbsim run wrote"):
        Result.from_json(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "lbsim-result/0"}', '"lbsim-result/1"'])
def test_what_is_no_result_is_one_clear_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(LbsimError, match="not a result; expected the format 'lbsim-result/1' of lbsim run"):
        Result.from_json(path)


def damaged(document: dict[str, Any], *path: str, value: object) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(document))
    part = changed
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("columns", "time"), [1]),
        (("columns", "time"), "now"),
        (("columns", "verdict"), [1000] * 400),
        (("columns", "dest"), [99] * 400),
        (("columns", "src"), [-2] * 400),
        (("columns",), {}),
        (("provenance",), {"lbsim": "1"}),
        (("destinations",), [{}]),
        (("final",), None),
        (("moments",), [{"at": 1}]),
        (("series",), {}),
        (("findings",), [{"text": "x"}]),
    ],
)
def test_a_damaged_result_is_one_clear_line(
    where: tuple[str, ...], value: object, result: Result, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    result.to_json(path)
    path.write_text(json.dumps(damaged(json.loads(path.read_text()), *where, value=value)))
    with pytest.raises(LbsimError, match="damaged result: "):
        Result.from_json(path)
