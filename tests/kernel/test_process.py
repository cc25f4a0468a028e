"""Programs that lbsim starts end when it does, however it ends, and so do theirs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from lbsim.errors import KernelUnavailable
from lbsim.kernel import process
from tests.kernel.processes import gone, program, running, until

# A program that starts another one, which writes down its number.
BEGETS = 'sh -c "echo \\$\\$ > child.part; mv child.part child; sleep 1000" &\nwait'
CALLS = """
import sys
from pathlib import Path
from lbsim.kernel import process
process.finished([sys.argv[1]], Path(sys.argv[2]), patience=60)
"""


@pytest.fixture
def begetting(tmp_path: Path) -> str:
    program(tmp_path, "begets", BEGETS)
    return str(tmp_path / "begets")


def child(folder: Path) -> int:
    until("the child is there", (folder / "child").exists)
    return int((folder / "child").read_text())


def test_what_a_program_said_and_its_status_come_back(tmp_path: Path) -> None:
    done = process.finished(["sh", "-c", "pwd; echo '; exit' >&2; exit 3"], tmp_path, patience=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path}\n", "; exit\n")


def test_words_are_not_read_by_a_shell(tmp_path: Path) -> None:
    done = process.finished(["printf", "%s\n", "$(touch x); `touch x`", "'\"&|"], tmp_path, patience=60)
    assert done.stdout == "$(touch x); `touch x`\n'\"&|\n"
    assert list(tmp_path.iterdir()) == []


def test_a_program_speaks_english_whatever_the_users_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    assert process.finished(["sh", "-c", "echo $LC_ALL,$LANGUAGE"], tmp_path, patience=60).stdout == "C.UTF-8,\n"


def test_bytes_that_are_no_text_do_not_matter(tmp_path: Path) -> None:
    assert process.finished(["printf", r"\377"], tmp_path, patience=60).stdout == "\N{REPLACEMENT CHARACTER}"


def test_a_program_that_stalls_is_ended_with_its_children(tmp_path: Path, begetting: str) -> None:
    with pytest.raises(TimeoutError):
        process.finished([begetting], tmp_path, patience=1)
    assert gone(child(tmp_path))


def test_a_program_that_gets_on_is_waited_for(tmp_path: Path) -> None:
    slow = "for i in 1 2 3 4 5 6 7 8; do echo more >> file; sleep 0.5; done"
    began = time.monotonic()
    assert process.finished(["sh", "-c", slow], tmp_path, patience=2).returncode == 0
    assert time.monotonic() - began > 3  # longer than its patience


def test_an_error_in_between_ends_the_program_and_its_children(tmp_path: Path, begetting: str) -> None:
    def interrupted() -> None:
        if (tmp_path / "child").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.finished([begetting], tmp_path, patience=60, waiting=interrupted)
    assert gone(child(tmp_path))


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_the_end_of_the_caller_ends_the_program_and_its_children(tmp_path: Path, begetting: str, how: str) -> None:
    with running([sys.executable, "-c", CALLS, begetting, str(tmp_path)]) as caller:
        number = child(tmp_path)
        caller.end(how)
    assert gone(number)


def test_what_was_started_ends_with_the_block_and_its_children_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with process.started(["sh", "-c", BEGETS], tmp_path / "errors") as one:
        number = child(tmp_path)
    assert gone(one.pid)
    assert gone(number)


def test_what_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF of another world")
    (tmp_path / "program").chmod(0o755)
    with (
        pytest.raises(KernelUnavailable, match="program: cannot be started: Exec format error; install it anew"),
        process.started([str(tmp_path / "program")], tmp_path / "errors"),
    ):
        pass


def test_system_programs_are_found_if_path_does_not_name_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr(process, "_SBIN", (str(tmp_path),))
    program(tmp_path, "ipvsadm", "")
    assert process.which("ipvsadm") == tmp_path / "ipvsadm"
    assert process.search_path() == f"/usr/bin{os.pathsep}{tmp_path}"
    assert process.which("no-such-program") is None
