"""A run as captures: what each real server received, and what the clients received.

A folder gets one file per receiver: ``clients.pcap`` and one per destination (``10.0.0.11_80.pcap``,
``fd00--11_80.pcap``). A name that ends in ``.pcap`` is one file with everything that left the director, in time order.
Packets are as they leave: addresses, ports, TTL and checksums changed, or inside a tunnel's headers. Only forwarded
ones are there; answers that the director's own stack gives are not. A destination of several services has one file.
Where a captured packet's checksum was left to the sender's network card, it is what the card writes. What came in
fragments leaves in such, at the time of the fragment that completed it; so does what is longer than its route's MTU,
unless only a part of it was captured.

Every file is complete or absent. A folder also gets ``captures.json``, which lists the files: of those that the run
before listed there, a run removes what it does not write anew, if it still has the size with which it was written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lbsim import __version__
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.numbers import LOCAL_NODE, MASQ, OWN, TUNNEL
from lbsim.engine.reasons import FORWARD, ICMP_ROUTED, ROUTE, TO_PROGRAM
from lbsim.errors import LbsimError, TraceError
from lbsim.model.address import Address
from lbsim.model.result import RESULT_COLUMNS, ResultBlock, Ways
from lbsim.model.trace import COLUMN_TYPES, BoolColumn, IntColumn, Trace
from lbsim.model.verdict import Rewrite
from lbsim.packet.build import build
from lbsim.packet.bulk import BY_END, FIRST, IN_PIECES, NOWHERE, SECOND, UNKNOWN, Block
from lbsim.packet.capture_file import PartFile
from lbsim.packet.dispatch import Dispatch
from lbsim.packet.fragments import split, split_again
from lbsim.packet.offload import with_checksum
from lbsim.packet.rewrite import SAME, rewrite
from lbsim.packet.tunnel import Wrapping, wrap

__all__ = ["LISTING", "CaptureWriter", "folder_of", "is_one_file"]

LISTING = "captures.json"
MOST_SECONDS = 2**32  # of a record's time
ETHERNET = 1500  # bytes of a packet, on every way
MOST_OVERHEAD = 64  # bytes: no tunnel has larger headers
ZEROS = np.zeros(65535, dtype=np.uint8)

# Columns of a block that a trace or a result has by the same name
_OF_TRACE = tuple(name for name in Block._fields if name in COLUMN_TYPES)
_OF_ANSWERS = tuple(name for name in Block._fields if name in RESULT_COLUMNS and name not in COLUMN_TYPES)


def is_one_file(target: Path) -> bool:
    """Whether everything goes into one capture of this name, and not into a folder."""
    return target.suffix == ".pcap" and not target.is_dir()


def folder_of(target: Path) -> Path:
    """The folder into which the captures go."""
    return target.parent if is_one_file(target) else target


class CaptureWriter:
    """The captures of a run, written inside ``with`` while the run goes on; a sink of it (``model.result.Sink``).

    Packets are made in the lane of the run. The files get their names at the end of the block. If that ends with an
    exception, nothing is written: what was there before is as it was.

    >>> with CaptureWriter(Path("captures")) as captures:  # doctest: +SKIP
    ...     simulate(config, trace, sinks=[captures])
    >>> captures.paths  # doctest: +SKIP
    [PosixPath('captures/clients.pcap'), PosixPath('captures/10.0.0.11_80.pcap')]

    Parameters
    ----------
    target : a folder, which is made if it does not exist; or one file, if :func:`is_one_file` says so.

    Attributes
    ----------
    paths : the files, in the end: that of the clients, then those of destinations by address and port.

    Raises
    ------
    LbsimError : the folder cannot be made or a file not be written; or a packet's time does not fit into a capture.
    TraceError : a forwarded row whose columns make no packet; it carries the packet's number.
    """

    def __init__(self, target: Path) -> None:
        self.paths: list[Path] = []
        self._target = target
        self._one_file = is_one_file(target)
        self._made: list[Path] = []  # folders, the innermost first
        self._dispatch: Dispatch | None = None
        self._order: dict[Path, tuple[int, int, int]] = {}  # file of a destination -> its place among the others
        self._done = 0  # packets of earlier blocks
        self._own_flows: set[int] = set()  # that programs on the director began

    def __enter__(self) -> CaptureWriter:
        folder = folder_of(self._target)
        try:
            self._made = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._remove_folders()
            raise LbsimError(f"cannot make the folder: {error.strerror}", file=str(folder)) from None
        return self

    def add(self, trace: Trace, answers: ResultBlock) -> None:
        """Write the packets of the next block that left the director. ``trace.raw`` is not kept."""
        self._refuse_times(trace["time"])
        lane = compiled_lane() if answers.provenance.lane == "compiled" else interpreted_lane()
        dispatch = self._dispatch or self._begun(lane)
        block = self._block(lane, trace, answers)
        dispatch.write(
            block,
            len(trace),
            meet=partial(self._meet, dispatch, block, answers),
            refuse=partial(self._refuse, trace),
            cut=partial(self._cut, dispatch, block, trace, answers),
        )
        self._done += len(trace)

    def _begun(self, lane: Lane) -> Dispatch:
        self._dispatch = Dispatch(lane)
        self._dispatch.add(self._target if self._one_file else self._target / "clients.pcap")
        return self._dispatch

    def _refuse_times(self, times: IntColumn) -> None:
        for time in times[:1].tolist() + times[-1:].tolist():
            if not 0 <= time < MOST_SECONDS * SECOND:
                message = (
                    f"a packet at {time // SECOND} s does not fit into a capture; expected 0 to {MOST_SECONDS - 1}"
                )
                raise LbsimError(message, file=str(self._target))

    def _block(self, lane: Lane, trace: Trace, answers: ResultBlock) -> Block:
        """The packets as functions of the lane take them."""
        inward = FIRST if self._one_file else BY_END
        answer = trace.answers
        place = np.where(answer, FIRST, inward)
        ways = answers.ways or _all_over_nat(answers)
        kept = ~answer & (ways.method != MASQ) & (answers["dest"] >= 0)
        local = np.isin(answers["reason"], TO_PROGRAM) & (answers["new_dst"] >= 0)
        routed = answers["verdict"] == ROUTE
        own = local | (answer & (ways.method == LOCAL_NODE))  # to or from the director itself: not routed
        own |= routed & (trace["direction"] == OWN)
        dest = np.where(kept, answers["dest"], 0)
        to_addr = np.where(kept, ways.addr[dest], np.where(routed, answers["dst"], answers["new_dst"]))
        place[list(trace.datagrams.rows)] = IN_PIECES
        if answers.limits is not None:
            place[_too_long(trace, answers.limits[to_addr], ways.method == TUNNEL) & ~local] = IN_PIECES
        leaves = (answers["verdict"] == FORWARD) | (routed & (answer | self._one_file))
        place[~leaves & ~local] = NOWHERE
        if self._one_file:
            place[local | (answer & self._to_own_clients(trace))] = NOWHERE
        seen = partial(_seen_by, lane)
        tunnels = {name: seen(getattr(ways, name), "i4") for name in ("tun_type", "tun_port", "tun_flags")}
        return Block(
            ttl_down=seen(np.where(answers["reason"] == ICMP_ROUTED, 2, np.where(own, 0, 1)), "i1"),
            to_addr=seen(to_addr, "i4"),
            to_port=seen(np.where(kept, ways.port[dest], answers["new_dport"]), "i4"),
            tunnel=seen(np.where(kept & (ways.method == TUNNEL) & ~local, dest, -1), "i4"),
            tun_addr=seen(ways.addr, "i4"),
            tun_family=seen(answers.addresses.family[ways.addr] if len(answers.addresses) else ways.addr, "i1"),
            **tunnels,
            keep_df=ways.keep_df,
            **{name: seen(trace[name], COLUMN_TYPES[name]) for name in _OF_TRACE},
            **{
                name: seen(column, RESULT_COLUMNS[name])
                for name, column in _ends_after(answers, answer, routed).items()
            },
            place=seen(place, "i1"),
            first=self._done,
            raw=seen(np.frombuffer(trace.raw, dtype=np.uint8), "u1"),
            family=seen(trace.addresses.family, "i1"),
            words=seen(trace.addresses.words.ravel(), "u4"),
            new_words=seen(answers.addresses.words.ravel(), "u4"),
            zeros=seen(ZEROS, "u1"),
        )

    def _to_own_clients(self, trace: Trace) -> BoolColumn:
        """Which packets are of flows that programs on the director began."""
        self._own_flows.update(np.unique(trace["flow"][trace["direction"] == OWN]).tolist())
        return np.isin(trace["flow"], list(self._own_flows))

    def _meet(self, dispatch: Dispatch, block: Block, answers: ResultBlock, i: int) -> None:
        """Make a file for the destination to which packet ``i`` goes."""
        addr, port = int(block.to_addr[i]), int(block.to_port[i])
        address = answers.addresses[addr]
        path = self._target / f"{address}_{port}.pcap".replace(":", "-")
        dispatch.add(path, addr, port)
        self._order[path] = (address.version, int(address), port)

    def _cut(
        self,
        dispatch: Dispatch,
        block: Block,
        trace: Trace,
        answers: ResultBlock,
        i: int,
    ) -> None:
        """Write packet ``i``, which may leave in fragments, as it leaves."""
        r = FIRST
        if not trace.answers[i] and not self._one_file:
            end = int(block.to_addr[i]), int(block.to_port[i])
            if dispatch.receiver(*end) == UNKNOWN:
                self._meet(dispatch, block, answers, i)
            r = dispatch.receiver(*end)
        came = trace.datagrams.of(i)
        packet = _leaving(came.data if came else self._built(trace, i), block, answers.addresses, i)
        limit = ETHERNET if answers.limits is None else int(answers.limits[block.to_addr[i]])
        if answers["reason"][i] in TO_PROGRAM:  # nothing is cut on its way to a program
            came, limit = None, len(packet)
        for piece in split_again(packet, limit, came) if came else split(packet, limit):
            dispatch.append(r, int(block.time[i]), piece)

    def _built(self, trace: Trace, i: int) -> bytes:
        """Packet ``i`` as it came."""
        try:
            return build(trace, i)
        except TraceError as error:
            raise TraceError(error.message, packet=self._done + i) from None

    def _refuse(self, trace: Trace, i: int) -> None:
        """Raise what is wrong with packet ``i``, which cannot be made."""
        self._built(trace, i)
        raise AssertionError(f"packet {self._done + i}: no such bytes were captured")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._keep(self._dispatch or self._begun(interpreted_lane()))
        finally:
            for file in self._dispatch.files if self._dispatch else ():
                file.discard()
            if not self.paths:
                self._remove_folders()

    def _keep(self, dispatch: Dispatch) -> None:
        """Give all files their names."""
        dispatch.flush()
        for file in dispatch.files:
            file.keep()
        self.paths = [dispatch.files[0].path, *sorted(self._order, key=self._order.__getitem__)]
        if not self._one_file:
            _list(self._target, {file.path.name: file.size for file in dispatch.files})

    def _remove_folders(self) -> None:
        for folder in self._made:
            with suppress(OSError):  # not empty, or not made after all
                folder.rmdir()


def _ends_after(answers: ResultBlock, answer: BoolColumn, routed: BoolColumn) -> dict[str, IntColumn]:
    """The ends of each packet as it leaves. What is only routed keeps its own; an answer's are those of who sent it."""
    if not routed.any():
        return {name: answers[name] for name in _OF_ANSWERS}
    return {
        name: np.where(
            routed,
            np.where(answer, answers[name[4:]], SAME) if name in ("new_src", "new_sport") else SAME,
            answers[name],
        )
        for name in _OF_ANSWERS
    }


def _too_long(trace: Trace, limits: IntColumn, in_tunnel: BoolColumn) -> BoolColumn:
    """Which packets may be longer, with the headers of a tunnel, than the MTU of the routes that they take."""
    whole = (trace["raw_at"] < 0) | (trace["raw_len"] >= trace["length"])
    return whole & (trace["length"] + np.where(in_tunnel, MOST_OVERHEAD, 0) > limits)


def _leaving(data: bytes, b: Block, addresses: Sequence[Address], i: int) -> bytes:
    """Packet ``i`` as it leaves, before it is cut: in a tunnel, the tunnel's packet is cut.

    Source: packet-path facts, sections 12 and 13.2.
    """
    src, dst = (None if at == SAME else addresses[at] for at in (b.new_src[i], b.new_dst[i]))
    sport, dport = (None if port == SAME else int(port) for port in (b.new_sport[i], b.new_dport[i]))
    new = Rewrite(src, sport, dst, dport, int(b.ttl_down[i]))
    packet = rewrite(with_checksum(data), new)
    k = int(b.tunnel[i])
    if k >= 0:
        target, virtual = addresses[b.tun_addr[k]], addresses[b.new_dst[i]]
        wrapping = Wrapping(target.version, int(b.tun_type[k]), int(b.tun_port[k]), int(b.tun_flags[k]), b.keep_df)
        packet = wrap(packet, wrapping, virtual if virtual.version == target.version else target, target)
    return packet


def _all_over_nat(answers: ResultBlock) -> Ways:
    """The ways of a block of which all packets went over NAT; no destination is looked at."""
    row = np.zeros(1, dtype="i4")
    return Ways(np.zeros(len(answers), dtype="i4"), row, row, row, row, row, 1)


def _seen_by(lane: Lane, array: np.ndarray[Any, Any], kind: str) -> Any:
    """The array as functions of the lane take it, of this type and read-only.

    To the interpreted lane its elements are Python ints. To the compiled one, arrays of a column are always of one
    kind, so that nothing is compiled twice.
    """
    view = np.ascontiguousarray(array, dtype=kind).view()
    view.flags.writeable = False
    return view if lane.name == "compiled" else memoryview(view.data)


def _list(folder: Path, sizes: dict[str, int]) -> None:
    """Note the files that were written, and remove those of the run before that are not among them."""
    for name, size in _listed(folder / LISTING).items():
        path = folder / name
        with suppress(OSError):
            if name not in sizes and path.is_file() and path.stat().st_size == size:
                path.unlink()
    text = json.dumps({"lbsim": __version__, "files": sizes}, indent=1)
    PartFile(folder / LISTING, text.encode() + b"\n").keep()


def _listed(listing: Path) -> dict[str, int]:
    """Name and size of the files that the run before noted; none, if that cannot be read."""
    try:
        files = json.loads(listing.read_text())["files"]
        return {name: size for name, size in files.items() if Path(name).name == name}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
