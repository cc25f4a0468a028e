"""Numbers for schedulers that draw lots: the same ones for the same seed, in both lanes.

Kernel counterpart: none. The kernel takes them from its cryptographic generator (``get_random_u32_below()``), so no
run of a kernel can be repeated; shares can be compared, sequences cannot.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Tables

__all__ = ["draw"]


@kernel
def draw(t: Tables, count: int) -> int:
    """A number from 0 to ``count`` - 1, each as likely as the others (to one part in 2**31 / ``count``).

    The state counts up in steps of the golden ratio; what is given out is the state well mixed.

    Parameters
    ----------
    count : int, 1 .. 2**32.

    Source
    ------
    lbsim's own.
    """
    director = t.director[0]
    director.random_state = (director.random_state + 0x9E3779B9) & 0xFFFFFFFF
    mixed = director.random_state
    mixed = ((mixed ^ (mixed >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x46CA68B5) & 0xFFFFFFFF
    mixed ^= mixed >> 16
    return ((mixed >> 1) * count) >> 31
