"""The table of densities: likelihood and way back by hand, what a line holds, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.config import flags
from behavior_priors.errors import UserError
from behavior_priors.methods.models import Stage
from behavior_priors.methods.presets import RUN
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.runs.workdir import open_workdir, write_summary
from behavior_priors.training.fit import FitConfig
from behavior_priors.types import ActionSpec, ArraySpec
from benchmarks.density import (
    HELD_OUT,
    Learned,
    add,
    as_markdown,
    line,
    log_likelihood,
    read_learned,
    sampler,
    way_back,
)
from tests.data.examples import write_dataset
from tests.experiments.settings import config_of

SPEC = {"x": ArraySpec((1,))}
PRIOR = make_gaussian(GaussianConfig(widths=()), SPEC, ActionSpec(2, None))
NORMAL = jax.tree.map(jnp.zeros_like, PRIOR.init(jax.random.key(0)))
"""Parameters with which the prior is `N(0, I)` everywhere."""


def learned(actions: Any, prior: Any = PRIOR, **summary: float) -> Learned:
    data = {"observation": {"x": jnp.zeros((len(actions), 1))}, "action": jnp.asarray(actions)}
    stage = Stage("gaussian", None, prior, FitConfig())
    return Learned("gaussian", "own", "", stage, NORMAL, data, summary)


def test_likelihoods_are_means_over_all_that_was_held_out() -> None:
    """More than one call's worth: the last three actions, in a call of their own, are at 2, 0."""
    actions = np.zeros((HELD_OUT + 3, 2), np.float32)
    actions[-3:, 0] = 2.0
    expected = -math.log(2 * math.pi) - 0.5 * 4.0 * 3 / (HELD_OUT + 3)
    assert log_likelihood(learned(actions)) == pytest.approx(expected, rel=1e-6)
    assert log_likelihood(learned(actions, PRIOR._replace(log_prob=None))) is None


def test_the_way_back_by_hand() -> None:
    """A way to latents that is off by 0.1 in one of two dimensions, where latents are actions."""
    actions = np.ones((4, 2), np.float32)

    def invert(params: Any, action: Any, features: Any) -> Any:
        return action + jnp.array([0.1, 0.0])

    found = way_back(learned(actions, PRIOR._replace(invert=invert)))
    assert found == pytest.approx((0.1 / math.sqrt(2), 0.1), rel=1e-5)
    assert way_back(learned(actions)) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert way_back(learned(actions, PRIOR._replace(invert=None))) is None


def test_a_line_holds_all_runs() -> None:
    actions = np.zeros((2, 2), np.float32)
    scores = [(0.125, 0.5), (0.25, 1.0)]
    runs = [
        learned(
            actions,
            **{
                "prior/ever_grasp_rate": 0.9,
                "prior/interaction_rate": 0.9,
                "prior/grasp_rate": a,
                "prior_mode/grasp_rate": 0.9,
                "random/grasp_rate": 0.0,
                "own/success_rate": b,
            },
        )
        for a, b in scores
    ]
    sampler(runs[0], 3)()
    found = line(runs, one=[3e-5, 1e-5, 2e-5], many=[1e-3])
    assert found["runs"] == 2
    assert found["parameters"] == 1 * 4 + 4
    assert found["log_likelihood"] == pytest.approx(-math.log(2 * math.pi), rel=1e-6)
    assert found["one_action_us"] == pytest.approx(20.0)
    assert found["actions_per_second"] == pytest.approx(1024e3)
    names = ("prior_success_rate", "success_rate")
    spread = [[found[name + x] for x in ("", "_least", "_largest")] for name in names]
    assert spread == [[0.1875, 0.125, 0.25], [0.75, 0.5, 1.0]]
    text = as_markdown([found])
    assert text.splitlines()[2].startswith("| `gaussian` | 8 | -1.84 (-1.84 to -1.84) | 20 |")
    assert text.endswith("| 0.19 (0.12 to 0.25) | 0.75 (0.50 to 1.00) |")


def test_runs_of_a_density_are_alike() -> None:
    one = learned(np.zeros((1, 2), np.float32))
    runs: dict[str, list[Learned]] = {}
    for x in (one, one, one._replace(name="mixture", env="other")):
        add(runs, Path("run"), x)
    assert {name: len(x) for name, x in runs.items()} == {"gaussian": 2, "mixture": 1}
    wider = one.stage._replace(config=GaussianConfig(widths=(8,)))
    for other in (one._replace(env="other"), one._replace(stage=wider)):
        with pytest.raises(UserError, match="odd has another gaussian or task than those before"):
            add(runs, Path("odd"), other)


def test_runs_of_something_else_are_refused(tmp_path: Path) -> None:
    def run_of(name: str, *arguments: str, complete: bool = True, **results: float) -> Path:
        config = config_of(RUN, "--env=maze/test?distance=3", *arguments)
        text = flags.to_text(config)
        folder = open_workdir(tmp_path / name, experiment="run", flags_text=text)
        if complete:
            write_summary(folder, dict(results), seed=0, engine="none")
        return folder

    with pytest.raises(UserError, match="is not complete"):
        read_learned(run_of("begun", "--methods=parrot", complete=False), ())
    with pytest.raises(UserError, match="through skill_vae, which is no prior of single actions"):
        read_learned(run_of("skills", "--methods=spirl"), ())
    with pytest.raises(UserError, match="has no model"):
        read_learned(run_of("nothing", "--methods=sac"), ())
    with pytest.raises(UserError, match="has parrot, sac; give runs of one method each"):
        read_learned(run_of("two", "--methods=parrot,sac"), ())
    with pytest.raises(UserError, match=r"has no success of prior; .* --report_episodes"):
        read_learned(run_of("unreported", "--methods=parrot"), ())
    reported = {"prior/ever_goal_rate": 0.5, "prior/goal_rate": 0.25}
    with pytest.raises(UserError, match=r"has no success of parrot; .* --eval_episodes"):
        read_learned(run_of("unjudged", "--methods=parrot", **reported), ())
    data = str(write_dataset(tmp_path / "data"))  # three shards of one, two and three episodes
    judged = reported | {"parrot/success_rate": 1.0, "data/episodes": 4}
    with pytest.raises(UserError, match=r"learned from 4 episodes, .* of these 6"):
        read_learned(run_of("other", "--methods=parrot", **judged), (data,))
