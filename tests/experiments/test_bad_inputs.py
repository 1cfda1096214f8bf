"""A sample of what `python -m tests.chaos.bad_inputs` runs the whole of."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.bad_inputs import CONFIGS, bad_inputs, run
from tests.experiments.forks import Forks

SAMPLE = 61
"""Each so-manieth of a program, so one of each at least, of most kinds."""


def test_bad_flags_cost_one_line_and_leave_no_file(forks: Forks, tmp_path: Path) -> None:
    every = bad_inputs()
    assert len(every) > 2_000
    sample = [
        bad
        for program in CONFIGS
        for bad in [bad for bad in every if bad.program == program][::SAMPLE]
    ]
    assert {bad.program for bad in sample} == set(CONFIGS)
    badly = {bad: run(forks, bad, tmp_path / str(i)) for i, bad in enumerate(sample)}
    assert {bad: words for bad, words in badly.items() if words} == {}
