"""What the schema refuses is one line: where, what was found, what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim.errors import ScenarioError
from lbsim.scenario import load
from lbsim.scenario.messages import where
from tests.scenario.texts import WHOLE, changed, line_with, write


def refusal(folder: Path, text: str) -> str:
    """The one line with which the scenario is refused, without the file's name."""
    path = write(folder, text)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:")
    return message.removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("traffic", "trafic", ""),
        ("connections", "conections", "traffic[0]: "),
        ("clients", "client", "traffic[0]: "),
        ("cidr", "cider", "traffic[0].clients: "),
        ("every", "evry", "traffic[0].arrivals: "),
        ("run", "runs", "timeline[0]: "),
        ("sequence", "sequnce", "expect[0]: "),
        ("share", "sahre", "expect[1]: "),
        ("tolerance", "tolerence", "expect[1]: "),
        ("totals", "total", "expect[2]: "),
        ("table", "tabel", "expect[3]: "),
        ("count", "cuont", "expect[3]: "),
        ("reasons", "raesons", "expect[4]: "),
    ],
)
def test_a_misspelled_key_is_answered_with_the_right_one(tmp_path: Path, right: str, wrong: str, place: str) -> None:
    text = changed(f"{right}:", f"{wrong}:")
    message = refusal(tmp_path, text)
    assert message.startswith(f"{line_with(wrong, text)}:")
    assert f"{place}unknown key '{wrong}', did you mean '{right}'? expected one of: " in message
    assert "more)" not in message, "the missing key is the same mistake, not a second one"


def test_a_misspelled_key_is_answered_with_all_known_ones(tmp_path: Path) -> None:
    assert "expected one of: at, run" in refusal(tmp_path, changed("at: 250ms", "when: 250ms"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("name: demo\n", "1:1: missing key 'name'"),
        ("    connections: 6\n", "traffic[0]: missing key 'connections'"),
        ("  - at: 250ms\n    run", "timeline[0]: missing key 'at'"),
    ],
)
def test_a_missing_key_is_named(tmp_path: Path, line: str, says: str) -> None:
    replacement = "  - run" if line.startswith("  - at") else ""
    assert says in refusal(tmp_path, changed(line, replacement))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: demo", "name: My Demo", "name: expected up to 80 small letters, digits"),
        ("name: demo", "name: ../demo", "name: expected up to 80 small letters, digits"),
        ("name: demo", "name: 2024", "name: expected text; found 2024 (text that looks like a number needs quotes)"),
        ("name: demo", "name: on\nprofile: [a]", "profile: expected text; found a list"),
        ("seed: 7", "seed: 1.5", "seed: expected a whole number; found 1.5"),
        ("seed: 7", "seed: true", "seed: expected a whole number; found true"),
        ("seed: 7", "seed:", "seed: expected a whole number; found nothing"),
        ("seed: 7", "seed: -1", "seed: expected a number from 0 on; found -1"),
        ("seed: 7", "start_jiffies: 9223372036854775808", "start_jiffies: expected a number below 4,611,"),
        ("connections: 6", "connections: six", "traffic[0].connections: expected a whole number; found 'six'"),
        ("connections: 6", "connections: 0", "traffic[0].connections: expected a number from 1 on; found 0"),
        ("connections: 6", "connections: 100000001", "expected a number up to 100,000,000; found 100000001"),
        ("every: 100ms", "every: -5s", "traffic[0].arrivals.every: -5s is negative; time begins at 0"),
        ("at: 250ms", "at: -1", "timeline[0].at: -1 is negative; time begins at 0"),
        ("show: [1s]", "show: [1s, -0.5]", "show[1]: -0.5 is negative; time begins at 0"),
        ("at: 250ms", "at: 12:30:45", "timeline[0].at: '12:30:45' is no time; expected 5s, 200ms, 15m"),
        ("at: 250ms", "at: 9999h", "timeline[0].at: '9999h' is longer than a year"),
        ("every: 100ms", "poisson: 0", "traffic[0].arrivals.poisson: expected a number above 0; found 0"),
        ("every: 100ms", "poisson: 1e999", "traffic[0].arrivals.poisson: expected a finite number; found inf"),
        ("every: 100ms", "at_once: maybe", "arrivals.at_once: expected true or false; found 'maybe'"),
        ("every: 100ms", "every: 1s, at_once: true", "exactly one of every, poisson, at_once; found every, at_once"),
        ("pick: in_turn", "pick: inturn", "clients.pick: unknown word 'inturn', did you mean 'in_turn'?"),
        ("198.51.100.0/24", "198.51.100.1/24", "is an address within a network; expected the network, 198.51.100.0/24"),
        ("198.51.100.0/24", "198.51.100/33", "'198.51.100/33' is no network; expected 198.51.100.0/24 or"),
        ("cidr: 198.51.100.0/24", "addresses: [5]", "clients.addresses[0]: 5 is no address"),
        ("cidr: 198.51.100.0/24", "addresses: ['fe80::1%e0']", "clients.addresses[0]: 'fe80::1%e0' is no address"),
        ("cidr: 198.51.100.0/24", "gateways: []", "clients.gateways: expected at least one entry; found an empty list"),
        ("{cidr: 198.51.100.0/24, pick: in_turn}", "everybody", "clients: expected a mapping; found 'everybody'"),
        ("{cidr: 198.51.100.0/24, pick: in_turn}", "{}", "exactly one of cidr, addresses, gateways; found none"),
        ("198.51.100.0/24", "2001:db8::/64", "traffic[0]: clients and service are of different address families"),
        ("    arrivals:", "    udp: {}\n    arrivals:", "traffic[0]: the service is tcp; expected a 'tcp:' script"),
        ("service: tcp ", "service: ", "'192.168.1.10:80' is no service; expected 'tcp ADDRESS:PORT', likewise"),
        ("show: [1s]", "show: 1s", "show: expected a list; found '1s'"),
        ("sysctls: {conn_reuse_mode: 1}", "sysctls: [a]", "sysctls: expected a mapping; found a list"),
        ("share: {10.0.0.11:80: 0.333}", "share: {10.0.0.11:80: 2}", "share[10.0.0.11:80]: expected a number up to 1"),
        ("[10.0.0.12:80, ", "[10.0.0.12, ", "sequence[0]: '10.0.0.12' is no address and port; expected 10.0.0.11:80"),
        ("reasons: {new: 6}", "reasons: {nwe: 6}", "expect[4].reasons: unknown reason 'nwe', did you mean 'new'?"),
        ("  - reasons: {new: 6}", "  - {}", "expect[4]: expected one of the keys sequence, share, totals, table, "),
        ("  - reasons: {new: 6}", "  - 5", "expect[4]: expected a mapping; found 5"),
        ("traffic:\n", "traffic:\n  - pakets: x\n", "traffic[0]: unknown key 'pakets', did you mean 'packets'?"),
        ("traffic:\n", "traffic:\n  - {packets: 5}\n", "traffic[0].packets: expected text or a mapping with 'file'"),
        ("traffic:\n", "traffic:\n  - packets: {fil: x}\n", "packets: unknown key 'fil', did you mean 'file'?"),
        ("config: |\n", "config:\nx: |\n", "config: expected text or a mapping with 'file'; found nothing"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_answered_with_what_was_expected(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert says in refusal(tmp_path, changed(old, new))


def test_the_first_problem_in_the_file_is_told_and_the_others_are_counted(tmp_path: Path) -> None:
    text = changed("seed: 7", "seed: x", changed("count: 6", "count: x", changed("show: [1s]", "show: [x]")))
    message = refusal(tmp_path, text)
    assert message.startswith(f"{line_with('seed', text)}:7: seed: expected a whole number")
    assert message.endswith("(and 2 more)")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "null\n", "42\n"])
def test_a_file_that_is_no_mapping_is_told_the_keys(tmp_path: Path, text: str) -> None:
    assert "expected a mapping with the keys name, config, traffic" in refusal(tmp_path, text)


def test_no_message_speaks_of_the_library_that_found_the_problem(tmp_path: Path) -> None:
    seen = []
    for line in WHOLE.splitlines():
        key, _, value = line.strip().removeprefix("- ").partition(": ")
        if value and key != "config":
            for wrong in ("{x: [y]}", "[{x: y}]", "-1.5", "null"):
                text = WHOLE.replace(line, line.replace(f"{key}: {value}", f"{key}: {wrong}"), 1)
                try:
                    load(write(tmp_path, text))
                except ScenarioError as error:
                    seen.append(str(error))
    jargon = ("Input should", "pydantic", "Value error", "valid ", "dictionary", "instance", "field")
    assert len(seen) > 30
    assert not [message for message in seen if any(word in message for word in jargon)]


def test_a_place_reads_like_a_path() -> None:
    assert where(("expect", 1, "share", "10.0.0.11:80")) == "expect[1].share[10.0.0.11:80]"
