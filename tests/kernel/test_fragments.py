"""Fragments on their way to a kernel and back: who sends them, what is compared, and what the results say."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from lbsim.compare import compare
from lbsim.config import parse
from lbsim.engine.reasons import DROP, NONE
from lbsim.kernel.job import CLIENT, REPLY, Job, Packet
from lbsim.kernel.reply import Responders, put_together
from lbsim.kernel.result import engine_result, result_of
from lbsim.kernel.scenario_job import job_of
from lbsim.kernel.seen import all_comparable
from lbsim.model.trace import Trace
from lbsim.packet.fragments import split
from lbsim.packet.headers import parse as headers_of
from lbsim.packet.tunnel import Wrapping, wrap
from lbsim.traffic import pcap
from tests.kernel.played import played
from tests.traffic.test_reassembly import CASES, ENDS, Sent, answer, capture, config, request, services, spaced

BOTH = pytest.mark.parametrize("version", [4, 6])


def asked(folder: Path, packets: Sequence[Sent], version: int, way: str = "-m", port: int = 5353) -> tuple[Trace, Job]:
    """A trace and its job."""
    (folder / "c.pcap").write_bytes(capture(packets))
    trace = pcap.read(folder / "c.pcap", services=services(config(version)))
    return trace, job_of("j", parse(config(version, way, port=port)), trace)


@BOTH
def test_fragments_are_sent_as_they_were_captured(tmp_path: Path, version: int) -> None:
    packets = spaced(*request(version), *answer(version)[::-1])
    _, job = asked(tmp_path, packets, version)
    sent = [event for event in job.events if isinstance(event, Packet)]
    assert [event.content for event in sent] == [packet.captured for packet in packets]
    assert [event.side for event in sent] == [CLIENT] * 3 + [REPLY] * 3


@BOTH
def test_a_fragment_comes_from_whoever_sends_its_datagram(tmp_path: Path, version: int) -> None:
    packets = spaced(*request(version, 40), *answer(version)[::-1], *answer(version, number=10)[1:])
    trace, job = asked(tmp_path, packets, version)
    flows = [event.flow for event in job.events if isinstance(event, Packet)]
    assert flows[:4] == [0] * 4
    assert flows[4:] == trace["flow"][4:].tolist() != [0, 0]  # it is not complete


@BOTH
@pytest.mark.parametrize("case", CASES)
def test_a_kernel_that_agrees_with_the_engine_gives_the_same_result(tmp_path: Path, version: int, case: str) -> None:
    trace, job = asked(tmp_path, CASES[case](version), version)
    seen = played(job)
    engine = engine_result(parse(config(version)), trace, job, seen)
    kernel = result_of(trace, job, seen)
    found = compare(engine, kernel)
    assert found.identical, found


@pytest.mark.parametrize("way", ["-g", "-i"])
def test_answers_that_go_straight_are_not_sent(tmp_path: Path, way: str) -> None:
    trace, job = asked(tmp_path, spaced(*request(4)[::-1], *answer(4), *answer(4, number=10)[::-1]), 4, way, 53)
    seen = played(job)
    kernel = result_of(trace, job, seen)
    engine = engine_result(parse(config(4, way, port=53)), trace, job, seen)
    assert kernel["verdict"][3:].tolist() == [NONE] * 3 + [DROP] * 2 + [NONE]
    assert compare(engine, kernel).identical


def test_who_got_a_request_in_fragments_answers() -> None:
    client, _, server = ENDS[4]
    whole = bytes(IP(src=client, dst=server) / UDP(sport=5000, dport=5353) / Raw(bytes(3000)))
    arrivals = [(f"r:{server}", piece) for piece in split(whole, 1500)]
    responders = Responders()
    responders.note(7, arrivals)
    assert responders.port_of(7) == 5353
    assert responders.port_of(8) == 0
    reply = bytes(IP(src="192.168.1.10", dst=client) / UDP(sport=53, dport=5000))
    found = responders.answer(7, reply)
    assert found is not None
    headers = headers_of(found[1])
    assert headers is not None
    assert (found[0], headers.src, headers.sport) == (f"r:{server}", ip_address(server).packed, 5353)


def test_who_got_a_tunnels_packet_in_fragments_answers_the_client_itself() -> None:
    client, vip, server = ENDS[4]
    inside = bytes(IP(src=client, dst=vip) / UDP(sport=5000, dport=53) / Raw(bytes(3000)))
    outer = wrap(inside, Wrapping(4, 0, 0, 0, 1), ip_address("10.0.0.1"), ip_address(server))
    responders = Responders()
    responders.note(7, [(f"r:{server}", piece) for piece in split(outer, 1500)])
    assert responders.is_straight(7)


def test_what_is_no_fragment_stays_as_it_is() -> None:
    whole = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(bytes(3000)))
    one, *others = split(whole, 1500)
    assert list(put_together([("c", b"?"), ("c", one), ("c", b"!"), *(("c", other) for other in others)])) == [
        ("c", b"?"),
        ("c", b"!"),
        *put_together([("c", piece) for piece in split(whole, 1500)]),
    ]


# What a kernel leaves to chance


def arrived(packets: Sequence[bytes]) -> list[tuple[str, bytes]]:
    return [("r:10.0.0.11", packet) for packet in packets]


def test_the_id_of_ipv6_fragments_is_not_compared() -> None:
    other = [packet.sent for packet in request(6, number=4711, ttl=63)]
    one = [piece[:44] + bytes(4) + piece[48:] for piece in other]
    assert one != other
    assert all_comparable(arrived(other)) == tuple(("r:10.0.0.11", piece) for piece in one)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("checksum", [0, 1])
def test_in_the_fragments_of_a_tunnel_chance_is_not_compared(kind: int, checksum: int) -> None:
    wrapping = Wrapping(4, kind, 6080, checksum, 0)
    wholes = []
    for number in (0, 4711):
        inside = bytes(IP(src="198.51.100.1", dst="192.168.1.10", ttl=9) / UDP(sport=5, dport=53) / Raw(bytes(3000)))
        outer = IP(wrap(inside, wrapping, ip_address("10.0.0.1"), ip_address("10.0.0.11")))
        outer.id = number
        if UDP in outer and kind == 1:
            outer[UDP].sport = number
            if checksum:
                del outer[UDP].chksum
        del outer.chksum
        wholes.append(split(bytes(outer), 1300))
    one, other = wholes
    assert one != other
    assert all_comparable(arrived(other)) == tuple(("r:10.0.0.11", piece) for piece in one)
    changed = bytearray(other[2])
    changed[-1] ^= 1
    assert all_comparable(arrived([*other[:2], bytes(changed)])) != all_comparable(arrived(other))


def test_the_id_of_ipv4_fragments_is_their_senders() -> None:
    pieces = [packet.sent for packet in request(4, number=4711, ttl=63)]
    assert all_comparable(arrived(pieces)) == tuple(("r:10.0.0.11", piece) for piece in pieces)
