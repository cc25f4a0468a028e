"""YAML becomes plain values with their places; whatever else a file is becomes one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim.errors import ScenarioError
from lbsim.scenario.yaml_text import MAX_BYTES, Spot, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),  # YAML 1.1: true
        ("no", "no"),  # YAML 1.1: false
        ("12:30:45", "12:30:45"),  # YAML 1.1: 45045
        ("10:30", "10:30"),  # YAML 1.1: 630
        ("1_000", "1_000"),  # YAML 1.1: 1000
        ("2024-01-31", "2024-01-31"),  # YAML 1.1: a date
        ("=", "="),  # YAML 1.1: a value of its own
        (".inf", ".inf"),
        ("10.0.0.11:80", "10.0.0.11:80"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("42", 42),
        ("-7", -7),
        ("007", 7),  # YAML 1.1: octal
        ("0o17", 15),
        ("0xff", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2e3", 2000.0),
        ('"42"', "42"),
        ("'true'", "true"),
        ("!!str 42", "42"),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    data = parse_yaml(f"key: {text}").data
    assert data == {"key": value}
    assert type(data["key"]) is type(value)


def test_keys_are_always_their_text() -> None:
    assert parse_yaml("{80: a, on: b, null: c, 1.50: d}").data == {
        "80": "a",
        "on": "b",
        "null": "c",
        "1.50": "d",
    }


def test_an_alias_stands_for_its_anchor() -> None:
    text = "a: &x [1, {b: &y 2}]\nc: *x\nd: *y"
    assert parse_yaml(text).data == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": 2}


def test_values_and_keys_have_places_counted_from_one() -> None:
    document = parse_yaml("one: 1\nlist:\n  - a: x\n    bee: y\n")
    assert document.spot(("list", 0, "bee")) == Spot(4, 10)
    assert document.key_spot(("list", 0, "bee")) == Spot(4, 5)


def test_a_path_that_is_not_there_has_the_place_of_its_nearest_ancestor() -> None:
    assert parse_yaml("one: 1\nlist:\n  - a: x\n").spot(("list", 0, "nix", 5)) == Spot(3, 5)


def test_what_an_alias_stands_for_is_where_its_anchor_is() -> None:
    assert parse_yaml("a: &x\n  b: 1\nc: *x\n").spot(("c", "b")) == Spot(2, 6)


@pytest.mark.parametrize(
    ("text", "spot"),
    [
        ("config: |\n  first\n  second\n", Spot(2, 3)),
        ("config: |\n\n\n     first\n", Spot(2, 6)),  # blank lines are part of the text
        ("config: |2-\n     first\n", Spot(2, 3)),  # the first three blanks are part of the text
        ("a:\n  config: |2\n      first\n", Spot(3, 5)),
        ("config: first\n", Spot(1, 9)),
        ("config: 'first'\n", Spot(1, 10)),
    ],
)
def test_the_place_of_a_texts_first_character_is_known(text: str, spot: Spot) -> None:
    path = ("a", "config") if text.startswith("a:") else ("config",)
    assert parse_yaml(text).content_spot(path) == spot


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("a: 1\nb:\n\tc: 2\n", 3, "tab"),
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' a second time; the first is in line 1"),
        ("a: {b: 1, b: 2}\n", 1, "key 'b' a second time"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: [1, 2\nb: 3\n", 2, "not YAML"),
        ("a: b: c\n", 1, "expected quotes"),
        ("a: @b\n", 1, "expected quotes"),
        ("a: 'b\n\n", 3, "begins in line 1"),
        ("a: 1\nb: *x\n", 2, "alias *x without an anchor"),
        ("a: &x [*x]\n", 1, "inside its own anchor"),
        ("&x a: 1\n*x : 2\n", 2, "as a key"),
        ("a: 1\n[b]: 2\n", 2, "cannot be a key"),
        ("a: 1\n{b: 1}: 2\n", 2, "cannot be a key"),
        ("a: !!python/object/apply:os.getcwd []\n", 1, "tag"),
        ("a: !mine b\n", 1, "tag !mine is not supported"),
        ("a: " + "9" * 5000 + "\n", 1, "more than 40 digits"),
        ("%YAML\n---\na: 1\n", 1, "not YAML"),
        ("a: \x01\n", None, "not YAML: unacceptable character"),
    ],
)
def test_what_is_no_single_plain_document_is_refused_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_yaml(text, "x.yaml")
    assert (caught.value.file, caught.value.line) == ("x.yaml", line)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_cannot_multiply_a_small_file_into_a_large_one() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]  # ten values; each line has ten times those before it
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ScenarioError, match="more than 1,000,000 values"):
        parse_yaml("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "a: &x\n" + "- " * 60 + "b"])
def test_deep_nesting_is_refused_and_not_followed(text: str) -> None:
    with pytest.raises(ScenarioError, match="nested more than 50 levels"):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name: x\nother: \xff\xfe\n", ":2: not UTF-8 text"),
        (b"name: x\n\nother: a\x00b\n", ":3: not text: a NUL byte"),
        (b"name: \x1b[31mred\n", ":1: not text: the control character U+001B"),
        ("name: x".encode("utf-16"), ":1: not UTF-8 text"),
        (bytes(range(256)), ":"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.lbsim.yaml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}{says}")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "x.lbsim.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\r\nseed: 1\r\n")
    assert read_yaml(path).data == {"name": "x", "seed": 1}


def test_a_file_of_more_than_64_mib_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.lbsim.yaml"
    with path.open("wb") as sparse:
        sparse.truncate(MAX_BYTES + 1)
    with pytest.raises(ScenarioError, match="larger than 64 MiB"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a\0b", "null byte"),
        (".", "Is a directory"),
        ("missing.yaml", "No such file"),
        ("file/below.yaml", "Not a directory"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").write_text("a: 1")
    with pytest.raises(ScenarioError, match=says) as caught:
        read_yaml(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path))
