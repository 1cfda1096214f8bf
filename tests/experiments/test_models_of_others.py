"""Models that are learned once and taken by the runs of other tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from behavior_priors.config import flags
from behavior_priors.methods import presets
from behavior_priors.runs.workdir import SUMMARY_FILE
from experiments import run
from tests.experiments import runs
from tests.experiments.settings import config_of
from tests.experiments.test_keys import LEARNING

TINY = (
    *LEARNING,
    "--methods=parrot",
    "--data_env=examples.push.push_env:anywhere",
    "--flow.couplings=2",
    "--flow.encoder_widths=8",
    "--flow.conditioner_widths=8",
    "--nofigures",
)


def learn(monkeypatch: pytest.MonkeyPatch, workdir: Path, *arguments: str) -> dict[str, object]:
    """A run, and what its summary says."""
    config = config_of(presets.PARROT, *TINY, f"--workdir={workdir}", *arguments)
    read = flags.read
    with monkeypatch.context() as patched:
        # what files say is read as ever
        patched.setattr(
            flags, "read", lambda x, *more, **named: read(x, *more, **named) if named else config
        )
        run.main(presets.PARROT)
    return runs.read_json(workdir / SUMMARY_FILE)


def test_models_are_learned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    priors, task = tmp_path / "priors", tmp_path / "task"
    anywhere = "--env=examples.push.push_env:north_west"
    first = learn(monkeypatch, priors, anywhere, "--only_models")
    assert "prior/return_mean" in first
    assert not any(name.startswith("parrot/") for name in first)
    assert not (priors / "parrot").exists()

    # another task, another seed, and nothing collected or learned
    other = ("--env=examples.push.push_env:north_east", f"--models={priors}", "--seed=5")
    capsys.readouterr()
    second = learn(monkeypatch, task, *other)
    assert f"real_nvp  from {priors}\n" in capsys.readouterr().out
    assert second["parrot/steps"] == 80
    assert not {x.name for x in task.iterdir()} & {"data", "real_nvp"}

    # the first run goes on where it stopped
    whole = learn(monkeypatch, priors, anywhere)
    assert whole["parrot/steps"] == 80
    kept = {x: whole[x] for x in first if "seconds" not in x}
    np.testing.assert_equal(kept, {x: first[x] for x in kept})
