"""The table's views. Expected values: what the real ipvsadm 1.31 printed (tests/captures), and facts written beside."""

from __future__ import annotations

import re

import pytest

from lbsim.config import parse_request
from lbsim.listing import table, timeouts
from lbsim.model.config import DestId, Persistence, ServiceId, Tunnel
from lbsim.model.listing import ListedDest, ListedService, ListTable, Rates, Timeouts
from lbsim.model.result import Counters
from tests.captured import Run, runs

WEB = ServiceId.parse("tcp 192.168.1.10:80")
RS = DestId.parse("10.0.0.11:80")


def lines(request: str, *services: ListedService) -> list[str]:
    asked = parse_request(f"ipvsadm {request}")
    assert isinstance(asked, ListTable)
    return table(services, asked).splitlines()


# Every magnitude: the real tool, with numbers put in its way


def injected() -> list[tuple[list[int], list[Run]]]:
    """(conns inpkts outpkts inbytes outbytes cps inpps outpps inbps outbps, the listings that showed them)."""
    found: list[tuple[list[int], list[Run]]] = []
    text = (runs.__globals__["FOLDER"] / "large-counters.txt").read_text()
    numbers = [list(map(int, words.split(","))) for words in re.findall(r"# injected: (\S+)", text)]
    shown = [run for run in runs("large-counters") if run.command.startswith("ipvsadm -Ln")][-4 * len(numbers) :]
    for at, row in enumerate(numbers):
        found.append((row, shown[4 * at : 4 * at + 4]))
    return found


@pytest.mark.parametrize(("numbers", "shown"), injected())
def test_numbers_of_every_magnitude_are_printed_as_by_the_real_tool(numbers: list[int], shown: list[Run]) -> None:
    counters, rates = Counters(*numbers[:5]), Rates(*numbers[5:])
    dest = ListedDest(RS, "masq", 1, counters=counters, rates=rates)
    service = ListedService(WEB, "rr", counters=counters, rates=rates, dests=(dest,))
    for run in shown:
        assert lines(run.command.removeprefix("ipvsadm "), service) == run.out


# What traffic left: the rows read out of one listing and printed again


def counted(run: Run) -> list[ListedService]:
    """The rows of a listing with counters or rates, read back by their columns."""
    services: list[ListedService] = []
    for line in run.out[3:]:
        words = line.split()
        numbers = list(map(int, words[-5:]))
        if words[0] == "->":
            owner = services[-1]
            dest = ListedDest(DestId.parse(words[1]), "masq", 1, counters=Counters(*numbers), rates=Rates(*numbers))
            services[-1] = ListedService(
                owner.id, "rr", counters=owner.counters, rates=owner.rates, dests=(*owner.dests, dest)
            )
        else:
            name = " ".join(words[:-5]).lower()
            services.append(
                ListedService(ServiceId.parse(name), "rr", counters=Counters(*numbers), rates=Rates(*numbers))
            )
    return services


@pytest.mark.parametrize("name", ["traffic", "fwmark-port0-traffic"])
def test_counters_and_rates_of_real_traffic_are_printed_alike(name: str) -> None:
    found = [run for run in runs(name) if re.fullmatch(r"ipvsadm -Ln --(stats|rate)", run.command)]
    assert found
    for run in found:
        assert lines(run.command.removeprefix("ipvsadm "), *counted(run)) == run.out


# One of a kind


def test_what_a_destination_counts_stands_in_every_view() -> None:
    dest = ListedDest(RS, "masq", 3, upper=100, lower=50, active=7, inactive=8, persistent=9)
    service = ListedService(WEB, "rr", dests=(dest,))
    # facts: ipvsadm.md section 3.3
    assert lines("-Ln", service)[-1] == "  -> 10.0.0.11:80                 Masq    3      7          8         "
    assert (
        lines("-Ln --thresholds", service)[-1]
        == "  -> 10.0.0.11:80                 100        50         7          8         "
    )
    assert (
        lines("-Ln --persistent-conn", service)[-1]
        == "  -> 10.0.0.11:80                 3         9           7          8         "
    )


@pytest.mark.parametrize(
    ("tunnel", "shown"),
    [
        (Tunnel(), "ipip"),
        (Tunnel("gue", 6080), "gue:6080:-c"),
        (Tunnel("gue", 6080, "remcsum"), "gue:6080:r+c"),
        (Tunnel("gre", 0, "csum"), "gre:+c"),
    ],
)
def test_tunnels_are_told_by_type_port_and_checksum(tunnel: Tunnel, shown: str) -> None:
    service = ListedService(WEB, "rr", dests=(ListedDest(RS, "tunnel", 1, tunnel=tunnel),))
    assert lines("-Ln --tun-info", service)[-1].split()[2:4] == ["Tunnel", shown]


def test_a_service_shows_its_options_in_their_order() -> None:
    service = ListedService(
        ServiceId.parse("udp 192.168.1.16:5060"),
        "sh",
        ("sh-fallback", "flag-3"),
        Persistence(360, 0xFFFF0000),
        "sip",
        True,
    )
    assert lines("-Ln", service)[-1] == (
        "UDP  192.168.1.16:5060 sh (sh-fallback) persistent 360 mask 255.255.0.0 pe sip ops"
    )


def test_of_one_service_there_is_no_version_line() -> None:
    other = ListedService(ServiceId.parse("tcp 192.168.1.10:81"), "rr")
    assert lines("-Ln -t 192.168.1.10:80", other, ListedService(WEB, "rr")) == [
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  192.168.1.10:80 rr",
    ]


def test_timeouts_are_one_line() -> None:
    assert timeouts(Timeouts(900, 120, 300)) == "Timeout (tcp tcpfin udp): 900 120 300\n"
