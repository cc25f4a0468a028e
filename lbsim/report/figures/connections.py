"""``connections.png``: active and inactive connections over time, a small picture per destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lbsim.model.wording import and_more
from lbsim.report.figures.sheet import FAINT, GRID, INK, MARGIN, MONO, PAPER, Sheet, colours, mono_width, tint
from lbsim.report.tables import SHOWN, by_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from lbsim.model.result import Result

__all__ = ["draw"]

PANEL = 1.25
TITLE = 0.42
GAP = 0.3
SCALE = 0.6
FOOT = 0.25
WIDTH = 9.6
SHORTEST = 1_000_000  # ns that the axis shows even if a run takes no time


@dataclass(frozen=True, slots=True)
class _Clock:
    """The time axis of all panels: ``unit`` of ``length`` ns."""

    unit: str
    length: int
    end: float

    @classmethod
    def of(cls, result: Result) -> _Clock:
        end = max(result.final.at, *result.series.times[-1:], SHORTEST)
        units = (("min", 60_000_000_000), ("s", 1_000_000_000))
        unit, length = next((row for row in units if end >= 5 * row[1]), ("ms", 1_000_000))
        return cls(unit, length, end / length)


def draw(result: Result, changes: Sequence[int] = ()) -> Sheet:
    """Stacked areas over the same scales, so that panels can be compared at a glance."""
    shown, hidden = _shown(result)
    several = len({row.service for row in result.destinations}) > 1
    titles = [_title(result, i, several=several) for i in shown]
    columns = _columns(len(shown), [line for title in titles for line in title])
    rows = -(-len(shown) // columns)
    marks = "; dashed lines: the config changed" if changes else ""
    sheet = Sheet(
        WIDTH,
        max(rows * (TITLE + PANEL), 0.3) + (FOOT if shown else 0),
        "Connections over time",
        f"dark: active, light on top of it: inactive{marks}",
    )
    if not shown:
        sheet.text(MARGIN, 0.1, "no samples", color=FAINT)
        return sheet
    _panels(sheet, result, shown, columns, changes)
    for place, (service, dest) in enumerate(titles):
        x, y, _ = _corner(sheet, place, columns)
        sheet.text(x, y - 0.27, service, family=MONO, size=7, color=FAINT)
        sheet.text(x, y - 0.1, dest, family=MONO, size=8.5)
    bottom = rows * (TITLE + PANEL) + FOOT
    sheet.text(sheet.width - MARGIN, bottom, f"time in {_Clock.of(result).unit}", size=8, color=FAINT, ha="right")
    if hidden:
        sheet.text(MARGIN + SCALE, bottom, and_more(hidden, "destination"), size=8, color=FAINT)
    return sheet


def _shown(result: Result) -> tuple[list[int], int]:
    """Which destinations to draw: all by service and address, or the busiest."""
    if not result.series.times:
        return [], 0
    numbers = sorted(
        range(len(result.destinations)),
        key=lambda i: (by_address(result.destinations[i].service), by_address(result.destinations[i].dest)),
    )
    if len(numbers) <= SHOWN:
        return numbers, 0
    busiest = sorted(numbers, key=lambda i: -result.destinations[i].counters.connections)
    return busiest[:SHOWN], len(numbers) - SHOWN


def _columns(panels: int, names: Sequence[str]) -> int:
    """How many panels stand side by side: few if there are few, never so many that their titles touch."""
    wanted = 1 if panels <= 1 else 2 if panels <= 4 else 3 if panels <= 9 else 4
    room = int((WIDTH - 2 * MARGIN - SCALE + GAP) / (mono_width(names, 8.5) + GAP))
    return max(1, min(wanted, room))


def _title(result: Result, i: int, *, several: bool) -> tuple[str, str]:
    """The two lines above a destination's panel; the service is left out if there is only one."""
    dest = result.destinations[i]
    return dest.service if several else "", dest.dest if dest.present else f"{dest.dest}  removed"


def _corner(sheet: Sheet, place: int, columns: int) -> tuple[float, float, float]:
    """Left and top edge of the panel in a place, and its width."""
    row, column = divmod(place, columns)
    width = (sheet.width - 2 * MARGIN - SCALE - GAP * (columns - 1)) / columns
    return MARGIN + SCALE + column * (width + GAP), row * (TITLE + PANEL) + TITLE, width


def _panels(sheet: Sheet, result: Result, shown: Sequence[int], columns: int, changes: Sequence[int]) -> None:
    series, colour, clock = result.series, colours(result), _Clock.of(result)
    # The last sample holds to the end, so that even a single one has a width.
    times = np.append(np.array(series.times) / clock.length, clock.end)
    lines = {i: [np.array([*row[i], row[i][-1]]) for row in (series.active, series.inactive)] for i in shown}
    highest = max(1, *(int((active + inactive).max()) for active, inactive in lines.values()))
    for place, i in enumerate(shown):
        x, y, width = _corner(sheet, place, columns)
        axes = sheet.axes(x, y, width, PANEL - 0.12)
        active, inactive = lines[i]
        dark = colour[result.destinations[i].dest]
        axes.fill_between(times, active, step="post", color=dark, linewidth=0)
        axes.fill_between(times, active, active + inactive, step="post", color=tint(dark, 0.4), linewidth=0)
        for at in changes:
            axes.axvline(at / clock.length, color=PAPER, linewidth=2.4)  # seen on dark areas too
            axes.axvline(at / clock.length, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.set(xlim=(0, clock.end), ylim=(0, highest * 1.05))
        _scales(axes, nbins=4 if columns > 2 else 8)
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(shown))


def _scales(axes: Axes, *, nbins: int) -> None:
    axes.axhline(0, color=FAINT, linewidth=1.2)
    axes.grid(axis="y", color=GRID, linewidth=0.9)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
