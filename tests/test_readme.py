"""The README's commands and examples, run as a reader would."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
SHOWN = re.findall(r"<!-- output: (.*?) -->\n```text\n(.*?)```", README, re.DOTALL)
SCENARIOS = sorted(path.relative_to(ROOT) for path in (ROOT / "scenarios").rglob("*.lbsim.yaml"))


def lbsim(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lbsim", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which the README's relative paths work and reports may be written."""
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    return tmp_path


def test_the_first_command_runs_the_walkthrough_and_passes(checkout):
    command = next(command for command in COMMANDS if "walkthrough" in command)
    program, *arguments = shlex.split(command.split(" && ")[-1])
    assert program == ".venv/bin/lbsim"
    done = lbsim(arguments, checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (checkout / "reports/walkthrough").iterdir()) == [
        "connections.png",
        "first.png",
        "result.json",
        "share.png",
        "summary.md",
        "topology.png",
    ]


@pytest.mark.parametrize(("command", "shown"), SHOWN)
def test_the_output_that_the_readme_shows_is_what_lbsim_prints(command, shown, checkout):
    program, *arguments = shlex.split(command)
    assert program == "lbsim"
    printed = lbsim([*arguments, "--no-figures"], checkout).stdout
    assert shown.strip()
    assert shown.strip() in printed


def test_continuous_integration_runs_the_second_command(tmp_path):
    second = next(command for command in COMMANDS if command.endswith("nox"))
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    taken = re.search(r"sed -n '(.*?)' README.md", script)
    assert taken is not None
    found = subprocess.run(["sed", "-n", taken[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == second


def test_the_python_examples_give_what_the_readme_says():
    example = doctest.DocTestParser().get_doctest(README, {}, "README.md", "README.md", 0)
    assert len(example.examples) > 5
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0


def test_the_doctests_of_the_live_director_hold():
    import lbsim.live

    tried = doctest.testmod(lbsim.live)
    assert tried.attempted > 3
    assert tried.failed == 0


def test_two_results_of_the_tour_can_be_compared(checkout):
    compare = next(command for command in COMMANDS if command.startswith("lbsim compare"))
    assert lbsim(["run", "scenarios/sh", "--no-figures"], checkout).returncode == 0
    done = lbsim(shlex.split(compare)[1:], checkout)
    assert done.returncode == 1, "sh and sh-port differ"
    assert "10.0.0.12:80" in done.stdout


def test_the_verification_that_the_readme_shows_is_what_the_recording_gives(checkout):
    shown = re.search(r"^(idle-900s: identical: .*?) on linux-6\.1\.", README, re.MULTILINE)
    assert shown is not None
    done = lbsim(["verify", "--recorded", "scenarios/timeouts"], checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert shown[1] in done.stdout


def test_every_scenario_is_in_the_readme():
    assert re.findall(r"\]\((scenarios/.*?\.lbsim\.yaml)\)", README) == [
        str(path) for path in sorted(SCENARIOS, key=lambda path: README.index(f"({path})"))
    ]
    assert f"{len(SCENARIOS)} scenarios" in README


@pytest.mark.parametrize("path", SCENARIOS, ids=str)
def test_the_scenario_meets_its_expectations(path, checkout):
    done = lbsim(["run", str(path), "--no-figures"], checkout)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_sample_report_is_what_lbsim_writes(checkout):
    assert lbsim(["run", "scenarios/operations/drain.lbsim.yaml", "--no-figures"], checkout).returncode == 0
    written = (checkout / "reports/drain/result.json").read_text(encoding="utf-8")
    assert written == (ROOT / "reports/sample/result.json").read_text(encoding="utf-8")
    summaries = [
        (folder / "summary.md").read_text() for folder in (checkout / "reports/drain", ROOT / "reports/sample")
    ]
    without_figures = [[line for line in text.splitlines() if line and line[0] != "!"] for text in summaries]
    assert without_figures[0] == without_figures[1]


def test_the_links_of_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_page_of_verdicts_is_generated_from_the_code():
    from lbsim.model.verdict import reasons_page

    assert (ROOT / "docs/verdicts.md").read_text(encoding="utf-8") == reasons_page()


def test_the_page_of_tunables_is_that_of_the_table():
    from lbsim.engine.profile import sysctls_page

    assert (ROOT / "docs/sysctls.md").read_text(encoding="utf-8") == sysctls_page()
