"""The shared memory of a packet socket, for real: in a user namespace of the test's own, over a veth pair."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lbsim.kernel.ring import FRAMES

pytestmark = pytest.mark.kernel

# a0 and b0 are the ends of a wire; whatever is sent into a0 comes out of b0.
SCRIPT = """
import socket
from lbsim.kernel.netlink import requests
from lbsim.kernel.bench import set_sysctl
from lbsim.kernel.ring import FRAMES, Ring
set_sysctl("net.ipv6.conf.default.disable_ipv6", "1")
with requests() as ask:
    ask("link", "add", ifname="a0", kind="veth", mtu=9000, peer={{"ifname": "b0", "mtu": 9000}})
with requests() as ask:
    for name in ("a0", "b0"):
        ask("link", "set", index=socket.if_nametoindex(name), state="up")
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind(("a0", 0))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
ring = Ring(wire)
wire.bind(("b0", 3))
def send(*numbers, size=100):
    for number in numbers:
        out.send(bytes(12) + b"\\x08\\x00" + number.to_bytes(2) + bytes(size - 16))
def came():
    return [(int.from_bytes(frame[14:16]), len(frame)) for frame in ring.frames()]
{asked}
"""


def said(*lines: str) -> list[str]:
    """What these lines print."""
    script = SCRIPT.format(asked="\n".join(lines))
    argv = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", script]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()


def test_frames_come_once_and_in_their_order() -> None:
    assert said("print(came())", "send(1, 2)", "send(3, size=1514)", "print(came(), came())") == [
        "[]",
        "[(1, 100), (2, 100), (3, 1514)] []",
    ]


def test_the_memory_is_used_again_and_again() -> None:
    (numbers,) = said("seen = []", "for n in range(1000):", "    send(n)", "    seen += came()", "print(seen)")
    assert numbers == str([(n, 100) for n in range(1000)])


def test_what_found_the_ring_full_is_counted_as_dropped() -> None:
    lines = [f"send(*range({FRAMES + 3}))", "print(len(came()), ring.dropped(), ring.dropped())"]
    assert said(*lines) == [f"{FRAMES} 3 0"]


def test_a_frame_that_does_not_fit_is_an_error() -> None:
    lines = ["send(1, size=4000)", "try:", "    came()", "except OSError as error:", "    print(error)"]
    (complaint,) = said(*lines)
    assert complaint.startswith("a frame of 4000 bytes, ")


def test_a_closed_ring_lets_go_of_its_socket() -> None:
    count = "print(sum('socket:' in os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')))"
    lines = ["import os", "out.close()", count, "ring.close()", "wire.close()", count]
    assert said(*lines) == ["2", "0"]  # the memory holds the socket, too
