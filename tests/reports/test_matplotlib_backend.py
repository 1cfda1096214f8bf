"""Figures are drawn whatever a variable says of windows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from behavior_priors.reports import figures

PROGRAM = """
import os, sys
from behavior_priors.reports import adaptation_figures, figures, maze_figure, trajectory_figure
from behavior_priors.evaluation.statistics import success_rate
figures.success_bars("bars.png", {"SAC": {"mug": success_rate(0, 1)}})
print("matplotlib.pyplot" in sys.modules, os.environ.get("MPLBACKEND"))
import matplotlib
print(matplotlib.get_backend())
"""


@pytest.mark.parametrize(
    ("named", "used"),
    [("nonsense", "agg"), ("", "agg"), ("svg", "svg"), ("tkagg", "tkagg"), ("module://x", None)],
)
def test_no_name_keeps_figures_from_their_files(
    tmp_path: Path, named: str, used: str | None
) -> None:
    """What names a backend is left as it is, for whoever shows figures of their own."""
    without = {name: x for name, x in os.environ.items() if name != "DISPLAY"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=without | {"PYTHONPATH": str(Path(figures.__file__).parents[2]), "MPLBACKEND": named},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    first, backend = result.stdout.splitlines()
    assert first == f"False {named}"
    assert backend == (used or named)
    with Image.open(tmp_path / "bars.png") as image:
        assert image.width > 1000
