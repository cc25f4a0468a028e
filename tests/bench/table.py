"""Measurements as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tests.bench.history import Entry, Row

__all__ = ["BEGIN", "END", "amount", "into", "markdown"]

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

_WORTH_A_SENTENCE = 0.1  # slower or larger by more than this part is marked
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"))


def markdown(entry: Entry, before: Entry | None = None, *, brief: bool = False) -> str:
    """The entry's rows, group by group, and the machine.

    Parameters
    ----------
    before : an older entry, to which the rows are compared.
    brief : only those rows of which something is wanted.
    """
    old = {(row.group, row.name): row for row in before.rows} if before else {}
    lines = []
    shown = [row for row in entry.rows if row.goal is not None or not brief]
    for group, rows in groupby(shown, key=lambda row: row.group):
        lines += [f"| {group} | median | spread | wanted |" + (" before |" if old else "")]
        lines += ["|---|--:|--:|--:|" + ("--:|" if old else "")]
        lines += [_line(row, old.get((row.group, row.name)), compared=bool(old)) for row in rows]
        lines += [""]
    return "\n".join([*lines, *_peers(entry.rows), _machine(entry)]) + "\n"


def into(text: str, table: str) -> str:
    """The text, with the table between its two marks."""
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    assert found, f"no {BEGIN} ... {END}"
    return f"{head}{BEGIN}\n\n{table}\n{END}{tail}"


def amount(value: float, unit: str) -> str:
    """A value with three digits and its unit: ``6.21 M packets/s``, ``51.3 ms``, ``96 bytes``, ``2.10 GB``."""
    if unit == "bytes" and value < 1000:
        return f"{value:.0f} bytes"
    steps = _SMALL if unit == "s" else _PREFIXES
    factor, prefix = next(((factor, prefix) for factor, prefix in steps if value >= factor), steps[-1])
    scaled = value / factor
    digits = max(0, 2 - len(str(int(scaled))) + 1)
    return f"{scaled:.{digits}f} {prefix}" + (" " if prefix and unit == "packets/s" else "") + _name(unit)


def _name(unit: str) -> str:
    return "B" if unit == "bytes" else unit


def _line(row: Row, before: Row | None, *, compared: bool) -> str:
    if not row.values:
        return f"| {row.name} | not measured: {row.note} | | |" + (" |" if compared else "")
    wanted = ""
    if row.goal is not None:
        sign = "≥" if row.unit == "packets/s" else "≤"
        wanted = f"{sign} {amount(row.goal, row.unit)}" + ("" if row.reached else " **missed**")
    name = f"{row.name} ({row.note})" if row.note else row.name
    spread = f"{row.spread:.0%}" if len(row.values) > 1 else ""
    line = f"| {name} | {amount(row.median, row.unit)} | {spread} | {wanted} |"
    return line + (f" {_change(row, before)} |" if compared else "")


def _change(row: Row, before: Row | None) -> str:
    """The older value, and how much better or worse the new one is."""
    if before is None or not before.values or before.unit != row.unit:
        return ""
    ratio = row.median / before.median
    worse = 1 - ratio if row.unit == "packets/s" else ratio - 1
    told = f"{amount(before.median, row.unit)} ({ratio - 1:+.0%})"
    return f"**{told}**" if worse > _WORTH_A_SENTENCE else told


def _peers(rows: tuple[Row, ...]) -> Iterator[str]:
    """A table of those rows that have something of lbsim's to be compared with."""
    from tests.bench.peers import COMPARED

    of = {row.name: row for row in rows}
    found = [(of[peer], of[ours], goal) for peer, ours, goal in COMPARED if peer in of and ours in of]
    found = [(peer, ours, goal) for peer, ours, goal in found if ours.values]
    if found:
        yield "| side by side | | lbsim | | times as fast | wanted |"
        yield "|---|--:|---|--:|--:|--:|"
        for peer, ours, goal in found:
            if not peer.values:  # what is wanted stays to be seen
                yield f"| {peer.name} | not measured: {peer.note} | {ours.name} | | | {f'≥ {goal}' if goal else ''} |"
                continue
            ratio = ours.median / peer.median
            wanted = f"≥ {goal}" + ("" if ratio >= goal else " **missed**") if goal else ""
            yield (
                f"| {peer.name} | {amount(peer.median, peer.unit)} | {ours.name} | {amount(ours.median, ours.unit)} | "
                f"{ratio:,.{0 if ratio >= 10 else 1}f} | {wanted} |"
            )
        yield ""


def _machine(entry: Entry) -> str:
    machine = entry.machine
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items() if number)
    return (
        f"Measured {entry.at[:10]} on {machine['processor']}, {machine['cores']} cores (one used), "
        f"{machine['memory_gib']} GiB, {machine['system']}, {machine['python']}, {packages}; lbsim {entry.lbsim} "
        f"({entry.commit}); load {entry.load} at the beginning. Medians; spread is from the lowest to the highest."
    )
