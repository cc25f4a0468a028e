"""Guests that are kept: with programs that play QEMU, and, live, that a guest which wakes up is a fresh one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbsim.kernel import cache, cpio, frozen, images, initramfs, vm
from lbsim.kernel.computer import Computer
from lbsim.kernel.job import Job, Show, ShowSeen
from tests.kernel.processes import gone, program, running, until

SECOND = 10**9

# A program that greets and answers as QEMU does, and has no guest: its file descriptor is on its command line.
PLAYS = """#!/usr/bin/env python3
import json, re, socket, sys, time
fd = next(int(found[1]) for word in sys.argv if (found := re.search(r"^socket,id=monitor,fd=(\\d+)$", word)))
monitor = socket.socket(fileno=fd)
lines = monitor.makefile("rwb", buffering=0)
def say(**words): lines.write(json.dumps(words).encode() + b"\\n")
say(QMP={})
print('{"waiting": true}', flush=True)
answers = {answers}
while True:
    command = json.loads(monitor.recv(65536))
    name = command["execute"]
    say(event="SOMETHING")
    say(**answers.get(name, {"return": {"status": "completed"}}))
    if name == "quit": sys.exit()
"""

# An agent that tells when it began, and what the kernel and a program draw by lot.
LOOKS = """#!/bin/python3 -S
import json, os, time
from lbsim.kernel import agent
from lbsim.kernel.job import Observation

def look(job, *rest):
    seen = {"milliseconds": time.monotonic_ns() // 1_000_000, "program": os.urandom(8).hex(),
            "kernel": open("/proc/sys/kernel/random/uuid").read()}
    return Observation(job.name, "6.1", error=json.dumps(seen))

agent._do = look
agent.main()
"""


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(frozen, "_PATIENCE", 5.0)
    for name in ("kernel", "archive", "qemu"):
        (tmp_path / name).write_text("")
    return Computer(str(tmp_path / "qemu"), tmp_path / "kernel", tmp_path / "archive", 4, 4)


def play(computer: Computer, answers: str = "{}") -> None:
    qemu = Path(computer.qemu)
    qemu.write_text(PLAYS.replace("{answers}", answers))
    qemu.chmod(0o755)


def in_the_cache() -> list[str]:
    return sorted(path.name for path in cache.folder("frozen").iterdir())


def test_a_guest_is_kept_once(computer: Computer) -> None:
    play(computer)
    first = frozen.kept(computer, "6.1.0", 5)
    assert first is not None
    assert sorted(path.name for path in first.iterdir()) == ["memory", "state"]
    play(computer, "{}")  # the same program, as far as size and time tell
    os.utime(computer.qemu, ns=(0, 0))
    again = frozen.kept(computer, "6.1.0", 5)
    assert again is not None
    assert again != first, "another program is another computer"
    assert frozen.kept(computer, "6.1.0", 5) == again
    assert frozen.kept(computer._replace(switches=("X=1",)), "6.1.0", 5) not in (first, again, None)


@pytest.mark.parametrize(
    "text",
    [
        "exit 1",
        "sleep 1000",
        "echo nonsense; exec sleep 1000",
        "echo '{\"waiting\": true}'; exec sleep 1000",
        "kill -9 $$",
    ],
)
def test_a_guest_that_does_not_get_so_far_is_not_kept(
    computer: Computer, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(frozen, "_PATIENCE", 0.5)
    program(Path(computer.qemu).parent, "qemu", text)
    assert frozen.kept(computer, "6.1.0", 0.5) is None
    assert in_the_cache() == []


@pytest.mark.parametrize(
    "answers",
    ['{"stop": {"error": {}}}', '{"migrate": {"error": {}}}', '{"query-migrate": {"return": {"status": "failed"}}}'],
)
def test_a_guest_that_cannot_be_stopped_is_not_kept(computer: Computer, answers: str) -> None:
    play(computer, answers)
    assert frozen.kept(computer, "6.1.0", 5) is None
    assert in_the_cache() == []


def test_no_room_and_no_cache_are_no_fault(computer: Computer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(computer)
    monkeypatch.setattr(frozen, "_NEEDED", 1 << 62)
    assert frozen.kept(computer, "6.1.0", 5) is None
    assert in_the_cache() == []
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert frozen.kept(computer, "6.1.0", 5) is None


def test_what_does_not_wake_up_is_removed(computer: Computer, tmp_path: Path) -> None:
    play(computer)
    folder = frozen.kept(computer, "6.1.0", 5)
    assert folder is not None
    play(computer, '{"migrate-incoming": {"error": {}}}')
    with frozen.thawed(computer, folder, tmp_path / "console", tmp_path / "parcel", tmp_path / "errors") as guest:
        assert guest is None
    assert in_the_cache() == []


# Keeps a guest of a program that plays QEMU and never answers.
KEEPS = """
import sys
from pathlib import Path
from lbsim.kernel import frozen
from lbsim.kernel.computer import Computer

here = Path(sys.argv[1])
frozen._PATIENCE = 1000.0
frozen.kept(Computer(str(here / "qemu"), here / "kernel", here / "archive", 4, 4), "6.1.0", 1000.0)
"""


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_whatever_ends_lbsim_while_it_freezes_a_guest_ends_qemu_and_leaves_no_half(
    computer: Computer, tmp_path: Path, how: str
) -> None:
    said = tmp_path / "pid"
    program(tmp_path, "qemu", f"echo $$ > {said}.part; mv {said}.part {said}; exec sleep 1000")
    with running([sys.executable, "-c", KEEPS, str(tmp_path)]) as run:
        until("QEMU runs", said.exists)
        run.end(how)
    assert gone(int(said.read_text()))
    assert in_the_cache() == [], "the next start sweeps what a SIGKILL left"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where guests of these tests are kept, for as long."""
    monkeypatch.setattr(frozen, "_FOLDER", "frozen-of-tests")
    yield cache.folder("frozen-of-tests")
    shutil.rmtree(cache.folder("frozen-of-tests"))


@pytest.mark.kernel
@pytest.mark.parametrize("series", images.SERIES)
def test_guests_wake_up_at_one_moment_with_other_random_numbers(
    series: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images.fetch(series)
    archive = tmp_path / "looks.cpio"
    looks = cpio.archive({"init": cpio.File(LOOKS.encode(), executable=True)})
    archive.write_bytes(initramfs.base(image).read_bytes() + looks)
    monkeypatch.setattr(initramfs, "base", lambda _image, programs: archive)
    told = [json.loads(vm.run(image, [Job("looks", (), ())])[0].error) for _ in range(3)]
    assert len(list(folder.iterdir())) == 1
    assert len({seen["milliseconds"] for seen in told}) == 1, "nothing was booted"
    assert len({seen["kernel"] for seen in told}) == 3
    assert len({seen["program"] for seen in told}) == 3


@pytest.mark.kernel
def test_what_a_guest_does_is_not_kept(folder: Path) -> None:
    """The next guest knows nothing of what was set up."""
    job = Job(
        "busy", ("192.168.1.10",), ("10.0.0.11",),
        (("ipvsadm", "-A", "-t", "192.168.1.10:80", "-s", "rr"), ("ipvsadm", "-A", "-f", "1", "-s", "wrr")),
        events=(Show(SECOND),),
    )  # fmt: skip
    image = images.fetch("6.1")
    (first,) = vm.run(image, [job])
    memory = next(folder.iterdir()) / "memory"
    before = memory.stat()
    (second,) = vm.run(image, [job])
    assert (first.error, second.error) == ("", "")
    assert isinstance(first.events[0], ShowSeen)
    assert isinstance(second.events[0], ShowSeen)
    assert first.events[0].listing == second.events[0].listing
    assert [seen.status for seen in second.setup] == [0, 0]
    after = memory.stat()
    assert (after.st_mtime_ns, after.st_blocks) == (before.st_mtime_ns, before.st_blocks)


@pytest.mark.kernel
def test_a_guest_that_does_not_wake_up_is_booted(folder: Path) -> None:
    image = images.fetch("6.1")
    assert [seen.error for seen in vm.run(image, [Job("one", (), ())])] == [""]
    (kept,) = folder.iterdir()
    (kept / "state").write_bytes(b"torn")
    assert [seen.error for seen in vm.run(image, [Job("two", (), ())])] == [""]
    assert list(folder.iterdir()) == []
