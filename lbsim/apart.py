"""Services of one trace side by side: the same result as in one run, from a process for each group of services.

**What makes services independent.** A connection entry belongs to one service, and so do a destination's counters, a
scheduler's state and whatever a packet changes. Services share the clock, the timer wheel and the indices, but none of
these carries anything from one to the other: a timer fires at the tick that its own entry was armed for. What does tie
services together keeps them in one group, or the trace in one run:

* an answer of a real server is looked up by the server's end, not by the service: services with a common real server
  (protocol, address and port) are one group;
* removed destinations of all services wait in one trash with one timer, whose phase depends on all of them: a timeline
  that removes anything is not split;
* drop_packet counts the packets of all services: a trace for a director that ever has it on is not split;
* random numbers (of the scheduler twos, and perhaps of one's own) are drawn by all services from one sequence: a trace
  with such a scheduler is not split;
* an ICMP error is about a packet of any service: a trace with such is not split;
* an answer that the trace leaves to the simulated responder comes from whoever got its flow's last packet: flows must
  lie within a group.

**Where it pays.** In the interpreted lane, from about a million packets on: starting the processes takes half a second,
moving packets and answers a tenth of the time that the engine takes. The compiled lane is as fast as packets are moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from lbsim.engine.numbers import IN, OUT, OWN, REPLY, SCTP, TCP, UDP
from lbsim.engine.schedulers import BUILT_IN
from lbsim.host import sysctl_values
from lbsim.jobs import ProcessError, side_by_side
from lbsim.model.config import (
    AddDest,
    Address,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DirectorConfig,
    EditDest,
    EditService,
    ServiceId,
    SetSysctl,
    TimedCommand,
)
from lbsim.model.conn_table import ConnTable
from lbsim.model.datagrams import Datagrams
from lbsim.model.numbering import Numbering
from lbsim.model.result import RESULT_COLUMNS, Moment, Result, Series
from lbsim.model.trace import AddressTable, IntColumn, Trace
from lbsim.simulate import MANY_ENTRIES, simulate

__all__ = ["groups_of_packets", "groups_of_services", "simulate_apart"]

_PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP, "fwm": 0}
_End: TypeAlias = "tuple[str, Address, int]"  # protocol, address, port


def simulate_apart(
    config: DirectorConfig,
    trace: Trace,
    *,
    jobs: int,
    timeline: Sequence[TimedCommand] = (),
    moments: Sequence[int] = (),
    until: int | None = None,
    **options: Any,
) -> Result | None:
    """What :func:`lbsim.simulate.simulate` answers, with the columns kept, from up to ``jobs`` processes.

    None if the services cannot be told apart, or if there is nothing to be gained by it.

    Raises
    ------
    LbsimError : as ``simulate`` does; a process was killed.
    """
    if _drops_packets(config, timeline, options.get("sysctls")):
        return None
    if len(trace.quotes) or options.get("mtu"):  # whether a captured packet may be cut, its bytes say
        return None
    services = groups_of_services(config, timeline)
    groups = groups_of_packets(trace, config, timeline, services)
    if groups is None or jobs < 2 or _draws_lots(config, timeline):
        return None
    number = _packed(np.bincount(groups, minlength=max(services.values()) + 1), jobs)
    parts = number[groups]
    rows = [np.nonzero(parts == part)[0] for part in range(int(number.max()) + 1)]
    if len(rows) < 2:
        return None
    end = max([trace.duration, *(timed.at for timed in timeline), *moments]) if until is None else until
    work = [
        _Part(config, _rows_of(trace, own), options | {"timeline": timeline, "moments": moments, "until": end})
        for own in rows
    ]
    with closing(side_by_side(_simulated, work, jobs, preload=("lbsim.simulate",))) as answers:
        results = [_checked(answer) for answer in answers]
    return _Joined(results, {str(service): int(number[group]) for service, group in services.items()}).result(
        trace, rows
    )


def _drops_packets(config: DirectorConfig, timeline: Sequence[TimedCommand], given: Mapping[str, int] | None) -> bool:
    """Whether drop_packet is ever on: it counts the packets of all services together."""
    later = (c.name == "drop_packet" for c in _commands(config, timeline) if isinstance(c, SetSysctl))
    return bool(sysctl_values(given)["drop_packet"]) or any(later)


def _draws_lots(config: DirectorConfig, timeline: Sequence[TimedCommand]) -> bool:
    """Whether services may have the random numbers of a run in common: with twos, or a scheduler of one's own."""
    used = {c.scheduler for c in _commands(config, timeline) if isinstance(c, AddService | EditService)}
    return not used <= {"none", *BUILT_IN} - {"twos"}


@dataclass(frozen=True, slots=True)
class _Part:
    """What a process works on."""

    config: DirectorConfig
    trace: Trace
    options: dict[str, Any]


def _simulated(part: _Part) -> Result:
    return simulate(part.config, part.trace, columns=True, many_entries=-1, **part.options)


def _checked(answer: Result | ProcessError) -> Result:
    if isinstance(answer, ProcessError):
        raise answer
    return answer


# Who belongs together


def groups_of_services(config: DirectorConfig, timeline: Sequence[TimedCommand]) -> dict[ServiceId, int]:
    """Service -> number of its group, of all services ever added.

    One group if the timeline removes anything, and if packets do not say by protocol, address and port which service
    they are of: those by firewall mark, of port 0 and of FTP.
    """
    commands = _commands(config, timeline)
    root = {command.service: command.service for command in commands if isinstance(command, AddService)}
    wide = any(service.protocol == "fwm" or service.port in (0, 21) for service in root)
    if wide or any(isinstance(timed.command, DeleteDest | DeleteService | Clear) for timed in timeline):
        return dict.fromkeys(root, 0)

    def rooted(service: ServiceId) -> ServiceId:
        while root[service] != service:
            service = root[service]
        return service

    first_of: dict[_End, ServiceId] = {}  # real server -> the first service that has it
    for service, server in _servers(commands):
        if service in root:
            root[rooted(service)] = rooted(first_of.setdefault(server, service))
    numbers: dict[ServiceId, int] = {}
    return {service: numbers.setdefault(rooted(service), len(numbers)) for service in root}


def _commands(config: DirectorConfig, timeline: Sequence[TimedCommand]) -> list[AdminCommand]:
    return [*config.commands, *(timed.command for timed in timeline)]


def _servers(commands: Iterable[AdminCommand]) -> Iterable[tuple[ServiceId, _End]]:
    """Services, and the ends (protocol, address, port) from which their real servers answer."""
    for command in commands:
        if isinstance(command, AddDest | EditDest):
            service, dest = command.service, command.dest
            yield service, (service.protocol, dest.address, dest.port or service.port)


def groups_of_packets(
    trace: Trace, config: DirectorConfig, timeline: Sequence[TimedCommand], services: Mapping[ServiceId, int]
) -> IntColumn | None:
    """The group of each packet's service : int64[n]; 0 where it does not matter. None if a flow has packets of two."""
    if not services:
        return None
    commands = _commands(config, timeline)
    of_service: dict[_End, int] = {(s.protocol, s.address, s.port): group for s, group in services.items()}
    of_server = {end: services[service] for service, end in _servers(commands) if service in services}
    direction = trace["direction"]
    if (direction == OWN).any():  # from then on it matters to all packets that are to the director
        return None
    ends = _Ends(trace.addresses, [address for _, address, _ in chain(of_service, of_server)])
    inward = ends.looked_up(trace, "dst", "dport", of_service)
    flow = np.full(len(trace.flows), -1, dtype="i8")
    asked = (direction == IN) & (inward >= 0)
    flow[trace["flow"][asked]] = inward[asked]
    if (flow[trace["flow"][asked]] != inward[asked]).any():
        return None
    answered = flow[trace["flow"]] if len(flow) else inward
    sent = ends.looked_up(trace, "src", "sport", of_server)
    groups: IntColumn = np.select([direction == IN, direction == REPLY, direction == OUT], [inward, answered, sent])
    return np.maximum(groups, 0)


class _Ends:
    """Protocols, addresses and ports as one number each."""

    def __init__(self, addresses: AddressTable, wanted: Sequence[Address]) -> None:
        numbering = Numbering(AddressTable())
        table = AddressTable(wanted)
        self._number = dict(zip(wanted, numbering.of(family=table.family, words=table.words).tolist(), strict=True))
        self._numbers = numbering.of(family=addresses.family, words=addresses.words).astype("i8")

    def looked_up(self, trace: Trace, address: str, port: str, known: Mapping[_End, int]) -> IntColumn:
        """For each packet what is known of one of its ends, or -1."""
        table = sorted((self._key(end), value) for end, value in known.items())
        keys, values = np.array([*table, (2**62, -1)], dtype="i8").T
        own = trace["proto"].astype("i8") << 48 | self._numbers[trace[address]] << 16 | trace[port]
        at = np.searchsorted(keys, own)
        return np.where(keys[at] == own, values[at], -1)

    def _key(self, end: _End) -> int:
        protocol, address, port = end
        number: int = self._number[address]
        return _PROTOCOLS[protocol] << 48 | number << 16 | port


def _packed(packets: IntColumn, jobs: int) -> IntColumn:
    """Group -> number of its part: as many parts as there are jobs, about equally many packets in each."""
    load = [0] * min(jobs, len(packets))
    part = np.zeros(len(packets), dtype="i8")
    for group in np.argsort(-packets, kind="stable").tolist():
        least = load.index(min(load))
        part[group] = least
        load[least] += int(packets[group])
    return part


def _rows_of(trace: Trace, rows: IntColumn) -> Trace:
    """Some packets of a trace, without their bytes and without what is said about all of it."""
    columns = {name: column[rows] for name, column in trace.columns.items()}
    return replace(trace, columns=columns, raw=b"", left_out={}, damage=None, datagrams=Datagrams())


# Together again


class _Joined:
    """One result of several of the same config; each service is told about by the one to which it belongs."""

    def __init__(self, results: Sequence[Result], part_of: Mapping[str, int]) -> None:
        self.results = results
        self.part_of = part_of

    def result(self, trace: Trace, rows: Sequence[IntColumn]) -> Result:
        """``rows`` are the numbers of the packets of each result."""
        first = self.results[0]
        owner = [self.part_of[row.service] for row in first.destinations]
        series = [result.series for result in self.results]
        return replace(
            first,
            destinations=tuple(self.results[part].destinations[at] for at, part in enumerate(owner)),
            columns=self._columns(rows),
            moments=tuple(
                self._moment([result.moments[at] for result in self.results]) for at in range(len(first.moments))
            ),
            final=self._moment([result.final for result in self.results]),
            series=Series(
                first.series.times,
                tuple(series[part].active[at] for at, part in enumerate(owner) if series[part].active),
                tuple(series[part].inactive[at] for at, part in enumerate(owner) if series[part].inactive),
            ),
            left_out=dict(trace.left_out),
            damage=trace.damage,
        )

    def _columns(self, rows: Sequence[IntColumn]) -> dict[str, IntColumn]:
        columns = {name: np.empty(sum(map(len, self.results)), dtype=kind) for name, kind in RESULT_COLUMNS.items()}
        for result, own in zip(self.results, rows, strict=True):
            for name, column in columns.items():
                column[own[: len(result)]] = result[name]
        return columns

    def _moment(self, moments: Sequence[Moment]) -> Moment:
        services = tuple(moments[self.part_of[row.service]].services[at] for at, row in enumerate(moments[0].services))
        entries = ConnTable.joined(
            [moment.connections for moment in moments if isinstance(moment.connections, ConnTable)]
        )
        kept = entries if len(entries) > MANY_ENTRIES else tuple(entries)
        return replace(moments[0], services=services, connections=kept)
