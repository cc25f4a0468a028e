"""A packet without an entry, and what then: facts, packet-path.md sections 4.1 to 4.4."""

from __future__ import annotations

import pytest

from tests.playbook import Playbook


def test_a_port_without_a_service_is_left_to_the_directors_own_stack(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN to V:81").expect("LOCAL no_service").table()


def test_a_service_of_the_other_protocol_does_not_match(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 UDP to V:80").expect("LOCAL no_service")


def test_the_service_of_another_address_does_not_match(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "tcp W:81 rr", "B").send("c1 SYN to W:80").expect("LOCAL no_service")


@pytest.mark.parametrize("flags", ["ACK", "FIN+ACK", "PSH+ACK", "-", "URG"])
def test_tcp_without_syn_and_without_an_entry_is_left_to_the_own_stack(play: Playbook, flags: str) -> None:
    play.config("tcp V:80 rr", "A").send(f"c1 {flags}").expect("LOCAL not_syn").table()


@pytest.mark.parametrize("sloppy", [0, 1])
@pytest.mark.parametrize("flags", ["RST", "RST+ACK", "SYN+RST"])
def test_a_rst_without_an_entry_is_never_scheduled(play: Playbook, flags: str, sloppy: int) -> None:
    play.sysctl(sloppy_tcp=sloppy).config("tcp V:80 rr", "A").send(f"c1 {flags}").expect("LOCAL not_syn").table()


@pytest.mark.parametrize(("flags", "state"), [("ACK", "ESTABLISHED"), ("FIN+ACK", "CLOSE"), ("-", "CLOSE")])
def test_sloppy_tcp_schedules_packets_in_mid_connection(play: Playbook, flags: str, state: str) -> None:
    play.sysctl(sloppy_tcp=1).config("tcp V:80 rr", "A")
    play.send(f"c1 {flags}").expect("FORWARD A new").table(f"c1 {state} A")


@pytest.mark.parametrize("flags", ["SYN", "SYN+ACK", "SYN+FIN"])
def test_anything_with_syn_is_scheduled(play: Playbook, flags: str) -> None:
    play.config("tcp V:80 rr", "A").send(f"c1 {flags}").expect("FORWARD A new").table("c1 SYN_RECV A 60")


def test_udp_is_scheduled(play: Playbook) -> None:
    play.config("udp V:53 rr", "A").send("c1 UDP").expect("FORWARD A new").table("c1 UDP A 300")


@pytest.mark.parametrize(
    ("config", "packet"),
    [
        (("tcp V:80 rr",), "c1 SYN"),
        (("tcp V:80 rr", "A weight 0", "B weight 0"), "c1 SYN"),
        (("udp V:53 rr", "A weight 0"), "c1 UDP"),
    ],
)
def test_without_a_usable_destination_the_client_is_told(play: Playbook, config: tuple[str, ...], packet: str) -> None:
    play.config(*config).send(packet).expect("REJECT no_dest").table().totals(V={"conns": 0, "in_packets": 0})


@pytest.mark.parametrize(("service", "flags", "cut"), [("tcp V:80", "SYN", 19), ("udp V:53", "UDP", 7)])
def test_a_cut_header_without_an_entry_is_dropped(play: Playbook, service: str, flags: str, cut: int) -> None:
    play.config(f"{service} rr", "A").send(f"c1 {flags}", cut=cut).expect("DROP header_cut").table()


def test_a_cut_header_is_dropped_even_where_no_service_is(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN to V:81", cut=4).expect("DROP header_cut")


@pytest.mark.parametrize("cut", [0, 3])
def test_a_packet_without_ports_is_dropped(play: Playbook, cut: int) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN", cut=cut).expect("DROP header_cut")


@pytest.mark.parametrize(("service", "flags"), [("tcp V:80", "SYN"), ("udp V:53", "UDP")])
def test_source_port_20_is_never_scheduled(play: Playbook, service: str, flags: str) -> None:
    play.config(f"{service} rr", "A").send(f"c1:20 {flags}").expect("LOCAL ftp_data_source").table()


def test_other_protocols_are_left_to_the_own_stack(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 GRE to V:80").expect("LOCAL other_protocol")


def test_what_is_not_for_the_director_is_routed(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN to W:80").expect("ROUTE not_local")
