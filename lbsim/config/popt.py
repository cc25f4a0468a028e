"""How the words of a command line become options: the rules of the popt library, which ipvsadm reads its line with.

Letters may be bundled, a value may hang on its letter or stand behind ``=``, long names are exact, ``--`` ends the
options. Words that are neither options nor values are collected; what becomes of them is the caller's business.

Source: popt 1.19, as ipvsadm 1.31 uses it (run); facts: ipvsadm.md section 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lbsim.config.lines import Word

__all__ = ["Found", "PoptError", "Takes", "spelled"]

#: Whether an option takes a value: none, one, or one that may be missing.
Takes: TypeAlias = Literal["", "value", "perhaps"]


@dataclass(frozen=True, slots=True)
class Found:
    """An option as found.

    Attributes
    ----------
    spelling : ``-t`` or ``--tcp-service``.
    word : the word that it stands in.
    value : what it was given; None if nothing.
    last : the last word that was read for it, its value's if that is a word of its own.
    """

    spelling: str
    word: Word
    value: Word | None
    last: Word


class PoptError(Exception):
    """An option that popt cannot read, and why in its words."""

    def __init__(self, why: str, spelling: str, word: Word) -> None:
        super().__init__(why)
        self.why = why
        self.spelling = spelling
        self.word = word


@dataclass(slots=True)
class _Reader:
    words: Sequence[Word]
    takes: Mapping[str, Takes]
    strays: list[Word]
    at: int = field(default=0)

    def options(self) -> Iterator[Found]:
        while self.at < len(self.words):
            word = self._next()
            if word.text == "--":
                self.strays += self.words[self.at :]
                return
            if not word.text.startswith("-") or word.text == "-":
                self.strays.append(word)
            elif word.text.startswith("--"):
                yield self._long(word)
            else:
                yield from self._letters(word)

    def _next(self) -> Word:
        self.at += 1
        return self.words[self.at - 1]

    def _long(self, word: Word) -> Found:
        name, equals, value = word.text.partition("=")
        return self._found(name, word, Word(value, word.at) if equals else None)

    def _letters(self, word: Word) -> Iterator[Found]:
        rest = word.text[1:]
        while rest:
            letter, rest = "-" + rest[0], rest[1:]
            attached = Word(rest.removeprefix("="), word.at) if rest else None
            found = self._found(letter, word, attached if self.takes.get(letter) or rest.startswith("=") else None)
            yield found
            if found.value is not None:
                return

    def _found(self, spelling: str, word: Word, attached: Word | None) -> Found:
        if spelling not in self.takes:
            raise PoptError("unknown option", spelling, word)
        takes = self.takes[spelling]
        if not takes and attached is not None:
            raise PoptError("option does not take an argument", spelling, word)
        if not takes or attached is not None:
            return Found(spelling, word, attached, word)
        following = self.words[self.at] if self.at < len(self.words) else None
        if takes == "perhaps" and (following is None or following.text.startswith("-")):
            return Found(spelling, word, None, word)
        if following is None:
            raise PoptError("missing argument", spelling, word)
        self.at += 1
        return Found(spelling, word, following, following)


def spelled(words: Sequence[Word], takes: Mapping[str, Takes], strays: list[Word]) -> Iterator[Found]:
    """The options of a line from left to right.

    Parameters
    ----------
    takes : spelling -> whether it takes a value.
    strays : receives the words that belong to no option.

    Raises
    ------
    PoptError : an unknown option, a missing or an unwanted value, when it is come to.
    """
    return _Reader(words, takes, strays).options()
