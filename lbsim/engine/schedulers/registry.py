"""Where scheduler files report themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

__all__ = ["HOOKS", "REGISTERED", "check", "register"]

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

#: Scheduler that comes with lbsim -> hook -> function.
REGISTERED: dict[str, dict[str, Callable[..., Any]]] = {}


def register(name: str, **hooks: Callable[..., Any]) -> None:
    """Make a scheduler that comes with lbsim known under the name that ``ipvsadm -s`` takes."""
    check(name, hooks)
    REGISTERED[name] = hooks


def check(name: str, hooks: Mapping[str, Callable[..., Any]]) -> None:
    """Look whether these can be a scheduler's hooks.

    Raises
    ------
    ValueError : one is unknown, cannot be called with what it gets, or ``schedule`` is missing.
    """
    unknown = set(hooks) - set(HOOKS)
    if unknown:
        raise ValueError(f"hooks are {', '.join(HOOKS)}; not {', '.join(unknown)}")
    if "schedule" not in hooks:
        raise ValueError(f"scheduler {name} has no schedule hook")
    for hook, function in hooks.items():
        try:
            signature(function).bind(*HOOKS[hook])
        except TypeError:
            raise ValueError(f"{hook} of the scheduler {name} does not take ({', '.join(HOOKS[hook])})") from None
