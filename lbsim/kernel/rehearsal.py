"""The engine does a kernel's job: the same packets and commands, at the times at which the kernel really had them."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import partial
from operator import add, attrgetter, sub

from lbsim import departures
from lbsim.config import parse_command
from lbsim.engine.lanes import Lane
from lbsim.kernel.job import (
    ASKING,
    CLIENT,
    DIRECTOR,
    REPLY,
    Command,
    Job,
    Observation,
    Packet,
    Seen,
    Show,
    ShowSeen,
    administers,
    server,
)
from lbsim.kernel.job_rules import marks_of, router_of
from lbsim.kernel.lots import Lots, has_lots
from lbsim.kernel.reply import Responders
from lbsim.kernel.seen import Listing, Step, all_comparable, listed
from lbsim.live import Director
from lbsim.model.config import AddDest, AdminCommand, Clear, DeleteDest, DeleteService, DirectorConfig
from lbsim.model.result import ConnRow, Counters

__all__ = ["OWN_ADDRESSES", "Rehearsal", "rehearse", "setup_answers"]

#: The director's addresses on the bench, besides the VIPs.
OWN_ADDRESSES = ("192.168.1.1", "10.0.0.1", "2001:db8:1::1", "fd00::1")
SECOND = 1_000_000_000
TICK = 4_000_000  # ns, at HZ=250
_VIA = {CLIENT: departures.CLIENTS, DIRECTOR: departures.DIRECTOR}  # the others are real servers
COPIED_EVERY = 2_100_000_000  # ns: so often, at least, the kernel copies its counters for those who look


def rehearse(
    job: Job, seen: Observation, *, profile: str, lane: Lane | None = None, kernel: Sequence[Step] | None = None
) -> Iterator[Step]:
    """What the engine does with each event of the job, one after the other.

    Parameters
    ----------
    seen : what the kernel did: its clock and the times of its events are taken from there.
    lane : how the engine runs; default: interpreted.
    kernel : what the kernel did, as steps: lots of twos fall as there.
    """
    return Rehearsal(job, seen, profile=profile, lane=lane, kernel=kernel).steps()


class Rehearsal:
    """The engine after a job's set-up; the parameters are those of :func:`rehearse`.

    Attributes
    ----------
    setup : what each command of the set-up answers: exit status and message; what is no admin command must simply
        succeed.
    lots : those of twos that are led by what the kernel did; None: twos draws lots of its own, or there is none.
    """

    def __init__(
        self,
        job: Job,
        seen: Observation,
        *,
        profile: str,
        lane: Lane | None = None,
        kernel: Sequence[Step] | None = None,
    ) -> None:
        self._job = job
        self._seen = seen
        self._kernel = kernel or ()
        self.lots = Lots() if kernel and has_lots(job) else None
        self._director = _director(job, seen, profile, lane)
        self.setup = tuple(_set_up(self._director, job))

    def steps(self) -> Iterator[Step]:
        """What the engine does with each event of the job, one after the other; once."""
        played = _played(self._director, self._job, self._seen)
        return played if self.lots is None else self._led(played, self.lots)

    def _led(self, played: Iterator[Step], lots: Lots) -> Iterator[Step]:
        """The same steps, with lots that fall as the kernel's did."""
        for step in self._kernel:
            place = step.arrivals[0][0] if step.arrivals else CLIENT
            self._director.watch = partial(lots.lead, place=place)
            yield next(played)
            lots.settle()


def _played(director: Director, job: Job, seen: Observation) -> Iterator[Step]:
    responders = Responders(job.straight)
    leftovers = _Leftovers(job)
    last = 0
    following = [what.at for what in seen.events[1:]] + [None]
    for event, what, next_at in zip(job.events, seen.events, following, strict=True):
        at = what.at / SECOND
        leftovers.note(director, last)
        match event:
            case Command(argv=argv):
                command = parse_command(" ".join(argv))
                leftovers.before(command, director, what.at)
                answer = director.run(command, at=at)
                yield Step(what.at, answer=(answer.status, " ".join(answer.message.split())))
            case Show(stats=stats):
                look = _look(director, last, what.at, _read_until(what), next_at, stats=stats)
                yield look._replace(leftovers=dict(leftovers.most))
            case Packet():
                arrivals = _received(director, event, at, job, responders)
                yield Step(what.at, arrivals=all_comparable(arrivals))
        last = what.at


class _Leftovers:
    """What a kernel may count twice: traffic of destinations right before they, then their service, were removed.

    Under a new service of the same identity their counters begin anew from the last copy that the kernel made for those
    who look. That may be a period old, and what came after it appears again. Of a removed destination no copies are
    made until it is back, however long that takes.

    Source: facts, packet-path.md sections 11.3 and 18.2, schedulers.md section 5.

    Attributes
    ----------
    most : (service, destination) -> how much that is at most.
    """

    def __init__(self, job: Job) -> None:
        self.most: dict[tuple[str, str], Counters] = {}
        commands = (event.argv for event in job.events if isinstance(event, Command))
        self._needed = any(isinstance(parse_command(" ".join(argv)), DeleteService | Clear) for argv in commands)
        self._copies: deque[tuple[int, Mapping[tuple[str, str], Counters]]] = deque()
        self._copied: dict[tuple[str, str], Counters] = {}  # of those that were removed: what was surely copied
        self._uncopied: dict[tuple[str, str], Counters] = {}  # likewise, what was perhaps not
        self._back: dict[tuple[str, str], int] = {}  # when they were added again
        self._anew: dict[tuple[str, str], int] = {}  # since when their counters are those of another service

    def note(self, director: Director, since: int) -> None:
        """Note the counters as they have been since ``since`` (ns)."""
        if self._needed:
            self._copies.append((since, director.stats().dests))
            while len(self._copies) > 1 and self._copies[1][0] <= since - COPIED_EVERY:
                self._copies.popleft()

    def before(self, command: AdminCommand, director: Director, at: int) -> None:
        """Take down what the command, given at ``at`` (ns), leaves over."""
        match command:
            case _ if not self._needed:
                pass
            case AddDest(service=service, dest=dest):
                self._back.setdefault((str(service), str(dest)), at)
            case DeleteDest(service=service, dest=dest):
                self._remove(director, at, lambda key: key == (str(service), str(dest)))
            case DeleteService(service=service):
                self._remove(director, at, lambda key: key[0] == str(service))
                self._forget_service(at, lambda key: key[0] == str(service))
            case Clear():
                self._remove(director, at, lambda _: True)
                self._forget_service(at, lambda _: True)

    def _remove(self, director: Director, at: int, concerns: Callable[[tuple[str, str]], bool]) -> None:
        copies = [(since, counters) for since, counters in self._copies if since <= at - COPIED_EVERY]
        since, counters = copies[-1] if copies else (0, {})
        for key, now in director.stats().dests.items():
            if concerns(key):
                copied = counters.get(key, Counters()) if since >= self._anew.get(key, 0) else Counters()
                if at - self._back.pop(key, 0) < COPIED_EVERY:  # perhaps there was no copy since it came back
                    copied = self._copied.get(key, copied)
                self._copied[key] = copied
                self._uncopied[key] = Counters(*map(sub, astuple(now), astuple(copied)))

    def _forget_service(self, at: int, concerns: Callable[[tuple[str, str]], bool]) -> None:
        for key in [key for key in self._uncopied if concerns(key)]:
            known, left = self.most.get(key, Counters()), self._uncopied.pop(key)
            self.most[key] = Counters(*map(add, astuple(known), astuple(left)))
            del self._copied[key]
            self._anew[key] = at


def setup_answers(job: Job, *, profile: str) -> Iterator[tuple[int, str]]:
    """What each command of the set-up answers, as :class:`Rehearsal` has it."""
    yield from Rehearsal(job, Observation(job.name, ""), profile=profile).setup


def _director(job: Job, seen: Observation, profile: str, lane: Lane | None = None) -> Director:
    return Director(
        DirectorConfig(router=router_of(job)),
        profile=profile,
        sysctls={name: int(value) for name, value in job.sysctls},
        marks=marks_of(job),
        own=(*OWN_ADDRESSES, *job.vips),
        mtu=dict(job.mtu),
        listening=job.listening,
        start_jiffies=seen.jiffies if seen.jiffies >= 0 else None,
        lane=lane,
        estimator=False,
    )


def _set_up(director: Director, job: Job) -> Iterator[tuple[int, str]]:
    for argv in job.setup:
        if administers(argv):
            answer = director.run(" ".join(argv))
            yield answer.status, " ".join(answer.message.split())
        else:
            yield 0, ""


def _read_until(what: Seen) -> int:
    return what.until if isinstance(what, ShowSeen) else what.at


def _look(director: Director, last: int, at: int, until: int, next_at: int | None, *, stats: bool) -> Step:
    """The tables at a moment, and at the ticks at which the kernel's may have been read.

    Reading takes the real tools from ``at`` to ``until``. The kernel's tick at time 0 is known, but not the moment
    within that tick: hence one tick more on both sides.
    """
    director.advance(to=max(last, at - TICK) / SECOND)
    near = [_listing(director, stats=stats)]
    director.advance(to=at / SECOND)
    now = _listing(director, stats=stats)
    ticks = (until - at) // TICK + 2
    undisturbed = next_at is None or next_at >= at + (ticks + 1) * TICK  # the next look is back by a tick
    later = director if undisturbed else pickle.loads(pickle.dumps(director))  # three times as fast as a deep copy
    for tick in range(1, ticks + 1):
        later.advance(to=(at + tick * TICK) / SECOND)
        near.append(_listing(later, stats=stats))
    return Step(at, listing=now, near=tuple(near))


def _received(
    director: Director, event: Packet, at: float, job: Job, responders: Responders
) -> list[tuple[str, bytes]]:
    """(place, bytes) of what leaves the director because of the packet; a reply comes from whoever got the request."""
    side, content = event.side, event.content
    if side == REPLY:
        answer = responders.answer(event.flow, content)
        if answer is None:
            return []
        side, content = answer
    received = director.receive(content, at=at, via=_VIA.get(side, side.removeprefix("r:")))
    arrivals = [(_place(one.to, job), one.packet) for one in received.departures]
    if event.side in ASKING:
        responders.note(event.flow, arrivals)
    return arrivals


def _place(to: str, job: Job) -> str:
    if to == departures.DIRECTOR:
        return DIRECTOR
    return server(to) if to in job.servers else CLIENT


def _listing(director: Director, *, stats: bool) -> Listing:
    counters = _counters(director) if stats else None
    return listed(director.ipvsadm("-Ln --nosort"), counters, _sorted(director.connections()))


def _counters(director: Director) -> dict[tuple[str, str], Counters]:
    rows = director.services()
    counters = {(row.service, ""): row.counters for row in rows}
    return counters | {(row.service, dest.dest): dest.counters for row in rows for dest in row.dests}


def _sorted(rows: tuple[ConnRow, ...]) -> tuple[ConnRow, ...]:
    return tuple(sorted(rows, key=attrgetter("protocol", "client", "virtual", "destination", "state", "expires")))
