"""Docstrings of the engine: each public function names its source, and parameters that exist."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lbsim.engine

#: Its functions make records and lanes; no kernel does that.
WITHOUT_SOURCE = {"lanes", "records", "registry", "schedulers"}
SECTION = re.compile(r"^(\w+)\n-+\n", re.MULTILINE)
ENTRY = re.compile(r"^(\w[\w, .]*?) : ", re.MULTILINE)


def engine_modules() -> Iterator[ModuleType]:
    """Every module of the engine, packages included."""
    for found in pkgutil.walk_packages(lbsim.engine.__path__, "lbsim.engine."):
        yield import_module(found.name)


def functions_of(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """The functions that a module defines itself, public ones."""
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield value


MODULES = list(engine_modules())
FUNCTIONS = [function for module in MODULES for function in functions_of(module)]


def sections(function: Callable[..., Any]) -> dict[str, str]:
    """Title -> text of a docstring's sections."""
    parts = SECTION.split(inspect.getdoc(function) or "")
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def label(value: Any) -> str:
    return f"{value.__module__.removeprefix('lbsim.engine.')}.{value.__name__}"


every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=label)


def test_the_engine_was_walked() -> None:
    assert len(MODULES) >= 17
    assert {"receive", "find_in", "fire_tick", "schedule"} <= {function.__name__ for function in FUNCTIONS}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_module_says_what_it_is(module: ModuleType) -> None:
    assert (module.__doc__ or "").strip()


@pytest.mark.parametrize(
    "function", [f for f in FUNCTIONS if f.__module__.rpartition(".")[2] not in WITHOUT_SOURCE], ids=label
)
def test_every_function_names_its_source(function: Callable[..., Any]) -> None:
    assert sections(function).get("Source", "").strip()


@every_function
def test_every_function_says_first_what_comes_out(function: Callable[..., Any]) -> None:
    first = (inspect.getdoc(function) or "").partition("\n")[0]
    assert first
    assert (inspect.getdoc(function) or "").partition("\n\n")[0].rstrip().endswith((".", "``", ":"))


@every_function
def test_named_parameters_exist(function: Callable[..., Any]) -> None:
    named = set()
    for entry in ENTRY.findall(sections(function).get("Parameters", "")):
        # "word0 .. word3" names the first and the last of a row
        named |= {name for name in re.split(r"[ ,]+(?:\.\. )?", entry) if name}
    assert named <= set(inspect.signature(function).parameters)


@every_function
def test_sections_stand_in_their_order(function: Callable[..., Any]) -> None:
    order = ["Parameters", "Returns", "Raises", "Invariants", "Source", "Deviates"]
    found = list(sections(function))
    assert set(found) <= set(order)
    assert found == sorted(found, key=order.index)


# One test file per file


def mirrored(path: Path) -> str:
    """Where the tests of an engine file stand, below tests/engine."""
    inside = path.relative_to(Path(lbsim.engine.__file__).parent)
    return str(inside.with_name(f"test_{inside.name}"))


ENGINE = Path(lbsim.engine.__file__).parent
#: Packages' own files and what is said about all schedulers together.
ELSEWHERE = {
    "test___init__.py": "test_docstrings.py",
    "test_errnos.py": "test_services.py",
    "test_numbers.py": "test_records.py",
    "schedulers/test___init__.py": "schedulers/test_every_scheduler.py",
}


@pytest.mark.parametrize("path", sorted(ENGINE.rglob("*.py")), ids=lambda path: str(path.relative_to(ENGINE)))
def test_every_file_of_the_engine_has_its_test_file(path: Path) -> None:
    name = mirrored(path)
    folder = Path(__file__).parent / "engine"
    if name == "test___init__.py":
        assert path.read_text().strip().startswith('"""')
    else:
        assert (folder / ELSEWHERE.get(name, name)).exists()
