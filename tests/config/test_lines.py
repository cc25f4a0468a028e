"""Lines and words as a shell reads them. Expected values: the shell's grammar (POSIX 2.2, 2.3)."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.config.lines import read_lines
from lbsim.errors import ConfigError
from lbsim.model.config import Place

NO_SHELL = "variables and command substitutions are not read, no shell is run: expected the value itself"


def words(text: str) -> list[list[str]]:
    return [[word.text for word in line.words] for line in read_lines(text, Place())]


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        words(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", [["a", "b"]]),
        ("  a \t b  ", [["a", "b"]]),
        ("a\nb\n", [["a"], ["b"]]),
        ("a\r\nb\r\n", [["a"], ["b"]]),
        ("\ufeffa", [["a"]]),
        ("a\n\n   \n\t\nb", [["a"], ["b"]]),
        ("# all of it\na", [["a"]]),
        ("   # indented", []),
        ("a # the rest, \"unread ' $x | ü", [["a"]]),
        ("a#b c#", [["a#b", "c#"]]),
        ("'a'#b", [["a#b"]]),
        ("'#' \"#\" \\#", [["#", "#", "#"]]),
        ("'a b' \"c d\" e\\ f", [["a b", "c d", "e f"]]),
        ("a'b'\"c\"\\d", [["abcd"]]),
        ("'' \"\"", [["", ""]]),
        (r"'a\b$c`d'", [[r"a\b$c`d"]]),
        (r'"a\"b\\c\$d\`e\f"', [[r'a"b\c$d`e\f']]),
        (r"\$a \\ \;", [["$a", "\\", ";"]]),
        ("'a;b' \"c|d\"", [["a;b", "c|d"]]),
        ("a \\\n b", [["a", "b"]]),
        ("a \\\r\n b", [["a", "b"]]),
        ("a\\\nb", [["ab"]]),
        ("a \\\n b \\\n c\nd", [["a", "b", "c"], ["d"]]),
        ("a \\", [["a"]]),
        ("\\", []),
        ("a \\\\\nb", [["a", "\\"], ["b"]]),
        ("a # no continuation \\\nb", [["a"], ["b"]]),
        ('"a \\\nb"', [["a b"]]),
        ("a>b", [["a", ">", "b"]]),
        ("a && b", [["a", "&&", "b"]]),
    ],
)
def test_words_are_those_of_a_shell(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


@given(st.text(alphabet=" \tab0-:/[]'\"\\", max_size=20).filter(lambda text: not text.endswith("\\")))
def test_words_and_open_quotes_are_those_of_shlex(text: str) -> None:
    try:
        expected = shlex.split(text)
    except ValueError:
        assert "is not closed" in refused(text).message
    else:
        assert words(text) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("a 'b", "the quote ' is not closed: expected its end on the same line", 3),
        ('a b"c', 'the quote " is not closed: expected its end on the same line', 4),
        ("a $b", NO_SHELL, 3),
        ("a b$c", NO_SHELL, 4),
        ("a `b`", NO_SHELL, 3),
        ('a "$b"', NO_SHELL, 3),
        ("a\xa0b", "unexpected character U+00A0: expected plain ASCII", 2),
        ("a “b”", "unexpected character U+201C: expected plain ASCII", 3),
        ("a 'ü'", "unexpected character U+00FC: expected plain ASCII", 3),
        ("a \\ü", "unexpected character U+00FC: expected plain ASCII", 3),
        ("a \x00", "unexpected character U+0000: expected plain ASCII", 3),
        ("a\rb", "unexpected character U+000D: expected plain ASCII", 2),
    ],
)
def test_what_no_word_can_hold_is_refused_where_it_stands(text: str, message: str, column: int) -> None:
    error = refused(text)
    assert (error.message, error.line, error.column) == (message, 1, column)


def test_an_error_carries_file_line_and_text() -> None:
    with pytest.raises(ConfigError) as caught:
        list(read_lines("a\n  b $c  \n", Place("director.sh", 10)))
    assert str(caught.value).startswith("director.sh:11:5: variables ")
    assert caught.value.text == "b $c"


def test_a_word_of_a_continued_line_has_its_own_place() -> None:
    (line,) = read_lines("a \\\n  b \\\nc", Place("f", 7))
    assert [line.place(word.at) for word in line.words] == [
        Place("f", 7, 1),
        Place("f", 8, 3),
        Place("f", 9, 1),
    ]


def test_places_count_from_the_place_of_the_text() -> None:
    first, second = read_lines("a\nb", Place("f", 3, 5))
    assert (first.place(0), second.place(0)) == (Place("f", 3, 5), Place("f", 4, 1))


def test_the_text_of_a_line_is_without_indent_and_comment() -> None:
    (line,) = read_lines("   a  'b c'  # d", Place())
    assert line.text == "a  'b c'"


def test_the_first_operator_is_noted() -> None:
    (line,) = read_lines("a | b > c", Place())
    assert line.operator is not None
    assert (line.operator.text, line.operator.at) == ("|", 2)


def test_a_quoted_operator_is_a_word() -> None:
    (line,) = read_lines("a '>' b", Place())
    assert line.operator is None
