"""Paper, ink and colours of all figures. Everything is placed in inches from the top left, as on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lbsim.report.tables import by_address

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lbsim.model.result import Result

__all__ = [
    "FAINT",
    "GRID",
    "INK",
    "MARGIN",
    "MONO",
    "PAPER",
    "SANS",
    "Sheet",
    "colours",
    "mono_width",
    "tint",
]

PAPER = "#ffffff"
INK = "#1f2933"
FAINT = "#66727f"
GRID = "#e3e7ec"
SANS = "DejaVu Sans"  # comes with matplotlib, so pictures look the same everywhere
MONO = "DejaVu Sans Mono"
MARGIN = 0.45
HEADER = 1.05
DPI = 150

#: Paul Tol's "muted" colours: told apart with every common kind of colour blindness.
PALETTE = (
    "#332288", "#cc6677", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499",
)  # fmt: skip


def colours(result: Result) -> dict[str, str]:
    """Destination -> its colour in every figure of a result, whichever service it serves."""
    names = sorted({row.dest for row in result.destinations}, key=by_address)
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def tint(colour: str, strength: float) -> str:
    """A colour mixed with paper; strength 1 leaves it, 0 is paper."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * strength):02x}" for part in parts)


def mono_width(names: Iterable[str], size: float) -> float:
    """Inches that the longest of some names takes in the monospaced font of ``size`` points."""
    return max((len(name) for name in names), default=0) * 0.6021 * size / 72


class Sheet:
    """A figure of ``width`` x ``height`` inches below its title; ``height`` is what the content needs."""

    def __init__(self, width: float, height: float, title: str, subtitle: str = "") -> None:
        self.width = width
        self.height = HEADER + height + MARGIN
        self.figure = Figure(figsize=(self.width, self.height), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(self.figure)
        self.text(MARGIN, MARGIN + 0.02, title, size=14, weight="bold", top=HEADER)
        self.text(MARGIN, MARGIN + 0.30, subtitle, size=9, color=FAINT, top=HEADER)

    def text(self, x: float, y: float, text: str, *, top: float = 0.0, **style: Any) -> None:
        """Write at (x, y); y counts down from below the title."""
        size = style.pop("size", 9)
        style = {"color": INK, "family": SANS, "va": "center", "ha": "left"} | style
        place = (x / self.width, 1 - (HEADER - top + y) / self.height)
        self.figure.text(*place, text, fontsize=size, parse_math=False, **style)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Empty axes with their top left corner at (x, y): no frame and no ticks."""
        bottom = 1 - (HEADER + y + height) / self.height
        box = (x / self.width, bottom, width / self.width, height / self.height)
        axes = self.figure.add_axes(box, facecolor="none")
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=8, labelcolor=FAINT, labelfontfamily=SANS)
        return axes

    def save(self, path: Path) -> Path:
        """Write the PNG, without a word about when and by what, so that equal pictures are equal files."""
        self.figure.savefig(path, format="png", dpi=DPI, facecolor=PAPER, metadata={"Software": None})
        return path
