"""Made-up traffic."""

from __future__ import annotations

import time

import pytest

from lbsim.model.scenario import SyntheticTraffic
from lbsim.traffic.synthetic import generate_blocks
from tests.bench.conftest import Measure

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time)]

GROUP = "made-up traffic"
KINDS = {
    "TCP connections of 6 packets": ("tcp", 1_000_000, {"lifetime": {"exponential": "2s"}, "tcp": {"requests": 0}}),
    "UDP flows of 2 packets": ("udp", 2_500_000, {}),
    "long TCP connections": ("tcp", 1000, {"lifetime": {"constant": "1h"}, "tcp": {"requests": 2000}}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_packets_made(measure: Measure, kind: str) -> None:
    protocol, connections, script = KINDS[kind]
    words = {
        "service": f"{protocol} 192.0.2.1:80",
        "connections": measure.sized(connections, 2),
        "clients": {"cidr": "10.0.0.0/8"},
        "arrivals": {"poisson": 20_000},
    }
    spec = SyntheticTraffic.model_validate(words | script)
    packets = sum(map(len, generate_blocks(spec, 1)))
    measure.packets(GROUP, kind, lambda: sum(map(len, generate_blocks(spec, 1))), packets)
