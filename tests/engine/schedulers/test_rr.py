"""rr: facts, schedulers.md section 3.1. Lists are newest first: after adding A, B, C it is C B A."""

from __future__ import annotations

import pytest

from tests.playbook import Playbook


def test_the_first_round_goes_from_the_newest_to_the_oldest(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C B A C B A")


def test_weights_do_not_matter_unless_they_are_0(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A weight 1", "B weight 65535", "C weight 3").picks("C B A C B A")


def test_a_destination_added_during_operation_is_reached_when_the_round_is_over(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").add("D").picks("B A D C B")


def test_a_destination_added_before_the_first_pick_is_next(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").add("C").picks("C B A")


def test_when_the_one_picked_last_is_deleted_its_successor_is_next(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C", "D").picks("D C").delete("C").picks("B A D B")


def test_when_the_first_of_the_list_was_picked_last_and_is_deleted_the_new_first_is_next(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").delete("C").picks("B A B")


@pytest.mark.parametrize(("gone", "then"), [("A", "B C B C"), ("B", "A C A C")])
def test_deleting_another_one_changes_nothing_else(play: Playbook, gone: str, then: str) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").delete(gone).picks(then)


def test_deleting_before_the_first_pick_starts_at_the_new_first(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").delete("C").picks("B A B")


def test_a_quiesced_destination_is_skipped_and_used_again_later(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").edit("B weight 0").picks("A C A")
    play.edit("B weight 1").picks("C B A C")


def test_the_one_picked_last_may_be_quiesced(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").edit("C weight 0").picks("B A B")


def test_a_single_destination_is_picked_again_and_again(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").picks("A A A")


def test_a_round_without_anybody_leaves_the_place_in_the_list(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C B")
    play.edit("A weight 0").edit("B weight 0").edit("C weight 0").picks("- -")
    play.edit("A weight 1").edit("B weight 1").edit("C weight 1").picks("A C B")


def test_nobody_is_there_before_the_first_pick(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A weight 0", "B weight 0").picks("-").edit("A weight 1").picks("A A")


def test_editing_the_service_without_another_scheduler_keeps_the_place(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").edit_service("tcp V:80 rr").picks("B A C")


def test_another_scheduler_and_back_starts_afresh(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").edit_service("tcp V:80 sh").edit_service("tcp V:80 rr")
    play.picks("C B A")


def test_each_service_has_its_own_place(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "tcp W:80 rr", "A", "B").picks("B")
    play.send("c50 SYN to W:80").expect("FORWARD B new").picks("A B")


def test_a_destination_back_from_the_trash_is_at_the_head(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C").delete("A").add("A").listing("tcp V:80 rr: A C B")
    play.picks("B A C")
