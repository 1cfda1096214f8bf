"""A finished run, or one under way, put together again from its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.evaluation.evaluate import EvaluateFn, policy_of
from behavior_priors.learner import MetaLearner
from behavior_priors.methods import learning
from behavior_priors.methods.agent import build
from behavior_priors.methods.demonstrations import described
from behavior_priors.methods.learning import Trained
from behavior_priors.methods.plan import tasks_of_run
from behavior_priors.methods.restoring import choose_methods, find_env, read_config, restore_models
from behavior_priors.methods.settings import ExperimentConfig
from behavior_priors.methods.tasks import SplitTasks, read_tasks, task_env
from behavior_priors.reports import method_pictures
from behavior_priors.types import Array, DemonstrateFn, Env, PRNGKey, State


class RestoredRun(NamedTuple):
    """A run's flags, its task or tasks, and what each method has learned."""

    config: ExperimentConfig
    env: Env
    tasks: SplitTasks | None
    methods: Mapping[str, Trained]

    def evaluation(self, trained: Trained, episodes: int) -> EvaluateFn:
        """An evaluation of a method; see `learning.evaluation_of`."""
        return learning.evaluation_of(self.config, self.tasks, trained, episodes)

    def film(self, folder: Path, key: PRNGKey, episodes: int) -> bool:
        """One video a method; see `method_pictures.film`."""
        return method_pictures.film(
            folder, self.config, self.env, self.tasks, self.methods, key, episodes
        )


def restore_run(
    workdir: Path,
    methods: Sequence[str] = (),
    flag: str = "methods",
    trust: Sequence[str] = (),
    env_name: str | None = None,
) -> RestoredRun:
    """Restores the newest checkpoints of a run.

    Args:
      workdir: its folder, `--checkpoint` to the user.
      methods: which of its methods; empty for all of them.
      flag: what the user calls these.
      trust: modules, options and folders that the run's flags may name; see `trust.FromFile`.
      env_name: another environment than the run's, `--env` to the user, that looks the same.

    Raises:
      UserError: there is no such run, method or checkpoint, or its flags name what they may not; or
        the other environment looks otherwise.
    """
    config = read_config(workdir, f"--checkpoint={workdir}", trust)
    chosen = choose_methods(config, methods, workdir, f"--{flag}")
    if env_name is None:
        env = task_env(config)
    else:
        env = _instead(find_env(config, workdir), env_name, config)
        config = dataclasses.replace(config, env=env_name)
    tasks = tasks_of_run(chosen, config, env)
    fitted = restore_models(chosen, config, env, workdir)
    trained = {
        name: learning.restore_trained(workdir / name, build(name, method, config, env, fitted))
        for name, method in chosen.items()
    }
    if tasks is not None and env_name is None:
        tasks = read_tasks(workdir, tasks)
    return RestoredRun(config, env, tasks, trained)


def _instead(own: Env, name: str, config: ExperimentConfig) -> Env:
    """Another environment, seen with the eyes of those who know a run's own.

    Raises:
      UserError: it looks otherwise.
    """
    env = make_env(name, engine=config.engine, reward=config.reward)
    ours, theirs = described(own), described(env)
    for what, here in ours.items():
        if here != (there := theirs.get(what, "missing")):
            raise UserError(
                f"--env={name} does not go with {own.name}: {what} is {here} in the run, but "
                f"{there} there"
            )
    # what is typical is what networks were made for
    return env._replace(observation_spec={**env.observation_spec, **own.observation_spec})


def as_demonstrator(run: RestoredRun, method: str, *, explore: bool) -> DemonstrateFn:
    """A method's policy as one that acts in the task itself.

    Args:
      run: has the method.
      method: whose policy.
      explore: draw actions, instead of taking the most likely ones.

    Raises:
      UserError: it does not choose single actions from observations alone.
    """
    trained = run.methods[method]
    policy = policy_of(trained.learner, trained.policy, explore=explore)
    decode = trained.agent.decode
    remembers = trained.env.observation_spec.keys() - run.env.observation_spec.keys()
    if decode is None or remembers or isinstance(trained.learner, MetaLearner):
        raise UserError(
            f"--method={method} does not choose single actions from observations alone; only a "
            "policy that does can demonstrate"
        )

    def act(state: State, key: PRNGKey) -> Array:
        return decode(state, policy(state, key))

    return act
