"""TCP states by rules in words instead of a table: what leads where, for how long, and what counts as active."""

from __future__ import annotations

__all__ = ["ACTIVE", "SECONDS", "STATES", "after", "event_of"]

SECONDS = {
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
STATES = tuple(SECONDS)
ACTIVE = {"ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"}

#: (direction, event): one rule per line, "states > next"; "*" are the states that no other line names, "=" is "stays".
RULES = {
    ("in", "RST"): """
        SYN_RECV LAST_ACK LISTEN > =
        SYNACK > SYN_RECV
        * > CLOSE
    """,
    ("in", "SYN"): """
        ESTABLISHED SYN_SENT > ESTABLISHED
        * > SYN_RECV
    """,
    ("in", "FIN"): """
        NONE > CLOSE
        ESTABLISHED > CLOSE_WAIT
        SYN_RECV FIN_WAIT SYNACK > TIME_WAIT
        * > =
    """,
    ("in", "ACK"): """
        NONE SYN_RECV SYNACK > ESTABLISHED
        LAST_ACK > CLOSE
        * > =
    """,
    ("in only", "RST"): """
        SYN_RECV LAST_ACK LISTEN > =
        * > CLOSE
    """,
    ("in only", "SYN"): """
        ESTABLISHED SYN_SENT > ESTABLISHED
        * > SYN_RECV
    """,
    ("in only", "FIN"): """
        NONE > CLOSE
        ESTABLISHED > FIN_WAIT
        SYN_RECV SYNACK > TIME_WAIT
        * > =
    """,
    ("in only", "ACK"): """
        NONE SYN_RECV SYNACK > ESTABLISHED
        LAST_ACK > CLOSE
        * > =
    """,
    ("out", "RST"): """
        SYN_SENT TIME_WAIT > =
        * > CLOSE
    """,
    ("out", "SYN"): """
        ESTABLISHED SYN_RECV LISTEN > =
        SYNACK > SYN_RECV
        * > SYN_SENT
    """,
    ("out", "FIN"): """
        NONE SYN_RECV CLOSE_WAIT SYNACK > TIME_WAIT
        ESTABLISHED > FIN_WAIT
        * > =
    """,
    ("out", "ACK"): """
        NONE SYN_RECV LISTEN SYNACK > ESTABLISHED
        * > =
    """,
}

#: The same with secure_tcp, where it differs: such rules come first.
SECURE_RULES = {
    ("in", "RST"): "SYNACK > CLOSE",
    ("in", "SYN"): "SYNACK > =",
    ("in", "FIN"): "SYNACK > =",
    ("in", "ACK"): "SYN_RECV SYNACK > =",
    ("out", "SYN"): "SYN_RECV SYNACK > SYNACK",
    ("in only", "SYN"): "NONE FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN SYNACK > SYNACK",
}


def event_of(flags: set[str] | frozenset[str]) -> str:
    """RST beats SYN beats FIN beats ACK; without any of them the packet is nothing."""
    return next((name for name in ("RST", "SYN", "FIN", "ACK") if name in flags), "nothing")


def after(direction: str, state: str, flags: set[str] | frozenset[str], *, secure: bool = False) -> str:
    """The state after a packet ("in" from the client, "out" from the server, "in only" if nobody sees the server)."""
    event = event_of(flags)
    if event == "nothing":
        return "CLOSE"
    default = state
    first = [SECURE_RULES[direction, event]] if secure and (direction, event) in SECURE_RULES else []
    for rule in [*first, *RULES[direction, event].strip().splitlines()]:
        states, following = rule.split(" > ")
        target = state if following == "=" else following
        if state in states.split():
            return target
        if states.strip() == "*":
            default = target
    return default
