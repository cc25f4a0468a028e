"""Schedulers: one file each, found by being in this folder.

A scheduler file calls :func:`register` with its name and its hooks, which are the kernel's:

* ``init_service(t, s)``  the service got this scheduler (it may have destinations already)
* ``done_service(t, s)``  the service loses it
* ``add_dest(t, s, d)``, ``del_dest(t, s, d)``, ``upd_dest(t, s, d)``  after a destination was added, deleted, edited;
  of a deleted one ``prev`` still tells where it stood
* ``schedule(t, s, p)``  the destination for a client's packet, or 0

All but the last may be left out. The functions of this module (same names) pass a call on to the scheduler of service
``s``; they are generated once, as plain chains of ``if``, because that form runs in both lanes.

Kernel counterpart: ip_vs_sched.c, ``struct ip_vs_scheduler``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.registry import HOOKS, REGISTERED

__all__ = ["NUMBERS", "add_dest", "del_dest", "done_service", "init_service", "schedule", "upd_dest"]

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

#: Scheduler name -> number, as Service.scheduler holds it.
NUMBERS: dict[str, int] = {name: number for number, name in enumerate(sorted(REGISTERED), start=1)}


def _passing_on(hook: str) -> Callable[..., Any]:
    """A function that calls this hook of the service's scheduler, if that scheduler has it."""
    arguments = ", ".join(HOOKS[hook])
    names: dict[str, Any] = {"__name__": __name__}  # of this module, likewise
    lines = [f"def {hook}({arguments}):", "    number = t.services[s].scheduler"]
    for scheduler, number in NUMBERS.items():
        if hook in REGISTERED[scheduler]:
            names[f"{scheduler}_{hook}"] = REGISTERED[scheduler][hook]
            give_back = "return " if hook == "schedule" else ""
            lines += [f"    if number == {number}:", f"        {give_back}{scheduler}_{hook}({arguments})"]
    if hook == "schedule":
        lines.append("    return 0")
    exec(compile("\n".join(lines), __file__, "exec"), names)  # of this file: compiled code is kept by file
    gives = "The destination for a client's packet, or 0" if hook == "schedule" else "Nothing"
    names[hook].__doc__ = f"{gives}: passes the call on to the scheduler of service ``s``."
    made: Callable[..., Any] = kernel(names[hook])
    return made


init_service: Callable[[Tables, int], None] = _passing_on("init_service")
done_service: Callable[[Tables, int], None] = _passing_on("done_service")
add_dest: Callable[[Tables, int, int], None] = _passing_on("add_dest")
del_dest: Callable[[Tables, int, int], None] = _passing_on("del_dest")
upd_dest: Callable[[Tables, int, int], None] = _passing_on("upd_dest")
schedule: Callable[[Tables, int, Packet], int] = _passing_on("schedule")
