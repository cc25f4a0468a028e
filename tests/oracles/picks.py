"""Schedulers over a plain list of destinations, newest first.

A destination is a dict with ``weight``, ``last_weight``, ``active``, ``total``, ``overload``, ``there`` (in the list)
and ``end`` (address, port); a pick is one of the list, or None. Each scheduler is made of the list, which others change
in place and then say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from ipaddress import ip_address
from math import gcd
from typing import Any, TypeAlias

__all__ = ["PICKERS", "Ask", "Picker", "fold", "hash32", "lots", "siphash"]

Dest: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """What a scheduler sees of a client's packet, and when."""

    client: str
    port: int = 0
    target: str = "0.0.0.0"
    now: int = 0  # ticks


class Picker:
    """A scheduler that remembers nothing."""

    period = 0  # seconds between two calls of tick(); 0: it has no timer

    def __init__(self, dests: list[Dest], flags: frozenset[str] | set[str] = frozenset(), **settings: Any) -> None:
        self.dests, self.flags, self.settings = dests, flags, settings
        self.start()

    def start(self) -> None:
        """The service gets this scheduler; its destinations may be there already."""

    def added(self, dest: Dest) -> None:
        """It is at the head of the list now."""

    def deleted(self, dest: Dest, at: int) -> None:
        """It was at that place of the list."""

    def edited(self, dest: Dest) -> None:
        """Its weight may be another one."""

    def tick(self, now: int) -> None:
        """The timer fires."""

    def refers_to(self, dest: Dest) -> bool:
        """Whether the scheduler keeps a destination from being forgotten."""
        return False

    def pick(self, ask: Ask) -> Dest | None:
        """Who gets the connection."""
        return None

    def usable(self) -> list[Dest]:
        return [dest for dest in self.dests if takes(dest)]


def takes(dest: Dest | None) -> bool:
    """Whether a destination takes new connections."""
    return dest is not None and dest["weight"] > 0 and not dest["overload"]


def index_of(dest: Dest, dests: list[Dest]) -> int:
    return next(i for i, other in enumerate(dests) if other is dest)


def is_in(dest: Dest, dests: list[Dest]) -> bool:
    return any(other is dest for other in dests)


class RoundRobin(Picker):
    """Goes round the list; ``last`` is who was picked last, None before the first pick."""

    def start(self) -> None:
        self.last: Dest | None = None

    def deleted(self, dest: Dest, at: int) -> None:
        """If ``last`` goes, its neighbour on the newer side takes its place; the newest has none."""
        if self.last is dest:
            self.last = self.dests[at - 1] if at > 0 else None

    def pick(self, ask: Ask) -> Dest | None:
        """The first usable one behind ``last``, round the list, ``last`` itself at the very end."""
        start = 0 if self.last is None else index_of(self.last, self.dests) + 1
        for dest in self.dests[start:] + self.dests[:start]:
            if takes(dest):
                self.last = dest
                return dest
        return None


class WeightedRoundRobin(Picker):
    """Laps over the list; each takes whoever has at least the lap's weight."""

    def start(self) -> None:
        self._plan()
        self.lap = self.top

    def _plan(self) -> None:
        weights = [dest["weight"] for dest in self.dests if dest["weight"] > 0]
        self.last: Dest | None = None
        self.step = gcd(*weights) if weights else 1
        self.top = max(weights, default=0) - (self.step - 1)

    def _changed(self, *_: Any) -> None:
        self._plan()
        if self.lap > self.top or self.lap == 0:
            self.lap = self.top
        elif self.step > 1:
            self.lap = self.lap - self.lap % self.step + 1

    added = deleted = edited = _changed

    def pick(self, ask: Ask) -> Dest | None:
        if self.top == 0:
            return None
        began = self.last
        rest = self.dests if began is None else self.dests[index_of(began, self.dests) + 1 :]
        smallest, round_again, ends_here = False, False, None
        while True:
            for dest in rest:
                fits = dest["weight"] >= self.lap and not dest["overload"]
                if fits or dest is ends_here:
                    self.last = dest
                    return dest if fits else None
            rest = self.dests
            self.lap -= self.step
            if self.lap <= 0:
                self.lap = self.top
                if smallest or began is None:
                    self.last = None
                    return None
                round_again = True
            smallest = self.lap <= self.step
            if smallest and round_again:
                ends_here = began


def load(dest: Dest) -> int:
    """An active connection counts 256 on top of the 1 that every connection counts."""
    return 256 * int(dest["active"]) + int(dest["total"])


def old_load(dest: Dest) -> int:
    """What it was before August 2026: an active connection counts 256, an inactive one 1."""
    return 255 * int(dest["active"]) + int(dest["total"])


def least(dests: list[Dest], busy: Any) -> Dest | None:
    """The least busy for its weight. Of a / b and c / d the first is larger if a * d is larger than c * b."""
    best: Dest | None = None
    for dest in dests:
        if best is None or busy(best) * dest["weight"] > busy(dest) * best["weight"]:
            best = dest
    return best


class LeastConnections(Picker):
    """``min`` keeps the first of equals, which is the newest."""

    def load(self, dest: Dest) -> int:
        return old_load(dest) if self.settings.get("old") else load(dest)

    def pick(self, ask: Ask) -> Dest | None:
        return min(self.usable(), key=self.load, default=None)


class WeightedLeastConnections(LeastConnections):
    def pick(self, ask: Ask) -> Dest | None:
        return least(self.usable(), self.load)


class ShortestExpectedDelay(Picker):
    def pick(self, ask: Ask) -> Dest | None:
        return least(self.usable(), lambda dest: dest["active"] + 1)


class NeverQueue(ShortestExpectedDelay):
    def pick(self, ask: Ask) -> Dest | None:
        idle = [dest for dest in self.usable() if dest["active"] == 0]
        return idle[0] if idle else super().pick(ask)


class Failover(Picker):
    """``max`` keeps the first of equals."""

    def pick(self, ask: Ask) -> Dest | None:
        return max(self.usable(), key=lambda dest: dest["weight"], default=None)


class Overflow(Picker):
    def pick(self, ask: Ask) -> Dest | None:
        free = [dest for dest in self.usable() if dest["active"] <= dest["weight"]]
        return max(free, key=lambda dest: dest["weight"], default=None)


def fold(address: str) -> int:
    """The address as 32 bits: IPv4 as it is, IPv6 its four words xored."""
    number = int(ip_address(address))
    return reduce(lambda folded, shift: folded ^ (number >> shift & 0xFFFFFFFF), (0, 32, 64, 96), 0)


def hash32(value: int, bits: int) -> int:
    """The upper bits of the product with 0x61C88647, modulo 2**32."""
    return value % 2**32 * 0x61C88647 % 2**32 // 2 ** (32 - bits)


def siphash(word: int, key: int) -> int:
    """SipHash-1-3 over four bytes with the key (key, key), its low 32 bits."""
    a, b = 0x736F6D6570736575 ^ key, 0x646F72616E646F6D ^ key
    c, d = 0x6C7967656E657261 ^ key, 0x7465646279746573 ^ key
    block = 4 << 56 | word % 2**32
    d ^= block
    for turn in range(4):
        a, c = (a + b) % 2**64, (c + d) % 2**64
        b, d = left(b, 13) ^ a, left(d, 16) ^ c
        a = left(a, 32)
        a, c = (a + d) % 2**64, (c + b) % 2**64
        d, b = left(d, 21) ^ a, left(b, 17) ^ c
        c = left(c, 32)
        if turn == 0:
            a, c = a ^ block, c ^ 0xFF
    return (a ^ b ^ c ^ d) % 2**32


def left(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) % 2**64


class SourceHashing(Picker):
    """256 buckets dealt out round the list, ``weight`` in a row to each, at least one."""

    def buckets(self) -> list[Dest]:
        one_round = [dest for dest in self.dests for _ in range(min(256, max(1, dest["weight"])))]
        return [one_round[i % len(one_round)] for i in range(256)] if one_round else []

    def pick(self, ask: Ask) -> Dest | None:
        """Whoever owns the client's bucket, if it takes connections; with sh-fallback the next who does."""
        table = self.buckets()
        if not table:
            return None
        own = hash32(fold(ask.client) + (ask.port if self.flags & {"sh-port", "flag-2"} else 0), 8)
        tries = [own]
        if self.flags & {"sh-fallback", "flag-1"}:
            tries += [(2 * own + step) % 256 for step in range(256)]
        return next((table[i] for i in tries if takes(table[i])), None)


class DestinationHashing(Picker):
    """256 buckets dealt out round the list, one to each, whenever a destination comes or goes."""

    def start(self) -> None:
        self.table = [self.dests[i % len(self.dests)] for i in range(256)] if self.dests else []

    def added(self, dest: Dest) -> None:
        self.start()

    def deleted(self, dest: Dest, at: int) -> None:
        self.start()

    def pick(self, ask: Ask) -> Dest | None:
        owner = self.table[hash32(fold(ask.target), 8)] if self.table else None
        return owner if takes(owner) else None


class Maglev(Picker):
    """Each destination wants the 4093 slots in an order of its own; they take turns."""

    SIZE, PLACE, SKIP = 4093, 2654435761, 2654446892

    def start(self) -> None:
        self.table: list[Dest | None] = [None] * self.SIZE
        weights = [dest["last_weight"] for dest in self.dests if dest["last_weight"] > 0]
        if not weights:
            return
        divisor = gcd(*weights)
        shift = max(0, (max(weights) // divisor).bit_length() - 6)
        order = [
            (dest, self._wanted(dest), max(1, dest["last_weight"] // divisor >> shift))
            for dest in self.dests
            if dest["last_weight"] > 0
        ]
        left = self.SIZE
        while left:
            for dest, wanted, turns in order:
                for _ in range(min(turns, left)):
                    self.table[next(slot for slot in wanted if self.table[slot] is None)] = dest
                    left -= 1

    def _wanted(self, dest: Dest) -> Any:
        key = fold(dest["end"][0]) + dest["end"][1]
        first, step = siphash(key, self.PLACE) % self.SIZE, siphash(key, self.SKIP) % (self.SIZE - 1) + 1
        return ((first + i * step) % self.SIZE for i in range(self.SIZE))

    def _changed(self, *_: Any) -> None:
        self.start()

    added = deleted = edited = _changed

    def _slot(self, key: int) -> int:
        return siphash(key, self.PLACE) % self.SIZE

    def pick(self, ask: Ask) -> Dest | None:
        key = fold(ask.client) + (ask.port if self.flags & {"mh-port", "flag-2"} else 0)
        own = self._slot(key)
        tries = [own]
        if self.flags & {"mh-fallback", "flag-1"} and not takes(self.table[own]):
            tries = [self._slot(key + (own + step) % self.SIZE) for step in range(self.SIZE)]
        owner = next((self.table[i] for i in tries if self.table[i] is None or takes(self.table[i])), None)
        return owner if self.table[own] is not None else None


class LocalityBased(WeightedLeastConnections):
    """Remembers who an address was given to: address -> {"set": [dest], "used": tick, "changed": tick}."""

    period = 60
    many, most = 16384, 24576

    def start(self) -> None:
        self.cache: dict[str, dict[str, Any]] = {}
        self.rounds, self.rover, self.moved = 1, 0, 0

    def overtaxed(self, dest: Dest) -> bool:
        return dest["active"] > dest["weight"] and any(2 * d["active"] < d["weight"] for d in self.dests)

    def refers_to(self, dest: Dest) -> bool:
        return any(is_in(dest, entry["set"]) for entry in self.cache.values())

    def pick(self, ask: Ask) -> Dest | None:
        entry = self.cache.get(ask.target)
        if entry:
            entry["used"] = ask.now
            (known,) = entry["set"]
            if known["there"] and known["weight"] > 0 and not self.overtaxed(known):
                return known
        best = super().pick(ask)
        if best is not None and not (entry and entry["set"][0] is best):
            if entry:
                del self.cache[ask.target]
                self.moved += 1
            self.remember(ask, best)
        return best

    def remember(self, ask: Ask, dest: Dest) -> None:
        if self.settings.get("old") or len(self.cache) < self.most:
            self.cache[ask.target] = {"set": [dest], "used": ask.now, "changed": ask.now}

    def count(self) -> int:
        return len(self.cache) + (self.moved if self.settings.get("old") else 0)

    def tick(self, now: int) -> None:
        hz = self.settings["hz"]
        if self.rounds == 30:
            self._forget(now - 86400 * hz, list(self.cache))
            self.rounds = 1
        elif self.count() <= self.many:
            self.rounds += 1
        else:
            left = min((self.count() - self.many) * 4 // 3, self.many // 2)
            buckets: dict[int, list[str]] = {}
            for address in self.cache:
                buckets.setdefault(hash32(fold(address), 10), []).append(address)
            for _ in range(1024):
                self.rover = (self.rover + 1) % 1024
                left -= self._forget(now - 360 * hz, buckets.get(self.rover, []))
                if left <= 0:
                    break

    def _forget(self, before: int, addresses: list[str]) -> int:
        gone = [address for address in addresses if self.cache[address]["used"] <= before]
        for address in gone:
            del self.cache[address]
        return len(gone)


class Replicating(LocalityBased):
    """An address has a set of destinations, newest member first."""

    def pick(self, ask: Ask) -> Dest | None:
        entry = self.cache.get(ask.target)
        if entry is None:
            best = WeightedLeastConnections.pick(self, ask)
            if best is not None:
                self.remember(ask, best)
            return best
        entry["used"] = ask.now
        members = entry["set"]
        known = least([dest for dest in members if takes(dest) and dest["there"]], self.load)
        if len(members) > 1 and ask.now > entry["changed"] + 86400 * self.settings["hz"]:
            self._shrink(entry, ask.now)
        if known is not None and not self.overtaxed(known):
            return known
        best = WeightedLeastConnections.pick(self, ask)
        if best is not None and not is_in(best, members):
            members.insert(0, best)
            entry["changed"] = ask.now
        return best

    def _shrink(self, entry: dict[str, Any], now: int) -> None:
        """The most loaded for its weight goes: of the reversed order of 1 / load the least."""
        most: Dest | None = None
        for dest in entry["set"]:
            heavier = most is None or self.load(most) * dest["weight"] < self.load(dest) * most["weight"]
            if dest["weight"] > 0 and heavier:
                most = dest
        if most is not None:
            del entry["set"][index_of(most, entry["set"])]
            entry["changed"] = now


def lots(seed: int) -> Any:
    """lbsim's random numbers, as fractions of 2**31: a counter in steps of the golden ratio, well mixed."""
    while True:
        seed = (seed + 0x9E3779B9) % 2**32
        mixed = seed ^ seed >> 16
        mixed = mixed * 0x7FEB352D % 2**32
        mixed = (mixed ^ mixed >> 15) * 0x46CA68B5 % 2**32
        yield (mixed ^ mixed >> 16) >> 1


class TwoChoices(LeastConnections):
    """Two are drawn by weight, the less loaded one gets it. ``lots`` is shared by all services of a director."""

    def pick(self, ask: Ask) -> Dest | None:
        free = self.usable()
        if not free:
            return None
        one, other = self._drawn(free), self._drawn(free)
        return other if as_int(other["weight"] * self.load(one)) > as_int(one["weight"] * self.load(other)) else one

    def _drawn(self, free: list[Dest]) -> Dest:
        number = next(self.settings["lots"]) * (sum(dest["weight"] for dest in free) + 1) >> 31
        at = 0
        while number > free[at]["weight"]:
            number -= free[at]["weight"]
            at += 1
        return free[at]


def as_int(value: int) -> int:
    """What a 32-bit int makes of it."""
    return (value + 2**31) % 2**32 - 2**31


PICKERS: dict[str, type[Picker]] = {
    "dh": DestinationHashing,
    "fo": Failover,
    "lblc": LocalityBased,
    "lblcr": Replicating,
    "lc": LeastConnections,
    "mh": Maglev,
    "none": Picker,
    "nq": NeverQueue,
    "ovf": Overflow,
    "rr": RoundRobin,
    "sed": ShortestExpectedDelay,
    "sh": SourceHashing,
    "twos": TwoChoices,
    "wlc": WeightedLeastConnections,
    "wrr": WeightedRoundRobin,
}
