"""The command line: exit status, what goes to standard output and what to standard error."""

from __future__ import annotations

import errno
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

import lbsim
from lbsim.cli import main
from lbsim.simulate import simulate
from tests.command_line import FAILING, ROOT, a_process, cli, interrupted_when, run, written
from tests.scenario.texts import WHOLE, changed, line_with, write

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_a_passing_scenario_exits_0_and_leaves_a_report(tmp_path: Path) -> None:
    result = run(write(tmp_path))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "expectations: 5 of 5 met" in result.stdout
    assert {path.name for path in (tmp_path / "reports" / "demo").iterdir()} == {"result.json", "summary.md"}


def test_figures_are_drawn_unless_unwanted(tmp_path: Path) -> None:
    assert cli("run", "--out", "pictures", write(tmp_path)).exit_code == 0
    assert list((tmp_path / "pictures" / "demo").glob("*.png"))


def test_a_missed_expectation_exits_1_and_is_shown(tmp_path: Path) -> None:
    result = run(write(tmp_path, FAILING))
    assert (result.exit_code, result.stderr) == (1, "")
    assert "FAIL  packets by reason: new 7: new: 6 packets, expected 7" in result.stdout


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ":1: empty; expected a scenario"),
        (b"\x7fELF\x02\x01\x01\x00\x00", ":1: not text"),
        (b"\xff\xfe\x00a", ":1: not UTF-8 text"),
        (BOMB.encode(), "more than 1,000,000 values"),
        (b"[" * 100_000, "nested more than 50 levels deep"),
        (changed("connections", "conections").encode(), "unknown key 'conections', did you mean 'connections'?"),
        (changed("at: 250ms", "at: -5s").encode(), "timeline[0].at: -5s is negative; time begins at 0"),
        (changed("-s rr", "-s rrr").encode(), "unknown scheduler 'rrr', did you mean 'rr'?"),
        (changed("  - at", "\t- at").encode(), "a tab cannot indent YAML"),
    ],
)
def test_what_cannot_be_understood_exits_2_with_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.lbsim.yaml"
    path.write_bytes(content)
    result = run(path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{path}:")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "reports").exists()


def test_a_file_that_is_not_there_exits_2_with_its_name(tmp_path: Path) -> None:
    result = run("missing.lbsim.yaml")
    assert (result.exit_code, result.stderr) == (2, "missing.lbsim.yaml: cannot read: No such file or directory\n")


def test_a_directory_means_all_scenarios_below_it(tmp_path: Path) -> None:
    (tmp_path / "all" / "deeper").mkdir(parents=True)
    write(tmp_path / "all")
    write(tmp_path / "all" / "deeper", changed("name: demo", "name: second"), "b.lbsim.yaml")
    (tmp_path / "all" / "other.yaml").write_text("no scenario")
    assert run("all").exit_code == 0
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"demo", "second"}


def test_a_directory_without_scenarios_exits_2(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    result = run("none")
    assert (result.exit_code, result.stderr) == (2, "none: no *.lbsim.yaml below this directory\n")


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "all" / "closed").mkdir(parents=True)
    write(tmp_path / "all")
    scandir = os.scandir

    def refusing(path: str | Path | int) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("/closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    result = run("all")
    assert (result.exit_code, result.stderr) == (2, "all/closed: cannot read: Permission denied\n")
    assert (tmp_path / "reports" / "demo").is_dir()


def test_what_the_system_says_when_a_file_is_opened_decides_whether_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK and access(path, mode))
    assert run(write(tmp_path)).exit_code == 0


@pytest.mark.parametrize(("closed", "left"), [(">&-", ""), ("2>&-", "demo"), (">&- 2>&- <&-", "")])
def test_closed_streams_do_not_matter(tmp_path: Path, closed: str, left: str) -> None:
    write(tmp_path)
    command = f"{shlex.quote(sys.executable)} -m lbsim run --no-figures demo.lbsim.yaml {closed}"
    done = subprocess.run(
        ["sh", "-c", command], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.partition("\n")[0] == left
    assert (tmp_path / "reports" / "demo" / "result.json").is_file()


def test_other_scenarios_still_run_after_one_that_cannot(tmp_path: Path) -> None:
    bad = write(tmp_path, "name: [", "bad.lbsim.yaml")
    failing = write(tmp_path, changed("name: demo", "name: failing", FAILING), "failing.lbsim.yaml")
    result = run(bad, failing, write(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"demo", "failing"}


def test_the_same_file_twice_runs_once(tmp_path: Path) -> None:
    result = run("--json", write(tmp_path), tmp_path, "demo.lbsim.yaml")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1


def test_two_scenarios_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first, second = write(tmp_path), write(tmp_path, FAILING, "other.lbsim.yaml")
    result = run(first, second)
    assert (result.exit_code, result.stderr) == (2, f"{second}: name 'demo' is that of {first}, too\n")
    kept = json.loads((tmp_path / "reports" / "demo" / "result.json").read_text())
    assert kept["provenance"]["scenario"] == "demo"


@pytest.mark.parametrize("option", ["--out", "--pcap-out"])
def test_an_unwritable_folder_exits_2_before_anything_is_read(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    result = run(option, "file/below", "missing.lbsim.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"file/below: cannot write: {tmp_path / 'file'} is a file, expected a folder\n"


def test_json_is_all_there_is_on_standard_output(tmp_path: Path) -> None:
    path = write(tmp_path, FAILING)
    result = run("--json", path)
    document = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (1, "")
    assert (document["name"], document["path"], document["passed"]) == ("demo", str(path), False)
    assert [one["passed"] for one in document["expectations"]] == [True, True, True, True, False]
    assert document["expectations"][-1]["place"] == f"{path}:{line_with('reasons', FAILING)}"
    assert document["services"][0]["totals"]["connections"] == 6
    assert document["reasons"]["new"] == 6
    assert document["findings"] == []
    assert document["provenance"]["kernel"] == "linux-6.1.192"
    assert document["report"] == str(Path("reports/demo"))


def test_json_of_several_scenarios_is_one_document_per_line(tmp_path: Path) -> None:
    second = write(tmp_path, changed("name: demo", "name: second"), "second.lbsim.yaml")
    result = run("--json", write(tmp_path), second)
    assert [json.loads(line)["name"] for line in result.stdout.splitlines()] == ["demo", "second"]


def test_quiet_says_nothing_about_what_passed(tmp_path: Path) -> None:
    assert run("--quiet", write(tmp_path)).output == ""


def strange(folder: Path) -> Path:
    """A scenario with a refused command, two packets that are not modelled, and no expectations."""
    path = folder / "strange.lbsim.yaml"
    path.write_text(
        "name: strange\n"
        "config: |\n"
        "  iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE\n"
        "  ipvsadm -A -t 192.0.2.1:80 -s rr\n"
        "  ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.11 -m\n"
        "timeline:\n"
        "  - {at: 1s, run: ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.12}\n"
        "traffic:\n"
        "  - packets: |\n"
        "      0s 203.0.113.1:1001 > 198.51.100.9:80 tcp S\n"
        "      1s 203.0.113.1:1002 > 198.51.100.9:80 tcp S\n",
        encoding="utf-8",
    )
    return path


def test_strict_fails_for_what_the_kernel_refuses_and_what_is_not_modelled(tmp_path: Path) -> None:
    path = strange(tmp_path)
    out = ("--out", tmp_path / "out")
    assert run("--quiet", *out, path).output == ""
    done = run("--quiet", "--strict", *out, path)
    assert (done.exit_code, done.stdout.splitlines()) == (1, [
        f"{path}:7: ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.12: No such destination (exit 255) (--strict)",
        f"{path}: 2 packets UNMODELLED: masqueraded 2 (--strict)",
    ])  # fmt: skip
    told = run("--strict", *out, path)
    assert (told.exit_code, told.stdout.splitlines()[-2:]) == (1, done.stdout.splitlines())
    assert json.loads(run("--json", *out, path).stdout)["doubts"] == [
        line.removesuffix(" (--strict)") for line in done.stdout.splitlines()
    ]


def test_strict_says_nothing_where_nothing_is_strange(tmp_path: Path) -> None:
    assert (
        run("--quiet", "--strict", write(tmp_path)).exit_code,
        run("--quiet", "--strict", write(tmp_path)).output,
    ) == (0, "")


def test_quiet_names_the_place_of_what_failed(tmp_path: Path) -> None:
    path = write(tmp_path, FAILING)
    place = f"{path}:{line_with('reasons', FAILING)}"
    assert run("--quiet", path).stdout == (f"{place}: FAIL  packets by reason: new 7: new: 6 packets, expected 7\n")


def test_a_command_that_the_kernel_refuses_is_shown_and_passes(tmp_path: Path) -> None:
    text = changed("timeline:\n", "timeline:\n  - at: 1ms\n    run: ipvsadm -D -t 192.168.1.10:443\n")
    result = run("--json", write(tmp_path, text))
    (finding,) = json.loads(result.stdout)["findings"]
    assert result.exit_code == 0
    assert "No such service" in finding["text"]  # ipvsadm facts, section 2


def test_a_service_without_destinations_runs(tmp_path: Path) -> None:
    text = WHOLE[: WHOLE.index("timeline:")]
    for n in (11, 12):
        text = changed(f"  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.{n}:80 -m\n", "", text)
    result = run("--json", write(tmp_path, text))
    assert result.exit_code == 0
    assert json.loads(result.stdout)["reasons"]["no_dest"] == 6  # each connection's SYN


def test_captures_of_one_scenario_go_into_the_folder_itself(tmp_path: Path) -> None:
    result = run("--pcap-out", "captures", write(tmp_path))
    names = {path.name for path in (tmp_path / "captures").glob("*.pcap")}
    assert names == {"clients.pcap", "10.0.0.11_80.pcap", "10.0.0.12_80.pcap", "10.0.0.13_80.pcap"}
    assert result.stdout.splitlines()[-1] == "captures: captures"


def test_captures_of_several_scenarios_go_into_a_folder_each(tmp_path: Path) -> None:
    second = write(tmp_path, changed("name: demo", "name: second"), "second.lbsim.yaml")
    run("--pcap-out", "captures", write(tmp_path), second)
    assert {path.name for path in (tmp_path / "captures").iterdir()} == {"demo", "second"}


def test_one_capture_of_everything_is_written_to_the_file_itself(tmp_path: Path) -> None:
    result = run("--pcap-out", "all.pcap", write(tmp_path))
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "captures: all.pcap")
    assert (tmp_path / "all.pcap").stat().st_size > 1000


def test_of_several_scenarios_each_has_its_capture_of_everything(tmp_path: Path) -> None:
    second = write(tmp_path, changed("name: demo", "name: second"), "second.lbsim.yaml")
    result = run("--json", "--pcap-out", "new/all.pcap", write(tmp_path), second)
    files = [file for line in result.stdout.splitlines() for file in json.loads(line)["captures"]]
    assert files == ["new/all.demo.pcap", "new/all.second.pcap"]
    assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "new").iterdir()) == files


def says_that_there_is_no_room(folder: Path, options: str, says: str) -> None:
    """A run that may write no file of more than 20 KiB ends with that line, and leaves nothing."""
    write(folder, changed("connections: 6", "connections: 2000"))
    command = f"{shlex.quote(sys.executable)} -m lbsim run demo.lbsim.yaml {options}"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 20; {command}"],
        env={**os.environ, "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{says}: File too large\n"
    assert [path.name for path in folder.iterdir()] == ["demo.lbsim.yaml"]


@pytest.mark.parametrize(("target", "named"), [("captures", "captures/clients.pcap"), ("all.pcap", "all.pcap")])
def test_captures_for_which_there_is_no_room_exit_2_with_one_line_and_leave_nothing(
    tmp_path: Path, target: str, named: str
) -> None:
    says_that_there_is_no_room(tmp_path, f"--pcap-out {target}", f"{named}: cannot write the capture")


@pytest.mark.parametrize("ending", ["npz", "arrow", "parquet"])
def test_columns_of_one_scenario_go_into_the_file_itself(tmp_path: Path, ending: str) -> None:
    result = run("--columns-out", f"packets.{ending}", write(tmp_path))
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, f"columns: packets.{ending}")
    assert (tmp_path / f"packets.{ending}").stat().st_size > 1000


def test_columns_of_several_scenarios_go_into_a_file_each(tmp_path: Path) -> None:
    second = write(tmp_path, changed("name: demo", "name: second"), "second.lbsim.yaml")
    result = run("--json", "--columns-out", "new/packets.npz", write(tmp_path), second)
    files = [json.loads(line)["columns"] for line in result.stdout.splitlines()]
    assert files == ["new/packets.demo.npz", "new/packets.second.npz"]
    assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "new").iterdir()) == files


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("x.csv", "x.csv: ending '.csv'; expected one of: .arrow, .npz, .parquet"),
        ("file/x.npz", "file: cannot write: file is a file, expected a folder"),
        ("folder.npz", "folder.npz: cannot write the columns: it is a folder, expected a file"),
    ],
)
def test_columns_that_cannot_be_written_exit_2_before_anything_is_read(tmp_path: Path, file: str, says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.npz").mkdir()
    result = run("--columns-out", file, "missing.lbsim.yaml")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", says + "\n")


@pytest.mark.parametrize("ending", ["npz", "arrow", "parquet"])
def test_columns_for_which_there_is_no_room_exit_2_with_one_line_and_leave_nothing(tmp_path: Path, ending: str) -> None:
    file = f"packets.{ending}"
    says_that_there_is_no_room(tmp_path, f"--columns-out {file}", f"{file}: cannot write the columns")


def test_columns_are_kept_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.__globals__, "KEPT_PACKETS", 3)
    run("--quiet", write(tmp_path))
    result = cli("compare", "reports/demo", "reports/demo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("demo has no per-packet columns, they were left out of a run with ")
    assert result.stderr.count("\n") == 1
    run("--quiet", "--keep-columns", write(tmp_path))
    assert cli("compare", "reports/demo", "reports/demo").exit_code == 0


def two_reports(folder: Path, old: str, new: str) -> None:
    """Reports of the scenario and of a changed one, ``demo`` and ``other``."""
    other = changed("name: demo", "name: other", changed(old, new))
    run("--quiet", write(folder), write(folder, other, "other.lbsim.yaml"))


def test_equal_results_exit_0(tmp_path: Path) -> None:
    two_reports(tmp_path, "Two servers", "The same servers")
    result = cli("compare", "reports/demo/result.json", "reports/other/result.json")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "identical"


def test_different_results_exit_1(tmp_path: Path) -> None:
    two_reports(tmp_path, "at: 250ms", "at: 50ms")
    result = cli("compare", "reports/demo", "reports/other")
    assert result.exit_code == 1
    assert "flows moved" in result.stdout


def test_a_comparison_may_be_json(tmp_path: Path) -> None:
    two_reports(tmp_path, "at: 250ms", "at: 50ms")
    result = cli("compare", "--json", "reports/demo", "reports/other")
    assert (result.exit_code, json.loads(result.stdout)["identical"]) == (1, False)


@pytest.mark.parametrize(("content", "says"), [(None, "cannot read"), ("{}", "not a result"), ("\x00", "not JSON")])
def test_what_is_no_result_cannot_be_compared(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "b.json").write_text(content)
    run("--quiet", write(tmp_path))
    result = cli("compare", "reports/demo", "b.json")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert says in result.stderr


def test_the_schema_names_every_key_of_a_scenario() -> None:
    result = cli("schema")
    assert result.exit_code == 0
    known = json.loads(result.stdout)["properties"]
    assert {line.partition(":")[0] for line in WHOLE.splitlines() if line[0] not in " -"} <= set(known)


def test_the_version_is_the_packages() -> None:
    assert cli("--version").stdout == f"lbsim {lbsim.__version__}\n"


@pytest.mark.parametrize("words", [["run"], ["nonsense"], ["compare", "a.json"], ["run", "--nonsense", "x"]])
def test_a_wrong_command_line_exits_2(words: list[str]) -> None:
    assert cli(*words).exit_code == 2


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from lbsim.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'yaml', 'scapy', 'matplotlib', 'networkx', 'rich', 'numba'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "run" in result.stdout
    assert result.stderr == "[]\n"


def test_a_long_run_without_a_terminal_says_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.meter.FIRST_NOTE", 0.0)
    assert run(write(tmp_path)).stderr == "demo: traffic\n"  # the next one is due 10 s later


def on_a_terminal(program: str, *words: str | Path) -> str:
    """What a Python program shows on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm", "NO_COLOR": ""}
    command = [sys.executable, "-c", program, *map(str, words)]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return shown.decode()


def test_a_quick_run_on_a_terminal_shows_colours_and_no_bar(tmp_path: Path) -> None:
    shown = on_a_terminal("from lbsim.cli import main; main()", "run", "--no-figures", write(tmp_path))
    assert "\x1b[32mpass" in shown
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" not in shown


def test_a_long_run_on_a_terminal_has_a_bar(tmp_path: Path) -> None:
    program = "import lbsim.meter; lbsim.meter.FIRST_NOTE = 0.01; from lbsim.cli import main; main()"
    path = write(tmp_path, changed("connections: 6", "connections: 30000", WHOLE[: WHOLE.index("show:")]))
    shown = on_a_terminal(program, "run", "--no-figures", "--quiet", path)
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" not in shown  # quiet is quiet
    shown = on_a_terminal(program, "run", "--no-figures", path)
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in shown
    assert "demo: simulate" in shown


def test_a_reader_that_goes_away_ends_the_output_quietly() -> None:
    process = a_process("schema")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141  # 128 + SIGPIPE, as of any program in a pipe


def test_output_that_cannot_be_written_exits_2_with_one_line() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "lbsim", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert (result.returncode, result.stderr) == (2, "cannot write the output: No space left on device\n")


def test_an_interrupt_exits_130_with_one_line(tmp_path: Path) -> None:
    os.mkfifo("waiting.lbsim.yaml")
    process = a_process("run", "waiting.lbsim.yaml")
    with open("waiting.lbsim.yaml", "w"):  # opens as soon as lbsim reads
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_an_interrupt_in_mid_run_leaves_nothing(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, changed("connections: 6", "connections: 60000"))
    options = ("--lane", "interpreted", "--columns-out", f"out/packets.{ending}", "--pcap-out", "captures")
    process = a_process("run", path, *options)
    out, err = interrupted_when(process, lambda: written(tmp_path / "out"))
    assert (process.returncode, out, err.splitlines()[-1]) == (130, "", "interrupted")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"demo.lbsim.yaml", "out"}


def test_an_interrupt_while_a_report_is_written_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lbsim.report.summary.write", interrupted)
    result = run(write(tmp_path))
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert not list((tmp_path / "reports").iterdir())


def test_profiles_are_listed() -> None:
    done = CliRunner().invoke(main, ["profiles"])
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "linux-6.1.192, HZ=250"
    assert "linux-6.12.117, HZ=250: as current kernels do it" in done.output.splitlines()
    assert "linux-6.1.0, HZ=250" in done.output.splitlines()
