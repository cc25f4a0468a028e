"""``share.png``: each destination's part of the connections as a bar, its ideal as a mark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, MaxNLocator

from lbsim.model.wording import and_more, counted, percent
from lbsim.report.figures.sheet import (
    FAINT,
    GRID,
    INK,
    MARGIN,
    MONO,
    PAPER,
    Sheet,
    colours,
    mono_width,
    tint,
)
from lbsim.report.ideal import Ideal, ideal_of
from lbsim.report.tables import DestLine, ServiceTable, first_of, service_tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lbsim.model.config import DirectorConfig
    from lbsim.model.result import Result

__all__ = ["draw"]

MOST_SERVICES = 8
ROW = 0.30
PANEL_HEAD = 0.62
PANEL_FOOT = 0.55
VALUES = 1.9


def draw(result: Result, config: DirectorConfig) -> Sheet:
    """One panel per service."""
    tables, hidden = first_of(service_tables(result), MOST_SERVICES)
    label = mono_width((line.dest for table in tables for line in table.lines), 9) + 0.2
    heights = [PANEL_HEAD + max(len(table.lines), 1) * ROW + PANEL_FOOT for table in tables]
    sheet = Sheet(
        MARGIN + label + max(4.6, 9.5 - label - VALUES) + VALUES + MARGIN,
        max(sum(heights) - 0.25, 0.3) + (0.3 if hidden else 0),
        "Share of connections",
        "bars: what each destination got;  \u2503 its ideal",
    )
    colour = colours(result)
    top = 0.0
    for table, height in zip(tables, heights, strict=True):
        _panel(sheet, table, ideal_of(config, result, table.service), colour, (MARGIN + label, top))
        top += height
    if hidden:
        sheet.text(MARGIN, top + 0.1, and_more(hidden, "service"), color=FAINT)
    if not tables:
        sheet.text(MARGIN, 0.2, "no services", color=FAINT)
    return sheet


def _panel(
    sheet: Sheet, table: ServiceTable, ideal: Ideal, colour: dict[str, str], corner: tuple[float, float]
) -> None:
    left, top = corner
    title = f"{table.service}  {table.scheduler or '(deleted)'}"
    sheet.text(MARGIN, top + 0.1, title, family=MONO, size=10, weight="bold")
    about = f"{counted(table.total.connections, 'connection')};  ideal: {ideal.meaning}"
    sheet.text(MARGIN, top + 0.33, about, color=FAINT, size=8.5)
    top += PANEL_HEAD
    rows = max(len(table.lines), 1)
    axes = sheet.axes(left, top, sheet.width - left - VALUES - MARGIN, rows * ROW)
    parts = [_part(line.connections, table.total.connections) for line in table.lines]
    ideals = [ideal.shares.get(line.dest) for line in table.lines]
    _scale(axes, rows, max([*parts, *(part or 0.0 for part in ideals)], default=0.0))
    for y, (line, part, wanted) in enumerate(zip(table.lines, parts, ideals, strict=True)):
        axes.barh(y, part, height=0.62, color=tint(colour[line.dest], 0.55 if line.state else 1))
        if wanted is not None:
            _mark(axes, wanted, y)
        _values(sheet, table, line, left, top + (y + 0.5) * ROW)
    if table.hidden:
        rest = counted(table.total.connections - sum(line.connections for line in table.lines), "connection")
        about = f"{and_more(table.hidden, 'destination')} with {rest}"
        sheet.text(left, top + rows * ROW + 0.38, about, color=FAINT)
    if not table.lines:
        sheet.text(left + 0.1, top + ROW / 2, "no destinations", color=FAINT)


def _mark(axes: Axes, wanted: float, y: int) -> None:
    """The ideal; in paper colour around it, so that it is seen on dark bars."""
    for colour, width in ((PAPER, 5.0), (INK, 2.2)):
        axes.plot([wanted, wanted], [y - 0.42, y + 0.42], color=colour, linewidth=width, clip_on=False)


def _values(sheet: Sheet, table: ServiceTable, line: DestLine, left: float, middle: float) -> None:
    """A destination's name left of its bar, its numbers right of it."""
    right = sheet.width - VALUES - MARGIN
    sheet.text(left - 0.12, middle, line.dest, family=MONO, ha="right", color=FAINT if line.state else INK)
    sheet.text(right + 0.65, middle, percent(line.connections, table.total.connections), ha="right")
    sheet.text(right + 0.8, middle, f"{line.connections:,}  {line.state}".rstrip(), color=FAINT)


def _part(connections: int, total: int) -> float:
    return connections / total if total else 0.0


def _scale(axes: Axes, rows: int, largest: float) -> None:
    axes.set_xlim(0, largest * 1.04 or 1.0)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}%"))
    axes.grid(axis="x", color=GRID, linewidth=0.9)
    axes.axvline(0, color=FAINT, linewidth=1.2)
