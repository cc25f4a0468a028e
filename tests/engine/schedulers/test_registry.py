"""How a scheduler file reports itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim.engine import schedulers
from lbsim.engine.schedulers import registry


def schedule(t: object, s: int, p: object) -> int:
    return 0


def test_a_file_is_a_scheduler() -> None:
    files = {path.stem for path in Path(schedulers.__file__).parent.glob("*.py")} - {"__init__", "registry"}
    assert files == set(registry.REGISTERED)


def test_a_new_scheduler_is_noted_with_its_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "REGISTERED", {})
    registry.register("mine", schedule=schedule)
    assert {"mine": {"schedule": schedule}} == registry.REGISTERED


def test_an_unknown_hook_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"hooks are init_service, .*; not shedule"):
        registry.register("mine", schedule=schedule, shedule=schedule)


def test_a_scheduler_must_schedule() -> None:
    with pytest.raises(ValueError, match="scheduler mine has no schedule hook"):
        registry.register("mine", init_service=lambda t, s: 0)


def test_numbers_count_from_1_in_the_order_of_names_and_0_is_none() -> None:
    names = ["none", "dh", "fo", "lblc", "lblcr", "lc", "mh", "nq", "ovf", "rr", "sed", "sh", "twos", "wlc", "wrr"]
    assert list(schedulers.NUMBERS.items()) == [(name, number) for number, name in enumerate(names)]
