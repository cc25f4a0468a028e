"""What tests of captures share."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim.engine.lanes import Lane
from tests.traffic.captures import Reader


@pytest.fixture
def read(tmp_path: Path, lane: Lane) -> Reader:
    """Writes a capture and reads it as a trace, in either lane."""
    return Reader(tmp_path / "capture", lane)
