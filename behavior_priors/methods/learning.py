"""Learning a task, or many: a method trained in its folder, evaluated, and found there again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from behavior_priors.config import flags
from behavior_priors.evaluation.adapt import Adaptation, make_adapt, make_meta_evaluate
from behavior_priors.evaluation.evaluate import EvaluateFn, make_evaluate
from behavior_priors.keys import key_shape, named_key
from behavior_priors.learner import Actor, Learner, MetaLearner, OnPolicyLearner
from behavior_priors.methods import adapting
from behavior_priors.methods.agent import Agent
from behavior_priors.methods.settings import ExperimentConfig
from behavior_priors.methods.tasks import SplitTasks
from behavior_priors.programs.heartbeat import heartbeat
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.kept import Kept
from behavior_priors.runs.run import Schedule, run_loop
from behavior_priors.runs.workdir import ADAPTATION_FILE, versions
from behavior_priors.training.loop import Loop, LoopConfig, make_loop
from behavior_priors.training.meta.loop import make_meta_loop
from behavior_priors.training.meta.schedule import MetaLoopConfig
from behavior_priors.training.on_policy import OnPolicyConfig, make_on_policy_loop
from behavior_priors.types import Env, Params, PRNGKey


class Trained(NamedTuple):
    """What a method has learned.

    Attributes:
      agent: the method, ready to act.
      policy: its parameters.
      step: environment steps that they come from.
      adaptation: how it went about the test tasks, where it has just been tested on tasks that it
        infers.
    """

    agent: Agent
    policy: Params
    step: int
    adaptation: Adaptation | None = None

    @property
    def env(self) -> Env:
        """Where it acts, which may be the task as seen through a model."""
        return self.agent.env

    @property
    def learner(self) -> Actor:
        """What acts."""
        return self.agent.learner


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


def make_loop_of(config: Any, agent: Agent, tasks: SplitTasks | None) -> tuple[Loop[Any], Schedule]:
    """The loop that an agent's learner needs, and the steps that it makes.

    Args:
      config: of the experiment.
      agent: a method, ready to learn.
      tasks: those of the run, where methods infer them.

    Raises:
      UserError: that does not fit itself, or the learner; the message begins with the flag.
    """
    env, learner = agent.env, agent.learner
    if isinstance(learner, MetaLearner):
        assert tasks is not None
        meta_loop: MetaLoopConfig = config.meta_loop
        with flags.naming("meta_loop", meta_loop):
            return make_meta_loop(env, learner, meta_loop, tasks.train)
    if isinstance(learner, OnPolicyLearner):
        on_policy: OnPolicyConfig = config.on_policy
        with flags.naming("on_policy", on_policy):
            return make_on_policy_loop(env, learner, on_policy), on_policy
    assert isinstance(learner, Learner)
    loop: LoopConfig = config.loop
    with flags.naming("loop", loop):
        return make_loop(env, learner, loop, agent.explore), loop


def check_evaluation(config: Any, agent: Agent) -> None:
    """Refuses flags that say how a method is to be tested, and do not fit.

    Raises:
      UserError: they do not; the message begins with the flag.
    """
    if isinstance(agent.learner, MetaLearner):
        with flags.naming("adapt", config.adapt):
            make_adapt(agent.env, agent.learner, config.adapt)


def learn(
    name: str,
    config: ExperimentConfig,
    agent: Agent,
    tasks: SplitTasks | None,
    workdir: Path,
    watch: Stopwatch,
    kept: Kept,
) -> tuple[Trained, dict[str, float]]:
    """Trains a method in its folder and evaluates it: what acts, and its scores `METHOD/...`.

    Neither is done where an earlier process has done it.

    Args:
      name: of the method.
      config: of the experiment.
      agent: the method, ready to learn.
      tasks: those of the run, where methods infer them.
      workdir: of the run.
      watch: of the run's stages.
      kept: the run's results so far.
    """
    seconds = Stopwatch()
    loop, schedule = make_loop_of(config, agent, tasks)
    of = {"steps": schedule.steps, **_how_judged(config, agent), **versions()}
    folder = workdir / name
    if (found := kept.find(f"method/{name}", of)) is not None:
        trained = _restore_finished(folder, agent, schedule.steps)
        if trained is not None:
            _tell(name, config, agent, tasks, found)
            return trained, found
    with watch.span(name):
        state = run_loop(
            folder,
            name,
            loop,
            schedule,
            _evaluation_on_the_way(config, agent, tasks),
            named_key(config.seed, "learn", name),
            run=config.run,
            stopwatch=seconds,
            flags=dataclasses.asdict(config),
        )
    trained = Trained(agent, state.learner.policy, int(state.steps))
    episodes = f"evaluating, {config.eval_episodes} episodes of each policy"
    if isinstance(agent.learner, MetaLearner):
        episodes = "evaluating in training and test tasks"
    with watch.span("evaluate"), heartbeat(name, episodes):
        trained, scores = _evaluate(config, trained, tasks, folder)
    scores |= {"steps": int(state.steps), "updates": int(state.learner.step)}
    scores |= {f"seconds/{what}": x for what, x in seconds.seconds().items()}
    results = {f"{name}/{what}": x for what, x in scores.items()}
    _tell(name, config, agent, tasks, results)
    written = [] if trained.adaptation is None else [f"{name}/{ADAPTATION_FILE}"]
    kept.keep(f"method/{name}", of, results, written)
    return trained, results


def _evaluation_on_the_way(config: Any, agent: Agent, tasks: SplitTasks | None) -> EvaluateFn:
    env, learner = agent.env, agent.learner
    if isinstance(learner, MetaLearner):
        assert tasks is not None
        return make_meta_evaluate(env, learner, tasks.test, config.adapt)
    return make_evaluate(env, learner, config.run.eval_episodes, stochastic=False)


def _evaluate(
    config: Any, trained: Trained, tasks: SplitTasks | None, folder: Path
) -> tuple[Trained, dict[str, float]]:
    """The scores of what has been learned."""
    env, learner, policy = trained.env, trained.learner, trained.policy
    key = evaluation_key(config.seed)
    if isinstance(learner, MetaLearner):
        assert tasks is not None
        acting = adapting.Acting(env, learner, policy)
        adaptation, scores = adapting.test(config, acting, tasks, folder, key)
        return trained._replace(adaptation=adaptation), scores
    evaluate = make_evaluate(env, learner, config.eval_episodes, stochastic=True)
    return trained, {n: float(x) for n, x in evaluate(policy, key).items()}


def _how_judged(config: Any, agent: Agent) -> dict[str, Any]:
    """The flags that scores depend on, beside those of what is learned."""
    if isinstance(agent.learner, MetaLearner):
        return dataclasses.asdict(config.adapt)
    return {"eval_episodes": config.eval_episodes}


def _tell(
    name: str,
    config: Any,
    agent: Agent,
    tasks: SplitTasks | None,
    results: Mapping[str, float],
) -> None:
    """Prints how good a method has become."""
    scores = {what.removeprefix(f"{name}/"): x for what, x in results.items()}
    if isinstance(agent.learner, MetaLearner):
        assert tasks is not None
        adapting.print_scores(name, config.adapt, tasks, scores)
    else:
        print_scores(name, scores, config.eval_episodes)


def _restore_finished(folder: Path, agent: Agent, steps: int) -> Trained | None:
    """What a method learned in so many steps, where it has made them."""
    if Checkpointer(folder / "checkpoints").steps()[-1:] != [steps]:
        return None
    trained = restore_trained(folder, agent)
    # the newest checkpoint may be damaged
    return trained if trained.step == steps else None


def restore_trained(folder: Path, agent: Agent) -> Trained:
    """What `learn` left of a method in its folder."""
    learner = agent.learner
    target = jax.eval_shape(lambda k: learner.init(k).policy, key_shape())
    restored = Checkpointer(folder / "checkpoints").restore_part("learner.policy", target)
    return Trained(agent, restored.state, restored.step)


def adaptation_of(config: Any, tasks: SplitTasks, trained: Trained) -> Adaptation:
    """How a method that infers tasks went about those of its test, anew where nobody has looked."""
    if trained.adaptation is not None:
        return trained.adaptation
    assert isinstance(trained.learner, MetaLearner)
    adapt = jax.jit(make_adapt(trained.env, trained.learner, config.adapt))
    return adapt(trained.policy, tasks.test, evaluation_key(config.seed))


def evaluation_of(
    config: Any, tasks: SplitTasks | None, trained: Trained, episodes: int
) -> EvaluateFn:
    """An evaluation of what has been learned, in so many episodes.

    Args:
      config: of the experiment.
      tasks: those of the run, where methods infer them: each test task is met as often as makes at
        least so many episodes of all.
      trained: what acts.
      episodes: of the evaluation.
    """
    if isinstance(trained.learner, MetaLearner):
        assert tasks is not None
        adapt = adapting.often_enough(config.adapt, tasks.test, episodes)
        return make_meta_evaluate(trained.env, trained.learner, tasks.test, adapt)
    return make_evaluate(trained.env, trained.learner, episodes, stochastic=True)
