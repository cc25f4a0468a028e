"""Admin commands as values, and the table that they make."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.host import EngineHost
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    Dest,
    DestId,
    DirectorConfig,
    EditDest,
    EditService,
    Place,
    ServiceId,
    format_endpoint,
    parse_endpoint,
)

WEB = ServiceId.parse("tcp 192.0.2.1:80")
DNS = ServiceId.parse("udp 192.0.2.1:53")
A, B = DestId.parse("10.0.0.11:80"), DestId.parse("10.0.0.12:80")


# Ends


@pytest.mark.parametrize(
    ("address", "port", "text"), [("10.0.0.11", 80, "10.0.0.11:80"), ("fd00::11", 65535, "[fd00::11]:65535")]
)
def test_an_end_reads_as_address_and_port(address: str, port: int, text: str) -> None:
    assert format_endpoint(ip_address(address), port) == text
    assert parse_endpoint(text) == (ip_address(address), port)


@given(address=st.ip_addresses(), port=st.integers(0, 65535))
def test_every_end_reads_back(address: object, port: int) -> None:
    assert parse_endpoint(format_endpoint(address, port)) == (address, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.11",
        "10.0.0.11:",
        "10.0.0.11:http",
        "10.0.0.11:-1",
        "10.0.0.11:²",
        "fd00::11:80",
        "[10.0.0.11]:80",
        "[fd00::11]",
        ":80",
        "10.0.0.256:80",
        "[fe80::1%eth0]:80",
    ],
)
def test_what_is_no_end_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected 10\.0\.0\.11:80 or \[fd00::11\]:80"):
        parse_endpoint(text)


def test_a_port_above_65535_is_no_port() -> None:
    with pytest.raises(ValueError, match="port 65536 is above 65535"):
        parse_endpoint("10.0.0.11:65536")


@pytest.mark.parametrize(
    "text", ["tcp 192.0.2.1:80", "udp [2001:db8::1]:53", "sctp 192.0.2.1:80", "fwm 1", "fwm 4294967295 ipv6"]
)
def test_a_service_reads_back(text: str) -> None:
    assert str(ServiceId.parse(text)) == text


def test_a_services_end_is_its_address_and_port() -> None:
    assert ServiceId.parse("udp [2001:db8::1]:53").endpoint == "[2001:db8::1]:53"


@pytest.mark.parametrize("text", ["192.0.2.1:80", "gre 192.0.2.1:80", "TCP 192.0.2.1:80", ""])
def test_what_is_no_service_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected 'tcp ADDRESS:PORT', likewise udp or sctp, or 'fwm MARK'"):
        ServiceId.parse(text)


@pytest.mark.parametrize("text", ["fwm", "fwm 0", "fwm 4294967296", "fwm 0x1", "fwm 1 ipv4", "fwm 1 ipv6 2"])
def test_what_is_no_firewall_mark_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected 'fwm 1' or 'fwm 1 ipv6'"):
        ServiceId.parse(text)


def test_a_destination_reads_back() -> None:
    assert str(DestId.parse("[fd00::11]:80")) == "[fd00::11]:80"


# Commands


def test_commands_are_equal_wherever_they_stand() -> None:
    here = AddService(WEB, "rr", place=Place("a", 1), text="-A ...")
    assert here == AddService(WEB, "rr", place=Place("b", 2))


def test_commands_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        AddService(WEB, "rr").scheduler = "lc"


@pytest.mark.parametrize(("place", "text"), [(Place("a.ipvs", 7, 3), "a.ipvs:7"), (Place(), "<text>:1")])
def test_a_place_reads_as_file_and_line(place: Place, text: str) -> None:
    assert str(place) == text


# The table


def table(*commands: AdminCommand) -> list[tuple[str, str, list[str]]]:
    return [
        (str(service.id), service.scheduler, [f"{dest.id} {dest.weight}" for dest in service.dests])
        for service in DirectorConfig(commands).services()
    ]


def test_services_and_destinations_stand_in_the_order_of_adding() -> None:
    commands = (AddService(WEB, "rr"), AddService(DNS, "lc"), AddDest(WEB, B), AddDest(WEB, A, weight=3))
    assert table(*commands) == [
        ("tcp 192.0.2.1:80", "rr", ["10.0.0.12:80 1", "10.0.0.11:80 3"]),
        ("udp 192.0.2.1:53", "lc", []),
    ]


def test_edits_keep_places() -> None:
    commands = (
        AddService(WEB, "rr"),
        AddDest(WEB, A),
        AddDest(WEB, B),
        EditDest(WEB, A, weight=9),
        EditService(WEB, "sh", ("sh-port",)),
    )
    assert table(*commands) == [("tcp 192.0.2.1:80", "sh", ["10.0.0.11:80 9", "10.0.0.12:80 1"])]
    assert DirectorConfig(commands).services()[0].flags == ("sh-port",)


def test_what_is_deleted_and_added_again_goes_to_the_end() -> None:
    commands = (AddService(WEB, "rr"), AddDest(WEB, A), AddDest(WEB, B), DeleteDest(WEB, A), AddDest(WEB, A))
    assert table(*commands) == [("tcp 192.0.2.1:80", "rr", ["10.0.0.12:80 1", "10.0.0.11:80 1"])]


def test_deleting_a_service_takes_its_destinations_along() -> None:
    commands = (AddService(WEB, "rr"), AddDest(WEB, A), DeleteService(WEB), AddService(WEB, "lc"))
    assert table(*commands) == [("tcp 192.0.2.1:80", "lc", [])]


def test_clear_empties_the_table() -> None:
    assert table(AddService(WEB, "rr"), AddDest(WEB, A), Clear()) == []


@pytest.mark.parametrize(
    "refused",
    [
        AddService(WEB, "lc"),
        AddDest(WEB, A, weight=7),
        EditService(DNS, "lc"),
        DeleteService(DNS),
        AddDest(DNS, A),
        EditDest(DNS, A),
        EditDest(WEB, B),
        DeleteDest(DNS, A),
        DeleteDest(WEB, B),
    ],
)
def test_a_command_that_the_kernel_refuses_changes_nothing(refused: AdminCommand) -> None:
    commands = (AddService(WEB, "rr"), AddDest(WEB, A))
    assert table(*commands, refused) == table(*commands)


SERVICES = st.sampled_from([WEB, DNS])
DESTS = st.sampled_from([A, B, DestId.parse("10.0.0.13:80")])
COMMANDS = st.one_of(
    st.builds(AddService, SERVICES, st.sampled_from(["rr", "lc", "sh"])),
    st.builds(EditService, SERVICES, st.sampled_from(["rr", "lc", "sh"])),
    st.builds(DeleteService, SERVICES),
    st.builds(AddDest, SERVICES, DESTS, weight=st.integers(0, 3)),
    st.builds(EditDest, SERVICES, DESTS, weight=st.integers(0, 3)),
    st.builds(DeleteDest, SERVICES, DESTS),
    st.just(Clear()),
)


@given(commands=st.lists(COMMANDS, max_size=40))
def test_the_table_is_the_one_that_the_engine_makes(commands: list[AdminCommand]) -> None:
    host = EngineHost()
    for command in commands:
        host.apply(command)
    wanted = {
        str(service.id): (service.scheduler, [(str(dest.id), dest.weight) for dest in reversed(service.dests)])
        for service in DirectorConfig(tuple(commands)).services()
    }
    assert wanted == {
        row.service: (row.scheduler, [(dest.dest, dest.weight) for dest in row.dests]) for row in host.services()
    }


def test_a_destination_of_the_table_knows_its_method() -> None:
    config = DirectorConfig((AddService(WEB, "rr"), AddDest(WEB, A)))
    assert config.services()[0].dests == (Dest(A, "masq", 1),)
