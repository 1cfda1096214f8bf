"""The program that trains priors on a dataset alone: what it finds, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.readers import open_recording
from behavior_priors.data.readers.convert import convert
from tests.experiments import runs
from tests.experiments.conftest import Refused
from tests.experiments.forks import Forks

OWN = "tests.experiments.own_models:"
EPISODES, STEPS = 40, 51
STD = 0.05


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose two action dimensions are both near 0.5 or both near -0.5, at random."""
    folder = tmp_path_factory.mktemp("fit")
    rng = np.random.default_rng(0)
    rows = EPISODES * STEPS
    sign = rng.choice([-1.0, 1.0], (rows, 1))
    table = {
        "observations": rng.normal(100.0, 10.0, (rows, 3)).astype(np.float32),
        "actions": (0.5 * sign + STD * rng.normal(size=(rows, 2))).astype(np.float32),
        "terminals": np.arange(rows) % STEPS == STEPS - 1,
    }
    np.savez(folder / "table.npz", **table)
    convert(open_recording(folder / "table.npz"), folder / "data")
    return folder


def test_a_flow_finds_modes_that_a_gaussian_does_not(folder: Path, forks: Forks) -> None:
    """Nats an action: -1.58 for each entry of N(m, 0.05), 0.73 of the Gaussian of both modes.

    A squashed Gaussian leans towards both ends, and is a little better.
    """
    words = ("--data=data", "--workdir=run", "--fit.steps=600", "--fit.steps_per_epoch=200")
    nets = (
        "--real_nvp.encoder_widths=32",
        "--real_nvp.conditioner_widths=32",
        "--gaussian.widths=32",
    )
    result = forks.run("fit", *words, *nets, folder=folder)
    assert result.status == 0, result
    summary = runs.read_json(folder / "run" / "summary.json")
    gaussian, flow = (summary[f"{name}/validation_nll"] for name in ("gaussian", "real_nvp"))
    entry = 0.5 * np.log(2 * np.pi * np.e)
    assert 0.8 < gaussian < 2 * (entry + np.log(np.hypot(0.5, STD)))
    assert 2 * (entry + np.log(STD)) < flow < gaussian - 1.0
    # 3 inputs, 32 hidden, mean and log standard deviation of 2 dimensions
    assert summary["gaussian/parameters"] == 3 * 32 + 32 + 32 * 4 + 4
    assert summary["real_nvp/kept_step"] % 200 == 0
    for name in ("gaussian", "real_nvp"):
        assert [row["step"] for row in runs.rows(folder / "run" / name)] == [200, 400, 600]
        assert f"{name}: {summary[f'{name}/validation_nll']:.4g} nats" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ("--data",)),
        (("--data=nothing",), ("nothing", "experiments.collect")),
        (("--data=data", "--priors=skill_vae"), ("--priors=skill_vae", "over single actions")),
        (("--data=data", "--priors="), ("--priors=", "names none")),
        (("--data=data", "--priors=gaussian,gaussian"), ("--priors", "called alike")),
        (("--data=data", "--priors=nowhere:x"), ("--priors=nowhere:x", "no module nowhere")),
        (("--data=data", f"--priors={OWN}nope"), ("has no nope", "priors.model.Model")),
        (("--data=data", f"--priors={OWN}skills"), ("--priors=skills", "over single actions")),
        (("--data=data", f"--priors={OWN}seed"), ("--seed...", "call it otherwise")),
        # of a prior that was not chosen
        (
            ("--data=data", "--priors=real_nvp", "--gaussian.widths=9"),
            ("gaussian.widths", "--help"),
        ),
        (("--data=data", f"--priors={OWN}line", "--line.slope=nan"), ("--line.slope", "nan")),
        # as it was called before
        (("--data=data", "--flow.couplings=1"), ("--real_nvp.couplings=1", "at least 2")),
        (("--data=data", "--flow.couplings", "1"), ("--real_nvp.couplings=1", "at least 2")),
        (("--data=data", "--priors=vae"), ("--priors=vae", "real_nvp", "gaussian")),
        (("--data=data", "--seed=-1"), ("--seed=-1", "at least 0")),
        (
            ("--data=data", "--real_nvp.observation=y"),
            ("--real_nvp.observation", "y", "observation"),
        ),
        (("--data=data", "--gaussian.widths=0"), ("--gaussian.widths=0", "at least 1")),
        (("--data=data", "--fit.steps=10"), ("--fit.steps", "multiple")),
    ],
)
def test_what_is_refused(
    folder: Path, refused: Refused, arguments: tuple[str, ...], names: tuple[str, ...]
) -> None:
    refused(folder, "fit", *arguments, names=names)


def test_several_datasets_are_learned_from_as_one(folder: Path, forks: Forks) -> None:
    """Two halves are worth the whole."""
    table = dict(np.load(folder / "table.npz"))
    middle = EPISODES // 2 * STEPS
    for name, rows in (("first", slice(middle)), ("second", slice(middle, None))):
        np.savez(folder / f"{name}.npz", **{key: x[rows] for key, x in table.items()})
        convert(open_recording(folder / f"{name}.npz"), folder / name)
    found = {}
    for data in ("data", "first,second", "first"):
        workdir = f"runs/{data.replace(',', '_')}"
        words = ("--priors=gaussian", "--fit.steps=200", "--fit.steps_per_epoch=20")
        arguments = (f"--data={data}", f"--workdir={workdir}", *words, "--gaussian.widths=32")
        result = forks.run("fit", *arguments, folder=folder)
        assert result.status == 0, result
        found[data] = runs.read_json(folder / workdir / "summary.json")
    assert [found[data]["data/episodes"] for data in found] == [EPISODES, EPISODES, EPISODES // 2]
    whole, halves = (found[x]["gaussian/validation_nll"] for x in ("data", "first,second"))
    assert halves == pytest.approx(whole, abs=0.1)


def test_a_prior_of_ones_own_has_flags_of_its_own(folder: Path, forks: Forks) -> None:
    words = ("--data=data", "--workdir=own", "--fit.steps=20", "--fit.steps_per_epoch=10")
    result = forks.run("fit", *words, f"--priors={OWN}line", "--line.slope", "3", folder=folder)
    assert result.status == 0, result
    summary = runs.read_json(folder / "own" / "summary.json")
    # the loss is the slope, whatever is learned
    assert summary["line/validation_loss"] == 3.0
    assert "line: validation loss 3 on held-out episodes" in result.stdout
    flags = (folder / "own" / "flags.txt").read_text()
    assert "--line.slope=3.0" in flags
    assert "real_nvp" not in flags
    result = forks.run("fit", f"--priors={OWN}line", "--help", folder=folder)
    assert "--line.slope" in result.stdout
    assert "--gaussian.widths" not in result.stdout
