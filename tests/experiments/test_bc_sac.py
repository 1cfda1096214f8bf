"""SAC from a cloned policy as a user runs it: killed on the way, resumed, evaluated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from absl import flags as absl_flags

from behavior_priors.methods.agent import build
from behavior_priors.methods.command_line import read_run
from behavior_priors.methods.models import untrained
from behavior_priors.methods.plan import stages_of
from behavior_priors.methods.presets import PARROT, RUN
from behavior_priors.methods.settings import chosen_methods
from behavior_priors.methods.tasks import task_env
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.types import Prior
from tests.experiments import runs
from tests.experiments.conftest import Refused
from tests.experiments.forks import Forks
from tests.experiments.runs import EPOCH, Program
from tests.experiments.settings import config_of

SCORES = [
    f"{policy}{score}"
    for policy in ("", "stochastic/")
    for score in ("success_rate", "ever_success_rate", "return_mean")
]
STEPS, FIT_STEPS, FIT_EPOCH = 2 * EPOCH, 400, 20
FLAGS = (
    *runs.TINY,
    "--methods=bc_sac",
    f"--loop.steps={STEPS}",
    # No update at all: what acts in the end is the policy that the learner has started from.
    f"--loop.warmup_steps={STEPS}",
    f"--bc.fit.steps={FIT_STEPS}",
    f"--bc.fit.steps_per_epoch={FIT_EPOCH}",
    "--bc.fit.learning_rate=3e-3",
    "--run.eval_every=0",
)


class Run(NamedTuple):
    """A run that was killed while it cloned, and what was seen of it."""

    workdir: Path
    steps_when_killed: list[int]
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Run:
    workdir = tmp_path_factory.mktemp("bc_sac") / "run"
    arguments, folder = [*FLAGS, f"--workdir={workdir}"], workdir.parent / "log"
    program = Program("experiments.parrot", arguments, folder=folder, may_be_killed=True)
    program.wait_until(lambda: len(runs.rows(workdir / "gaussian")) >= 3)
    program.kill()
    steps = Checkpointer(workdir / "gaussian" / "checkpoints").steps()
    forks.succeed("parrot", *arguments, folder=folder)
    return Run(workdir, steps, runs.read_json(workdir / "summary.json"))


def test_it_goes_on_where_it_was_killed(run: Run) -> None:
    assert 0 < run.steps_when_killed[-1] < FIT_STEPS
    rows = runs.rows(run.workdir / "gaussian")
    assert [row["step"] for row in rows] == list(range(FIT_EPOCH, FIT_STEPS + 1, FIT_EPOCH))
    assert rows[-1]["validation/nll"] < rows[0]["validation/nll"] - 1.0
    for row in rows:
        bonus = 0.1 * row["validation/entropy"]
        assert row["validation/loss"] == pytest.approx(row["validation/nll"] - bonus, abs=1e-4)
    assert not (run.workdir / "real_nvp").exists()


def test_the_learner_starts_from_the_clone(run: Run) -> None:
    summary = run.summary
    assert summary["bc_sac/steps"] == STEPS
    assert summary["bc_sac/updates"] == 0
    assert summary["gaussian/return_mean"] == summary["bc_sac/return_mean"]
    assert {
        f"gaussian/{name}" for name in (*SCORES, "validation_loss", "kept_step")
    } <= summary.keys()
    assert {f"bc_sac/{name}" for name in SCORES} <= summary.keys()
    best = min(row["validation/loss"] for row in runs.rows(run.workdir / "gaussian"))
    assert summary["gaussian/validation_loss"] == pytest.approx(best)
    assert math.isfinite(best)

    config = read_run(PARROT, run.workdir / "flags.txt")
    env = task_env(config)
    methods = chosen_methods(config)
    (stage,) = stages_of(methods, config, env).values()
    fitted = {"gaussian": untrained(stage)}
    learner = build("bc_sac", methods["bc_sac"], config, env, fitted).learner
    shapes = jax.eval_shape(lambda key: learner.init(key).policy, jax.random.key(0))
    checkpoints = {s: Checkpointer(run.workdir / s / "checkpoints") for s in ("gaussian", "bc_sac")}
    cloned = checkpoints["gaussian"].restore_part("best_params", shapes).state
    policy = checkpoints["bc_sac"].restore_part("learner.policy", shapes).state
    jax.tree.map(np.testing.assert_array_equal, policy, cloned)
    # and the clone itself acts like the learner, on states of the task
    clone = stage.model
    assert isinstance(clone, Prior)
    state = jax.jit(env.reset)(jax.random.key(1))
    action = clone.decode(cloned, jax.numpy.zeros(7), clone.encode(cloned, state.observation))
    acted = learner.act(policy, state.observation, jax.random.key(2), explore=False).action
    np.testing.assert_allclose(acted, action, atol=1e-6)
    assert float(np.abs(acted).max()) > 0.01


def test_it_can_be_evaluated(run: Run, forks: Forks) -> None:
    arguments = [f"--checkpoint={run.workdir}", f"--episodes={runs.EVALUATION_EPISODES}"]
    forks.succeed("evaluate", *arguments, folder=run.workdir.parent / "log")
    evaluation = runs.read_json(run.workdir / "evaluation.json")
    names = [f"bc_sac/{name}" for name in (*SCORES, "steps")]
    assert evaluation == {name: run.summary[name] for name in names}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--bc.entropy_weight=1"], ("--gaussian.entropy_weight=1:", "at least 0 and below 1")),
        (["--bc.squash_limit=0"], ("--gaussian.squash_limit=0:", "between 0 and 1")),
        (["--bc.fit.steps=7"], ("--gaussian_fit.steps=7", "a multiple of", "steps_per_epoch")),
        (
            ["--bc.fit.validation_fraction=2"],
            ("--gaussian_fit.validation_fraction=2", "between 0 and 1"),
        ),
        (["--sac.policy_observation=nope"], ("--sac.policy_observation", "nope", "gripper")),
        (["--data_env=grasp/nope"], ("--data_env=grasp/nope", "train", "validation")),
        (["--data=nope"], ("nope",)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_cloned_is_refused(
    arguments: list[str], names: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    refused(tmp_path, "parrot", "--methods=bc_sac", *arguments, names=names)


def test_flags_of_cloning_matter_only_where_something_is_cloned() -> None:
    named = [f"--{name}=9" for name in ("bc.entropy_weight", "gaussian.widths", "bc.fit.steps")]
    with pytest.raises(absl_flags.IllegalFlagValueError, match=r"--gaussian\.entropy_weight=9"):
        config_of(PARROT, "--methods=bc_sac", *named)
    # methods that are compared share a command
    assert not hasattr(config_of(PARROT, "--methods=sac", *named), "gaussian")
    with pytest.raises(absl_flags.UnrecognizedFlagError, match=r"gaussian\.widths"):
        config_of(RUN, "--methods=sac", "--gaussian.widths=9")
