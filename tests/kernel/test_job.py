"""The two formats that travel between host and guest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbsim.kernel.agent import decode, encode
from lbsim.kernel.job import (
    Arrival,
    Command,
    CommandSeen,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Show,
    ShowSeen,
    administers,
    server,
)

TIMES = st.integers(0, 10**13)
WORDS = st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple)
BYTES = st.binary(max_size=8) | st.builds(
    lambda begin, zeros: begin + bytes(zeros), st.binary(max_size=150), st.integers(0, 150)
)
EVENTS = st.one_of(
    st.builds(Packet, TIMES, st.integers(0, 9), st.sampled_from(["c", "reply", server("10.0.0.11")]), BYTES),
    st.builds(Command, TIMES, WORDS),
    st.builds(Show, TIMES, st.booleans()),
)
ARRIVALS = st.lists(st.builds(Arrival, st.sampled_from(["c", "r:?"]), BYTES, TIMES), max_size=2).map(tuple)
SEEN = st.one_of(
    st.builds(PacketSeen, TIMES, ARRIVALS, st.none() | BYTES),
    st.builds(CommandSeen, TIMES, WORDS, st.integers(0, 255), st.text(max_size=9), ARRIVALS),
    st.builds(ShowSeen, TIMES, TIMES, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9), ARRIVALS),
)


@given(st.text(), st.lists(EVENTS, max_size=4).map(tuple), st.sampled_from([(), ("10.0.0.11/32", "fd00::/64")]))
def test_a_job_survives_json_on_one_line(
    name: str, events: tuple[Packet | Command | Show, ...], straight: tuple[str, ...]
) -> None:
    setup, sysctls = (("ipvsadm", "-C"),), (("net.ipv4.vs.conntrack", "1"),)
    mtu = tuple((network, 1400) for network in straight)
    listening = tuple(f"tcp [{network}]:80" for network in straight)
    job = Job(name, ("192.168.1.10",), ("fd00::11",), setup, sysctls, events, straight, mtu, listening)
    assert "\n" not in job.to_json()
    assert Job.from_json(job.to_json()) == job


@given(st.lists(SEEN, max_size=4).map(tuple), st.text(max_size=5))
def test_an_observation_survives_json_on_one_line(events, error: str) -> None:
    seen = Observation("n", "6.1.0", 4294893568, (CommandSeen(0, ("ip",), 0, ""),), events, error, 7)
    assert "\n" not in seen.to_json()
    assert Observation.from_json(seen.to_json()) == seen


def test_admin_commands_are_those_of_ipvsadm_and_of_its_tunables() -> None:
    lines = ("ipvsadm -C", "sysctl -w net.ipv4.vs.sloppy_tcp=1", "sysctl -w net.ipv4.ip_forward=1", "iptables -F")
    assert [administers(line.split()) for line in lines] == [True, True, False, False]


@given(st.text(max_size=2000).map(lambda text: "{" + text.replace("\n", " ")))
def test_a_line_of_output_survives_the_wire(line: str) -> None:
    sent = encode(line)
    assert sent.count(b"\n") == 1
    assert decode(sent.rstrip(b"\n")) == line
