"""Which lane a run takes: the interpreted one starts at once, the compiled one is fifty times faster."""

from __future__ import annotations

from importlib.util import find_spec

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.errors import LbsimError, expected_one_of

__all__ = ["LANES", "chosen", "slow_hint"]

#: What ``--lane`` takes.
LANES = ("auto", "interpreted", "compiled")

#: From so many packets on the compiled lane is done earlier: if compiled code is in the cache, and if it is not.
WORTH_LOADING, WORTH_COMPILING = 600_000, 6_000_000
MANY = 1_000_000


def chosen(name: str, packets: int) -> Lane:
    """The lane of that name; ``auto`` is the one that is likely to be done earlier with so many packets.

    Raises
    ------
    LbsimError : there is no such lane, or numba is not installed and ``compiled`` was asked for.
    """
    if name not in LANES:
        raise LbsimError(expected_one_of(name, LANES, "lane"))
    if name == "interpreted" or (name == "auto" and packets < WORTH_LOADING):
        return interpreted_lane()
    if find_spec("numba") is None:
        if name == "auto":
            return interpreted_lane()
        raise LbsimError("the compiled lane needs numba: pip install 'lbsim[fast]'")
    compiled = compiled_lane()
    if name == "auto" and packets < WORTH_COMPILING and not compiled.at_hand("receive_block"):
        return interpreted_lane()
    return compiled


def slow_hint(name: str, packets: int) -> str:
    """What to tell somebody whose large run would be much faster with numba; "" if there is nothing to tell."""
    if name != "auto" or packets < MANY or find_spec("numba") is not None:
        return ""
    return "without numba a run of this size takes fifty times as long: pip install 'lbsim[fast]'"
