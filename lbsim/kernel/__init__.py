"""The same contract answered by a real kernel: jobs in, observations out.

* :func:`lbsim.kernel.run.run`  jobs on this host's kernel (``netns``) or on any Debian kernel under QEMU (``vm``)
* :func:`fetch`   a kernel into the user's cache folder
* :func:`status`  which ways work here, and what helps where one does not

Jobs and observations: :mod:`lbsim.kernel.job`. What a bench looks like: :mod:`lbsim.kernel.bench`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbsim.kernel.images import Image, fetch, installed
    from lbsim.kernel.job import Job, Observation
    from lbsim.kernel.probe import Way, status
    from lbsim.kernel.run import WAYS

__all__ = ["WAYS", "Image", "Job", "Observation", "Way", "fetch", "installed", "status"]

_HOMES = {
    "Image": "images",
    "Job": "job",
    "Observation": "job",
    "WAYS": "run",
    "Way": "probe",
    "fetch": "images",
    "installed": "images",
    "status": "probe",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: the guest imports the agent only."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lbsim.kernel.{_HOMES[name]}"), name)
