"""Expectations against a result: one outcome each, with the first difference and its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lbsim.model.config import DestId, ServiceId
from lbsim.model.outcome import Outcome
from lbsim.model.result import FIRST_CONNECTIONS
from lbsim.model.scenario import (
    Expectation,
    ReasonsExpectation,
    SequenceExpectation,
    ShareExpectation,
    TableExpectation,
    Totals,
    TotalsExpectation,
)
from lbsim.model.share import amounts_of, share_misses
from lbsim.model.wording import and_more, counted, seconds
from lbsim.scenario.table_rows import TableRow, pair_rows, row_text

if TYPE_CHECKING:
    from lbsim.model.result import Destination, Moment, Result
    from lbsim.scenario.load import Loaded

__all__ = ["check", "first_connections_needed", "moments_needed"]

_SHOWN = 3  # how many differences a detail spells out
_AROUND = 3  # how many connections a detail shows from the first different one on


def moments_needed(loaded: Loaded) -> tuple[int, ...]:
    """The moments (ns) at which tables must be kept, in order: those to show and those that are expected."""
    asked = {expected.table for expected in loaded.scenario.expect if isinstance(expected, TableExpectation)}
    return tuple(sorted(asked | set(loaded.scenario.show)))


def first_connections_needed(loaded: Loaded) -> int:
    """How many first connections of each service must be known so that every expectation can be checked."""
    sequences = [
        len(expected.sequence) for expected in loaded.scenario.expect if isinstance(expected, SequenceExpectation)
    ]
    return max([FIRST_CONNECTIONS, *(length + _AROUND for length in sequences)])


def check(loaded: Loaded, result: Result) -> list[Outcome]:
    """One outcome per expectation, in the order of the file.

    ``result`` must hold the tables of :func:`moments_needed`.
    """
    return [
        _check(expected, loaded, result, loaded.place_of(("expect", at)))
        for at, expected in enumerate(loaded.scenario.expect)
    ]


def _check(expected: Expectation, loaded: Loaded, result: Result, place: str) -> Outcome:
    match expected:
        case TableExpectation():
            title, misses, met = _table(expected, result)
        case ReasonsExpectation():
            title, misses, met = _reasons(expected, result)
        case _:
            service = str(expected.service or _only_service(loaded))
            match expected:
                case SequenceExpectation():
                    title, misses, met = _sequence(expected, service, result)
                case ShareExpectation():
                    title, misses, met = _share(expected, service, result)
                case TotalsExpectation():
                    title, misses, met = _totals(expected, service, result)
    return Outcome(not misses, title, _few(misses) if misses else met, place)


def _only_service(loaded: Loaded) -> ServiceId:
    (service,) = loaded.services
    return service


def _few(misses: Sequence[str]) -> str:
    rest = [and_more(len(misses) - _SHOWN)] if len(misses) > _SHOWN else []
    return "; ".join([*misses[:_SHOWN], *rest])


def _sequence(expected: SequenceExpectation, service: str, result: Result) -> tuple[str, list[str], str]:
    wanted = [str(dest) for dest in expected.sequence]
    found = [result.destinations[at].dest for at in result.first_connections(service, len(wanted) + _AROUND)]
    total = result.made_connections(service)
    count = counted(len(wanted), "connection")
    title = f"{service}: the {'' if expected.complete else 'first '}{count}, in order"
    compared = max(len(wanted), total) if expected.complete else len(wanted)
    differ = (at for at in range(compared) if wanted[at : at + 1] != found[at : at + 1])
    at = next(differ, None)
    misses = [] if at is None else [_first_difference(at, wanted, found, total)]
    return title, misses, f"{count} as expected"


def _first_difference(at: int, wanted: Sequence[str], found: Sequence[str], total: int) -> str:
    """``connection 7: expected A, got B; 5 to 9: expected C D A B C, got C D B A C``."""
    want, got = (side[at] if at < len(side) else "none" for side in (wanted, found))
    difference = f"connection {at + 1}: expected {want}, got {got}"
    if "none" in (want, got):
        return f"{difference}; expected {counted(len(wanted), 'connection')}, got {total:,}"
    first, last = max(0, at - 2), min(max(len(wanted), total), at + _AROUND)
    around = f"expected {' '.join(wanted[first:last])}, got {' '.join(found[first:last])}"
    return f"{difference}; {first + 1} to {last}: {around}"


def _share(expected: ShareExpectation, service: str, result: Result) -> tuple[str, list[str], str]:
    parts = ", ".join(f"{dest} {part:g}" for dest, part in expected.share.items())
    within = f" (within {expected.tolerance:g})" if expected.tolerance else ""
    title = f"{service}: share of {expected.of}: {parts}{within}"
    total = sum(amounts_of(result, service, expected.of).values())
    if not total:
        return title, [f"there are no {expected.of} to share"], ""
    misses = share_misses(result, service, expected.share, tolerance=expected.tolerance, of=expected.of)
    amounts = amounts_of(result, service, expected.of)
    names = [str(DestId.parse(name)) for name in expected.share]
    met = ", ".join(f"{name} {amounts.get(name, 0) / total:.4f}" for name in names)
    return title, misses, f"{met} of {counted(total, expected.of[:-1])}"


def _totals(expected: TotalsExpectation, service: str, result: Result) -> tuple[str, list[str], str]:
    rows = {row.dest: row for row in result.destinations if row.service == service}
    misses = []
    checked = 0
    for name, wanted in expected.totals.items():
        dest = str(DestId.parse(name))
        numbers = wanted.model_dump(exclude_none=True)
        checked += len(numbers)
        if dest not in rows:
            misses.append(f"{dest}: it was never there")
            continue
        found = _numbers(rows[dest])
        misses += [
            f"{dest}: {key} {found[key]:,}, expected {number:,}"
            for key, number in numbers.items()
            if found[key] != number
        ]
    title = f"{service}: totals of {counted(len(expected.totals), 'destination')}"
    return title, misses, f"{counted(checked, 'number')} as expected"


def _numbers(row: Destination) -> dict[str, int]:
    return {
        name: getattr(row if name in ("active", "inactive") else row.counters, name) for name in Totals.model_fields
    }


def _table(expected: TableExpectation, result: Result) -> tuple[str, list[str], str]:
    title = f"connection table at {seconds(expected.table)}: {_asked(expected)}"
    table = _moment(expected.table, result).connections
    misses = []
    if expected.count is not None and expected.count != len(table):
        misses.append(f"{counted(len(table), 'row')}, expected {expected.count:,}")
    missing, unexpected = pair_rows([TableRow.parse(text) for text in expected.rows], table)
    misses += [f"no row {row}" for row in missing]
    if _is_complete(expected):
        misses += [f"unexpected row {row_text(row)}" for row in unexpected]
    return title, misses, f"{counted(len(table), 'row')} as expected"


def _is_complete(expected: TableExpectation) -> bool:
    return expected.count is None if expected.complete is None else expected.complete


def _asked(expected: TableExpectation) -> str:
    rows = counted(len(expected.rows), "row")
    if expected.count is not None and not expected.rows:
        return counted(expected.count, "row")
    return rows if _is_complete(expected) else f"{rows} among others"


def _moment(at: int, result: Result) -> Moment:
    """The tables kept at that time."""
    return next(moment for moment in result.moments if moment.at == at)


def _reasons(expected: ReasonsExpectation, result: Result) -> tuple[str, list[str], str]:
    found = result.reason_counts()
    names = ", ".join(f"{name} {number:,}" for name, number in expected.reasons.items())
    misses = [
        f"{name}: {counted(found.get(name, 0), 'packet')}, expected {number:,}"
        for name, number in expected.reasons.items()
        if found.get(name, 0) != number
    ]
    return f"packets by reason: {names}", misses, f"{counted(len(expected.reasons), 'number')} as expected"
