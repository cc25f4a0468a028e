"""``first.png``: which destination got each of the first connections, as a row of dots per destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FixedLocator

from lbsim.model.wording import and_more, counted
from lbsim.report.figures.sheet import FAINT, GRID, INK, MARGIN, MONO, Sheet, colours, mono_width
from lbsim.report.tables import SHOWN, by_address, first_of, service_tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lbsim.model.result import Result

__all__ = ["draw", "rows_of"]

MOST_SERVICES = 8
ROW = 0.27
PANEL_HEAD = 0.42
PANEL_FOOT = 0.65
PLOT = 7.6


def draw(result: Result, first: int) -> Sheet:
    """One panel per service."""
    services, hidden = first_of([table.service for table in service_tables(result)], MOST_SERVICES)
    panels = [(service, *rows_of(result, service, first)) for service in services]
    label = mono_width((row for _, rows, _ in panels for row in rows), 9) + 0.2
    heights = [PANEL_HEAD + max(len(rows), 1) * ROW + PANEL_FOOT for _, rows, _ in panels]
    sheet = Sheet(
        MARGIN + label + PLOT + MARGIN,
        max(sum(heights) - 0.15, 0.3) + (0.3 if hidden else 0),
        "First connections",
        "one dot per new connection, in the row of the destination that got it",
    )
    colour = colours(result)
    top = 0.0
    for (service, rows, got), height in zip(panels, heights, strict=True):
        sheet.text(MARGIN, top + 0.1, service, family=MONO, size=10, weight="bold")
        total = sum(row.counters.connections for row in result.destinations if row.service == service)
        about = f"{len(got):,} of {counted(total, 'connection')}" if got else "no connections"
        sheet.text(sheet.width - MARGIN, top + 0.1, about, color=FAINT, size=8.5, ha="right")
        axes = sheet.axes(MARGIN + label, top + PANEL_HEAD, PLOT, max(len(rows), 1) * ROW)
        _dots(axes, len(rows), got, [colour.get(row, FAINT) for row in rows])
        for i, row in enumerate(rows):
            style: dict[str, Any] = {"family": MONO, "color": INK} if row in colour else {"color": FAINT}
            sheet.text(MARGIN + label - 0.12, top + PANEL_HEAD + (i + 0.5) * ROW, row, ha="right", **style)
        if got:
            sheet.text(
                MARGIN + label + PLOT,
                top + height - 0.3,
                "connection number",
                color=FAINT,
                size=8,
                ha="right",
            )
        top += height
    if hidden:
        sheet.text(MARGIN, top + 0.1, and_more(hidden, "service"), color=FAINT)
    if not panels:
        sheet.text(MARGIN, 0.2, "no services", color=FAINT)
    return sheet


def rows_of(result: Result, service: str, first: int) -> tuple[list[str], list[int]]:
    """The rows of a service's panel, and for each of its first connections the row of its destination.

    Rows are all destinations by address if there are few enough; else those that the first connections went
    to, and one row for all the others.
    """
    own = [i for i, row in enumerate(result.destinations) if row.service == service]
    got = result.first_connections(service, first)
    shown = own if len(own) <= SHOWN else list(dict.fromkeys(got))[:SHOWN]
    shown = sorted(shown, key=lambda i: by_address(result.destinations[i].dest))
    rows = [result.destinations[i].dest for i in shown]
    if len(own) > len(shown):
        rows.append(and_more(len(own) - len(shown)))
    number = {dest: row for row, dest in enumerate(shown)}
    return rows, [number.get(dest, len(shown)) for dest in got]


def _dots(axes: Axes, rows: int, got: list[int], colour: list[str]) -> None:
    count = max(len(got), 1)
    axes.set_xlim(0.25, max(count, 12) + 0.75)
    axes.set_ylim(max(rows, 1) - 0.5, -0.5)
    axes.set_yticks([])
    axes.hlines(range(rows), 0.5, max(count, 12) + 0.5, color=GRID, linewidth=0.9)
    axes.xaxis.set_major_locator(FixedLocator(_numbers(len(got))))
    size = min(6.5, 0.8 * PLOT * 72 / max(count, 12))
    for row in range(rows):
        at = [i for i, dest in enumerate(got, start=1) if dest == row]
        axes.plot(at, [row] * len(at), "o", color=colour[row], markersize=size, markeredgewidth=0)


def _numbers(count: int) -> list[int]:
    """Where numbers stand below the dots: 1 and every so many."""
    step = next((step for step in (1, 5, 10, 20, 50, 100) if count <= 12 * step), 10 ** len(str(count)) // 10)
    return [1, *range(step, count + 1, step)] if step > 1 and count else list(range(1, count + 1))
