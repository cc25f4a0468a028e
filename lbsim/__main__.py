"""``python -m lbsim``: the same as ``lbsim``."""

from lbsim.cli import main

main(prog_name="lbsim")
