"""Commands and tables as text. Expected values: what ipvsadm 1.31 dumped, byte for byte."""

from __future__ import annotations

import pytest

from lbsim import config
from lbsim.config.writing import dump, format_command
from lbsim.model.config import DirectorConfig
from tests.captured import blocks, runs

# Commands


@pytest.mark.parametrize(
    "text",
    [
        "ipvsadm -A -t 192.168.1.10:80 -s rr",
        "ipvsadm -A -u [fd00::10]:53 -s sh -b sh-fallback,sh-port",
        "ipvsadm -E -t 192.168.1.10:80 -s lc",
        "ipvsadm -D -t 192.168.1.10:80",
        "ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m -w 3",
        "ipvsadm -e -t [::ffff:10.0.0.1]:80 -r [fd00:1::11]:0 -m -w 0",
        "ipvsadm -d -u 192.168.1.10:53 -r 10.0.0.11:53",
        "ipvsadm -C",
        "ipvsadm -Z",
        "ipvsadm -Z -f 3 -6",
        "ipvsadm --set 900 0 30",
        "ipvsadm -A --sctp-service 192.168.1.10:80 -s rr -p 360",
        "ipvsadm -A -f 4294967295 -s sh -p 60 -M 255.255.255.0 --pe sip -o -b sh-port,flag-3",
        "ipvsadm -A -f 1 -6 -s lc -p 50 -M 64",
        "ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:80 -g -w 1 -x 100 -y 50",
        "ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
        "ipvsadm -e -t 192.168.1.10:80 -r [fd00::11]:80 -i -w 1 --tun-type gre --tun-nocsum -y 5",
        "ipvsadm -a -f 1 -r 10.0.0.11:0 -i -w 1 --tun-type ipip",
    ],
)
def test_a_command_is_written_as_it_was_read(text: str) -> None:
    assert format_command(config.parse_command(text)) == text


# What the real tool dumped, byte for byte.
SEED = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 1
"""
FAR_APART = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 172.16.0.9:80 -m -w 1
-a -t 192.168.1.10:80 -r 192.168.7.1:80 -m -w 1
-a -t 192.168.1.10:80 -r 203.0.113.5:80 -m -w 1
-a -t 192.168.1.10:80 -r 8.8.8.8:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.2:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 1
"""
LONG_OPTIONS = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 3
"""
TWO_SERVICES = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-A -t 192.168.1.11:80 -s lc
"""
HEAVY = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 2147483647
-a -t 192.168.1.10:80 -r 10.0.0.14:80 -m -w 1
"""
PORT_ZERO = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.99:0 -m -w 1
"""


@pytest.mark.parametrize("text", [SEED, FAR_APART, LONG_OPTIONS, TWO_SERVICES, HEAVY, PORT_ZERO])
def test_a_dump_of_the_real_tool_comes_out_byte_for_byte(text: str) -> None:
    assert dump(config.parse(text)) == text


def order_of(dumped: str, option: str) -> list[str]:
    """The values of -t and -u, or of -r, as far as a dump has them."""
    lines = [line.split() for line in dumped.splitlines() if line.startswith("-A") == (option != "-r")]
    return [line[2] if option != "-r" else line[4] for line in lines]


@pytest.mark.parametrize(
    ("added", "dumped"),
    [
        (
            "10.0.0.12:80 10.0.0.11:8080 10.0.0.11:80 10.0.0.2:80 192.168.7.1:80 172.16.0.9:80 8.8.8.8:80 "
            "203.0.113.5:80",
            "172.16.0.9:80 192.168.7.1:80 203.0.113.5:80 8.8.8.8:80 10.0.0.2:80 10.0.0.11:80 10.0.0.11:8080 "
            "10.0.0.12:80",
        ),
        (
            "10.0.0.11:80 10.0.0.21:80 10.0.0.22:80 10.0.0.23:80 240.0.0.1:80 127.0.0.1:80 10.0.0.1:80 203.0.113.9:80",
            "10.0.0.11:80 10.0.0.21:80 10.0.0.22:80 10.0.0.23:80 127.0.0.1:80 203.0.113.9:80 240.0.0.1:80 10.0.0.1:80",
        ),
        (
            "[fd00:1::11]:80 [fd00:1::2]:8080 [fd00:1::2]:80 [2001:db8::5]:80 [fd00:1:0:1::1]:80",
            "[fd00:1::2]:80 [fd00:1::2]:8080 [fd00:1::11]:80 [fd00:1:0:1::1]:80 [2001:db8::5]:80",
        ),
    ],
)
def test_real_servers_are_dumped_in_the_order_of_the_real_tool(added: str, dumped: str) -> None:
    service = "[fd00::10]:80" if "[" in added else "192.168.1.10:80"
    text = f"-A -t {service} -s rr\n" + "".join(f"-a -t {service} -r {dest} -m\n" for dest in added.split())
    assert order_of(dump(config.parse(text)), "-r") == dumped.split()


def test_real_servers_half_the_numbers_apart_are_dumped_newest_first() -> None:
    # each is before the other, so the merge keeps the kernel's order
    text = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 1.0.0.1 -m\n-a -t 10.0.0.1:80 -r 129.0.0.1 -m"
    assert order_of(dump(config.parse(text)), "-r") == ["129.0.0.1:80", "1.0.0.1:80"]


@pytest.mark.parametrize(
    ("added", "dumped"),
    [
        (
            # as the real tool had them before it sorted
            "-u [fd00::1]:53 -u 192.168.1.1:53 -u 192.168.1.10:53 -t 192.168.10.1:80 -t 192.168.1.10:80 "
            "-t [fd00::9]:80 -t [fd00::10]:80 -t 192.168.1.10:443 -t 192.168.1.9:8080 -t [2001:db8::1]:80",
            "192.168.1.9:8080 192.168.1.10:80 192.168.1.10:443 192.168.10.1:80 192.168.1.1:53 "
            "192.168.1.10:53 [fd00::9]:80 [fd00::10]:80 [2001:db8::1]:80 [fd00::1]:53",
        ),
        (
            "-t 100.64.0.1:80 -t 203.0.113.1:80 -t 172.16.0.1:80 -t 10.0.0.1:80 -t 192.168.1.10:80",
            "100.64.0.1:80 172.16.0.1:80 192.168.1.10:80 203.0.113.1:80 10.0.0.1:80",
        ),
        ("-t 10.0.0.1:80 -t 192.168.1.10:80", "192.168.1.10:80 10.0.0.1:80"),
        (
            "-t 10.96.0.1:443 -t 172.17.0.2:30080 -t 127.0.0.1:30080",
            "10.96.0.1:443 127.0.0.1:30080 172.17.0.2:30080",
        ),
    ],
)
def test_services_are_dumped_in_the_order_of_the_real_tool(added: str, dumped: str) -> None:
    words = added.split()
    text = "".join(f"-A {option} {service} -s rr\n" for option, service in zip(words[::2], words[1::2], strict=True))
    assert order_of(dump(config.parse(text)), "-t") == dumped.split()


def test_an_empty_table_is_dumped_as_nothing() -> None:
    assert dump(DirectorConfig()) == ""


def test_a_saved_config_is_a_script() -> None:
    text = """\
iptables -t nat -F
iptables -P FORWARD ACCEPT
iptables -A FORWARD -i eth1 -s 10.0.0.0/24 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
ipvsadm -A -t 192.168.1.10:80 -s sh -b sh-port
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 1
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m -w 0
"""
    assert config.save(config.parse(text)) == text


# The real tool's own dumps

DUMPED = ("kube-proxy-dump", "save-restore", "flags-fwmark-ipv6-tunnel", "lifecycle-defaults", "list-views", "sort")
DUMPS = [
    pytest.param("\n".join(run.out), id=f"{name}-{at}")
    for name in (
        "kube-proxy-dump",
        "save-restore",
        "flags-fwmark-ipv6-tunnel",
        "lifecycle-defaults",
        "list-views",
        "sort",
    )
    for at, run in enumerate(runs(name))
    if run.command in ("ipvsadm -Sn", "ipvsadm -S -n") and run.out
]


@pytest.mark.parametrize("text", DUMPS)
def test_a_dump_of_the_real_tool_reads_back_as_the_same_table(text: str) -> None:
    lines = [line for line in text.split("\n") if not line.endswith("-b ") and "-f -" not in line]
    # far apart, services have no order of their own: the kernel's counts, which a dump does not tell
    assert blocks(dump(config.parse("\n".join(lines))).splitlines()) == blocks(lines)


def test_there_are_dumps() -> None:
    assert len(DUMPS) >= 30
    assert sum("kube" in str(param.id) for param in DUMPS) == 1


def test_a_dump_tells_no_thresholds_and_marks_as_signed_numbers_and_no_nameless_flags() -> None:
    # facts: ipvsadm.md section 4.1
    text = "-A -f 4294967295 -s sh -b flag-3\n-a -f 4294967295 -r 10.0.0.1 -m -x 9"
    assert dump(config.parse(text)) == "-A -f -1 -s sh -b \n-a -f -1 -r 10.0.0.1:0 -m -w 1\n"


def test_a_saved_config_keeps_thresholds_timeouts_and_flags() -> None:
    text = """\
ipvsadm --set 900 60 0
ipvsadm -A -f 3000000000 -s sh -b flag-3
ipvsadm -a -f 3000000000 -r 10.0.0.1:0 -m -w 1 -x 9 -y 3
"""
    assert config.save(config.parse(text)) == text
