"""Schedulers that do not come with lbsim: files and entry points that register them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from lbsim import Director, own_schedulers
from lbsim.engine import schedulers
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.errors import LbsimError, ScenarioError
from lbsim.lane_choice import WORTH_COMPILING, chosen
from lbsim.own_schedulers import load_schedulers
from lbsim.packet.build import build_packet
from lbsim.pipeline import run_loaded
from lbsim.replays import job_from
from lbsim.scenario import load
from tests.command_line import cli, run

#: Oldest first: always the last of the list that takes connections.
OLDEST = """
from lbsim.engine.lanes import kernel
from lbsim.engine.schedulers import register

SMALLEST = 1

@kernel
def takes(dest):
    return dest.weight >= SMALLEST and dest.overload == 0

def init_service(t, s):
    t.services[s].own_1 = 7
    return 0

def schedule(t, s, p):
    t.services[s].own_1 += 1
    oldest = 0
    d = t.services[s].first
    while d != 0:
        if takes(t.dests[d]):
            oldest = d
        d = t.dests[d].next
    return oldest

register("oldest", init_service=init_service, schedule=schedule)
"""
CONFIG = """
-A -t 192.0.2.1:80 -s oldest
-a -t 192.0.2.1:80 -r 10.0.0.11 -m
-a -t 192.0.2.1:80 -r 10.0.0.12 -m
"""
SYN = build_packet(src="203.0.113.1", dst="192.0.2.1", proto=6, sport=40001, dport=80, flags=2)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    numbers, known = dict(schedulers.NUMBERS), len(schedulers.KNOWN)
    yield
    schedulers.NUMBERS.clear()
    schedulers.NUMBERS.update(numbers)
    del schedulers.KNOWN[known:]


@pytest.fixture
def oldest(tmp_path: Path) -> Path:
    path = tmp_path / "oldest.py"
    path.write_text(OLDEST)
    return path


def test_a_director_takes_a_file(oldest: Path, lane: Lane) -> None:
    director = Director(CONFIG, schedulers=[oldest], lane=lane)
    assert director.receive(SYN, at=1.0).dest == "10.0.0.11:80"
    assert director.services()[0].scheduler == "oldest"
    director.run("-e -t 192.0.2.1:80 -r 10.0.0.11 -m -w 0")
    assert director.receive(build_packet(src="203.0.113.2", dst="192.0.2.1", sport=9, dport=80, flags=2)).dest == (
        "10.0.0.12:80"
    )


def test_a_director_made_earlier_goes_on(oldest: Path, lane: Lane) -> None:
    earlier = Director(CONFIG.replace("oldest", "rr"), lane=lane)
    Director(CONFIG, schedulers=[oldest], lane=lane)
    assert earlier.receive(SYN).dest == "10.0.0.12:80"


def test_a_file_that_is_loaded_is_not_run_again(oldest: Path) -> None:
    assert load_schedulers([oldest]) == ("oldest",)
    number, known = schedulers.NUMBERS["oldest"], len(schedulers.KNOWN)
    assert load_schedulers([oldest]) == ("oldest",)
    assert (schedulers.NUMBERS["oldest"], len(schedulers.KNOWN)) == (number, known)


NEWEST = OLDEST.replace("            oldest = d", "            oldest = d if oldest == 0 else oldest")


def test_a_file_that_was_changed_is_another_scheduler(oldest: Path) -> None:
    earlier = Director(CONFIG, schedulers=[oldest])
    oldest.write_text(NEWEST)
    later = Director(CONFIG, schedulers=[oldest])
    assert [one.receive(SYN).dest for one in (earlier, later)] == ["10.0.0.11:80", "10.0.0.12:80"]
    assert [one.services()[0].scheduler for one in (earlier, later)] == ["oldest", "oldest"]


def test_schedulers_of_one_name_do_not_meet(oldest: Path, tmp_path: Path, lane: Lane) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "oldest.py"
    other.write_text(NEWEST)
    load_schedulers([oldest, other])  # compiled once
    directors = [Director(CONFIG, schedulers=[path], lane=lane) for path in (oldest, other, oldest)]
    wanted = ["10.0.0.11:80", "10.0.0.12:80", "10.0.0.11:80"]
    assert [one.receive(SYN).dest for one in directors] == wanted
    for one in directors:  # and what they add later has their own, too
        for command in CONFIG.replace(":80", ":81").split("\n")[1:-1]:
            one.run(command)
    syn = build_packet(src="203.0.113.1", dst="192.0.2.1", proto=6, sport=40001, dport=81, flags=2)
    assert [one.receive(syn).dest for one in directors] == [dest.replace(":80", ":81") for dest in wanted]


def test_an_installed_entry_point_is_found_by_name(oldest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(oldest.parent)
    monkeypatch.setattr(own_schedulers, "entry_points", lambda group: [EntryPoint("mine", "oldest", group)])
    assert load_schedulers(["mine"]) == ("oldest",)
    with pytest.raises(LbsimError, match="unknown entry point 'nine', did you mean 'mine'"):
        load_schedulers(["nine"])


def test_without_installed_ones_a_file_is_asked_for() -> None:
    with pytest.raises(LbsimError, match=r"no scheduler 'mine' is installed: expected the path of a \.py file"):
        load_schedulers(["mine"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "registers no scheduler: expected a call of lbsim.engine.schedulers.register"),
        ("1 / 0", "cannot load schedulers: ZeroDivisionError: division by zero"),
        ("def f(:", "cannot load schedulers: SyntaxError: invalid syntax"),
        (OLDEST.replace('register("oldest"', 'register("rr"'), "ValueError: scheduler rr is the kernel's own"),
        (OLDEST.replace('register("oldest"', 'register("none"'), "ValueError: scheduler none is the kernel's own"),
        (OLDEST.replace('register("oldest"', 'register("a b"'), "ValueError: 'a b' is no name of a scheduler"),
        (OLDEST.replace('register("oldest"', 'register("abcdefghijklmnop"'), "expected up to 15 characters"),
        (OLDEST.replace("(t, s, p)", "(t, s)"), "ValueError: schedule of the scheduler oldest does not take (t, s, p)"),
        ("from lbsim.errors import LbsimError\nraise LbsimError('mine own')", "mine own"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(code: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(code)
    with pytest.raises(LbsimError) as caught:
        load_schedulers([path])
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LbsimError, match=r"none\.py: cannot read schedulers: No such file or directory"):
        load_schedulers(["none.py"], tmp_path)


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        ("-1", "the scheduler oldest gave -1, expected 0 or the number of a destination of tcp 192.0.2.1:80"),
        ("9", "the scheduler oldest gave 9, expected"),
        ("3", "the scheduler oldest gave 3, expected"),  # of the other service
        ("None", "the scheduler oldest gave no integer, expected"),
        ("1.0", "the scheduler oldest gave no integer, expected"),
        ("p.sprot", "23: the scheduler oldest fails: AttributeError: 'Packet' object has no attribute 'sprot'"),
        ("p.sport // 0", "23: the scheduler oldest fails: ZeroDivisionError: integer division or modulo by zero"),
        ("t.dests[99].addr", "23: the scheduler oldest fails: IndexError: list index out of range"),
    ],
)
def test_what_a_scheduler_does_wrong_is_said(gives: str, message: str, oldest: Path) -> None:
    oldest.write_text(OLDEST.replace("return oldest\n", f"return {gives}\n"))
    other = "-A -t 192.0.2.1:81 -s rr\n-a -t 192.0.2.1:81 -r 10.0.0.13 -m\n"
    director = Director(CONFIG + other, schedulers=[oldest])
    with pytest.raises(LbsimError) as caught:
        director.receive(SYN)
    assert str(caught.value).startswith(f"{oldest}:{message}" if message[0].isdigit() else f"{oldest}: {message}")


def test_compiled_code_says_it_too(oldest: Path) -> None:
    oldest.write_text(OLDEST.replace("return oldest\n", "return -1 // (40002 - p.sport)\n"))
    with pytest.raises(LbsimError, match=r"oldest\.py: the scheduler oldest gave -1, expected 0"):
        Director(CONFIG, schedulers=[oldest], lane=compiled_lane()).receive(SYN)
    syn = build_packet(src="203.0.113.1", dst="192.0.2.1", proto=6, sport=40002, dport=80, flags=2)
    with pytest.raises(
        LbsimError, match=r"oldest\.py: the scheduler oldest fails: ZeroDivisionError: integer division by zero"
    ):
        Director(CONFIG, schedulers=[oldest], lane=compiled_lane()).receive(syn)


def test_a_destination_that_was_deleted_cannot_be_picked(oldest: Path) -> None:
    oldest.write_text(OLDEST.replace("return oldest\n", "return 1\n"))
    director = Director(CONFIG, schedulers=[oldest])
    assert director.receive(SYN).dest == "10.0.0.11:80"
    director.run("-d -t 192.0.2.1:80 -r 10.0.0.11")
    with pytest.raises(LbsimError, match="gave 1, expected"):
        director.receive(build_packet(src="203.0.113.2", dst="192.0.2.1", proto=6, sport=9, dport=80, flags=2))


@pytest.mark.parametrize("command", ["run", "explain"])
def test_the_command_line_says_it_in_one_line(command: str, oldest: Path) -> None:
    oldest.write_text(OLDEST.replace("return oldest\n", "return p.sprot\n"))
    path = scenario(oldest.parent)
    done = cli("explain", path, "--packet", "0") if command == "explain" else run(path, "--out", oldest.parent / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith("fails: AttributeError: 'Packet' object has no attribute 'sprot'")


# Scenarios

SCENARIO = """
name: mine
schedulers: [oldest.py]
config: |
  ipvsadm -A -t 192.168.1.10:80 -s oldest
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11 -m
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12 -m
traffic:
  - service: tcp 192.168.1.10:80
    connections: 3
    clients: {cidr: 203.0.113.0/24, pick: in_turn}
    arrivals: {every: 100ms}
expect:
  - sequence: ["10.0.0.11:80", "10.0.0.11:80", "10.0.0.11:80"]
"""


def scenario(folder: Path, text: str = SCENARIO) -> Path:
    path = folder / "mine.lbsim.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("lane", ["interpreted", "compiled"])
def test_a_scenario_brings_its_scheduler_along(oldest: Path, lane: str) -> None:
    done = run_loaded(load(scenario(oldest.parent)), lane=lane)
    assert done.passed
    assert done.result.provenance.lane == lane


def test_a_scenarios_digest_depends_on_the_code(oldest: Path) -> None:
    path = scenario(oldest.parent)
    before = load(path).digest
    oldest.write_text(OLDEST + "# a comment\n")
    assert load(path).digest != before


def test_a_scenario_with_a_scheduler_that_is_not_there_is_told_where(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"mine\.lbsim\.yaml:3:14: .*oldest\.py: cannot read schedulers"):
        load(scenario(tmp_path))
    with pytest.raises(ScenarioError, match=r"mine\.lbsim\.yaml:3:14: no scheduler 'mine' is installed"):
        load(scenario(tmp_path, SCENARIO.replace("oldest.py", "mine")))


def test_no_kernel_is_asked_for_it(oldest: Path) -> None:
    with pytest.raises(LbsimError, match="cannot be compared with a kernel: no real kernel has the scheduler oldest"):
        job_from(load(scenario(oldest.parent)))


# Lanes


def test_numba_is_asked_whether_it_accepts_a_scheduler(oldest: Path) -> None:
    names = load_schedulers([oldest])
    assert chosen("compiled", 1, names) is compiled_lane()
    assert interpreted_lane().refusal(schedulers.schedule) == ""


def test_a_scheduler_that_numba_does_not_accept_is_interpreted(tmp_path: Path) -> None:
    path = tmp_path / "words.py"
    path.write_text(
        OLDEST.replace("    oldest = 0\n", "    oldest = {json.dumps(0): 0}[json.dumps(0)]\n").replace(
            "from lbsim.engine.lanes", "import json\nfrom lbsim.engine.lanes", 1
        )
    )
    names = load_schedulers([path])
    assert json.dumps(0) == "0"
    assert chosen("auto", WORTH_COMPILING, names) is interpreted_lane()
    with pytest.raises(LbsimError, match="numba does not accept schedule of the scheduler oldest: "):
        chosen("compiled", 1, names)
    assert Director(CONFIG, schedulers=[path]).receive(SYN).dest == "10.0.0.11:80"


def test_the_pages_example_works(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/own-schedulers.md").read_text(encoding="utf-8")
    (tmp_path / "oldest.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    assert Director(CONFIG, schedulers=[tmp_path / "oldest.py"]).receive(SYN).dest == "10.0.0.11:80"
