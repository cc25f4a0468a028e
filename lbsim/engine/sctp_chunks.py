"""What an SCTP packet is to the director: the event that follows from its chunks, and a chunk that makes the event.

Kernel counterpart: ip_vs_proto_sctp.c. An ABORT behind a COOKIE-ECHO or COOKIE-ACK makes it an ABORT. Who reads packets
writes the event's number where TCP packets have their flags.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel

__all__ = ["ABORT", "COOKIE_ABORT", "DATA", "EVENTS", "INIT", "NO_CHUNK", "chunk_of", "event_of"]

#: Event number -> name.
EVENTS = (
    "no chunk",
    "DATA",
    "INIT",
    "INIT-ACK",
    "COOKIE-ECHO",
    "COOKIE-ACK",
    "SHUTDOWN",
    "SHUTDOWN-ACK",
    "SHUTDOWN-COMPLETE",
    "ERROR",
    "ABORT",
    "ABORT behind a cookie",
)
NO_CHUNK = 0
DATA = 1
INIT = 2  # the bit of TCP's SYN, as it happens: both may open a connection
ABORT = 10
COOKIE_ABORT = 11


@kernel
def event_of(chunk: int, second: int) -> int:
    """The event that a packet is.

    Parameters
    ----------
    chunk : type of the first chunk; -1: there is none.
    second : type of the chunk behind it; -1: there is none.

    Source
    ------
    facts: packet-path.md section 7.3; ip_vs_proto_sctp.c set_sctp_state(), 6.1 and 6.12.
    """
    if chunk < 0:
        return NO_CHUNK
    if chunk in (10, 11):  # COOKIE-ECHO, COOKIE-ACK
        return COOKIE_ABORT if second == 6 else chunk - 6
    if chunk in (1, 2):  # INIT, INIT-ACK
        return chunk + 1
    if chunk in (7, 8):  # SHUTDOWN, SHUTDOWN-ACK
        return chunk - 1
    if chunk == 14:  # SHUTDOWN-COMPLETE
        return 8
    if chunk == 9:  # ERROR
        return 9
    return ABORT if chunk == 6 else DATA


@kernel
def chunk_of(event: int) -> int:
    """The type of the chunk that makes a packet this event; of several the plainest.

    Source
    ------
    facts: packet-path.md section 7.3; ip_vs_proto_sctp.c set_sctp_state(), 6.1 and 6.12, the other way round.
    """
    if event in (INIT, INIT + 1):  # INIT, INIT-ACK
        return event - 1
    if event in (4, 5):  # COOKIE-ECHO, COOKIE-ACK
        return event + 6
    if event in (6, 7):  # SHUTDOWN, SHUTDOWN-ACK
        return event + 1
    if event == 8:  # SHUTDOWN-COMPLETE
        return 14
    if event == 9:  # ERROR
        return 9
    if event == ABORT:
        return 6
    return 10 if event == COOKIE_ABORT else 0
