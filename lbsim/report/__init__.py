"""A result for people: tables in the terminal, figures, and a page with both.

* ``terminal``  text that adapts to the terminal's width
* ``figures``   PNG files; the only place that imports matplotlib
* ``summary``   a Markdown page
* ``folder``    puts a complete report in the place of an earlier one
* ``tables``    what is shown, before anyone formats it
* ``ideal``     what part each destination should get
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lbsim.model.config import DirectorConfig, TimedCommand
    from lbsim.model.outcome import Outcome
    from lbsim.model.result import Result

__all__ = ["write"]


def write(
    result: Result,
    config: DirectorConfig,
    *,
    description: str,
    outcomes: Sequence[Outcome],
    folder: Path,
    figures: bool,
    timeline: Sequence[TimedCommand] = (),
) -> None:
    """Put ``result.json``, ``summary.md`` and the figures into ``folder``, all of them or none.

    An earlier report there is replaced; files that no report writes stay. With a ``timeline``, a figure shows
    when its commands were given.

    Raises
    ------
    LbsimError : the folder cannot be written, or holds something else than a report: choose another one.
    """
    from lbsim.report import summary
    from lbsim.report.folder import replaced

    with replaced(folder) as part:
        result.to_json(part / "result.json")
        drawn: list[Path] = []
        if figures:
            from lbsim.report.figures import draw

            drawn = draw(result, config, part, changes=[timed.at for timed in timeline])
        summary.write(
            result,
            config,
            scenario_name=result.provenance.scenario,
            description=description,
            outcomes=outcomes,
            folder=part,
            figures=drawn,
        )
