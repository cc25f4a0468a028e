"""What a comparison of two results says: sections of differences, as text and as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lbsim.model.wording import and_more, counted, percent

if TYPE_CHECKING:
    from lbsim.model.result import Provenance

__all__ = ["Comparison", "Difference", "Part", "Section", "Value"]


@dataclass(frozen=True, slots=True)
class Part:
    """A destination's part of its service's connections. Prints as ``25 (25.0%)``."""

    connections: int
    total: int

    def __str__(self) -> str:
        return f"{self.connections:,} ({percent(self.connections, self.total)})"


#: What stands on one side of a difference; None: the other side alone has it.
Value: TypeAlias = int | str | Part | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same: ``what``, as the columns of its section name it, and both values."""

    what: tuple[str, ...]
    a: Value
    b: Value


@dataclass(frozen=True, slots=True)
class Section:
    """All differences of one kind: their number, and the first of them."""

    name: str
    columns: tuple[str, ...]
    total: int
    rows: tuple[Difference, ...]

    def lines(self) -> list[str]:
        """Its rows as text, below a line with their number; nothing if there is no difference."""
        if not self.total:
            return []
        shown = [(*row.what, _text(row.a), _text(row.b)) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        lines = [f"{self.name}: {self.total:,}"]
        for row in shown:
            *what, a, b = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            words = [word for word in what if word]  # a column that is empty in every row takes no room
            lines.append(f"  {'  '.join(words)}  {a} | {b}".rstrip())
        if self.total > len(shown):
            lines.append(f"  {and_more(self.total - len(shown))}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """``total`` and ``rows``; each row has the section's columns, ``a`` and ``b``."""
        rows = [
            {**dict(zip(self.columns, row.what, strict=True)), "a": _plain(row.a), "b": _plain(row.b)}
            for row in self.rows
        ]
        return {"total": self.total, "rows": rows}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between results ``a`` and ``b``.

    Attributes
    ----------
    packets : how many packets each has.
    same_traffic : both got the same packets at the same times; only then packets are compared one by one.
    flows_only_in : how many flows of each the other does not have.
    sections : one per kind of difference, always all of them.
    not_compared : what one of the results does not tell, or not so exactly.
    """

    a: Provenance
    b: Provenance
    packets: tuple[int, int]
    same_traffic: bool
    flows_only_in: tuple[int, int]
    sections: tuple[Section, ...]
    not_compared: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Nothing differs: traffic, packets, counters, tables. Where the results come from does not count."""
        return self.same_traffic and not any(section.total for section in self.sections)

    def section(self, name: str) -> Section:
        """The section of that name; KeyError if there is none."""
        return {section.name: section for section in self.sections}[name]

    def lines(self) -> list[str]:
        """The whole comparison as text; in its rows, a stands left of the bar and b right of it."""
        lines = [f"a: {_origin(self.a)}", f"b: {_origin(self.b)}", self._traffic()]
        if self.not_compared:
            lines.append(f"not compared: {'; '.join(self.not_compared)}")
        if self.identical:
            return [*lines, "identical"]
        return lines + [line for section in self.sections for line in section.lines()]

    def to_dict(self) -> dict[str, Any]:
        """The whole comparison as plain values for JSON."""
        sides = zip((self.a, self.b), self.packets, self.flows_only_in, strict=True)
        a, b = ({"provenance": asdict(p), "packets": n, "flows_only_here": flows} for p, n, flows in sides)
        return {
            "identical": self.identical,
            "same_traffic": self.same_traffic,
            "not_compared": list(self.not_compared),
            "a": a,
            "b": b,
            "differences": {section.name: section.to_dict() for section in self.sections},
        }

    def _traffic(self) -> str:
        a, b = self.packets
        if self.same_traffic:
            return f"same traffic: {counted(a, 'packet')}"
        only_a, only_b = self.flows_only_in
        flows = f"{counted(only_a, 'flow')} only in a, {only_b:,} only in b"
        if not only_a and not only_b:
            flows = "of the same flows"
        return f"different traffic: {counted(a, 'packet')} in a, {b:,} in b; {flows}"


def _text(value: Value) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(value: Value) -> Any:
    return asdict(value) if isinstance(value, Part) else value


def _origin(source: Provenance) -> str:
    lane = f" ({source.lane})" if source.lane else ""
    return f"{source.scenario or 'no scenario'}, {source.side}{lane}, {source.kernel}, seed {source.seed}"
