"""JSON of others: what is taken, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest

from behavior_priors.errors import UserError
from behavior_priors.system.foreign_files import check_folder, parse_json, read_lines, read_text


class Sample(TypedDict):
    name: str
    size: NotRequired[int]


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("3", int, 3),
        ("3", float, 3),
        ("-0.5e-3", float, -0.0005),
        ("null", int | None, None),
        ("true", bool, True),
        ('{"a": [1, 2]}', dict[str, list[int]], {"a": [1, 2]}),
        ('{"name": "x", "more": []}', Sample, {"name": "x", "more": []}),
        ("9223372036854775807", int, 2**63 - 1),
        ("[" * 32 + "]" * 32, Any, None),
    ],
)
def test_what_is_taken(text: str, schema: Any, value: Any) -> None:
    read = parse_json(text, schema, "it")
    assert value is None or (read == value and type(read) is type(value))


@pytest.mark.parametrize(
    ("text", "schema", "complaint"),
    [
        ("", Any, "Expecting value"),
        ("true", int, "it is True; it should be an integer"),
        ("1", bool, "it is 1; it should be true or false"),
        ("1.0", int, "it is 1.0; it should be an integer"),
        ("[1]", float | None, r"it is \[1\]; it should be a number or null"),
        ('{"a": [1, "x"]}', dict[str, list[int]], r"'a\[1\]' is 'x'; it should be an integer"),
        ("{}", Sample, "'name' is missing"),
        ('{"name": "x", "size": "y"}', Sample, "'size' is 'y'; it should be an integer"),
        ("[]", Sample, r"it is \[\]; it should be an object"),
        ("9223372036854775808", int, "does not fit 64 bits"),
        ("-" + "9" * 5000, int, "does not fit 64 bits"),
        ("1e309", float, "too large"),
        ("[-Infinity]", Any, "-Infinity, which is no number"),
        ('{"a": 1, "a": 2}', Any, "the key 'a' twice"),
        ("[" * 33 + "]" * 33, Any, "nested too deep"),
        ('{"a":' * 100_000, Any, "nested too deep"),
    ],
)
def test_what_is_refused(text: str, schema: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=f"it cannot be read: .*{complaint}"):
        parse_json(text, schema, "it")


def test_files_have_limits(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("é\n".encode() * 4)
    assert read_text(path, limit=12) == "é\n" * 4
    assert list(read_lines(path, limit=3)) == ["é\n"] * 4
    with pytest.raises(UserError, match="too large, more than 11 bytes"):
        read_text(path, limit=11)
    with pytest.raises(UserError, match="line 1 is longer than 2 bytes"):
        list(read_lines(path, limit=2))


def test_links_are_refused_as_deep_as_is_looked(tmp_path: Path) -> None:
    (tmp_path / "a" / "wandb").mkdir(parents=True)
    (tmp_path / "a" / "wandb" / "latest").symlink_to("/")
    (tmp_path / "a" / "file").write_text("")
    assert check_folder(tmp_path) == [tmp_path / "a" / "file"]
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "a" / "b" / "link").symlink_to("/")
    assert check_folder(tmp_path, depth=2) == [tmp_path / "a" / "file"]
    with pytest.raises(UserError, match="a/b/link is a link"):
        check_folder(tmp_path, depth=3)
    given = tmp_path.parent / f"{tmp_path.name}-link"
    given.symlink_to(tmp_path)
    assert check_folder(given, depth=2) == [given / "a" / "file"]
