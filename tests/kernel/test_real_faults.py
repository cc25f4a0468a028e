"""What goes wrong with real guests and real tools: one line each, the right exit status, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from lbsim.cli import main
from lbsim.errors import KernelFailed, KernelUnavailable
from lbsim.kernel import cache, cpio, frozen, images, initramfs, process, vm
from lbsim.kernel.images import Image
from lbsim.kernel.job import Command, CommandSeen, Job, Show
from tests.kernel.processes import ENDS, REPOSITORY, lbsim, on_a_small_disk, running, until
from tests.scenario.texts import WHOLE, write

pytestmark = pytest.mark.kernel

SOUND = WHOLE[: WHOLE.index("expect:")]
SCENARIOS = REPOSITORY / "scenarios"
ONE, TWO = SCENARIOS / "seed/walkthrough.lbsim.yaml", SCENARIOS / "seed/least-connection.lbsim.yaml"
MANY = [path for topic in ("operations", "timeouts") for path in sorted((SCENARIOS / topic).glob("*.lbsim.yaml"))]
SECOND = 10**9
AS_ROOT = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]

# An agent that does its second job in another way.
SPOILT = """#!/bin/python3 -S
from lbsim.kernel import agent

do = agent._do

def spoilt(job, *rest):
    if job.name == "least-connection":
        {spoil}
    return do(job, *rest)

agent._do = spoilt
agent.main()
"""
CRASH = 'open("/proc/sysrq-trigger", "w").write("c")'
HANG = "while True: pass"
KILLED_INIT = "the guest panicked: Attempted to kill init! exitcode"
RESET = "agent._libc.reboot(agent._RB_AUTOBOOT)"

# An agent that tells which links, routes and PCI devices there are, in the guest's first namespace.
LOOKS = """#!/bin/python3 -S
import json, os
from lbsim.kernel import agent
from lbsim.kernel.job import Observation

def look(job, *rest):
    devices = "/sys/bus/pci/devices"
    classes = [open(f"{devices}/{name}/class").read().strip() for name in os.listdir(devices)]
    seen = {"links": sorted(os.listdir("/sys/class/net")), "pci": sorted(classes),
            "routes": open("/proc/net/route").read().splitlines()[1:]}
    return Observation(job.name, "6.1", error=json.dumps(seen))

agent._do = look
agent.main()
"""

# A bench on this host's kernel that waits; no ip_vs is needed for that.
WAITS = """
from importlib import import_module
from lbsim.kernel.job import Job, Packet

job = Job("waits", ("192.168.1.10",), ("10.0.0.11",), events=(Packet(1000 * 10**9, 1, "c", bytes(20)),))
import_module("lbsim.kernel.run")._in_namespaces([job], lambda *words: print("at work", flush=True))
"""


@pytest.fixture(scope="module")
def image() -> Image:
    return images.fetch("6.1")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test only; a start finds its rests there, and nobody else's."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def boot_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts something else in the place of the guest's first program; what was kept of such guests goes, too."""
    usual = initramfs.base

    def put(init: str) -> None:
        def with_init(image: Image, programs: Collection[str] = ()) -> Path:
            changed = tmp_path / "changed.cpio"
            changed.write_bytes(
                usual(image, programs).read_bytes() + cpio.archive({"init": cpio.File(init.encode(), executable=True)})
            )
            return changed

        monkeypatch.setattr(initramfs, "base", with_init)

    monkeypatch.setattr(frozen, "_FOLDER", "frozen-of-tests")
    yield put
    shutil.rmtree(cache.folder("frozen-of-tests"))


def processes_that_name(folder: Path) -> list[str]:
    """The command lines in which a folder occurs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def namespaces(parent: int | None = None) -> set[str]:
    """The network namespaces that processes are in or hold: all of them, or one and its children."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            of = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in (None, of, int(path.name)):
                found.add(os.readlink(path / "ns/net"))
                found |= {target for fd in (path / "fd").iterdir() if (target := os.readlink(fd)).startswith("net:[")}
    return found


def verify(*words: str | Path) -> tuple[int, str, str]:
    """Exit status and what is said by a verification on a kernel 6.1, inside this process."""
    result = CliRunner().invoke(main, ["verify", "--kernel", "vm:6.1", *map(str, words)])
    complaints = [line for line in result.stderr.splitlines() if not line.startswith("verify: kernel ")]
    return result.exit_code, result.stdout, "\n".join(complaints)


def with_kernels(cache: Path) -> Path:
    """A cache folder that has the kernels of the user's and nothing else."""
    kernels = cache / "lbsim/kernels"
    kernels.mkdir(parents=True)
    for one in images.installed():
        tree = one.vmlinuz.parents[1]
        (kernels / tree.name).symlink_to(tree)
    return cache


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        pytest.param(CRASH, "the guest panicked: sysrq triggered crash", id="crash"),
        pytest.param("raise SystemExit(3)", f"{KILLED_INIT}=0x00000300", id="exit"),
        pytest.param("raise KeyError('x')", f"{KILLED_INIT}=0x00000100 (KeyError: 'x')", id="bug"),
        pytest.param(RESET, "the guest ended early", id="reset"),
        pytest.param(HANG, "not a word for 60 s", id="hang"),
    ],
)
def test_a_guest_that_fails_in_mid_run_is_one_line_with_its_job_and_never_a_skip(
    boot_with: Callable[[str], None], temporary: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, line: str
) -> None:
    boot_with(SPOILT.format(spoil=spoil))
    monkeypatch.setattr(vm, "run", partial(vm.run, silence=60.0))
    status, said, complaint = verify("--allow-skip", ONE, TWO)
    assert (status, said) == (2, "")
    assert complaint.startswith(f"the kernel {images.find('6.1').release} under QEMU: {line}")
    assert ", at job 'least-connection' (1 of 2 done); try again" in complaint
    assert "\n" not in complaint
    assert processes_that_name(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("init", "silence", "line"),
    [
        pytest.param(
            "#!/bin/python3 -S\nraise SystemExit(3)\n", 120.0, "the guest panicked: Attempted to kill", id="exit"
        ),
        pytest.param("not a program", 120.0, "the guest panicked: ", id="no program"),
        pytest.param("#!/bin/python3 -S\nwhile True: pass\n", 10.0, "not a word for 10 s", id="hang"),
    ],
)
def test_a_guest_that_fails_while_booting_is_one_line_and_never_a_skip(
    boot_with: Callable[[str], None],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    init: str,
    silence: float,
    line: str,
) -> None:
    boot_with(init)
    monkeypatch.setattr(vm, "run", partial(vm.run, silence=silence))
    status, said, complaint = verify("--allow-skip", ONE)
    assert (status, said) == (2, "")
    assert complaint.startswith(f"the kernel {images.find('6.1').release} under QEMU: {line}")
    assert ", at the start; try again" in complaint
    assert "\n" not in complaint
    assert processes_that_name(temporary) == []
    assert list(temporary.iterdir()) == []


def test_a_guest_without_enough_memory_is_to_be_asked_for_less(
    image: Image, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "_USUAL", 0)
    monkeypatch.setattr(vm, "_megabytes", lambda *_: 160)
    with pytest.raises(KernelFailed) as caught:
        vm.run(image, [Job("large", ("192.168.1.10",), (), (("ipvsadm", "-C"),) * 300_000)])
    assert str(caught.value).endswith("; ask for less at once: fewer packets, fewer scenarios")
    assert list(temporary.iterdir()) == []


def test_a_guest_that_waits_for_an_hour_says_so_all_the_time(image: Image) -> None:
    told: list[str] = []
    job = Job("waits", ("192.168.1.10",), (), events=(Show(3600 * SECOND),))
    (seen,) = vm.run(image, [job], progress=lambda _done, _jobs, name: told.append(name))
    assert seen.error == ""
    assert 0 <= seen.events[0].at - 3600 * SECOND < SECOND // 1000
    assert told.count("waits") >= 3600 // 60


@pytest.mark.parametrize("how", ENDS)
def test_whatever_ends_lbsim_in_mid_run_ends_qemu_and_the_next_start_sweeps_the_rest(temporary: Path, how: str) -> None:
    links = os.listdir("/sys/class/net")
    words = lbsim("verify", "--kernel", "vm:6.1", *MANY)
    with running(words, terminal=how == "Ctrl-C") as run:
        until("a job is at work", lambda: "verify: kernel" in run.said, 120)
        assert any(vm.QEMU in words for words in processes_that_name(temporary))
        assert run.end(how) == ENDS[how]
    until("QEMU has ended", lambda: processes_that_name(temporary) == [], 10)
    assert "identical" not in run.said
    if ENDS[how] == 130:
        assert run.said.splitlines()[-1].endswith("interrupted")
    assert len(list(temporary.iterdir())) == (0 if ENDS[how] == 130 else 1)
    status, said, complaint = verify(ONE)
    assert (status, complaint) == (0, "")
    assert "identical" in said
    assert list(temporary.iterdir()) == []
    assert os.listdir("/sys/class/net") == links


@pytest.mark.parametrize("how", ENDS)
def test_whatever_ends_lbsim_ends_the_agent_and_its_namespaces(temporary: Path, how: str) -> None:
    links = os.listdir("/sys/class/net")
    with running([*AS_ROOT, sys.executable, "-c", WAITS], terminal=how == "Ctrl-C") as run:
        until("the bench is built", lambda: "at work" in run.said and len(namespaces(run.process.pid)) > 3)
        held = namespaces(run.process.pid) - namespaces(os.getpid())
        run.end(how)
    until("the agent has ended", lambda: processes_that_name(temporary) == [], 10)
    until("its namespaces are gone", lambda: not held & namespaces(), 10)
    assert os.listdir("/sys/class/net") == links
    with cache.scratch():  # as the next start does
        assert len(list(temporary.iterdir())) == 1


def test_a_qemu_that_somebody_kills_in_mid_run_is_no_pass(temporary: Path) -> None:
    with running(lbsim("verify", "--allow-skip", "--kernel", "vm:6.1", *MANY)) as run:
        until("a job is at work", lambda: "verify: kernel" in run.said, 120)
        (guest,) = subprocess.run(
            ["pgrep", "--parent", str(run.process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(guest), signal.SIGKILL)
        assert run.wait() == 2
    assert "QEMU was killed by SIGKILL, at job " in run.said.splitlines()[-1]
    assert list(temporary.iterdir()) == []


def test_a_kernel_without_ip_vs_is_one_line_with_the_remedy(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "cache/lbsim/kernels/linux-image-without"
    modules = tree / "lib/modules" / image.release
    shutil.copytree(image.modules / "kernel/drivers/net", modules / "kernel/drivers/net")
    (tree / "boot").mkdir()
    (tree / "boot" / image.vmlinuz.name).symlink_to(image.vmlinuz)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    line = (
        f"the kernel {image.release}: no module ip_vs below {modules}; "
        "take another kernel: lbsim kernel status names those that work"
    )
    assert verify(ONE) == (2, "", line)
    assert verify("--allow-skip", ONE) == (0, "", f"skipped: {line}")
    assert list((tmp_path / "cache/lbsim/initramfs").iterdir()) == []


def test_modules_of_another_kernel_are_one_line(image: Image, temporary: Path) -> None:
    mixed = Image(image.release, image.vmlinuz, images.fetch("6.12").modules)
    with pytest.raises(KernelFailed, match=r"the guest panicked: .*module \w+: Exec format error\), at the start; try"):
        vm.run(mixed, [Job("one", (), ())])
    assert list(temporary.iterdir()) == []


def test_without_ipvsadm_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SBIN", ())
    monkeypatch.setenv("PATH", os.path.dirname(str(shutil.which(vm.QEMU))))
    if shutil.which("ipvsadm"):
        pytest.fail("ipvsadm is in one folder with QEMU here")
    status, said, complaint = verify(ONE)
    assert (status, said) == (2, "")
    assert complaint.endswith("no ipvsadm on this computer; apt install ipvsadm")


def test_a_cache_without_room_for_the_guest_is_one_line_and_nothing_is_left(
    image: Image, tmp_path: Path, temporary: Path
) -> None:
    small = tmp_path / "cache"
    small.mkdir()
    tree = image.vmlinuz.parents[1]
    kernels = ["sh", "-c", 'mkdir -p "$0"; ln -s "$1" "$0"; shift; exec "$@"', str(small / "lbsim/kernels"), str(tree)]
    argv = [*kernels, "env", f"XDG_CACHE_HOME={small}", *lbsim("verify", "--kernel", "vm:6.1", ONE)]
    done = on_a_small_disk(small, argv, "size=20m")
    folder = small / "lbsim/initramfs"
    assert done.returncode == 2
    assert done.stderr == (
        f"the cache folder {folder}: No space left on device; make room there, or name another folder in "
        "XDG_CACHE_HOME\n"
    )
    assert sorted(done.stdout.splitlines()) == sorted(
        map(str, (small / "lbsim", folder, small / "lbsim/kernels", small / "lbsim/kernels" / tree.name))
    )
    assert list(temporary.iterdir()) == []


def test_no_room_for_temporary_files_is_one_line_and_nothing_is_left(temporary: Path) -> None:
    done = on_a_small_disk(temporary, lbsim("verify", "--kernel", "vm:6.1", ONE), "size=16k")
    line = f"the folder for temporary files {temporary}: No space left on device; make room there, or name another"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{line} folder in TMPDIR\n"


def test_a_package_that_does_not_fit_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    built = tmp_path / "built"
    for folder in ("DEBIAN", "boot", "lib/modules/6.1.0-1-cloud-amd64"):
        (built / folder).mkdir(parents=True)
    (built / "DEBIAN/control").write_text("Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n")
    (built / "boot/vmlinuz-6.1.0-1-cloud-amd64").write_bytes(bytes(9_000_000))
    package = tmp_path / "linux-image-6.1.0-1-cloud-amd64_1_amd64.deb"
    subprocess.run(["dpkg-deb", "-b", str(built), str(package)], check=True, capture_output=True)
    small = tmp_path / "cache"
    small.mkdir()
    argv = ["env", f"XDG_CACHE_HOME={small}", *lbsim("kernel", "fetch", package)]
    kernels = small / "lbsim/kernels"
    done = on_a_small_disk(small, argv, "size=1m")
    assert done.returncode == 2
    assert done.stderr.startswith(f"the kernel package {package.name}: unpacking failed: ")
    assert "No space left on device" in done.stderr
    assert done.stderr.endswith(f"; make room in {kernels}, or name another folder in XDG_CACHE_HOME\n")
    assert done.stderr.count("\n") == 1
    assert done.stdout.splitlines() == [str(path) for path in (kernels.parent, kernels, kernels / ".lock")]
    done = on_a_small_disk(small, argv, "size=99m")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        f"linux-6.1.0-1-cloud-amd64: {kernels}/linux-image-6.1.0-1-cloud-amd64/boot/vmlinuz-6.1.0-1-cloud-amd64",
    )


def test_the_guest_has_no_network_card(boot_with: Callable[[str], None], image: Image) -> None:
    boot_with(LOOKS)
    (seen,) = vm.run(image, [Job("looks", (), ())])
    found = json.loads(seen.error)
    assert found["links"] == ["lo"]
    assert found["routes"] == []
    assert "0x060000" in found["pci"]  # the bridge of the processor: PCI devices are listed
    assert [one for one in found["pci"] if one.startswith("0x02")] == []  # network controllers


def test_a_director_has_only_the_benchs_links(image: Image) -> None:
    listing = Command(SECOND, ("ip", "-o", "-d", "link"))
    (seen,) = vm.run(image, [Job("links", ("192.168.1.10",), ("10.0.0.11",), events=(listing,))])
    row = seen.events[0]
    assert isinstance(row, CommandSeen)
    links = [(line.split()[1].split("@")[0].rstrip(":"), " veth " in line) for line in row.output.splitlines()]
    assert sorted(links) == [("eth0", True), ("eth1", True), ("lo", False)]


def test_what_a_shell_would_act_on_comes_back_as_it_is(image: Image) -> None:
    text = "$(reboot -f); `reboot -f` | reboot -f & '\"\\"
    setup = (
        ("ipvsadm", "-A", "-t", text),
        ("ipvsadm", "-C", ";", "reboot", "-f"),
        (text,),
        ("ip", "link", "show", text),
    )
    jobs = [Job(text, ("192.168.1.10",), (), setup, (), (Command(SECOND, ("sysctl", text)),)), Job("next", (), ())]
    odd, after = vm.run(image, jobs)
    assert (odd.name, odd.error, after.error) == (text, "", "")
    assert [one.argv for one in odd.setup] == list(setup)
    assert all(one.status for one in odd.setup)
    assert odd.setup[2].output.startswith(f"{text}: ")
    assert text in odd.setup[3].output


def test_folders_with_names_that_a_shell_or_qemu_would_act_on_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a b,c=d;$(touch pwned)`touch pwned`'\"&%s"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(with_kernels(folder / "cache")))
    monkeypatch.chdir(tmp_path)
    status, said, complaint = verify(write(folder, SOUND))
    assert (status, complaint) == (0, "")
    assert said.startswith("demo: identical: ")
    assert list(tmp_path.rglob("pwned")) == []


def test_the_status_tries_every_way(temporary: Path) -> None:
    for series in images.SERIES:
        images.fetch(series)
    result = CliRunner().invoke(main, ["kernel", "status"])
    netns, *guests = result.stdout.splitlines()
    assert netns.startswith(("netns: linux-", "netns: not here: this host's kernel (netns): "))
    assert [line.rpartition(".")[0] for line in guests] == [f"vm:{series}: linux-{series}" for series in images.SERIES]
    assert (result.exit_code, result.stderr) == (0, "")
    assert list(temporary.iterdir()) == []


def test_the_status_names_the_remedy_of_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(main, ["kernel", "status"])
    assert result.stdout.splitlines() == [
        "netns: not here: this host's kernel (netns): it needs root; run as root, or use the vm: "
        "lbsim verify --kernel vm",
        "vm:6.1: not here: a kernel 6.1: there is none in the cache folder; lbsim kernel fetch 6.1",
        "vm:6.12: not here: a kernel 6.12: there is none in the cache folder; lbsim kernel fetch 6.12",
    ]
    assert result.exit_code == 2


def test_a_kernel_that_is_not_there_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(KernelUnavailable):
        images.find("6.1")
    line = "a kernel 6.1: there is none in the cache folder; lbsim kernel fetch 6.1"
    assert verify(ONE) == (2, "", line)
    assert verify("--allow-skip", ONE) == (0, "", f"skipped: {line}")
