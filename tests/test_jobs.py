"""Processes side by side: answers in order, errors passed on, nothing left running."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from lbsim.errors import ScenarioError
from lbsim.jobs import FOR_RECORDINGS, ProcessError, as_many_as_pay, get_ready, processors, side_by_side


def squared(number: int) -> int:
    return number * number


def slept(seconds: float) -> tuple[float, int]:
    time.sleep(seconds)
    return seconds, os.getpid()


def test_answers_come_in_the_order_of_the_things() -> None:
    assert list(side_by_side(squared, range(7), 3)) == [0, 1, 4, 9, 16, 25, 36]


def test_a_slow_thing_holds_up_nothing_but_its_answer() -> None:
    answers = list(side_by_side(slept, [0.5, 0.0, 0.0, 0.0], 2))
    assert [seconds for seconds, _ in answers] == [0.5, 0.0, 0.0, 0.0]
    assert len({process for _, process in answers}) == 4
    assert os.getpid() not in {process for _, process in answers}


def now(_thing: float) -> float:
    return time.monotonic()


def test_the_heaviest_are_begun_first_and_equals_in_their_order() -> None:
    begun = list(side_by_side(now, [1.0, 3.0, 1.0, 2.0], 1, weight=float))
    assert sorted(range(4), key=begun.__getitem__) == [1, 3, 0, 2]


def test_processes_may_be_made_ready_before() -> None:
    get_ready(["lbsim.listing"])
    assert list(side_by_side(squared, [3, 4], 2, preload=["lbsim.listing"])) == [9, 16]


def counted_in(folder: Path) -> int:
    """How many of these run at the same time, as far as this one sees."""
    mine = folder / str(os.getpid())
    mine.touch()
    time.sleep(0.2)
    found = len(list(folder.iterdir()))
    mine.unlink()
    return found


def test_no_more_than_so_many_run_at_a_time(tmp_path: Path) -> None:
    assert max(side_by_side(counted_in, [tmp_path] * 6, 2)) <= 2


def test_it_is_told_how_many_are_done() -> None:
    told: list[int] = []
    list(side_by_side(squared, range(5), 2, told=told.append))
    assert (told[-1], sorted(told)) == (5, told)


def test_nothing_to_do_is_no_answers() -> None:
    assert list(side_by_side(squared, [], 4)) == []


def refused(text: str) -> None:
    raise ScenarioError("no", file=text, line=3)


def test_an_error_comes_back_as_it_is() -> None:
    with pytest.raises(ScenarioError) as caught:
        list(side_by_side(refused, ["x.yaml"], 2))
    assert str(caught.value) == "x.yaml:3: no"


def killed(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_process_that_is_killed_is_an_answer_that_says_so() -> None:
    first, second, third = side_by_side(killed, range(3), 2)
    assert (first, third) == (0, 2)
    assert isinstance(second, ProcessError)
    assert str(second) == "its process ended early (Killed); expected enough memory for all, or fewer --jobs"


def exited(_number: int) -> None:
    os._exit(7)


def test_a_process_that_ends_without_an_answer_says_how() -> None:
    (answer,) = side_by_side(exited, [0], 1)
    assert str(answer).startswith("its process ended early (exit status 7); ")


def cleaned_up(folder: Path) -> None:
    try:
        (folder / f"{os.getpid()}.begun").touch()
        time.sleep(60)
    finally:
        time.sleep(0.2)
        (folder / f"{os.getpid()}.clean").touch()


def wait_for(folder: Path, pattern: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(list(folder.glob(pattern))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def first_then_cleaned_up(thing: tuple[int, Path]) -> int:
    number, folder = thing
    if number == 0:
        wait_for(folder, "*.begun", 1)
        return 0
    cleaned_up(folder)
    return 1


def test_whoever_stops_asking_interrupts_what_still_runs(tmp_path: Path) -> None:
    begun = time.monotonic()
    with closing(side_by_side(first_then_cleaned_up, [(n, tmp_path) for n in range(2)], 2)) as answers:
        assert next(answers) == 0
    assert time.monotonic() - begun < 30
    assert len(list(tmp_path.glob("*.clean"))) == 1


def interrupted_twice(folder: Path) -> None:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        (folder / "clean").touch()


def test_a_second_interrupt_does_not_disturb_cleaning_up(tmp_path: Path) -> None:
    (answer,) = side_by_side(interrupted_twice, [tmp_path], 1)
    assert isinstance(answer, ProcessError)
    assert (tmp_path / "clean").exists()


def deaf(folder: Path) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "begun").touch()
    time.sleep(60)
    return 0


def begun_or_deaf(thing: tuple[int, Path]) -> int:
    number, folder = thing
    if number:
        return deaf(folder)
    wait_for(folder, "begun", 1)
    return 0


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.jobs._PATIENCE", 0.2)
    begun = time.monotonic()
    with closing(side_by_side(begun_or_deaf, [(n, tmp_path) for n in range(2)], 2)) as answers:
        assert next(answers) == 0
    assert time.monotonic() - begun < 30


def folder_of(_thing: int) -> str:
    return os.getcwd()


def test_processes_work_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(side_by_side(folder_of, [0], 1)) == [str(tmp_path)]


def test_where_there_is_no_forkserver_processes_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    assert list(side_by_side(squared, [3], 1)) == [9]


def test_there_is_at_least_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processors() == len(os.sched_getaffinity(0))
    monkeypatch.delattr("os.sched_getaffinity")
    assert processors() >= 1


@pytest.mark.parametrize(("things", "jobs"), [(1, 1), (3, 1), (4, 7)])
def test_a_few_things_are_not_worth_processes(things: int, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.jobs.processors", lambda: 7)
    assert as_many_as_pay(things) == jobs


def test_what_recordings_need_is_there() -> None:
    for name in FOR_RECORDINGS:
        assert import_module(name).__name__ == name
