"""Where scheduler files report themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["HOOKS", "REGISTERED", "register"]

#: Hook -> its arguments.
HOOKS = {
    "init_service": ("t", "s"),
    "done_service": ("t", "s"),
    "add_dest": ("t", "s", "d"),
    "del_dest": ("t", "s", "d"),
    "upd_dest": ("t", "s", "d"),
    "timer_fired": ("t", "s"),
    "schedule": ("t", "s", "p"),
}

#: Scheduler name -> hook -> function.
REGISTERED: dict[str, dict[str, Callable[..., Any]]] = {}


def register(name: str, **hooks: Callable[..., Any]) -> None:
    """Make a scheduler known under the name that ``ipvsadm -s`` takes."""
    unknown = set(hooks) - set(HOOKS)
    assert not unknown, f"hooks are {', '.join(HOOKS)}; not {', '.join(unknown)}"
    assert "schedule" in hooks, f"scheduler {name} has no schedule hook"
    REGISTERED[name] = hooks
