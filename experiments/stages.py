"""What experiments have in common: demonstrations, a prior learned from them, a report on it.

Each stage finds what an earlier process left in its folder and goes on from there.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.config import flags
from behavior_priors.data.collect import collect
from behavior_priors.data.dataset import check_compatible, load_transitions, split_by_episode
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import PolicyFn
from behavior_priors.evaluation.evaluate import interaction_report, make_evaluate
from behavior_priors.keys import named_child, named_key
from behavior_priors.learner import Actor, Learner, MetaLearner, OnPolicyLearner
from behavior_priors.programs import termination
from behavior_priors.programs.progress import Stopwatch, format_seconds
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.run import RunConfig, run_fit, run_loop
from behavior_priors.training.fit import Data, FitConfig
from behavior_priors.training.loop import Loop, LoopConfig, make_loop
from behavior_priors.training.on_policy import OnPolicyConfig, make_on_policy_loop
from behavior_priors.types import (
    ActionSpec,
    Array,
    Env,
    ObservationSpec,
    Params,
    Prior,
    PRNGKey,
    State,
    UserError,
)


class TrainedPrior(NamedTuple):
    """A prior and its parameters."""

    prior: Prior
    params: Params


def evaluation_key(seed: int) -> PRNGKey:
    """Key of a run's final evaluation: all of its methods are met with the same episodes."""
    return named_key(seed, "evaluate")


def related_env(env: Env, kind: str, name: str | None, engine: str, *seen: Sequence[str]) -> Env:
    """The environment that a flag names, else the one of that kind that goes with the new task.

    Args:
      env: the new task.
      kind: `data_env` or `report_env`, the flag, and a key of `Env.info`.
      name: what the user gave.
      engine: the physics engine.
      seen: for each network that learns or acts there, the observations that it sees; empty for
        all of the task's.

    Raises:
      UserError: no such environment, or what is seen, or the action, is not the task's there.
    """
    name = name or env.info.get(kind)
    if name in (None, env.name):
        return env
    related = make_env(name, flag=kind, engine=engine)
    names = {n for selection in seen for n in (selection or env.observation_spec)}
    ours, theirs = _described(env), _described(related)
    for what in (*(f"observation {n!r}" for n in env.observation_spec if n in names), "the action"):
        if ours[what] != theirs.get(what):
            raise UserError(
                f"--{kind}={name} does not go with {env.name}: {what} is {ours[what]} in the task, "
                f"but {theirs.get(what, 'missing')} there"
            )
    return related


def _described(env: Env) -> dict[str, str]:
    """Shapes and dtypes of what networks take and give, by words for it."""
    observations = {
        f"observation {name!r}": f"{np.dtype(spec.dtype).name}{list(spec.shape)}"
        for name, spec in env.observation_spec.items()
    }
    size, bound = env.action_spec
    limits = "unbounded" if bound is None else f"within +-{bound:g}"
    return {**observations, "the action": f"of {size} dimensions, {limits}"}


def check_demonstrator(env: Env) -> None:
    """Refuses an environment in which nothing demonstrates.

    Raises:
      UserError: it is one.
    """
    if env.demonstrate is None:
        raise UserError(
            f"{env.name} has no demonstrator; give --data=FOLDER, a dataset that "
            "experiments.collect or experiments.convert wrote, or another --data_env"
        )


def get_demonstrations(env: Env, folder: Path, episodes: int, seed: int) -> EpisodeReader:
    """Collects a dataset in a folder, or completes the one that was begun there."""
    began = time.perf_counter()

    def say(kept: int, usable: int, tried: int) -> None:
        seconds = format_seconds(time.perf_counter() - began)
        share = f"{usable / tried:.0%} of {tried} usable"
        print(f"collect  {kept}/{episodes} episodes  {share}  {seconds}", flush=True)
        termination.check()

    with termination.deferred():
        return collect(env, folder, episodes, seed, resume=True, on_round=say)


def load_for_fit(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    reader: EpisodeReader,
    names: Sequence[str],
    validation_fraction: float,
    seed: int,
    info: Mapping[str, Any] | None = None,
) -> tuple[Data, Data]:
    """What a prior learns from, and what it is judged by: different episodes.

    Args:
      observation_spec: of what the prior is for.
      action_spec: likewise.
      reader: the dataset.
      names: the observations that the prior sees; empty for all of the spec's.
      validation_fraction: of the episodes.
      seed: of their choice.
      info: the environment's `Env.info`, which may say what its own actions are.

    Raises:
      UserError: the dataset does not fit the environment, or is too small.
    """
    names = tuple(names) or tuple(observation_spec)
    seen = {n: observation_spec[n] for n in names}
    for doubt in check_compatible(reader, seen, action_spec, info):
        warn_once(doubt)
    train, validation = (
        jax.tree.map(jnp.asarray, load_transitions(reader, names, part))
        for part in split_by_episode(reader.num_episodes, validation_fraction, seed)
    )
    return train, validation


@functools.cache
def warn_once(text: str) -> None:
    """Prints a warning, but no second time: data are looked at before a run and in it."""
    print(f"warning: {text}", flush=True)


def train_prior(
    prior: Prior,
    folder: Path,
    config: FitConfig,
    data: tuple[Data, Data],
    key: PRNGKey,
    *,
    run: RunConfig,
    all_flags: Mapping[str, Any],
) -> tuple[TrainedPrior, dict[str, Any]]:
    """The prior with the parameters that are kept, and how likely they find held-out actions."""
    state = run_fit(folder, prior, config, *data, key, run=run, flags=all_flags)
    facts = {
        "prior/validation_nll": float(state.best_loss),
        "prior/kept_step": int(state.best_step),
    }
    return TrainedPrior(prior, state.best_params), facts


def restore_prior(prior: Prior, folder: Path) -> TrainedPrior:
    """The prior that `train_prior` left in its folder."""
    target = jax.eval_shape(prior.init, jax.random.key(0))
    restored = Checkpointer(folder / "checkpoints").restore_part("best_params", target)
    return TrainedPrior(prior, restored.state)


def print_scores(label: str, scores: Mapping[str, float], episodes: int) -> None:
    """The line that tells how good a trained policy is."""
    if "success_rate" in scores:
        score = f"success {scores['success_rate']:.1%}"
    else:
        score = f"return {scores['return_mean']:.4g}"
    print(f"{label:7s}  {score}  ({episodes} episodes, deterministic policy)", flush=True)


class LearningConfig(Protocol):
    """What is asked of the config of an experiment that learns a task."""

    @property
    def loop(self) -> LoopConfig: ...
    @property
    def run(self) -> RunConfig: ...
    @property
    def eval_episodes(self) -> int: ...
    @property
    def seed(self) -> int: ...


def make_loop_of(
    config: LearningConfig, env: Env, learner: Learner | OnPolicyLearner
) -> tuple[Loop, LoopConfig | OnPolicyConfig]:
    """The loop that a learner needs, and the part of the config that it follows.

    Raises:
      UserError: that does not fit itself, or the learner; the message begins with the flag.
    """
    if isinstance(learner, OnPolicyLearner):
        on_policy: OnPolicyConfig = cast(Any, config).on_policy
        with flags.naming("on_policy", on_policy):
            return make_on_policy_loop(env, learner, on_policy), on_policy
    with flags.naming("loop", config.loop):
        return make_loop(env, learner, config.loop), config.loop


def learn(
    method: str,
    config: LearningConfig,
    env: Env,
    learner: Learner | OnPolicyLearner,
    workdir: Path,
    watch: Stopwatch,
) -> tuple[tuple[Env, Actor, Params], dict[str, float]]:
    """Trains a method in its folder and evaluates it: what acts, and its scores `METHOD/...`."""
    seconds = Stopwatch()
    all_flags = dataclasses.asdict(cast(Any, config))
    loop, schedule = make_loop_of(config, env, learner)
    with watch.span(method):
        state = run_loop(
            workdir / method,
            method,
            loop,
            schedule,
            make_evaluate(env, learner, config.run.eval_episodes, stochastic=False),
            named_key(config.seed, "learn", method),
            run=config.run,
            stopwatch=seconds,
            flags=all_flags,
        )
    with watch.span("evaluate"):
        evaluate = make_evaluate(env, learner, config.eval_episodes, stochastic=True)
        metrics = evaluate(state.learner.policy, evaluation_key(config.seed))
        scores = {n: float(x) for n, x in metrics.items()}
    print_scores(method, scores, config.eval_episodes)
    scores |= {"steps": int(state.steps), "updates": int(state.learner.step)}
    scores |= {f"seconds/{name}": x for name, x in seconds.seconds().items()}
    named = {f"{method}/{name}": x for name, x in scores.items()}
    return (env, learner, state.learner.policy), named


def report_policies(
    policies: Mapping[str, tuple[Env, PolicyFn]], key: PRNGKey, episodes: int
) -> dict[str, float]:
    """How often policies that have learned nothing succeed, meet objects, and get around.

    Args:
      policies: by a label, and where each acts.
      key: consumed.
      episodes: of each.

    Returns:
      What `interaction_report` gives, as `LABEL/...`. Success is called what the environment calls
      it: `prior/grasp_rate` in `grasp/...`.
    """
    results: dict[str, float] = {}
    for label, (env, policy) in policies.items():
        word = env.info.get("success", "success")
        report = interaction_report(env, policy, named_child(key, label), episodes)
        rates = {name.replace("success", word): float(x) for name, x in report.items()}
        results |= {f"{label}/{name}": x for name, x in rates.items()}
        words = [
            f"{name.removesuffix('_rate')} {x:.1%}" if name.endswith("_rate") else f"{name} {x:.4g}"
            for name, x in rates.items()
        ]
        print(f"{label:7s}  {'  '.join(words)}  ({episodes} episodes, random)", flush=True)
    return results


def uniform_actions(env: Env) -> PolicyFn:
    """Actions that know nothing."""
    size = env.action_spec.size
    return lambda _, key: jax.random.uniform(key, (size,), minval=-1.0, maxval=1.0)


def random_latents(size: int) -> PolicyFn:
    """Latents from `N(0, I)`."""
    return lambda _, key: jax.random.normal(key, (size,))


def mean_latent(size: int) -> PolicyFn:
    """The latent 0, of which a prior makes its most typical action: a policy without learning."""
    return lambda _, key: jnp.zeros(size)


class Trained(NamedTuple):
    """What a method has learned.

    Attributes:
      env: where it acts, which may be the task as seen through a prior.
      learner: what acts.
      policy: its parameters.
      step: environment steps that they come from.
      decode: what it chooses as an action of the task itself; None where one choice is many, or
        takes more than observations.
    """

    env: Env
    learner: Actor
    policy: Params
    step: int
    decode: Callable[[State, Array], Array] | None


def restore_trained(
    folder: Path,
    env: Env,
    learner: Learner | OnPolicyLearner | MetaLearner,
    decode: Callable[[State, Array], Array] | None = lambda _, action: action,
) -> Trained:
    """What `learn` left of a method in its folder."""
    target = jax.eval_shape(lambda k: learner.init(k).policy, jax.random.key(0))
    restored = Checkpointer(folder / "checkpoints").restore_part("learner.policy", target)
    return Trained(env, learner, restored.state, restored.step, decode)
