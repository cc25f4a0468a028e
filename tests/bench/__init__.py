"""Measurements: ``pytest tests/bench --run-bench``. Nothing here fails because it is slow."""
