"""How far a command is, on standard error: nothing as long as it is quick, then a bar; without a terminal, lines."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task
    from rich.text import Text

__all__ = ["Meter"]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 2.0


FIRST_NOTE = _seconds(os.environ.get("LBSIM_PROGRESS_AFTER", ""))  # until a command says that it lives,
NEXT_NOTE = 10.0  # and until it says so again


class Meter:
    """Shows steps and how much of them is done, inside ``with``; called with (step, done, total or 0).

    Parameters
    ----------
    name : of what is done.
    silent : show nothing.
    """

    def __init__(self, name: str, *, silent: bool = False) -> None:
        self._show: _Silent = _Silent() if silent else _Bar(name) if sys.stderr.isatty() else _Lines(name)

    def __enter__(self) -> Meter:
        self._show.begin()
        return self

    def __call__(self, step: str, done: int, total: int) -> None:
        self._show.tell(step, done, total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._show.end()


class _Silent:
    def begin(self) -> None:
        """The command begins."""

    def tell(self, step: str, done: int, total: int) -> None:
        """So much of a step is done."""

    def end(self) -> None:
        """The command has ended, one way or another."""


class _Lines(_Silent):
    """A line now and then."""

    def __init__(self, name: str) -> None:
        self._name = name

    def begin(self) -> None:
        self._due = time.monotonic() + FIRST_NOTE
        self._told: tuple[str, int, int] = ("", 0, 0)
        self._timer = threading.Timer(FIRST_NOTE, self._remind)  # of a step that tells nothing while it lasts
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        self._timer.cancel()

    def _remind(self) -> None:
        if self._told[0]:
            self.tell(*self._told)

    def tell(self, step: str, done: int, total: int) -> None:
        self._told = step, done, total
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + NEXT_NOTE
            count = f" {_count(done, total)}" if done or total else ""
            click.echo(f"{self._name}: {step}{count}", err=True)


class _Bar(_Silent):
    """A bar that appears when the command has taken a while, whether it tells something by then or not."""

    def __init__(self, name: str, console: Console | None = None, clock: Callable[[], float] | None = None) -> None:
        self._name = name
        self._console = console
        self._clock = clock
        self._timer = threading.Timer(FIRST_NOTE, self._appear)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._told: tuple[str, int, int] = ("", 0, 0)
        self._ended = False

    def begin(self) -> None:
        self._timer.start()

    def tell(self, step: str, done: int, total: int) -> None:
        before, self._told = self._told[0], (step, done, total)
        if self._bar is not None:
            if step != before:
                self._bar.reset(self._task, total=total or None, description=self._title())
            self._bar.update(self._task, completed=done, total=total or None)

    def end(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._bar is not None:
                self._bar.stop()

    def _appear(self) -> None:
        with self._lock:
            if self._ended:
                return
            bar = _progress(self._console, self._clock)
            _, done, total = self._told
            self._task = bar.add_task(self._title(), total=total or None, completed=done)
            bar.start()
            self._bar = bar

    def _title(self) -> str:
        return f"{self._name}: {self._told[0]}" if self._told[0] else self._name


def _progress(console: Console | None, clock: Callable[[], float] | None) -> Progress:
    """Step, bar, count, how many per second, and the time that is left or has passed."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Column(ProgressColumn):
        def __init__(self, text: Callable[[Task], str]) -> None:
            super().__init__()
            self._text = text

        def render(self, task: Task) -> Text:
            return Text(self._text(task))

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Column(lambda task: _count(int(task.completed), int(task.total or 0)) if task.completed else ""),
        Column(lambda task: _rate(task.speed)),
        Column(_time),
        console=console or Console(stderr=True),
        transient=True,
        get_time=clock,
    )


def _count(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else f"{done:,}"


def _rate(per_second: float | None) -> str:
    """``3.2 M/s``."""
    if not per_second:
        return ""
    factor, unit = next(row for row in ((1e6, " M"), (1e3, " k"), (0, " ")) if per_second >= row[0])
    number = per_second / factor if factor else per_second
    return f"{number:.3g}{unit}/s" if number < 1000 else f"{number:.0f}{unit}/s"


def _time(task: Any) -> str:
    """``0:12 left``, or ``0:34`` so far if nobody knows how much there is."""
    if task.total is not None and task.time_remaining is not None:
        return f"{_minutes(task.time_remaining)} left"
    return _minutes(task.elapsed or 0)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
