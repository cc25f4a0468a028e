"""lbsim, a flight simulator for Linux load balancing.

It answers exactly what the kernel's IPVS would do: which destination gets which connection, what every packet looks
like after NAT, and what the connection table holds at any moment.

* :class:`Director`  a live director for a Python prompt: packets in, packets out
* :func:`simulate`   a whole trace at once, a :class:`Result` out
* :func:`parse`      a :class:`DirectorConfig` from ``ipvsadm`` commands or a saved dump
* :func:`run`        a scenario file, from config to report
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbsim.config import parse
    from lbsim.errors import ConfigError, LbsimError, ScenarioError, TraceError
    from lbsim.live import Director
    from lbsim.model.config import DirectorConfig
    from lbsim.model.result import Result
    from lbsim.model.trace import Trace
    from lbsim.pipeline import run
    from lbsim.simulate import simulate

__all__ = [
    "ConfigError",
    "Director",
    "DirectorConfig",
    "LbsimError",
    "Result",
    "ScenarioError",
    "Trace",
    "TraceError",
    "parse",
    "run",
    "simulate",
]

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "lbsim.errors",
    "Director": "lbsim.live",
    "DirectorConfig": "lbsim.model.config",
    "LbsimError": "lbsim.errors",
    "Result": "lbsim.model.result",
    "ScenarioError": "lbsim.errors",
    "Trace": "lbsim.model.trace",
    "TraceError": "lbsim.errors",
    "parse": "lbsim.config",
    "run": "lbsim.pipeline",
    "simulate": "lbsim.simulate",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: ``import lbsim`` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lbsim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """This package. Importing a submodule does not put it in the place of the function of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
