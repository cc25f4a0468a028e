"""``topology.png``: clients, the director with its virtual services, destinations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from lbsim.model.wording import and_more, counted
from lbsim.report.figures.sheet import FAINT, INK, MARGIN, MONO, PAPER, SANS, Sheet, colours, mono_width, tint
from lbsim.report.tables import SHOWN, by_address
from lbsim.topology import DIRECTOR, graph

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes

    from lbsim.model.config import DirectorConfig
    from lbsim.model.result import Result

__all__ = ["draw", "shortened"]

MOST_SERVICES = 12
BOX = 0.46
STEP = 0.62
GUTTER = 1.7
WIDEST = 14.0  # points
FRAME = 0.22  # the director's frame around its services
CLIENT_COLOUR = "#8a99a8"


@dataclass(frozen=True, slots=True)
class _Box:
    """A node on paper: its two lines, where it is, and its colour."""

    lines: tuple[str, str]
    left: float
    width: float
    middle: float
    colour: str
    dashed: bool

    @property
    def right(self) -> float:
        return self.left + self.width


class _Frame(NamedTuple):
    """The director's frame on paper."""

    left: float
    top: float
    width: float
    height: float


def draw(result: Result, config: DirectorConfig) -> Sheet:
    """Three columns: clients, virtual services in the director's frame, destinations."""
    network = shortened(graph(config, result))
    columns = [[n for n, kind in network.nodes(data="kind") if kind == k] for k in ("client", "service", "destination")]
    labels = {name: _lines(network, name) for column in columns for name in column}
    widths = [
        max(
            1.6,
            0.3 + mono_width((labels[n][0] for n in column), 9),
            0.3 + mono_width((labels[n][1] for n in column), 7.5),
        )
        for column in columns
    ]
    lefts = [MARGIN, MARGIN + widths[0] + GUTTER, MARGIN + widths[0] + widths[1] + 2 * GUTTER]
    tall = max(1, *map(len, columns)) * STEP + 2 * FRAME + 0.25
    sheet = Sheet(
        lefts[2] + widths[2] + MARGIN,
        tall,
        "Topology",
        "the wider a line, the more packets it carried; dashed lines carried none",
    )
    axes = sheet.axes(0, 0, sheet.width, tall)
    axes.set(xlim=(0, sheet.width), ylim=(tall, 0), xticks=[], yticks=[])
    colour = colours(result)
    boxes = {
        name: _Box(labels[name], left, width, middle, colour.get(name, CLIENT_COLOUR), _is_gone(network, name))
        for column, left, width in zip(columns, lefts, widths, strict=True)
        for name, middle in zip(column, _middles(len(column), tall), strict=True)
    }
    frame = _director(axes, [boxes[name] for name in columns[1]], lefts[1], widths[1], tall)
    _edges(axes, network, boxes, frame)
    for box in boxes.values():
        _draw_box(axes, box)
    return sheet


def shortened(network: networkx.DiGraph) -> networkx.DiGraph:
    """The graph in drawing order; where there are too many nodes, the least busy ones are one node."""
    import networkx

    merged: dict[str, str] = {}
    made = networkx.DiGraph()
    for kind, most in (
        ("client", SHOWN),
        ("director", 1),
        ("service", MOST_SERVICES),
        ("destination", SHOWN),
    ):
        names = sorted((n for n, k in network.nodes(data="kind") if k == kind), key=by_address)
        if len(names) > most:
            traffic = {name: sum(edge["packets"] for *_, edge in network.in_edges(name, data=True)) for name in names}
            busiest = set(sorted(names, key=lambda name: -traffic[name])[:most])
            rest = and_more(len(names) - most, kind)
            merged |= {name: rest for name in names if name not in busiest}
            names = [name for name in names if name in busiest]
            made.add_nodes_from((name, network.nodes[name]) for name in names)
            made.add_node(rest, kind=kind, label=rest, scheduler="", flags=())
        else:
            made.add_nodes_from((name, network.nodes[name]) for name in names)
    for start, end, edge in network.edges(data=True):
        ends = merged.get(start, start), merged.get(end, end)
        known = made.get_edge_data(*ends) or {"packets": 0, "connections": 0}
        sums = {name: known[name] + edge[name] for name in ("packets", "connections")}
        made.add_edge(*ends, **{**edge, **sums})
    return made


def _lines(network: networkx.DiGraph, name: str) -> tuple[str, str]:
    """A node's name and what is worth saying about it."""
    node = network.nodes[name]
    into = [edge for *_, edge in network.in_edges(name, data=True)] or [
        edge for *_, edge in network.out_edges(name, data=True)
    ]
    words = [counted(sum(edge["connections"] for edge in into), "connection")]
    if node["kind"] == "service" and node["scheduler"]:
        words.insert(0, " ".join((node["scheduler"], *node["flags"])))
    if node["kind"] == "destination" and node["label"] in network and not name.startswith("and "):
        weights = sorted({edge["weight"] for edge in into if edge["present"]})
        words.append(f"weight {', '.join(map(str, weights))}" if weights else "removed")
    return node["label"], ", ".join(words)


def _is_gone(network: networkx.DiGraph, name: str) -> bool:
    """Whether a destination was removed from every service."""
    edges = [edge for *_, edge in network.in_edges(name, data=True)]
    return network.nodes[name]["kind"] == "destination" and not any(edge["present"] for edge in edges)


def _middles(count: int, tall: float) -> list[float]:
    """Where the boxes of a column stand, around the middle of the paper."""
    return [tall / 2 + (i - (count - 1) / 2) * STEP for i in range(count)]


def _director(axes: Axes, services: list[_Box], left: float, width: float, tall: float) -> _Frame:
    """Draw the director's frame around its services."""
    half = max(1, len(services)) * STEP / 2 + FRAME / 2
    frame = _Frame(left - FRAME, tall / 2 - half - FRAME, width + 2 * FRAME, 2 * half + FRAME)
    _rounded(axes, *frame, facecolor="#f4f6f8", edgecolor="#c9d1d9", zorder=0)
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "color": FAINT, "family": SANS}
    axes.text(left + width / 2, frame.top + FRAME, DIRECTOR, **style)
    if not services:
        axes.text(left + width / 2, tall / 2, "no services", **style)
    return frame


def _edges(axes: Axes, network: networkx.DiGraph, boxes: dict[str, _Box], frame: _Frame) -> None:
    """Clients to the director's edge, services to destinations; at each end, lines lie side by side."""
    most = max((edge["packets"] for *_, edge in network.edges(data=True)), default=0)
    clients = [name for name, kind in network.nodes(data="kind") if kind == "client"]
    for i, name in enumerate(clients):
        box, packets = boxes[name], network.edges[name, DIRECTOR]["packets"]
        arrival = frame.top + 2 * FRAME + (frame.height - 3 * FRAME) * (i + 0.5) / len(clients)
        _curve(axes, (box.right, box.middle, frame.left, arrival), box.colour, _width(packets, most))
    ends = [(start, end) for start, end in network.edges if start in boxes and end in boxes]
    widths = {pair: _width(network.edges[pair]["packets"], most) for pair in ends}
    leaving, arriving = _side_by_side(widths, boxes, 0), _side_by_side(widths, boxes, 1)
    for start, end in ends:
        points = (boxes[start].right, leaving[start, end], boxes[end].left, arriving[start, end])
        _curve(axes, points, boxes[end].colour, widths[start, end])


def _width(packets: int, most: int) -> float:
    """Points; 0 if there were no packets."""
    return 1 + (WIDEST - 1) * packets / most if packets else 0.0


def _side_by_side(
    widths: dict[tuple[str, str], float], boxes: dict[str, _Box], end: int
) -> dict[tuple[str, str], float]:
    """Where each line meets the box at its ``end`` (0 or 1 of its pair), so that none covers another."""
    middles = {}
    for name in dict.fromkeys(pair[end] for pair in widths):
        pairs = sorted((pair for pair in widths if pair[end] == name), key=lambda pair: boxes[pair[1 - end]].middle)
        inches = [max(widths[pair], 1) / 72 for pair in pairs]
        squeeze = min(1.0, 0.8 * BOX / sum(inches))
        at = boxes[name].middle - sum(inches) * squeeze / 2
        for pair, inch in zip(pairs, inches, strict=True):
            middles[pair] = at + inch * squeeze / 2
            at += inch * squeeze
    return middles


def _curve(axes: Axes, ends: tuple[float, float, float, float], colour: str, width: float) -> None:
    """A line from (left, y) to (right, y), level at both ends; dashed if it has no width."""
    left, start, right, end = ends
    middle = (left + right) / 2
    points = [(left, start), (middle, start), (middle, end), (right, end)]
    codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
    style: dict[str, Any] = {"linewidth": 1.0, "linestyle": (0, (3, 3)), "edgecolor": tint(FAINT, 0.6)}
    if width:
        style = {"linewidth": width, "edgecolor": tint(colour, 0.75)}
    axes.add_patch(PathPatch(Curve(points, codes), facecolor="none", capstyle="butt", zorder=1, **style))


def _draw_box(axes: Axes, box: _Box) -> None:
    style: dict[str, Any] = {"linestyle": (0, (3, 2))} if box.dashed else {}
    _rounded(
        axes,
        box.left,
        box.middle - BOX / 2,
        box.width,
        BOX,
        facecolor=PAPER,
        edgecolor=box.colour,
        linewidth=1.6,
        zorder=3,
        **style,
    )
    title, about = box.lines
    text: dict[str, Any] = {"ha": "center", "va": "center", "family": MONO, "zorder": 4, "parse_math": False}
    middle = box.left + box.width / 2
    axes.text(middle, box.middle - 0.085, title, fontsize=9, color=INK, **text)
    axes.text(middle, box.middle + 0.105, about, fontsize=7.5, color=FAINT, **text)


def _rounded(axes: Axes, left: float, top: float, width: float, height: float, **style: Any) -> None:
    shape = "round,pad=0,rounding_size=0.09"
    axes.add_patch(
        FancyBboxPatch((left, top), width, height, boxstyle=shape, **{"zorder": 2, "linewidth": 1.0} | style)
    )
