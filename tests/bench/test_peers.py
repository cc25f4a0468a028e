"""Others that do a part of the work, each checked against lbsim: what is compared does the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from statistics import median

import pytest

from lbsim import pipeline
from lbsim.engine.reasons import FORWARD
from lbsim.errors import KernelUnavailable
from lbsim.kernel import images
from lbsim.kernel.job import Command, Job
from lbsim.kernel.run import run
from lbsim.model.trace import Trace
from lbsim.scenario import load
from lbsim.simulate import simulate
from tests.bench.captures import frames, scenario_of
from tests.bench.conftest import ROUNDS, Measure
from tests.bench.history import Row
from tests.bench.peers import dict_rr, dpkt_parse, forwarding, scapy_nat
from tests.bench.traffic import VIP, config_of, web

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time)]

GROUP = "peers"
# rr begins with the destination that was added last
SERVERS = [f"10.0.0.{n}" for n in range(18, 10, -1)]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario_of(tmp_path_factory.mktemp("peers"), 20_000)


def test_scapy(measure: Measure, scenario: Path, tmp_path: Path) -> None:
    captured = list(frames(scenario.with_name("web.pcap"), measure.sized(2000, 200)))
    measure.packets(
        GROUP,
        "scapy: dissect, NAT, rebuild",
        lambda: scapy_nat.balanced(captured, VIP, SERVERS),
        len(captured),
    )
    pipeline.run(scenario, pcap_out=tmp_path)
    written = Counter(packet for path in tmp_path.iterdir() for packet in _packets(path))
    theirs = Counter(scapy_nat.balanced(captured, VIP, SERVERS))
    assert theirs <= written


def _packets(path: Path) -> Iterator[bytes]:
    """The packets of a capture without link-layer headers."""
    data = path.read_bytes()
    at = 24
    while at < len(data):
        length = int.from_bytes(data[at + 8 : at + 12], "little")
        yield data[at + 16 : at + 16 + length]
        at += 16 + length


def test_dpkt(measure: Measure, scenario: Path) -> None:
    capture, packets = scenario.with_name("web.pcap"), measure.sized(20_000, 200)
    measure.packets(GROUP, "dpkt: parse", lambda: dpkt_parse.parsed(capture, packets), packets)
    trace = pipeline.trace_of(load(scenario))
    ip = [address.packed for address in trace.addresses]
    columns = (trace[name][:packets].tolist() for name in ("src", "sport", "dst", "dport", "flags"))
    ours = [(ip[src], sport, ip[dst], dport, flags) for src, sport, dst, dport, flags in zip(*columns, strict=True)]
    assert [row[1:] for row in dpkt_parse.parsed(capture, packets)] == ours


def test_a_dict_of_flows(measure: Measure) -> None:
    trace = Trace.joined(web(measure.sized(50_000, 100), 10_000, 2))
    vip, *servers = (int(ip_address(address)) for address in (VIP, *SERVERS))
    number = trace.addresses.words[:, 3]
    columns = (number[trace["src"]], trace["sport"], number[trace["dst"]], trace["dport"])
    packets = list(zip(*(column.tolist() for column in columns), strict=True))
    measure.packets(GROUP, "dict of flows in Python, rr", lambda: dict_rr.decided(packets, vip, servers), len(packets))
    result = simulate(config_of("rr"), trace, columns=True)
    assert set(result["verdict"].tolist()) == {FORWARD}
    ours = [result.destinations[dest].dest.partition(":")[0] for dest in result["dest"].tolist()]
    assert [str(ip_address(server)) for server in dict_rr.decided(packets, vip, servers)] == ours


def test_nftables_of_this_kernel(measure: Measure) -> None:
    names = "nftables NAT of this kernel", "nftables NAT of this kernel, without the sender"
    if why := _no_nftables():
        measure.add(Row(GROUP, names[0], note=why))
        measure.not_measured(GROUP, names[1], why)
    seconds = str(max(1 * measure.scale, 0.05))
    took = {what: _seconds_per_packet(_output(what, seconds)) for what in ("wire", "nft")}
    measure.add(Row(GROUP, names[0], "packets/s", tuple(1 / each for each in took["nft"])))
    sending = median(took["wire"])
    measure.add(Row(GROUP, names[1], "packets/s", tuple(1 / (each - sending) for each in took["nft"])))


def _no_nftables() -> str:
    """Why the host's kernel cannot be measured; empty: it can."""
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("nft") is None:
        return "no nft on this computer: apt install nftables"
    return ""


def _output(what: str, seconds: str) -> str:
    """What the forwarding says, in a process and namespaces of its own."""
    argv = [sys.executable, "-m", forwarding.__name__, what, str(ROUNDS), seconds]
    return subprocess.run(argv, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.PIPE, text=True).stdout


def _seconds_per_packet(output: str) -> list[float]:
    """Of processor time, for each round. All that was sent arrived."""
    rounds = [json.loads(line) for line in output.splitlines()]
    assert len(rounds) == ROUNDS
    for sent, arrived, _, _ in rounds:
        assert arrived == sent > 0
    return [processor / arrived for _, arrived, _, processor in rounds]


def test_ipvs_of_an_emulated_kernel(measure: Measure) -> None:
    name = "IPVS of Linux 6.1, emulated"
    if not any(image.series == "6.1" for image in images.installed()):
        measure.not_measured(GROUP, name, "no kernel: lbsim kernel fetch 6.1")
    program = Path(forwarding.__file__).read_text(encoding="utf-8")
    argv = ("python3", "-c", program, "ipvs", str(ROUNDS), str(max(2 * measure.scale, 0.2)))
    load_rr = ("ipvsadm", "-A", "-u", f"{forwarding.VIP}:53", "-s", "rr")  # the guest loads modules for its set-up only
    job = Job("forwarding", (forwarding.VIP,), forwarding.SERVERS, setup=(load_rr,), events=(Command(0, argv),))
    try:
        (seen,) = run([job], "vm:6.1", real_time=True)
    except KernelUnavailable as error:
        measure.not_measured(GROUP, name, str(error))
    (done,) = seen.events
    assert (seen.error, done.status) == ("", 0), done.output
    rates = tuple(1 / each for each in _seconds_per_packet(done.output))
    measure.add(Row(GROUP, name, "packets/s", rates, note="QEMU without KVM"))
