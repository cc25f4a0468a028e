"""twos: facts, schedulers.md section 3.14. Sequences are lbsim's own, shares are the kernel's."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.schedulers.twos import drawn
from tests.engine.schedulers.rig import Rig

DRAWS = 20_000


def shares(rig: Rig) -> dict[str, float]:
    picks = rig.picks(DRAWS).split()
    return {name: picks.count(name) / DRAWS for name in sorted(set(picks))}


def bound(p: float) -> float:
    """Five standard deviations of a share p among all draws: chance exceeds it once in two million tests."""
    return 5 * float(p * (1 - p) / DRAWS) ** 0.5


def test_idle_destinations_are_picked_as_the_first_lot_says() -> None:
    # loads of 0 are never larger: the first lot counts. Of 7 numbers, 0 .. 6, C (the first) has 0 and 1, B 2, A 3
    rig = Rig("twos", {"A": 3, "B": 2, "C": 1}, lane=compiled_lane())
    for name, share in shares(rig).items():
        expected = {"A": 3 / 7, "B": 2 / 7, "C": 2 / 7}[name]
        assert share == pytest.approx(expected, abs=bound(expected))


def test_the_less_loaded_of_two_gets_the_connection() -> None:
    # weights 1: numbers 0 .. 2, B (the first) 2/3, A 1/3. A is loaded: it is picked if both lots say A
    rig = Rig("twos", {"A": 1, "B": 1}, lane=compiled_lane())
    rig.row("A").total = 1
    assert shares(rig)["A"] == pytest.approx(1 / 9, abs=bound(1 / 9))


def test_products_wrap_at_31_bits() -> None:
    # 65535 x 32769 = 2147516415 is -2147450881 for an int. First lot A, second B: is -2147450881 larger than 0? No, A
    # stays. First lot B, second A: is 0 larger than -2147450881? Yes, so A. B, the first in the list, needs both lots.
    rig = Rig("twos", {"A": 65535, "B": 65535}, lane=compiled_lane())
    rig.row("A").total = 32769
    b = 65536 / 131071
    assert shares(rig)["B"] == pytest.approx(b * b, abs=bound(b * b))


@pytest.mark.parametrize(("lot", "picked"), [(0, "C"), (1, "C"), (2, "B"), (3, "B"), (4, "A"), (6, "A")])
def test_weights_add_up_to_the_lot(lot: int, picked: str, lane: Lane) -> None:
    rig = Rig("twos", {"A": 3, "D": 9, "B": 2, "E": 0, "C": 1}, lane=lane)
    rig.row("D").overload = 1
    assert rig.name_of(int(lane.function(drawn)(rig.host.tables, 1, lot))) == picked


def test_the_same_seed_gives_the_same_picks_in_both_lanes() -> None:
    def picks(seed: int, lane: Lane) -> str:
        return Rig("twos", {"A": 3, "B": 2, "C": 1}, lane=lane, seed=seed).picks(50)

    assert picks(7, interpreted_lane()) == picks(7, compiled_lane())
    assert picks(7, interpreted_lane()) != picks(8, interpreted_lane())
