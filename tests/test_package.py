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
        lbsim.balance  # noqa: B018


@pytest.mark.parametrize(
    "before",
    ["", "import lbsim.simulate", "import lbsim.pipeline", "lbsim.run", "lbsim.simulate", "from lbsim import simulate"],
)
def test_simulate_is_the_function_whatever_was_imported_before(before: str) -> None:
    code = f"import lbsim\n{before}\nprint(type(lbsim.simulate).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "function"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, lbsim; print([n for n in ('numpy', 'scapy', 'pydantic', 'matplotlib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
