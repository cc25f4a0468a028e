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
from traceback import extract_tb

from lbsim.engine.schedulers import BUILT_IN, KNOWN, NO_INTEGER, NUMBERS
from lbsim.errors import LbsimError, expected_one_of

__all__ = ["GROUP", "compiled_fault", "fault", "load_schedulers", "source_of", "wrong_pick"]

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


def fault(error: Exception) -> LbsimError | None:
    """What is wrong if a scheduler of a user's own raised this in the engine; None: none did."""
    own = {hooks["schedule"].__code__.co_filename: name for at, (name, hooks) in enumerate(KNOWN) if _is_own(at)}
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename in own]
    if not frames:
        return None
    file, line = frames[-1].filename, frames[-1].lineno
    return LbsimError(f"the scheduler {own[file]} fails: {type(error).__name__}: {error}", file=file, line=line)


def compiled_fault(error: Exception, used: Iterable[int]) -> LbsimError | None:
    """The same if compiled code raised it, which does not tell where; the engine's own never raises.

    Parameters
    ----------
    used : numbers of the services' schedulers.
    """
    own = [KNOWN[number] for number in sorted(set(used)) if _is_own(number)]
    if not own:
        return None
    names = ", ".join(name for name, _ in own)
    file = own[0][1]["schedule"].__code__.co_filename
    return LbsimError(f"the scheduler {names} fails: {type(error).__name__}: {error}", file=file)


def wrong_pick(number: int, pick: int, service: str) -> LbsimError:
    """What is wrong if the scheduler of that number picks for a service what it cannot pick."""
    name, hooks = KNOWN[number]
    gave = "no integer" if pick == NO_INTEGER else pick
    return LbsimError(
        f"the scheduler {name} gave {gave}, expected 0 or the number of a destination of {service}",
        file=hooks["schedule"].__code__.co_filename,
    )


def _is_own(number: int) -> bool:
    return number > len(BUILT_IN)


def _loaded(where: str, load: Callable[[], str]) -> list[str]:
    """The names that the module has registered which ``load`` runs and names; one that is registered stays."""
    try:
        module = load()
    except LbsimError:
        raise
    except Exception as error:  # whatever a user's code may raise
        raise LbsimError(f"cannot load schedulers: {type(error).__name__}: {error}", file=where) from error
    names = [name for name, number in NUMBERS.items() if _is_own(number) and _is_of(KNOWN[number][1], module)]
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
    """Run a file, unless this very content was run before; the name of its module."""
    content = _read(path)
    name = f"lbsim_own_{path.stem}_{hashlib.sha256(bytes(path.absolute()) + content).hexdigest()[:16]}"
    before = {known: at for at, (known, hooks) in enumerate(KNOWN) if _is_own(at) and _is_of(hooks, name)}
    NUMBERS.update(before)
    if before:
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
