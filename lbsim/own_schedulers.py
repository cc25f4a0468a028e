"""Schedulers of a user's own: a Python file or an installed entry point that registers them by name.

Such a file is written as those in ``lbsim/engine/schedulers`` are, and ends with a call of
``lbsim.engine.schedulers.register``. Loading it runs it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from lbsim.engine.schedulers import BUILT_IN
from lbsim.engine.schedulers.registry import REGISTERED
from lbsim.errors import LbsimError, expected_one_of

__all__ = ["GROUP", "load_schedulers", "source_of"]

#: Of entry points that name modules with schedulers.
GROUP = "lbsim.schedulers"


def load_schedulers(sources: Iterable[str | Path], folder: Path | None = None) -> tuple[str, ...]:
    """Register the schedulers of each source; their names.

    Parameters
    ----------
    sources : paths of Python files, or names of installed entry points of the group ``lbsim.schedulers``.
    folder : where relative paths begin; default: the current one.

    Raises
    ------
    LbsimError : a source is not there, fails, or registers nothing.
    """
    names: list[str] = []
    for source in sources:
        path = (folder or Path()) / source
        if path.suffix == ".py":
            names += _loaded(str(path), partial(_run, path))
        else:
            names += _loaded(str(source), partial(_enter, str(source)))
    return tuple(names)


def source_of(source: str, folder: Path) -> bytes:
    """What a source is, for digests: a file's content, else the entry point's name."""
    path = folder / source
    return _read(path) if path.suffix == ".py" else source.encode()


def _loaded(where: str, load: Callable[[], str]) -> list[str]:
    """The names that the module has registered which ``load`` runs and names; one that is registered stays."""
    try:
        module = load()
    except LbsimError:
        raise
    except Exception as error:  # whatever a user's code may raise
        raise LbsimError(f"cannot load schedulers: {type(error).__name__}: {error}", file=where) from error
    names = [name for name, hooks in REGISTERED.items() if name not in BUILT_IN and _is_of(hooks, module)]
    if not names:
        raise LbsimError("registers no scheduler: expected a call of lbsim.engine.schedulers.register", file=where)
    return names


def _is_of(hooks: dict[str, Callable[..., object]], module: str) -> bool:
    return hooks["schedule"].__module__ == module


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LbsimError(f"cannot read schedulers: {error.strerror}", file=str(path)) from None


def _run(path: Path) -> str:
    """Run a file, unless this very content is what is registered; the name of its module."""
    content = _read(path)
    name = f"lbsim_own_{path.stem}_{hashlib.sha256(bytes(path.absolute()) + content).hexdigest()[:16]}"
    if any(_is_of(hooks, name) for hooks in REGISTERED.values()):
        return name
    spec = spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    exec(compile(content, str(path.absolute()), "exec"), module.__dict__)
    return name


def _enter(name: str) -> str:
    """Import the entry point of that name; its module's name."""
    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        if not known:
            raise LbsimError(f"no scheduler {name!r} is installed: expected the path of a .py file")
        raise LbsimError(expected_one_of(name, tuple(known), "entry point"))
    known[name].load()
    return known[name].module
