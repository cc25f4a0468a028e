"""What can go wrong before a packet is looked at, told apart by who has to act.

Nothing a packet does raises (it gets a verdict with a reason) and nothing a dubious config does raises
(it becomes a finding). What is left are texts that cannot be understood. Each error is one line that says
where (file, line, column), what was found and what was expected; the command line prints it and exits 2.
"""

from __future__ import annotations

__all__ = [
    "CommandRefused",
    "ConfigError",
    "KernelFailed",
    "KernelUnavailable",
    "LbsimError",
    "OutOfOrder",
    "ScenarioError",
    "TraceError",
    "expected_one_of",
]


class LbsimError(Exception):
    """Base of everything lbsim raises on purpose; ``str()`` is one line without a traceback's help.

    Parameters
    ----------
    message : what is wrong and what was expected.
    file, line, column : where, as far as known; lines and columns count from 1.
    text : the offending text, as it was written.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.text = text

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        shown = f"  [{_one_line(self.text)}]" if self.text else ""
        return f"{place}: {self.message}{shown}" if place else f"{self.message}{shown}"


class ConfigError(LbsimError):
    """A line of a config (ipvsadm, iptables) that cannot be understood: correct the line."""


class CommandRefused(ConfigError):
    """A command that the tool refuses by itself: it exits with ``status`` and says ``said``."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 2,
        said: str = "",
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        text: str | None = None,
    ) -> None:
        super().__init__(message, file=file, line=line, column=column, text=text)
        self.status = status
        self.said = said


class ScenarioError(LbsimError):
    """A scenario that cannot be understood or that contradicts itself: correct the YAML."""


class TraceError(LbsimError):
    """Traffic that cannot be read (a capture, a packet script): ``packet`` counts from 0, if known."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        text: str | None = None,
        packet: int | None = None,
    ) -> None:
        super().__init__(message, file=file, line=line, column=column, text=text)
        self.packet = packet


class OutOfOrder(TraceError):
    """Time runs backwards in a capture, further than can be mended while it is read: look through it first."""


class KernelUnavailable(LbsimError):
    """No real kernel could be asked: what was tried, which step of it failed and how, what helps."""

    def __init__(self, tried: str, step: str, remedy: str) -> None:
        super().__init__(f"{tried}: {_one_line(step, 400)}; {remedy}")
        self.tried = tried
        self.step = step
        self.remedy = remedy


class KernelFailed(KernelUnavailable):
    """A kernel was started and did not come to the end of its jobs (a panic, a hang): a failure, never a skip.

    ``done`` : the observations of the jobs that were carried out before.
    """

    def __init__(self, tried: str, step: str, remedy: str, *, done: tuple[object, ...] = ()) -> None:
        super().__init__(tried, step, remedy)
        self.done = done


class BuiltWithout(LbsimError):
    """A kernel does not have a scheduler that a scenario uses, so there is nothing to compare: no failure."""


def expected_one_of(given: str, known: list[str] | tuple[str, ...], what: str) -> str:
    """The sentence for a name that is not known, with the nearest known one and the whole list.

    >>> expected_one_of("r", ["lc", "rr", "sh"], "scheduler")
    "unknown scheduler 'r', did you mean 'rr'? expected one of: lc, rr, sh"
    """
    import difflib

    longer = [name for name in known if given and name.startswith(given)]
    similar = longer or [name for name in known if abs(len(name) - len(given)) <= max(2, len(name) // 3)]
    near = difflib.get_close_matches(given, similar, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    return f"unknown {what} {given!r}{hint} expected one of: {', '.join(sorted(known))}"


def _one_line(text: str, limit: int = 120) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
