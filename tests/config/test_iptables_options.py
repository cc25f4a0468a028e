"""Options of an iptables line: names, hanging values, what is no option."""

from __future__ import annotations

import pytest

from lbsim.config.iptables_options import given_options
from lbsim.config.lines import read_lines
from lbsim.errors import ConfigError
from lbsim.model.config import Place

NAMES = {"-t": "-t", "--table": "-t", "-F": "-F", "--flush": "-F", "-P": "-P", "--policy": "-P"}


def given(text: str) -> list[tuple[str, ...]]:
    """Each option, and its values."""
    (line,) = read_lines(text, Place())
    return [
        (option, *(value.text for value in values))
        for _, option, values in given_options(line, line.words, NAMES, "expected -t")
    ]


@pytest.mark.parametrize("table", ["-t nat", "-tnat", "--table nat", "--table=nat"])
def test_a_value_may_hang_on_its_option(table: str) -> None:
    assert given(f"{table} -F") == [("-t", "nat"), ("-F",)]


def test_a_policy_has_two_words() -> None:
    assert given("-P FORWARD DROP -t filter") == [("-P", "FORWARD", "DROP"), ("-t", "filter")]
    assert given("-PFORWARD DROP") == given("--policy=FORWARD DROP") == [("-P", "FORWARD", "DROP")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-t nat -x", "1:8: the iptables option '-x' is not modelled: expected -t"),
        ("-Fx", "1:1: the iptables option '-Fx' is not modelled: expected -t"),
        ("--flush=nat", "1:1: the iptables option '--flush=nat' is not modelled: expected -t"),
        ("! -t nat", "1:1: unexpected word '!': expected -t"),
        ("-F -t", "1:4: option -t has no value: expected -t"),
        ("-P FORWARD", "1:1: option -P has no value: expected -t"),
    ],
)
def test_what_is_no_option_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given(text)
    assert message in str(caught.value)
