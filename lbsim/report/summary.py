"""A result as a page that a colleague can read: Markdown, with the figures beside it."""

from __future__ import annotations

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
    from pathlib import Path

    from lbsim.model.config import DirectorConfig
    from lbsim.model.outcome import Outcome
    from lbsim.model.result import Moment, Result

__all__ = ["markdown", "write"]

_CAPTIONS = {
    "share": "Each destination's part of the connections, and its ideal",
    "first": "Which destination got each of the first connections",
    "connections": "Active and inactive connections over time",
    "topology": "Clients, director and destinations; wider lines carried more packets",
}


def write(
    result: Result,
    config: DirectorConfig,
    *,
    scenario_name: str,
    description: str,
    outcomes: Sequence[Outcome],
    folder: Path,
    figures: Sequence[Path],
) -> Path:
    """Write ``summary.md`` into ``folder`` and return its path; ``figures`` are linked relative to it."""
    path = folder / "summary.md"
    links = [figure.relative_to(folder).as_posix() for figure in figures]
    text = markdown(
        result, config, scenario_name=scenario_name, description=description, outcomes=outcomes, figures=links
    )
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def markdown(
    result: Result,
    config: DirectorConfig,
    *,
    scenario_name: str,
    description: str,
    outcomes: Sequence[Outcome],
    figures: Sequence[str],
) -> str:
    """The page's text; ``figures`` are links."""
    blocks = [f"# {scenario_name or 'result'}", description.strip()]
    blocks += _expectations(outcomes)
    blocks += [_figure(link) for link in figures if link.endswith("share.png")]
    for table in service_tables(result):
        blocks += _service(table)
    blocks += [_figure(link) for link in figures if not link.endswith("share.png")]
    blocks += _reasons(result)
    blocks += _remarks(result)
    for moment in result.moments:
        blocks += _moment(moment)
    blocks += _origin(result, config)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers_from: int) -> str:
    """A Markdown table; columns from ``numbers_from`` on stand right."""
    rule = ["---" if i < numbers_from else "---:" for i in range(len(head))]
    lines = [head, rule, *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fence(lines: Sequence[str]) -> str:
    return "\n".join(["```text", *lines, "```"])


def _figure(link: str) -> str:
    name = link.rpartition("/")[2].removesuffix(".png")
    return f"![{_CAPTIONS.get(name, name)}]({link})"


def _service(table: ServiceTable) -> list[str]:
    title = f"## {table.service} {table.scheduler or '(deleted)'}"
    if not table.lines:
        return [title, "No destinations."]
    head = ("destination", "connections", "packets", "bytes", "share", "active", "inactive", "weight")
    rows: list[tuple[object, ...]] = [
        (
            f"{line.dest} {line.state}".rstrip(),
            *(f"{number:,}" for number in (line.connections, line.packets, line.bytes)),
            percent(line.connections, table.total.connections),
            *(f"{number:,}" for number in (line.active, line.inactive, line.weight)),
        )
        for line in (*table.lines, table.total)
    ]
    if table.hidden:
        rows.insert(-1, (and_more(table.hidden), *[""] * 7))
    rows[-1] = tuple(f"**{cell}**" for cell in rows[-1])
    return [title, _table(head, rows, numbers_from=1)]


def _reasons(result: Result) -> list[str]:
    rows = [(reason.name, f"{count:,}", reason.verdict.name, reason.when) for reason, count in reason_rows(result)]
    if not rows:
        return ["## Packets by reason", "No packets."]
    head = ("reason", "packets", "verdict", "when")
    table = _table(head, rows, numbers_from=4).splitlines()
    table[1] = "| --- | ---: | --- | --- |"
    return ["## Packets by reason", "\n".join(table)]


def _remarks(result: Result) -> list[str]:
    blocks = []
    if result.left_out:
        rows = [(name, f"{count:,}") for name, count in result.left_out.items()]
        blocks += ["## Left out of the traffic", _table(("reason", "packets"), rows, numbers_from=1)]
    if result.damage:
        blocks += ["## Damage in the traffic", _cell(result.damage)]
    if result.findings:
        blocks += ["## Findings", "\n".join(f"* {_cell(found)}" for found in result.findings)]
    return blocks


def _moment(moment: Moment) -> list[str]:
    lines, hidden = listing_lines(moment.services)
    listing = lines + ([and_more(hidden)] if hidden else [])
    count = counted(len(moment.connections), "connection entry", "connection entries")
    blocks = [f"## Tables at {seconds(moment.at)}", _fence(listing), f"{count}."]
    if moment.connections:
        entries, hidden_entries = connection_lines(moment.connections)
        blocks.append(_fence(entries + ([and_more(hidden_entries)] if hidden_entries else [])))
    return blocks


def _expectations(outcomes: Sequence[Outcome]) -> list[str]:
    if not outcomes:
        return []
    met = sum(outcome.passed for outcome in outcomes)
    head = ("", "expectation", "found", "where")
    rows = [
        ("pass" if outcome.passed else "**FAIL**", outcome.title, outcome.detail, outcome.place) for outcome in outcomes
    ]
    return [f"## Expectations: {met:,} of {len(outcomes):,} met", _table(head, rows, numbers_from=4)]


def _origin(result: Result, config: DirectorConfig) -> list[str]:
    source = result.provenance
    rows = [
        ("packets", f"{len(result):,} in {seconds(result.final.at)}"),
        ("answered by", f"{source.side} {source.lane}".strip()),
        ("kernel", f"{source.kernel}, HZ {source.hz}, time 0 at tick {source.start_jiffies}"),
        ("scenario", f"{source.scenario or '-'}, seed {source.seed}, digest {source.digest or '-'}"),
        ("config", counted(len(config.commands), "command")),
        ("lbsim", source.lbsim),
    ]
    return ["## What was run", _table(("", ""), rows, numbers_from=2)]
