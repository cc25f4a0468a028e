"""What goes wrong around a guest, with programs that play QEMU: one line each, and nothing left behind."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from lbsim.errors import KernelFailed, KernelUnavailable
from lbsim.kernel import agent, bench, frozen, initramfs, parcel, probe, process, vm
from lbsim.kernel.images import Image
from lbsim.kernel.job import Command, Job, Observation
from lbsim.kernel.run import netns_ready, run
from tests.kernel.processes import ENDS, REPOSITORY, gone, program, running, until

RUN = import_module("lbsim.kernel.run")  # the module: the package has a function of that name
SCENARIO = REPOSITORY / "scenarios/seed/walkthrough.lbsim.yaml"
JOBS = [Job("one", (), ()), Job("two", (), ())]
READY = 'echo \'{"ready": "6.1"}\'\n'
START = 'echo \'{"start": "one"}\'\n'
SEEN = f"echo '{Observation('one', '6.1').to_json()}'\n"
CONSOLE = 'for word; do case "$word" in file:*) file="${word#file:}";; esac; done\n'
PANIC = 'echo "[ 1.0] Kernel panic - not syncing: Fatal exception" > "$file"\n'
HANG = "exec sleep 1000\n"
TRY_AGAIN = "; try again; if it stays so, take another kernel: lbsim kernel status names those that work"

# lbsim with a kernel whose guest needs no building, and less patience.
LBSIM = """
import sys
from pathlib import Path
from lbsim.cli import main
from lbsim.kernel import frozen, images, initramfs, vm
from lbsim.kernel.images import Image

here = Path(sys.argv.pop(1))
initramfs.base = lambda image, programs: here / "base"
frozen.kept = lambda *_: None
images.find = lambda series: Image("6.1.0", here / "vmlinuz", here)
vm.run.__kwdefaults__["silence"] = 4.0
main()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs are found first; temporary folders go below its ``tmp``."""
    (tmp_path / "base").write_bytes(b"")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "verify.py").write_text(LBSIM)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.fixture
def image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """A kernel whose guest needs no building, and is not kept."""
    monkeypatch.setattr(initramfs, "base", lambda _image, programs: folder / "base")
    monkeypatch.setattr(frozen, "kept", lambda *_: None)
    return Image("6.1.0", folder / "vmlinuz", folder)


def qemu(folder: Path, text: str) -> None:
    program(folder, vm.QEMU, text)


def left(folder: Path) -> list[Path]:
    return list((folder / "tmp").iterdir())


def failure(image: Image, folder: Path, text: str, silence: float = 60) -> KernelFailed:
    qemu(folder, text)
    with pytest.raises(KernelFailed) as caught:
        vm.run(image, JOBS, silence=silence)
    assert "\n" not in str(caught.value)
    assert left(folder) == []
    return caught.value


def verify(folder: Path, *words: str) -> list[str]:
    """A command line that verifies a scenario on a kernel that QEMU is to boot."""
    return [
        sys.executable,
        str(folder / "verify.py"),
        str(folder),
        "verify",
        "--kernel",
        "vm:6.1",
        *words,
        str(SCENARIO),
    ]


def said(folder: Path, *words: str) -> tuple[int, str]:
    """Exit status and what was said of a verification as a process of its own, without its progress."""
    with running(verify(folder, *words)) as lbsim:
        status = lbsim.wait()
    lines = [line for line in lbsim.said.splitlines(keepends=True) if not line.startswith("verify: kernel ")]
    return status, "".join(lines)


def test_observations_come_back_in_the_order_of_the_jobs(image: Image, folder: Path) -> None:
    two = SEEN.replace('"one"', '"two"')
    qemu(folder, READY + SEEN + two + "echo '{\"end\": 2}'")
    assert [seen.name for seen in vm.run(image, JOBS)] == ["one", "two"]


def test_without_qemu_the_remedy_is_to_install_it(image: Image, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder / "tmp"))
    with pytest.raises(KernelUnavailable, match="no qemu-system-x86_64 on PATH; apt install qemu-system-x86") as caught:
        vm.run(image, JOBS)
    assert not isinstance(caught.value, KernelFailed)


def test_a_panic_names_its_reason_and_the_job(image: Image, folder: Path) -> None:
    error = failure(image, folder, CONSOLE + READY + START + PANIC)
    assert "the guest panicked: Fatal exception, at job 'one' (0 of 2 done); try again" in str(error)


def test_a_panic_between_two_jobs_names_the_next_one(image: Image, folder: Path) -> None:
    error = failure(image, folder, CONSOLE + READY + START + SEEN + PANIC)
    assert "at job 'two' (1 of 2 done)" in str(error)


def test_a_panic_before_the_agent_is_ready_is_at_the_start(image: Image, folder: Path) -> None:
    assert ", at the start; " in str(failure(image, folder, CONSOLE + PANIC))


@pytest.mark.parametrize(
    "console",
    [
        "Out of memory: Killed process 1 (python3)",
        "Kernel panic - not syncing: System is deadlocked on memory",
        "Initramfs unpacking failed: write error",
    ],
)
def test_a_guest_without_enough_memory_is_to_be_asked_for_less(image: Image, folder: Path, console: str) -> None:
    error = failure(image, folder, f'{CONSOLE}echo "[ 1.0] {console}" > "$file"\n{PANIC.replace(">", ">>")}')
    assert str(error).endswith("; ask for less at once: fewer packets, fewer scenarios")


def test_more_jobs_get_more_memory(image: Image, folder: Path) -> None:
    qemu(folder, f'echo "$@" > {folder}/words')
    for name, expected in (("one", 1024), ("x" * (1 << 20), 1024), ("x" * (30 << 20), 512 + 600)):
        with pytest.raises(KernelFailed):
            vm.run(image, [Job(name, (), ())])
        memory = re.search(r" -m (\d+) ", (folder / "words").read_text())
        assert memory
        assert int(memory[1]) == expected


def test_a_hang_ends_at_the_limit_and_keeps_what_was_done(image: Image, folder: Path) -> None:
    error = failure(image, folder, READY + START + SEEN + HANG, silence=3)
    assert "not a word for 3 s, at job 'two' (1 of 2 done); try again when this computer has less" in str(error)
    assert [seen.name for seen in error.done if isinstance(seen, Observation)] == ["one"]


def test_a_guest_that_speaks_now_and_then_does_not_hang(image: Image, folder: Path) -> None:
    talks = 'for i in 1 2 3 4 5; do sleep 0.3; echo \'{"start": "one"}\'; done\n'
    two = SEEN.replace('"one"', '"two"')
    qemu(folder, READY + talks + SEEN + two + "echo '{\"end\": 2}'")
    assert len(vm.run(image, JOBS, silence=3)) == 2


@pytest.mark.parametrize("what", [SEEN, SEEN + SEEN, SEEN.replace('"one"', '"two"') + SEEN, SEEN * 3])
def test_results_that_are_not_those_of_the_jobs_are_no_success(image: Image, folder: Path, what: str) -> None:
    assert "results are missing" in str(failure(image, folder, READY + what + "echo '{\"end\": 2}'"))


@pytest.mark.parametrize(
    "line", ['{"name": "one", "rel', '{"name": "one"}', "[]", "7", "null", "%%%", "\\377\\376", "AAAA"]
)
def test_a_line_that_makes_no_sense_is_no_success(image: Image, folder: Path, line: str) -> None:
    assert "ended early" in str(failure(image, folder, READY + f"printf '{line}\\n'"))


def test_qemus_own_complaint_is_passed_on(image: Image, folder: Path) -> None:
    error = failure(image, folder, "echo 'qemu: could not load kernel' >&2; exit 1")
    assert "ended early: qemu: could not load kernel, at the start" in str(error)


def test_what_would_move_a_cursor_is_not_passed_on(image: Image, folder: Path) -> None:
    assert str(failure(image, folder, r"printf '\033[2Jbad\r\n' >&2; exit 1")).isprintable()


def test_a_qemu_that_somebody_killed_is_not_blamed_on_the_guest(image: Image, folder: Path) -> None:
    error = failure(image, folder, READY + START + "kill -9 $$")
    assert "QEMU was killed by SIGKILL, at job 'one' (0 of 2 done); see who did it: is memory short?" in str(error)


def test_a_qemu_that_cannot_be_executed_is_one_line(image: Image, folder: Path) -> None:
    (folder / vm.QEMU).write_bytes(b"\x7fELF of another world")
    (folder / vm.QEMU).chmod(0o755)
    with pytest.raises(KernelUnavailable, match="cannot be started: Exec format error"):
        vm.run(image, JOBS)
    assert left(folder) == []


@pytest.mark.parametrize("words", [[], ["--allow-skip"]])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            CONSOLE + PANIC,
            f"the guest panicked: Fatal exception, at the start{TRY_AGAIN}",
            id="panic while booting",
        ),
        pytest.param(
            CONSOLE + READY + START + PANIC,
            f"the guest panicked: Fatal exception, at job 'walkthrough' (0 of 1 done){TRY_AGAIN}",
            id="panic in mid-run",
        ),
        pytest.param(
            HANG,
            "not a word for 4 s, at the start; try again when this computer has less to do",
            id="hang while booting",
        ),
        pytest.param(
            READY + START + HANG,
            "not a word for 4 s, at job 'walkthrough' (0 of 1 done); try again when this computer has less to do",
            id="hang in mid-run",
        ),
        pytest.param("exit 1", f"the guest ended early, at the start{TRY_AGAIN}", id="end"),
        pytest.param(
            READY + "echo '{\"end\": 1}'",
            "results are missing, at job 'walkthrough' (0 of 1 done); try again",
            id="nothing done",
        ),
    ],
)
def test_a_kernel_that_was_started_and_failed_exits_2_and_is_never_a_skip(
    folder: Path, text: str, line: str, words: list[str]
) -> None:
    qemu(folder, text)
    assert said(folder, *words) == (2, f"the kernel 6.1.0 under QEMU: {line}\n")
    assert left(folder) == []


@pytest.mark.parametrize(("words", "status", "head"), [([], 2, ""), (["--allow-skip"], 0, "skipped: ")])
def test_without_qemu_everything_is_skipped_which_has_to_be_allowed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int, head: str
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    line = "the kernel 6.1.0 under QEMU: no qemu-system-x86_64 on PATH; apt install qemu-system-x86"
    assert said(folder, *words) == (status, f"{head}{line}\n")


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("text", ["", READY + START], ids=["while booting", "in mid-run"])
def test_whatever_ends_lbsim_ends_qemu_and_the_next_start_sweeps_the_rest(folder: Path, text: str, how: str) -> None:
    qemu(folder, f"{text}echo $$ > {folder}/pid.part; mv {folder}/pid.part {folder}/pid\n{HANG}")
    (folder / "verify.py").write_text(LBSIM.replace("= 4.0", "= 1000.0"))
    with running(verify(folder), terminal=how == "Ctrl-C") as lbsim:
        until("QEMU runs", (folder / "pid").exists)
        assert lbsim.end(how) == ENDS[how]
    assert gone(int((folder / "pid").read_text()))
    if ENDS[how] == 130:
        assert lbsim.said.splitlines()[-1].endswith("interrupted")
        assert left(folder) == []
    qemu(folder, "exit 1")
    assert said(folder)[0] == 2
    assert left(folder) == []


def test_a_full_folder_for_temporary_files_names_its_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, image: Image
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parcel, "write", full)
    line = r"the folder for temporary files .*/tmp: No space left on device; make room there, or name .* in TMPDIR"
    with pytest.raises(KernelUnavailable, match=line):
        vm.run(image, JOBS)
    assert left(folder) == []


@pytest.fixture
def kernel_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """A kernel with an empty folder of modules, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "vmlinuz").write_text("k")
    (tmp_path / "modules").mkdir()
    return Image("6.9", tmp_path / "vmlinuz", tmp_path / "modules")


def test_a_kernel_without_ip_vs_is_refused(kernel_of: Image) -> None:
    with pytest.raises(KernelUnavailable, match=r"no module ip_vs below .*/modules; take another kernel"):
        initramfs.base(kernel_of)


def test_a_kernel_with_ip_vs_built_in_is_not_refused(kernel_of: Image) -> None:
    builtin = "kernel/net/netfilter/ipvs/ip_vs.ko\nkernel/net/netfilter/ipvs/ip_vs_rr.ko\n"
    (kernel_of.modules / "modules.builtin").write_text(builtin)
    assert initramfs._kernel_modules(kernel_of).keys() == {"lib/lbsim/needs.json"}


@pytest.mark.parametrize(
    ("programs", "missing", "message"),
    [
        ([], "ipvsadm", "no ipvsadm on this computer; apt install ipvsadm"),
        (["iptables"], "iptables", "no iptables on this computer; apt install iptables"),
        (["ip6tables"], "ip6tables", "no ip6tables on this computer; apt install iptables"),
    ],
)
def test_without_a_tool_that_is_needed_the_remedy_is_to_install_it(
    kernel_of: Image, monkeypatch: pytest.MonkeyPatch, programs: list[str], missing: str, message: str
) -> None:
    monkeypatch.setattr(initramfs, "which", lambda name: None if name == missing else Path("/bin/sh"))
    with pytest.raises(KernelUnavailable, match=message):
        initramfs.base(kernel_of, programs)


def test_a_tool_that_no_job_runs_may_be_missing(kernel_of: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "which", lambda name: Path("/bin/sh") if name == "ipvsadm" else None)
    with pytest.raises(KernelUnavailable, match="no module ip_vs"):  # so far it came
        initramfs.base(kernel_of, ["sysctl", "; reboot"])


def test_what_the_jobs_run_must_be_there(image: Image, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    asked: list[set[str]] = []

    def base(_image: Image, programs: set[str]) -> Path:
        asked.append(programs)
        return folder / "base"

    monkeypatch.setattr(initramfs, "base", base)
    qemu(folder, "exit 1")
    job = Job("one", (), (), (("iptables", "-S"),), (), (Command(0, ("ipvsadm", "-C")),))
    with pytest.raises(KernelFailed):
        vm.run(image, [job])
    assert asked == [{"iptables", "ipvsadm"}]


def test_another_kind_of_computer_cannot_fill_the_guest(kernel_of: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(KernelUnavailable, match="this computer, which is Linux on aarch64; take a computer with Linux"):
        initramfs.base(kernel_of)


def test_a_system_that_is_no_linux_is_told_so_in_one_line(tmp_path: Path) -> None:
    script = "import sys; sys.modules['fcntl'] = None; from lbsim.cli import main; main()"
    words = ["verify", str(SCENARIO)]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    line = "a real kernel: this system cannot run a Linux kernel; use Linux, or compare with recordings: --recorded\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    done = subprocess.run(
        [sys.executable, "-c", script, *words, "--recorded"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.count("identical"), done.stderr) == (0, 2, "")


def test_an_unknown_way_lists_the_known_ones() -> None:
    with pytest.raises(KernelUnavailable, match=r"unknown way 'vm:5'.*auto, netns, vm, vm:6\.1, vm:6\.12"):
        run(JOBS, "vm:5")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this a host that could do netns, but for what is said."""

    def make(without: str = "", answer: Callable[[], list[Observation]] = list) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000 if without == "root" else 0)
        monkeypatch.setattr(process, "which", lambda name: None if name == without else Path("/bin/true"))
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == without else name)
        monkeypatch.setattr(Path, "exists", lambda path: False)
        monkeypatch.setattr(RUN, "_in_namespaces", lambda *_: answer())

    return make


def refused() -> list[Observation]:
    return [Observation("probe", "6.1", error="PermissionError in the set-up: unshare: Operation not permitted")]


def hung() -> list[Observation]:
    raise KernelFailed("netns", "not a word for 20 s", "try again")


@pytest.mark.parametrize(
    ("without", "line"),
    [
        ("root", "it needs root; run as root, or use the vm: lbsim verify --kernel vm"),
        ("ipvsadm", "no ipvsadm on this computer; apt install ipvsadm"),
        ("iptables", "no iptables on this computer; apt install iptables"),
        ("pyroute2", "no pyroute2; pip install 'lbsim[kernel]'"),
        (
            "modprobe",
            f"the kernel {os.uname().release} has no ip_vs and none can be loaded; use the vm: lbsim verify --ker",
        ),
    ],
)
def test_netns_says_what_is_missing_and_what_helps(host: Callable[..., None], without: str, line: str) -> None:
    host(without)
    with pytest.raises(KernelUnavailable) as caught:
        netns_ready([Job("one", (), (), (("iptables", "-S"),))])
    assert str(caught.value).startswith(f"this host's kernel (netns): {line}")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            refused,
            "a bench cannot be built: PermissionError in the set-up: unshare: Operation not permitted; "
            "in a container, give it all privileges; or use the vm: lbsim verify --kernel vm",
        ),
        (hung, "not a word for 20 s; use the vm: lbsim verify --kernel vm"),
    ],
)
def test_netns_is_tried_before_it_is_used(
    host: Callable[..., None], answer: Callable[[], list[Observation]], line: str
) -> None:
    host(answer=answer)
    with pytest.raises(KernelUnavailable) as caught:
        run(JOBS, "netns")
    assert str(caught.value) == f"this host's kernel (netns): {line}"
    assert not isinstance(caught.value, KernelFailed)  # nothing was asked yet: that is a skip


def test_where_netns_does_not_work_the_vm_is_taken(host: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    host(answer=refused)
    monkeypatch.setattr(RUN, "_image", lambda way: Image(way, Path("k"), Path("m")))
    monkeypatch.setattr(vm, "run", lambda image, jobs, **_: [Observation(job.name, image.release) for job in jobs])
    assert [seen.release for seen in run(JOBS, "auto")] == ["auto", "auto"]


def test_a_bench_that_cannot_be_built_on_this_host_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(folder, "ipvsadm", "exit 1")  # also as root on a host with ip_vs the look at the tables fails
    program(folder, "modprobe", "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(KernelUnavailable, match=r"a bench cannot be built: \w+Error in (the set-up|event 0): "):
        netns_ready()
    assert left(folder) == []


@pytest.mark.parametrize(
    "argv", [("rm", "-r", "x"), ("sh", "-c", "x"), ("iptables", "--modprobe=x", "-S"), ("ip", "netns")]
)
def test_on_a_host_only_a_directors_programs_run(argv: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="not run on a host"):
        agent._refuse_more_than_a_director_needs(Job("one", (), (), (argv,)))


# In every place of a scenario that holds a text of its own.
HOSTILE = r"""$(touch pwned);`touch pwned`|touch pwned&'\"\n touch pwned #"""
PLACES = {
    "name": 'name: "HOSTILE"',
    "description": 'name: x\ndescription: "HOSTILE"',
    "config": 'name: x\nconfig: "HOSTILE"',
    "scheduler": 'name: x\nconfig: "ipvsadm -A -t 192.168.1.10:80 -s HOSTILE"',
    "command": 'name: x\ntimeline: [{at: 0, run: "HOSTILE"}]',
    "option": 'name: x\ntimeline: [{at: 0, run: "ipvsadm -A -t 192.168.1.20:80 -s rr HOSTILE"}]',
    "file": 'name: x\nconfig: {ipvsadm: "HOSTILE"}',
    "sysctl": 'name: x\nsysctls: {"HOSTILE": 1}',
    "value": 'name: x\nsysctls: {conn_reuse_mode: "HOSTILE"}',
    "packets": 'name: x\ntraffic: [{packets: "HOSTILE"}]',
    "capture": 'name: x\ntraffic: [{capture: "HOSTILE"}]',
    "profile": 'name: x\nprofile: "HOSTILE"',
    "key": '"HOSTILE": x',
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_of_a_scenario_reaches_a_shell(folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    keys = PLACES[place].replace("HOSTILE", HOSTILE)
    rest = {
        "config": "config: ipvsadm -A -t 192.168.1.10:80 -s rr",
        "traffic": "traffic: [{packets: '0s 198.51.100.1:4000 > 192.168.1.10:80 tcp S'}]",
    }
    lines = [keys, *(line for key, line in rest.items() if f"{key}:" not in keys)]
    scenario = folder / "hostile.lbsim.yaml"
    scenario.write_text("\n".join(lines) + "\n")
    qemu(folder, "exit 1")
    monkeypatch.chdir(folder)
    with running([*verify(folder)[:-1], str(scenario)]) as lbsim:
        assert lbsim.wait() == 2
    assert "Traceback" not in lbsim.said
    assert list(folder.rglob("pwned*")) == []


def test_lbsim_never_uses_a_shell() -> None:
    """No call that starts one, no argument that asks for one, and no command line that begins with one."""
    for path in sorted((REPOSITORY / "lbsim").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.keyword(arg="shell"):
                    pytest.fail(f"{path}: shell=")
                case ast.Attribute(value=ast.Name("os"), attr="system" | "popen"):
                    pytest.fail(f"{path}: os.{node.attr}")
                case ast.Attribute(attr="getoutput" | "getstatusoutput" | "create_subprocess_shell"):
                    pytest.fail(f"{path}: {node.attr}")
                case ast.List(elts=[ast.Constant(word), *_]) | ast.Tuple(elts=[ast.Constant(word), *_]):
                    assert str(word).rpartition("/")[2] not in ("sh", "bash", "dash"), f"{path}: {word!r}"


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
