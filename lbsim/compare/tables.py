"""Differences of what two results count and list, matched by names.

What one of them does not tell is not compared. Tables of a real kernel are read while its time goes on: seconds that
pass and entries that end meanwhile are no differences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from lbsim.compare.comparison import Difference, Part, Section, Value
from lbsim.listing.table import METHODS, options_text
from lbsim.model.config import ServiceId
from lbsim.model.share import amounts_of
from lbsim.model.wording import and_more, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lbsim.model.result import ConnRow, Counters, Destination, DestRow, Moment, Result, ServiceRow

__all__ = [
    "connection_entries",
    "destinations",
    "listings",
    "moments",
    "not_compared",
    "reasons",
    "services",
    "shares",
]

Key: TypeAlias = tuple[str, ...]
SECOND = 1_000_000_000
_Row = TypeVar("_Row")


def services(a: Result, b: Result, limit: int) -> Section:
    """Scheduler, options and counters of the services at the end."""
    left, right = _services_of(a.final), _services_of(b.final)
    return _section("services", ("service", "field"), _differing(left, right, _service_values, "service"), limit)


def shares(a: Result, b: Result, limit: int) -> Section:
    """Connections per destination, and their part of the service's."""
    left, right = _parts(a), _parts(b)
    unknown = {service for service, _ in _untold(a, b)}
    rows = (Difference(key, left.get(key), right.get(key)) for key in {**left, **right} if key[0] not in unknown)
    changed = (row for row in rows if _share_changed(row.a, row.b))
    return _section("shares", ("service", "destination"), changed, limit)


def reasons(a: Result, b: Result, limit: int) -> Section:
    """Packets per reason."""
    left, right = a.reason_counts(), b.reason_counts()
    rows = (Difference((name,), left.get(name, 0), right.get(name, 0)) for name in {**left, **right})
    return _section("reasons", ("reason",), (row for row in rows if row.a != row.b), limit)


def destinations(a: Result, b: Result, limit: int) -> Section:
    """Everything the results say about each destination at the end."""
    left, right = _destinations_of(a), _destinations_of(b)
    differences = _not_ending(_differing(left, right, _destination_values, "destination"), a.final, b.final)
    return _section("destinations", ("service", "destination", "field"), differences, limit)


def moments(a: Result, b: Result, limit: int) -> Section:
    """Moments that only one result shows, and ends at different times."""
    left, right = ({moment.at for moment in side.moments} for side in (a, b))
    rows = [
        Difference((seconds(at),), "shown" if at in left else None, "shown" if at in right else None)
        for at in sorted(left ^ right)
    ]
    if a.final.at != b.final.at:
        rows.append(Difference(("end",), seconds(a.final.at), seconds(b.final.at)))
    return _section("moments", ("at",), rows, limit)


def listings(a: Result, b: Result, limit: int) -> Section:
    """Services and destinations as listed at the moments of both; at the end, their order and what is not told of the
    destinations otherwise.
    """
    untold = _untold(a, b)
    rows = (
        Difference((at, *row.what), row.a, row.b)
        for at, left, right in _common_moments(a, b)
        if left.services != right.services
        for row in (_listed_at_the_end(left, right, untold) if at == "end" else _listed(left, right))
    )
    return _section("tables", ("at", "service", "destination", "field"), rows, limit)


def connection_entries(a: Result, b: Result, limit: int) -> Section:
    """Rows of the connection table, at the moments of both and at the end."""
    rows = (
        Difference((at, *row.what), row.a, row.b)
        for at, left, right in _common_moments(a, b)
        if left.connections != right.connections
        for row in _entries(left.connections, right.connections, max(left.took, right.took))
    )
    return _section("connection entries", ("at", "protocol", "client", "virtual"), rows, limit)


def not_compared(a: Result, b: Result) -> list[str]:
    """What one of the results does not tell, as sentences."""
    told = []
    in_the_middle = [at for at, *sides in _common_moments(a, b) if not all(map(_counts_told, sides))]
    if in_the_middle:
        told.append(f"counters at {_short(in_the_middle)}")
    told += [f"counters of {dest} of {service}" for service, dest in sorted(_untold(a, b))]
    listed = [row for side in (a, b) for moment in (*side.moments, side.final) for row in moment.services]
    if any(row.options is None for row in listed):
        told.append("persistence and one-packet scheduling")
    if any(dest.upper is None or dest.lower is None for row in listed for dest in row.dests):
        told.append("thresholds")
    took = max((moment.took for side in (a, b) for moment in (*side.moments, side.final)), default=0)
    if took:
        told.append(f"what passed while tables were read, at most {seconds(took)}")
    return told


def _counts_told(moment: Moment) -> bool:
    return all(row.counters.told for row in moment.services)


def _untold(*results: Result) -> set[Key]:
    """The destinations whose counters one of the results does not tell."""
    return {(row.service, row.dest) for side in results for row in side.destinations if not row.counters.told}


def _section(name: str, columns: tuple[str, ...], differences: Iterable[Difference], limit: int) -> Section:
    rows = list(differences)
    return Section(name, columns, len(rows), tuple(rows[:limit]))


def _differing(
    a: Mapping[Key, _Row], b: Mapping[Key, _Row], values: Callable[[_Row], Mapping[str, Value]], noun: str
) -> Iterable[Difference]:
    """One difference per unequal value of common rows; one named ``noun`` per row that only one has."""
    for key in {**a, **b}:
        left, right = a.get(key), b.get(key)
        if left is None or right is None:
            yield Difference((*key, noun), None if left is None else "listed", None if right is None else "listed")
        elif left != right:
            others = values(right)
            for name, value in values(left).items():
                if name in others and value != others[name]:
                    yield Difference((*key, name), value, others[name])


def _counted(counters: Counters) -> dict[str, Value]:
    """The counters by name, none if they are not told."""
    if not counters.told:
        return {}
    return {field.name: getattr(counters, field.name) for field in fields(counters)}


def _services_of(moment: Moment) -> dict[Key, ServiceRow]:
    return {(row.service,): row for row in moment.services}


def _service_values(row: ServiceRow) -> dict[str, Value]:
    return {"scheduler": " ".join((row.scheduler, *row.flags)), **_options(row), **_counted(row.counters)}


def _options(row: ServiceRow) -> dict[str, Value]:
    """A service's options by name, none if they are not told."""
    if row.options is None:
        return {}
    persistence = replace(row.options, one_packet=False)
    return {
        "persistence": options_text(persistence, ServiceId.parse(row.service).address.version).strip() or None,
        "one-packet scheduling": _yes(row.options.one_packet),
    }


def _destinations_of(result: Result) -> dict[Key, tuple[Destination, DestRow | None]]:
    """The destinations that ever were, each with its row at the end."""
    listed = _dests_of(result.final.services)
    return {(row.service, row.dest): (row, listed.get((row.service, row.dest))) for row in result.destinations}


def _destination_values(rows: tuple[Destination, DestRow | None]) -> dict[str, Value]:
    row, listed = rows
    values = {"present": _yes(row.present), **(_way(listed) if listed else {})}
    return values | (_dest_values(row) if row.counters.told else {"weight": row.weight})


def _yes(true: bool) -> Value:
    return "yes" if true else "no"


def _listed_values(row: DestRow) -> dict[str, Value]:
    return {**_way(row), **_dest_values(row)}


def _way(row: DestRow) -> dict[str, Value]:
    """How a destination gets its packets, and of how many connections; thresholds only if they are told."""
    limits = {"upper threshold": row.upper, "lower threshold": row.lower}
    return {"method": METHODS[row.method], **{name: value for name, value in limits.items() if value is not None}}


def _dest_values(row: DestRow | Destination) -> dict[str, Value]:
    return {"weight": row.weight, "active": row.active, "inactive": row.inactive, **_counted(row.counters)}


def _parts(result: Result) -> dict[Key, Part]:
    parts: dict[Key, Part] = {}
    for service in dict.fromkeys(row.service for row in result.destinations):
        amounts = amounts_of(result, service)
        total = sum(amounts.values())
        parts |= {(service, dest): Part(amount, total) for dest, amount in amounts.items()}
    return parts


def _share_changed(a: Value, b: Value) -> bool:
    if not isinstance(a, Part) or not isinstance(b, Part):
        return True
    return a.connections != b.connections or a.connections * b.total != b.connections * a.total


def _common_moments(a: Result, b: Result) -> list[tuple[str, Moment, Moment]]:
    others = {moment.at: moment for moment in b.moments}
    common = [(seconds(m.at), m, others[m.at]) for m in a.moments if m.at in others]
    return [*common, ("end", a.final, b.final)]


def _listed(a: Moment, b: Moment) -> Iterable[Difference]:
    """Differences of two listings, values and order."""
    left, right = _services_of(a), _services_of(b)
    for difference in _differing(left, right, _service_values, "service"):
        service, field = difference.what
        yield Difference((service, "", field), difference.a, difference.b)
    common = left.keys() & right.keys()
    dests_a, dests_b = (_dests_of([rows[key] for key in rows if key in common]) for rows in (left, right))
    yield from _not_ending(_differing(dests_a, dests_b, _listed_values, "destination"), a, b)
    yield from _order(a, b)


def _listed_at_the_end(a: Moment, b: Moment, untold: set[Key]) -> Iterable[Difference]:
    """Differences in order, and in the destinations ``untold``; all others are compared with their totals."""
    left, right = ({key: row for key, row in _dests_of(m.services).items() if key in untold} for m in (a, b))
    yield from _not_ending(_differing(left, right, _dest_values, "destination"), a, b)
    yield from _order(a, b)


def _not_ending(differences: Iterable[Difference], a: Moment, b: Moment) -> Iterable[Difference]:
    """Those that do not come from entries which may have ended while one of the tables was read."""
    took = max(a.took, b.took)
    ending: Counter[Key] = Counter()
    for row in (*a.connections, *b.connections) if took else ():
        if row.expires <= took // SECOND:
            ending[f"{row.protocol.lower()} {row.virtual}", row.destination] += 1
    for difference in differences:
        *dest, name = difference.what
        if name not in ("active", "inactive") or _distance(difference) > ending[tuple(dest)]:
            yield difference


def _distance(difference: Difference) -> int:
    """Between two counts."""
    assert isinstance(difference.a, int)
    assert isinstance(difference.b, int)
    return abs(difference.a - difference.b)


def _dests_of(services: Iterable[ServiceRow]) -> dict[Key, DestRow]:
    return {(row.service, dest.dest): dest for row in services for dest in row.dests}


def _order(a: Moment, b: Moment) -> Iterable[Difference]:
    """Services that list the same destinations in another order."""
    others = {row.service: [dest.dest for dest in row.dests] for row in b.services}
    for row in a.services:
        mine, theirs = [dest.dest for dest in row.dests], others.get(row.service, [])
        if mine != theirs and set(mine) == set(theirs):
            yield Difference((row.service, "", "order"), _short(mine), _short(theirs))


def _short(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f", {and_more(len(names) - limit)}" if len(names) > limit else "")


def _entries(a: Sequence[ConnRow], b: Sequence[ConnRow], took: int) -> Iterable[Difference]:
    """Entries that are not the same; those of the same ends are paired in their order.

    took : ns during which one of the tables was read.
    """
    left, right = _by_ends(a), _by_ends(b)
    for key in {**left, **right}:
        mine, theirs = (side.get(key, ()) for side in (left, right))
        for i in range(max(len(mine), len(theirs))):
            one, other = (side[i] if i < len(side) else None for side in (mine, theirs))
            if one != other and not (took and _may_be_one(one, other, took // SECOND)):
                yield Difference(key, _entry_text(one), _entry_text(other))


def _may_be_one(a: ConnRow | None, b: ConnRow | None, passed: int) -> bool:
    """Whether two rows may be of one entry, or an entry be gone, if ``passed`` whole seconds and a part passed."""
    if a is None or b is None:
        return any(row is not None and row.expires <= passed for row in (a, b))
    return replace(a, expires=b.expires) == b and abs(a.expires - b.expires) <= passed + 1


def _by_ends(rows: Sequence[ConnRow]) -> dict[Key, list[ConnRow]]:
    table: defaultdict[Key, list[ConnRow]] = defaultdict(list)
    for row in rows:
        table[row.protocol, row.client, row.virtual].append(row)
    return table


def _entry_text(row: ConnRow | None) -> str | None:
    return None if row is None else f"{row.destination} {row.state} {row.expires}s"
