"""Files in the cache are complete or absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_what_a_killed_process_left_is_swept_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / f".part-{dead_pid()}-x").mkdir()
    (tmp_path / f".part-{dead_pid()}-y").write_text("half")
    (tmp_path / f"lbsim-run-{dead_pid()}-z").mkdir()
    (tmp_path / "kernel").mkdir()
    with cache.temporary(tmp_path) as mine:
        cache.sweep(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, "kernel"])


def test_a_temporary_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), cache.temporary(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_without_room_the_line_names_the_folder_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as out:
            out.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(KernelUnavailable, match=r"cache folder .*: No space left on device; make room there"):
        cache.write(tmp_path / "archive", b"12345")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(KernelUnavailable, match="Not a directory; make room there, or name another folder"):
        cache.folder("kernels")


def test_two_at_once_go_in_one_after_the_other(tmp_path: Path) -> None:
    waiting = (
        "import sys; from pathlib import Path; from lbsim.kernel import cache\n"
        "print('asks', flush=True)\n"
        "with cache.locked(Path(sys.argv[1])): print('in', flush=True)\n"
    )
    with cache.locked(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", waiting, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "asks\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.3)
    assert other.communicate(timeout=10)[0] == "in\n"
