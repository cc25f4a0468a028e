"""A run as captures: what each real server received, and what the clients received."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from lbsim.engine.reasons import FORWARD
from lbsim.errors import LbsimError
from lbsim.model.result import Result
from lbsim.model.trace import IntColumn, Trace
from lbsim.model.verdict import Rewrite
from lbsim.packet.build import build
from lbsim.packet.capture_file import PcapWriter
from lbsim.packet.offload import with_checksum
from lbsim.packet.rewrite import rewrite

__all__ = ["write_received"]


def write_received(
    trace: Trace, result: Result, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Files written: ``clients.pcap`` and one per destination (``10.0.0.11_80.pcap``, ``fd00--11_80.pcap``).

    Packets are as they leave the director: addresses, ports, TTL and checksums changed. Only forwarded ones
    are there; answers that the director's own stack gives are not. A destination of several services has one
    file. Where a captured packet's checksum was left to the sender's network card, it is what the card writes.

    Parameters
    ----------
    trace : the traffic that ``result`` came of; ``result`` may end earlier.
    folder : is made if it does not exist.
    progress : called with (packets written, packets in all) now and then.

    Raises
    ------
    LbsimError : the folder cannot be made or a file not be written; each file is complete or absent.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LbsimError(f"cannot make the folder: {error.strerror}", file=str(folder)) from None
    forwarded = result["verdict"] == FORWARD
    total = int(forwarded.sum())
    written = []
    done = 0
    for name, rows in _receivers(result, forwarded):
        path = folder / name
        with PcapWriter(path) as capture:
            for row in rows.tolist():
                packet = rewrite(with_checksum(build(trace, row)), _change(result, row))
                capture.write(int(trace["time"][row]), packet, length=int(trace["length"][row]))
                done += 1
                if progress and done % 1024 == 0:
                    progress(done, total)
        written.append(path)
    return written


def _receivers(
    result: Result, forwarded: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> Iterator[tuple[str, IntColumn]]:
    """(file name, rows of the packets that it received), one at a time: only one file is ever open."""
    (outgoing,) = np.nonzero(forwarded & (result["direction"] == 1))
    yield "clients.pcap", outgoing
    (incoming,) = np.nonzero(forwarded & (result["direction"] == 0))
    ends = result["new_dst"][incoming].astype("i8") << 16 | result["new_dport"][incoming]
    order = np.argsort(ends, kind="stable")
    groups, starts = np.unique(ends[order], return_index=True)
    for end, rows in zip(groups.tolist(), np.split(incoming[order], starts[1:]), strict=False):
        yield f"{result.addresses[end >> 16].replace(':', '-')}_{end & 0xFFFF}.pcap", rows


def _change(result: Result, row: int) -> Rewrite:
    """All four fields: a captured packet may show a server end that stands for another service."""
    return Rewrite(
        src=ip_address(result.addresses[result["new_src"][row]]),
        sport=int(result["new_sport"][row]),
        dst=ip_address(result.addresses[result["new_dst"][row]]),
        dport=int(result["new_dport"][row]),
    )
