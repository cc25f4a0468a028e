"""What ipvsadm says when the kernel refuses. Expected values: ipvsadm 1.31, run (tests/captures has whole sessions)."""

from __future__ import annotations

import pytest

from lbsim import config
from lbsim.config.refusals import KERNEL_MESSAGES, refusal
from lbsim.model.config import Clear


@pytest.mark.parametrize(
    ("text", "errno", "message"),
    [
        ("-A -t 192.168.1.10:80 -s rr", "EEXIST", "Service already exists"),
        ("-A -t 192.168.1.10:80 -s rr", "ENOENT", "Scheduler or persistence engine not found"),
        ("-Z -t 192.168.1.10:80", "ESRCH", "No such service"),
        ("-E -t 192.168.1.10:80 -s rr", "ESRCH", "No such service"),
        ("-E -t 192.168.1.10:80 -s rr", "ENOENT", "Scheduler or persistence engine not found"),
        ("-D -t 192.168.1.10:80", "ESRCH", "No such service"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m", "ESRCH", "Service not defined"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m", "EEXIST", "Destination already exists"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m", "ERANGE", "Numerical result out of range"),
        (
            "-a -t 192.168.1.10:80 -r 224.0.0.1 -m",
            "EINVAL",
            "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        ),
        ("-e -t 192.168.1.10:80 -r 10.0.0.11 -m", "ESRCH", "Service not defined"),
        ("-e -t 192.168.1.10:80 -r 10.0.0.11 -m", "ENOENT", "No such destination"),
        ("-e -t 192.168.1.10:80 -r 10.0.0.11 -m", "ERANGE", "Numerical result out of range"),
        ("-d -t 192.168.1.10:80 -r 10.0.0.11", "ESRCH", "Service not defined"),
        ("-d -t 192.168.1.10:80 -r 10.0.0.11", "ENOENT", "No such destination"),
    ],
)
def test_a_refusal_of_the_kernel_is_told_as_ipvsadm_tells_it(text: str, errno: str, message: str) -> None:
    assert refusal(config.parse_command(text), errno) == (255, message)


def test_an_answer_that_the_kernel_never_gives_has_no_message() -> None:
    with pytest.raises(KeyError):
        refusal(Clear(), "EEXIST")


def test_messages_name_a_command_and_an_error_number() -> None:
    assert {errno for _, errno in KERNEL_MESSAGES} == {"EEXIST", "ENOENT", "ESRCH", "EINVAL", "ERANGE"}
