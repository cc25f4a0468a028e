"""Made-up associations: lengths by RFC 9260, section 3.3, behind 20 bytes of IP and 12 of SCTP."""

from __future__ import annotations

import pytest

from lbsim.engine.numbers import IN, REPLY
from lbsim.engine.sctp_chunks import EVENTS
from lbsim.model.trace import Trace
from tests.traffic.made import MS, made

SCTP_4, SCTP_6 = "sctp 192.168.1.10:3868", "sctp [2001:db8:1::10]:3868"


def association(trace: Trace) -> list[tuple[float, str, str, int]]:
    """(ms, who speaks, chunk, bytes of the packet) of each packet."""
    assert set(trace["proto"].tolist()) == {132}
    assert not trace["seq"].any()
    assert not trace["ack"].any()
    columns = (trace[name].tolist() for name in ("time", "direction", "flags", "length"))
    return [
        (time / MS, {IN: "client", REPLY: "server"}[direction], EVENTS[event], length)
        for time, direction, event, length in zip(*columns, strict=True)
    ]


def test_the_default_association_is_one_request_with_its_answer_shut_down_by_the_client():
    assert association(made(SCTP_4)) == [
        (0, "client", "INIT", 52),
        (10, "server", "INIT-ACK", 52),
        (20, "client", "COOKIE-ECHO", 36),
        (30, "server", "COOKIE-ACK", 36),
        (40, "client", "DATA", 48 + 200),
        (50, "server", "DATA", 48 + 1000),
        (60, "client", "DATA", 48),
        (60, "client", "SHUTDOWN", 40),
        (70, "server", "SHUTDOWN-ACK", 36),
        (80, "client", "SHUTDOWN-COMPLETE", 36),
    ]


SHUTDOWN = (("SHUTDOWN", 40), ("SHUTDOWN-ACK", 36), ("SHUTDOWN-COMPLETE", 36))
SCTP_CLOSES = {
    "client": [(40 + 10 * n, ("client", "server")[n % 2], *SHUTDOWN[n]) for n in range(3)],
    "server": [(50 + 10 * n, ("server", "client")[n % 2], *SHUTDOWN[n]) for n in range(3)],
    "client_abort": [(40, "client", "ABORT", 36)],
    "server_abort": [(50, "server", "ABORT", 36)],
    "never": [],
}


@pytest.mark.parametrize("close", SCTP_CLOSES)
def test_an_association_is_closed_by_whom_the_script_says(close):
    assert association(made(SCTP_4, sctp={"requests": 0, "close": close}))[4:] == SCTP_CLOSES[close]


def test_a_half_open_association_is_init_and_init_ack_only():
    trace = made(SCTP_4, sctp={"half_open": True, "requests": 5, "rtt": "10ms"})
    assert association(trace) == [(0, "client", "INIT", 52), (5, "server", "INIT-ACK", 52)]


# 1500 bytes less 20 (IPv6: 40) of IP, 12 of SCTP and 16 of DATA; what is left of 3,000 is filled up to four bytes
@pytest.mark.parametrize(
    ("service", "lengths"), [(SCTP_4, [1500, 1500, 48 + 96]), (SCTP_6, [1500, 1500, 68 + 136]), (SCTP_4, [48 + 4])]
)
def test_data_is_cut_into_chunks(service, lengths):
    count = 3000 if len(lengths) == 3 else 1
    trace = made(service, sctp={"request_bytes": count})
    data = [row for row in association(trace) if row[1:3] == ("client", "DATA")]
    assert [length for *_, length in data[:-1]] == lengths


def test_requests_of_an_association_are_spread_over_its_lifetime():
    trace = made(SCTP_4, sctp={"requests": 2, "close": "client_abort"}, lifetime={"constant": "2s"})
    # 40 ms of 2 s are the opening's; each round has half of the rest, 980 ms, and the last one ends with the lifetime
    assert [row[0] for row in association(trace) if row[1] == "client"] == [0, 20, 40, 60, 1020, 1040, 2000]
