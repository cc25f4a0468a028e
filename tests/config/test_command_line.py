"""The checks and their order. Expected values: what the real ipvsadm 1.31 answered to each line (tests/captures)."""

from __future__ import annotations

import re

import pytest

from lbsim import config
from lbsim.errors import CommandRefused, ConfigError
from tests.captured import NOT_MODELLED, Run, runs

GRAMMAR = ("option-matrix", "errors-grammar", "errors-kernel", "option-spelling-and-order", "flags-fwmark-ipv6-tunnel")
#: Names, the sync daemon and the like; the real tool refuses many of these lines before it comes to that.
UNMODELLED = re.compile(r"example\.test|localhost|LOCALHOST|ipvsadm (-R|--start-daemon|--stop-daemon)")


def lines_of(name: str) -> list[Run]:
    return [
        run
        for run in runs(name)
        if run.command.startswith("ipvsadm") and not re.search(r"[;|<>]", run.command) and not run.given
    ]


def answer(line: str) -> tuple[int, str]:
    """Status and message of what ipvsadm refuses; status 0 if it does not."""
    try:
        config.parse_request(line)
    except CommandRefused as refused:
        return refused.status, refused.said
    except ConfigError:
        return 0, NOT_MODELLED
    return 0, ""


def by_the_kernel(run: Run) -> bool:
    """Whether the kernel refused, or a listing found nothing."""
    said = run.err[0] if run.err else ""
    return run.status in (1, 255) and not said.startswith("Try ") and "option" not in said and "argument" not in said


@pytest.mark.parametrize("name", GRAMMAR)
def test_a_line_is_refused_as_by_the_real_ipvsadm_or_not_at_all(name: str) -> None:
    for run in lines_of(name):
        got = answer(run.command)
        if got == (0, NOT_MODELLED):
            assert UNMODELLED.search(run.command), run.command
        elif by_the_kernel(run):
            assert got == (0, ""), run.command
        else:
            assert got == (run.status, "\n".join(run.err)), run.command


def test_the_captures_hold_many_lines() -> None:
    assert [len(lines_of(name)) for name in GRAMMAR] == [560, 152, 62, 91, 72]


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        # the rest: run with the real ipvsadm 1.31, its system calls answered by a stand-in for the kernel
        ("foo -C", 2, "unexpected argument foo"),
        ("-C foo -n", 2, "unexpected argument foo"),
        ("--", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
        ("-L=n", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
        ("-A --start-daemon", 255, "--start-daemon: missing argument"),
        ("-A --start-daemon master", 2, "invalid option `master'"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 --masquerading=5", 255, "--masquerading=5: option does not take an argument"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -m=5", 255, "-m=5: option does not take an argument"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -m=", 255, "-m=: option does not take an argument"),
        ("-A -p -", 2, "unexpected argument -"),
        ("-A -p=", 2, "invalid timeout value `' specified"),
        ("-A -t 1.2.3.4:80 -w --", 2, "illegal weight specified"),
        ("-A -t -s rr", 2, "illegal virtual server address[:port] specified"),
        ("--set 1 2 x", 2, "invalid timeout value `x' specified"),
        ("--start-daemon master --mcast-group x", 2, "invalid IPv4 mcast-group `x'"),
        ("-a -t [fd00::1]:80 -r [fd00::2]:80 -M abc", 2, "illegal ipv6 netmask specified"),
    ],
)
def test_what_no_capture_has_is_refused_as_by_the_real_ipvsadm(line: str, status: int, said: str) -> None:
    assert answer(f"ipvsadm {line}") == (status, said)


@pytest.mark.parametrize(
    ("line", "message", "column"),
    [
        ("-A -t 192.168.1.10:80 -w x", "'x' is no weight: expected a number from 0 to 2147483647", 26),
        ("-A -6 -f 1", "-6 stands before -f: expected -f MARK -6", 4),
        ("-A -f 0", "'0' is no firewall mark: expected a number from 1 to 4294967295", 7),
        ("-A -t 1.2.3.4:80 -p 0", "'0' is no number of seconds: expected a number from 1 to 2678400", 21),
        ("-A -t 1.2.3.4:80 -p -M x", "'x' is no netmask: expected one like 255.255.255.0", 24),
        ("-A -f 1 -6 -p -M 129", "'129' is no prefix length: expected a number from 1 to 128", 18),
        ("-A -t 1.2.3.4:80 -o", "one-packet scheduling is for UDP: expected -o with -u or -f", 18),
        ("-a -f 1 -r 10.0.0.1 --tun-type gue", "--tun-type is for tunnels: expected -i with it", 21),
        ("-a -f 1 -r 10.0.0.1 -i --tun-type gue", "tunnels of type gue need a port: expected --tun-port PORT", 1),
        ("-a -f 1 -r 10.0.0.1 -i --tun-csum", "tunnels of type ipip have no --tun-csum: expected -i without it", 24),
        (
            "-a -f 1 -r 10.0.0.1 -i --tun-type gre --tun-csum --tun-nocsum",
            "--tun-nocsum and --tun-csum do not go together: expected one of them",
            39,
        ),
        ("-a -f 1 -r 10.0.0.1 -i --tun-type x", "'x' is no tunnel type: expected one of: ipip, gue, gre", 35),
        ("--set 1 2", "--set needs three numbers: expected --set TCP TCPFIN UDP, in seconds, 0 for what is", 1),
        ("--set 1 2 3 4", "unexpected word '4': expected --set TCP TCPFIN UDP", 13),
        ("-Lc -t 1.2.3.4:80", "-c and -t do not go together: expected one of them", 5),
        ("-Lc --stats", "connection cannot be listed with stats: expected one of them", 1),
        ("-L --timeout --persistent-conn", "timeout cannot be listed with persistent-conn: expected one of them", 4),
        ("--start-daemon x", "'x' is no state of a sync daemon: expected master or backup", 16),
        ("--start-daemon", f"--start-daemon: missing argument; {config.command_line.A_COMMAND}", 1),
        (
            "--start-daemon master --mcast-group 10.0.0.1",
            "'10.0.0.1' is no multicast group: expected an address like 224.0.0.81",
            37,
        ),
        ("--", f"no command: {config.command_line.A_COMMAND}", 1),
    ],
)
def test_what_is_refused_is_explained_where_it_stands(line: str, message: str, column: int) -> None:
    with pytest.raises(CommandRefused) as caught:
        config.parse_request(line)
    assert (caught.value.message, caught.value.column) == (message, column)
