"""AH and ESP packets: facts, packet-path.md sections 5.2 and 7.4."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim import Director
from lbsim.engine.numbers import AH, ESP, UDP
from lbsim.model.config import DeleteDest
from lbsim.pipeline import run
from tests.engine.test_rare_packets import AT_A, IKE, A, C, V, director, reason

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("proto", [AH, ESP])
def test_ipsec_packets_go_where_the_key_exchange_went(proto: int) -> None:
    d = director(IKE, AT_A)
    assert reason(d, C, V, proto) == "no_ike"
    assert reason(d, A, C, proto) == "no_connection"
    assert reason(d, C, V, UDP, 500, 500) == "new"
    d.advance(100)
    assert reason(d, C, V, proto) == "known"
    assert d.connections()[0].expires == 300
    d.advance(200)
    assert reason(d, A, C, proto) == "translated"
    assert d.connections()[0].expires == 300
    counters = d.services()[-1].dests[0].counters
    assert (counters.in_packets, counters.out_packets) == (2, 1)


@pytest.mark.parametrize("lane", ["interpreted", "compiled"])
def test_ipsec_packets_leave_without_ports(lane: str) -> None:
    result = run(REPOSITORY / "scenarios/udp/ipsec.lbsim.yaml", lane=lane).result
    on_their_way = (result["proto"] != UDP) & (result["new_dst"] >= 0)
    assert on_their_way.sum() == 5
    for name in ("sport", "dport", "new_sport", "new_dport"):
        assert not result[name][on_their_way].any()


@pytest.mark.parametrize(("nodest", "seen"), [(0, "dest_removed"), (1, "no_ike")])
def test_ipsec_packets_of_a_removed_destination(nodest: int, seen: str) -> None:
    d = director(IKE, AT_A, expire_nodest_conn=nodest)
    reason(d, C, V, UDP, 500, 500)
    d.run(DeleteDest(IKE, AT_A))
    assert reason(d, C, V, ESP) == seen


def test_without_services_ipsec_packets_of_servers_are_routed() -> None:
    assert reason(Director(), A, C, ESP) == "not_balanced"
