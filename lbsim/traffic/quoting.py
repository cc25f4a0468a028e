"""The packets that captured ICMP errors quote, as :class:`lbsim.model.quotes.Quotes`. In both lanes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lbsim.engine.lanes import Lane, kernel
from lbsim.model.quotes import QUOTE_TYPES, Quotes
from lbsim.packet.headers import Bytes, double_word, header_fields
from lbsim.traffic.lane_columns import zeros
from lbsim.traffic.service_ends import SAME_PORT, Book, end_at

__all__ = ["Notes", "fresh_notes", "grown_notes", "note_quote", "notes_room", "quotes_of"]

ICMP_HEADER = 8  # bytes, in front of what is quoted
FEWEST = 512


class Notes(NamedTuple):
    """Columns of quotes, and in ``used[0]`` how many there are; ``words`` has eight integers for each."""

    used: list[int]
    row: list[int]
    kind: list[int]
    code: list[int]
    family: list[int]
    proto: list[int]
    sport: list[int]
    dport: list[int]
    shape: list[int]
    wrong: list[int]
    words: list[int]


def fresh_notes(lane: Lane) -> Notes:
    """No quotes yet."""
    row, kind, code, family, proto, sport, dport, shape, wrong = (zeros(lane, FEWEST) for _ in range(9))
    words = zeros(lane, 8 * FEWEST)
    return Notes(zeros(lane, 1), row, kind, code, family, proto, sport, dport, shape, wrong, words)


def grown_notes(lane: Lane, notes: Notes) -> Notes:
    """The same with twice the room."""
    return Notes(notes.used, *(lane.grown(column, 2 * len(column)) for column in notes[1:]))


@kernel
def notes_room(notes: Notes) -> int:
    """How many more quotes there is room for."""
    return len(notes.row) - notes.used[0]


def quotes_of(notes: Notes) -> Quotes:
    """What was noted, as a table; the notes are empty then."""
    used = int(notes.used[0])
    notes.used[0] = 0
    if not used:
        return Quotes()
    words = np.array(notes.words[: 8 * used]).reshape(used, 2, 4)
    columns = {name: getattr(notes, name)[:used] for name in QUOTE_TYPES if name not in ("src", "dst")}
    columns |= {"src": words[:, 0], "dst": words[:, 1]}
    return Quotes({name: np.array(columns[name], dtype=kind.lstrip("4")) for name, kind in QUOTE_TYPES.items()})


@kernel
def note_quote(raw: Bytes, at: int, end: int, family: int, row: int, wrong: bool, book: Book, notes: Notes) -> None:
    """Note the packet that the ICMP message in ``raw[at:end]``, of packet ``row``, quotes, if it can be read.

    Ends of services are written down as the virtual ones that they stand for.
    """
    inner = at + ICMP_HEADER
    version, proto, src, dst, sport, dport, _, _, _, _, _, shape, _ = header_fields(raw, inner, end)
    if version != family:
        return
    src_at = inner + 12 if version == 4 else inner + 8
    dst_at = inner + 16 if version == 4 else inner + 24
    sender = end_at(raw, src_at, version, proto, src, sport, shape, book)
    receiver = end_at(raw, dst_at, version, proto, dst, dport, shape, book)
    place = notes.used[0]
    notes.used[0] += 1
    notes.row[place] = row
    notes.kind[place] = raw[at]
    notes.code[place] = raw[at + 1]
    notes.family[place] = version
    notes.proto[place] = proto
    notes.shape[place] = shape
    notes.wrong[place] = 1 if wrong else 0
    notes.sport[place] = _virtual_port(sender, sport, book)
    notes.dport[place] = _virtual_port(receiver, dport, book)
    _put_words(raw, src_at, version, sender, book, notes.words, 8 * place)
    _put_words(raw, dst_at, version, receiver, book, notes.words, 8 * place + 4)


@kernel
def _virtual_port(number: int, port: int, book: Book) -> int:
    if number == 0 or book.ends[number].virtual_port == SAME_PORT:
        return port
    return book.ends[number].virtual_port


@kernel
def _put_words(raw: Bytes, at: int, version: int, number: int, book: Book, words: list[int], place: int) -> None:
    """Write the address at ``at``, or the virtual one that end ``number`` stands for."""
    if number != 0:
        pair = book.pairs[book.ends[number].pair]
        words[place] = pair.word0
        words[place + 1] = pair.word1
        words[place + 2] = pair.word2
        words[place + 3] = pair.word3
    elif version == 4:
        for k in range(3):
            words[place + k] = 0
        words[place + 3] = double_word(raw, at)
    else:
        for k in range(4):
            words[place + k] = double_word(raw, at + 4 * k)
