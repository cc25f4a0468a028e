"""What a command shows of its progress: a bar with packets, rate and time left, lines without a terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from lbsim.meter import Meter, _Bar, _Lines, _minutes, _rate


class Clock:
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def shown_by(tell: Callable[[_Bar, Clock], None], *, appears: bool = True) -> str:
    """The last picture of a bar on a terminal of 100 columns, without colours."""
    out = io.StringIO()
    clock = Clock()
    console = Console(file=out, force_terminal=True, width=100, color_system=None, legacy_windows=False)
    bar = _Bar("demo", console, clock)
    if appears:
        bar._appear()
    tell(bar, clock)
    assert bar._bar is not None
    bar._bar.refresh()
    picture = out.getvalue()
    bar.end()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", picture).strip().splitlines()[-1].strip()


def simulating(total: int) -> Callable[[_Bar, Clock], None]:
    """A million packets a second for four seconds."""

    def tell(bar: _Bar, clock: Clock) -> None:
        for second in range(5):
            clock.now = 100.0 + second
            bar.tell("simulate", second * 1_000_000, total)

    return tell


def test_a_bar_shows_packets_rate_and_time_left() -> None:
    line = shown_by(simulating(10_000_000))
    assert re.fullmatch(r"demo: simulate [━╸╺ ]+ 4,000,000 of 10,000,000 1 M/s 0:06 left", line), line


def test_without_a_total_it_shows_packets_rate_and_time_so_far() -> None:
    line = shown_by(simulating(0))
    assert re.fullmatch(r"demo: simulate [━╸╺ ]+ 4,000,000 1 M/s 0:04", line), line


def test_a_step_that_counts_nothing_shows_its_name() -> None:
    line = shown_by(lambda bar, _clock: bar.tell("report", 0, 0))
    assert re.fullmatch(r"demo: report [━╸╺ ]+ +0:00", line), line


def test_each_step_has_its_own_rate() -> None:
    def two_steps(bar: _Bar, clock: Clock) -> None:
        simulating(4_000_000)(bar, clock)
        for second in range(3):
            clock.now = 110.0 + second
            bar.tell("captures", second * 2_000, 8_000)

    line = shown_by(two_steps)
    assert re.fullmatch(r"demo: captures [━╸╺ ]+ 4,000 of 8,000 2 k/s 0:02 left", line), line


def test_a_bar_that_appears_late_shows_what_was_told_before() -> None:
    def late(bar: _Bar, _clock: Clock) -> None:
        bar.tell("simulate", 5, 10)
        bar._appear()

    line = shown_by(late, appears=False)
    assert re.match(r"demo: simulate [━╸╺ ]+ 5 of 10", line), line


def test_brackets_in_a_name_are_shown_as_they_are() -> None:
    assert shown_by(lambda bar, _clock: bar.tell("[red]x", 0, 0)).startswith("demo: [red]x ")


def test_a_bar_appears_by_itself_even_if_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.meter.FIRST_NOTE", 0.01)
    out = io.StringIO()
    bar = _Bar("demo", Console(file=out, force_terminal=True, width=80))
    bar.begin()
    deadline = time.monotonic() + 10
    while "demo" not in out.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bar.end()
    assert out.getvalue().endswith("\x1b[2K")  # nothing of it stays


def test_a_bar_that_has_ended_does_not_appear() -> None:
    out = io.StringIO()
    bar = _Bar("demo", Console(file=out, force_terminal=True, width=80))
    bar.begin()
    bar.end()
    bar._appear()
    assert out.getvalue() == ""


def test_lines_come_when_it_takes_long_and_then_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr("lbsim.meter.time.monotonic", clock)
    monkeypatch.setattr("lbsim.meter.FIRST_NOTE", 2.0)
    lines = _Lines("demo")
    lines.begin()
    for tenth in range(140):
        clock.now = 100 + tenth / 10
        lines.tell("simulate", tenth * 1000, 200_000)
    # after 2 s, and 10 s after that
    assert capsys.readouterr().err == "demo: simulate 20,000 of 200,000\ndemo: simulate 120,000 of 200,000\n"


@pytest.mark.parametrize(("done", "total", "line"), [(0, 0, "demo: traffic\n"), (7000, 0, "demo: traffic 7,000\n")])
def test_lines_without_a_total_say_what_they_know(
    done: int, total: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lbsim.meter.FIRST_NOTE", 0.0)
    with Meter("demo") as meter:
        meter("traffic", done, total)
    assert capsys.readouterr().err == line


def test_a_silent_meter_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lbsim.meter.FIRST_NOTE", 0.0)
    with Meter("demo", silent=True) as meter:
        meter("traffic", 1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(None, ""), (0.0, ""), (0.5, "0.5 /s"), (12.34, "12.3 /s"), (1234.0, "1.23 k/s"), (3_240_000, "3.24 M/s"),
     (1_234_000_000, "1234 M/s")],
)  # fmt: skip
def test_rates_have_three_figures(per_second: float | None, text: str) -> None:
    assert _rate(per_second) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3661, "1:01:01")])
def test_times_are_minutes_and_seconds(seconds: float, text: str) -> None:
    assert _minutes(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("", 2.0), ("60", 60.0), ("soon", 2.0)])
def test_the_time_until_the_first_note_can_be_set(text: str, seconds: float) -> None:
    program = "import lbsim.meter; print(lbsim.meter.FIRST_NOTE)"
    environment = dict(os.environ, LBSIM_PROGRESS_AFTER=text)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) == seconds
