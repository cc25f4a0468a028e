"""SCTP as the director sees it: which state a chunk leads to, and how long the entry may then stay idle.

Kernel counterpart: ip_vs_proto_sctp.c. What a packet is follows from its chunks (``sctp_chunks``). Only established
associations count as active.
"""

from __future__ import annotations

from functools import cache

from lbsim.engine.conntable import assure
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import CONTROLLED
from lbsim.engine.records import Tables
from lbsim.engine.sctp_chunks import ABORT, DATA, NO_CHUNK
from lbsim.engine.tcp import count_active, viewed

__all__ = ["STATES", "TRANSITIONS", "next_states", "step_sctp", "timeouts"]

#: State number -> name, as listings print it.
STATES = (
    "NONE",
    "INIT1",
    "INIT",
    "C-SENT",
    "C-REPLIED",
    "C-WAIT",
    "COOKIE",
    "C-ECHOED",
    "ESTABLISHED",
    "S-SENT",
    "S-RECEIVED",
    "S-ACK-SENT",
    "REJECTED",
    "CLOSED",
)
ESTABLISHED = 8
CLOSED = 13

EVENT_BITS = 4

#: State -> idle seconds.
TIMEOUTS = dict.fromkeys(STATES, 61) | {"NONE": 2, "INIT1": 4, "REJECTED": 4, "ESTABLISHED": 900}

_SHORT = (
    *("NON", "IN1", "INI", "CSE", "CRE", "CWA", "COO"),
    *("CEC", "EST", "SSE", "SRE", "SAS", "REJ", "CLO"),
)

#: Direction -> state (short, in the order of STATES) -> next state on DATA, INIT, INIT-ACK, COOKIE-ECHO, COOKIE-ACK,
#: SHUTDOWN, SHUTDOWN-ACK,
#: SHUTDOWN-COMPLETE, ERROR, ABORT. facts: packet-path.md section 7.3
TRANSITIONS: dict[str, dict[str, str]] = {
    "in": {
        "NON": "EST IN1 CWA CRE EST SRE CLO CLO CLO CLO",
        "IN1": "IN1 INI CWA INI IN1 IN1 INI CLO IN1 CLO",
        "INI": "INI INI CWA INI INI INI INI CLO INI CLO",
        "CSE": "CSE CSE CSE CRE CSE CSE CSE CSE CSE CLO",
        "CRE": "CRE CRE CRE CRE CRE CRE CRE CRE CRE CLO",
        "CWA": "CWA CWA COO CWA CWA CWA CWA CWA CWA REJ",
        "COO": "COO COO COO COO COO COO COO COO COO CLO",
        "CEC": "CEC CEC CEC CEC EST CEC CEC CEC CLO CLO",
        "EST": "EST EST EST EST EST SRE EST EST EST CLO",
        "SSE": "SSE SSE SSE SSE SSE SSE CLO SSE SSE CLO",
        "SRE": "SRE SRE SRE SRE SRE SRE SRE SRE SRE CLO",
        "SAS": "SAS SAS SAS SAS SAS SAS CLO CLO SAS CLO",
        "REJ": "REJ INI REJ REJ REJ REJ REJ REJ REJ CLO",
        "CLO": "CLO INI CLO CLO CLO CLO CLO CLO CLO CLO",
    },
    "out": {
        "NON": "EST CWA CSE CEC EST SSE SAS CLO CLO CLO",
        "IN1": "IN1 CWA CSE CEC EST SSE SAS IN1 CLO REJ",
        "INI": "INI CWA CSE CEC EST SSE SAS INI CLO CLO",
        "CSE": "CSE CWA CSE CEC EST SSE SAS CSE CLO CLO",
        "CRE": "CRE CWA CRE CEC EST SSE SAS CRE CLO CLO",
        "CWA": "CWA CWA CWA CEC EST SSE CWA CWA CWA CLO",
        "COO": "COO CWA COO CEC EST SSE COO COO COO CLO",
        "CEC": "CEC CWA CEC CEC EST SSE CEC CEC CEC CLO",
        "EST": "EST EST EST EST EST SSE EST EST EST CLO",
        "SSE": "SSE CWA SSE SSE SSE SSE SAS SSE SSE CLO",
        "SRE": "SRE CWA SRE SRE SRE SRE SAS SRE SRE CLO",
        "SAS": "SAS CWA SAS SAS SAS SAS SAS SAS SAS CLO",
        "REJ": "REJ CWA REJ REJ REJ REJ REJ REJ REJ CLO",
        "CLO": "CLO CWA CLO CLO CLO CLO CLO CLO CLO CLO",
    },
    "in only": {
        "NON": "EST IN1 CEC EST EST SRE CLO CLO CLO CLO",
        "IN1": "IN1 INI CEC EST IN1 IN1 INI CLO IN1 CLO",
        "INI": "INI INI CEC EST INI INI INI CLO INI CLO",
        "CSE": "CSE INI CEC EST EST CSE CSE CLO CSE CLO",
        "CRE": "CRE INI CEC EST EST CRE CRE CLO CRE CLO",
        "CWA": "EST INI CEC EST CWA CWA CWA CWA CWA REJ",
        "COO": "COO COO COO COO EST COO COO COO COO CLO",
        "CEC": "CEC CEC CEC CEC EST CEC CEC CEC CEC CLO",
        "EST": "EST EST EST EST EST SRE CLO EST EST CLO",
        "SSE": "SSE SSE SSE SSE SSE SSE CLO SSE SSE CLO",
        "SRE": "SRE SRE SRE SRE SRE SRE SRE CLO SRE CLO",
        "SAS": "SAS SAS SAS SAS SAS SAS CLO CLO SAS CLO",
        "REJ": "REJ INI REJ REJ REJ REJ REJ REJ REJ CLO",
        "CLO": "CLO INI CLO CLO CLO CLO CLO CLO CLO CLO",
    },
}


@cache
def next_states() -> tuple[int, ...]:
    """The transitions in a row: (direction * 14 + state) * 16 + event -> next state.

    Source
    ------
    facts: packet-path.md section 7.3.
    """
    flat: list[int] = []
    for transitions in TRANSITIONS.values():
        for state in _SHORT:
            following = [_SHORT.index(word) for word in transitions[state].split()]
            aborted = following[ABORT - DATA]
            row = [_SHORT.index(state), *following, aborted]
            flat += row + [0] * ((1 << EVENT_BITS) - len(row))
    return tuple(flat)


def timeouts(hz: int) -> list[int]:
    """State number -> idle ticks.

    Source
    ------
    facts: packet-path.md section 7.3.
    """
    return [TIMEOUTS[name] * hz for name in STATES]


@kernel
def step_sctp(t: Tables, c: int, event: int, direction: int) -> None:
    """Move the entry's state on, count it as active or inactive, reload its timeout. Without a chunk nothing happens.

    Source
    ------
    facts: packet-path.md sections 6 and 7.3; ip_vs_proto_sctp.c set_sctp_state(), 6.1 and 6.12.
    """
    if event == NO_CHUNK:
        return
    conn = t.conns[c]
    row = viewed(conn, direction) * len(STATES) + conn.state
    state = t.sctp_next[(row << EVENT_BITS) + event]
    if state != conn.state:
        conn.state = state
        count_active(t, conn, state == ESTABLISHED)
        if state == ESTABLISHED and conn.marks & CONTROLLED != 0:
            assure(t, c)
    conn.timeout = t.sctp_timeouts[state]
