"""Lines of firewall marks: iptables 1.8.9, nft 1.0.6, iproute2 6.1."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lbsim import Director
from lbsim.config.marks import MarkRule, Marks, format_marks, read_marks
from lbsim.engine.lanes import Lane
from lbsim.errors import ConfigError
from lbsim.model.config import AddDest, AddService, DestId, DirectorConfig, ServiceId
from lbsim.packet.build import build_packet

ONE = MarkRule(4, 1, (ip_network("192.0.2.1"), ip_network("192.0.2.2")), 6, ((80, 80), (443, 443)))


@pytest.mark.parametrize(
    "line",
    [
        "nft add rule ip m pre ip daddr { 192.0.2.1, 192.0.2.2 } tcp dport { 80, 443 } meta mark set 1",
        "nft 'add rule ip m pre ip daddr {192.0.2.1,192.0.2.2} tcp dport {80,443} meta mark set 0x1'",
        "iptables -t mangle -A PREROUTING -d 192.0.2.1,192.0.2.2 -p tcp -m multiport --dports 80,443 -j MARK"
        " --set-mark 1",
    ],
)
def test_a_rule_of_addresses_and_ports(line: str) -> None:
    assert read_marks(line) == Marks((ONE,))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("nft add rule ip m pre meta mark set 7", MarkRule(4, 7)),
        ("nft add rule ip6 m pre ip6 daddr 2001:db8::/64 udp dport 53 meta mark set 2",
         MarkRule(6, 2, (ip_network("2001:db8::/64"),), 17, ((53, 53),))),
        ("nft add rule inet m pre ip6 daddr ::1 meta l4proto sctp meta mark set 2",
         MarkRule(6, 2, (ip_network("::1"),), 132)),
        ("ip6tables -t mangle -A PREROUTING -p tcp --dport 80:89 -j MARK --set-mark 3",
         MarkRule(6, 3, (), 6, ((80, 89),))),
        ("nft add rule ip m pre tcp dport 80-89 meta mark set 3", MarkRule(4, 3, (), 6, ((80, 89),))),
        # as iptables -S prints it
        ("iptables -t mangle -A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 443 -j MARK "
         "--set-xmark 0x1/0xffffffff",
         MarkRule(4, 1, (ip_network("192.0.2.1"),), 6, ((443, 443),))),
        ("/sbin/iptables --table mangle --append PREROUTING --proto udp -m comment --comment 'name servers' "
         "-m udp --destination-port domain -j MARK --set-mark 9", MarkRule(4, 9, (), 17, ((53, 53),))),
        ("iptables -tmangle -APREROUTING --protocol=tcp --dport=80 -jMARK --set-mark=1",
         MarkRule(4, 1, (), 6, ((80, 80),))),
        ("iptables -t mangle -A PREROUTING -p tcp -m multiport --dports http,https,8000:8010 -j MARK --set-mark 1",
         MarkRule(4, 1, (), 6, ((80, 80), (443, 443), (8000, 8010)))),
    ],
)  # fmt: skip
def test_other_rules(line: str, rule: MarkRule) -> None:
    assert read_marks(line).rules == (rule,)


def test_tables_chains_routes_and_routing_rules() -> None:
    marks = read_marks(
        "nft add table ip m\n"
        "nft 'add chain ip m pre { type filter hook prerouting priority -150 ; }'\n"
        "ip route add local 198.51.100.0/24 dev lo\n"
        "ip rule add fwmark 1 lookup 100\n"
        "ip route add local 0.0.0.0/0 dev lo table 100\n"
    )
    assert marks == Marks((), (ip_network("198.51.100.0/24"),), ((1, ip_network("0.0.0.0/0")),))
    assert marks.delivers(ip_address("203.0.113.9"), 1)
    assert not marks.delivers(ip_address("203.0.113.9"), 2)


def test_the_last_rule_that_matches_decides() -> None:
    marks = Marks((MarkRule(4, 1), MarkRule(4, 2, protocol=17), MarkRule(6, 3)))
    v4, v6 = ip_address("192.0.2.1"), ip_address("::1")
    assert [marks.mark_of(v4, 6, 80), marks.mark_of(v4, 17, 80), marks.mark_of(v6, 6, 80)] == [1, 2, 3]
    assert [Marks((ONE,)).mark_of(v4, *rest) for rest in ((6, 80), (6, 81), (17, 80))] == [1, 0, 0]
    assert Marks((ONE,)).mark_of(ip_address("192.0.2.3"), 6, 80) == 0


def test_a_flush_forgets_the_rules_before_it_of_its_own_ip_version() -> None:
    rule = "{} -t mangle -A PREROUTING -j MARK --set-mark {}\n"
    text = rule.format("iptables", 1) + rule.format("ip6tables", 2) + "iptables -t mangle -F\n"
    assert read_marks(text + rule.format("iptables", 3)).rules == (MarkRule(6, 2), MarkRule(4, 3))


def test_an_address_is_the_directors_unless_routing_brings_packets_with_the_rules_own_mark() -> None:
    one, two = ip_network("192.0.2.1"), ip_network("192.0.2.2")
    rules = (MarkRule(4, 7, (one,)), MarkRule(4, 8, (two,)))
    everything = ip_network("0.0.0.0/0")
    assert Marks(rules).hosts == (one.network_address, two.network_address)
    assert Marks(rules, routed=((8, everything),)).hosts == (one.network_address,)
    assert Marks(rules, routed=((8, everything), (7, one))).hosts == ()
    assert Marks(rules, routed=((9, everything),)).hosts == (one.network_address, two.network_address)
    assert Marks(rules, local=(ip_network("192.0.2.0/31"),)).hosts == (two.network_address,)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("tc qdisc add dev eth0", "this line of marks is not modelled: expected one of: nft add rule"),
        ("nft delete table ip m", "not modelled"),
        ("nft add rule ip m", "not modelled"),
        ("nft add rule bridge m pre meta mark set 1", "not modelled"),
        ("nft add rule ip m pre ip saddr 1.2.3.4 meta mark set 1", "not modelled"),
        ("nft add rule ip m pre ip daddr { 1.2.3.4 meta mark set 1", "not modelled"),
        ("nft add rule ip m pre ip daddr 1.2.3.4", "not modelled"),
        ("nft add rule ip m pre ip daddr x meta mark set 1", "'x' is no address or network"),
        ("nft add rule ip m pre meta l4proto icmp meta mark set 1", "'icmp' is no protocol that is modelled"),
        ("nft add rule ip m pre tcp dport http meta mark set 1", "'http' is no port: expected 80 or 80-89"),
        ("nft add rule ip m pre meta mark set -1", "'-1' is no mark"),
        ("nft add rule ip m pre meta mark set one", "'one' is no mark"),
        ("iptables -A PREROUTING -j MARK --set-mark 1", "not modelled"),
        ("iptables -t mangle -A PREROUTING -s 1.2.3.4 -j MARK --set-mark 1",
         "marks:3:34: the iptables option '-s' is not modelled: expected some of: --comment, --dport"),
        ("iptables -t mangle -A PREROUTING --dport 80 -j MARK --set-mark 1", "not modelled"),
        ("iptables -t mangle -A PREROUTING -p tcp --dprt 80 -j MARK --set-mark 1",
         "marks:3:41: the iptables option '--dprt' is not modelled: expected some of: --comment, --dport"),
        ("iptables -t mangle -A PREROUTING ! -d 192.0.2.1 -j MARK --set-mark 1", "marks:3:34: unexpected word '!'"),
        ("iptables -t mangle -A PREROUTING -m state --state NEW -j MARK --set-mark 1",
         "marks:3:37: unknown or not modelled iptables match 'state'"),
        ("iptables -t mangle -A INPUT -j MARK --set-mark 1",
         "marks:3:23: -A INPUT is not modelled here: expected -A PREROUTING"),
        ("iptables -t mangle -A PREROUTING -j MARK --set-mark 1/1", "marks:3:53: the mask '1' is not modelled"),
        ("iptables -t mangle -A PREROUTING -j MARK --set-mark x", "marks:3:53: 'x' is no mark"),
        ("iptables -t mangle -A PREROUTING -p tcp --dport nttp -j MARK --set-mark 1", "marks:3:49: 'nttp' is no port"),
        ("iptables -t mangle -A PREROUTING -d x -j MARK --set-mark 1", "marks:3:37: 'x' is no address or network"),
        ("iptables -t mangle -A PREROUTING -p esp -j MARK --set-mark 1", "marks:3:37: 'esp' is no protocol"),
        ("iptables -t mangle -A PREROUTING -j MARK --set-mark", "marks:3:42: option --set-mark has no value"),
        ("iptables -t mangle -t mangle -A PREROUTING", "marks:3:20: option -t is given twice"),
        ("iptables -t nat -F", "not modelled"),
        ("iptables -F", "not modelled"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_understood_says_so(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match="marks:3") as caught:
        read_marks(f"\n{line}\n", file="marks", first_line=2)
    assert says in str(caught.value)


# What the director makes of them

FWM = ServiceId.marked(1)


def marked_director(marks: str, **sysctls: int) -> Director:
    return Director(DirectorConfig((AddService(FWM, "rr"),)), sysctls=sysctls, marks=marks)


def seen(director: Director, dst: str, dport: int = 80) -> str:
    return director.receive(build_packet(src="203.0.113.1", dst=dst, sport=40001, dport=dport, flags=2)).reason


MARK = "iptables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 1\n"


def test_a_network_of_local_addresses() -> None:
    director = marked_director(MARK + "ip route add local 198.51.100.0/24 dev lo")
    director.run(AddDest(FWM, DestId(ip_address("10.0.0.11"), 0)))
    assert seen(director, "198.51.100.7") == "new"
    assert seen(director, "198.51.100.8", 81) == "no_service"
    assert seen(director, "198.51.101.1") == "not_local"


ROUTED = MARK + "ip rule add fwmark 1 lookup 100\nip route add local 0.0.0.0/0 dev lo table 100\n"


def test_what_only_a_routing_rule_brings_is_not_told_that_there_is_nobody() -> None:
    director = marked_director(ROUTED)
    assert seen(director, "198.51.100.7") == "no_dest_untold"
    assert seen(director, "198.51.100.7", 81) == "not_local"


@pytest.mark.parametrize("own", [[], ["192.0.2.1"]])
def test_a_single_address_that_a_rule_names_is_the_directors(own: list[str]) -> None:
    director = Director("-A -f 1 -s rr\n-a -f 1 -r 10.0.0.11 -m", marks=MARK.replace("-p", "-d 192.0.2.1 -p"), own=own)
    assert seen(director, "192.0.2.1") == "new"
    assert seen(director, "192.0.2.1", 81) == "no_service"
    assert seen(director, "192.0.2.2") == "not_local"


def test_a_bypassing_entry_of_one_packet_is_gone_at_once() -> None:
    marks = ROUTED.replace("tcp", "udp")
    config = DirectorConfig((AddService(FWM, "rr", one_packet=True),))
    director = Director(config, marks=marks, sysctls={"cache_bypass": 1})
    data = build_packet(src="203.0.113.1", dst="198.51.100.7", proto=17, sport=40001, dport=80)
    assert [director.receive(data).reason, director.connections()] == ["new", ()]


def test_cache_bypass_sends_it_on() -> None:
    director = marked_director(ROUTED, cache_bypass=1)
    assert seen(director, "198.51.100.7") == "new"
    (row,) = director.connections()
    assert (row.virtual, row.destination, row.state) == ("198.51.100.7:80", "0.0.0.0:0", "SYN_RECV")
    director.advance(70)
    assert director.connections() == ()


# 6.1.192 and 6.12.117 make the entry, whether the address is one of the director's or not; then nothing leaves.
@pytest.mark.parametrize(
    ("address", "reason", "entries"), [("2001:db8:1::10", "wrong_way", 1), ("192.168.1.10", "no_dest", 0)]
)
def test_over_ipv6_cache_bypass_makes_an_entry_to_the_directors_own_address(
    address: str, reason: str, entries: int, lane: Lane
) -> None:
    version = ip_address(address).version
    director = Director(
        DirectorConfig((AddService(ServiceId.marked(1, version), "rr"),)),
        sysctls={"cache_bypass": 1},
        marks=MARK.replace("iptables", "iptables" if version == 4 else "ip6tables"),
        own=[address],
        lane=lane,
    )
    client = "203.0.113.1" if version == 4 else "2001:db8:9::1"
    data = build_packet(src=client, dst=address, sport=40001, dport=80, flags=2)
    assert [director.receive(data).reason for _ in range(2)] == [reason] * 2
    found = [(row.virtual, row.destination, row.state) for row in director.connections()]
    assert found == [("[2001:db8:1::10]:80", "[::]:0", "SYN_RECV")] * entries


def test_marks_are_written_as_lines_that_make_the_same_marks() -> None:
    marks = read_marks(
        "nft add rule ip m pre ip daddr { 192.0.2.1, 192.0.2.128/25 } udp dport { 53, 100-110 } meta mark set 7\n"
        "ip6tables -t mangle -A PREROUTING -p sctp -j MARK --set-mark 0xFFFFFFFF\n"
        "nft add rule ip m pre meta mark set 3\n"
        "ip route add local 198.51.100.0/24 dev lo\n"
        "ip rule add fwmark 7 lookup shop\n"
        "ip route add local 0.0.0.0/0 dev lo table shop\n"
    )
    lines = list(format_marks(marks))
    assert lines == [
        "iptables -t mangle -A PREROUTING -d 192.0.2.1 -p udp --dport 53 -j MARK --set-mark 7",
        "iptables -t mangle -A PREROUTING -d 192.0.2.1 -p udp --dport 100:110 -j MARK --set-mark 7",
        "iptables -t mangle -A PREROUTING -d 192.0.2.128/25 -p udp --dport 53 -j MARK --set-mark 7",
        "iptables -t mangle -A PREROUTING -d 192.0.2.128/25 -p udp --dport 100:110 -j MARK --set-mark 7",
        "ip6tables -t mangle -A PREROUTING -p sctp -j MARK --set-mark 4294967295",
        "iptables -t mangle -A PREROUTING -j MARK --set-mark 3",
        "ip route add local 198.51.100.0/24 dev lo",
        "ip rule add fwmark 7 lookup 100",
        "ip route add local 0.0.0.0/0 dev lo table 100",
    ]
    again = read_marks("\n".join(lines))
    assert (again.local, again.routed, list(format_marks(again))) == (marks.local, marks.routed, lines)


def test_single_addresses_are_the_directors_unless_they_are_brought_to_it_otherwise() -> None:
    rule = "iptables -t mangle -A PREROUTING -d {} -p tcp --dport 80:81 -j MARK --set-mark 1\n"
    marks = read_marks("".join(map(rule.format, ("192.0.2.1", "192.0.2.0/24", "198.51.100.1", "192.0.2.1"))))
    assert [str(address) for address in marks.hosts] == ["192.0.2.1", "198.51.100.1"]
    local = "ip route add local 198.51.100.0/24 dev lo\n"
    assert read_marks(rule.format("198.51.100.1") + local).hosts == ()
    routed = "ip rule add fwmark 1 lookup 9\nip route add local 192.0.2.1 dev lo table 9\n"
    assert read_marks(rule.format("192.0.2.1") + routed).hosts == ()


def test_the_ends_that_get_a_mark_are_services_by_address() -> None:
    marks = read_marks(
        "iptables -t mangle -A PREROUTING -d 192.0.2.1,198.51.100.0/24 -p tcp --dport 80:81 -j MARK --set-mark 1\n"
        "iptables -t mangle -A PREROUTING -d 192.0.2.2 -p udp --dport 1:5000 -j MARK --set-mark 2\n"
        "ip6tables -t mangle -A PREROUTING -d 2001:db8::1 -j MARK --set-mark 3\n"
    )
    assert [(mark, str(end)) for mark, end in marks.ends()] == [
        (1, "tcp 192.0.2.1:80"),
        (1, "tcp 192.0.2.1:81"),
        (2, "udp 192.0.2.2:0"),
        (3, "tcp [2001:db8::1]:0"),
        (3, "udp [2001:db8::1]:0"),
        (3, "sctp [2001:db8::1]:0"),
    ]
