"""Which ways to a real kernel work here: probed by doing, each failure with its remedy."""

from __future__ import annotations

from dataclasses import dataclass

from lbsim.errors import KernelUnavailable
from lbsim.kernel import images
from lbsim.kernel.job import Job, Show
from lbsim.kernel.run import run

__all__ = ["Way", "status"]

_JOB = Job("probe", ("192.168.1.10",), ("10.0.0.11",), events=(Show(0),))


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a kernel: ``release`` is that of the kernel that answered, ``problem`` why none did."""

    name: str
    release: str = ""
    problem: str = ""

    @property
    def works(self) -> bool:
        """Whether a kernel answered."""
        return not self.problem


def status() -> list[Way]:
    """Every way, tried with a small job; takes a boot per kernel in the cache."""
    return [_probe(name) for name in ("netns", *(f"vm:{series}" for series in images.SERIES))]


def _probe(name: str) -> Way:
    try:
        (seen,) = run([_JOB], name)
    except KernelUnavailable as error:
        return Way(name, problem=str(error))
    return Way(name, seen.release, seen.error)
