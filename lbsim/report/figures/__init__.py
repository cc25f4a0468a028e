"""A result as pictures: PNG files, the same bytes for the same result.

Only this package imports matplotlib, through its objects and without pyplot, so that nothing is kept between
two drawings.

* ``share``        each destination's part of the connections against its ideal
* ``first``        which destination got each of the first connections
* ``connections``  active and inactive connections over time
* ``topology``     clients, director, destinations
* ``sheet``        paper, ink and colours of all of them
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lbsim.model.config import DirectorConfig
    from lbsim.model.result import Result

__all__ = ["draw"]


def draw(
    result: Result, config: DirectorConfig, folder: Path, first: int = 60, *, changes: Sequence[int] = ()
) -> list[Path]:
    """Draw every figure into ``folder``; return their paths in reading order.

    Parameters
    ----------
    first : how many connections of each service ``first.png`` shows.
    changes : moments (ns) at which the config changed; marked where time is an axis.
    """
    from lbsim.report.figures import connections, share, topology
    from lbsim.report.figures import first as first_connections

    return [
        share.draw(result, config).save(folder / "share.png"),
        first_connections.draw(result, first).save(folder / "first.png"),
        connections.draw(result, changes).save(folder / "connections.png"),
        topology.draw(result, config).save(folder / "topology.png"),
    ]
