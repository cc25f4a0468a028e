"""What a real kernel does with a scenario, what the engine does with the same, and whether they agree.

::

    Loaded, Trace --> job_of --> Job
                                 Job --> kernel.run --> Observation --> compare_steps --> Verification
                                 Trace, Observation --> result_of, engine_result --> Results --> compare
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lbsim.config.refusals import KERNEL_MESSAGES
from lbsim.engine.schedulers import BUILT_IN
from lbsim.errors import BuiltWithout, KernelUnavailable, LbsimError
from lbsim.jobs import FOR_RECORDINGS, as_many_as_pay, side_by_side
from lbsim.model.config import AddService
from lbsim.model.trace import Trace
from lbsim.pipeline import Progress, refuse_unwritable, trace_of
from lbsim.scenario import Loaded, moments_needed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from lbsim.kernel.job import Job, Observation
    from lbsim.kernel.recording import Recording
    from lbsim.kernel.seen import Step
    from lbsim.kernel.verification import Verification
    from lbsim.model.result import Result

__all__ = [
    "Complain",
    "Replay",
    "job_from",
    "record",
    "replay",
    "replay_recorded",
    "verify",
    "verify_all_recorded",
    "verify_recorded",
]

_BATCHES = 8  # per process: so that all of them end at about the same time
_Answers: TypeAlias = "list[Verification | LbsimError]"

Complain: TypeAlias = Callable[[LbsimError], object]
"""Told of one scenario's error, while others go on."""


@dataclass(frozen=True)
class Replay:
    """A scenario that a real kernel was asked about: what it answered, and what the engine answers to the same.

    ``recorded`` : the kernel's side comes from a recording.
    """

    loaded: Loaded
    trace: Trace
    job: Job
    seen: Observation
    recorded: bool = False

    @property
    def series(self) -> str:
        """The kernel's series: ``6.12``."""
        from lbsim.kernel.seen import series_of

        return series_of(self.seen.release)

    def kernel(self) -> Result:
        """The kernel's answer."""
        from lbsim.kernel.result import result_of

        commands = [*self.loaded.config.commands, *(timed.command for timed in self.loaded.timeline)]
        return result_of(self.trace, self.job, self.seen, commands=commands, **self._origin())

    def engine(self) -> Result:
        """The engine's answer, from the kernel's tick on and at the times at which packets really left."""
        from lbsim.kernel.result import engine_result

        return engine_result(
            self.loaded.config,
            self.trace,
            self.job,
            self.seen,
            timeline=self.loaded.timeline,
            sysctls=self.loaded.sysctls,
            marks=self.loaded.marks,
            straight_replies=self.loaded.scenario.straight_replies,
            mtu=self.loaded.scenario.mtu,
            **self._origin(),
        )

    def write(self, out: Path) -> Path:
        """Both answers as ``kernel.json`` and ``engine.json``, for ``lbsim compare``; returns their folder.

        Raises
        ------
        LbsimError : they cannot be written.
        """
        folder = out / self.loaded.scenario.name / f"linux-{self.series}"
        results = {"kernel.json": self.kernel(), "engine.json": self.engine()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, result in results.items():
                result.to_json(folder / name)
        except OSError as error:
            raise LbsimError(f"cannot write the results: {error.strerror}", file=str(folder)) from None
        return folder

    def _origin(self) -> dict[str, Any]:
        scenario = self.loaded.scenario
        return {
            "moments": scenario.show,
            "scenario": scenario.name,
            "digest": self.loaded.digest,
            "seed": scenario.seed,
        }


def job_from(loaded: Loaded, trace: Trace | None = None) -> Job:
    """What a kernel is asked to do so that it answers the scenario; ``trace``: its traffic, if it is known already."""
    from lbsim.kernel.scenario_job import job_of

    if loaded.not_on_a_kernel:
        raise LbsimError(f"cannot be compared with a kernel: {loaded.not_on_a_kernel}", file=str(loaded.path))
    try:
        return job_of(
            loaded.scenario.name,
            loaded.config,
            trace_of(loaded) if trace is None else trace,
            timeline=loaded.timeline,
            moments=moments_needed(loaded),
            until=loaded.scenario.until,
            sysctls=loaded.sysctls,
            marks=loaded.marks,
            straight_replies=loaded.scenario.straight_replies,
            mtu=loaded.scenario.mtu,
        )
    except LbsimError as error:
        error.file = error.file or str(loaded.path)
        raise


def replay(
    scenarios: Sequence[Loaded],
    *,
    way: str = "auto",
    real_time: bool = False,
    progress: Progress | None = None,
    complain: Complain | None = None,
) -> Iterator[Replay]:
    """The scenarios on a real kernel, all of them in one boot: ``replay.kernel()`` is its answer, a :class:`Result`.

    Parameters and errors are those of :func:`verify`.
    """
    from lbsim.kernel.run import run as run_jobs

    return _asked(scenarios, partial(run_jobs, way=way, real_time=real_time), progress, complain)


def replay_recorded(loaded: Loaded, kernels: Sequence[str], complain: Complain | None = None) -> Iterator[Replay]:
    """The scenario on kernels that answered it before, from the recordings beside it, without any kernel.

    Raises
    ------
    LbsimError : without ``complain``: as in :func:`verify_recorded`.
    """
    for trace, kept in _recordings(loaded, kernels, complain):
        with _passed_on(complain):
            yield Replay(loaded, trace, kept.job, kept.observation(), recorded=True)


def verify(
    scenarios: Sequence[Loaded],
    *,
    way: str = "auto",
    real_time: bool = False,
    out: Path | None = None,
    progress: Progress | None = None,
    complain: Complain | None = None,
) -> Generator[Verification]:
    """Engine and real kernel, event by event, for each scenario; all of them in one boot.

    Parameters
    ----------
    way : ``auto``, ``netns``, ``vm``, ``vm:6.1``, ``vm:6.12``.
    real_time : the kernel's clock runs as ours does, instead of jumping from event to event.
    out : both sides' results go to the folder ``out/<name of the scenario>/linux-<series>``; None: nowhere.
    complain : told why a scenario cannot be verified, while the others are; None: that is raised.

    Raises
    ------
    KernelUnavailable : no kernel could be asked, or it broke off.
    LbsimError : without ``complain``: a scenario does not fit onto the bench (KernelUnavailable), its traffic cannot be
        read, its replay broke off, or its results cannot be written.
    """
    from lbsim.kernel.run import run as run_jobs

    refuse_unwritable(out)
    ask = partial(run_jobs, way=way, real_time=real_time)
    for one in _asked(scenarios, ask, progress, complain):
        with _passed_on(complain):
            found = _with_tables(_verified(one), one.job, one.seen, ask)
            yield _with_results(found, one, out)


def verify_recorded(
    loaded: Loaded, kernels: Sequence[str], complain: Complain | None = None, *, out: Path | None = None
) -> Iterator[Verification]:
    """Engine and recordings, event by event, without any kernel.

    Parameters
    ----------
    complain : told why there is no verification, while other kernels' go on; None: that is raised.
    out : as in :func:`verify`.

    Raises
    ------
    LbsimError : without ``complain``: a recording is missing, damaged, or of an earlier state of the scenario; the
        scenario does not fit onto the bench (KernelUnavailable); or the results cannot be written.
    """
    from lbsim.kernel import recording

    for trace, kept in _recordings(loaded, kernels, complain):
        with _passed_on(complain):
            job, seen = kept.job, kept.timing
            found = _compared(job, seen, kept.steps, "recorded", as_kept=recording.checksummed)
            if out:
                found = _with_results(found, Replay(loaded, trace, job, kept.observation(), recorded=True), out)
            yield found


def verify_all_recorded(
    scenarios: Sequence[Loaded],
    kernels: Sequence[str],
    jobs: int | None = None,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Generator[Verification | LbsimError]:
    """What :func:`verify_recorded` says of each scenario, in their order, and in place of it why it cannot.

    Parameters
    ----------
    jobs : how many scenarios are verified at a time; None: one per processor, if it pays.
    """
    work = partial(_with_all_recordings, kernels=kernels, out=out)
    jobs = jobs or as_many_as_pay(len(scenarios))
    if jobs == 1:
        yield from chain.from_iterable(map(work, scenarios))
        return
    weights = [_recorded_bytes(loaded, kernels) for loaded in scenarios]
    batches = _batches(weights, _BATCHES * jobs)
    things = [[scenarios[i] for i in batch] for batch in batches]
    told = partial(_tell, progress, len(scenarios), len(batches))
    answers: dict[int, list[Verification | LbsimError]] = {}
    given = 0
    with closing(side_by_side(partial(_each, work), things, jobs, preload=FOR_RECORDINGS, told=told)) as found:
        for batch, answer in zip(batches, found, strict=True):
            for at, i in enumerate(batch):
                answers[i] = [_about(scenarios[i], answer)] if isinstance(answer, LbsimError) else answer[at]
            while given in answers:
                yield from answers.pop(given)
                given += 1


def _batches(weights: Sequence[int], count: int) -> list[list[int]]:
    """The numbers of things in up to ``count`` batches of about equal weight, the heaviest batch first.

    A process for each thing would cost more than many of them do.
    """
    load = [0] * count
    batches: list[list[int]] = [[] for _ in range(count)]
    for i in sorted(range(len(weights)), key=lambda i: -weights[i]):
        lightest = load.index(min(load))
        load[lightest] += max(weights[i], 1)
        batches[lightest].append(i)
    return [batches[b] for b in sorted(range(count), key=lambda b: -load[b]) if batches[b]]


def _each(work: Callable[[Loaded], _Answers], batch: Sequence[Loaded]) -> list[_Answers]:
    return [work(loaded) for loaded in batch]


def _about(loaded: Loaded, error: LbsimError) -> LbsimError:
    """The same error, about this scenario."""
    same = copy(error)
    same.file = str(loaded.path)
    return same


def _tell(progress: Progress | None, scenarios: int, batches: int, done: int) -> None:
    if progress:
        progress("scenarios", done * scenarios // batches, scenarios)


def _recorded_bytes(loaded: Loaded, kernels: Sequence[str]) -> int:
    """How much there is to compare: about as much as the recordings are long."""
    from lbsim.kernel import recording

    paths = [recording.path_of(loaded.path, kernel) for kernel in kernels]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _with_all_recordings(loaded: Loaded, kernels: Sequence[str], out: Path | None) -> list[Verification | LbsimError]:
    found: list[Verification | LbsimError] = []
    for one in verify_recorded(loaded, kernels, found.append, out=out):
        found.append(one)
    return found


def _recordings(loaded: Loaded, kernels: Sequence[str], complain: Complain | None) -> Iterator[tuple[Trace, Recording]]:
    from lbsim.kernel import recording

    with _passed_on(complain):
        trace = trace_of(loaded)
        job = job_from(loaded, trace)
        for kernel in kernels:
            with _passed_on(complain):
                for scheduler in loaded.used_schedulers.keys() & recording.BUILT_WITHOUT.get(kernel, frozenset()):
                    raise _lacking(loaded, kernel, scheduler)
                yield trace, recording.read(recording.path_of(loaded.path, kernel), job)


def record(
    scenarios: Sequence[Loaded],
    *,
    way: str,
    command: str,
    progress: Progress | None = None,
    complain: Complain | None = None,
) -> Iterator[tuple[Path, Verification]]:
    """The recordings of the scenarios, made on a real kernel and written beside them; and what verifying them says.

    Parameters
    ----------
    complain : told why a scenario cannot be recorded, while the others are; None: that is raised.

    Raises
    ------
    KernelUnavailable : no kernel could be asked, or it broke off.
    LbsimError : without ``complain``: as in :func:`verify`, or a recording cannot be written.
    """
    from lbsim.kernel import recording

    for one in replay(scenarios, way=way, progress=progress, complain=complain):
        with _passed_on(complain):
            found = _verified(one)
            path = recording.path_of(one.loaded.path, one.series)
            recording.write(path, one.job, one.seen, command)
            yield path, found


def _asked(
    scenarios: Sequence[Loaded],
    ask: Callable[..., list[Observation]],
    progress: Progress | None,
    complain: Complain | None,
) -> Iterator[Replay]:
    """What the kernel did, for each scenario that fits onto the bench; without any, no kernel is asked."""
    fitting: list[tuple[Loaded, Trace, Job]] = []
    for loaded in scenarios:
        with _passed_on(complain):
            trace = trace_of(loaded)
            fitting.append((loaded, trace, job_from(loaded, trace)))
    if fitting:
        observations = ask([job for *_, job in fitting], progress=_told(progress))
        for (loaded, trace, job), seen in zip(fitting, observations, strict=True):
            with _passed_on(complain):
                if seen.error:
                    raise LbsimError(
                        f"the replay on linux-{seen.release} broke off: {seen.error}", file=str(loaded.path)
                    )
                _refuse_lacking(loaded, seen)
                yield Replay(loaded, trace, job, seen)


def _refuse_lacking(loaded: Loaded, seen: Observation) -> None:
    """Raise BuiltWithout if the kernel said that it does not know a scheduler."""
    from lbsim.kernel.job import CommandSeen

    not_found = KERNEL_MESSAGES[AddService, "ENOENT"]
    known = loaded.used_schedulers.keys() & set(BUILT_IN)
    for answer in (*seen.setup, *(row for row in seen.events if isinstance(row, CommandSeen))):
        for scheduler in known.intersection(answer.argv):
            if not_found in answer.output:
                raise _lacking(loaded, seen.release, scheduler)


def _lacking(loaded: Loaded, kernel: str, scheduler: str) -> BuiltWithout:
    return BuiltWithout(f"{loaded.scenario.name}: left out: linux-{kernel} was built without the scheduler {scheduler}")


@contextmanager
def _passed_on(complain: Complain | None) -> Iterator[None]:
    """Errors inside go to ``complain``, if there is one."""
    try:
        yield
    except LbsimError as error:
        if complain is None:
            raise
        complain(error)


def _told(progress: Progress | None) -> Callable[[int, int, str], None]:
    """Progress of a kernel's run, told as that of a step."""
    return lambda done, total, _name: progress("kernel", done, total) if progress else None


def _verified(one: Replay) -> Verification:
    from lbsim.kernel.seen import steps_of

    return _compared(one.job, one.seen, steps_of(one.seen))


def _with_results(found: Verification, one: Replay, out: Path | None) -> Verification:
    """The verification with the folder into which both sides' results were written."""
    return replace(found, results=str(one.write(out))) if out else found


def _compared(
    job: Job,
    seen: Observation,
    kernel: Sequence[Step],
    note: str = "",
    *,
    as_kept: Callable[[Iterator[Step]], Iterator[Step]] = iter,
) -> Verification:
    """The kernel's steps against those of the engine, these as ``as_kept`` makes them."""
    from lbsim.kernel.rehearsal import Rehearsal
    from lbsim.kernel.seen import profile_of
    from lbsim.kernel.verification import compare_steps, setup_differences, with_lots

    engine = Rehearsal(job, seen, profile=profile_of(seen.release), kernel=kernel)
    setup = setup_differences(job, seen, engine.setup)
    release = f"linux-{seen.release} ({note})" if note else f"linux-{seen.release}"
    found = compare_steps(job, kernel, as_kept(engine.steps()), release=release, setup=setup)
    return with_lots(found, engine.lots) if engine.lots else found


def _with_tables(
    found: Verification, job: Job, seen: Observation, ask: Callable[..., list[Observation]]
) -> Verification:
    """The verification, a divergence with both tables behind it: the kernel is asked once more, up to there."""
    from lbsim.kernel.seen import profile_of
    from lbsim.kernel.verification import truncated, with_tables

    if found.divergence is None or found.divergence.event < 0:  # of no event
        return found
    shorter = truncated(job, found.divergence.event)
    try:
        (again,) = ask([shorter])
    except KernelUnavailable:  # the divergence stands without the tables, too
        return found
    return with_tables(found, shorter, again, profile=profile_of(seen.release))
