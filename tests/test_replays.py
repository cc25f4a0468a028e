"""From scenarios to verifications and recordings, with a kernel that is played or recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from lbsim import replays
from lbsim.compare import compare
from lbsim.errors import KernelUnavailable, LbsimError
from lbsim.kernel.job import Event, Job, Observation, Packet, Seen
from lbsim.kernel.recording import path_of
from lbsim.model.result import RESULT_COLUMNS, Result
from lbsim.model.verdict import Verdict
from lbsim.replays import job_from, record, replay, replay_recorded, verify, verify_recorded
from lbsim.scenario import Loaded, load
from tests.kernel.played import LATE, RELEASE, played, played_all
from tests.scenario.texts import WHOLE, changed, line_with, write

REAL = import_module("lbsim.kernel.run")  # the module: the package has a function of that name
SOUND = WHOLE[: WHOLE.index("expect:")]
FOREIGN = changed("name: demo", "name: foreign", SOUND).replace("10.0.0.", "172.16.0.")
EMPTY = SOUND[: SOUND.index("traffic:")] + "traffic:\n  - packets: |\n      # none\nshow: [1s]\n"


class Kernel:
    """A played kernel that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], dict[str, object]]] = []
        self.jobs: list[Job] = []

    def __call__(self, jobs: Sequence[Job], **options: object) -> list[Observation]:
        options.pop("progress", None)
        self.asked.append(([job.name for job in jobs], options))
        self.jobs += jobs
        return [self.answer(job) for job in jobs]

    def answer(self, job: Job) -> Observation:
        return played(job)


class Losing(Kernel):
    """Loses the third event's packet; breaks off whenever it is asked once more."""

    def answer(self, job: Job) -> Observation:
        return played(job, loses_the_third)


def loses_the_third(number: int, _event: Event, seen: Seen) -> Seen:
    return seen._replace(arrivals=()) if number == 2 else seen


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """In place of every real one."""
    return install(monkeypatch, Kernel())


def install(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> Kernel:
    monkeypatch.setattr(REAL, "run", kernel)
    return kernel


def loaded(folder: Path, text: str = SOUND, name: str = "demo") -> Loaded:
    return load(write(folder, text, f"{name}.lbsim.yaml"))


def test_a_job_asks_about_all_that_a_scenario_names(tmp_path: Path) -> None:
    job = job_from(loaded(tmp_path, WHOLE))
    assert (job.name, job.vips) == ("demo", ("192.168.1.10",))
    assert job.servers == ("10.0.0.11", "10.0.0.12", "10.0.0.13")
    assert job.sysctls == (("net.ipv4.vs.conn_reuse_mode", "1"),)


def test_all_scenarios_are_asked_in_one_boot(tmp_path: Path, kernel: Kernel) -> None:
    second = loaded(tmp_path, changed("name: demo", "name: second", SOUND), "second")
    found = list(verify([loaded(tmp_path), second], way="vm:6.1", real_time=True))
    assert [(one.scenario, one.identical, one.kernel) for one in found] == [
        ("demo", True, f"linux-{RELEASE}"),
        ("second", True, f"linux-{RELEASE}"),
    ]
    assert kernel.asked == [(["demo", "second"], {"way": "vm:6.1", "real_time": True})]


def test_two_scenarios_of_one_name_are_both_verified(tmp_path: Path, kernel: Kernel) -> None:
    fewer = changed("connections: 6", "connections: 3", SOUND)
    found = list(verify([loaded(tmp_path), loaded(tmp_path, fewer, "other")]))
    assert [one.scenario for one in found] == ["demo", "demo"]
    assert found[0].packets == 2 * found[1].packets


def test_nothing_to_ask_asks_no_kernel(kernel: Kernel) -> None:
    assert list(verify([])) == []
    assert kernel.asked == []


def test_a_scenario_without_packets_is_verified_by_its_tables(tmp_path: Path, kernel: Kernel) -> None:
    (found,) = verify([loaded(tmp_path, EMPTY)])
    assert (found.identical, found.packets) == (True, 0)
    assert found.counters > 0


def test_until_ends_the_replay(tmp_path: Path, kernel: Kernel) -> None:
    (whole, shorter) = verify(
        [loaded(tmp_path), loaded(tmp_path, changed("show: [1s]", "until: 250ms", SOUND), "shorter")]
    )
    assert 0 < shorter.packets < whole.packets


def test_a_divergence_comes_with_the_tables_of_a_second_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = install(monkeypatch, Losing())
    (found,) = verify([loaded(tmp_path)])
    assert found.divergence
    assert found.divergence.event == 2
    assert "connections behind it, kernel and engine:" in found.divergence.differences
    assert [len(job.events) for job in kernel.jobs[1:]] == [4]


def test_a_divergence_stands_even_if_the_second_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Once(Losing):
        def answer(self, job: Job) -> Observation:
            if len(self.asked) > 1:
                raise KernelUnavailable("a kernel", "it hung", "try again")
            return super().answer(job)

    install(monkeypatch, Once())
    (found,) = verify([loaded(tmp_path)])
    assert found.divergence
    assert len(found.divergence.differences) == 1


def test_a_command_that_only_the_kernel_refuses_is_a_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(Kernel):
        def answer(self, job: Job) -> Observation:
            seen = played(job)
            return seen._replace(setup=(*seen.setup[:-1], seen.setup[-1]._replace(status=255, output="Not there")))

    install(monkeypatch, Refusing())
    (found,) = verify([loaded(tmp_path)])
    assert found.lines()[0].endswith("first in the set-up")


def test_a_scenario_that_the_bench_cannot_hold_is_named(tmp_path: Path, kernel: Kernel) -> None:
    foreign = loaded(tmp_path, FOREIGN, "foreign")
    with pytest.raises(KernelUnavailable) as caught:
        list(verify([foreign]))
    assert str(caught.value).startswith(f"{foreign.path}: replay with destination 172.16.0.1")
    assert kernel.asked == []


def test_the_others_are_verified_all_the_same(tmp_path: Path, kernel: Kernel) -> None:
    told: list[LbsimError] = []
    scenarios = [loaded(tmp_path, FOREIGN, "foreign"), loaded(tmp_path)]
    assert [one.scenario for one in verify(scenarios, complain=told.append)] == ["demo"]
    assert [error.file for error in told] == [str(scenarios[0].path)]
    assert kernel.asked[0][0] == ["demo"]


def test_traffic_that_cannot_be_read_is_one_of_the_complaints(tmp_path: Path, kernel: Kernel) -> None:
    text = SOUND[: SOUND.index("traffic:")] + "traffic:\n  - packets: |\n      0s nonsense\n"
    told: list[LbsimError] = []
    assert list(verify([loaded(tmp_path, text)], complain=told.append)) == []
    assert [error.line for error in told] == [line_with("nonsense", text)]


def test_a_replay_that_broke_off_is_no_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking(Kernel):
        def answer(self, job: Job) -> Observation:
            seen = played(job)
            return (
                seen._replace(events=seen.events[:3], error="OSError in event 3: gone") if job.name == "demo" else seen
            )

    install(monkeypatch, Breaking())
    second = loaded(tmp_path, changed("name: demo", "name: second", SOUND), "second")
    told: list[LbsimError] = []
    assert [one.scenario for one in verify([loaded(tmp_path), second], complain=told.append)] == ["second"]
    (error,) = told
    assert not isinstance(error, KernelUnavailable)  # that would count as skipped
    assert (
        str(error) == f"{tmp_path}/demo.lbsim.yaml: the replay on linux-{RELEASE} broke off: OSError in event 3: gone"
    )
    assert list(record([loaded(tmp_path)], way="vm", command="", complain=told.append)) == []
    assert list(tmp_path.glob("*.recording.json")) == []


def test_a_recording_is_verified_without_any_kernel(tmp_path: Path, kernel: Kernel) -> None:
    scenario = loaded(tmp_path)
    ((path, made),) = record([scenario], way="vm:6.1", command="lbsim kernel record")
    assert (path, made.identical) == (path_of(scenario.path, "6.1"), True)
    (found,) = verify_recorded(scenario, ["6.1"])
    assert found == replace(made, kernel=f"linux-{RELEASE} (recorded)")
    assert len(kernel.asked) == 1


def test_a_recorded_divergence_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Losing())
    scenario = loaded(tmp_path)
    ((_, made),) = record([scenario], way="vm:6.1", command="")
    (found,) = verify_recorded(scenario, ["6.1"])
    for one in (made, found):
        assert one.divergence
        assert (one.divergence.event, one.divergence.differences[0][:34]) == (2, "packets that left: kernel nothing,")


@pytest.mark.parametrize(("release", "series"), [("6.12.117+deb12", "6.12"), ("6.1.0-9-x", "6.1"), ("6.9.3", "6.9")])
def test_a_recording_bears_the_series_of_the_kernel_that_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, series: str
) -> None:
    monkeypatch.setattr(REAL, "run", played_all(release=release))
    ((path, made),) = record([loaded(tmp_path)], way="netns", command="")
    assert (path.name, made.kernel) == (f"demo.linux-{series}.recording.json", f"linux-{release}")


def test_a_missing_recording_does_not_keep_the_other_kernels_from_being_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REAL, "run", played_all(release="6.12.117"))
    scenario = loaded(tmp_path)
    list(record([scenario], way="vm:6.12", command=""))
    told: list[LbsimError] = []
    assert [one.identical for one in verify_recorded(scenario, ["6.1", "6.12"], told.append)] == [True]
    assert [error.file for error in told] == [str(path_of(scenario.path, "6.1"))]


def test_progress_is_that_of_the_kernels_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(jobs: Sequence[Job], *, progress: object, **_options: object) -> list[Observation]:
        assert callable(progress)
        progress(0, 1, "demo")
        return [played(job) for job in jobs]

    monkeypatch.setattr(REAL, "run", run)
    told: list[tuple[str, int, int]] = []
    list(verify([loaded(tmp_path)], progress=lambda *words: told.append(words)))
    assert told == [("kernel", 0, 1)]


def test_ipv6_scenarios_are_verified(tmp_path: Path, kernel: Kernel) -> None:
    text = SOUND.replace("192.168.1.10", "[2001:db8:1::10]").replace("10.0.0.11", "[fd00::11]")
    text = text.replace("10.0.0.12", "[fd00::12]").replace("10.0.0.13", "[fd00::13]")
    text = text.replace("tcp [2001:db8:1::10]:80", "'tcp [2001:db8:1::10]:80'").replace(
        "198.51.100.0/24", "2001:db8::/64"
    )
    (found,) = verify([loaded(tmp_path, text)])
    assert found.identical
    assert found.connections > 0
    assert all(event.content[0] >> 4 == 6 for event in kernel.jobs[0].events if isinstance(event, Packet))


# Results


def counts(result: Result) -> dict[str, int]:
    """Verdict -> number of packets."""
    numbers = Counter(int(number) for number in result["verdict"])
    return {Verdict(number).name: count for number, count in numbers.items()}


def test_a_replay_has_both_sides_results(tmp_path: Path, kernel: Kernel) -> None:
    (one,) = replay([loaded(tmp_path, WHOLE)], way="vm:6.1", real_time=True)
    assert kernel.asked == [(["demo"], {"way": "vm:6.1", "real_time": True})]
    theirs, ours = one.kernel(), one.engine()
    assert (theirs.provenance.side, theirs.provenance.kernel) == ("kernel", RELEASE)
    assert (ours.provenance.side, ours.provenance.kernel) == ("engine", "linux-6.1.192")
    assert {result.provenance.digest for result in (theirs, ours)} == {one.loaded.digest}
    assert {(result.provenance.scenario, result.provenance.seed) for result in (theirs, ours)} == {("demo", 7)}
    assert counts(theirs) == counts(ours) == {"FORWARD": len(theirs)}
    assert compare(ours, theirs).identical


def test_the_results_show_the_moments_that_the_scenario_shows(tmp_path: Path, kernel: Kernel) -> None:
    text = changed("table: 1s", "table: 2s", WHOLE)
    (one,) = replay([loaded(tmp_path, text)])
    assert [[moment.at for moment in side.moments] for side in (one.kernel(), one.engine())] == [[10**9]] * 2


def test_the_results_end_with_the_run(tmp_path: Path, kernel: Kernel) -> None:
    (one,) = replay([loaded(tmp_path, changed("show: [1s]", "until: 300ms", SOUND))])
    for result in (one.kernel(), one.engine()):
        assert result.final.at == 300_000_000
        assert max(result["time"]) <= 300_000_000


def test_what_a_kernel_does_otherwise_is_in_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Losing())
    (one,) = replay([loaded(tmp_path)])
    found = compare(one.engine(), one.kernel())
    assert [(row.what[0], row.b) for row in found.section("packets").rows] == [("2", "DROP seen_nothing")]


def test_a_refused_command_is_a_finding_where_it_stands(tmp_path: Path, kernel: Kernel) -> None:
    twice = "  ipvsadm -A -t 192.168.1.10:80 -s rr\n"
    scenario = loaded(tmp_path, SOUND.replace(twice, twice * 2))
    (one,) = replay([scenario])
    ours, theirs = one.engine().findings, one.kernel().findings
    assert [(f.severity, f.place, f.text) for f in theirs] == [(f.severity, f.place, f.text) for f in ours]
    assert theirs[0].place == f"{scenario.path}:6"


@pytest.mark.parametrize(("release", "series"), [("6.1.192", "6.1"), ("6.12.117", "6.12")])
def test_results_are_written_by_scenario_and_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, series: str
) -> None:
    monkeypatch.setattr(REAL, "run", played_all(release=release))
    (found,) = verify([loaded(tmp_path)], out=tmp_path / "out")
    folder = tmp_path / "out/demo" / f"linux-{series}"
    assert found.results == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["engine.json", "kernel.json"]
    sides = [Result.from_json(folder / name) for name in ("engine.json", "kernel.json")]
    assert [side.provenance.side for side in sides] == ["engine", "kernel"]
    assert compare(*sides).identical


def test_without_a_folder_nothing_is_written(tmp_path: Path, kernel: Kernel) -> None:
    (found,) = verify([loaded(tmp_path)])
    assert found.results is None
    assert [path.name for path in tmp_path.iterdir()] == ["demo.lbsim.yaml"]


def test_a_folder_that_cannot_be_written_is_told_before_any_kernel_is_asked(tmp_path: Path, kernel: Kernel) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LbsimError, match="is a file, expected a folder"):
        list(verify([loaded(tmp_path)], out=tmp_path / "file"))
    assert kernel.asked == []


def test_results_that_cannot_be_written_do_not_keep_the_others_from_being_verified(
    tmp_path: Path, kernel: Kernel
) -> None:
    (tmp_path / "out/demo").mkdir(parents=True)
    (tmp_path / "out/demo/linux-6.1").write_text("")
    told: list[LbsimError] = []
    second = loaded(tmp_path, changed("name: demo", "name: second", SOUND), "second")
    found = verify([loaded(tmp_path), second], out=tmp_path / "out", complain=told.append)
    assert [one.scenario for one in found] == ["second"]
    assert [str(error) for error in told] == [f"{tmp_path}/out/demo/linux-6.1: cannot write the results: File exists"]


def test_a_recording_gives_the_results_of_the_kernel_that_made_it(tmp_path: Path, kernel: Kernel) -> None:
    scenario = loaded(tmp_path, WHOLE)
    list(record([scenario], way="vm:6.1", command=""))
    (live,) = replay([scenario])
    (kept,) = replay_recorded(scenario, ["6.1"])
    assert (live.recorded, kept.recorded) == (False, True)
    for ours, theirs in ((live.kernel(), kept.kernel()), (live.engine(), kept.engine())):
        assert replace(ours, columns={}) == replace(theirs, columns={})
        assert all(np.array_equal(ours[name], theirs[name]) for name in RESULT_COLUMNS)


def test_recorded_results_are_written_too(tmp_path: Path, kernel: Kernel) -> None:
    scenario = loaded(tmp_path)
    list(record([scenario], way="vm:6.1", command=""))
    (found,) = verify_recorded(scenario, ["6.1"], out=tmp_path / "out")
    assert found.results == str(tmp_path / "out/demo/linux-6.1")
    assert Result.from_json(tmp_path / "out/demo/linux-6.1/kernel.json").provenance.kernel == RELEASE


def test_a_missing_recording_has_no_results(tmp_path: Path) -> None:
    told: list[LbsimError] = []
    assert list(replay_recorded(loaded(tmp_path), ["6.1", "6.12"], told.append)) == []
    assert [error.file for error in told] == [str(path_of(tmp_path / "demo.lbsim.yaml", k)) for k in ("6.1", "6.12")]


SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").rglob("*.lbsim.yaml"))
LACKING = {"two-choices": ["6.12.117"]}  # Debian's 6.1 was built without twos


def test_every_scenario_can_be_asked_of_a_kernel() -> None:
    assert not [path for path in SCENARIOS if load(path).not_on_a_kernel]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name.removesuffix(".lbsim.yaml"))
def test_the_engines_result_of_every_scenario_is_that_of_both_kernels(path: Path) -> None:
    refused: list[LbsimError] = []
    both = list(replay_recorded(load(path), ["6.1", "6.12"], refused.append))
    on = LACKING.get(path.name.removesuffix(".lbsim.yaml"), ["6.1.192", "6.12.117"])
    assert [one.kernel().provenance.kernel for one in both] == on
    assert len(refused) == 2 - len(on)
    for one in both:
        found = compare(one.engine(), one.kernel())
        assert found.identical, found.lines()
        assert found.packets[0] > 0


def test_the_played_kernel_is_a_little_late(tmp_path: Path) -> None:
    job = job_from(loaded(tmp_path))
    assert {seen.at - event.at for event, seen in zip(job.events, played(job).events, strict=True)} == {LATE}


@pytest.mark.parametrize(
    ("weights", "count", "batches"),
    [
        ([], 4, []),
        ([5], 4, [[0]]),
        ([1, 9, 1, 1], 2, [[1], [0, 2, 3]]),
        ([3, 3, 2, 2, 2], 2, [[0, 2, 4], [1, 3]]),
        ([0, 0, 0, 0], 2, [[0, 2], [1, 3]]),
    ],
)
def test_batches_weigh_about_the_same_and_begin_with_the_heaviest(
    weights: list[int], count: int, batches: list[list[int]]
) -> None:
    assert replays._batches(weights, count) == batches
