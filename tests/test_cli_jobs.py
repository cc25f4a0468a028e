"""``lbsim run`` of several scenarios, or services, side by side."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.command_line import FAILING, a_process, interrupted_when, run, written
from tests.notes import complaints
from tests.scenario.texts import WHOLE, changed, write
from tests.test_cli import on_a_terminal

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def several(folder: Path, count: int = 3) -> list[Path]:
    """Scenarios of which one misses an expectation, one cannot be understood, and one bears the name of another."""
    texts = [changed("name: demo", f"name: s{n}") for n in range(count)]
    texts += [changed("name: demo", "name: failing", FAILING), "name: [", changed("name: demo", "name: s0")]
    return [write(folder, text, f"{n}.lbsim.yaml") for n, text in enumerate(texts)]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [["--json"], ["--quiet"], [], ["--columns-out", "c/x.npz", "--pcap-out", "p"]])
def test_side_by_side_everything_is_as_one_after_another(tmp_path: Path, options: list[str]) -> None:
    paths = several(tmp_path)
    answers = []
    for jobs in ("1", "2"):
        folder = tmp_path / f"jobs{jobs}"
        folder.mkdir()
        os.chdir(folder)
        answers.append((run("--jobs", jobs, *options, *paths), files_below(folder)))
    (one, files_of_one), (two, files_of_two) = answers
    assert one.exit_code == 2
    assert (two.exit_code, two.stdout) == (one.exit_code, one.stdout)
    assert complaints(two.stderr) == complaints(one.stderr) != []
    assert files_of_two == files_of_one
    assert {"reports/s2/result.json", "reports/failing/result.json"} <= files_of_one.keys()


def test_a_scenario_that_takes_long_does_not_change_the_order(tmp_path: Path) -> None:
    slow = changed("connections: 6", "connections: 20000", WHOLE[: WHOLE.index("show:")])
    paths = [write(tmp_path, slow.replace("demo", "slow"), "a.lbsim.yaml")]
    paths += several(tmp_path, 2)[:2]
    result = run("--json", "--jobs", "3", *paths)
    assert [json.loads(line)["name"] for line in result.stdout.splitlines()] == ["slow", "s0", "s1"]


def test_more_jobs_than_scenarios_do_no_harm(tmp_path: Path) -> None:
    assert run("--quiet", "--jobs", "50", *several(tmp_path)[:2]).exit_code == 0


def test_services_of_one_scenario_side_by_side_give_the_same_report(tmp_path: Path) -> None:
    other = "  ipvsadm -A -t 192.168.1.10:443 -s lc\n  ipvsadm -a -t 192.168.1.10:443 -r 10.0.0.21 -m\n"
    text = changed("sysctls:", other + "sysctls:", WHOLE[: WHOLE.index("show:")])
    traffic = text[text.index("  - service:") : text.index("timeline:")]
    path = write(tmp_path, changed("timeline:", traffic.replace(":80", ":443") + "timeline:", text))
    reports = []
    for jobs in (1, 2):
        result = run("--jobs", str(jobs), "--out", str(jobs), path)
        assert (result.exit_code, result.stderr) == (0, "")
        reports.append((result.stdout.replace(f"{jobs}/demo", "demo"), files_below(tmp_path / str(jobs))))
    assert reports[0] == reports[1]


def test_no_jobs_at_all_are_refused(tmp_path: Path) -> None:
    result = run("--jobs", "0", write(tmp_path))
    assert (result.exit_code, "0 is not in the range x>=1" in result.stderr) == (2, True)


def test_an_interrupt_stops_all_that_run_side_by_side_and_leaves_nothing(tmp_path: Path) -> None:
    text = changed("connections: 6", "connections: 60000", WHOLE[: WHOLE.index("show:")])
    paths = [write(tmp_path, text.replace("demo", name), f"{name}.lbsim.yaml") for name in ("one", "two", "three")]
    process = a_process("run", *paths, "--jobs", "2", "--lane", "interpreted", "--columns-out", "out/x.npz")
    out, err = interrupted_when(process, lambda: len(list(tmp_path.glob("out/.x*"))) > 1 and written(tmp_path / "out"))
    assert (process.returncode, out, err.splitlines()[-1]) == (130, "", "interrupted")
    assert "Traceback" not in err
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left - {"out/x.one.npz", "out/x.two.npz"} == {*(path.name for path in paths), "out"}  # one may be complete


def test_on_a_terminal_side_by_side_has_colours_too(tmp_path: Path) -> None:
    program = "from lbsim.cli import main; main()"
    shown = on_a_terminal(program, "run", "--no-figures", "--jobs", "2", *several(tmp_path)[:2])
    assert shown.count("\x1b[32mpass") == 2 * 5
