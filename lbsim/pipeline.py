"""From a scenario file to a report: every arrow of the data flow, in a row.

::

    scenario.yaml --> load --> Loaded
                               Loaded --> trace_of, trace_blocks_of --> Trace, in one piece or in blocks
                               Loaded, Trace --> simulate --> Result, columns_file, captures
                               Loaded, Result --> check --> outcomes
                               Result, outcomes --> report --> reports/<name>/
                               Loaded, Trace --> explain --> Explanation
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lbsim import report
from lbsim.errors import LbsimError, OutOfOrder
from lbsim.export import columns_file
from lbsim.lane_choice import chosen, slow_hint
from lbsim.model.config import destination_addresses, parse_endpoint, service_addresses
from lbsim.model.merging import merge_blocks
from lbsim.model.result import Counters
from lbsim.model.scenario import CaptureTraffic, PacketTraffic, SyntheticTraffic
from lbsim.model.trace import Blocks, Trace
from lbsim.model.verdict import Verdict, reason_named
from lbsim.model.wording import counted
from lbsim.own_schedulers import load_schedulers
from lbsim.packet.received import CaptureWriter, folder_of
from lbsim.scenario import Loaded, check, first_connections_needed, load, moments_needed
from lbsim.simulate import KEPT_PACKETS, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lbsim.engine.lanes import Lane
    from lbsim.explain import Selection
    from lbsim.model.explanation import Explanation
    from lbsim.model.outcome import Outcome
    from lbsim.model.result import Result, Sink

__all__ = [
    "Progress",
    "Run",
    "explain",
    "refuse_unwritable",
    "run",
    "run_loaded",
    "trace_blocks_of",
    "trace_of",
]

_CAPTURED_BYTES = 120  # of a capture per packet, with its header: small ones are the rule where there are many
_UNPACKED = 4  # how much larger a packed capture is

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called now and then with a step's name, how much of it is done, and how much there is (0: not known)."""


@dataclass(frozen=True)
class Run:
    """A scenario that was run, what came out, and where it was written."""

    loaded: Loaded
    result: Result
    outcomes: tuple[Outcome, ...]
    folder: Path | None = None
    captures: tuple[Path, ...] = ()
    columns: Path | None = None
    hint: str = ""  # what would make the next run of this kind faster

    @property
    def passed(self) -> bool:
        """All expectations are met."""
        return all(outcome.passed for outcome in self.outcomes)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a run whose expectations are met may not show what its author meant: commands that were refused, and
        packets of which lbsim does not know what a kernel would do. One line each, with its place.
        """
        refused = [f"{found.place}: {found.text}" for found in self.result.findings if found.severity == "error"]
        counts = self.result.reason_counts().items()
        unknown = {name: count for name, count in counts if reason_named(name).verdict is Verdict.UNMODELLED}
        listed = ", ".join(f"{name} {count:,}" for name, count in unknown.items())
        packets = counted(sum(unknown.values()), "packet")
        return (*refused, *([f"{self.loaded.path}: {packets} UNMODELLED: {listed}"] if unknown else []))

    def summary(self) -> dict[str, Any]:
        """What came out, in plain values for JSON: everything but the packets."""
        result = self.result
        return {
            "name": self.loaded.scenario.name,
            "path": str(self.loaded.path),
            "passed": self.passed,
            "expectations": [asdict(outcome) for outcome in self.outcomes],
            "packets": len(result),
            "services": _service_totals(result),
            "reasons": result.reason_counts(),
            "findings": [asdict(finding) for finding in result.findings],
            "doubts": list(self.doubts),
            "left_out": dict(result.left_out or {}),
            "damage": result.damage,
            "provenance": asdict(result.provenance),
            "report": str(self.folder) if self.folder else None,
            "captures": [str(path) for path in self.captures],
            "columns": str(self.columns) if self.columns else None,
        }


def run(
    path: Path | str,
    *,
    out: Path | None = None,
    figures: bool = True,
    pcap_out: Path | None = None,
    columns_out: Path | None = None,
    keep_columns: bool = False,
    lane: str = "auto",
    progress: Progress | None = None,
) -> Run:
    """What a scenario file leads to, from its text to its report.

    Raises
    ------
    LbsimError : something cannot be understood, read or written; the message says what to correct.

    The parameters are those of :func:`run_loaded`.
    """
    return run_loaded(
        load(path),
        out=out,
        figures=figures,
        pcap_out=pcap_out,
        columns_out=columns_out,
        keep_columns=keep_columns,
        lane=lane,
        progress=progress,
    )


def run_loaded(
    loaded: Loaded,
    *,
    out: Path | None = None,
    figures: bool = True,
    pcap_out: Path | None = None,
    columns_out: Path | None = None,
    keep_columns: bool = False,
    lane: str = "auto",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Run:
    """What a loaded scenario leads to: traffic, simulation, expectations, report, captures.

    Parameters
    ----------
    out : the report goes to the folder ``out/<name of the scenario>``; None: no report is written.
    figures : the report has figures.
    pcap_out : folder for what each destination and the clients received, as captures; or one capture of all that,
        ``NAME.pcap``; None: none are written.
    columns_out : file for every packet and what became of it; its ending says what is written (``lbsim.export``).
    keep_columns : the result holds every packet, however many there are.
    lane : ``auto``, ``interpreted`` or ``compiled``, see ``lane_choice``; what comes out is the same.
    jobs : in how many processes independent services may be simulated (``lbsim.apart``).
    progress : told how far the run is.

    Raises
    ------
    LbsimError : traffic cannot be read, or a report or capture not be written; there is no such lane here.
    """
    tell = progress or _silent
    folder = out / loaded.scenario.name if out else None
    for target in (folder, pcap_out and folder_of(pcap_out), columns_out and columns_out.parent):
        refuse_unwritable(target)
    packets, _ = packets_expected(loaded)
    taken = chosen(lane, packets, load_schedulers(loaded.schedulers))
    simulated = partial(_simulated, loaded, tell, taken, columns_out, pcap_out, keep_columns, jobs)
    try:
        result, captures = simulated(survey=False)
    except OutOfOrder:  # rare, so captures are looked through for it only now
        result, captures = simulated(survey=True)
    outcomes = tuple(check(loaded, result))
    shown = _as_asked(loaded, result)
    if folder:
        tell("report", 0, 0)
        _report(loaded, shown, outcomes, folder, figures)
    return Run(loaded, shown, outcomes, folder, captures, columns_out, slow_hint(lane, packets))


def _simulated(
    loaded: Loaded,
    tell: Progress,
    lane: Lane,
    columns_out: Path | None,
    pcap_out: Path | None,
    keep_columns: bool,
    jobs: int,
    *,
    survey: bool,
) -> tuple[Result, tuple[Path, ...]]:
    """The result, and the captures that were written.

    Raises
    ------
    OutOfOrder : only without a ``survey`` of captures: time runs backwards in one, too far. Nothing was written.
    """
    with ExitStack() as files:
        sinks = [files.enter_context(columns_file(columns_out))] if columns_out else []
        received = files.enter_context(CaptureWriter(pcap_out)) if pcap_out else None
        sinks += [received] if received else []
        tell("traffic", 0, 0)
        if not all(map(lane.at_hand, _compiled_functions(loaded, pcap_out))):
            tell("compile the engine, once", 0, 0)
        keep_raw = received is not None or bool(loaded.scenario.mtu)  # captured headers say what may be split
        traffic = _traffic_of(loaded, _Reading(lane, keep_raw=keep_raw, survey=survey))
        result = _simulate(loaded, traffic, tell, columns=keep_columns or None, sinks=sinks, lane=lane, jobs=jobs)
    return result, tuple(received.paths) if received else ()


def _compiled_functions(loaded: Loaded, pcap_out: Path | None) -> list[str]:
    """The functions in which most of what a run compiles is contained."""
    has_capture = any(isinstance(item, CaptureTraffic) for item in loaded.scenario.traffic)
    return ["receive_columns"] + ["read_rows"] * has_capture + ["put_records"] * (pcap_out is not None)


def trace_of(loaded: Loaded) -> Trace:
    """All traffic of a scenario as one trace in time order.

    Each item has its own random numbers: the first those of the scenario's seed, the next ones those of the
    seed plus 2**32, 2 * 2**32 and so on.
    """
    return Trace.merge([Trace.joined(_part(loaded, at)) for at in range(len(loaded.scenario.traffic))])


def trace_blocks_of(loaded: Loaded, lane: Lane | None = None) -> Blocks:
    """The same packets in blocks, with memory for their connections only; captures are read in ``lane``.

    Of several items, addresses and flows are numbered in order of need (see ``model.merging``).

    Raises
    ------
    LbsimError : before there is any block: traffic cannot be read or made.
    """
    return merge_blocks([_part(loaded, at, _Reading(lane)) for at in range(len(loaded.scenario.traffic))])


def packets_expected(loaded: Loaded) -> tuple[int, bool]:
    """How many packets the traffic has, known before any of it is read or made, and whether that is certain."""
    from lbsim.traffic.synthetic import packets_of

    count, certain = 0, True
    for at, item in enumerate(loaded.scenario.traffic):
        match item:
            case SyntheticTraffic():
                with _placed(loaded, at):
                    count += packets_of(item)
            case PacketTraffic():
                count, certain = count + loaded.packets[at].text.count("\n"), False
            case CaptureTraffic():
                certain = False
                with suppress(OSError):  # reading it will say what is wrong
                    path = loaded.file(item.capture)
                    unpacked = _UNPACKED if path.suffix in (".gz", ".zst") else 1
                    count += path.stat().st_size * unpacked // _CAPTURED_BYTES
    return count, certain


def refuse_unwritable(folder: Path | None) -> None:
    """Raise an LbsimError if the folder cannot be made or written: better now than after the run."""
    if folder is None:
        return
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise LbsimError(f"cannot write: {error.strerror}", file=str(folder)) from None
    if not nearest.is_dir():
        raise LbsimError(f"cannot write: {nearest} is a file, expected a folder", file=str(folder))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise LbsimError(f"cannot write: no permission to write in {nearest}", file=str(folder))


def explain(
    loaded: Loaded,
    wanted: Selection,
    tell: Callable[[Explanation], object],
    *,
    progress: Progress | None = None,
) -> None:
    """Tell why the engine does what it does with some packets of a scenario, one explanation after the other.

    Raises
    ------
    LbsimError : there is no such packet, or the traffic cannot be read.
    """
    from lbsim.explain import explain as explain_packets

    step = progress or _silent
    packets, _ = packets_expected(loaded)
    lane = chosen("auto", wanted.needs(packets), load_schedulers(loaded.schedulers))
    explain_packets(
        loaded.config,
        trace_blocks_of(loaded, lane),
        wanted,
        tell,
        **_asked(loaded),
        lane=lane,
        progress=lambda done, total: step("simulate", done, total or wanted.needs(packets)),
    )


def _service_totals(result: Result) -> list[dict[str, Any]]:
    """Each service's totals and those of its destinations, removed ones included."""
    names = dict.fromkeys([row.service for row in result.final.services] + [row.service for row in result.destinations])
    rows = {name: [row for row in result.destinations if row.service == name] for name in names}
    return [
        {
            "service": name,
            "totals": {key: sum(getattr(row.counters, key) for row in dests) for key in asdict(Counters())},
            "destinations": [asdict(row) for row in dests],
        }
        for name, dests in rows.items()
    ]


def _silent(_step: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _Reading:
    """How captures are read, see ``traffic.pcap.read_blocks``."""

    lane: Lane | None = None
    keep_raw: bool = True
    survey: bool = True


def _part(loaded: Loaded, at: int, how: _Reading = _Reading()) -> Blocks:
    """The blocks of one item of ``traffic``."""
    item = loaded.scenario.traffic[at]
    with _placed(loaded, at):
        match item:
            case SyntheticTraffic():
                from lbsim.traffic.synthetic import generate_blocks

                return generate_blocks(item, loaded.scenario.seed + (at << 32))
            case PacketTraffic():
                from lbsim.traffic import script

                text = loaded.packets[at]
                with text.located():
                    commands = [*loaded.config.commands, *(timed.command for timed in loaded.timeline)]
                    trace = script.parse(
                        text.text,
                        file=text.file,
                        first_line=text.first_line,
                        start=item.start,
                        servers=destination_addresses(commands),
                        director=service_addresses(commands).union(loaded.marks.hosts),
                    )
                    return iter([trace])
            case CaptureTraffic():
                return _captured(loaded, item, how)


def _captured(loaded: Loaded, item: CaptureTraffic, how: _Reading) -> Blocks:
    from lbsim.traffic.pcap import read_blocks

    blocks = read_blocks(
        loaded.file(item.capture),
        services=loaded.called,
        mapping={parse_endpoint(end): service for end, service in (item.services or {}).items()},
        start=item.start,
        lane=how.lane,
        keep_raw=how.keep_raw,
        survey=how.survey,
    )
    return (
        replace(block, damage=f"{item.capture}: {block.damage}") if block.damage else block for block in blocks
    )  # fmt: skip


@contextmanager
def _placed(loaded: Loaded, at: int) -> Iterator[None]:
    """Errors inside that have no place get that of the traffic's item."""
    try:
        yield
    except LbsimError as error:
        if error.file is None:
            error.file, error.line = str(loaded.path), loaded.line_of(("traffic", at))
        raise


def _traffic_of(loaded: Loaded, how: _Reading) -> Trace | list[Trace] | Blocks:
    """All traffic of a scenario: as one trace, or the blocks of one, if that is short enough to be kept, else in blocks
    that come one after the other.
    """
    parts = [_part(loaded, at, how) for at in range(len(loaded.scenario.traffic))]
    begun: list[list[Trace]] = [[] for _ in parts]
    room = KEPT_PACKETS
    for part, blocks in zip(parts, begun, strict=True):
        for block in part:
            blocks.append(block)
            room -= len(block)
            if room < 0:
                return merge_blocks([chain(*both) for both in zip(begun, parts, strict=True)])
    if len(begun) == 1:
        return begun[0]
    return Trace.merge([Trace.joined(blocks) for blocks in begun])


def _asked(loaded: Loaded) -> dict[str, Any]:
    """What a scenario says of its run, as ``simulate`` takes it."""
    scenario = loaded.scenario
    return {
        "timeline": loaded.timeline,
        "until": scenario.until,
        "profile": scenario.profile,
        "sysctls": loaded.sysctls,
        "start_jiffies": scenario.start_jiffies,
        "scenario": scenario.name,
        "digest": loaded.digest,
        "seed": scenario.seed,
        "schedulers": loaded.schedulers,
        "marks": loaded.marks,
        "straight_replies": scenario.straight_replies,
        "mtu": scenario.mtu,
    }


def _simulate(
    loaded: Loaded,
    trace: Trace | list[Trace] | Blocks,
    tell: Progress,
    *,
    columns: bool | None,
    sinks: Sequence[Sink],
    lane: Lane,
    jobs: int,
) -> Result:
    expected, exact = packets_expected(loaded)
    if isinstance(trace, Trace | list) or loaded.scenario.until is not None or not exact:
        expected = 0
    options = _asked(loaded) | {"moments": moments_needed(loaded)}
    if jobs > 1 and lane.name == "interpreted" and isinstance(trace, Trace | list) and not sinks:
        from lbsim.apart import simulate_apart

        tell("simulate", 0, 0)
        trace = Trace.joined(trace) if isinstance(trace, list) else trace
        result = simulate_apart(loaded.config, trace, jobs=jobs, **options)
        if result is not None:
            return result
    return simulate(
        loaded.config,
        trace,
        **options,
        columns=columns,
        first=first_connections_needed(loaded),
        sinks=sinks,
        lane=lane,
        progress=lambda done, total: tell("simulate", done, total or expected),
    )


def _as_asked(loaded: Loaded, result: Result) -> Result:
    """The result without the tables that only expectations asked for."""
    shown = set(loaded.scenario.show)
    return replace(result, moments=tuple(moment for moment in result.moments if moment.at in shown))


def _report(loaded: Loaded, result: Result, outcomes: tuple[Outcome, ...], folder: Path, figures: bool) -> None:
    report.write(
        result,
        loaded.config,
        description=loaded.scenario.description,
        outcomes=outcomes,
        folder=folder,
        figures=figures,
        timeline=loaded.timeline,
    )
