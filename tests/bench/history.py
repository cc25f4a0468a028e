"""What was measured, by which lbsim, on which machine: one line of JSON per run of the suite."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import lbsim

__all__ = ["HISTORY", "Entry", "Row", "append", "last_like", "machine", "now", "read"]

HISTORY = Path(__file__).with_name("history.jsonl")

_PACKAGES = ("numpy", "numba", "scapy", "dpkt")


@dataclass(frozen=True)
class Row:
    """A measurement: the median of its rounds.

    Attributes
    ----------
    unit : ``packets/s``, ``s`` or ``bytes``; empty: it could not be made, ``note`` says why.
    goal : what is wanted: at least that many packets/s, at most that many s or bytes.
    """

    group: str
    name: str
    unit: str = ""
    values: tuple[float, ...] = ()
    goal: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The row's value."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """From the lowest to the highest value, as a part of the median."""
        return (max(self.values) - min(self.values)) / self.median

    @property
    def reached(self) -> bool | None:
        """What is wanted was reached; None: nothing is."""
        if self.goal is None or not self.values:
            return None
        return self.median >= self.goal if self.unit == "packets/s" else self.median <= self.goal


@dataclass(frozen=True)
class Entry:
    """One run of the suite."""

    at: str
    lbsim: str
    commit: str
    machine: dict[str, Any]
    load: float
    rows: tuple[Row, ...] = field(default=())

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False)

    @staticmethod
    def from_json(line: str) -> Entry:
        """The entry of :meth:`to_json`."""
        parts = json.loads(line)
        rows = tuple(Row(**row | {"values": tuple(row["values"])}) for row in parts.pop("rows"))
        return Entry(**parts, rows=rows)


def now(rows: tuple[Row, ...], load: float) -> Entry:
    """An entry for rows that were just measured; ``load``: the machine's when the suite began."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
    return Entry(at, lbsim.__version__, _commit(), machine(), round(load, 2), rows)


def machine() -> dict[str, Any]:
    """What the figures depend on besides lbsim."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def read(path: Path = HISTORY) -> list[Entry]:
    """All entries, oldest first."""
    return [Entry.from_json(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append(entry: Entry, path: Path = HISTORY) -> None:
    """Add an entry to the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(entry.to_json() + "\n")


def last_like(entries: list[Entry], entry: Entry) -> Entry | None:
    """The last of the entries that was measured on the same kind of machine."""
    same = ("processor", "cores")
    like = [old for old in entries if all(old.machine[key] == entry.machine[key] for key in same)]
    return like[-1] if like else None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
