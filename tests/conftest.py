"""What all tests share: hypothesis profiles, the playbook, both lanes, the switch for measurements."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from tests.playbook import Playbook, PlaybookMismatch, Variant

pytest_plugins = ["pytester"]

# Standard error is compared: how far a command is on a busy machine must not be part of it. Of processes, too.
os.environ["LBSIM_PROGRESS_AFTER"] = "3600"

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("fast", deadline=None, derandomize=True, suppress_health_check=SLOW_IS_FINE)
settings.register_profile("deep", deadline=None, max_examples=20_000, suppress_health_check=SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

VARIANTS = (Variant(4), Variant(6), Variant(4, "compiled"), Variant(4, "oracle"))


@pytest.fixture(params=VARIANTS, ids=str)
def play(request: pytest.FixtureRequest) -> Playbook:
    """A script for a director, see ``tests/playbook.py``. It runs when the test function has ended."""
    return Playbook(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run the script that the test function wrote, to its end."""
    result = yield
    play = pyfuncitem.funcargs.get("play")
    if isinstance(play, Playbook):
        transcript = ""
        try:
            play.finish()
        except PlaybookMismatch as mismatch:
            transcript = str(mismatch)
        if transcript:
            pytest.fail(transcript, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything can be tested, a skipped test has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "LBSIM_NO_SKIPS" in os.environ:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and LBSIM_NO_SKIPS is set: {report.longrepr}"
    return report


@pytest.fixture(params=["interpreted", "compiled"])
def lane(request: pytest.FixtureRequest) -> Lane:
    """Either lane; compiling happens once."""
    return compiled_lane() if request.param == "compiled" else interpreted_lane()


@pytest.fixture
def in_an_empty_folder(tmp_path: Path) -> Iterator[None]:
    """Reports go to a folder of the test."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-bench", action="store_true", help="also run the speed measurements of tests/bench")
    parser.addoption("--bench-scale", type=float, default=1.0, help="measure with so many times as much traffic")
    parser.addoption("--bench-keep", action="store_true", help="keep what was measured, and show it in the README")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave measurements out unless they are asked for; deselected, not skipped."""
    if config.getoption("--run-bench"):
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("bench")])
    items[:] = [item for item in items if not item.get_closest_marker("bench")]
