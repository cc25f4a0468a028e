"""Two results, side by side: what differs, by names, whoever made them.

* ``exact``        row by row: shares, flows, packets, counters, tables
* ``statistical``  shares within a tolerance, for runs that are alike, not equal
* ``comparison``   what comes out
* ``columns``      packets and flows, as whole columns
* ``tables``       counters and listings, matched by names
"""

from __future__ import annotations

from lbsim.compare.comparison import Comparison, Difference, Part, Section
from lbsim.compare.exact import compare
from lbsim.compare.statistical import share_distances

__all__ = ["Comparison", "Difference", "Part", "Section", "compare", "share_distances"]
