"""Schedulers: one file each, found by being in this folder.

A scheduler file calls :func:`register` with its name and its hooks, which are the kernel's:

* ``init_service(t, s)``  the service got this scheduler (it may have destinations already); gives 0, or the kernel's
  error as a negative number
* ``done_service(t, s)``  the service loses it
* ``add_dest(t, s, d)``, ``del_dest(t, s, d)``, ``upd_dest(t, s, d)``  after a destination was added, deleted, edited;
  of a deleted one ``prev`` still tells where it stood
* ``timer_fired(t, s)``  the timer that it set (see ``scheduler_timers.py``) fired
* ``schedule(t, s, p)``  the destination for a client's packet, or 0

All but the last may be left out. The functions of this module (same names) pass a call on to the scheduler of service
``s``; they are generated as plain chains of ``if``, because that form runs in both lanes. Schedulers may also be
registered later, by whoever uses lbsim: then they are generated anew. What such a scheduler picks is looked at.

Kernel counterpart: ip_vs_sched.c, ``struct ip_vs_scheduler``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from types import FunctionType
from typing import Any

from lbsim.engine.lanes import COMPILED, kernel, renewed, seldom
from lbsim.engine.records import Packet, Tables
from lbsim.engine.scheduler_timers import first_scheduler_timer
from lbsim.engine.schedulers import registry
from lbsim.engine.schedulers.registry import HOOKS, REGISTERED

__all__ = [
    "BUILT_IN",
    "KNOWN",
    "NO_INTEGER",
    "NUMBERS",
    "add_dest",
    "del_dest",
    "done_service",
    "init_service",
    "register",
    "run_timers",
    "schedule",
    "timer_fired",
    "upd_dest",
]

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

#: The schedulers that come with lbsim, which are the kernel's.
BUILT_IN: tuple[str, ...] = tuple(sorted(REGISTERED))

#: Scheduler name -> number, as Service.scheduler holds it. ``none`` is a service without scheduler.
NUMBERS: dict[str, int] = {"none": 0} | {name: number for number, name in enumerate(BUILT_IN, start=1)}

NO_INTEGER = -(1 << 62)  # Director.wrong_pick, if it was none

#: Name and hooks by number, of all that ever had one: a director keeps those with which its services began.
KNOWN: list[tuple[str, dict[str, Callable[..., Any]]]] = [(name, REGISTERED.get(name, {})) for name in NUMBERS]


@seldom
def picked(t: Tables, s: int, d: int) -> int:
    """``d``, which a scheduler that does not come with lbsim has picked; 0, and a note, if it cannot be picked.

    Source
    ------
    lbsim's own.
    """
    if not COMPILED:
        d = _whole(d)
    if d == 0 or (0 < d <= t.director[0].dests_used and t.dests[d].service == s and t.dests[d].available != 0):
        return d
    t.director[0].wrong_pick = d
    t.director[0].wrong_pick_for = s
    return 0


def _whole(number: object) -> int:
    return number if isinstance(number, int) else NO_INTEGER


def _generated(hook: str) -> FunctionType:
    """A function that calls this hook of the service's scheduler, if that scheduler has it."""
    arguments = ", ".join(HOOKS[hook])
    names: dict[str, Any] = {"__name__": __name__, "picked": picked}  # of this module, likewise
    gives = hook in ("schedule", "init_service")
    lines = [f"def {hook}({arguments}):", "    number = t.services[s].scheduler"]
    for number, (scheduler, hooks) in enumerate(KNOWN):
        if hook in hooks:
            names[f"hook_{number}"] = hooks[hook]
            call = f"hook_{number}({arguments})"
            if hook == "schedule" and scheduler not in BUILT_IN:
                call = f"picked(t, s, {call})"
            lines += [f"    if number == {number}:", f"        {'return ' if gives else ''}{call}"]
    if gives:
        lines.append("    return 0")
    exec(compile("\n".join(lines), __file__, "exec"), names)  # of this file: compiled code is kept by file
    made: FunctionType = names[hook]
    return made


def _passing_on(hook: str) -> Callable[..., Any]:
    """The function of this module that passes the hook on."""
    gives = {"schedule": "The destination for a client's packet, or 0", "init_service": "0, or the kernel's error"}
    function = _generated(hook)
    function.__doc__ = f"{gives.get(hook, 'Nothing')}: passes the call on to the scheduler of service ``s``."
    return seldom(function)


init_service: Callable[[Tables, int], int] = _passing_on("init_service")
done_service: Callable[[Tables, int], None] = _passing_on("done_service")
add_dest: Callable[[Tables, int, int], None] = _passing_on("add_dest")
del_dest: Callable[[Tables, int, int], None] = _passing_on("del_dest")
upd_dest: Callable[[Tables, int, int], None] = _passing_on("upd_dest")
timer_fired: Callable[[Tables, int], None] = _passing_on("timer_fired")
schedule: Callable[[Tables, int, Packet], int] = _passing_on("schedule")


def register(name: str, **hooks: Callable[..., Any]) -> None:
    """Make a scheduler that does not come with lbsim known under the name that a config's ``-s`` takes.

    The hooks are marked as functions of both lanes; what they call must be marked ``@kernel``. A name may be registered
    again: services that had its scheduler before keep it.

    Raises
    ------
    ValueError : the name is that of a kernel's scheduler, or none that ``ipvsadm`` takes; a hook cannot be called with
        what it gets.
    """
    if name in BUILT_IN or name == "none":
        raise ValueError(f"scheduler {name} is the kernel's own: choose another name")
    if not name or len(name) > 15 or not name.isprintable() or " " in name:
        raise ValueError(f"{name!r} is no name of a scheduler: expected up to 15 characters without spaces")
    registry.check(name, hooks)
    for function in hooks.values():
        kernel(function)
    NUMBERS[name] = len(KNOWN)
    KNOWN.append((name, hooks))
    for hook in HOOKS:
        function = globals()[hook]
        fresh = _generated(hook)
        function.__globals__.update(fresh.__globals__)
        function.__code__ = fresh.__code__
    renewed()


@seldom
def run_timers(t: Tables) -> None:
    """Call the schedulers whose timers fire now.

    Source
    ------
    facts: packet-path.md section 8.3; timer.c expire_timers().
    """
    director = t.director[0]
    for s in range(1, director.services_used + 1):
        if t.services[s].timer_fire != 0 and t.services[s].timer_fire <= director.now:
            t.services[s].timer_fire = 0
            timer_fired(t, s)
    director.scheduler_fire = first_scheduler_timer(t)
