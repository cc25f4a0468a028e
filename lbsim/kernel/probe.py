"""Which ways to a real kernel work here: probed by doing, each failure with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lbsim.errors import KernelUnavailable
from lbsim.kernel import images
from lbsim.kernel.run import PROBE, run

__all__ = ["Way", "status"]


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


def status() -> Iterator[Way]:
    """Every way, tried with a small job when it is asked for; takes a boot per kernel in the cache."""
    for name in ("netns", *(f"vm:{series}" for series in images.SERIES)):
        yield _probe(name)


def _probe(name: str) -> Way:
    try:
        (seen,) = run([PROBE], name)
    except KernelUnavailable as error:
        return Way(name, problem=str(error))
    return Way(name, seen.release, seen.error)
