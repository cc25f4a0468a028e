"""A director answers to whole sessions with ipvsadm as the real one did: status, messages and listings, by the byte."""

from __future__ import annotations

import pytest

from lbsim import Director
from tests.captured import NOT_MODELLED, blocks, play, runs

#: Names that the real machine knew.
HOSTS = {" www:": " 192.168.1.10:", " rs1:": " 10.0.0.11:"}
#: Commands that ask for what lbsim does not model: names, the sync daemon, other programs.
EXPECTED_GAPS = {
    "errors-kernel": ["su ", "daemon"],
    "list-views": ["ipvsadm -L", "ipvsadm -S"],
    "flags-fwmark-ipv6-tunnel": ["cmp", "-L --tun-info"],
    "timeout-daemon": ["-daemon"],
    "lifecycle-defaults": ["ipvsadm -S"],
    "sort": [],
    "kube-proxy-dump": [],
}


@pytest.mark.parametrize("name", EXPECTED_GAPS)
def test_a_director_answers_as_the_real_ipvsadm_did(name: str) -> None:
    director = Director()
    compared = 0
    for run in runs(name):
        if "10.0.0.255" in run.command or "-s twos" in run.command:
            continue  # the broadcast address of a network of that machine; a scheduler that its kernel lacks
        for host_name, address in HOSTS.items():
            run.command = run.command.replace(host_name, address)
        answer = play(director, run)
        if answer.err == [NOT_MODELLED]:
            assert any(gap in run.command for gap in EXPECTED_GAPS[name]), f"not modelled: {run.command}"
            continue
        if name == "timeout-daemon" and run.command == "ipvsadm -L --daemon":
            continue  # none was started
        loose = "--nosort" in run.command or "/proc/" in run.command or name == "kube-proxy-dump"
        out, expected = (blocks(answer.out), blocks(run.out)) if loose else (answer.out, run.out)
        assert (answer.status, answer.err, out) == (run.status, run.err, expected), run.command
        compared += 1
    assert compared >= {"timeout-daemon": 9, "kube-proxy-dump": 7}.get(name, 34)
