"""What is modelled, and what says that it is right: the table of which the page docs/behaviours.md is generated.

python -m tests.behaviours > docs/behaviours.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BEHAVIOURS", "ROOT", "Behaviour", "page"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Behaviour:
    """Something that IPVS does.

    switches : what of it differs between kernels (``lbsim profiles``).
    test : the test with its values, of several the one to read first.
    scenario : of the folder scenarios, without its ending.
    random : kinds of random jobs that it takes part in.
    """

    name: str
    test: str
    scenario: str = ""
    random: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()


SCHED = "tests/engine/schedulers"
ENGINE = "tests/engine"
BEHAVIOURS = (
    Behaviour("rr", f"{SCHED}/test_rr.py::test_the_first_round_goes_from_the_newest_to_the_oldest", "seed/walkthrough", ("rr",)),
    Behaviour("wrr", f"{SCHED}/test_wrr.py::test_edits_in_operation", "wrr/laps", ("wrr",)),
    Behaviour("lc", f"{SCHED}/test_lc.py::test_the_least_loaded_gets_the_connection", "lc/long-and-short", ("lc",), ("load_of_inactive",)),
    Behaviour("wlc", f"{SCHED}/test_wlc.py::test_who_is_picked", "wlc/uneven-servers", ("wlc",), ("load_of_inactive",)),
    Behaviour("sed", f"{SCHED}/test_sed.py::test_who_is_picked", "sed/uneven-servers", ("sed",)),
    Behaviour("nq", f"{SCHED}/test_nq.py::test_who_is_picked", "nq/never-queue", ("nq",)),
    Behaviour("sh", f"{SCHED}/test_sh.py::test_buckets_are_dealt_out_round_the_list_each_its_weight", "sh/nat-gateway", ("sh",)),
    Behaviour("sh with sh-port", f"{SCHED}/test_sh.py::test_with_sh_port_the_port_is_added", "sh/nat-gateway-sh-port", ("sh",)),
    Behaviour("dh", f"{SCHED}/test_dh.py::test_the_destination_address_decides", "dh/one-address", ("dh",)),
    Behaviour("mh, mh-port, mh-fallback", f"{SCHED}/test_mh.py::test_the_table_is_the_kernels", "mh/server-deleted", ("mh",), ("loses_scheduler",)),
    Behaviour("lblc", f"{SCHED}/test_lblc.py::test_an_address_stays_with_its_destination", "lblc/one-address", ("lblc",), ("load_of_inactive", "endless_cache", "miscounted_cache")),
    Behaviour("lblcr", f"{SCHED}/test_lblcr.py::test_a_set_grows_when_its_least_loaded_member_is_overtaxed", "lblcr/one-address", ("lblcr",), ("load_of_inactive", "endless_cache")),
    Behaviour("fo", f"{SCHED}/test_fo.py::test_who_is_picked", "fo/standby", ("fo",)),
    Behaviour("ovf", f"{SCHED}/test_ovf.py::test_who_is_picked", "ovf/overflow", ("ovf",)),
    Behaviour("twos", f"{SCHED}/test_twos.py::test_the_less_loaded_of_two_gets_the_connection", "twos/two-choices", (), ("load_of_inactive",)),
    Behaviour("schedulers of one's own", "tests/test_own_schedulers.py::test_a_director_takes_a_file"),
    Behaviour("services by address, their order of lookup", f"{ENGINE}/test_services.py::test_protocols_and_ports_make_different_services", "operations/server-added", ("switches",)),
    Behaviour("services by firewall mark", f"{ENGINE}/test_persistence.py::test_marked_packets_of_all_protocols_share_one_template", "mark/shop", ("mark", "mark-persistent", "mark-any-method")),
    Behaviour("services of port 0", f"{ENGINE}/test_persistence.py::test_a_service_of_port_0_takes_every_port_with_one_template", "persistence/every-port", ("persistent-port-0",)),
    Behaviour("FTP's ports", f"{ENGINE}/test_persistence.py::test_ftp_takes_the_high_ports_and_20", "persistence/ftp"),
    Behaviour("persistence and its templates", f"{ENGINE}/test_persistence.py::test_with_connections_it_looks_again_every_60_seconds_and_is_refreshed_to_60", "persistence/drain", ("persistent", "udp-persistent", "ipv6-persistent", "sctp-persistent")),
    Behaviour("one-packet scheduling", f"{ENGINE}/test_persistence.py::test_one_packet_entries_are_never_listed", "udp/one-packet", ("udp-one-packet",)),
    Behaviour("thresholds", f"{ENGINE}/test_thresholds.py::test_when_a_destination_is_full", "thresholds/overload", ("thresholds", "persistent-thresholds"), ("late_thresholds", "any_threshold")),
    Behaviour("weight 0", f"{ENGINE}/test_director.py::test_a_known_connection_goes_on_at_weight_0", "operations/drain", ("rr", "lc", "sh")),
    Behaviour("removed destinations and their trash", f"{ENGINE}/test_destinations.py::test_an_idle_destination_is_forgotten_at_the_third_look", "operations/remembered", ("rr", "lc", "sh")),
    Behaviour("TCP's states", f"{ENGINE}/test_tcp.py::test_every_packet_leads_where_the_rules_say", "operations/half-open", ("rr",)),
    Behaviour("TCP of which one side is seen", f"{ENGINE}/test_tcp.py::test_the_first_answer_makes_a_one_sided_entry_two_sided", "dr/direct-routing", ("direct-routing", "any-method")),
    Behaviour("TCP's states with secure_tcp", f"{ENGINE}/test_tcp.py::test_all_transitions_are_there_for_every_direction_and_state", "operations/secure-tcp", ("switches",)),
    Behaviour("a used port again (conn_reuse_mode)", f"{ENGINE}/test_director.py::test_a_syn_on_a_finished_connection_is_scheduled_anew", "reuse/same-port", ("switches",)),
    Behaviour("UDP", f"{ENGINE}/test_udp.py::test_there_is_one_state_of_300_seconds", "udp/dns", ("udp",)),
    Behaviour("SCTP", f"{ENGINE}/test_sctp.py::test_an_association_from_its_first_chunk_to_its_last", "sctp/associations", ("sctp", "sctp-persistent")),
    Behaviour("AH and ESP", f"{ENGINE}/test_ipsec.py::test_ipsec_packets_go_where_the_key_exchange_went", "udp/ipsec"),
    Behaviour("IPv6", f"{SCHED}/test_dh.py::test_an_ipv6_address_decides_by_its_folded_words", "ipv6/round-robin", ("ipv6", "ipv6-any-method", "ipv6-persistent")),
    Behaviour("the timer wheel, expires", f"{ENGINE}/test_timers.py::test_the_worked_example_fires_901_872_seconds_after_arming", "timeouts/idle-900s", ("rr",)),
    Behaviour("tunables", f"{ENGINE}/test_opening.py::test_sloppy_tcp_schedules_packets_in_mid_connection", "reuse/same-port-kept", ("switches",)),
    Behaviour("tunables that are set in mid-run", f"{ENGINE}/test_defence.py::test_in_mid_run_a_new_rate_counts_from_the_next_packet_dropped_on", "operations/drain-sessions", ("flips", "mark-flips", "sctp-flips")),
    Behaviour("NAT", f"{ENGINE}/test_forwarding.py::test_ports_are_translated_both_ways", "capture/curl-nginx", ("rr",)),
    Behaviour("direct routing", "tests/test_departures.py::test_direct_routing_lowers_the_ttl_and_that_is_all", "dr/direct-routing", ("direct-routing", "any-method", "udp-any-method", "ipv6-any-method")),
    Behaviour("a destination's kept route", "tests/test_departures.py::test_with_a_route_that_was_found_for_another_method_direct_routing_finds_no_next_hop", "dr/method-changed"),
    Behaviour("tunnels (IPIP, GRE, GUE)", "tests/test_departures.py::test_a_tunnel_wraps_the_packet_as_it_leaves", "tunnel/dns-tunnel", ("tunnel", "any-method", "udp-any-method", "ipv6-any-method")),
    Behaviour("bypass", "tests/test_departures.py::test_a_bypassed_packet_goes_where_its_sender_wanted_it", "mark/cache-bypass", ("bypass",)),
    Behaviour("local destinations", "tests/test_departures.py::test_a_program_on_the_director_gets_packets_and_answers_through_ipvs", "operations/sorry-server", ("own", "udp-own", "ipv6-own")),
    Behaviour("clients on the director", "tests/test_own_clients.py::test_over_nat_the_director_is_a_client_like_any_other", "operations/own-clients", ("own-clients", "udp-own-clients", "ipv6-own-clients")),
    Behaviour("answers past the director", "tests/test_simulate.py::test_answers_past_the_director_are_not_seen", "operations/wrong-gateway"),
    Behaviour("FORWARD's policy and rules", "tests/test_forward_rules.py::test_what_forward_lets_pass", "operations/firewall-forgotten", ("forward-rules",)),
    Behaviour("MTUs", "tests/test_path_mtu.py::test_each_packet_is_decided_as_by_a_live_director", "tunnel/too-large", ("narrow-routes",)),
    Behaviour("fragments", "tests/traffic/test_reassembly.py::test_captured_fragments_are_put_together_as_a_director_does_it", "udp/fragments"),
    Behaviour("addresses that the IP layer refuses", f"{ENGINE}/test_ip_layer.py::test_a_martian_neither_makes_an_entry_nor_is_routed", "operations/martians"),
    Behaviour("IPv4 options", "tests/packet/test_options.py::test_where_options_are_wrong", "operations/ip-options"),
    Behaviour("ICMP errors", "tests/test_departing_errors.py::test_an_error_of_the_client_goes_to_the_server_with_its_ends", "udp/errors", ("icmp", "udp-icmp", "ipv6-icmp")),
    Behaviour("answers of the director's own stack", "tests/packet/test_answers.py::test_which_protocols_the_own_stack_knows", "operations/closed-doors", ("rr", "udp", "sctp")),
    Behaviour("counters and rates", f"{ENGINE}/test_estimator.py::test_rates_are_those_of_a_kernel_with_turns", "seed/least-connection", ("rr",), ("common_copy",)),
    Behaviour("listings", "tests/listing/test_table.py::test_numbers_of_every_magnitude_are_printed_as_by_the_real_tool", "seed/walkthrough"),
    Behaviour("ipvsadm's refusals", "tests/config/test_refusals.py::test_a_refusal_of_the_kernel_is_told_as_ipvsadm_tells_it", "operations/refused"),
)  # fmt: skip


def kernels(scenario: str) -> list[str]:
    """The kernels whose recordings of the scenario are kept beside it."""
    found = sorted(ROOT.glob(f"scenarios/{scenario}.linux-*.recording.json")) if scenario else []
    return sorted({json.loads(path.read_text(encoding="utf-8"))["kernel"] for path in found})


def page() -> str:
    """The page ``docs/behaviours.md``."""
    lines = [
        "# What is modelled, and what says so",
        "",
        "The scenario of each row was recorded on the kernels named, and lbsim's answer is compared with the recordings in",
        "every run of the tests. Random jobs (`nox -s kernel`) are of the kinds named. What differs between kernels is a switch of",
        "a profile (`lbsim profiles`). This page is generated by `python -m tests.behaviours`.",
        "",
        "| behaviour | switches | test | scenario | recorded on | random jobs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in BEHAVIOURS:
        path, _, name = one.test.partition("::")
        scenario = f"[{one.scenario}](../scenarios/{one.scenario}.lbsim.yaml)" if one.scenario else ""
        cells = (
            one.name,
            ", ".join(f"`{switch}`" for switch in one.switches),
            f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})",
            scenario,
            ", ".join(kernels(one.scenario)),
            ", ".join(one.random),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
