"""The bench as its namespaces show it: made for real, in a user namespace of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

SERVERS = ("10.0.0.11", "10.0.0.12", "fd00::11")
# Prints, for each place, the addresses of its interfaces and its default routes as ``ip`` tells them.
SCRIPT = """
import ctypes, json, subprocess, sys
from contextlib import closing
from lbsim.kernel.bench import Bench

def told(*argv):
    text = subprocess.run(("ip", "-json", *argv), check=True, capture_output=True, text=True).stdout
    return json.loads(text or "[]")

places = {}
with closing(Bench(("192.168.1.10",), tuple(sys.argv[1:]))) as bench:
    for place, namespace in bench.namespaces.items():
        ctypes.CDLL(None).setns(namespace, 0)
        routes = [route for family in ("-4", "-6") for route in told(family, "route", "show", "default")]
        places[place] = told("address"), routes
print(json.dumps(places))
"""


@pytest.fixture(scope="module")
def places() -> dict[str, Any]:
    argv = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", SCRIPT, *SERVERS]
    found: dict[str, Any] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return found


def addresses(places: dict[str, Any], place: str) -> set[str]:
    links, _ = places[place]
    return {row["local"] for link in links if link["ifname"] != "lo" for row in link["addr_info"]}


def test_there_is_a_namespace_for_the_clients_the_director_the_switch_and_each_server(places: dict[str, Any]) -> None:
    assert list(places) == ["c", "switch", "r:10.0.0.11", "r:10.0.0.12", "r:fd00::11", "director"]


@pytest.mark.parametrize(("address", "gateway"), [("10.0.0.12", "10.0.0.1"), ("fd00::11", "fd00::1")])
def test_a_real_server_has_its_address_and_its_default_route_leads_through_the_director(
    places: dict[str, Any], address: str, gateway: str
) -> None:
    place = f"r:{address}"
    assert {one for one in addresses(places, place) if not one.startswith("fe80")} == {address}
    assert [route["gateway"] for route in places[place][1]] == [gateway]


def test_the_director_has_the_vips_and_both_networks(places: dict[str, Any]) -> None:
    expected = {"192.168.1.1", "192.168.1.10", "10.0.0.1", "2001:db8:1::1", "fd00::1"}
    assert {one for one in addresses(places, "director") if not one.startswith("fe80")} == expected


# Nobody's stack may answer for clients, and the switch is none of the network's hosts.
@pytest.mark.parametrize("place", ["c", "switch"])
def test_clients_and_switch_have_no_address(places: dict[str, Any], place: str) -> None:
    assert addresses(places, place) == set()
