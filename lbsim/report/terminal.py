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

    from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
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
    body = _DestTable(table) if table.lines else _text("no destinations")
    return [_text(""), _text(title, "bold"), body]


class _DestTable:
    """A service's destinations in columns; where those are too wide, names stand on lines of their own."""

    def __init__(self, table: ServiceTable) -> None:
        self.table = table
        shown = [*table.lines, table.total]
        self.names = [f"{line.dest} {line.state}".rstrip() for line in shown]
        self.numbers = [
            (
                f"{line.connections:,}",
                f"{line.packets:,}",
                f"{line.bytes:,}",
                percent(line.connections, table.total.connections),
                f"{line.active:,}",
                f"{line.inactive:,}",
                f"{line.weight:,}",
            )
            for line in shown
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines that fit the width, as far as numbers allow."""
        columns = zip(_HEAD, *self.numbers, strict=True)
        widths = [max(map(len, column)) for column in columns]
        name = max(map(len, ("destination", *self.names)))
        wide = name + sum(widths) + 2 * len(widths)
        if wide > options.max_width:
            name, wide = 0, min(sum(widths) + 2 * len(widths), options.max_width)
        rule = _text("-" * wide, "dim")
        yield from self._row("destination", _HEAD, name, widths, "dim")
        yield rule
        for line, label, numbers in zip(self.table.lines, self.names, self.numbers, strict=False):
            yield from self._row(label, numbers, name, widths, "dim" if line.state else "")
        if self.table.hidden:
            yield _text(and_more(self.table.hidden))
        yield rule
        yield from self._row("total", self.numbers[-1], name, widths, "bold")

    def _row(self, label: str, cells: Sequence[str], name: int, widths: Sequence[int], style: str) -> Iterable[Text]:
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        if name:
            yield _text(f"{label:<{name}}{numbers}", style)
        else:
            yield _text(label, style)
            yield _text(numbers, style)


_HEAD = ("conns", "packets", "bytes", "share", "active", "inactive", "weight")


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
