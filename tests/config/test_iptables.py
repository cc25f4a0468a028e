"""The iptables lines of a NAT router. Expected values: what ``iptables -S`` of 1.8.9 showed after each line."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lbsim import config
from lbsim.config.iptables import format_settings
from lbsim.errors import ConfigError
from lbsim.model.config import ForwardRule, RouterSettings

CLASSIC = """\
iptables -F
iptables -t nat -F
iptables -P FORWARD ACCEPT
iptables -A FORWARD -i eth1 -s 10.0.0.0/255.255.255.0 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
"""


def router(text: str) -> RouterSettings:
    return config.parse(text).router


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    return caught.value


def test_the_classic_set_up_makes_router_settings() -> None:
    assert router(CLASSIC) == RouterSettings(
        policies=(("FORWARD", "ACCEPT"),),
        forward=(ForwardRule("eth1", "10.0.0.0/24"),),
        masquerade=("eth0",),
        flushed=("filter", "nat"),
    )


def test_the_settings_are_written_as_the_lines_that_make_them() -> None:
    assert format_settings(router(CLASSIC)) == CLASSIC.replace("255.255.255.0", "24").splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "iptables -j ACCEPT -s 10.0.0.0/24 -i eth1 -A FORWARD",
        "iptables -AFORWARD -ieth1 -s10.0.0.0/24 -jACCEPT",
        "iptables --append FORWARD --in-interface eth1 --source 10.0.0.0/24 --jump ACCEPT",
        "iptables --append=FORWARD --in-interface=eth1 --src=10.0.0.0/24 --jump=ACCEPT",
        "iptables -t filter -A FORWARD -i eth1 -s 10.0.0.0/24 -j ACCEPT",
        "sudo /usr/sbin/iptables -A FORWARD -i eth1 -s 10.0.0.0/24 -j ACCEPT",
    ],
)
def test_options_may_be_spelled_and_ordered_freely(line: str) -> None:
    assert router(line) == RouterSettings(forward=(ForwardRule("eth1", "10.0.0.0/24"),))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("10.0.0.0/255.255.255.0", "10.0.0.0/24"),
        ("10.0.0.7/255.255.255.0", "10.0.0.0/24"),
        ("10.0.0.7/24", "10.0.0.0/24"),
        ("10.0.0.7", "10.0.0.7/32"),
        ("10.0.0.7/32", "10.0.0.7/32"),
        ("10.0.0.7/0", "0.0.0.0/0"),
        ("10.0.0.7/0.0.0.0", "0.0.0.0/0"),
    ],
)
def test_a_network_is_kept_as_iptables_prints_it(typed: str, kept: str) -> None:
    assert router(f"iptables -A FORWARD -i eth1 -s {typed} -j ACCEPT").forward[0].source == kept


def test_a_rule_may_be_there_twice() -> None:
    line = "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE\n"
    assert router(line * 2).masquerade == ("eth0", "eth0")


def test_a_flush_forgets_the_rules_of_its_table_alone() -> None:
    assert router(CLASSIC + "iptables --flush") == RouterSettings(
        policies=(("FORWARD", "ACCEPT"),), masquerade=("eth0",), flushed=("filter", "nat")
    )


def test_a_flush_of_nat_forgets_masquerading() -> None:
    assert router(CLASSIC + "iptables -F --table nat").masquerade == ()


def test_a_policy_said_twice_is_kept_once() -> None:
    text = "iptables -P INPUT ACCEPT\niptables -P OUTPUT ACCEPT\niptables --policy INPUT ACCEPT"
    assert router(text).policies == (("INPUT", "ACCEPT"), ("OUTPUT", "ACCEPT"))


@pytest.mark.parametrize(
    "line",
    [
        "iptables",
        "iptables -L",
        "iptables -F FORWARD",
        "iptables -FFORWARD",
        "iptables --flush=FORWARD",
        "iptables -t mangle -F",
        "iptables -t nat -P POSTROUTING ACCEPT",
        "iptables -P FORWARD",
        "iptables -P",
        "iptables -A FORWARD -i eth1 -s 10.0.0.0/24",
        "iptables -A FORWARD -i eth1 -s",
        "iptables -A INPUT -i eth1 -s 10.0.0.0/24 -j ACCEPT",
        "iptables -A POSTROUTING -o eth0 -j MASQUERADE",
        "iptables -t nat -A FORWARD -i eth1 -s 10.0.0.0/24 -j ACCEPT",
        "iptables -t nat -A POSTROUTING -s 10.0.0.0/24 -o eth0 -j MASQUERADE",
        "iptables -I FORWARD 1 -p tcp --dport 22 -j ACCEPT",
        "iptables -A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT",
        "iptables -A FORWARD -i eth1 ! -s 10.0.0.0/24 -j ACCEPT",
    ],
)
def test_any_other_line_is_refused_with_the_accepted_ones(line: str) -> None:
    assert refused(line).message.endswith(
        "expected one of: iptables -F; iptables -t nat -F; iptables -P CHAIN ACCEPT; iptables -P FORWARD DROP; "
        "iptables -A FORWARD [-i INTERFACE] [-s NETWORK] -j ACCEPT|DROP; "
        "iptables -t nat -A POSTROUTING -o INTERFACE -j MASQUERADE"
    )


@pytest.mark.parametrize(
    ("line", "message", "column"),
    [
        ("iptables -P INPUT DROP", "lbsim does not model the policy 'DROP': expected ACCEPT", 19),
        ("iptables -P FORWARD REJECT", "lbsim does not model the policy 'REJECT': expected ACCEPT or DROP", 21),
        ("iptables -P NOSUCH ACCEPT", "unknown chain 'NOSUCH': expected one of: INPUT, FORWARD, OUTPUT", 13),
        (
            "iptables -A FORWARD -i eth1 -s 10.0.0.0/24 -j REJECT",
            "lbsim does not model the target of FORWARD 'REJECT': expected ACCEPT or DROP",
            47,
        ),
        (
            "iptables -t nat -A POSTROUTING -o eth0 -j SNAT",
            "lbsim does not model the target of POSTROUTING 'SNAT': expected MASQUERADE",
            43,
        ),
        ("iptables -F -t nat -t nat", "option -t is given twice: expected it once", 20),
        (
            "iptables -A FORWARD -i 'eth 1' -s 10.0.0.0/24 -j ACCEPT",
            "'eth 1' is no interface name: expected one such as eth1",
            24,
        ),
        (
            "iptables -t nat -A POSTROUTING -o eth+ -j MASQUERADE",
            "'eth+' is no interface name: expected one such as eth1",
            35,
        ),
    ],
)
def test_a_value_that_is_not_modelled_is_refused_where_it_stands(line: str, message: str, column: int) -> None:
    error = refused(line)
    assert (error.message, error.column) == (message, column)


@pytest.mark.parametrize(
    "network",
    [
        "10.0.0.300",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/255.0.255.0",
        "10.0.0.0/0.0.0.255",
        "fd00::/64",
        "lan",
        "",
    ],
)
def test_what_is_no_ipv4_network_is_refused(network: str) -> None:
    error = refused(f"iptables -A FORWARD -i eth1 -s '{network}' -j ACCEPT")
    assert error.message == f"{network!r} is no IPv4 network: expected 10.0.0.0/24 or 10.0.0.0/255.255.255.0"


STRICT = """\
iptables -P FORWARD DROP
iptables -A FORWARD -s 10.0.0.13/32 -j DROP
iptables -A FORWARD -i eth1 -s 10.0.0.0/24 -j ACCEPT
iptables -A FORWARD -i eth0 -j ACCEPT
"""


def test_rules_may_leave_out_what_they_do_not_look_at() -> None:
    rules = router(STRICT).forward
    assert rules == (
        ForwardRule("", "10.0.0.13/32", "DROP"),
        ForwardRule("eth1", "10.0.0.0/24", "ACCEPT"),
        ForwardRule("eth0", "", "ACCEPT"),
    )
    assert format_settings(router(STRICT)) == STRICT.splitlines()


@pytest.mark.parametrize(
    ("interface", "source", "target"),
    [
        ("eth1", "10.0.0.11", "ACCEPT"),
        ("eth1", "10.0.0.13", "DROP"),  # the first rule that matches decides
        ("eth0", "10.0.0.13", "DROP"),
        ("eth0", "198.51.100.1", "ACCEPT"),
        ("eth1", "198.51.100.1", "DROP"),  # no rule: the policy
    ],
)
def test_the_first_matching_rule_decides_else_the_policy(interface: str, source: str, target: str) -> None:
    assert router(STRICT).target(interface, IPv4Address(source)) == target


def test_without_a_policy_all_is_forwarded() -> None:
    assert RouterSettings().target("eth1", IPv4Address("10.0.0.1")) == "ACCEPT"


@pytest.mark.parametrize(
    "text",
    [
        "iptables -P FORWARD DROP\niptables -A FORWARD -i ens3 -j ACCEPT",
        "iptables -A FORWARD -i ens3 -j ACCEPT\niptables -P FORWARD DROP",
        "iptables -A FORWARD -i eth1 -j ACCEPT\niptables -A FORWARD -i ens3 -j DROP",
    ],
)
def test_a_rule_that_decides_names_an_interface_that_the_director_has(text: str) -> None:
    error = refused(text)
    assert error.line == 2
    assert error.message == (
        "the interface 'ens3' of a FORWARD rule is not known: expected eth0 (where clients are) or eth1 (where real "
        "servers are)"
    )


def test_where_all_is_accepted_no_rule_decides_and_its_interface_may_be_any() -> None:
    assert router("iptables -A FORWARD -i ens3 -j ACCEPT").forward == (ForwardRule("ens3"),)
