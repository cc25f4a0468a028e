"""Scenario files to run, one after another or side by side, and what there is to print about each, in their order."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lbsim.errors import LbsimError
from lbsim.jobs import as_many_as_pay, side_by_side
from lbsim.meter import Meter
from lbsim.packet.received import is_one_file
from lbsim.pipeline import Progress, Run, run_loaded
from lbsim.scenario import Loaded, load

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Outcome", "Printed", "Wanted", "outcomes"]

_PRELOAD = ("lbsim.batch", "lbsim.simulate", "lbsim.report.summary", "lbsim.report.terminal", "lbsim.traffic.synthetic")
_PRELOAD_FOR_FIGURES = ("lbsim.report.figures.share", "lbsim.report.figures.topology")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make of each scenario: see ``lbsim run --help``. ``width`` is the terminal's; None: plain text."""

    out: Path
    figures: bool
    pcap_out: Path | None
    columns_out: Path | None
    keep_columns: bool
    as_json: bool
    quiet: bool
    strict: bool
    lane: str
    width: int | None

    def one_of_several(self, name: str) -> Wanted:
        """The same, with captures and a file of columns for this scenario alone."""
        captures = self.pcap_out
        if captures:
            captures = _with_name(captures, name) if is_one_file(captures) else captures / name
        return replace(self, pcap_out=captures, columns_out=self.columns_out and _with_name(self.columns_out, name))


def _with_name(file: Path, name: str) -> Path:
    """all.pcap -> all.NAME.pcap"""
    return file.with_name(f"{file.stem}.{name}{file.suffix}")


@dataclass(frozen=True, slots=True)
class Order:
    """A scenario to run."""

    loaded: Loaded
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Printed:
    """A scenario that was run: whether its expectations are met, what to print, and what would make it faster."""

    passed: bool
    text: str
    hint: str = ""


Outcome: TypeAlias = "Printed | LbsimError"


def outcomes(files: Sequence[Path], wanted: Wanted, jobs: int | None) -> Generator[Outcome]:
    """What became of each file, in their order; one that cannot be run does not keep others from it.

    Parameters
    ----------
    jobs : how many are run at a time, or, of a single one, how many of its services; None: as many files as there are
        processors, if it pays.
    """
    orders = _orders(files, wanted)
    jobs = jobs or (as_many_as_pay(len(files)) if wanted.figures else 1)
    if len(files) == 1:
        yield from (_carried_out(order, jobs) for order in orders)
    elif jobs == 1:
        yield from map(_carried_out, orders)
    else:
        yield from _side_by_side(list(orders), jobs, wanted)


def _orders(files: Sequence[Path], wanted: Wanted) -> Iterator[Order | LbsimError]:
    names: dict[str, Path] = {}
    for path in files:
        try:
            loaded = load(path)
        except LbsimError as error:
            yield error
            continue
        name = loaded.scenario.name
        if name in names:
            yield LbsimError(f"name {name!r} is that of {names[name]}, too", file=str(path))
            continue
        names[name] = path
        yield Order(loaded, wanted.one_of_several(name) if len(files) > 1 else wanted)


def _carried_out(order: Order | LbsimError, jobs: int = 1) -> Outcome:
    if isinstance(order, LbsimError):
        return order
    with Meter(order.loaded.scenario.name, silent=order.wanted.quiet) as progress:
        return _carry_out(order, progress, jobs)


def _side_by_side(orders: Sequence[Order | LbsimError], jobs: int, wanted: Wanted) -> Iterator[Outcome]:
    to_run = [order for order in orders if isinstance(order, Order)]
    preload = _PRELOAD + (_PRELOAD_FOR_FIGURES if wanted.figures else ())
    with Meter("run", silent=wanted.quiet) as meter:
        done = side_by_side(
            _carry_out, to_run, jobs, preload=preload, told=lambda number: meter("scenarios", number, len(to_run))
        )
        with closing(done) as found:
            for order in orders:
                yield order if isinstance(order, LbsimError) else _placed(next(found), order)


def _placed(outcome: Outcome, order: Order) -> Outcome:
    if isinstance(outcome, LbsimError) and outcome.file is None:
        outcome.file = str(order.loaded.path)
    return outcome


def _carry_out(order: Order, progress: Progress | None = None, jobs: int = 1) -> Outcome:
    """Run a scenario, in whichever process this is."""
    wanted = order.wanted
    try:
        done = run_loaded(
            order.loaded,
            out=wanted.out,
            figures=wanted.figures,
            pcap_out=wanted.pcap_out,
            columns_out=wanted.columns_out,
            keep_columns=wanted.keep_columns,
            lane=wanted.lane,
            jobs=jobs,
            progress=progress,
        )
    except LbsimError as error:
        return error
    return Printed(done.passed and not (wanted.strict and done.doubts), _text(done, wanted), done.hint)


def _text(done: Run, wanted: Wanted) -> str:
    if wanted.as_json:
        return json.dumps(done.summary(), ensure_ascii=False) + "\n"
    doubts = [f"{doubt} (--strict)" for doubt in done.doubts] if wanted.strict else []
    lines = _failures(done) if wanted.quiet else _lines(done, wanted.width)
    return "".join(f"{line}\n" for line in (*lines, *doubts))


def _failures(done: Run) -> Iterable[str]:
    for outcome in done.outcomes:
        if not outcome.passed:
            yield f"{outcome.place}: FAIL  {outcome.title}: {outcome.detail}"


def _lines(done: Run, width: int | None) -> Iterable[str]:
    yield _rendered(done, width).removesuffix("\n")
    if done.folder:
        yield f"\nreport: {done.folder}"
    if done.captures:
        first, *others = done.captures
        yield f"captures: {first.parent if others else first}"
    if done.columns:
        yield f"columns: {done.columns}"


def _rendered(done: Run, width: int | None) -> str:
    """The report as text: coloured and as wide as the terminal, or plain."""
    from lbsim.report.terminal import plain_text, render

    if width is None:
        return plain_text(done.result, expectations=done.outcomes)
    from rich.console import Console

    console = Console(width=width, force_terminal=True)
    with console.capture() as text:
        console.print(render(done.result, expectations=done.outcomes))
    return text.get()
