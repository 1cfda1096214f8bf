"""The notebook runs from top to bottom, at a tiny size."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook" / "first_steps.ipynb"

TINY = {"EPISODES": "16", "FIT_STEPS": "20", "LOOP_STEPS": "3_200"}


def cells() -> list[str]:
    book = json.loads(NOTEBOOK.read_text())
    assert book["nbformat"] == 4
    return ["".join(x["source"]) for x in book["cells"] if x["cell_type"] == "code"]


def test_it_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    first, *rest = cells()
    for name, value in TINY.items():
        first, count = re.subn(rf"^{name} = \S+", f"{name} = {value}", first, flags=re.MULTILINE)
        assert count == 1
    names: dict[str, Any] = {}
    for number, source in enumerate([first, *rest]):
        exec(compile(source, f"cell {number}", "exec"), names)
    assert len(names["losses"]) == 10
    assert names["curve"][-1][0] == 3_200
    assert len(names["frames"]) == 26
    said = capsys.readouterr().out
    assert "16 episodes, 400 steps" in said
    assert "success of 200 episodes, without noise: " in said


def test_it_is_kept_without_outputs() -> None:
    book = json.loads(NOTEBOOK.read_text())
    assert all(not x.get("outputs") for x in book["cells"])
