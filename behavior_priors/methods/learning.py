"""Learning a task: a method trained in its folder, evaluated, and found there again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from behavior_priors.config import flags
from behavior_priors.evaluation.evaluate import make_evaluate
from behavior_priors.keys import named_key
from behavior_priors.learner import Actor, Learner, OnPolicyLearner
from behavior_priors.methods.agent import Agent
from behavior_priors.methods.settings import ExperimentConfig
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.run import run_loop
from behavior_priors.training.loop import Loop, LoopConfig, make_loop
from behavior_priors.training.on_policy import OnPolicyConfig, make_on_policy_loop
from behavior_priors.types import Array, Env, Params, PRNGKey, State


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


def evaluation_key(seed: int) -> PRNGKey:
    """Key of a run's final evaluation: all of its methods are met with the same episodes."""
    return named_key(seed, "evaluate")


def print_scores(label: str, scores: Mapping[str, float], episodes: int) -> None:
    """The line that tells how good a trained policy is."""
    if "success_rate" in scores:
        score = f"success {scores['success_rate']:.1%}"
    else:
        score = f"return {scores['return_mean']:.4g}"
    print(f"{label:7s}  {score}  ({episodes} episodes, deterministic policy)", flush=True)


def make_loop_of(config: Any, agent: Agent) -> tuple[Loop, LoopConfig | OnPolicyConfig]:
    """The loop that an agent's learner needs, and the part of the config that it follows.

    Raises:
      UserError: that does not fit itself, or the learner; the message begins with the flag.
    """
    if isinstance(agent.learner, OnPolicyLearner):
        on_policy: OnPolicyConfig = config.on_policy
        with flags.naming("on_policy", on_policy):
            return make_on_policy_loop(agent.env, agent.learner, on_policy), on_policy
    assert isinstance(agent.learner, Learner)
    loop: LoopConfig = config.loop
    with flags.naming("loop", loop):
        return make_loop(agent.env, agent.learner, loop), loop


def learn(
    name: str, config: ExperimentConfig, agent: Agent, workdir: Path, watch: Stopwatch
) -> tuple[Trained, dict[str, float]]:
    """Trains a method in its folder and evaluates it: what acts, and its scores `METHOD/...`."""
    seconds = Stopwatch()
    env, learner, decode = agent
    loop, schedule = make_loop_of(config, agent)
    with watch.span(name):
        state = run_loop(
            workdir / name,
            name,
            loop,
            schedule,
            make_evaluate(env, learner, config.run.eval_episodes, stochastic=False),
            named_key(config.seed, "learn", name),
            run=config.run,
            stopwatch=seconds,
            flags=dataclasses.asdict(config),
        )
    with watch.span("evaluate"):
        evaluate = make_evaluate(env, learner, config.eval_episodes, stochastic=True)
        metrics = evaluate(state.learner.policy, evaluation_key(config.seed))
        scores = {n: float(x) for n, x in metrics.items()}
    print_scores(name, scores, config.eval_episodes)
    scores |= {"steps": int(state.steps), "updates": int(state.learner.step)}
    scores |= {f"seconds/{what}": x for what, x in seconds.seconds().items()}
    trained = Trained(env, learner, state.learner.policy, int(state.steps), decode)
    return trained, {f"{name}/{what}": x for what, x in scores.items()}


def restore_trained(folder: Path, agent: Agent) -> Trained:
    """What `learn` left of a method in its folder."""
    env, learner, decode = agent
    target = jax.eval_shape(lambda k: learner.init(k).policy, jax.random.key(0))
    restored = Checkpointer(folder / "checkpoints").restore_part("learner.policy", target)
    return Trained(env, learner, restored.state, restored.step, decode)
