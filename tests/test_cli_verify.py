"""``lbsim verify`` and ``lbsim kernel``: exit status and what is said, with kernels that are played or recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lbsim.cli import main
from lbsim.errors import KernelFailed, KernelUnavailable
from lbsim.kernel.images import Image
from lbsim.kernel.job import Event, Job, Observation, Seen
from lbsim.kernel.probe import Way
from lbsim.scenario import load
from tests.kernel.played import RELEASE, played, played_all
from tests.scenario.texts import WHOLE, changed, write

REPOSITORY = Path(__file__).parents[1]
TWOS = REPOSITORY / "scenarios/twos/two-choices.lbsim.yaml"
REAL = import_module("lbsim.kernel.run")  # the module: the package has a function of that name
SOUND = WHOLE[: WHOLE.index("expect:")]
FOREIGN = changed("name: demo", "name: foreign", SOUND).replace("10.0.0.", "172.16.0.")
NOT_HERE = KernelUnavailable("a kernel", "there is none", "fetch one")


def cli(*words: str | Path) -> Result:
    """What a command line answers, inside this process."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def loses_the_third(number: int, _event: Event, seen: Seen) -> Seen:
    return seen._replace(arrivals=()) if number == 2 else seen


def raising(error: BaseException) -> Callable[..., list[Observation]]:
    """A kernel that is not there, or that breaks off."""

    def run(_jobs: Sequence[Job], way: str = "auto", **_: object) -> list[Observation]:
        raise error

    return run


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., list[Observation]]], None]:
    """Puts something in the place of every real kernel."""
    return lambda run: monkeypatch.setattr(REAL, "run", run)


RunOn = Callable[[Callable[..., list[Observation]]], None]


def test_every_scenario_of_the_repository_agrees_with_its_recordings_of_both_kernels() -> None:
    result = cli("verify", "--recorded", "--json", REPOSITORY / "scenarios")
    left_out = "twos-two-choices: left out: linux-6.1 was built without the scheduler twos\n"
    assert (result.exit_code, result.stderr) == (0, left_out)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    files = list((REPOSITORY / "scenarios").rglob("*.lbsim.yaml"))
    assert len(found) == 2 * len(files) - 1 > 0
    assert all(one["identical"] and one["packets"] and one["connections"] and one["counters"] for one in found)
    on = {one["scenario"]: [] for one in found}
    for one in found:
        on[one["scenario"]].append(one["kernel"].removeprefix("linux-")[:4])
    assert on.pop("twos-two-choices") == ["6.12"]
    assert list(on.values()) == [["6.1.", "6.12"]] * (len(files) - 1)


def test_recordings_compared_side_by_side_are_told_in_the_scenarios_order(tmp_path: Path) -> None:
    folder = tmp_path / "scenarios"
    shutil.copytree(REPOSITORY / "scenarios" / "lc", folder / "lc")
    shutil.copytree(REPOSITORY / "scenarios" / "timeouts", folder / "timeouts")
    next((folder / "lc").glob("*.linux-6.1.recording.json")).unlink()
    one_by_one, side_by_side = (cli("verify", "--recorded", "-j", jobs, folder) for jobs in ("1", "2"))
    assert (side_by_side.stdout, side_by_side.stderr) == (one_by_one.stdout, one_by_one.stderr)
    assert one_by_one.exit_code == side_by_side.exit_code == 2
    assert one_by_one.stdout.count("identical") > 2
    assert "no recording" in one_by_one.stderr


def test_identical_scenarios_exit_0_and_say_what_was_compared(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all())
    result = cli("verify", write(tmp_path, SOUND))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("demo: identical: ")
    assert result.stdout.endswith(f" counters on linux-{RELEASE}\n")


def test_a_divergence_exits_1_and_is_shown(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all(loses_the_third))
    result = cli("verify", write(tmp_path, SOUND))
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith(f"demo: DIFFERENT on linux-{RELEASE}, first at event 2 ")
    assert "  ! packets that left: kernel nothing, engine r:10.0.0.12: " in result.stdout


def test_a_divergence_from_a_recording_exits_1(tmp_path: Path, run_on: RunOn) -> None:
    path = write(tmp_path, SOUND)
    for release in ("6.1.0", "6.12.117"):
        run_on(played_all(loses_the_third if release == "6.1.0" else None, release))
        assert cli("kernel", "record", path).exit_code == (1 if release == "6.1.0" else 0)
    result = cli("verify", "--recorded", "--json", path)
    assert result.exit_code == 1
    assert [json.loads(line)["identical"] for line in result.stdout.splitlines()] == [False, True]


def test_json_is_one_document_per_verification(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all())
    second = write(tmp_path, changed("name: demo", "name: second", SOUND), "second.lbsim.yaml")
    result = cli("verify", "--json", write(tmp_path, SOUND), second)
    assert [json.loads(line)["scenario"] for line in result.stdout.splitlines()] == ["demo", "second"]


def test_both_sides_results_are_written_and_can_be_compared(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all())
    result = cli("verify", "--out", tmp_path / "out", write(tmp_path, SOUND))
    folder = tmp_path / "out/demo/linux-6.1"
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1] == f"  results: {folder}"
    compared = cli("compare", folder / "engine.json", folder / "kernel.json")
    assert compared.exit_code == 0
    assert compared.stdout.splitlines()[-2:] == [
        "not compared: reasons; counters at 1s; thresholds; what passed while tables were read, at most 0.000007s",
        "identical",
    ]


def test_results_that_differ_are_written_as_well(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all(loses_the_third))
    result = cli("verify", "--json", "--out", tmp_path / "out", write(tmp_path, SOUND))
    folder = Path(json.loads(result.stdout)["results"])
    assert result.exit_code == 1
    compared = cli("compare", folder / "engine.json", folder / "kernel.json")
    assert compared.exit_code == 1
    assert "| DROP seen_nothing" in compared.stdout


def test_recorded_results_are_written_for_both_kernels(tmp_path: Path, run_on: RunOn) -> None:
    path = write(tmp_path, SOUND)
    for release in ("6.1.192", "6.12.117"):
        run_on(played_all(release=release))
        assert cli("kernel", "record", path).exit_code == 0
    result = cli("verify", "--recorded", "--out", tmp_path / "out", path)
    assert result.exit_code == 0
    folders = [tmp_path / "out/demo" / f"linux-{series}" for series in ("6.1", "6.12")]
    assert [line.strip() for line in result.stdout.splitlines()[1::2]] == [f"results: {folder}" for folder in folders]
    assert cli("compare", *(folder / "kernel.json" for folder in folders)).exit_code == 0


def test_two_scenarios_of_one_name_do_not_write_over_each_other(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all())
    paths = [write(tmp_path, SOUND, f"{name}.lbsim.yaml") for name in "ab"]
    result = cli("verify", "--out", tmp_path / "out", *paths)
    assert (result.exit_code, result.stderr) == (2, f"{paths[1]}: name 'demo' is that of {paths[0]}, too\n")
    assert result.stdout.count("identical") == 1


def test_a_file_in_the_place_of_the_results_exits_2_at_once(tmp_path: Path, run_on: RunOn) -> None:
    run_on(raising(AssertionError("no kernel is needed")))
    path = write(tmp_path, SOUND)
    result = cli("verify", "--out", path, path)
    assert (result.exit_code, result.stderr) == (2, f"{path}: cannot write: {path} is a file, expected a folder\n")


def test_no_kernel_exits_2_with_the_remedy_in_one_line(tmp_path: Path, run_on: RunOn) -> None:
    run_on(raising(NOT_HERE))
    result = cli("verify", write(tmp_path, SOUND))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "a kernel: there is none; fetch one\n"


def test_no_kernel_may_be_allowed(tmp_path: Path, run_on: RunOn) -> None:
    run_on(raising(NOT_HERE))
    result = cli("verify", "--allow-skip", write(tmp_path, SOUND))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "skipped: a kernel: there is none; fetch one\n"


def test_a_kernel_that_breaks_off_is_never_allowed(tmp_path: Path, run_on: RunOn) -> None:
    run_on(raising(KernelFailed("a kernel", "the guest panicked", "try again")))
    result = cli("verify", "--allow-skip", write(tmp_path, SOUND))
    assert (result.exit_code, result.stderr) == (2, "a kernel: the guest panicked; try again\n")


def test_a_replay_that_breaks_off_is_never_allowed(tmp_path: Path, run_on: RunOn) -> None:
    run_on(lambda jobs, **_: [played(job)._replace(events=(), error="OSError in the set-up: gone") for job in jobs])
    path = write(tmp_path, SOUND)
    result = cli("verify", "--allow-skip", path)
    assert result.exit_code == 2
    assert result.stderr == f"{path}: the replay on linux-{RELEASE} broke off: OSError in the set-up: gone\n"


def test_an_interrupt_exits_130(tmp_path: Path, run_on: RunOn) -> None:
    run_on(raising(KeyboardInterrupt()))
    result = cli("verify", write(tmp_path, SOUND))
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(("words", "status", "head"), [([], 2, ""), (["--allow-skip"], 0, "skipped: ")])
def test_a_scenario_that_the_bench_cannot_hold_is_named_and_the_others_verified(
    tmp_path: Path, run_on: RunOn, words: list[str], status: int, head: str
) -> None:
    run_on(played_all())
    foreign = write(tmp_path, FOREIGN, "foreign.lbsim.yaml")
    result = cli("verify", *words, foreign, write(tmp_path, SOUND))
    assert result.exit_code == status
    assert result.stdout.startswith("demo: identical: ")
    assert result.stderr.startswith(
        f"{head}{foreign}: replay with destination 172.16.0.11: the bench has no such network"
    )
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--recorded"], ["--allow-skip"], ["--recorded", "--allow-skip"]])
def test_a_directory_without_scenarios_is_no_pass(tmp_path: Path, run_on: RunOn, words: list[str]) -> None:
    run_on(raising(AssertionError("no kernel is needed")))
    result = cli("verify", *words, tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path}: no *.lbsim.yaml below this directory\n")


def test_a_missing_recording_is_no_pass_and_the_others_are_verified(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all())
    path = write(tmp_path, SOUND)
    assert cli("kernel", "record", path).exit_code == 0
    result = cli("verify", "--recorded", "--allow-skip", path)
    assert result.exit_code == 2
    assert result.stdout.startswith("demo: identical: ")
    missing = tmp_path / "demo.linux-6.12.recording.json"
    assert result.stderr == f"{missing}: no recording: No such file or directory; lbsim kernel record makes it\n"


def test_a_scenario_that_cannot_be_understood_exits_2_and_the_others_are_verified(
    tmp_path: Path, run_on: RunOn
) -> None:
    run_on(played_all())
    result = cli("verify", write(tmp_path, "name: [", "bad.lbsim.yaml"), write(tmp_path, SOUND))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stdout.startswith("demo: identical: ")


def test_an_unknown_way_lists_the_known_ones(tmp_path: Path) -> None:
    result = cli("verify", "--kernel", "vm:5", write(tmp_path, SOUND))
    assert result.exit_code == 2
    assert "'auto', 'netns', 'vm', 'vm:6.1', 'vm:6.12'" in result.stderr


def test_a_recording_is_written_beside_the_scenario_and_names_its_command(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all())
    result = cli("kernel", "record", "--kernel", "vm:6.1", write(tmp_path, SOUND))
    path = tmp_path / "demo.linux-6.1.recording.json"
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == str(path)
    assert json.loads(path.read_text())["command"] == "lbsim kernel record --kernel vm:6.1"


def test_what_cannot_be_recorded_exits_2_and_the_others_are_recorded(tmp_path: Path, run_on: RunOn) -> None:
    run_on(played_all())
    result = cli("kernel", "record", write(tmp_path, FOREIGN, "foreign.lbsim.yaml"), write(tmp_path, SOUND))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.glob("*.json")] == ["demo.linux-6.1.recording.json"]


WAYS = [
    Way("netns", problem="this host's kernel (netns): it needs root; run as root, or use the vm"),
    Way("vm:6.1", release="6.1.0-9"),
]


def test_the_status_is_one_line_per_way_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.kernel.probe.status", lambda: WAYS)
    result = cli("kernel", "status")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "netns: not here: this host's kernel (netns): it needs root; run as root, or use the vm",
        "vm:6.1: linux-6.1.0-9",
    ]


def test_no_way_at_all_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.kernel.probe.status", lambda: WAYS[:1])
    assert cli("kernel", "status").exit_code == 2


def test_the_status_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.kernel.probe.status", lambda: WAYS)
    assert [way["release"] for way in json.loads(cli("kernel", "status", "--json").stdout)] == ["", "6.1.0-9"]


def test_a_fetched_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image("6.12.0", Path("k/vmlinuz"), Path("k"))
    monkeypatch.setattr("lbsim.kernel.images.fetch", lambda which, _progress: {"6.12": image}[which])
    result = cli("kernel", "fetch", "6.12")
    assert (result.exit_code, result.stdout) == (0, "linux-6.12.0: k/vmlinuz\n")


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("6.2", "unknown kernel '6.2'"),
        ("nothing.deb", "the kernel package nothing.deb: no such file; name a linux-image-*.deb"),
        ("6.1", "no apt-cache on this computer"),
    ],
)
def test_what_cannot_be_fetched_exits_2_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, says: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    result = cli("kernel", "fetch", which)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert says in result.stderr


LACKING = "twos-two-choices: left out: linux-6.1 was built without the scheduler twos\n"


def test_a_scenario_with_two_destinations_of_twos_at_one_address_is_left_out(tmp_path: Path) -> None:
    """Where a packet went tells the address only."""
    text = TWOS.read_text(encoding="utf-8").replace("10.0.0.12 -m", "10.0.0.11:81 -m")
    (tmp_path / "same.lbsim.yaml").write_text(text[: text.index("expect:")], encoding="utf-8")
    done = cli("verify", "--recorded", tmp_path)
    assert (done.exit_code, done.output) == (
        2, "twos-two-choices: left out: two destinations of tcp 192.168.1.10:80 have one address, and which of them "
        "twos drew does not show\n",
    )  # fmt: skip


def test_two_destinations_at_one_address_matter_to_twos_only(tmp_path: Path) -> None:
    text = TWOS.read_text(encoding="utf-8")
    other = """  ipvsadm -A -t 192.168.1.11:80 -s rr
  ipvsadm -a -t 192.168.1.11:80 -r 10.0.0.11:80 -m
  ipvsadm -a -t 192.168.1.11:80 -r 10.0.0.11:81 -m

traffic:"""
    text = text[: text.index("expect:")]  # for there is more than one service now
    (tmp_path / "other.lbsim.yaml").write_text(text.replace("\n\ntraffic:", f"\n{other}"), encoding="utf-8")
    assert load(tmp_path / "other.lbsim.yaml").not_on_a_kernel == ""


def lacks_twos(jobs: Sequence[Job], way: str = "auto", **_: object) -> list[Observation]:
    """A kernel without the module ip_vs_twos."""
    refusal = "Scheduler or persistence engine not found\n"
    seen = [played(job) for job in jobs]
    return [
        one._replace(setup=tuple(a._replace(status=255, output=refusal) if "twos" in a.argv else a for a in one.setup))
        for one in seen
    ]


def test_a_kernel_without_the_scheduler_leaves_the_scenario_out(run_on: RunOn) -> None:
    run_on(lacks_twos)
    said = f"twos-two-choices: left out: linux-{RELEASE} was built without the scheduler twos\n"
    alone = cli("verify", TWOS)
    assert (alone.exit_code, alone.stdout, alone.stderr) == (2, "", said)
    both = cli("verify", TWOS, TWOS.parents[1] / "timeouts")
    assert (both.exit_code, both.stderr) == (0, said)
    assert "idle-900s: identical" in both.stdout


def test_nothing_is_recorded_of_a_kernel_without_the_scheduler(run_on: RunOn, tmp_path: Path) -> None:
    run_on(lacks_twos)
    shutil.copy(TWOS, tmp_path)
    done = cli("kernel", "record", tmp_path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "was built without the scheduler twos" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [TWOS.name]


def test_the_others_are_compared_as_ever() -> None:
    done = cli("verify", "--recorded", TWOS, TWOS.parents[1] / "timeouts")
    assert (done.exit_code, done.stderr) == (0, LACKING)
    assert done.stdout.count("identical") == 3
