"""A config and a trace -> explanations of some of its packets.

The run is that of ``lbsim.simulate``, with every command and packet before those that are explained; it ends behind the
last one that is wanted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lbsim.errors import LbsimError
from lbsim.explain.facts import explanation_of
from lbsim.explain.flow_text import FlowName, flow_text
from lbsim.explain.names import Names
from lbsim.explain.observing import observe
from lbsim.model.explanation import Command, Explanation
from lbsim.model.trace import Trace
from lbsim.model.wording import counted, seconds
from lbsim.simulate import TRACE_BLOCK, simulate

if TYPE_CHECKING:
    from lbsim.engine.records import Outcome, Packet
    from lbsim.host import EngineHost
    from lbsim.model.config import AdminCommand, DirectorConfig, TimedCommand

__all__ = ["Selection", "TheFlow", "ThePacket", "explain", "explained"]


class Selection(Protocol):
    """Which packets are to be explained."""

    def places(self, block: Trace, first: int) -> list[int]:
        """Their places in a block, whose first packet has number ``first``."""

    def needs(self, packets: int) -> int:
        """How many packets the run needs at most, if the traffic has so many."""

    def complete(self) -> bool:
        """Whether no later block can have any."""

    def missing(self, packets: int) -> LbsimError:
        """What is wrong if there was none among all packets of the run."""


class ThePacket:
    """A single packet by its number, counted from 0."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._found = False

    def places(self, block: Trace, first: int) -> list[int]:
        self._found = first <= self.number < first + len(block)
        return [self.number - first] if self._found else []

    def needs(self, packets: int) -> int:
        return min(packets, self.number + 1)

    def complete(self) -> bool:
        return self._found

    def missing(self, packets: int) -> LbsimError:
        if not packets:
            return LbsimError(f"there is no packet {self.number}: no packets are sent")
        return LbsimError(
            f"there is no packet {self.number}: expected 0 to {packets - 1}, as {counted(packets, 'packet')} "
            f"{'is' if packets == 1 else 'are'} sent"
        )


class TheFlow:
    """All packets of a flow in both directions and the ICMP errors about them, or with ``at`` (ns) the first of them at
    or after that time.
    """

    def __init__(self, name: FlowName, at: int | None = None) -> None:
        self.name, self.at = name, at
        self._example = ""
        self._last: int | None = None
        self._found = False

    def places(self, block: Trace, first: int) -> list[int]:
        if not self._example and len(block.flows):
            self._example = flow_text(block, block.flows[0])
        found = self.name.packets_of(block).tolist()
        if found:
            self._last = int(block["time"][found[-1]])
        if self.at is not None:
            found = [place for place in found if block["time"][place] >= self.at][:1]
            self._found = bool(found)
        return found

    def needs(self, packets: int) -> int:
        return packets

    def complete(self) -> bool:
        return self._found

    def missing(self, packets: int) -> LbsimError:
        if self._last is not None and self.at is not None and self.at > self._last:
            return LbsimError(
                f"flow {self.name} has no packet at or after {seconds(self.at)}: "
                f"its last one is at {seconds(self._last)}"
            )
        if self._last is not None:
            return LbsimError(f"flow {self.name} has no packet before the run ends")
        example = f"; expected a flow of the traffic, such as {self._example}" if self._example else ""
        return LbsimError(f"there is no packet of flow {self.name}{example}")


def explain(
    config: DirectorConfig,
    trace: Trace | Iterable[Trace],
    wanted: Selection,
    tell: Callable[[Explanation], object],
    *,
    timeline: Sequence[TimedCommand] = (),
    **options: Any,
) -> None:
    """Tell the explanation of each wanted packet, in their order.

    Parameters
    ----------
    options : those of :func:`lbsim.simulate.simulate` that say how the run goes: until, profile, sysctls,
        start_jiffies, seed, lane, schedulers.

    Raises
    ------
    LbsimError : there is no such packet.
    """
    explaining = _Explaining(wanted, tell, len(config.commands), timeline)
    result = simulate(config, explaining.blocks(trace), timeline=timeline, samples=0, watch=explaining, **options)
    if not explaining.told:
        raise wanted.missing(len(result))


def explained(
    config: DirectorConfig, trace: Trace | Iterable[Trace], wanted: Selection, **options: Any
) -> tuple[Explanation, ...]:
    """The explanations of the wanted packets; parameters and errors are those of :func:`explain`."""
    found: list[Explanation] = []
    explain(config, trace, wanted, found.append, **options)
    return tuple(found)


class _Explaining:
    """Looks on while a run goes (``lbsim.simulate.Watch``), and says what is to be explained of its packets."""

    def __init__(
        self, wanted: Selection, tell: Callable[[Explanation], object], setup: int, timeline: Sequence[TimedCommand]
    ) -> None:
        self.told = 0
        self._wanted, self._tell = wanted, tell
        self._setup = setup  # commands that are given before the timeline's
        self._timeline = sorted(timeline, key=lambda timed: timed.at)
        self._commands: list[Command] = []
        self._numbers: list[int] = []
        self._kinds: dict[int, tuple[int, int]] = {}  # number of an ICMP error -> its type and code

    def blocks(self, trace: Trace | Iterable[Trace]) -> Iterator[Trace]:
        """The trace in blocks, up to the last packet that is wanted."""
        first = 0
        for block in trace.blocks(TRACE_BLOCK) if isinstance(trace, Trace) else trace:
            places = self._wanted.places(block, first)
            self._numbers += [first + place for place in places]
            self._note_kinds(block, first, set(places))
            if self._wanted.complete():
                yield block.part(0, places[-1] + 1)
                return
            yield block
            first += len(block)

    def _note_kinds(self, block: Trace, first: int, places: set[int]) -> None:
        columns = (block.quotes[name].tolist() for name in ("row", "kind", "code"))
        for row, kind, code in zip(*columns, strict=True):
            if row in places:
                self._kinds[first + row] = kind, code

    def next_packet(self, number: int) -> int | None:
        at = bisect_left(self._numbers, number)
        return self._numbers[at] if at < len(self._numbers) else None

    def commanded(self, command: AdminCommand, error: str) -> None:
        if self._setup:
            self._setup -= 1
            return
        timed = self._timeline[len(self._commands)]
        self._commands.append(Command(timed.at, command.text or str(command), error))

    def receive(self, host: EngineHost, number: int, time: int, packets: list[Packet], outcomes: list[Outcome]) -> None:
        found = look_at(host, number, time, packets, outcomes, self._commands, self._kinds.get(number))
        self.told += 1
        self._tell(found)


def look_at(
    host: EngineHost,
    number: int,
    time: int,
    packets: list[Packet],
    outcomes: list[Outcome],
    commands: Sequence[Command] = (),
    kind: tuple[int, int] | None = None,
) -> Explanation:
    """Let an interpreted host receive the first packet, and explain it.

    Timers that are due fire before, and rooms are made: what is seen then is this packet's doing alone.
    """
    host.advance(time)
    host.room_for(1)
    names = Names(host)
    seen = observe(host.tables, packets[0], names, lambda: host.receive_block(packets, outcomes, 1))
    return explanation_of(seen, outcomes[0], names, number=number, time=time, commands=commands, kind=kind)
