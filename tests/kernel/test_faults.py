"""What goes wrong around a guest, with programs that play QEMU: one line each, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lbsim.errors import KernelUnavailable
from lbsim.kernel import agent, bench, cache, initramfs, probe, vm
from lbsim.kernel.images import Image
from lbsim.kernel.job import Job, Observation
from lbsim.kernel.run import run

JOBS = [Job("one", (), ()), Job("two", (), ())]
READY = 'echo \'{"ready": "6.1"}\'; echo \'{"start": "one"}\'\n'
SEEN = f"echo '{Observation('one', '6.1').to_json()}'\n"
CONSOLE = 'for word; do case "$word" in file:*) file="${word#file:}";; esac; done\n'

PROGRAM = """
import sys
from pathlib import Path
from lbsim.kernel import initramfs, vm
from lbsim.kernel.images import Image
from lbsim.kernel.job import Job

here = Path(sys.argv[1])
initramfs.base = lambda image: here / "base"
vm.run(Image("6.1.0", here / "vmlinuz", here), [Job("one", (), ())])
"""


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """A kernel whose guest needs no building; temporary folders go below tmp_path."""
    (tmp_path / "base").write_bytes(b"")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(initramfs, "base", lambda _: tmp_path / "base")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Image("6.1.0", tmp_path / "vmlinuz", tmp_path)


def qemu(folder: Path, text: str) -> None:
    (folder / vm.QEMU).write_text(f"#!/bin/sh\n{text}\n")
    (folder / vm.QEMU).chmod(0o755)


def failure(image: Image, folder: Path, text: str) -> KernelUnavailable:
    qemu(folder, text)
    with pytest.raises(KernelUnavailable) as caught:
        vm.run(image, JOBS, silence=0.5)
    assert "\n" not in str(caught.value)
    assert list((folder / "tmp").iterdir()) == []
    return caught.value


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_observations_come_back_in_the_order_of_the_jobs(image: Image, tmp_path: Path) -> None:
    two = SEEN.replace('"one"', '"two"')
    qemu(tmp_path, READY + SEEN + two + "echo '{\"end\": 2}'")
    assert [seen.name for seen in vm.run(image, JOBS)] == ["one", "two"]


def test_without_qemu_the_remedy_is_to_install_it(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "tmp"))
    with pytest.raises(KernelUnavailable, match="no qemu-system-x86_64 on PATH; apt install qemu-system-x86"):
        vm.run(image, JOBS)


def test_a_panic_names_its_reason_and_the_job(image: Image, tmp_path: Path) -> None:
    text = CONSOLE + READY + 'echo "[ 1.0] Kernel panic - not syncing: Fatal exception" > "$file"'
    assert "the guest panicked: Fatal exception, at job 'one' (0 of 2 done)" in str(failure(image, tmp_path, text))


def test_a_hang_ends_at_the_limit_and_keeps_what_was_done(image: Image, tmp_path: Path) -> None:
    error = failure(image, tmp_path, READY + SEEN + 'echo \'{"start": "two"}\'\nexec sleep 1000')
    assert "not a word for 0.5 s, at job 'two' (1 of 2 done)" in str(error)
    assert [seen.name for seen in error.done] == ["one"]


def test_a_guest_that_says_it_is_done_too_early_is_no_success(image: Image, tmp_path: Path) -> None:
    assert "results are missing" in str(failure(image, tmp_path, READY + SEEN + "echo '{\"end\": 1}'"))


def test_a_line_that_was_torn_is_no_success(image: Image, tmp_path: Path) -> None:
    assert "ended early" in str(failure(image, tmp_path, READY + 'echo \'{"name": "one", "rel\''))


def test_qemus_own_complaint_is_passed_on(image: Image, tmp_path: Path) -> None:
    error = failure(image, tmp_path, "echo 'qemu: could not load kernel' >&2; exit 1")
    assert "ended early: qemu: could not load kernel, at the start" in str(error)


def test_an_interrupt_ends_qemu_and_leaves_no_folder(image: Image, tmp_path: Path) -> None:
    qemu(tmp_path, f"echo $$ > {tmp_path}/pid\n" + READY + "exec sleep 1000")

    def interrupted(done: int, jobs: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vm.run(image, JOBS, progress=interrupted)
    assert gone(int((tmp_path / "pid").read_text()))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_kill_of_lbsim_ends_qemu_and_the_next_start_sweeps_the_rest(image: Image, tmp_path: Path) -> None:
    qemu(
        tmp_path, f"echo $$ > {tmp_path}/pid.part; mv {tmp_path}/pid.part {tmp_path}/pid\n" + READY + "exec sleep 1000"
    )
    (tmp_path / "program.py").write_text(PROGRAM)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)],
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(int((tmp_path / "pid").read_text()))
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    cache.sweep(tmp_path / "tmp")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_kernel_without_ip_vs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "vmlinuz").write_text("k")
    (tmp_path / "modules").mkdir()
    with pytest.raises(KernelUnavailable, match=r"no module ip_vs below .*; take another kernel"):
        initramfs.base(Image("6.9", tmp_path / "vmlinuz", tmp_path / "modules"))


def test_without_ipvsadm_the_remedy_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "_SBIN", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelUnavailable, match="no ipvsadm on this computer; apt install ipvsadm"):
        initramfs.base(Image("6.9", tmp_path, tmp_path))


def test_an_unknown_way_lists_the_known_ones() -> None:
    with pytest.raises(KernelUnavailable, match=r"unknown way 'vm:5'.*auto, netns, vm, vm:6\.1, vm:6\.12"):
        run(JOBS, "vm:5")


def test_netns_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(KernelUnavailable, match="it needs root; run as root, or use the vm"):
        run(JOBS, "netns")


@pytest.mark.parametrize(
    "argv", [("rm", "-r", "x"), ("sh", "-c", "x"), ("iptables", "--modprobe=x", "-S"), ("ip", "netns")]
)
def test_on_a_host_only_a_directors_programs_run(argv: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="not run on a host"):
        agent._refuse_more_than_a_director_needs(Job("one", (), (), (argv,)))


def test_a_sysctl_outside_the_network_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        bench.set_sysctl("kernel.panic", "1")


def test_the_status_tells_what_works_and_the_remedy_where_nothing_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(jobs: list[Job], way: str) -> list[Observation]:
        if way == "netns":
            raise KernelUnavailable("netns", "it needs root", "run as root")
        return [Observation("probe", "6.1.0", error="OSError" if way == "vm:6.12" else "")]

    monkeypatch.setattr(probe, "run", answer)
    assert [(way.name, way.works, way.release, way.problem) for way in probe.status()] == [
        ("netns", False, "", "netns: it needs root; run as root"),
        ("vm:6.1", True, "6.1.0", ""),
        ("vm:6.12", False, "6.1.0", "OSError"),
    ]
