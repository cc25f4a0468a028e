"""Tests of the schedulers, one file each."""
