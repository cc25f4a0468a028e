"""The playbook itself: what it refuses, what it shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.playbook import Playbook, PlaybookError, PlaybookMismatch, Variant


def two_servers(variant: Variant | None = None) -> Playbook:
    return Playbook(variant).config("tcp V:80 rr", "A", "B")


def message_of(play: Playbook) -> str:
    """The transcript of a script that fails."""
    with pytest.raises(PlaybookMismatch) as caught:
        play.finish()
    return str(caught.value)


# What it refuses


def test_a_script_without_steps_is_an_error() -> None:
    with pytest.raises(PlaybookError, match="the script has no steps"):
        Playbook().finish()


def test_a_packet_without_an_expectation_is_an_error() -> None:
    with pytest.raises(PlaybookError, match="step 4, 'send c1 SYN', has no expectation"):
        two_servers().send("c1 SYN").send("c2 SYN").expect("FORWARD A new").finish()


def test_a_wait_that_nothing_follows_is_an_error() -> None:
    with pytest.raises(PlaybookError, match="nothing is expected after the last step, 'wait 60'"):
        two_servers().wait(60).finish()


def test_an_expectation_without_a_packet_is_an_error() -> None:
    with pytest.raises(PlaybookError, match="follows no packet"):
        two_servers().expect("FORWARD A new")


def test_a_second_expectation_is_an_error() -> None:
    with pytest.raises(PlaybookError, match="follows no packet"):
        two_servers().send("c1 SYN").expect("FORWARD B new").expect("FORWARD B new")


def test_a_refusal_without_a_command_is_an_error() -> None:
    with pytest.raises(PlaybookError, match="follows no command"):
        two_servers().send("c1 SYN").refused("No such service")


def test_a_name_that_is_not_known_is_an_error() -> None:
    with pytest.raises(PlaybookError, match="'X' is no name; expected one of V, W, A to H"):
        two_servers().send("X SYN").expect("FORWARD A new").finish()


def test_sysctls_come_first() -> None:
    with pytest.raises(PlaybookError, match="before the first step"):
        two_servers().sysctl(sloppy_tcp=1)


# What counts as a difference


@pytest.mark.parametrize("lane", ["interpreted", "oracle"])
def test_a_script_that_says_what_happens_passes(lane: str) -> None:
    play = two_servers(Variant(4, lane))
    play.send("c1 SYN").expect("FORWARD B new").send("c2 SYN", payload=7).expect("FORWARD A new")
    play.table("c1 SYN_RECV B 60", "c2 SYN_RECV A").totals(V={"conns": 2, "in_bytes": 87}, A={"active": 1})
    play.listing("tcp V:80 rr: B A").add("A").refused("Destination already exists")
    play.finish()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda play: play.send("c1 SYN").expect("FORWARD A new"),
        lambda play: play.send("c1 SYN").expect("FORWARD B known"),
        lambda play: play.send("c1 SYN").expect("DROP B new"),
        lambda play: play.table("c1 SYN_RECV B"),
        lambda play: play.send("c1 SYN").expect("FORWARD B new").table(),
        lambda play: play.send("c1 SYN").expect("FORWARD B new").table("c1 ESTABLISHED B"),
        lambda play: play.send("c1 SYN").expect("FORWARD B new").table("c1 SYN_RECV B 59"),
        lambda play: play.send("c1 SYN").expect("FORWARD B new").table("c1 SYN_RECV B", "c1 SYN_RECV B"),
        lambda play: play.totals(A={"conns": 1}),
        lambda play: play.totals(C={"conns": 0}),
        lambda play: play.listing("tcp V:80 rr: A B"),
        lambda play: play.delete("C"),
        lambda play: play.delete("B").refused("No such destination"),
    ],
)
def test_a_script_that_says_otherwise_fails(wrong: Callable[[Playbook], Playbook]) -> None:
    assert "is not as expected" in message_of(wrong(two_servers()))


def test_an_answer_that_comes_from_the_second_service_must_be_announced() -> None:
    play = Playbook().config("tcp V:80 rr", "A", "tcp W:80 rr", "B")
    play.send("c1 SYN to W:80").expect("FORWARD B new").reply("B c1 ACK").expect("FORWARD B translated")
    assert "FORWARD B translated as W:80  <- got" in message_of(play)


# What it shows


def test_a_failure_shows_the_transcript_with_the_first_difference_marked() -> None:
    play = two_servers().at(2).send("c1 SYN").expect("FORWARD B new").wait(0.5)
    play.send("c2 SYN").expect("FORWARD B new").send("c3 SYN").expect("FORWARD B new")
    assert message_of(play).splitlines() == [
        "v4-interpreted: step 7 of 8 is not as expected",
        "",
        "  t=0          -A -t V:80 -s rr                     accepted",
        "  t=0          -a -t V:80 -r A:80 -m                accepted",
        "  t=0          -a -t V:80 -r B:80 -m                accepted",
        "  t=2          at 2",
        "  t=2          send c1 SYN                          FORWARD B new",
        "  t=2.5        wait 0.5",
        "> t=2.5        send c2 SYN                          FORWARD B new",
        ">                                                   FORWARD A new  <- got",
        "  not reached  send c3 SYN                          FORWARD B new",
        "",
        "  connection table of the oracle   connection table of v4-interpreted",
        "  c1 SYN_RECV B 59                 c1 SYN_RECV B 59",
        "  c2 SYN_RECV A 60                 c2 SYN_RECV A 60",
    ]  # fmt: skip


def test_a_failing_table_is_shown_beside_the_expected_one() -> None:
    play = two_servers(Variant(6)).send("c1 SYN").expect("FORWARD B new").table()
    assert message_of(play).splitlines()[-3:] == [
        "",
        "  expected connection table   connection table of v6-interpreted",
        "  (empty)                     c1 SYN_RECV B 60",
    ]


def test_wrong_numbers_are_shown_by_name() -> None:
    play = two_servers().totals(A={"conns": 1, "active": 0})
    assert ">                                                   A conns=0 active=0  <- got" in message_of(play)


@pytest.mark.parametrize(("may_not", "outcome"), [(False, {"skipped": 1}), (True, {"failed": 1})])
def test_a_skipped_test_fails_where_none_may_be_skipped(
    may_not: bool, outcome: dict[str, int], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LBSIM_NO_SKIPS", raising=False)
    if may_not:
        monkeypatch.setenv("LBSIM_NO_SKIPS", "1")
    pytester.makeconftest("from tests.conftest import pytest_runtest_makereport")
    pytester.makepyfile("""
        import pytest

        def test_skips():
            pytest.skip("no disk")
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(**outcome)
    if may_not:
        result.stdout.fnmatch_lines(["*was skipped, and LBSIM_NO_SKIPS is set*no disk*"])


def test_a_script_runs_when_its_test_function_has_ended(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import play, pytest_pyfunc_call")
    pytester.makepyfile("""
        def test_right(play):
            play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")

        def test_wrong(play):
            play.config("tcp V:80 rr", "A").send("c1 SYN").expect("DROP A new")

        def test_unfinished(play):
            play.config("tcp V:80 rr", "A").send("c1 SYN")

        def test_raises(play):
            play.config("tcp V:80 rr", "A").send("c1 SYN")
            raise ValueError("the test's own")
    """)
    result = pytester.runpytest_inprocess("-k", "v4-interpreted or v4-oracle")
    result.assert_outcomes(passed=2, failed=6)
    result.stdout.fnmatch_lines([
        "*is not as expected*", "*has no expectation*", "*ValueError: the test's own*",
    ])  # fmt: skip
