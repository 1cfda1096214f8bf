"""The table of latents: spread and success by hand, the runs of a model, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.config import flags
from behavior_priors.envs import probes
from behavior_priors.errors import UserError
from behavior_priors.methods.models import Fitted, Stage
from behavior_priors.methods.presets import RUN
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.runs.workdir import open_workdir
from benchmarks import latents
from benchmarks.latents import LatentsConfig, as_markdown, make_score, make_spread, measure
from tests.experiments.settings import config_of

ENV = probes.rewarded_action(bound=None).env
PRIOR = make_gaussian(GaussianConfig(widths=()), ENV.observation_spec, ENV.action_spec)
NORMAL = jax.tree.map(jnp.zeros_like, PRIOR.init(jax.random.key(0)))
"""Parameters with which the prior is `N(0, I)` everywhere."""

MAZE = "maze/test?distance=3&episode_length=5"


@pytest.mark.parametrize(("scale", "noise"), [(1.0, 0.0), (0.5, 0.0), (0.0, 0.0), (1.0, 1.0)])
def test_latents_are_as_wide_as_asked_and_noise_is_added(scale: float, noise: float) -> None:
    """The reward is `1 - (action - 1/2)^2`, and actions are latents."""
    score = make_score(ENV, PRIOR, 40_000)
    found = score(NORMAL, jnp.float32(scale), jnp.float32(noise), jax.random.key(0))
    expected = 1.0 - (0.25 + scale**2 + noise**2)
    assert found["return_mean"] == pytest.approx(expected, abs=0.06)


def test_the_spread_is_that_of_actions_over_latents() -> None:
    """`exp(1/2)` in every state, whose means differ and do not count."""
    spread = make_spread(ENV, PRIOR, states=400, draws=64)
    wider = jax.tree.map(lambda x: x.at[..., 1].set(0.5), NORMAL)
    found = spread(wider, jax.random.key(0))
    np.testing.assert_allclose(found, [np.exp(0.5)], rtol=0.02)


def run_of(folder: Path, *arguments: str) -> str:
    text = flags.to_text(config_of(RUN, f"--env={MAZE}", *arguments))
    return str(open_workdir(folder, experiment="run", flags_text=text))


def test_runs_of_a_model_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tuple(run_of(tmp_path / name, "--methods=parrot") for name in ("one", "two"))
    asked: list[str] = []

    def restored(stage: Stage, workdir: Path) -> Fitted:
        asked.append(workdir.name)
        return Fitted(stage.model, stage.model.init(jax.random.key(len(asked))), stage.config)

    monkeypatch.setattr(latents, "restore_model", restored)
    scales, noises = (1.0, 0.5), (0.0, 0.1)  # the first of either is the same
    config = LatentsConfig(runs, ("real_nvp",), MAZE, scales, noises, episodes=2)
    lines = measure(config)
    assert asked == ["one", "two"]
    assert [(x["scale"], x["noise"], x["runs"]) for x in lines] == [
        (1.0, 0.0, 2),
        (0.5, 0.0, 2),
        (1.0, 0.1, 2),
    ]
    assert all(len(x["spread"].split()) == 2 for x in lines)


def test_the_table_by_hand() -> None:
    def line(model: str, scale: float, *rates: float) -> dict[str, Any]:
        names = ("success_rate", "success_rate_least", "success_rate_largest")
        return {
            "model": model,
            "scale": scale,
            "noise": 0.0,
            **dict(zip(names, rates, strict=True)),
        }

    lines = [
        line("a", 1.0, 0.5, 0.25, 0.75),
        line("a", 0.5, 1.0, 1.0, 1.0),
        line("b", 1.0, 0.0, 0.0, 0.0),
        line("b", 0.5, 0.125, 0.0, 0.25),
    ]
    assert as_markdown(lines).splitlines() == [
        "| width of latents | noise on actions | `a` | `b` |",
        "| --- | --- | --- | --- |",
        "| 1.0 | 0.0 | 0.50 (0.25–0.75) | 0.00 (0.00–0.00) |",
        "| 0.5 | 0.0 | 1.00 (1.00–1.00) | 0.12 (0.00–0.25) |",
    ]


def test_what_has_no_success_or_no_latents_is_refused(tmp_path: Path) -> None:
    skills = run_of(tmp_path / "skills", "--methods=spirl")
    with pytest.raises(UserError, match="--models=skill_vae is no prior of single actions"):
        measure(LatentsConfig((skills,), ("skill_vae",), MAZE))
    with pytest.raises(UserError, match="does not measure success"):
        measure(LatentsConfig((skills,), ("real_nvp",), "locomotion/cheetah_velocity"))
    for models, scales in (((), (1.0,)), (("real_nvp",), ())):
        with pytest.raises(UserError, match="nothing to draw; give --models"):
            measure(LatentsConfig((skills,), models, MAZE, scales, ()))
