"""Profiles and tunables: facts, packet-path.md sections 8.3 and 20."""

from __future__ import annotations

import pytest

from lbsim.engine.profile import PROFILES, SYSCTLS, Profile


@pytest.mark.parametrize("name", ["linux-6.1.192", "linux-6.12.117"])
def test_debians_kernels_tick_250_times_a_second(name: str) -> None:
    assert (PROFILES[name].name, PROFILES[name].hz) == (name, 250)


@pytest.mark.parametrize("hz", [100, 250, 300, 1000])
def test_a_machine_boots_300_seconds_before_the_counter_passes_32_bits(hz: int) -> None:
    assert Profile("any", hz).boot_jiffies + 300 * hz == 2**32


def test_tunables_have_the_kernels_defaults() -> None:
    assert SYSCTLS == {"conn_reuse_mode": 1, "expire_nodest_conn": 0, "sloppy_tcp": 0}
