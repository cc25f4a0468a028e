"""The active and inactive connections of each destination, noted now and then in a run: what figures are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from lbsim.model.config import DirectorConfig
from lbsim.model.result import Series
from lbsim.readout import Activity

__all__ = ["EvenSamples", "Sample", "samples_of", "series_of"]

MOST_SAMPLED_CELLS = 1_000_000  # samples times destinations: bounds what a figure may cost
FINEST_SAMPLES = 1_000_000  # ns between samples as long as nobody knows how long the run will be

Sample: TypeAlias = "tuple[int, Activity]"  # when, and what EngineHost.activity says


class EvenSamples:
    """Samples at even distances over a run whose end is known.

    Attributes
    ----------
    noted : the samples so far.
    """

    def __init__(self, wanted: int, end: int) -> None:
        self.noted: list[Sample] = []
        self._times = sorted({end * i // (wanted - 1) for i in range(wanted)}) if wanted > 1 else []

    def times(self) -> Iterator[int]:
        """When to look (ns); each sample is noted before the next time is asked for."""
        return iter(self._times)

    def note(self, at: int, activity: Activity) -> None:
        """Note a sample."""
        self.noted.append((at, activity))

    def finish(self, end: int, activity: Activity) -> None:
        """The last sample was that of the end."""


class _GrowingSamples(EvenSamples):
    """Samples of a run that may end at any time: when there are too many, every other one is dropped."""

    def __init__(self, wanted: int) -> None:
        super().__init__(0, 0)
        self._wanted = wanted
        self._step = FINEST_SAMPLES

    def times(self) -> Iterator[int]:
        at = 0
        while self._wanted > 1:
            yield at
            if len(self.noted) >= self._wanted:
                self._step *= 2
                self.noted = [sample for sample in self.noted if sample[0] % self._step == 0]
            at = self.noted[-1][0] // self._step * self._step + self._step

    def finish(self, end: int, activity: Activity) -> None:
        """The end is a sample, too."""
        if self._wanted > 1 and self.noted[-1][0] < end:
            self.note(end, activity)


def samples_of(config: DirectorConfig, wanted: int, end: int | None) -> EvenSamples:
    """Samples of a run, at most ``wanted``, and fewer of many destinations; ``end`` (ns) is None if nobody knows it."""
    dests = max(1, sum(len(service.dests) for service in config.services()))
    wanted = min(wanted, MOST_SAMPLED_CELLS // dests)
    return _GrowingSamples(wanted) if end is None else EvenSamples(wanted, end)


def series_of(noted: Sequence[Sample], index: list[int], destinations: int) -> Series:
    """Samples per row of the engine's table, turned into one list per destination.

    Parameters
    ----------
    index : row of the engine's table -> destination; row 0 is none.
    """
    of_rows = np.zeros((len(noted), 2, len(index) - 1), dtype="i8")
    for numbers, (_, activity) in zip(of_rows, noted, strict=True):
        numbers[:, : activity.shape[1]] = activity
    summed = np.zeros((destinations, 2, len(noted)), dtype="i8")
    np.add.at(summed, index[1:], of_rows.T)
    active, inactive = (tuple(map(tuple, one.tolist())) for one in summed.transpose(1, 0, 2))
    return Series(tuple(at for at, _ in noted), active, inactive)
