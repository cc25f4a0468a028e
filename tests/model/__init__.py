"""Tests of lbsim.model."""
