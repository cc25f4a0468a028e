"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lbsim


@pytest.mark.parametrize("name", lbsim.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(lbsim, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lbsim' has no attribute 'balance'"):
        _ = lbsim.balance


@pytest.mark.parametrize(
    "before",
    ["", "import lbsim.simulate", "import lbsim.pipeline", "lbsim.run", "lbsim.simulate", "from lbsim import simulate"],
)
def test_simulate_is_the_function_whatever_was_imported_before(before: str) -> None:
    code = f"import lbsim\n{before}\nprint(type(lbsim.simulate).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "function"


# In a guest every import is emulated, and everything imported is unpacked at each boot.
@pytest.mark.parametrize("module", ["lbsim", "lbsim.kernel.agent"])
def test_neither_the_package_nor_what_runs_in_guests_imports_anything_heavy(module: str) -> None:
    heavy = ("numpy", "scapy", "pydantic", "matplotlib", "pyroute2", "numba", "dataclasses")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
