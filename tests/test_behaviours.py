"""The table of behaviours: it is whole, what it names is there, and its page is up to date."""

from __future__ import annotations

import re

import pytest

from lbsim.engine.profile import SWITCHES
from lbsim.engine.schedulers import BUILT_IN
from lbsim.engine.schedulers.registry import REGISTERED
from tests.behaviours import BEHAVIOURS, ROOT, Behaviour, page
from tests.kernel.random_features import KINDS
from tests.kernel.random_jobs import SCHEDULERS


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.name)
def test_what_is_named_is_there(behaviour: Behaviour) -> None:
    path, _, name = behaviour.test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
    assert not behaviour.scenario or (ROOT / f"scenarios/{behaviour.scenario}.lbsim.yaml").exists()
    assert set(behaviour.random) <= {*SCHEDULERS, *KINDS}
    assert set(behaviour.switches) <= set(SWITCHES)


def test_every_scheduler_has_a_row() -> None:
    names = {word for one in BEHAVIOURS for word in re.findall(r"[a-z]+", one.name)}
    assert {name for name in REGISTERED if name in BUILT_IN} <= {*names, "none"}


def test_every_switch_and_every_kind_of_random_job_has_a_row() -> None:
    assert {switch for one in BEHAVIOURS for switch in one.switches} == set(SWITCHES)
    assert {kind for one in BEHAVIOURS for kind in one.random} == {*SCHEDULERS, *KINDS}


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/behaviours.md").read_text(encoding="utf-8") == page()
