"""SPiRL as a user runs it: stopped and resumed, its baselines, what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.methods.agent import Agent, build
from behavior_priors.methods.models import Fitted, untrained
from behavior_priors.methods.plan import stages_of
from behavior_priors.methods.presets import SPIRL
from behavior_priors.methods.settings import chosen_methods
from behavior_priors.methods.tasks import task_env
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.types import ActionSpec, SkillModel
from tests.experiments import runs
from tests.experiments.conftest import Refused
from tests.experiments.settings import config_of
from tests.inside.programs import Ended, succeed
from tests.inside.stops import Stop, stopped

HORIZON = 4
SEEN = "velocity,patch"
TASK = ("--env=maze/test?distance=3&episode_length=60", "--data_env=maze/train?episode_length=60")
TINY = (
    *TASK,
    "--data_episodes=200",
    f"--skill.horizon={HORIZON}",
    "--skill.latent_size=3",
    f"--skill.prior_observation={SEEN}",
    f"--skill.decoder_observation={SEEN}",
    "--skill.lstm_width=8",
    "--skill.embedding_width=8",
    "--skill.decoder_widths=8",
    "--skill.prior_widths=8",
    "--fit.steps=40",
    "--fit.steps_per_epoch=10",
    "--fit.batch_size=16",
    f"--clone.observation={SEEN}",
    "--clone.widths=8",
    "--clone_fit.steps=40",
    "--clone_fit.steps_per_epoch=10",
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--sac.min_log_std=-10",
    "--ppo.policy_widths=8",
    "--ppo.value_widths=8",
    "--on_policy.steps=800",
    "--on_policy.epoch_steps=400",
    "--on_policy.num_envs=8",
    "--on_policy.unroll_length=10",
    "--loop.num_envs=5",
    "--loop.steps=1600",
    "--loop.epoch_steps=200",
    "--loop.warmup_steps=400",
    "--loop.updates_per_step=0.2",
    "--loop.batch_size=16",
    "--run.eval_every=4",
    "--run.eval_episodes=5",
    "--run.checkpoint_every=1",
    "--report_episodes=5",
    "--eval_episodes=7",
    "--nofigures",
    "--video_episodes=0",
)


class Run(NamedTuple):
    """A run, and what it was when it could have been killed, gone on from to the end.

    Attributes:
      whole: the run.
      resumed: the others, by the stage in which they were stopped.
      saved: the last step of that stage's checkpoints at that moment.
    """

    whole: Path
    resumed: dict[str, Path]
    saved: dict[str, int]


def start(workdir: Path, *more: str) -> Ended:
    return succeed("experiments.spirl", [*TINY, f"--workdir={workdir}", *more], workdir.parent)


@pytest.fixture(scope="module")
def run(inside: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("spirl")
    whole, resumed = folder / "whole", {name: folder / name for name in ("skill_vae", "spirl")}
    stops = {"skill_vae": Stop(2, resumed["skill_vae"]), "spirl": Stop(5, resumed["spirl"])}
    with stopped(whole, stops):
        start(whole, "--figures")
    saved = {s: Checkpointer(resumed[s] / s / "checkpoints").steps()[-1] for s in resumed}
    for workdir in resumed.values():
        start(workdir)
    return Run(whole, resumed, saved)


@pytest.mark.parametrize("stage", ["skill_vae", "spirl"])
def test_a_run_that_goes_on_ends_like_one_that_was_not_stopped(stage: str, run: Run) -> None:
    """Bit for bit: parameters, replay, environments, keys, metrics and results."""
    assert run.saved == {"skill_vae": 10, "spirl": 800}
    resumed = run.resumed[stage]
    for name in ("skill_vae", "spirl"):
        assert runs.arrays(resumed / name) == runs.arrays(run.whole / name)
        ours, theirs = (
            [runs.without_seconds(row) for row in runs.rows(f / name)] for f in (resumed, run.whole)
        )
        assert ours == theirs
    ours, theirs = (
        runs.without_seconds(runs.read_json(f / "summary.json")) for f in (resumed, run.whole)
    )
    assert ours == theirs


def test_steps_are_the_environments_own(run: Run) -> None:
    summary = runs.read_json(run.whole / "summary.json")
    assert summary["spirl/steps"] == 1600
    # after the warm-up: one in five environment steps
    assert summary["spirl/updates"] == (1600 - 400) / 5
    rows = runs.rows(run.whole / "spirl")
    assert [row["step"] for row in rows] == list(range(200, 1601, 200))
    # 5 episodes of 60 steps in 300, unless they reach the goal
    assert sum(row["episode/count"] for row in rows) >= 25


def test_the_report_compares_skills_and_actions(run: Run) -> None:
    summary = runs.read_json(run.whole / "summary.json")
    for label in ("prior", "latents", "encoded", "random"):
        for name in ("success_rate", "return_mean", "cells_mean", "cells_together"):
            assert math.isfinite(summary[f"{label}/{name}"])
        assert 1 <= summary[f"{label}/cells_mean"] <= summary[f"{label}/cells_together"]
    assert math.isfinite(summary["spirl/cells_to_goal_mean"])


def test_it_is_evaluated_again(run: Run) -> None:
    before = runs.files(run.whole)
    arguments = [f"--checkpoint={run.whole}", "--episodes=7"]
    ended = succeed("experiments.evaluate", arguments, run.whole.parent)
    evaluation = runs.read_json(run.whole / "evaluation.json")
    summary = runs.read_json(run.whole / "summary.json")
    scores = ("success_rate", "stochastic/success_rate", "stochastic/return_mean", "steps")
    assert {f"spirl/{name}" for name in scores} <= evaluation.keys()
    assert evaluation == {name: summary[name] for name in evaluation}
    assert f"spirl/return_mean {summary['spirl/return_mean']:.4f}" in ended.stdout
    after = runs.files(run.whole)
    assert {name: x for name, x in after.items() if name != "evaluation.json"} == before


def test_a_finished_run_is_left_alone(run: Run) -> None:
    """The same command again, apart from the figures, whose flag may differ."""
    before, summary = runs.files(run.whole), runs.read_json(run.whole / "summary.json")
    again = start(run.whole)
    for word in ("collect  ", "skill_vae  1", "spirl  2"):  # lines of progress
        assert word not in again.stdout + again.stderr
    assert "done in" in again.stdout
    assert runs.without_seconds(runs.read_json(run.whole / "summary.json")) == (
        runs.without_seconds(summary)
    )
    after = runs.files(run.whole)
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} <= {
        "flags.txt",
        "results.json",
        "summary.json",
    }


@pytest.mark.parametrize("method", ["ssp", "flat_prior", "bc_ppo", "sac"])
def test_baselines(run: Run, method: str) -> None:
    """Skills and data come from the first run; each baseline ends with its own results."""
    workdir = run.whole.parent / method
    more = ["--loop.steps=800"]
    if method == "ssp":
        more += [f"--skills={run.whole}"]
    elif method in ("flat_prior", "bc_ppo"):
        more += [f"--data={run.whole / 'data'}"]
    start(workdir, f"--method={method}", *more)
    summary = runs.read_json(workdir / "summary.json")
    assert summary[f"{method}/steps"] == 800
    assert math.isfinite(summary[f"{method}/return_mean"])
    assert not (workdir / "data").exists()
    assert ("gaussian/validation_loss" in summary) == (method in ("flat_prior", "bc_ppo"))


SMALL = (
    "--env=maze/test?distance=3",
    "--skill.prior_observation=velocity,patch",
    "--skill.decoder_observation=velocity",
    "--skill.prior_widths=8",
    "--skill.decoder_widths=8",
    "--skill.lstm_width=8",
    "--clone.observation=velocity",
    "--clone.widths=8",
    "--sac.critic_widths=8",
    "--sac.min_log_std=-10",
)


class Small(NamedTuple):
    """A method of small networks, and the one model that it knows, with arbitrary parameters."""

    agent: Agent
    known: Fitted


def small(*arguments: str) -> Small:
    """A method put together."""
    config = config_of(SPIRL, *SMALL, *arguments)
    env, methods = task_env(config), chosen_methods(config)
    ((model, stage),) = stages_of(methods, config, env).items()
    rng = np.random.default_rng(0)

    def fill(x: jax.Array) -> jax.Array:
        return jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype)

    imagined = untrained(stage)
    known = imagined._replace(params=jax.tree.map(fill, imagined.params))
    ((name, method),) = methods.items()
    return Small(build(name, method, config, env, {model: known}), known)


@pytest.mark.parametrize("method", ["spirl", "flat_prior"])
@pytest.mark.parametrize("starts", [True, False])
def test_policies_start_as_the_prior_though_they_see_more(method: str, starts: bool) -> None:
    start = () if starts else ("--nostart_from_prior",)
    agent, (model, params, _) = small(f"--method={method}", *start)
    state = agent.env.reset(jax.random.key(1))
    policy = agent.learner.init(jax.random.key(0)).policy
    chosen = agent.learner.act(policy, state.observation, jax.random.key(2), explore=False).action
    if isinstance(model, SkillModel):
        prior, prior_params = model.prior, model.prior_params(params)
    else:
        prior, prior_params = model, params
    features = prior.encode(prior_params, state.observation)
    expected = prior.decode(prior_params, jnp.zeros(prior.latent_size), features)
    assert np.allclose(chosen, expected, atol=1e-5) == starts
    assert starts or (np.asarray(chosen) == 0).all()


def test_the_reference_squashes_skills_that_it_did_not_learn_squashed() -> None:
    """[6] With a bound of 2 a chosen `u` is executed as `2 tanh(u)`: 0.5 as 0.92, 10 as 2."""
    (env, learner, *_), _ = small("--skill_bound=2")
    (free_env, free, *_), _ = small()
    assert (env.action_spec.bound, free_env.action_spec.bound) == (2.0, None)
    state, key = env.reset(jax.random.key(1)), jax.random.key(3)
    policy = learner.init(jax.random.key(0)).policy
    u = free.act(policy, state.observation, key, explore=True).action
    executed = learner.act(policy, state.observation, key, explore=True).action
    np.testing.assert_allclose(executed, 2.0 * np.tanh(u), rtol=1e-5)
    assert 2.0 * math.tanh(0.5) == pytest.approx(0.924, abs=1e-3)


def test_ssp_stays_within_the_skills_that_there_are() -> None:
    """Paid for its entropy, and for nothing else, it would leave for where no skill is known."""
    for given, bound in (("2", 2.0), ("none", None)):
        agent, _ = small("--method=ssp", f"--ssp_bound={given}")
        assert agent.env.action_spec == ActionSpec(10, bound)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--method=nope"], ("--methods=nope", "spirl", "ssp", "flat_prior")),
        (["--skill.horizon=0"], ("--skill_vae.horizon=0", "at least 1")),
        (["--skill.prior_observation=nope"], ("--skill_vae.prior_observation", "nope", "velocity")),
        (["--skill_bound=-1"], ("--spirl.latents.bound=-1", "positive", "none")),
        (["--method=ssp", "--ssp_bound=0"], ("--ssp.latents.bound=0", "positive", "none")),
        (["--loop.steps=100"], ("--loop.steps", "100", "a multiple of")),
        (["--loop.num_envs=7"], ("--loop.epoch_steps", "a multiple of num_envs * 4")),
        (["--method=sac", "--loop.updates_per_step=0.1"], ("--loop.updates_per_step", "num_envs")),
        (["--sac.policy_widths=9"], ("--sac.policy_widths", "do not fit the policy to start from")),
        (["--sac.policy_observation=position"], ("policy_observation", "velocity", "patch")),
        (["--sac.std_limit=tanh"], ("--sac.std_limit=tanh", "clip", "the prior that")),
        (["--divergence.samples=0"], ("--spirl.divergence.samples", "at least 1")),
        (
            ["--method=flat_prior", "--flat_divergence.limit=0"],
            ("--flat_prior.divergence", "positive"),
        ),
        (["--data=nope"], ("nope",)),
        (["--skills=./nope"], ("--through=./nope", "flags.txt", "workdir")),
        (["--env=kitchen/mixed"], ("kitchen/mixed", "gymnasium-robotics", "pip install")),
        (["--data_env=maze/nope"], ("--data_env=maze/nope", "train", "test")),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], names: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    refused(tmp_path, "spirl", *TINY, *arguments, names=names)


def test_other_skills_and_other_data_are_refused(
    run: Run, tmp_path: Path, refused: Refused
) -> None:
    """For another environment, or shorter than a skill."""
    data, skills = f"--data={run.whole / 'data'}", f"--skills={run.whole}"
    gripper = ("--skill.prior_observation=gripper", "--skill.decoder_observation=gripper")
    cases = [
        ([skills, "--env=blocks/test"], ("--through", "prior_observation", "patch", "gripper")),
        ([data, "--skill.horizon=400"], ("the longest episode has", "pieces of 400")),
        ([data, "--env=blocks/test", *gripper], ("there is no observation", "gripper")),
    ]
    for arguments, names in cases:
        refused(tmp_path, "spirl", *TINY, *arguments, names=names)
