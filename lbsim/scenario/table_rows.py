"""Rows of the connection table as a scenario writes them, and which rows of a real table they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lbsim.model.config import format_endpoint, parse_endpoint
from lbsim.model.result import ConnRow

__all__ = ["TableRow", "pair_rows", "row_text"]

ANY = "*"


@dataclass(frozen=True, slots=True)
class TableRow:
    """An expected row: protocol, client, virtual, destination, state, perhaps seconds; ``*`` is any word."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> TableRow:
        """The row that ``TCP 198.51.100.1:40001 192.168.1.10:80 10.0.0.11:80 ESTABLISHED 899`` says.

        Ends are brought into the form in which listings have them; ValueError says what is wrong.
        """
        words = text.split()
        if len(words) not in (5, 6):
            expected = "PROTOCOL CLIENT VIRTUAL DESTINATION STATE [SECONDS]"
            raise ValueError(f"{text!r} has {len(words)} words; expected {expected}")
        protocol, *ends, state = words[:5]
        if protocol.upper() not in ("TCP", "UDP", "SCTP", "IP", ANY):
            raise ValueError(f"unknown protocol {protocol!r}; expected TCP, UDP, SCTP, IP (of services by mark) or *")
        ends = [end if end == ANY else format_endpoint(*parse_endpoint(end)) for end in ends]
        if len(words) == 6 and words[5] != ANY and not (words[5].isascii() and words[5].isdigit()):
            raise ValueError(f"{words[5]!r} is no number of seconds; expected whole seconds or *")
        tail = [str(int(word)) if word != ANY else word for word in words[5:]]
        return cls((protocol.upper(), *ends, state.upper(), *tail))

    def matches(self, words: tuple[str, ...]) -> bool:
        """Whether a row of the table, as :func:`row_words` gives it, is what is expected."""
        return all(wanted in (ANY, word) for wanted, word in zip(self.words, words, strict=False))

    def __str__(self) -> str:
        return " ".join(self.words)


def row_words(row: ConnRow) -> tuple[str, ...]:
    """The six words of a row, as a scenario would write them."""
    return row.protocol, row.client, row.virtual, row.destination, row.state, str(row.expires)


def row_text(row: ConnRow) -> str:
    """``TCP 198.51.100.1:40001 192.168.1.10:80 10.0.0.11:80 ESTABLISHED 899``."""
    return " ".join(row_words(row))


def pair_rows(wanted: Sequence[TableRow], table: Sequence[ConnRow]) -> tuple[list[TableRow], list[ConnRow]]:
    """The expected rows for which the table has none left, and the table's rows that nobody expected.

    Each expected row stands for one row of the table. Where wildcards leave a choice, rows are paired so that
    as many as possible find one.
    """
    words: list[tuple[str, ...]] = [row_words(row) for row in table]
    exact: Counter[tuple[str, ...]] = Counter(
        row.words for row in wanted if len(row.words) == 6 and ANY not in row.words
    )
    free = []
    for at, row in enumerate(words):
        if exact[row] > 0:
            exact[row] -= 1
        else:
            free.append(at)
    missing = [TableRow(row) for row in exact.elements()]
    loose = [row for row in wanted if len(row.words) == 5 or ANY in row.words]
    partner = _largest_pairing(_choices(loose, words, free))
    paired = set(partner.values())
    missing += [row for at, row in enumerate(loose) if at not in paired]
    return missing, [table[at] for at in free if at not in partner]


def _choices(loose: Sequence[TableRow], words: Sequence[tuple[str, ...]], free: Sequence[int]) -> list[list[int]]:
    """The table's rows that each expected row could stand for."""
    same_names: dict[tuple[str, ...], list[int]] = {}  # the usual row, only without seconds, needs no search
    for at in free:
        same_names.setdefault(words[at][:5], []).append(at)
    return [
        [at for at in free if row.matches(words[at])]
        if ANY in row.words[:5]
        else [at for at in same_names.get(row.words[:5], ()) if row.matches(words[at])]
        for row in loose
    ]


def _largest_pairing(choices: Sequence[Sequence[int]]) -> dict[int, int]:
    """Pairs (chosen -> chooser), as many as possible, where each chooser has a list of candidates.

    Augmenting paths (Kuhn), breadth first: a newcomer may take another's candidate if that one finds another.
    """
    partner: dict[int, int] = {}
    for newcomer in range(len(choices)):
        came_from: dict[int, tuple[int, int | None]] = {}  # candidate -> (who asks, the candidate that one gives up)
        queue: list[tuple[int, int | None]] = [(newcomer, None)]
        for asker, given_up in queue:
            fresh = [candidate for candidate in choices[asker] if candidate not in came_from]
            came_from |= dict.fromkeys(fresh, (asker, given_up))
            end = next((candidate for candidate in fresh if candidate not in partner), None)
            if end is not None:
                _hand_over(end, came_from, partner)
                break
            queue += [(partner[candidate], candidate) for candidate in fresh]
    return partner


def _hand_over(end: int, came_from: dict[int, tuple[int, int | None]], partner: dict[int, int]) -> None:
    candidate: int | None = end
    while candidate is not None:
        asker, given_up = came_from[candidate]
        partner[candidate] = asker
        candidate = given_up
