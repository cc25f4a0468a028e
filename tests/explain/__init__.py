"""Tests of lbsim.explain."""
