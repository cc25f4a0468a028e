"""``lbsim explain``: exit status, what goes to standard output and what to standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lbsim.cli import main
from lbsim.explain import ThePacket
from lbsim.model.explanation import Explanation
from lbsim.pipeline import explain
from lbsim.scenario import load
from tests.notes import complaints
from tests.scenario.texts import changed, write

ROOT = Path(__file__).parents[2]
FLOW = "tcp:198.51.100.1:32768->192.168.1.10:80"


def cli(*words: str | Path) -> Result:
    """What a command line answers, inside this process."""
    result = CliRunner().invoke(main, ["explain", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def headlines(result: Result) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.startswith("packet ")]


def test_a_packet_is_explained_in_words(tmp_path: Path) -> None:
    result = cli(write(tmp_path), "--packet", "0")
    assert (result.exit_code, complaints(result.stderr)) == (0, [])
    first, *rest = result.stdout.splitlines()
    assert first.startswith("packet 0 at 0s, tick 4294892296: tcp 198.51.100.1:32768 > 192.168.1.10:80 SYN, 40 bytes")
    assert any("rr goes round the list" in line for line in rest)
    assert max(map(len, rest)) <= 100


def test_a_packet_is_explained_as_json(tmp_path: Path) -> None:
    path = write(tmp_path)
    result = cli(path, "--packet", "0", "--json")
    found: list[Explanation] = []
    explain(load(path), ThePacket(0), found.append)
    assert json.loads(result.stdout) == json.loads(json.dumps(asdict(found[0])))


def test_a_flow_is_all_its_packets(tmp_path: Path) -> None:
    path = write(tmp_path)
    words, documents = cli(path, "--flow", FLOW), cli(path, "--flow", FLOW, "--json")
    packets = [json.loads(line) for line in documents.stdout.splitlines()]
    assert len(headlines(words)) == len(packets) == 9, "a request, its answer, SYN to the last ACK"
    assert {one["packet"]["direction"] for one in packets} == {"in", "out"}
    assert "\n\npacket " in words.stdout


def test_of_a_flow_a_single_packet(tmp_path: Path) -> None:
    result = cli(write(tmp_path), "--flow", FLOW, "--at", "15ms")
    (line,) = headlines(result)
    assert "at 0.02s" in line


def test_the_timeline_counts(tmp_path: Path) -> None:
    """A third server was added at 0.25 s: it is at the head of the list, behind which the cursor stands already."""
    result = cli(write(tmp_path), "--flow", "tcp:198.51.100.4:32768->192.168.1.10:80", "--at", "0s")
    assert "at 0.25s ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.13:80 -m" in " ".join(result.stdout.split())
    assert "10.0.0.13:80" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--packet", "54"], "there is no packet 54: expected 0 to 53, as 54 packets are sent"),
        (["--packet", "-1"], "there is no packet -1: expected 0 to 53, as 54 packets are sent"),
        ([], "which packet? expected either --packet N or --flow tcp:CLIENT:PORT->VIP:PORT"),
        (["--packet", "1", "--flow", FLOW], "which packet? expected either --packet N or --flow"),
        (["--packet", "1", "--at", "1s"], "--at belongs to --flow"),
        (["--flow", "tcp:1->2"], "'1' is no address and port"),
        (["--flow", "nonsense"], "'nonsense' is no flow"),
        (["--flow", FLOW, "--at", "soon"], "--at: 'soon' is no time"),
        (["--flow", FLOW, "--at", "1h"], f"flow {FLOW} has no packet at or after 3600s"),
        (
            ["--flow", FLOW.replace("32768", "1")],
            "there is no packet of flow tcp:198.51.100.1:1->192.168.1.10:80; ",
        ),
    ],
)
def test_what_cannot_be_explained_is_one_line_and_status_2(words: list[str], message: str, tmp_path: Path) -> None:
    result = cli(write(tmp_path), *words)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = complaints(result.stderr)
    assert line.startswith(message)


def test_a_scenario_that_is_not_there_is_status_2(tmp_path: Path) -> None:
    result = cli(tmp_path / "no.lbsim.yaml", "--packet", "0")
    assert result.exit_code == 2
    assert "no.lbsim.yaml" in result.stderr


def test_a_scheduler_of_ones_own_is_explained_as_far_as_possible(tmp_path: Path) -> None:
    """In a process of its own: a registered scheduler has the engine compiled anew for all tests behind."""
    page = (ROOT / "docs/own-schedulers.md").read_text(encoding="utf-8")
    source = page.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "oldest.py").write_text(source, encoding="utf-8")
    path = write(tmp_path, changed("-s rr", "-s oldest").replace("seed: 7", "seed: 7\nschedulers: [oldest.py]"))
    command = [sys.executable, "-m", "lbsim", "explain", str(path), "--packet", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, complaints(done.stderr)) == (0, [])
    told = " ".join(done.stdout.split())
    assert "oldest does not come with lbsim: only its own file says how it decides." in told
    assert "Its number own_1 went from 0 to 1. It picked 10.0.0.11:80." in told
