"""What pydantic found wrong with a scenario, in this project's words and with its lines.

Input: the parsed YAML. Output: problems in order of their lines, each a path, a place and one clear sentence.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from lbsim.errors import ScenarioError, expected_one_of
from lbsim.model.scenario import Scenario
from lbsim.scenario.yaml_text import Document, KeyPath, Spot

__all__ = ["Problem", "problems_of", "raise_first", "where", "wrong_kinds"]

#: Lists whose items are of several kinds -> the keys of which one tells the kind.
KIND_KEYS = {
    "traffic": ("service", "packets", "capture"),
    "expect": ("sequence", "share", "totals", "table", "reasons"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: KeyPath
    spot: Spot
    message: str
    missing: str | None = None  # name of a missing key
    unknown: str | None = None  # name of an unknown key


def raise_first(problems: list[Problem], file: str | None) -> None:
    """Raise the first problem in the file as a ScenarioError that counts the others; none is fine."""
    if not problems:
        return
    first, *others = sorted(problems, key=_order)
    more = f" (and {len(others)} more)" if others else ""
    raise ScenarioError(first.message + more, file=file, line=first.spot.line, column=first.spot.column)


def _order(problem: Problem) -> tuple[int, int, bool]:
    return problem.spot.line, problem.spot.column, problem.missing is not None


def where(path: KeyPath) -> str:
    """``traffic[0].clients``; empty for the scenario itself.

    >>> where(("traffic", 0, "clients"))
    'traffic[0].clients'
    """
    text = ""
    for step in path:
        bracketed = isinstance(step, int) or not step.isidentifier()
        text += f"[{step}]" if bracketed else f".{step}" if text else str(step)
    return text


def wrong_kinds(document: Document) -> list[Problem]:
    """A problem for each item of ``traffic`` and ``expect`` of which no key tells the kind.

    Pydantic would take it for the first kind and complain about that one's keys.
    """
    problems = []
    data = document.data if isinstance(document.data, dict) else {}
    for name, kinds in KIND_KEYS.items():
        items = data.get(name)
        for at, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, dict) and not set(kinds) & set(item):
                problems.append(_without_kind(document, (name, at), item, kinds))
    return problems


def _without_kind(document: Document, path: KeyPath, item: dict[str, Any], kinds: tuple[str, ...]) -> Problem:
    known = {kind for tagged in _tagged(path[0]).values() for kind in tagged.model_fields}
    for key in item:
        near = difflib.get_close_matches(key, kinds, n=1, cutoff=0.5)
        if key not in known and near:
            message = f"{where(path)}: {expected_one_of(key, kinds, 'key')}"
            return Problem(path, document.key_spot((*path, key)), message)
    message = f"{where(path)}: expected one of the keys {', '.join(kinds)}; found {', '.join(item) or 'none'}"
    return Problem(path, document.spot(path), message)


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """The problems that pydantic found: one per place, without those that follow from another."""
    problems: dict[tuple[KeyPath, str], Problem] = {}
    for detail in error.errors(include_url=False):
        problem = _problem(detail, document)
        if problem:
            problems.setdefault((problem.path, problem.missing or problem.unknown or ""), problem)
    found = list(problems.values())
    return [problem for one in found for problem in _behind_unknown_keys(one, found)]


def _behind_unknown_keys(problem: Problem, others: list[Problem]) -> list[Problem]:
    """A missing key is told after the unknown ones of its mapping, or not at all if one of them is its misspelling."""
    unknown = [other for other in others if other.unknown and other.path == problem.path]
    if not problem.missing or not unknown:
        return [problem]
    names = [other.unknown for other in unknown if other.unknown]
    if difflib.get_close_matches(problem.missing, names, n=1, cutoff=0.5):
        return []
    return [replace(problem, spot=unknown[-1].spot)]


def _problem(detail: ErrorDetails, document: Document) -> Problem | None:
    path, label = _path(detail["loc"], document.data)
    given = detail["input"]
    kind = detail["type"]
    if kind == "missing":
        name = str(detail["loc"][-1])
        place = f"{where(path)}: " if path else ""
        return Problem(path, document.spot(path), f"{place}missing key {name!r}", missing=name)
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        owner = _model_at(detail["loc"][:-1])
        place = f"{where(path[:-1])}: " if path[:-1] else ""
        message = place + expected_one_of(name, tuple(owner.model_fields), "key")
        return Problem(path[:-1], document.key_spot(path), message, unknown=name)
    if kind == "literal_error" and detail["loc"][-1] == "[key]":
        known = tuple(re.findall(r"'([^']*)'", detail["ctx"]["expected"]))
        what = "reason" if path[-2:-1] == ("reasons",) else "key"
        message = f"{where(path[:-1])}: {expected_one_of(str(given), known, what)}"
        return Problem(path, document.key_spot(path), message)
    if label in ("str", "FileReference"):
        if isinstance(given, dict) and label == "str":
            return None  # the other half of the union says what is wrong with the mapping
        message = f"expected text or a mapping with 'file'; found {_shown(given)}"
    else:
        message = _sentence(kind, given, detail.get("ctx", {}), detail["msg"])
    return Problem(path, document.spot(path), f"{where(path) or 'scenario'}: {message}")


def _sentence(kind: str, given: Any, limits: dict[str, Any], original: str) -> str:
    """What was expected and what was found."""
    if kind == "value_error":
        return str(limits["error"])
    if kind == "literal_error":
        return expected_one_of(str(given), tuple(re.findall(r"'([^']*)'", limits["expected"])), "word")
    expected = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
        "string_pattern_mismatch": "up to 80 small letters, digits and '.', '_', '-', no sign in front",
        "too_short": "at least one entry",
        "greater_than": f"a number above {_number(limits.get('gt'))}",
        "greater_than_equal": f"a number from {_number(limits.get('ge'))} on",
        "less_than": f"a number below {_number(limits.get('lt'))}",
        "less_than_equal": f"a number up to {_number(limits.get('le'))}",
    }.get(kind)
    quotes = " (text that looks like a number needs quotes)"
    looks = isinstance(given, (int, float)) and kind == "string_type"
    return f"expected {expected or original}; found {_shown(given)}{quotes if looks else ''}"


def _number(limit: Any) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}" if isinstance(limit, float) else str(limit)


def _shown(given: Any) -> str:
    if given is None:
        return "nothing"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, (dict, list)):
        name = "mapping" if isinstance(given, dict) else "list"
        return f"a {name}" if given else f"an empty {name}"
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."


def _path(loc: tuple[int | str, ...], data: Any) -> tuple[KeyPath, str]:
    """Where in the YAML it is, and the last label that pydantic put in between (the member of a union)."""
    path: list[str | int] = []
    label = ""
    for at, step in enumerate(loc):
        if at == 2 and loc[0] in KIND_KEYS and isinstance(loc[1], int):
            continue  # the tag of the item's kind
        inside = isinstance(data, dict) and step in data
        if inside or (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            data = data[step]
            path.append(step)
            label = ""
        else:
            label = str(step)
    return tuple(path), label


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that describes the mapping at a place."""
    members: dict[str, type[BaseModel]] = {"": Scenario}
    for step in loc:
        if isinstance(step, int):
            continue
        if step in members:
            members = {"": members[step]}
        elif "" in members and step in members[""].model_fields:
            members = _tagged_members(members[""].model_fields[step].annotation) or members
    return next(iter(members.values()))


def _tagged(name: int | str) -> dict[str, type[BaseModel]]:
    return _tagged_members(Scenario.model_fields[str(name)].annotation)


def _tagged_members(annotation: Any, tag: str = "") -> dict[str, type[BaseModel]]:
    """The models within an annotation, by their tag in a union of several; "" if they have none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {tag: annotation}
    tags = [entry.tag for entry in getattr(annotation, "__metadata__", ()) if isinstance(entry, Tag)]
    found: dict[str, type[BaseModel]] = {}
    for inner in get_args(annotation):
        found |= _tagged_members(inner, tags[0] if tags else tag)
    return found
