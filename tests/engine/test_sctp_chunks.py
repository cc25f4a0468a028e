"""Chunks and events: facts, packet-path.md section 7.3; types of chunks: RFC 9260, section 3.2."""

from __future__ import annotations

import pytest

from lbsim.engine import sctp_chunks

TYPES = {
    "DATA": 0, "INIT": 1, "INIT-ACK": 2, "SACK": 3, "HEARTBEAT": 4, "HEARTBEAT-ACK": 5, "ABORT": 6, "SHUTDOWN": 7,
    "SHUTDOWN-ACK": 8, "ERROR": 9, "COOKIE-ECHO": 10, "COOKIE-ACK": 11, "ECNE": 12, "CWR": 13, "SHUTDOWN-COMPLETE": 14,
}  # fmt: skip


@pytest.mark.parametrize(
    ("chunk", "second", "event"),
    [
        (-1, -1, "no chunk"), (0, -1, "DATA"), (3, -1, "DATA"), (192, -1, "DATA"), (1, -1, "INIT"), (2, -1, "INIT-ACK"),
        (10, -1, "COOKIE-ECHO"), (11, 0, "COOKIE-ACK"), (10, 6, "ABORT behind a cookie"), (7, -1, "SHUTDOWN"),
        (8, -1, "SHUTDOWN-ACK"), (14, -1, "SHUTDOWN-COMPLETE"), (9, -1, "ERROR"), (6, -1, "ABORT"),
    ],
)  # fmt: skip
def test_chunks_are_events(chunk: int, second: int, event: str) -> None:
    assert sctp_chunks.EVENTS[sctp_chunks.event_of(chunk, second)] == event


@pytest.mark.parametrize("name", sctp_chunks.EVENTS[1:-1])
def test_a_chunk_of_an_event_is_that_event(name: str) -> None:
    event = sctp_chunks.EVENTS.index(name)
    assert sctp_chunks.chunk_of(event) == TYPES[name]
    assert sctp_chunks.event_of(sctp_chunks.chunk_of(event), -1) == event
    assert (
        sctp_chunks.event_of(sctp_chunks.chunk_of(sctp_chunks.COOKIE_ABORT), sctp_chunks.chunk_of(sctp_chunks.ABORT))
        == sctp_chunks.COOKIE_ABORT
    )
