"""Lines that set tunables. What sysctl says was found by running that of procps 4.0.2."""

from __future__ import annotations

import pytest

from lbsim import config
from lbsim.errors import ConfigError
from lbsim.model.config import DirectorConfig, Place, SetSysctl


@pytest.mark.parametrize(
    "line",
    [
        "sysctl -w net.ipv4.vs.sloppy_tcp=1",
        "sysctl net.ipv4.vs.sloppy_tcp=1",
        "sudo /usr/sbin/sysctl -q -w net/ipv4/vs/sloppy_tcp=1",
        "sysctl --write 'net.ipv4.vs.sloppy_tcp=1'  # why",
        "echo 1 > /proc/sys/net/ipv4/vs/sloppy_tcp",
        "  echo 1 >/proc/sys/net/ipv4/vs/sloppy_tcp",
    ],
)
def test_a_line_sets_a_tunable(line: str) -> None:
    command = SetSysctl("sloppy_tcp", 1)
    assert config.parse(line) == DirectorConfig((command,))
    assert config.parse_command(line) == command
    assert config.parse_request(line) == command


def test_the_command_knows_its_place_and_its_text() -> None:
    found = config.parse("-C\n  sysctl -w net.ipv4.vs.am_droprate=-3 # fewer\n", file="director.sh").commands[1]
    assert (found.place, found.text) == (Place("director.sh", 2, 3), "sysctl -w net.ipv4.vs.am_droprate=-3")


FORMS = "expected sysctl -w net.ipv4.vs.NAME=VALUE, or echo VALUE > /proc/sys/net/ipv4/vs/NAME"


@pytest.mark.parametrize(
    ("line", "message", "column"),
    [
        ("sysctl net.ipv4.vs.sloppy_tcp", f"a tunable of net.ipv4.vs, and one per line: {FORMS}", 1),
        ("sysctl -w net.ipv4.vs.a=1 net.ipv4.vs.b=2", f"a tunable of net.ipv4.vs, and one per line: {FORMS}", 1),
        ("sysctl -p net.ipv4.vs.sloppy_tcp=1", f"a tunable of net.ipv4.vs, and one per line: {FORMS}", 1),
        ("sysctl -w net.ipv4.vs.sloppy_tcp=1 > log", f"a tunable of net.ipv4.vs, and one per line: {FORMS}", 1),
        ("echo 1 >> /proc/sys/net/ipv4/vs/sloppy_tcp", f"a tunable of net.ipv4.vs, and one per line: {FORMS}", 1),
        ("cat /proc/sys/net/ipv4/vs/sloppy_tcp", f"a tunable of net.ipv4.vs, and one per line: {FORMS}", 1),
        ("sysctl -w net.core.net.ipv4.vs.x=1", f"the tunable net.core.net.ipv4.vs.x: {FORMS}", 11),
        ("sysctl -w net.ipv4.vs.sloppy_tcp=", "'': expected a number, the value of net.ipv4.vs.sloppy_tcp", 11),
        ("sysctl -w net.ipv4.vs.sloppy_tcp=on", "'on': expected a number, the value of net.ipv4.vs.sloppy_tcp", 11),
        (
            "echo on > /proc/sys/net/ipv4/vs/sloppy_tcp",
            "'on': expected a number, the value of net.ipv4.vs.sloppy_tcp",
            6,
        ),
        ("sysctl -w net.ipv4.vs.conntrack=1", "net.ipv4.vs.conntrack=1 is not modelled: expected 0", 11),
        ("echo 3 > /proc/sys/net/ipv4/vs/drop_entry", "net.ipv4.vs.drop_entry=3 is not modelled: expected 0 to 2", 6),
    ],
)
def test_what_is_no_such_line_is_refused(line: str, message: str, column: int) -> None:
    for read in (config.parse, config.parse_command):
        with pytest.raises(ConfigError) as caught:
            read(line)
        assert (caught.value.message, caught.value.line, caught.value.column) == (message, 1, column)


@pytest.mark.parametrize("line", ["sysctl -w net.ipv4.vs.slopy_tcp=1", "echo 1 > /proc/sys/net/ipv4/vs/slopy_tcp"])
def test_an_unknown_name_is_answered_with_the_known_ones(line: str) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown sysctl 'slopy_tcp', did you mean 'sloppy_tcp'.* expected one of: am_"
    ):
        config.parse(line)


def test_a_value_that_the_kernel_refuses_is_for_the_kernel_to_answer() -> None:
    command = config.parse_command("sysctl -w net.ipv4.vs.drop_packet=9")
    assert command == SetSysctl("drop_packet", 9)
    missing = "cannot stat /proc/sys/net/ipv4/vs/drop_packet: No such file or directory"
    assert config.refusal(command, "ENOENT") == (1, f"sysctl: {missing}")
    assert config.refusal(command, "EINVAL") == (1, 'sysctl: setting key "net.ipv4.vs.drop_packet": Invalid argument')


def test_a_number_of_thousands_of_digits_is_no_value() -> None:
    with pytest.raises(ConfigError, match=r"expected a number, the value of net.ipv4.vs.sloppy_tcp"):
        config.parse(f"sysctl -w net.ipv4.vs.sloppy_tcp={'9' * 5000}")
