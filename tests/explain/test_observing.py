"""Looking on while the engine receives a packet."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from lbsim.engine import director
from lbsim.engine.lanes import marked_functions
from lbsim.engine.records import Outcome
from lbsim.explain import observing
from lbsim.explain.names import Names
from lbsim.host import EngineHost
from tests.explain.test_facts import config, host_with, packet


def observed(host: EngineHost, receive: Any = None) -> observing.Observed:
    """What is seen of a SYN."""
    host.room_for(1)
    packets, outcomes = [packet(host, "203.0.113.1", "192.0.2.1")], [Outcome()]
    return observing.observe(
        host.tables, packets[0], Names(host), receive or (lambda: host.receive_block(packets, outcomes, 1))
    )


@pytest.mark.parametrize("function", observing.OF_PACKETS, ids=lambda function: function.__name__)
def test_something_is_noted_of_every_function(function: Any) -> None:
    names = [f"_{event}_{function.__name__}" for event in ("call", "return")]
    assert any(hasattr(observing._Watcher, name) for name in names)


@pytest.mark.parametrize("function", observing.OF_SCHEDULERS + observing.OF_PACKETS, ids=lambda f: f.__name__)
def test_the_engine_calls_what_is_looked_for(function: Any) -> None:
    """A function that the engine no longer has in its tables of marked functions is never seen."""
    assert function in marked_functions()


def test_whoever_profiled_before_goes_on_afterwards() -> None:
    calls: list[str] = []

    def profile(frame: FrameType, event: str, answer: Any) -> None:
        calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        observed(host_with(config("rr", "10.0.0.11")))
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(before)
    assert director.receive.__name__ not in calls


def test_an_error_of_the_engine_leaves_nothing_behind() -> None:
    before = sys.getprofile()

    def fails() -> None:
        raise AssertionError("an invariant")

    with pytest.raises(AssertionError, match="an invariant"):
        observed(host_with(config("rr", "10.0.0.11")), fails)
    assert sys.getprofile() is before


def test_what_is_seen_is_what_was() -> None:
    """The copies show the destination without the connection that the packet made."""
    host = host_with(config("rr", "10.0.0.11"))
    seen = observed(host)
    assert (seen.dests[1].total, host.tables.dests[1].total) == (0, 1)
    assert (seen.found, seen.made, seen.armed) == (0, 1, {1})
    assert seen.step is not None
    assert (seen.step.before.state, seen.step.table) == (0, 0)
