"""Requests to the kernel, made for real in a user namespace of the test's own; a loopback device is always there."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.kernel

SCRIPT = """
import json, subprocess
from lbsim.kernel.netlink import requests
try:
    with requests() as ask:
        {asked}
except OSError as error:
    print(error.errno, error.strerror)
argv = ("ip", "-json", "address", "show", "dev", "lo")
rows = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
print(*[row["local"] for row in rows[0]["addr_info"] if row["scope"] == "global"])
"""


def asked(*lines: str) -> list[str]:
    """What is printed after these requests: what the kernel refuses, then the addresses of lo."""
    script = SCRIPT.format(asked="\n        ".join(lines))
    argv = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", script]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()


def add(address: str) -> str:
    return f'ask("addr", "add", index=1, address="{address}", prefixlen=32)'


def test_requests_are_carried_out_in_their_order() -> None:
    assert asked(add("10.0.0.2"), add("10.0.0.1")) == ["10.0.0.2 10.0.0.1"]


def test_there_may_be_more_requests_than_are_sent_at_once() -> None:
    addresses = [f"10.0.{n // 100}.{n % 100}" for n in range(1, 300)]
    assert asked(*map(add, addresses)) == [" ".join(addresses)]


def test_a_refused_request_is_named_with_the_kernels_reason() -> None:
    refused, addresses = asked(add("10.0.0.1"), 'ask("link", "set", index=77, state="up")', add("10.0.0.2"))
    assert refused == "19 No such device: ip link set {'index': 77, 'state': 'up'}"
    assert addresses.split()[0] == "10.0.0.1"


def test_the_same_request_is_made_once_and_means_the_same_later() -> None:
    again = 'ask("addr", "del", index=1, address="10.0.0.1", prefixlen=32)'
    assert asked(add("10.0.0.1"), again, add("10.0.0.1")) == ["10.0.0.1"]


def test_nothing_is_sent_when_the_block_is_left_by_an_exception() -> None:
    assert asked(add("10.0.0.1"), "raise OSError(5, 'no')") == ["5 no", ""]
