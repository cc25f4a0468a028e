"""Measurements: ``nox -s bench``, or ``pytest tests/bench --run-bench``. Nothing here fails because it is slow.

Each measurement is a row: a rate, a time or a size, the median of some rounds. At the end all rows are printed as a
Markdown table, with how far they are from what is wanted and from the last ones that were kept on this machine.

* ``--bench-scale 0.01`` makes everything smaller: to see that it works, not how fast it is.
* ``--bench-keep`` appends the rows to ``history.jsonl``, which is under version control, and puts the table into the
  README.

Rates are packets per second of processor time, so that other work on the machine disturbs them less; only what runs in
other processes (commands, a guest) is measured by the clock.
"""
