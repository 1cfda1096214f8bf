"""PEARL as a user runs it: stopped and resumed, evaluated again, what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.evaluation.adapt import make_adapt
from behavior_priors.learner import MetaLearner
from behavior_priors.methods.agent import build
from behavior_priors.methods.command_line import renamed
from behavior_priors.methods.learning import learn
from behavior_priors.methods.plan import prepare
from behavior_priors.methods.presets import PEARL
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.kept import Kept
from behavior_priors.runs.run import RunConfig
from behavior_priors.training.meta.loop import make_meta_loop
from tests.experiments import runs
from tests.experiments.conftest import Refused
from tests.experiments.settings import config_of
from tests.inside.programs import Ended, succeed
from tests.inside.stops import Stop, stopped
from tests.reports.test_video import decode

PRESETS = runs.ROOT / "experiments" / "flags" / "pearl"

TINY = (
    "--env=point/sparse?episode_length=5",
    "--train_tasks=6",
    "--test_tasks=3",
    "--oracle_episodes=2",
    "--context.latent_size=2",
    "--context.widths=8",
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--loop.iterations=8",
    "--loop.epoch_iterations=1",
    "--loop.initial_steps=10",
    "--loop.tasks_per_iteration=2",
    "--loop.prior_steps=5",
    "--loop.posterior_steps=10",
    "--loop.extra_steps=5",
    "--loop.updates_per_iteration=2",
    "--loop.meta_batch=3",
    "--loop.batch_size=8",
    "--loop.context_size=8",
    "--adapt.trajectories=4",
    "--adapt.exploration=2",
    "--adapt.repeats=2",
    "--run.eval_every=2",
    "--run.checkpoint_every=1",
    "--nofigures",
)
STEPS = 6 * 10 + 8 * 2 * 20


class Run(NamedTuple):
    """A run, and what it was when it could have been killed, gone on from to the end."""

    whole: Path
    resumed: Path
    steps: list[int]


def start(workdir: Path, *more: str) -> Ended:
    return succeed("experiments.pearl", [*TINY, f"--workdir={workdir}", *more], workdir.parent)


@pytest.fixture(scope="module")
def run(inside: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("pearl")
    whole, resumed = folder / "whole", folder / "resumed"
    with stopped(whole, {"pearl": Stop(3, resumed)}):
        start(whole, "--figures")
    steps = Checkpointer(resumed / "pearl" / "checkpoints").steps()
    start(resumed)
    return Run(whole, resumed, steps)


def test_a_run_that_goes_on_ends_like_one_that_was_not_stopped(run: Run) -> None:
    """Bit for bit: parameters, what is remembered of each task, keys, metrics and results."""
    # two of eight rounds, of 40 steps each, after 60
    assert run.steps[-1] == 60 + 2 * 40
    assert runs.arrays(run.resumed / "pearl") == runs.arrays(run.whole / "pearl")
    ours, theirs = (
        [runs.without_seconds(row) for row in runs.rows(f / "pearl")]
        for f in (run.resumed, run.whole)
    )
    assert ours == theirs
    ours, theirs = (
        runs.without_seconds(runs.read_json(f / "summary.json")) for f in (run.resumed, run.whole)
    )
    assert ours == theirs


def test_results(run: Run) -> None:
    summary = runs.read_json(run.whole / "summary.json")
    assert (summary["pearl/steps"], summary["pearl/updates"]) == (STEPS, 16)
    assert summary["pearl/return_low"] <= summary["pearl/return_mean"]
    assert summary["pearl/return_mean"] <= summary["pearl/return_high"]
    assert summary["pearl/online/return_04"] == summary["pearl/return_mean"]
    assert summary["pearl/online/return_01"] == summary["pearl/first_return_mean"]
    # goals are further away than five steps of a tenth, in any direction
    assert summary["oracle/return_mean"] == 0
    with np.load(run.whole / "pearl" / "adaptation.npz") as file:
        assert file["test_returns"].shape == (3, 2, 4)
        assert file["train_returns"].shape == (6, 2, 4)
    with np.load(run.whole / "oracle.npz") as file:
        assert file["returns"].shape == (3,)
    with np.load(run.whole / "tasks.npz") as file:
        goals = np.concatenate([file["train"], file["test"]])
    np.testing.assert_allclose(np.linalg.norm(goals, axis=1), 1.0, rtol=1e-6)
    assert len(np.unique(goals[:, 0])) == 9
    names = {path.name for path in (run.whole / "figures").iterdir()}
    assert names == {"adaptation.png", "learning_curves.png", "pearl_paths.png"}


def test_it_is_evaluated_again(run: Run) -> None:
    # three tasks, four trajectories, twice
    arguments = [f"--checkpoint={run.whole}", "--episodes=24"]
    succeed("experiments.evaluate", arguments, run.whole.parent)
    evaluation = runs.read_json(run.whole / "evaluation.json")
    summary = runs.read_json(run.whole / "summary.json")
    assert {"pearl/return_mean", "pearl/online/return_02", "pearl/steps"} <= evaluation.keys()
    assert evaluation == {name: summary[name] for name in evaluation}


def test_the_tasks_are_those_of_their_own_seed(run: Run, refused: Refused) -> None:
    refused(
        run.whole,
        "pearl",
        *TINY,
        f"--workdir={run.whole}",
        "--task_seed=1",
        names=("tasks.seed is 0 there and 1 here",),
    )


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--env=maze/test"], ("--env=maze/test is one task", "point/dense")),
        (["--env=point/nope"], ("--env=point/nope", "dense", "sparse")),
        (["--engine=mjx"], ("--engine=mjx", "leave it out")),
        (["--train_tasks=0"], ("--tasks.train=0", "at least 1")),
        (["--loop.prior_steps=7"], ("--meta_loop.prior_steps", "length of an episode, 5", "7")),
        (
            ["--loop.tasks_per_iteration=7"],
            ("--meta_loop.tasks_per_iteration", "at most the number of training tasks", "6"),
        ),
        (["--loop.context=best"], ("--meta_loop.context=best", "recent", "all", "batch")),
        (["--adapt.exploration=4"], ("--adapt.exploration", "at most 3")),
        (["--context.widths=0"], ("--product_of_gaussians.widths", "at least 1")),
        (["--context.encoder=nope"], ("--infer=nope", "product_of_gaussians", "gru")),
        (["--learner=ppo"], ("--learner=ppo", "sac", "--infer=none")),
        (["--start_from=gaussian"], ("--start_from=gaussian", "sac with --infer")),
        (["--eval_episodes=100"], ("--eval_episodes=100", "--adapt.repeats")),
        (["--pearl.divergence_weight=-1"], ("--pearl.divergence_weight", "at least 0")),
        (["--sac.discount=2"], ("--sac.discount", "in [0, 1]")),
        (["--run.eval_every=-1"], ("--run.eval_every", "at least 0")),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    tmp_path: Path, refused: Refused, arguments: list[str], names: tuple[str, ...]
) -> None:
    workdir = tmp_path / "run"
    refused(tmp_path, "pearl", *TINY, f"--workdir={workdir}", *arguments, names=names)


def read_preset(name: str) -> Any:
    return config_of(PEARL, f"--flagfile={PRESETS / name}.flags")


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.flags")))
def test_presets_fit_together(preset: str) -> None:
    """In their whole size, without compiling or running any of it."""
    config = read_preset(preset)
    env = make_env(config.env)
    plan = prepare(config, env)
    learner, tasks = build("pearl", plan.methods["pearl"], config, env, {}).learner, plan.tasks
    assert isinstance(learner, MetaLearner)
    assert tasks is not None
    loop, _ = make_meta_loop(env, learner, config.meta_loop, tasks.train)
    before = jax.eval_shape(loop.init, jax.random.key(0))
    after, metrics = jax.eval_shape(loop.run_epoch, before)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), before
    )
    assert {name for name in metrics if name.startswith("train/")}
    adapt = make_adapt(env, learner, config.adapt)
    adapted = jax.eval_shape(adapt, after.learner.policy, tasks.test, jax.random.key(0))
    tested = jax.tree.leaves(tasks.test)[0].shape[0]
    assert adapted.returns.shape == (tested, config.adapt.repeats, config.adapt.trajectories)


@pytest.mark.parametrize("preset", ["quick_cheetah_velocity", "quick_sparse"])
def test_presets_run(preset: str, tmp_path: Path) -> None:
    """One round with two updates: short episodes, networks narrow but as deep as the preset's."""
    config = read_preset(preset)
    sac, loop, context = config.sac, config.meta_loop, config.product_of_gaussians
    length = 10

    def narrow(widths: tuple[int, ...]) -> tuple[int, ...]:
        return (8,) * len(widths)

    def few(steps: int) -> int:
        return length if steps else 0

    config = dataclasses.replace(
        config,
        env=f"{config.env}{'&' if '?' in config.env else '?'}episode_length={length}",
        tasks=dataclasses.replace(
            config.tasks, train=min(config.tasks.train, 3), test=min(config.tasks.test, 2)
        ),
        product_of_gaussians=dataclasses.replace(context, widths=narrow(context.widths)),
        sac=dataclasses.replace(
            sac, policy_widths=narrow(sac.policy_widths), critic_widths=narrow(sac.critic_widths)
        ),
        meta_loop=dataclasses.replace(
            loop,
            iterations=1,
            epoch_iterations=1,
            initial_steps=length,
            prior_steps=few(loop.prior_steps),
            posterior_steps=few(loop.posterior_steps),
            extra_steps=few(loop.extra_steps),
            tasks_per_iteration=2,
            updates_per_iteration=2,
            batch_size=8,
        ),
        adapt=dataclasses.replace(config.adapt, repeats=1),
        run=RunConfig(eval_every=0, checkpoint_every=1),
    )
    env = make_env(config.env)
    plan = prepare(config, env)
    agent = build("pearl", plan.methods["pearl"], config, env, {})
    _, took = learn("pearl", config, agent, plan.tasks, tmp_path, Stopwatch(), Kept(tmp_path))
    assert took["pearl/updates"] == 2
    (row,) = runs.rows(tmp_path / "pearl")
    assert np.isfinite([x for name, x in row.items() if name.startswith("train/")]).all()


def test_a_video_of_as_many_tasks_as_one_wants(run: Run) -> None:
    path = run.whole / "videos" / "pearl.mp4"
    # trajectories 1, 3 and 4 of five steps, each held for a second, in all three test tasks;
    # pictures of 320 by 240 with a line of text above each, and one above them all
    first = decode(path, 26 + 2 + (26 + 240) + 2, 3 * 322 + 2)
    assert len(first) == 3 * (6 + 12)
    arguments = [f"--checkpoint={run.whole}", "--episodes=1", "--video", "--video_episodes=2"]
    succeed("experiments.evaluate", arguments, run.whole.parent)
    second = decode(path, 26 + 2 + (26 + 240) + 2, 2 * 322 + 2)
    assert len(second) == len(first)
    # the first task's goal is where it was
    greens = [
        np.abs(x[0, :, :322].astype(int) - (140, 200, 175)).max(-1) < 40 for x in (first, second)
    ]
    # of its pixels the middle one: the film's coding loses some at the edge, and finds some
    goals = [np.median(np.argwhere(green), axis=0) for green in greens]
    np.testing.assert_allclose(*goals, atol=1)
    # the point begins in the middle of its picture
    orange = np.abs(second[0].astype(int) - np.array([213, 94, 0])).max(-1) < 60
    rows, columns = np.nonzero(orange[:, :322])
    assert rows.mean() == pytest.approx(28 + 26 + 120, abs=4)
    assert columns.mean() == pytest.approx(2 + 160, abs=4)


def test_tasks_are_inferred_through_a_prior_beside_a_method_that_is_told_nothing(
    inside: None, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    more = (
        "--methods=pearl,own",
        "--through=real_nvp",
        "--meta_loop.iterations=1",
        "--adapt.repeats=1",
        "--run.eval_every=0",
        "--video_episodes=0",
        "--data_episodes=8",
        "--real_nvp.couplings=2",
        "--real_nvp.encoder_widths=8",
        "--real_nvp.conditioner_widths=8",
        "--real_nvp_fit.steps=4",
        "--real_nvp_fit.steps_per_epoch=2",
        "--real_nvp_fit.batch_size=4",
        "--loop.steps=40",
        "--loop.epoch_steps=40",
        "--loop.warmup_steps=20",
        "--loop.num_envs=4",
        "--loop.batch_size=8",
        "--report_episodes=2",
        "--eval_episodes=3",
        "--run.eval_episodes=2",
        f"--workdir={workdir}",
    )
    lines = [new for line in TINY for new in renamed(line, PEARL.former)]
    (tmp_path / "tiny.flags").write_text("\n".join(lines))
    succeed("experiments.run", ["--flagfile=tiny.flags", *more], tmp_path)
    summary = runs.read_json(workdir / "summary.json")
    assert {"pearl/first_return_mean", "own/stochastic/return_mean"} <= summary.keys()
    assert {"real_nvp/validation_loss", "prior/return_mean", "oracle/return_mean"} <= summary.keys()
    arguments = [f"--checkpoint={workdir}", "--episodes=12"]
    succeed("experiments.evaluate", arguments, tmp_path)
    evaluation = runs.read_json(workdir / "evaluation.json")
    assert {"pearl/online/return_04", "own/return_mean"} <= evaluation.keys()
