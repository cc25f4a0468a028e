"""Tests of lbsim.report."""
