"""Reads what the real ipvsadm printed (tests/captures)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lbsim import Director
from lbsim.errors import ConfigError

__all__ = ["NOT_MODELLED", "Run", "blocks", "play", "runs"]

FOLDER = Path(__file__).parent / "captures"
NOT_MODELLED = "not modelled"


@dataclass
class Run:
    """One command: what it was given, what it printed, how it ended."""

    command: str
    given: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    status: int = 0

    @property
    def commands(self) -> list[str]:
        """The commands one by one: the parts of a line, or the lines of the standard input of ``ipvsadm -R``."""
        if self.given:
            return [f"ipvsadm {line}" for line in self.given if line.strip()]
        return [part.strip() for part in self.command.split(";")]


def runs(name: str) -> list[Run]:
    """The runs of a capture, in order."""
    found: list[Run] = []
    for line in (FOLDER / f"{name}.txt").read_bytes().decode().split("\n"):
        kind, bar, text = line.partition("|")
        if line.startswith("$ "):
            found.append(Run(line[2:]))
        elif bar and kind in ("in", "out", "err"):
            {"in": found[-1].given, "out": found[-1].out, "err": found[-1].err}[kind].append(text)
        elif line.startswith("exit "):
            found[-1].status = int(line.removeprefix("exit "))
    return found


def play(director: Director, run: Run) -> Run:
    """What a director answers to the same run; what lbsim does not model has that as its error."""
    answer = Run(run.command)
    for command in run.commands:
        try:
            status, out, err = _one(director, command)
        except ConfigError:
            answer.err = [NOT_MODELLED]
            return answer
        answer.status = status
        answer.out += out.split("\n")[:-1]
        answer.err += err.split("\n") if err else []
    return answer


def _one(director: Director, command: str) -> tuple[int, str, str]:
    if command.startswith("cat /proc/net/"):
        return 0, director.proc(command.removeprefix("cat /proc/net/")), ""
    answered = director.run(command)
    return answered.status, answered.output, answered.message


def blocks(lines: list[str]) -> list[str]:
    """A listing as its services with their servers, sorted: where the order of services is that of a random hash."""
    found: list[str] = []
    for line in lines:
        if line.startswith(("  ->", "-a ")) and found:
            found[-1] += "\n" + line
        else:
            found.append(line)
    return sorted(found)
