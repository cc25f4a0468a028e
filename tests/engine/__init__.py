"""Tests of the engine: one file per file of ``lbsim/engine``, and some about the whole."""
