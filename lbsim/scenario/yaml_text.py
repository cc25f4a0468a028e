"""YAML text -> plain values, and the line and column of each.

PyYAML does the parsing (its C parser, if there is one); what it would make of plain words is not used,
because YAML 1.1 reads ``on`` as true and ``12:30:45`` as 45045. Here only null, true, false and numbers are
special, as in YAML 1.2, and a key is always its text. Whatever is in the file, the answer is a document or
one ScenarioError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from lbsim.errors import ScenarioError

__all__ = ["Document", "KeyPath", "Spot", "parse_yaml", "read_yaml"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value is: ``("traffic", 0, "clients")``."""

MAX_BYTES = 64 * 1024 * 1024
MAX_VALUES = 1_000_000
MAX_DEPTH = 50
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"null": None, "true": True, "false": False}
_CONSTANTS = {form: value for word, value in _WORDS.items() for form in (word, word.title(), word.upper())}
_CONSTANTS |= {"": None, "~": None}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BLOCK_HEADER = re.compile(r"[|>][-+]?([1-9])?")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the text, line and column counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class _Mark:
    """Where a value stands, what kind of text it is, and the values inside it."""

    spot: Spot
    style: str | None = None  # of text: "|", ">", "'", '"' or None
    size: int = 1  # values in it, itself included, with aliases counted each time
    keys: dict[str, Spot] = field(default_factory=dict)
    inside: dict[str | int, _Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A parsed file: ``data`` in plain lists, dicts and values, and where each of them stands."""

    data: Any
    text: str
    file: str | None
    _root: _Mark

    def spot(self, path: KeyPath) -> Spot:
        """Where the value stands; of a path that is not there, its nearest ancestor."""
        return self._walk(path)[0].spot

    def key_spot(self, path: KeyPath) -> Spot:
        """Where the value's key stands; a list item has none, so the item's own place."""
        parent, rest = self._walk(path[:-1])
        key = parent.keys.get(str(path[-1])) if path and not rest and isinstance(path[-1], str) else None
        return key or self.spot(path)

    def is_literal(self, path: KeyPath) -> bool:
        """Whether the value is a block of text (``|``), whose lines are lines of the file."""
        return self._walk(path)[0].style == "|"

    def content_spot(self, path: KeyPath) -> Spot:
        """Where the first character of a text stands: inside the quotes, or in the line after the ``|``."""
        mark = self._walk(path)[0]
        if mark.style in ("|", ">"):
            return Spot(mark.spot.line + 1, 1 + self._indentation(mark.spot))
        return Spot(mark.spot.line, mark.spot.column + (1 if mark.style else 0))

    def _indentation(self, header: Spot) -> int:
        lines = self.text.splitlines()
        given = _BLOCK_HEADER.search(lines[header.line - 1], header.column - 1)
        first = next((line for line in lines[header.line :] if line.strip()), "")
        if given and given[1]:  # relative to the parent's indentation, which is that of the header's line
            line = lines[header.line - 1]
            return int(given[1]) + len(line) - len(line.lstrip())
        return len(first) - len(first.lstrip(" "))

    def _walk(self, path: KeyPath) -> tuple[_Mark, KeyPath]:
        mark = self._root
        for depth, step in enumerate(path):
            if step not in mark.inside:
                return mark, path[depth:]
            mark = mark.inside[step]
        return mark, ()


def read_yaml(path: Path) -> Document:
    """The document in a file; ScenarioError if it cannot be read, is no text or no YAML."""
    file = str(path)
    try:
        with path.open("rb") as source:
            content = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"cannot read: {error.strerror}", file=file) from None
    except ValueError as error:  # a NUL in the name
        raise ScenarioError(f"cannot read: {error}", file=file) from None
    if len(content) > MAX_BYTES:
        raise ScenarioError(f"larger than {MAX_BYTES // 1024**2} MiB; expected a scenario", file=file)
    return parse_yaml(decode(content, file), file)


def decode(content: bytes, file: str) -> str:
    """The text that the bytes are; ScenarioError if they are no UTF-8 or hold control characters."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError("not UTF-8 text", file=file, line=line) from None
    bad = _UNPRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        name = "a NUL byte" if bad[0] == "\0" else f"the control character U+{ord(bad[0]):04X}"
        raise ScenarioError(f"not text: {name}", file=file, line=line)
    return text


def parse_yaml(text: str, file: str | None = None) -> Document:
    """The document that the text is: exactly one, not empty; ScenarioError otherwise."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    composer = _Composer(file)
    try:
        for event in yaml.parse(text, Loader=loader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text, file) from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"not YAML: {str(error).splitlines()[0]}", file=file) from None
    if composer.root is None:
        raise ScenarioError("empty; expected a scenario", file=file, line=1)
    return Document(composer.data, text, file, composer.root)


def _not_yaml(error: yaml.MarkedYAMLError, text: str, file: str | None) -> ScenarioError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    lines = text.splitlines()
    shown = lines[line - 1] if line and line <= len(lines) else ""
    problem = error.problem or "not understood"
    if "cannot start any token" in problem and column and shown[column - 1 : column] == "\t":
        message = "a tab cannot indent YAML; expected spaces"
    elif "cannot start any token" in problem:
        message = "not YAML: no text begins with this character; expected quotes around the text"
    elif "maximum nesting depth" in problem:  # the library's own limit, which its reading ahead may meet first
        message = TOO_DEEP
    elif problem.startswith("mapping values are not allowed"):
        message = "not YAML: a ': ' inside a plain text, or wrong indentation; expected quotes around the text"
    else:
        begun = error.context_mark
        context = f" {error.context}" if error.context else ""
        since = f" that begins in line {begun.line + 1}" if begun and context and begun.line + 1 != line else ""
        message = f"not YAML: {problem}{context}{since}"
    return ScenarioError(message, file=file, line=line, column=column, text=shown)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    data: Any
    mark: _Mark
    anchor: str | None
    key: str | None = None  # of the mapping: the key whose value comes next


class _Composer:
    """Makes values of parser events, one at a time, without recursion and within bounds."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.data: Any = None
        self.root: _Mark | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, _Mark] | None] = {}  # None: still being read
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        spot = Spot(mark.line + 1, mark.column + 1) if mark else Spot(1, 1)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._error("a second document begins; expected one scenario per file", spot)
            case yaml.ScalarEvent():
                self._take_scalar(event, spot)
            case yaml.AliasEvent():
                self._take_alias(event.anchor or "", spot)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event, spot)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                if done.anchor:
                    self._anchors[done.anchor] = done.data, done.mark
                self._place(done.data, done.mark)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, spot: Spot) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._refuse_tag(event.tag, spot, f"tag:yaml.org,2002:{'map' if is_mapping else 'seq'}")
        if self._wants_key():
            raise self._error("a list or mapping cannot be a key; expected text", spot)
        if len(self._open) >= MAX_DEPTH:
            raise self._error(TOO_DEEP, spot)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open({} if is_mapping else [], _Mark(spot), event.anchor))

    def _take_scalar(self, event: yaml.ScalarEvent, spot: Spot) -> None:
        text_tags = ("!", "tag:yaml.org,2002:str")
        self._refuse_tag(event.tag, spot, *text_tags)
        if self._wants_key():
            self._take_key(event.value, spot)
            return
        plain = event.implicit[0] and event.tag not in text_tags
        value = self._plain_value(event.value, spot) if plain else event.value
        mark = _Mark(spot, event.style or None)
        if event.anchor:
            self._anchors[event.anchor] = value, mark
        self._place(value, mark)

    def _take_key(self, key: str, spot: Spot) -> None:
        top = self._open[-1]
        if key in top.mark.keys:
            first = top.mark.keys[key].line
            raise self._error(f"key {key!r} a second time; the first is in line {first}", spot)
        top.key = key
        top.mark.keys[key] = spot

    def _take_alias(self, anchor: str, spot: Spot) -> None:
        if self._wants_key():
            raise self._error(f"alias *{anchor} as a key; expected text", spot)
        if anchor not in self._anchors:
            raise self._error(f"alias *{anchor} without an anchor &{anchor} before it", spot)
        known = self._anchors[anchor]
        if known is None:
            raise self._error(f"alias *{anchor} inside its own anchor", spot)
        self._place(*known)

    def _place(self, value: Any, mark: _Mark) -> None:
        """Put a finished value where it belongs."""
        if not self._open:
            self.data, self.root = value, mark
            return
        top = self._open[-1]
        step: str | int
        if isinstance(top.data, list):
            step = len(top.data)
            top.data.append(value)
        else:
            assert top.key is not None, "a value without a key"
            step, top.key = top.key, None
            top.data[step] = value
        top.mark.inside[step] = mark
        top.mark.size += mark.size
        if top.mark.size > MAX_VALUES:
            raise self._error(f"more than {MAX_VALUES:,} values, aliases counted each time", mark.spot)

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].data, dict) and self._open[-1].key is None

    def _plain_value(self, text: str, spot: Spot) -> Any:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            if len(text) > 40:
                raise self._error("a number of more than 40 digits; expected quotes around it, if it is text", spot)
            return int(text, 0 if text[:2] in ("0o", "0x") else 10)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _refuse_tag(self, tag: str | None, spot: Spot, *allowed: str) -> None:
        if tag is not None and tag not in allowed:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            raise self._error(f"tag {shown} is not supported; expected plain YAML", spot)

    def _error(self, message: str, spot: Spot) -> ScenarioError:
        return ScenarioError(message, file=self.file, line=spot.line, column=spot.column)
