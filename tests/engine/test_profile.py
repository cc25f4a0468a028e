"""Profiles and tunables: facts, packet-path.md sections 8.3 and 20."""

from __future__ import annotations

import pytest

from lbsim import Director as Live
from lbsim.engine.profile import PROFILES, SWITCHES, SYSCTLS, Profile, profiles_text, refused_value
from lbsim.engine.records import Director
from lbsim.errors import ConfigError
from lbsim.host import EngineHost


@pytest.mark.parametrize("name", ["linux-6.1.192", "linux-6.12.117", "linux-6.1.0", "linux-6.12.0"])
def test_debians_kernels_tick_250_times_a_second(name: str) -> None:
    assert (PROFILES[name].name, PROFILES[name].hz) == (name, 250)


@pytest.mark.parametrize("hz", [100, 250, 300, 1000])
def test_a_machine_boots_300_seconds_before_the_counter_passes_32_bits(hz: int) -> None:
    assert Profile("any", hz).boot_jiffies + 300 * hz == 2**32


def test_tunables_have_the_kernels_defaults() -> None:
    others = {name: known.default for name, known in SYSCTLS.items() if known.default}
    assert others == {
        "am_droprate": 10, "amemthresh": 1024, "conn_reuse_mode": 1, "pmtu_disc": 1, "run_estimation": 1,
        "lblc_expiration": 86400, "lblcr_expiration": 86400, "snat_reroute": 1, "sync_ports": 1, "sync_threshold": 3,
        "sync_version": 1,
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name, known in SYSCTLS.items() if known.switch])
def test_a_switch_is_a_field_of_the_engine_with_the_same_default(name: str) -> None:
    assert getattr(Director(), name) == SYSCTLS[name].default


@pytest.mark.parametrize("name", ["drop_entry", "drop_packet", "secure_tcp"])
@pytest.mark.parametrize("value", [-1, 4])
def test_a_value_that_the_kernel_refuses_is_refused(name: str, value: int) -> None:
    assert refused_value(name, value) == f"the kernel refuses net.ipv4.vs.{name}={value} (EINVAL): expected 0 to 3"


# What 6.1.192 and 6.12.117 took and refused (est_nice: 6.12.117)
@pytest.mark.parametrize(
    ("name", "least", "greatest"),
    [("sync_threshold", 0, 49), ("sync_version", 0, 1), ("sync_retries", 0, 3), ("est_nice", -20, 19)],
)
def test_values_without_effect_are_taken_and_refused_as_by_the_kernel(name: str, least: int, greatest: int) -> None:
    says = f"(EINVAL): expected {least} to {greatest}"
    assert [refused_value(name, value) for value in (least, greatest)] == ["", ""]
    for value in (least - 1, greatest + 1):
        assert refused_value(name, value) == f"the kernel refuses net.ipv4.vs.{name}={value} {says}"


def test_every_tunable_of_the_facts_is_in_the_table() -> None:
    # facts, packet-path.md section 20
    assert " ".join(sorted(SYSCTLS)) == (
        "am_droprate amemthresh backup_only cache_bypass conn_reuse_mode conntrack debug_level drop_entry drop_packet "
        "est_cpulist est_nice expire_nodest_conn expire_quiescent_template ignore_tunneled lblc_expiration "
        "lblcr_expiration nat_icmp_send pmtu_disc run_estimation schedule_icmp secure_tcp sloppy_sctp sloppy_tcp "
        "snat_reroute sync_persist_mode sync_ports sync_qlen_max sync_refresh_period sync_retries sync_sock_size "
        "sync_threshold sync_version"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("est_cpulist", "a list of processors, and there is one; kernels before 6.2 do not have the tunable"),
        ("debug_level", "the kernel of Debian does not have it (CONFIG_IP_VS_DEBUG)"),
    ],
)
def test_a_tunable_that_is_not_modelled_says_why(name: str, why: str) -> None:
    assert refused_value(name, 0) == f"net.ipv4.vs.{name} is not modelled: {why}"
    with pytest.raises(ConfigError, match=f"{name} is not modelled"):
        Live(sysctls={name: 0})


@pytest.mark.parametrize(("name", "value", "known"), [("drop_entry", 3, "0 to 2"), ("conntrack", 1, "0")])
def test_a_value_that_is_not_modelled_is_refused(name: str, value: int, known: str) -> None:
    assert refused_value(name, value) == f"net.ipv4.vs.{name}={value} is not modelled: expected {known}"


# as both kernels take and refuse them, see tests/kernel/test_boot.py
@pytest.mark.parametrize(
    ("name", "taken", "refused", "expected"),
    [
        ("sync_ports", (1, 2, 64, 2**30), (-1, 0, 3, 6, 2**31 - 1, 2**31), "a power of two, 1 to 1073741824"),
        ("sync_qlen_max", (0, 2**31 - 1), (-1, 2**31), "0 to 2147483647"),
        ("sync_refresh_period", (-8589934, 8589934), (-8589935, 8589935), "-8589934 to 8589934"),
        ("lblc_expiration", (-8589934, 8589934), (-8589935, 8589935), "-8589934 to 8589934"),
        ("amemthresh", (-(2**31), 2**31 - 1), (-(2**31) - 1, 2**31), "-2147483648 to 2147483647"),
        ("drop_entry", (0, 2), (-1, 4), "0 to 3"),
    ],
)
def test_the_kernel_takes_what_it_takes(
    name: str, taken: tuple[int, ...], refused: tuple[int, ...], expected: str
) -> None:
    assert [refused_value(name, value) for value in taken] == [""] * len(taken)
    assert [refused_value(name, value) for value in refused] == [
        f"the kernel refuses net.ipv4.vs.{name}={value} (EINVAL): expected {expected}" for value in refused
    ]


@pytest.mark.parametrize(("name", "value"), [("drop_packet", 3), ("conn_reuse_mode", -7), ("drop_entry", 2)])
def test_other_values_are_taken(name: str, value: int) -> None:
    assert refused_value(name, value) == ""


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


def test_the_newest_kernel_has_no_switch_on() -> None:
    assert told()["linux-6.12.117"] == []
    assert "linux-6.12.117, HZ=250: as current kernels do it" in profiles_text()


# facts, packet-path.md section 18.2
def test_kernels_before_6_2_copy_all_counters_at_once() -> None:
    assert told()["linux-6.1.192"][0] == "common_copy"
    assert {name for name, profile in PROFILES.items() if "common_copy" in profile.on} == {
        "linux-6.1.192",
        "linux-6.1.0",
    }


@pytest.mark.parametrize("name", ["linux-6.1.0", "linux-6.12.0"])
def test_the_first_kernels_of_a_series_have_every_switch_on(name: str) -> None:
    lines = told()[name]
    assert lines[::3] == [switch for switch in SWITCHES if (switch, name) != ("common_copy", "linux-6.12.0")]
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
