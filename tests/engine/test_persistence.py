"""Persistence: facts, packet-path.md sections 7.5, 8.2, 8.4, 9, 10 and 11."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim.engine.persistence import client_net
from lbsim.host import EngineHost
from tests.playbook import Playbook

# Who gets the next connection of a client


def test_a_client_stays_with_its_destination_on_every_port(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A", "B").send("c1 SYN").expect("FORWARD B new")
    play.send("c1:50001 SYN").expect("FORWARD B new").send("c2 SYN").expect("FORWARD A new")
    play.send("c1:50002 SYN").expect("FORWARD B new")
    play.totals(B={"conns": 3, "active": 3, "inactive": 0}, A={"conns": 1}, V={"conns": 4})


def test_a_net_stays_together(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100 net", "A", "B")
    play.send("c1 SYN").expect("FORWARD B new").send("c2 SYN").expect("FORWARD B new")


def test_each_service_has_templates_of_its_own(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A", "B", "tcp V:81 rr persistent 100", "A", "B")
    play.send("c2 SYN").expect("FORWARD B new").send("c1 SYN").expect("FORWARD A new")
    play.send("c1 SYN to V:81").expect("FORWARD B:81 new")


def test_weight_0_and_thresholds_do_not_matter_to_a_template(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A", "B limit 1").send("c1 SYN").expect("FORWARD B new")
    play.edit("B weight 0 limit 1").send("c1:50001 SYN").expect("FORWARD B new")
    play.send("c2 SYN").expect("FORWARD A new")


def test_expire_quiescent_template_leaves_a_destination_of_weight_0(play: Playbook) -> None:
    play.sysctl(expire_quiescent_template=1).config("tcp V:80 rr persistent 100", "A", "B")
    play.send("c1 SYN").expect("FORWARD B new").edit("B weight 0").send("c1 ACK").expect("FORWARD B known")
    play.send("c1:50001 SYN").expect("FORWARD A new").send("c1:50002 SYN").expect("FORWARD A new")
    play.edit("B weight 1").send("c1:50003 SYN").expect("FORWARD A new")


# Its entry


def test_a_template_is_listed_and_assured_by_the_first_answered_connection(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A").send("c1 SYN").expect("FORWARD A new")
    play.table("c1:0 NONE A 100", "c1 SYN_RECV A 60").send("c1 ACK").expect("FORWARD A known")
    play.wait(1).table("c1:0 ASSURED A 99", "c1 ESTABLISHED A 899")


def test_udp_assures_with_an_answer(play: Playbook) -> None:
    play.config("udp V:53 rr persistent 100", "A").send("c1 UDP").expect("FORWARD A new")
    play.send("c1 UDP").expect("FORWARD A known").table("c1:0 NONE A", "c1 UDP A")
    play.reply("A c1 UDP").expect("FORWARD A translated").table("c1:0 ASSURED A", "c1 UDP A")


def test_new_connections_arm_its_timer_and_packets_do_not(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A").send("c1 SYN").expect("FORWARD A new").wait(30)
    play.send("c1 ACK").expect("FORWARD A known").table("c1:0 ASSURED A 70", "c1 ESTABLISHED A")
    play.send("c1:50001 SYN").expect("FORWARD A new")
    play.table("c1:0 ASSURED A 100", "c1 ESTABLISHED A", "c1:50001 SYN_RECV A")


def test_without_connections_it_runs_out_by_itself(play: Playbook) -> None:
    # 100 s from jiffy 4294892296: 4294917296, the next multiple of 512 behind it is 4294917632: 101.344 s
    play.config("tcp V:80 rr persistent 100", "A", "B").send("c1 SYN").expect("FORWARD B new")
    play.at(101.340).table("c1:0 NONE B 0").at(101.344).table().send("c1 SYN").expect("FORWARD A new")


def test_with_connections_it_looks_again_every_60_seconds_and_is_refreshed_to_60(play: Playbook) -> None:
    # It fires at 101.344 s, jiffy 4294917632: 60 s later is 4294932632, the next multiple of 512 4294932992: 162.784 s
    play.config("tcp V:80 rr persistent 100", "A").send("c1 SYN").expect("FORWARD A new")
    play.send("c1 ACK").expect("FORWARD A known").at(101.344).table("c1:0 ASSURED A 60", "c1 ESTABLISHED A 798")
    play.at(162.780).table("c1:0 ASSURED A 0", "c1 ESTABLISHED A").at(162.784).table(
        "c1:0 ASSURED A 60", "c1 ESTABLISHED A"
    )
    play.at(170).send("c1:50001 SYN").expect("FORWARD A new")
    play.table("c1:0 ASSURED A 60", "c1 ESTABLISHED A", "c1:50001 SYN_RECV A")


def test_a_connection_with_a_template_is_never_opened_anew(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A", "B").send("c1 SYN").expect("FORWARD B new")
    play.reply("B c1 RST").expect("FORWARD B translated").send("c1 SYN").expect("FORWARD B known")
    play.table("c1:0 NONE B", "c1 SYN_RECV B")


# Removed destinations


def test_the_template_of_a_removed_destination_is_no_longer_found(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A", "B").send("c1 SYN").expect("FORWARD B new").delete("B")
    play.send("c1:50001 SYN").expect("FORWARD A new")
    play.table("c1:0 to V:65535 NONE B:65535", "c1 SYN_RECV B", "c1:0 NONE A", "c1:50001 SYN_RECV A")
    play.add("B").send("c1:50002 SYN").expect("FORWARD A new").send("c1 ACK").expect("FORWARD B known")


def test_a_destination_that_comes_back_in_time_finds_its_templates(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A", "B").send("c1 SYN").expect("FORWARD B new").delete("B").wait(5)
    play.add("B").send("c1:50001 SYN").expect("FORWARD B new")


def test_expire_nodest_conn_deletes_templates_too(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr persistent 100", "A", "B")
    play.send("c1 SYN").expect("FORWARD B new").send("c1 ACK").expect("FORWARD B known").delete("B")
    play.table("c1:0 ASSURED B", "c1 ESTABLISHED B").advance(1).table()


# Services of many ports


def test_a_service_of_port_0_takes_every_port_with_one_template(play: Playbook) -> None:
    play.config("tcp V:0 rr persistent 100", "A:0", "B:0")
    play.send("c1 SYN to V:80").expect("FORWARD B new to B:80").send("c1 SYN to V:443").expect("FORWARD B new to B:443")
    play.send("c1 UDP to V:80").expect("LOCAL no_service")


def test_ftp_takes_the_high_ports_and_20(play: Playbook) -> None:
    play.config("tcp V:21 rr persistent 100", "A:21", "B:21").send("c1 SYN").expect("FORWARD B new")
    play.send("c1 SYN to V:1024").expect("FORWARD B new to B:1024").send("c1 SYN to V:20").expect(
        "FORWARD B new to B:20"
    )
    play.send("c1 SYN to V:1023").expect("LOCAL no_service")


def test_ftp_that_is_not_persistent_leaves_its_high_ports_to_the_director(play: Playbook) -> None:
    play.config("tcp V:21 rr", "A:21").send("c1 SYN to V:1024").expect("LOCAL ftp_no_dest")


def test_ftp_and_port_0_share_templates(play: Playbook) -> None:
    play.config("tcp V:21 rr persistent 100", "A:21", "tcp V:0 rr persistent 300", "B:0")
    play.send("c1 SYN to V:80").expect("FORWARD B new to B:80")
    play.send("c1 SYN to V:21").expect("FORWARD B new to B:21")


def test_a_persistent_service_without_destination(play: Playbook) -> None:
    play.config("tcp V:80 rr persistent 100", "A weight 0").send("c1 SYN").expect("REJECT no_dest").table()


def test_a_template_of_port_65535_is_found_again_as_soon_as_it_is_valid(play: Playbook) -> None:
    play.config("tcp V:65535 rr persistent 100", "A:80", "B:80").send("c1 SYN").expect("FORWARD B new").delete("B:80")
    play.send("c1:50001 SYN").expect("FORWARD A new").table(
        "c1:0 NONE B", "c1 SYN_RECV B", "c1:0 NONE A", "c1:50001 SYN_RECV A"
    )


def test_a_template_that_controls_several_stays_until_the_last_is_gone(play: Playbook) -> None:
    # The template fires at 30.208 s, after which it looks every 61.44 s: 91.648 s; the second SYN_RECV goes at 80.384 s
    play.config("tcp V:80 rr persistent 10", "A").send("c1 SYN").expect("FORWARD A new").at(20)
    play.send("c1:50001 SYN").expect("FORWARD A new").at(62).table("c1:0 NONE A", "c1:50001 SYN_RECV A")
    play.at(100).table()


# Marks


def test_marked_packets_of_all_protocols_share_one_template(play: Playbook) -> None:
    play.config("fwm 1 rr persistent 100", "A:0", "B:0", "tcp V:80 rr", "C:80", "udp W:80 rr", "C:80")
    play.send("c1 SYN to V:8000").expect("FORWARD B new to B:8000")
    play.send("c1 UDP to W:8000").expect("FORWARD B new to B:8000")
    play.send("c1 SYN to V:80").expect("FORWARD C new")


def test_a_marked_service_that_is_not_persistent_uses_the_destinations_port(play: Playbook) -> None:
    play.config("fwm 1 rr", "A:90", "B:0", "tcp V:80 rr", "C:80")
    play.send("c1 SYN to V:8000").expect("FORWARD B new to B:8000")
    play.send("c2 SYN to V:8000").expect("FORWARD A new")


# One packet at a time


def test_one_packet_entries_are_never_listed(play: Playbook) -> None:
    play.config("udp V:53 rr one-packet", "A", "B").send("c1 UDP").expect("FORWARD B new")
    play.send("c1 UDP").expect("FORWARD A new").table().totals(A={"conns": 1, "inactive": 0, "in_packets": 1})
    play.reply("A c1 UDP").expect("ROUTE no_connection")


def test_one_packet_entries_may_have_templates(play: Playbook) -> None:
    play.config("udp V:53 rr persistent 100 one-packet", "A", "B").send("c1 UDP").expect("FORWARD B new")
    play.wait(50).send("c1 UDP").expect("FORWARD B new").table("c1:0 NONE B 100").at(153).table()


# A scheduler that is none, the order of defence


def test_without_a_scheduler_nobody_is_chosen(play: Playbook) -> None:
    play.config("tcp V:80 none", "A").send("c1 SYN").expect("REJECT no_dest").edit_service("tcp V:80 rr")
    play.send("c1 SYN").expect("FORWARD A new").edit_service("tcp V:80 none").send("c1 ACK").expect("FORWARD A known")


@pytest.mark.parametrize(
    ("address", "netmask", "net"),
    [
        ("203.0.113.77", 0xFFFFFFFF, "203.0.113.77"),
        ("203.0.113.77", 0xFFFFFFF0, "203.0.113.64"),
        ("203.0.113.77", 0, "0.0.0.0"),
        ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2:3:4:5:6", 120, "2001:db8:1:2:3:4:5:0"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
        ("2001:db8:1:2:3:4:5:6", 33, "2001:db8::"),
    ],
)
def test_the_address_of_a_clients_net(address: str, netmask: int, net: str) -> None:
    host = EngineHost()
    a = client_net(host.tables, host.intern(ip_address(address)), netmask)
    assert str(host.addresses[a - 1]) == net
