"""Profiles and tunables: facts, packet-path.md sections 8.3 and 20."""

from __future__ import annotations

import pytest

from lbsim.engine.profile import PROFILES, SWITCHES, SYSCTLS, Profile, profiles_text
from lbsim.host import EngineHost


@pytest.mark.parametrize("name", ["linux-6.1.192", "linux-6.12.117", "linux-6.1.0", "linux-6.12.0"])
def test_debians_kernels_tick_250_times_a_second(name: str) -> None:
    assert (PROFILES[name].name, PROFILES[name].hz) == (name, 250)


@pytest.mark.parametrize("hz", [100, 250, 300, 1000])
def test_a_machine_boots_300_seconds_before_the_counter_passes_32_bits(hz: int) -> None:
    assert Profile("any", hz).boot_jiffies + 300 * hz == 2**32


def test_tunables_have_the_kernels_defaults() -> None:
    day = 24 * 60 * 60
    assert {
        "conn_reuse_mode": 1, "expire_nodest_conn": 0, "sloppy_tcp": 0, "lblc_expiration": day, "lblcr_expiration": day,
    } == SYSCTLS  # fmt: skip


def told() -> dict[str, list[str]]:
    """The lines below each profile's."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in profiles_text().splitlines():
        if line.startswith(" "):
            found[name].append(line.strip())
        else:
            name = line.partition(",")[0]
            found[name] = []
    return found


@pytest.mark.parametrize("name", ["linux-6.1.192", "linux-6.12.117"])
def test_current_kernels_have_no_switch_on(name: str) -> None:
    assert told()[name] == []
    assert f"{name}, HZ=250: as current kernels do it" in profiles_text()


@pytest.mark.parametrize("name", ["linux-6.1.0", "linux-6.12.0"])
def test_the_first_kernels_of_a_series_have_every_switch_on(name: str) -> None:
    lines = told()[name]
    assert lines[::3] == list(SWITCHES)
    assert lines[6:9] == [
        "any_threshold",
        "here:    it is accepted",
        "current: an upper threshold above 2147483647 is refused (EINVAL)",
    ]


def test_every_profile_is_told() -> None:
    assert list(told()) == list(PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_the_engine_reads_a_profiles_switches_in_its_first_row(name: str) -> None:
    row = EngineHost(profile=name).tables.director[0]
    assert {switch for switch in SWITCHES if getattr(row, switch)} == set(PROFILES[name].on)
