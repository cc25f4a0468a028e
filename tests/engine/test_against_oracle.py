"""The engine against the naive director: random histories, every answer and every table the same.

The naive director takes no copies of counters: what is zeroed begins at 0.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.engine.lanes import compiled_lane
from tests.engine.histories import ALL_SYSCTLS, Step, histories, play, random_history
from tests.sides import EngineSide, OracleSide

#: Of long histories; in the deep profile there are many.
SEEDS = range(7, 507) if settings.default.max_examples > 1000 else [7]


@given(version=st.sampled_from([4, 6]), sysctls=st.sampled_from(ALL_SYSCTLS), history=histories(20, 70))
def test_a_short_history_goes_as_the_naive_director_says(
    version: int, sysctls: dict[str, int], history: list[Step]
) -> None:
    play(version, [OracleSide(sysctls), EngineSide(sysctls=sysctls, estimator=False)], history)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sysctls", ALL_SYSCTLS, ids=str)
def test_a_long_history_goes_as_the_naive_director_says(sysctls: dict[str, int], seed: int) -> None:
    play(4, [OracleSide(sysctls), EngineSide(sysctls=sysctls, estimator=False)], random_history(seed, 1200))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_history_of_an_older_kernel_goes_as_the_naive_director_says(seed: int) -> None:
    play(4, [OracleSide(old=True), EngineSide(profile="linux-6.1.0", estimator=False)], random_history(seed, 1200))


@pytest.mark.parametrize("sysctls", [ALL_SYSCTLS[0], ALL_SYSCTLS[-1]], ids=str)
def test_both_lanes_go_through_a_long_history_alike(sysctls: dict[str, int]) -> None:
    sides = [EngineSide(sysctls=sysctls), EngineSide(compiled_lane(), sysctls)]
    play(6, sides, random_history(8, 600))
