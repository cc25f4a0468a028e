"""Tests of lbsim.compare."""
