"""The options of an iptables line, in any order and by all their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lbsim.config.lines import Line, Word

__all__ = ["Given", "given_options"]

_VALUES = {"-F": 0, "-P": 2}  # all others have one


class Given(NamedTuple):
    """An option as it was given: the word, its short name, and its values."""

    word: Word
    option: str
    values: tuple[Word, ...]


def given_options(line: Line, words: tuple[Word, ...], names: Mapping[str, str], accepted: str) -> Iterator[Given]:
    """The options in the order in which they are given.

    Parameters
    ----------
    names : each name of each option that is known -> the one that it has here.
    accepted : what an error says was expected.

    Raises
    ------
    ConfigError : a word that is no option, an option that is not known or has no value.
    """
    rest = iter(words)
    for word in rest:
        name, hanging = _parts(word)
        if not word.text.startswith("-"):
            raise line.error(f"unexpected word {word.text!r}: {accepted}", word)
        if name not in names or (hanging is not None and _VALUES.get(names[name]) == 0):
            raise line.error(f"the iptables option {word.text!r} is not modelled: {accepted}", word)
        values = [hanging] if hanging else []
        while len(values) < _VALUES.get(names[name], 1):
            value = next(rest, None)
            if value is None:
                raise line.error(f"option {word.text} has no value: {accepted}", word)
            values.append(value)
        yield Given(word, names[name], tuple(values))


def _parts(word: Word) -> tuple[str, Word | None]:
    """The name of the option that a word is, and the value if it hangs on it (-tnat, --table=nat)."""
    if word.text.startswith("--"):
        name, equals, value = word.text.partition("=")
        return name, Word(value, word.at) if equals else None
    name, value = word.text[:2], word.text[2:]
    return name, Word(value, word.at) if value else None
