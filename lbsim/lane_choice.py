"""Which lane a run takes: the interpreted one starts at once, the compiled one is fifty times faster."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.records import Packet
from lbsim.engine.schedulers import KNOWN, NUMBERS
from lbsim.engine.schedulers.registry import HOOKS
from lbsim.errors import LbsimError, expected_one_of
from lbsim.host import EngineHost

__all__ = ["LANES", "chosen", "slow_hint"]

#: What ``--lane`` takes.
LANES = ("auto", "interpreted", "compiled")

#: From so many packets on the compiled lane is done earlier: if compiled code is in the cache, and if it is not.
WORTH_LOADING, WORTH_COMPILING = 600_000, 6_000_000
MANY = 1_000_000


def chosen(name: str, packets: int, schedulers: Sequence[str] = ()) -> Lane:
    """The lane of that name; ``auto`` is the one that is likely to be done earlier with so many packets.

    Parameters
    ----------
    schedulers : names of schedulers that do not come with lbsim; if numba does not accept one, ``auto`` interprets.

    Raises
    ------
    LbsimError : there is no such lane; ``compiled`` was asked for, and numba is not installed or does not accept a
        scheduler.
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
    if name == "auto" and packets < WORTH_COMPILING and not compiled.at_hand("receive_columns"):
        return interpreted_lane()
    refused = not_compiled(compiled, schedulers)
    if not refused:
        return compiled
    if name == "auto":
        return interpreted_lane()
    raise LbsimError(refused)


def not_compiled(lane: Lane, schedulers: Sequence[str]) -> str:
    """Why a lane cannot run one of these schedulers; "" if it can run all."""
    if not schedulers:
        return ""
    examples = {"t": EngineHost(lane=lane).tables, "s": 1, "d": 1, "p": lane.table(Packet, 1)[0]}
    for scheduler in schedulers:
        for hook, function in KNOWN[NUMBERS[scheduler]][1].items():
            why = lane.refusal(function, *(examples[name] for name in HOOKS[hook]))
            if why:
                return f"numba does not accept {hook} of the scheduler {scheduler}: {why}"
    return ""


def slow_hint(name: str, packets: int) -> str:
    """What to tell somebody whose large run would be much faster with numba; "" if there is nothing to tell."""
    if name != "auto" or packets < MANY or find_spec("numba") is not None:
        return ""
    return "without numba a run of this size takes fifty times as long: pip install 'lbsim[fast]'"
