"""The comparison of two revisions finds what differs; to run them takes minutes: a command."""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.runs.checkpoint import Checkpointer
from tests.experiments import runs
from tests.net import names
from tests.net.cases import PRESETS, cases
from tests.net.outcomes import differences, outcome


def write_run(run: Path, *, scale: float = 1.0, success: float = 0.5, seconds: float = 1.0) -> None:
    (run / "sac").mkdir(parents=True)
    state = {"policy": jnp.arange(3.0) * jnp.float32(scale), "step": jnp.int32(7)}
    Checkpointer(run / "sac" / "checkpoints").save(7, state)
    row = {"step": 7, "eval/success_rate": success, "train_seconds": seconds}
    (run / "sac" / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    summary = {"sac/success_rate": success, "wall_seconds/sac": seconds, "versions/jax": "1"}
    (run / "summary.json").write_text(json.dumps(summary))
    parts = {"method/sac": {"sac/success_rate": success, "sac/seconds/train": seconds}}
    parts |= {"seconds": {"sac": seconds}}
    kept = {n: {"of": {"steps": 7}, "results": x, "files": []} for n, x in parts.items()}
    (run / "results.json").write_text(json.dumps(kept))
    (run / "flags.txt").write_text("--seed=0\n--sac.discount=0.9\n")
    np.savez(run / "tasks.npz", train=np.arange(2) * scale)
    (run / "figure.png").write_bytes(b"pixels")


def test_runs_that_differ_in_time_alone_are_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "one" / "run")
    write_run(tmp_path / "other" / "run", seconds=2.0)
    before = outcome(tmp_path / "one", is_before=True)
    assert differences(before, outcome(tmp_path / "other")) == []
    assert set(before) == {
        "run/sac/checkpoints: policy",
        "run/sac/checkpoints: step",
        "run/sac/metrics.jsonl: eval/success_rate at 7",
        "run/sac/metrics.jsonl: step at 7",
        "run/summary.json: sac/success_rate",
        "run/results.json: method/sac: sac/success_rate",
        "run/flags.txt: --seed=0",
        "run/flags.txt: --sac.discount=0.9",
        "run/tasks.npz: train",
        "run/figure.png",
    }


def test_whatever_else_differs_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "one" / "run")
    write_run(tmp_path / "other" / "run", scale=1.0 + 1e-7, success=0.25)
    (tmp_path / "other" / "run" / "figure.png").write_bytes(b"pixelx")
    (tmp_path / "other" / "run" / "flags.txt").write_text("--seed=0\n")
    lines = differences(outcome(tmp_path / "one"), outcome(tmp_path / "other"))
    assert [line.partition(": ")[0] for line in lines] == [
        "run/figure.png",
        "run/flags.txt",
        "run/results.json",
        "run/sac/checkpoints",
        "run/sac/metrics.jsonl",
        "run/summary.json",
        "run/tasks.npz",
    ]
    assert lines[1] == "run/flags.txt: --sac.discount=0.9: given before, nothing after"
    assert lines[5] == "run/summary.json: sac/success_rate: 0.5 before, 0.25 after"


def test_names_of_before_are_found_under_those_of_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "one" / "run")
    (tmp_path / "one" / "run" / "sac").rename(tmp_path / "one" / "run" / "agent")
    write_run(tmp_path / "other" / "run")
    (tmp_path / "other" / "run" / "flags.txt").write_text(
        "--seed=0\n--learner.discount=0.9\n--new=1\n"
    )
    monkeypatch.setattr(names, "FILES", {r"^run/agent/": "run/sac/"})
    monkeypatch.setattr(names, "FLAGS", {r"^--sac\.": "--learner."})
    monkeypatch.setattr(names, "ONLY_AFTER", (r"run/flags.txt: --new=.*",))
    before = outcome(tmp_path / "one", is_before=True)
    assert differences(before, outcome(tmp_path / "other")) == []


def test_every_preset_is_a_case() -> None:
    found = {case.name for case in cases()}
    assert len(found) == len(cases())
    presets = {f"{path.parent.name}/{path.stem}" for path in PRESETS.glob("*/*.flags")}
    assert {name for name in presets if not name.startswith("sweeps/")} <= found
    for case in cases():
        for module, *_ in case.commands:
            assert (runs.ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
