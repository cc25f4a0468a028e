"""Files in the cache are complete or absent, whatever happens to those who write them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache
from tests.kernel.processes import REPOSITORY, on_a_small_disk, running, until

HOLDS = """
import sys, time
from pathlib import Path
from lbsim.kernel import cache
with cache.temporary(Path(sys.argv[1])) as path:
    (path / "half").write_text("half")
    print("holds", flush=True)
    time.sleep(1000)
"""
HURRIES = """
import sys
from pathlib import Path
from lbsim.kernel import cache
for _ in range(200):
    with cache.temporary(Path(sys.argv[1])) as path:
        (path / "mine").write_text("")
        assert (path / "mine").exists()
"""
WRITES = """
import sys
from pathlib import Path
from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache
try:
    cache.write(Path(sys.argv[1]) / "archive", bytes(3_000_000))
except KernelUnavailable as error:
    sys.exit(str(error))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_swept_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels = cache.folder("kernels")
    (kernels / "a kernel").mkdir()
    with running([sys.executable, "-c", HOLDS, str(kernels)]) as other:
        until("it holds a folder", lambda: "holds" in other.said)
        cache.folder("kernels")
        assert len(names(kernels)) == 2
        other.end("SIGKILL")
    assert len(names(kernels)) == 2
    cache.folder("kernels")
    assert names(kernels) == ["a kernel"]


def test_a_process_number_that_is_used_again_protects_nothing(tmp_path: Path) -> None:
    left = tmp_path / f".part-{os.getpid()}-x"
    left.mkdir()
    (left / ".lock").write_text("")
    (left / "half").write_text("half")
    cache.sweep(tmp_path, ".part-")
    assert names(tmp_path) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / ".part-1-file").write_text("a file of another program")
    (tmp_path / ".part-1-full").mkdir()
    (tmp_path / ".part-1-full" / "file").write_text("without a lock of ours")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / ".lock").write_text("")
    (tmp_path / ".part-1-link").symlink_to(tmp_path / "target")
    cache.sweep(tmp_path, ".part-")
    assert names(tmp_path) == [".part-1-file", ".part-1-full", ".part-1-link", "kernel", "target"]


def test_many_that_begin_and_sweep_at_once_do_not_take_each_others_folders(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HURRIES, str(tmp_path)]
    all_of_them = [subprocess.Popen(argv, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}) for _ in range(4)]
    assert [one.wait(60) for one in all_of_them] == [0] * 4
    assert names(tmp_path) == []


def test_a_temporary_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), cache.temporary(tmp_path):
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_full_disk_is_one_line_that_names_the_folder_and_nothing_is_left(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path, [sys.executable, "-c", WRITES, str(tmp_path)], "size=1m")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"the cache folder {tmp_path}: No space left on device; make room there, or name another folder in "
        "XDG_CACHE_HOME\n"
    )


def test_a_disk_without_room_for_another_file_is_one_line_too(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path, [sys.executable, "-c", WRITES, str(tmp_path)], "size=9m,nr_inodes=2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"the cache folder {tmp_path}: No space left on device; make room there")


def test_a_limit_of_file_sizes_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", sys.executable, "-c", WRITES, str(tmp_path)]
    with running(limited) as other:
        assert other.wait() == 1
    assert other.said.startswith(f"the cache folder {tmp_path}: File too large; raise the limit of file sizes")
    assert names(tmp_path) == []


def test_a_cache_folder_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(KernelUnavailable, match="Not a directory; name a folder of yours in XDG_CACHE_HOME"):
        cache.folder("kernels")


def test_a_user_without_a_home_is_told_how_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(KernelUnavailable, match="this user has no home folder; name a folder in XDG_CACHE_HOME"):
        cache.folder("kernels")


def test_two_at_once_go_in_one_after_the_other(tmp_path: Path) -> None:
    waiting = (
        "import sys; from pathlib import Path; from lbsim.kernel import cache\n"
        "with cache.locked(Path(sys.argv[1]), lambda: print('waits', flush=True)): print('in', flush=True)\n"
    )
    held = contextlib.ExitStack()
    held.enter_context(cache.locked(tmp_path))
    with running([sys.executable, "-c", waiting, str(tmp_path)]) as other:
        until("it has waited twice", lambda: "waits\nwaits\n" in other.said)
        assert "in\n" not in other.said
        held.close()
        assert other.wait() == 0
    assert other.said.endswith("waits\nin\n")


def test_who_waited_gets_in_when_the_other_was_killed(tmp_path: Path) -> None:
    holding = (
        "import sys, time; from pathlib import Path; from lbsim.kernel import cache\n"
        "with cache.locked(Path(sys.argv[1])): print('in', flush=True); time.sleep(1000)\n"
    )
    with running([sys.executable, "-c", holding, str(tmp_path)]) as other:
        until("the other is in", lambda: "in" in other.said)
        other.end("SIGKILL")
    with cache.locked(tmp_path, lambda: pytest.fail("nobody holds it")):
        pass


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_of_old_things_the_latest_stay_and_all_of_the_last_hour(make: Callable[[Path], None], tmp_path: Path) -> None:
    old = [tmp_path / f"6.9-{letter}" for letter in "dbca"]
    for age, path in enumerate(old):
        make(path)
        os.utime(path, (0, 10_000 - age))
    other, new = tmp_path / "6.91-a", tmp_path / "6.9-e"
    for path in (other, new):
        make(path)
    os.utime(other, (0, 0))
    cache.drop_older(tmp_path, "6.9-*", 3)
    assert set(tmp_path.iterdir()) == {*old[:2], new, other}
    for letter in "fgh":
        make(tmp_path / f"6.9-{letter}")
    cache.drop_older(tmp_path, "6.9-*", 3)
    assert {path.name for path in tmp_path.iterdir()} == {"6.9-e", "6.9-f", "6.9-g", "6.9-h", "6.91-a"}
