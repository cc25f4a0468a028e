"""SCTP in made-up traffic: packets of one chunk each, by the names that the director tells apart.

What else there is (SACK, HEARTBEAT and so on) counts as DATA.
"""

from __future__ import annotations

from collections.abc import Mapping

from lbsim.engine.sctp_chunks import EVENTS

__all__ = ["CHUNKS", "sctp_size"]

COMMON = 12
_FIXED = {"DATA": 12, "INIT": 16, "INIT-ACK": 16, "SHUTDOWN": 4}  # bytes behind the chunk's four, before what varies

#: Name of a chunk -> the number of its event.
CHUNKS: Mapping[str, int] = {name: number for number, name in enumerate(EVENTS) if name.isupper()}


def sctp_size(event: int, payload: int = 0) -> int:
    """Bytes behind the IP header of a packet with that chunk, filled up to four bytes (RFC 9260, section 3)."""
    return COMMON + 4 + _FIXED.get(EVENTS[event], 0) + (payload + 3) // 4 * 4
