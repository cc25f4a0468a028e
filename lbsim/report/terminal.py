"""A result as text for a terminal: tables that fit its width, plain where there is no terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lbsim.model.wording import and_more, counted, percent, seconds
from lbsim.report.tables import (
    ServiceTable,
    connection_lines,
    listing_lines,
    reason_rows,
    service_tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from lbsim.model.outcome import Outcome
    from lbsim.model.result import Moment, Provenance, Result

__all__ = ["plain_text", "provenance_line", "render"]


def render(result: Result, *, expectations: Sequence[Outcome] = ()) -> Group:
    """The result for rich's ``Console.print``: services, reasons, remarks, asked moments, expectations."""
    from rich.console import Group

    parts: list[RenderableType] = [*_head(result)]
    for table in service_tables(result):
        parts += _service(table)
    parts += _reasons(result)
    parts += _remarks(result)
    for moment in result.moments:
        parts += _moment(moment)
    parts += _expectations(expectations)
    return Group(*parts)


def plain_text(result: Result, *, expectations: Sequence[Outcome] = (), width: int = 100) -> str:
    """The same without colours, ``width`` columns wide."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(render(result, expectations=expectations))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def provenance_line(source: Provenance) -> str:
    """``engine (compiled), linux-6.1.192, seed 1, lbsim 0.1.0``."""
    lane = f" ({source.lane})" if source.lane else ""
    return f"{source.side}{lane}, {source.kernel}, seed {source.seed}, lbsim {source.lbsim}"


def _text(line: str, style: str = "") -> Text:
    from rich.text import Text

    # Text, not str: in a str, rich takes "[fd00::11]:80" for markup.
    return Text(line, style=style, overflow="fold")


def _paragraph(title: str, lines: Iterable[Text]) -> list[Text]:
    """A headed block; nothing if there are no lines."""
    shown = list(lines)
    return [_text(""), _text(title, "bold"), *shown] if shown else []


def _head(result: Result) -> list[Text]:
    size = f"{counted(len(result), 'packet')} in {seconds(result.final.at)}"
    entries = counted(len(result.final.connections), "connection entry", "connection entries")
    return [
        _text(result.provenance.scenario or "result", "bold"),
        _text(f"{size}, {entries} at the end"),
        _text(provenance_line(result.provenance), "dim"),
    ]


def _service(table: ServiceTable) -> list[RenderableType]:
    title = f"{table.service} {table.scheduler or '(deleted)'}"
    parts: list[RenderableType] = [_text(""), _text(title, "bold")]
    if not table.lines:
        return [*parts, _text("no destinations")]
    grid = _grid("destination", "conns", "packets", "bytes", "share", "active", "inactive", "weight")
    for line in (*table.lines, table.total):
        if line is table.total:
            if table.hidden:
                grid.add_row(_text(and_more(table.hidden)))
            grid.add_section()
        style = "dim" if line.state else "bold" if line is table.total else ""
        numbers = (line.connections, line.packets, line.bytes)
        share = percent(line.connections, table.total.connections)
        cells = [
            *(f"{n:,}" for n in numbers),
            share,
            *(f"{n:,}" for n in (line.active, line.inactive, line.weight)),
        ]
        name = f"{line.dest} {line.state}".rstrip()
        grid.add_row(*(_text(cell, style) for cell in (name, *cells)))
    return [*parts, grid]


def _grid(first: str, *numbers: str) -> Table:
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    grid.add_column(first, overflow="fold")
    for name in numbers:
        grid.add_column(name, justify="right", overflow="fold")
    return grid


def _reasons(result: Result) -> list[RenderableType]:
    rows = reason_rows(result)
    if not rows:
        return [_text(""), _text("no packets")]
    width = max(len(f"{count:,}") for _, count in rows)
    names = max(len(reason.name) for reason, _ in rows)
    lines = (f"{count:>{width},}  {reason.name:<{names}}  {reason.verdict.name}" for reason, count in rows)
    return [*_paragraph("packets by reason", map(_text, lines))]


def _remarks(result: Result) -> list[Text]:
    left_out = [_text(f"{name}: {counted(count, 'packet')}") for name, count in (result.left_out or {}).items()]
    styles = {"error": "red", "warning": "yellow", "note": ""}
    return [
        *_paragraph("left out of the traffic", left_out),
        *_paragraph("damage in the traffic", [_text(result.damage, "red")] if result.damage else []),
        *_paragraph("findings", (_text(str(found), styles[found.severity]) for found in result.findings)),
    ]


def _moment(moment: Moment) -> list[Text]:
    lines, hidden = listing_lines(moment.services)
    shown = [_text(line) for line in lines] + ([_text(and_more(hidden))] if hidden else [])
    entries, hidden_entries = connection_lines(moment.connections)
    count = counted(len(moment.connections), "connection entry", "connection entries")
    shown += [_text(count)] + [_text(line) for line in entries if moment.connections]
    shown += [_text(and_more(hidden_entries))] if hidden_entries else []
    return _paragraph(f"tables at {seconds(moment.at)}", shown)


def _expectations(outcomes: Sequence[Outcome]) -> list[Text]:
    passed = sum(outcome.passed for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        word, style = ("pass", "green") if outcome.passed else ("FAIL", "bold red")
        why = f": {outcome.detail}" if outcome.detail else ""
        where = "" if outcome.passed or not outcome.place else f" ({outcome.place})"
        lines.append(_text(f"{word}  {outcome.title}{why}{where}", style))
    return _paragraph(f"expectations: {passed:,} of {len(outcomes):,} met", lines)
