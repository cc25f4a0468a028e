"""A report's folder: complete or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lbsim import report
from lbsim.errors import LbsimError
from lbsim.model.config import Clear, TimedCommand
from lbsim.model.result import Result
from lbsim.report import summary
from tests.results import SECOND, A, B, web


def write(folder, run=None, *, figures=False, **options):
    run = run or web(A, B).connect("10.1.0.1:1", A)
    report.write(run.result(), run.config(), description="", outcomes=(), folder=folder, figures=figures, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_report_is_a_result_and_a_summary(tmp_path):
    write(tmp_path / "by-hand")
    assert names(tmp_path / "by-hand") == ["result.json", "summary.md"]


def test_a_report_has_figures_if_asked_for(tmp_path):
    write(tmp_path / "by-hand", figures=True)
    figures = ["connections.png", "first.png", "share.png", "topology.png"]
    assert names(tmp_path / "by-hand") == sorted([*figures, "result.json", "summary.md"])
    page = (tmp_path / "by-hand" / "summary.md").read_text(encoding="utf-8")
    assert all(f"]({name})" in page for name in figures)


def test_the_result_can_be_read_back(tmp_path):
    write(tmp_path / "by-hand")
    found = Result.from_json(tmp_path / "by-hand" / "result.json")
    assert found.destinations == web(A, B).connect("10.1.0.1:1", A).result().destinations


def test_missing_folders_above_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "by-hand")
    assert (tmp_path / "a" / "b" / "by-hand" / "summary.md").is_file()


def test_nothing_else_is_left_beside_the_report(tmp_path):
    write(tmp_path / "by-hand")
    write(tmp_path / "by-hand")
    assert names(tmp_path) == ["by-hand"]


def test_the_folder_has_the_usual_permissions(tmp_path):
    write(tmp_path / "by-hand")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "by-hand").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_earlier_report_is_replaced_with_all_its_figures(tmp_path):
    write(tmp_path / "by-hand", figures=True)
    write(tmp_path / "by-hand", web(B))
    assert names(tmp_path / "by-hand") == ["result.json", "summary.md"]
    assert A not in (tmp_path / "by-hand" / "summary.md").read_text(encoding="utf-8")


def test_files_that_no_report_writes_stay(tmp_path):
    write(tmp_path / "by-hand")
    (tmp_path / "by-hand" / "notes.txt").write_text("mine")
    (tmp_path / "by-hand" / "captures").mkdir()
    write(tmp_path / "by-hand", figures=False)
    assert names(tmp_path / "by-hand") == ["captures", "notes.txt", "result.json", "summary.md"]
    assert (tmp_path / "by-hand" / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "by-hand").mkdir()
    write(tmp_path / "by-hand")
    assert (tmp_path / "by-hand" / "summary.md").is_file()


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["result.json", "summary.md"]


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_folder_that_is_no_report_is_refused_and_untouched(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("mine")
    with pytest.raises(LbsimError) as error:
        write(home)
    assert one_line(error) == (
        f"{home}: cannot write the report: the folder is no report of lbsim, it holds 'thesis.txt'; "
        "expected an empty folder, an earlier report or none"
    )
    assert names(tmp_path) == ["home"]
    assert names(home) == ["thesis.txt"]


@pytest.mark.parametrize("below", [".", "by-hand", "a/b"])
def test_a_file_in_the_way_is_named(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "file" / below
    with pytest.raises(LbsimError) as error:
        write(folder)
    message = f"{folder}: cannot write the report: {tmp_path / 'file'} is a file, expected a folder"
    assert one_line(error) == message
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    with pytest.raises(LbsimError) as error:
        write(tmp_path / ("x" * 300))
    assert one_line(error).endswith("cannot write the report: File name too long")


def test_what_fails_half_way_leaves_the_earlier_report_and_nothing_else(tmp_path, monkeypatch):
    write(tmp_path / "by-hand")
    before = (tmp_path / "by-hand" / "summary.md").read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(summary, "write", fail)
    with pytest.raises(LbsimError) as error:
        write(tmp_path / "by-hand", web(B))
    assert one_line(error).endswith("cannot write the report: No space left on device")
    assert names(tmp_path) == ["by-hand"]
    assert (tmp_path / "by-hand" / "summary.md").read_bytes() == before


def test_a_report_that_cannot_take_its_place_leaves_the_earlier_one_there(tmp_path, monkeypatch):
    write(tmp_path / "by-hand")
    before = (tmp_path / "by-hand" / "summary.md").read_bytes()
    rename = Path.rename

    def not_the_new_one(path, target):
        if path.name == "new":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", not_the_new_one)
    with pytest.raises(LbsimError) as error:
        write(tmp_path / "by-hand", web(B))
    assert one_line(error).endswith("cannot write the report: Permission denied")
    assert names(tmp_path) == ["by-hand"]
    assert (tmp_path / "by-hand" / "summary.md").read_bytes() == before


def test_a_timeline_is_marked_in_the_figures(tmp_path):
    run = web(A).connect("10.1.0.1:1", A, at=10 * SECOND)
    run.series = type(run.series)((0,), ((1,),), ((0,),))
    write(tmp_path / "without", run, figures=True)
    write(tmp_path / "with", run, figures=True, timeline=[TimedCommand(5 * SECOND, Clear())])
    one, other = ((tmp_path / name / "connections.png").read_bytes() for name in ("without", "with"))
    assert one != other


def test_equal_runs_give_equal_files(tmp_path):
    write(tmp_path / "one", figures=True)
    write(tmp_path / "two", figures=True)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_a_report_without_figures_imports_nothing_heavy():
    code = (
        "import sys; import lbsim.report, lbsim.report.summary, lbsim.report.terminal, lbsim.compare, lbsim.topology;"
        "print([name for name in ('matplotlib', 'networkx', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
