"""The lines of a config text as a shell reads them, every word with its place. No shell is ever run.

Read are: blanks and tabs between words, quotes, backslashes (at the end of a line, too, where the next line
continues this one), comments, CRLF. Not read are variables and command substitutions, which raise, and what
connects commands (pipes, redirections, ``;``, ``&&``), which is left in :attr:`Line.operator`, because
there is one line with a redirection that everybody pastes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from lbsim.errors import CommandRefused, ConfigError
from lbsim.model.config import Place

__all__ = ["Line", "Word", "read_lines"]

# A token is looked for where a word could begin, and only there does "#" open a comment.
_TOKEN = re.compile(
    r"""[ \t]*(?:
        (?P<comment>\#.*)
      | (?P<operator>[|&;<>()]+)
      | (?P<word>(?: [!\#%*+,\-./0-9:=?@A-Z\[\]^_a-z{}~]+
                   | (?P<quoted> '[\t -&(-~]*' | "(?:[\t !\#%-\[\]^_a-~] | \\[\t -~])*" | \\[\t -~] )
                 )+)
      | (?P<joint>\\$)
      | (?P<wrong>.)
      | $
    )""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"""'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)""")
_WRONG = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\?.""", re.DOTALL)
_UNREADABLE = re.compile(r"[^\t -~]")

_Starts: TypeAlias = tuple[tuple[int, int, int], ...]


class Word(NamedTuple):
    """A word without its quotes, and the offset at which it begins in its line's source."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line with at least one word, its continuations joined.

    Parameters
    ----------
    file : where it was read, or None.
    source : the line as written, without the backslashes that joined it.
    starts : (offset in source, line, column) of each of the lines that were joined.
    words : at least one, operators included.
    end : offset behind the last word.
    operator : the first pipe, redirection or the like.
    """

    file: str | None
    source: str
    starts: _Starts
    words: tuple[Word, ...] = ()
    end: int = 0
    operator: Word | None = None

    @property
    def text(self) -> str:
        """The line from its first word to its last, so without indent and comment."""
        return self.source[self.words[0].at : self.end]

    def place(self, at: int) -> Place:
        """Where the character at this offset of the source stands."""
        offset, line, column = next(start for start in reversed(self.starts) if start[0] <= at)
        return Place(self.file, line, column + at - offset)

    def error(self, message: str, word: Word) -> ConfigError:
        """The error to raise about a word of this line."""
        place = self.place(word.at)
        text = self.source.strip()
        return ConfigError(message, file=place.file, line=place.line, column=place.column, text=text)

    def refused(self, message: str, word: Word, said: str, status: int = 2) -> CommandRefused:
        """The error to raise about a word because of which the tool ends with that status, saying that."""
        error = self.error(message, word)
        return CommandRefused(
            message, status=status, said=said, file=error.file, line=error.line, column=error.column, text=error.text
        )


def read_lines(text: str, start: Place) -> Iterator[Line]:
    """The lines of a text that hold words, in order; ``start`` is the place of the text's first character.

    Raises
    ------
    ConfigError : a quote that is not closed, a variable, a character that is not plain ASCII.
    """
    for source, starts in _joined(text.removeprefix("\ufeff"), start):
        line = _with_words(Line(start.file, source, starts))
        if line.words:
            yield line


def _joined(text: str, start: Place) -> Iterator[tuple[str, _Starts]]:
    """Each line with its continuations: the joined source, and where its parts stand."""
    parts = enumerate((part.rstrip("\r") for part in text.split("\n")), start.line)
    for number, part in parts:
        source = part
        starts = [(0, number, start.column if number == start.line else 1)]
        while source.endswith("\\") and _continues(source):
            next_number, next_part = next(parts, (number, ""))
            source = source[:-1]
            starts.append((len(source), next_number, 1))
            source += next_part
        yield source, tuple(starts)


def _continues(source: str) -> bool:
    """Whether the backslash at the end is neither escaped nor part of a comment."""
    return any(token.lastgroup == "joint" for token in _TOKEN.finditer(source))


def _with_words(line: Line) -> Line:
    words: list[Word] = []
    operator: Word | None = None
    end = 0
    for token in _TOKEN.finditer(line.source):
        kind = token.lastgroup
        if kind == "word":
            text = token["word"]
            words.append(Word(_QUOTED.sub(_unquoted, text) if token["quoted"] else text, token.start("word")))
            end = token.end()
        elif kind == "operator":
            words.append(Word(token["operator"], token.start("operator")))
            operator = operator or words[-1]
            end = token.end()
        elif kind == "wrong":
            at = token.start("wrong")
            raise line.error(_what_is_wrong(line.source, at), Word("", at))
    return Line(line.file, line.source, line.starts, tuple(words), end, operator)


def _unquoted(quoted: re.Match[str]) -> str:
    if quoted["double"] is not None:
        return re.sub(r'\\(["\\$`])', r"\1", quoted["double"])
    return quoted["single"] if quoted["single"] is not None else quoted["escaped"]


def _what_is_wrong(source: str, at: int) -> str:
    """The sentence about the character, perhaps quoted, that no word can hold."""
    found = _WRONG.match(source, at)
    assert found is not None, "there is a character at this offset"
    unreadable = _UNREADABLE.search(found[0])
    if unreadable:
        return f"unexpected character U+{ord(unreadable[0]):04X}: expected plain ASCII"
    if found[0] in ("'", '"'):
        return f"the quote {found[0]} is not closed: expected its end on the same line"
    return "variables and command substitutions are not read, no shell is run: expected the value itself"
