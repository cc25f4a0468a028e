"""docs/explain.md: its examples are what lbsim prints, its tables name what there is."""

from __future__ import annotations

import doctest
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from lbsim.cli import main
from lbsim.explain.scheduler_words import WORDS
from lbsim.model.explanation import Explanation

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explain.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"<!-- output: (lbsim explain .*?) -->\n```text\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^lbsim explain (.*?)(?: +# .*)?$", PAGE, re.MULTILINE)


def printed(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``lbsim explain`` prints in the repository."""
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["explain", *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(("command", "shown"), SHOWN)
def test_the_page_shows_what_lbsim_prints(command: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown == printed(shlex.split(command)[2:], monkeypatch)


def test_the_readme_shows_lines_of_what_lbsim_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```text\n\$ lbsim explain (.*?)\n(.*?)```", README, re.DOTALL)
    assert found
    whole = printed(shlex.split(found[1]), monkeypatch).splitlines()
    assert set(found[2].splitlines()) <= {*whole, "..."}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_work(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scenario's flow has all its packets at 0.4 s."""
    scenario = "scenarios/wlc/uneven-servers.lbsim.yaml"
    assert printed(shlex.split(command.replace("SCENARIO", scenario).replace(" 4.9s", " 0.4s")), monkeypatch)


def test_the_page_has_examples() -> None:
    assert (len(SHOWN), len(COMMANDS)) == (2, 4)


def test_the_page_names_every_key() -> None:
    table = PAGE.partition("| key | what it holds |")[2].partition("\n\n")[0]
    keys = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert keys == {field.name for field in fields(Explanation)}


def test_the_page_names_every_part() -> None:
    table = PAGE.partition("| part | what it says | when |")[2].partition("\n\n")[0]
    parts = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    source = (ROOT / "lbsim/explain/words.py").read_text(encoding="utf-8")
    assert parts == re.findall(r'^        \("(\w+)", ', source, re.MULTILINE)


def test_the_page_names_every_scheduler() -> None:
    table = PAGE.partition("| scheduler | besides")[2].partition("\n\n")[0]
    named = {name.strip() for row in table.splitlines()[2:] for name in row.split("|")[1].split(",")}
    assert set(WORDS) - {"none"} <= named


def test_the_python_of_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    tried = doctest.testfile(str(ROOT / "docs/explain.md"), module_relative=False)
    assert (tried.failed, tried.attempted) == (0, 8)
