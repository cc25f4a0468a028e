"""TCP as the director sees it: which state a packet leads to, and how long the entry may then stay idle.

Kernel counterpart: ip_vs_proto_tcp.c. The director watches from the middle and knows flags only, no sequence
numbers. The state decides two things: the timeout, and whether the entry counts as active or inactive at its
destination.

With direct routing and tunnels it sees one side only, until (if it is told to forward answers) a first answer comes
by: such entries have a table of their own. secure_tcp replaces some transitions of all three.
"""

from __future__ import annotations

from functools import cache

from lbsim.engine.conntable import assure
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import ACK, CONTROLLED, FIN, IN, INACTIVE, NO_OUTPUT, RST, SYN
from lbsim.engine.records import Conn, Tables

__all__ = [
    "SECURE",
    "STATES",
    "TRANSITIONS",
    "count_active",
    "event",
    "next_states",
    "reusable",
    "step_tcp",
    "timeouts",
    "viewed",
]

#: State number -> name, as listings print it.
STATES = (
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
)
NONE, ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, SYNACK = range(11)

#: State -> idle seconds.
TIMEOUTS = {
    "NONE": 2,
    "ESTABLISHED": 900,
    "SYN_SENT": 120,
    "SYN_RECV": 60,
    "FIN_WAIT": 120,
    "TIME_WAIT": 120,
    "CLOSE": 10,
    "CLOSE_WAIT": 60,
    "LAST_ACK": 30,
    "LISTEN": 120,
    "SYNACK": 120,
}

FLAG_BITS = 6  # FIN SYN RST PSH ACK URG; the others say nothing to the director

#: Direction -> state -> next state on RST, SYN, FIN, ACK. facts: packet-path.md section 7.1
TRANSITIONS: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "in": {
        "NONE": ("CLOSE", "SYN_RECV", "CLOSE", "ESTABLISHED"),
        "ESTABLISHED": ("CLOSE", "ESTABLISHED", "CLOSE_WAIT", "ESTABLISHED"),
        "SYN_SENT": ("CLOSE", "ESTABLISHED", "SYN_SENT", "SYN_SENT"),
        "SYN_RECV": ("SYN_RECV", "SYN_RECV", "TIME_WAIT", "ESTABLISHED"),
        "FIN_WAIT": ("CLOSE", "SYN_RECV", "TIME_WAIT", "FIN_WAIT"),
        "TIME_WAIT": ("CLOSE", "SYN_RECV", "TIME_WAIT", "TIME_WAIT"),
        "CLOSE": ("CLOSE", "SYN_RECV", "CLOSE", "CLOSE"),
        "CLOSE_WAIT": ("CLOSE", "SYN_RECV", "CLOSE_WAIT", "CLOSE_WAIT"),
        "LAST_ACK": ("LAST_ACK", "SYN_RECV", "LAST_ACK", "CLOSE"),
        "LISTEN": ("LISTEN", "SYN_RECV", "LISTEN", "LISTEN"),
        "SYNACK": ("SYN_RECV", "SYN_RECV", "TIME_WAIT", "ESTABLISHED"),
    },
    "out": {
        "NONE": ("CLOSE", "SYN_SENT", "TIME_WAIT", "ESTABLISHED"),
        "ESTABLISHED": ("CLOSE", "ESTABLISHED", "FIN_WAIT", "ESTABLISHED"),
        "SYN_SENT": ("SYN_SENT", "SYN_SENT", "SYN_SENT", "SYN_SENT"),
        "SYN_RECV": ("CLOSE", "SYN_RECV", "TIME_WAIT", "ESTABLISHED"),
        "FIN_WAIT": ("CLOSE", "SYN_SENT", "FIN_WAIT", "FIN_WAIT"),
        "TIME_WAIT": ("TIME_WAIT", "SYN_SENT", "TIME_WAIT", "TIME_WAIT"),
        "CLOSE": ("CLOSE", "SYN_SENT", "CLOSE", "CLOSE"),
        "CLOSE_WAIT": ("CLOSE", "SYN_SENT", "TIME_WAIT", "CLOSE_WAIT"),
        "LAST_ACK": ("CLOSE", "SYN_SENT", "LAST_ACK", "LAST_ACK"),
        "LISTEN": ("CLOSE", "LISTEN", "LISTEN", "ESTABLISHED"),
        "SYNACK": ("CLOSE", "SYN_RECV", "TIME_WAIT", "ESTABLISHED"),
    },
    "in only": {
        "NONE": ("CLOSE", "SYN_RECV", "CLOSE", "ESTABLISHED"),
        "ESTABLISHED": ("CLOSE", "ESTABLISHED", "FIN_WAIT", "ESTABLISHED"),
        "SYN_SENT": ("CLOSE", "ESTABLISHED", "SYN_SENT", "SYN_SENT"),
        "SYN_RECV": ("SYN_RECV", "SYN_RECV", "TIME_WAIT", "ESTABLISHED"),
        "FIN_WAIT": ("CLOSE", "SYN_RECV", "FIN_WAIT", "FIN_WAIT"),
        "TIME_WAIT": ("CLOSE", "SYN_RECV", "TIME_WAIT", "TIME_WAIT"),
        "CLOSE": ("CLOSE", "SYN_RECV", "CLOSE", "CLOSE"),
        "CLOSE_WAIT": ("CLOSE", "SYN_RECV", "CLOSE_WAIT", "CLOSE_WAIT"),
        "LAST_ACK": ("LAST_ACK", "SYN_RECV", "LAST_ACK", "CLOSE"),
        "LISTEN": ("LISTEN", "SYN_RECV", "LISTEN", "LISTEN"),
        "SYNACK": ("CLOSE", "SYN_RECV", "TIME_WAIT", "ESTABLISHED"),
    },
}

#: What secure_tcp changes: (direction, event, state) -> next state. facts: packet-path.md section 7.1
SECURE: dict[tuple[str, str, str], str] = {
    ("in", "SYN", "SYNACK"): "SYNACK",
    ("in", "FIN", "SYNACK"): "SYNACK",
    ("in", "ACK", "SYN_RECV"): "SYN_RECV",
    ("in", "ACK", "SYNACK"): "SYNACK",
    ("in", "RST", "SYNACK"): "CLOSE",
    ("out", "SYN", "SYN_RECV"): "SYNACK",
    ("out", "SYN", "SYNACK"): "SYNACK",
    **{
        ("in only", "SYN", state): "SYNACK"
        for state in ("NONE", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK")
    },
}
EVENTS = ("RST", "SYN", "FIN", "ACK", "none of them")


@cache
def next_states(*, secure: bool = False) -> tuple[int, ...]:
    """The transitions in a row: (direction * 11 + state) * 64 + flags -> next state.

    Source
    ------
    facts: packet-path.md section 7.1; a packet with none of the four flags closes, whatever the table says.
    """
    flat: list[int] = []
    for direction, transitions in TRANSITIONS.items():
        for state in STATES:
            following = [*transitions[state], "CLOSE"]
            if secure:
                following = [SECURE.get((direction, EVENTS[i], state), usual) for i, usual in enumerate(following)]
            flat += [STATES.index(following[event(flags)]) for flags in range(1 << FLAG_BITS)]
    return tuple(flat)


def timeouts(hz: int) -> list[int]:
    """State number -> idle ticks.

    Source
    ------
    facts: packet-path.md section 7.1.
    """
    return [TIMEOUTS[name] * hz for name in STATES]


def event(flags: int) -> int:
    """Which of the five events a packet is: RST 0, SYN 1, FIN 2, ACK 3, none 4; the first that applies.

    Source
    ------
    facts: packet-path.md section 7.1; ip_vs_proto_tcp.c tcp_state_idx().
    """
    if flags & RST != 0:
        return 0
    if flags & SYN != 0:
        return 1
    if flags & FIN != 0:
        return 2
    if flags & ACK != 0:
        return 3
    return 4


@kernel
def viewed(conn: Conn, direction: int) -> int:
    """Which of the three tables a packet is looked up in: 0 in, 1 out, 2 in only.

    An entry of which no answer was seen is one-sided, until the first answer.

    Source
    ------
    facts: packet-path.md section 7.1; ip_vs_proto_tcp.c set_tcp_state(), ip_vs_proto_sctp.c set_sctp_state().
    """
    if conn.marks & NO_OUTPUT == 0:
        return 0 if direction == IN else 1  # SCTP's; TCP has looked before, without a call
    if direction == IN:
        return 2
    conn.marks -= NO_OUTPUT
    return 1


@kernel
def step_tcp(t: Tables, c: int, flags: int, direction: int) -> None:
    """Move the entry's state on, count it as active or inactive, reload its timeout.

    Parameters
    ----------
    flags : TCP flags of the packet.
    direction : IN or OUT.

    Invariants
    ----------
    A destination's ``active`` is the number of its entries that are not inactive.

    Source
    ------
    facts: packet-path.md sections 6 and 7; ip_vs_proto_tcp.c set_tcp_state(), 6.1 and 6.12.
    """
    conn = t.conns[c]
    if conn.marks & NO_OUTPUT == 0:
        row = conn.state if direction == IN else len(STATES) + conn.state
    else:
        row = viewed(conn, direction) * len(STATES) + conn.state
    state = t.tcp_next[(row << FLAG_BITS) + (flags & ((1 << FLAG_BITS) - 1))]
    if state != conn.state:
        conn.state = state
        count_active(t, conn, state in (ESTABLISHED, SYN_SENT, SYN_RECV, SYNACK))
        if state == ESTABLISHED and conn.marks & CONTROLLED != 0:
            assure(t, c)
    conn.timeout = t.tcp_timeouts[state]


@kernel
def count_active(t: Tables, conn: Conn, counts: bool) -> None:
    """Count the entry as active or inactive at its destination, if it has one.

    Source
    ------
    facts: packet-path.md section 6; ip_vs_proto_tcp.c set_tcp_state(), ip_vs_proto_sctp.c set_sctp_state().
    """
    if conn.dest == 0:
        return
    if counts and conn.marks & INACTIVE != 0:
        t.dests[conn.dest].active += 1
        conn.marks -= INACTIVE
    elif not counts and conn.marks & INACTIVE == 0:
        t.dests[conn.dest].active -= 1
        conn.marks |= INACTIVE


@kernel
def reusable(conn: Conn, mode: int) -> bool:
    """Whether a SYN may open a new connection where this entry still is.

    Parameters
    ----------
    mode : conn_reuse_mode, not 0; with bit 2 a one-sided entry may go when the client has closed its side.

    Source
    ------
    facts: packet-path.md section 11.1; ip_vs_core.c is_new_conn_expected().
    """
    if conn.state in (TIME_WAIT, CLOSE):
        return True
    return mode & 2 != 0 and conn.state == FIN_WAIT and conn.marks & NO_OUTPUT != 0
