"""Results of finished parts are found again where they are of the same, and only there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from behavior_priors.runs.kept import RESULTS_FILE, Kept

OF = {"steps": 10, "figures": True}


def test_a_part_is_done_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[None] = []

    def compute() -> Mapping[str, float]:
        calls.append(None)
        return {"rate": 0.5, "count": 3, "unknown": math.inf}

    first = Kept(tmp_path).once("report", OF, compute, "counting")
    second = Kept(tmp_path).once("report", OF, compute, "counting")
    assert len(calls) == 1
    assert first == {"rate": 0.5, "count": 3, "unknown": math.inf}
    assert second.pop("unknown") != second.get("unknown")
    assert second == {"rate": 0.5, "count": 3}
    assert capsys.readouterr().out == "report   done before\n"


@pytest.mark.parametrize("other", [{}, {**OF, "steps": 20}, {**OF, "more": None}])
def test_results_of_something_else_do_not_count(
    tmp_path: Path, other: Mapping[str, int | None]
) -> None:
    Kept(tmp_path).keep("report", OF, {"rate": 0.5})
    assert Kept(tmp_path).find("report", other) is None
    assert Kept(tmp_path).find("other", OF) is None
    assert Kept(tmp_path).find("report", OF) == {"rate": 0.5}


def test_without_its_picture_a_part_is_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "of_another.png").write_text("x")

    def draw() -> Mapping[str, float]:
        (folder / "paths.png").write_text("x")
        return {}

    kept = Kept(tmp_path)
    kept.once("figures", OF, draw, "drawing")
    (folder / "of_another.png").unlink()
    assert kept.find("figures", OF) == {}
    (folder / "paths.png").unlink()
    assert kept.find("figures", OF) is None


def test_a_part_that_missed_something_is_tried_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.once("videos", OF, lambda: None, "filming") == {}
    assert kept.once("videos", OF, lambda: {"films": 1}, "filming") == {"films": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"report": 1}',
        '{"report": {"of": {"steps": 10, "figures": true}, "results": {"rate": "high"}}}',
        '{"report": {"of": {"steps": 10, "figures": true}, "results": {}, "files": ["../x"]}}',
    ],
)
def test_what_is_no_such_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "x").write_text("")
    (folder / RESULTS_FILE).write_text(text)
    kept = Kept(folder)
    assert kept.find("report", OF) is None
    kept.keep("report", OF, {"rate": 0.5})
    assert Kept(folder).find("report", OF) == {"rate": 0.5}
