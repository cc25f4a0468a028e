"""A scheduler's decision as sentences, and its destinations as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lbsim.model.wording import counted

if TYPE_CHECKING:
    from lbsim.model.explanation import Candidate, Decision

__all__ = ["WORDS", "candidate_lines", "sentences"]

BUCKETS, SLOTS = 256, 4093
FRACTIONS = ("wlc", "sed", "nq", "lblc", "lblcr", "twos")  # compare loads per weight
DELAYS = ("sed", "nq")  # whose load is the number of active connections and one
WRAPS = 1 << 31  # what an int of 32 bits does not hold any more
SHOWN_SLOTS = 8
NOBODY = "Nobody gets the connection."
USABLE = "has a weight and is not overloaded"


def sentences(decision: Decision) -> list[str]:
    """How the scheduler came to its answer."""
    if not decision.candidates:
        return ["The service has no destinations.", NOBODY]
    return WORDS.get(decision.scheduler, _own)(decision)


def _usable(decision: Decision) -> list[Candidate]:
    return [one for one in decision.candidates if not one.skipped]


def _picked(decision: Decision) -> Candidate | None:
    return next((one for one in decision.candidates if one.picked), None)


def _place(decision: Decision, name: object) -> int:
    """Where a destination stands in the list, -1 before its head."""
    return next((i for i, one in enumerate(decision.candidates) if one.dest == name), -1)


def _nobody(decision: Decision, needs: str = USABLE) -> list[str]:
    return [f"No destination {needs}.", NOBODY]


def _at(cursor: object) -> str:
    return f"at {cursor}" if cursor else "before the head of the list"


def _after(decision: Decision, name: str) -> object:
    return next(one.after for one in decision.state if one.name == name)


# Round the list


def _rr(decision: Decision) -> list[str]:
    rule = f"rr goes round the list and takes the next destination behind its cursor that {USABLE}."
    if decision.picked is None:
        return [rule, *_nobody(decision)]
    before = decision.value("cursor")
    if before == decision.picked:
        return [rule, f"The cursor stood at {before}, and no other destination {USABLE}: {before} is taken again."]
    wrapped = _place(decision, decision.picked) < _place(decision, before)
    where = "Behind it the list ends, so the search goes on at its head: the first" if wrapped else "The first"
    return [
        rule,
        f"The cursor stood {_at(before)}.",
        f"{where} such destination is {decision.picked}, where the cursor stands now.",
    ]


def _wrr(decision: Decision) -> list[str]:
    top, step = decision.value("top_lap"), decision.value("lap_step")
    before, lap, now = decision.value("cursor"), decision.value("lap"), _after(decision, "lap")
    rule = [
        "wrr goes round the list in laps: each asks for a weight, and takes the destinations that have at least this "
        "much and are not overloaded.",
    ]
    if not top:
        return [*rule, "All weights are 0, so there is no lap.", NOBODY]
    rule += [
        f"Laps begin with weight {top}, and each next one asks for {step} less."
        if top != 1
        else "There is one lap, for weight 1.",
        f"The cursor stood {_at(before)}, in the lap for weight {lap}.",
    ]
    if decision.picked is None:
        left = f"The search ends {_at(_after(decision, 'cursor'))}, in the lap for weight {now}."
        return [*rule, "No destination is taken by any lap.", left, NOBODY]
    if lap == now and _place(decision, decision.picked) > _place(decision, before):
        return [*rule, f"The next one of this lap is {decision.picked}, where the cursor stands now."]
    return [
        *rule,
        f"Behind it this lap has no more; the lap for weight {now} begins at the head of the list, and its first one "
        f"is {decision.picked}, where the cursor stands now.",
    ]


# Loads


def _fraction(one: Candidate) -> str:
    """Load per weight: ``257/2 = 128.5``, ``4/3 ~ 1.333``.

    Whole numbers alone say whether three decimals are exact: what a computer has of a fraction is not.
    """
    assert one.load is not None
    if one.weight == 0:
        return "-"
    if one.weight == 1:
        return f"{one.load}/1"
    thousandths, rest = divmod(1000 * abs(one.load), one.weight)
    if rest == 0:
        sign, value = "=", _decimal(thousandths).rstrip("0").rstrip(".")
    else:
        thousandths = _thousandths(one)
        sign, value = ("~", _decimal(thousandths)) if thousandths else ("<", "0.001")
    return f"{one.load}/{one.weight} {sign} {'-' if one.load < 0 else ''}{value}"


def _thousandths(one: Candidate) -> int:
    """Load per weight in thousandths, rounded, without its sign."""
    assert one.load is not None
    return (2000 * abs(one.load) + one.weight) // (2 * one.weight)


def _decimal(thousandths: int) -> str:
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def _least(decision: Decision, best: Candidate, value: Callable[[Candidate], str], others: Sequence[Candidate]) -> str:
    """The sentence that names the least loaded, and who has as little but stands behind it."""
    assert best.load is not None
    weighted = decision.scheduler in FRACTIONS
    rest = [one for one in others if one is not best and one.load is not None]
    equals = [one for one in rest if (_same(one, best) if weighted else one.load == best.load)]
    close = [one for one in rest if one not in equals and weighted and _alike(one, best)]
    told = f"{best.dest} has the smallest, {value(best)}{_tie(equals)}."
    if close:
        has = "has" if len(close) == 1 else "have"
        told += f" {_and([one.dest for one in close])} {has} a little more, which three decimals do not show."
    return told


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two have the same load per weight."""
    assert one.load is not None
    assert other.load is not None
    return one.load * other.weight == other.load * one.weight


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether two loads per weight read alike, though they may differ."""
    assert one.load is not None
    assert other.load is not None
    same_side = (one.load > 0) == (other.load > 0) and (one.load < 0) == (other.load < 0)
    return same_side and _thousandths(one) == _thousandths(other)


def _tie(equals: Sequence[Candidate]) -> str:
    """Who has as much as the one that was picked, and why it was not one of them."""
    if not equals:
        return ""
    has = "has" if len(equals) == 1 else "have"
    names = _and([one.dest for one in equals])
    return f", as {names} {has}; of equals the first of the list wins, which was added last"


def _overflown(decision: Decision) -> list[str]:
    """That a load is more than its number holds: the kernel has 32 bits for it."""
    found = [one for one in decision.candidates if one.load is not None and one.load != _whole_load(decision, one)]
    if not found:
        return []
    least = "2^32 or more" if decision.scheduler == "lc" else "2^31 or more"
    listed = ", ".join(f"{_whole_load(decision, one):,} of {one.dest} is {one.load:,}" for one in found)
    return [f"A load of {least} does not fit into the kernel's number and wraps: {listed}."]


def _whole_load(decision: Decision, one: Candidate) -> int:
    """The load as its formula has it."""
    older = decision.value("load") == "256 x active + inactive"
    return 256 * one.active + one.total - (one.active if older else 0)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _lc(decision: Decision) -> list[str]:
    rule = (
        f"lc takes the smallest load, {decision.value('load')}, of the destinations that have a weight and are not "
        "overloaded."
    )
    best = _picked(decision)
    if best is None:
        return [rule, *_nobody(decision)]
    return [rule, *_overflown(decision), _least(decision, best, lambda one: str(one.load), _usable(decision))]


def _by_weight(decision: Decision, rule: str) -> list[str]:
    best = _picked(decision)
    if best is None:
        return [rule, *_nobody(decision)]
    overflown = _overflown(decision) if decision.scheduler not in DELAYS else []
    return [rule, *overflown, _least(decision, best, _fraction, _usable(decision))]


def _wlc(decision: Decision) -> list[str]:
    return _by_weight(decision, f"wlc takes the smallest load per weight; the load is {decision.value('load')}.")


def _sed(decision: Decision) -> list[str]:
    return _by_weight(
        decision,
        "sed takes the shortest expected delay: active connections, the new one counted with them, per weight.",
    )


def _nq(decision: Decision) -> list[str]:
    best = _picked(decision)
    rule = f"nq takes the first destination without active connections that {USABLE}."
    if best is not None and best.active == 0:
        return [rule, f"{best.dest} has none, so it gets the connection at once."]
    if best is None:
        return [rule, *_nobody(decision)]
    return [
        rule,
        *_by_weight(
            decision, "Each has some, so it is as with sed: active connections, the new one counted, per weight."
        ),
    ]


def _twos(decision: Decision) -> list[str]:
    rule = "twos draws two destinations by lot, by weight, and takes the one with the smaller load per weight."
    drawn, lots = decision.value("drawn"), decision.value("lots")
    best = _picked(decision)
    if best is None or not isinstance(drawn, tuple) or not isinstance(lots, tuple):
        return [rule, *_nobody(decision)]
    first, second = (next(one for one in decision.candidates if one.dest == name) for name in drawn)
    return [
        rule,
        f"The weights add up to {decision.value('total_weight')}; the numbers {lots[0]} and {lots[1]}, drawn from the "
        f"run's seed, fall on {drawn[0]} and {drawn[1]}, as the weights are added up in list order.",
        *_overflown(decision),
        *_two_loads(decision, first, second, best),
    ]


def _two_loads(decision: Decision, first: Candidate, second: Candidate, best: Candidate) -> list[str]:
    """How twos compares its two: by products of 32 bits, which say something else once they are too large."""
    assert first.load is not None
    assert second.load is not None
    if first.dest == second.dest:
        return [f"Both are the same one: {best.dest} gets the connection."]
    loads = f"Their loads ({decision.value('load')}) per weight are {_fraction(first)} and {_fraction(second)}"
    products = first.load * second.weight, second.load * first.weight
    wrapped = [(product + WRAPS) % (2 * WRAPS) - WRAPS for product in products]
    if wrapped != list(products):
        larger = "larger" if wrapped[0] > wrapped[1] else "not larger"
        which = "second" if wrapped[0] > wrapped[1] else "first"
        return [
            f"{loads}.",
            "The kernel does not divide, it multiplies each load by the other's weight, in 32 bits: what is 2^31 or "
            f"more wraps. So {_product(first, second, wrapped[0])} is compared with "
            f"{_product(second, first, wrapped[1])}: the first is {larger}, and the {which} one drawn, {best.dest}, "
            "gets the connection.",
        ]
    why = "as the first of equals" if _same(first, second) else "it has less"
    hidden = ", though three decimals do not show it" if not _same(first, second) and _alike(first, second) else ""
    return [f"{loads}: {best.dest} gets the connection, {why}{hidden}."]


def _product(one: Candidate, other: Candidate, wrapped: int) -> str:
    """``32896 x 65535 = 2,155,839,360 (wraps to -2,139,127,936)``."""
    assert one.load is not None
    whole = one.load * other.weight
    became = f" (wraps to {wrapped:,})" if whole != wrapped else ""
    return f"{one.load} x {other.weight} = {whole:,}{became}"


# Weights


def _fo(decision: Decision) -> list[str]:
    rule = "fo takes the largest weight of the destinations that are not overloaded."
    best = _picked(decision)
    if best is None:
        return [rule, *_nobody(decision)]
    return [rule, _largest(decision, best)]


def _ovf(decision: Decision) -> list[str]:
    rule = (
        "ovf takes the largest weight of the destinations that are not overloaded and have no more active connections "
        "than their weight."
    )
    best = _picked(decision)
    if best is None:
        return [rule, *_nobody(decision, "is left")]
    return [rule, _largest(decision, best)]


def _largest(decision: Decision, best: Candidate) -> str:
    equals = [one for one in _usable(decision) if one is not best and one.weight == best.weight]
    return f"{best.dest} has weight {best.weight}{_tie(equals)}."


# Hashes


def _state_of(decision: Decision, name: object) -> str:
    """Why a table's owner is not taken, or that it is."""
    one = next((one for one in decision.candidates if one.dest == name), None)
    if one is None:
        return "is no longer there"
    return {"weight 0": "has weight 0", "overloaded": "is overloaded"}.get(one.skipped, "takes new connections")


def _sh(decision: Decision) -> list[str]:
    what = "address and port" if decision.value("port_hashed") else "address"
    place = f"bucket {decision.value('bucket')} of {BUCKETS}"
    return _hashed(decision, f"sh hashes the client's {what}: key {_hex(decision)} goes to {place}.", "bucket", "sh")


def _mh(decision: Decision) -> list[str]:
    what = "address and port" if decision.value("port_hashed") else "address"
    place = f"slot {decision.value('slot')} of {SLOTS}"
    return _hashed(decision, f"mh hashes the client's {what}: key {_hex(decision)} goes to {place}.", "slot", "mh")


def _dh(decision: Decision) -> list[str]:
    place = f"bucket {decision.value('bucket')} of {BUCKETS}"
    rule = f"dh hashes the packet's destination address: key {_hex(decision)} goes to {place}."
    return _hashed(decision, rule, "bucket", "dh")


def _hex(decision: Decision) -> str:
    return f"0x{decision.value('key'):08x}"


def _hashed(decision: Decision, rule: str, place: str, scheduler: str) -> list[str]:
    owner, tried, dests = decision.value("owner"), decision.value("tried"), decision.value("tried_dests")
    if owner is None:
        return [rule, f"This {place} belongs to nobody.", NOBODY]
    told = [rule, f"This {place} belongs to {owner}, which {_state_of(decision, owner)}."]
    if decision.picked == owner and not tried:
        return told
    if not tried or not isinstance(tried, tuple) or not isinstance(dests, tuple):
        without = f" Without {scheduler}-fallback nobody stands in for it." if scheduler != "dh" else ""
        return [*told[:-1], told[-1] + without, NOBODY]
    told.append(_tried_slots(decision, tried) if scheduler == "mh" else _tried_buckets(tried))
    if decision.picked is None:
        empty = [f"{place.capitalize()} {tried[-1]} belongs to nobody, which ends the search."] if not dests[-1] else []
        return [*told, *empty, NOBODY]
    return [*told, f"{place.capitalize()} {tried[-1]} belongs to {decision.picked}, which takes new connections."]


def _tried_buckets(tried: Sequence[object]) -> str:
    """sh looks at one bucket after the other."""
    are = "is" if len(tried) == 1 else "are"
    return f"With sh-fallback {counted(len(tried), 'other bucket')} {are} tried, from bucket {tried[0]} on."


def _tried_slots(decision: Decision, tried: Sequence[object]) -> str:
    """mh hashes for each try, so the slots lie anywhere."""
    first = decision.value("slot")
    shown = _and([str(slot) for slot in tried])
    if len(tried) > SHOWN_SLOTS:
        shown = f"{', '.join(map(str, tried[:SHOWN_SLOTS]))}, ... ({len(tried):,} in all)"
    if len(tried) == 1:
        return f"With mh-fallback the key is hashed again with {first} added, which goes to slot {shown}."
    return (
        f"With mh-fallback the key is hashed again for each try, with {first}, {_following(first)} and so on added, "
        f"which goes to slots {shown}."
    )


def _following(slot: object) -> int:
    assert isinstance(slot, int)
    return (slot + 1) % SLOTS


# Caches


def _load_check(decision: Decision, name: object) -> str:
    """How it came out whether a destination is overtaxed: ``it has 3 active connections, more than its weight 2, ...``.

    It takes two things: more active connections than weight, and another destination that is at less than half.
    """
    one = next(one for one in decision.candidates if one.dest == name)
    has = f"it has {counted(one.active, 'active connection')}"
    if one.active <= one.weight:
        return f"{has}, not more than its weight {one.weight}"
    more = f"{has}, more than its weight {one.weight}"
    idle = next((other for other in decision.candidates if 2 * other.active < other.weight), None)
    if idle is None:
        return f"{more}, but no destination of the service has fewer active connections than half its weight"
    return f"{more}, while {idle.dest} has {idle.active}, fewer than half its weight {idle.weight}"


def _lblc(decision: Decision) -> list[str]:
    address, known, picked = decision.value("address"), decision.value("cached"), decision.picked
    rule = f"lblc stays with the destination that an address was given to; here the address is {address}."
    if known is None:
        return [rule, "The cache has none for it.", *_new_one(decision)]
    had = f"The cache has {known} for it, which"
    if decision.value("overtaxed") is None:
        return [rule, f"{had} {_state_of(decision, known)}.", *_new_one(decision)]
    if decision.value("overtaxed"):
        return [rule, f"{had} is overtaxed: {_load_check(decision, known)}.", *_new_one(decision)]
    assert picked == known
    return [rule, f"{had} is not overtaxed: {_load_check(decision, known)}. So it gets the connection."]


def _new_one(decision: Decision) -> list[str]:
    told = _by_weight(
        decision, f"So it is as with wlc: the smallest load per weight; the load is {decision.value('load')}."
    )
    if decision.picked is None:
        return told
    return [
        *told,
        "The cache is full and does not remember it." if decision.value("full") else "The cache remembers it.",
    ]


def _lblcr(decision: Decision) -> list[str]:
    address, members, after = decision.value("address"), decision.value("members"), _after(decision, "members")
    rule = f"lblcr has a set of destinations for an address; here the address is {address}."
    assert isinstance(members, tuple)
    assert isinstance(after, tuple)
    gone = [str(name) for name in members if name not in after]
    shrunk = [f"The set did not change for long, so its most loaded member goes: {gone[0]}."] if gone else []
    if not members:
        return [rule, "The cache has no set for it.", *_new_one(decision)]
    told = [rule, f"Its set is {_and([str(name) for name in members])}.", *shrunk]
    member = decision.value("member")
    if member is None:
        return [*told, "None of them takes new connections.", *_new_one(decision)]
    if decision.value("overtaxed"):
        overtaxed = f"The least loaded of them per weight, {member}, is overtaxed: {_load_check(decision, member)}."
        return [*told, overtaxed, *_new_one(decision)]
    least = f"The least loaded of them per weight, {member}, is not overtaxed: {_load_check(decision, member)}."
    return [*told, *_overflown(decision), least, "So it gets the connection."]


# Others


def _none(decision: Decision) -> list[str]:
    return ["The service has no scheduler.", NOBODY]


def _own(decision: Decision) -> list[str]:
    told = [f"{decision.scheduler} does not come with lbsim: only its own file says how it decides."]
    told += [
        f"Its number {one.name} went from {one.before} to {one.after}."
        for one in decision.state
        if one.before != one.after
    ]
    return [*told, f"It picked {decision.picked}." if decision.picked else NOBODY]


#: Scheduler -> how its decision is told.
WORDS: dict[str, Callable[[Decision], list[str]]] = {
    "dh": _dh,
    "fo": _fo,
    "lblc": _lblc,
    "lblcr": _lblcr,
    "lc": _lc,
    "mh": _mh,
    "none": _none,
    "nq": _nq,
    "ovf": _ovf,
    "rr": _rr,
    "sed": _sed,
    "sh": _sh,
    "twos": _twos,
    "wlc": _wlc,
    "wrr": _wrr,
}


# The table


def candidate_lines(decision: Decision, most: int = 40) -> list[str]:
    """The destinations in list order, newest first, as lines of a table; the picked one is among them."""
    head = ["destination", "weight", "active", "inactive"]
    by_load = any(one.load is not None for one in decision.candidates)
    by_share = any(one.share is not None for one in decision.candidates)
    head += ["load per weight" if decision.scheduler in FRACTIONS else "load"] * by_load
    head += ["slots" if decision.scheduler == "mh" else "buckets"] * by_share
    shown = [one for i, one in enumerate(decision.candidates) if i < most or one.picked]
    rows = [_cells(decision, one) for one in shown]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [_line(head, widths, "")]
    lines += [_line(row, widths, _note(one, decision)) for row, one in zip(rows, shown, strict=True)]
    hidden = len(decision.candidates) - len(shown)
    return lines + [f"and {hidden:,} more"] * (hidden > 0)


def _cells(decision: Decision, one: Candidate) -> list[str]:
    cells = [one.dest, str(one.weight), str(one.active), str(one.inactive)]
    if one.load is not None:
        cells.append(_fraction(one) if decision.scheduler in FRACTIONS else str(one.load))
    return cells + ([str(one.share)] if one.share is not None else [])


def _line(cells: Sequence[str], widths: Sequence[int], note: str) -> str:
    first, *numbers = (
        cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *numbers, note]).rstrip()


def _note(one: Candidate, decision: Decision) -> str:
    skipped = {
        "": "",
        "weight 0": "weight 0: no new connections",
        "overloaded": f"overloaded: {counted(one.total, 'connection')}, new ones again below {one.relief}",
        "overflowed": "more active connections than its weight",
        "lap": f"weight less than the lap's {_after(decision, 'lap') if decision.scheduler == 'wrr' else ''}",
    }[one.skipped]
    return "; ".join(part for part in ("<- picked" if one.picked else "", skipped) if part)
