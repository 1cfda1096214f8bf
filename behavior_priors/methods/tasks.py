"""The tasks of a run that infers them: drawn once, saved with it, and done by an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.config.ranges import Episodes, EpisodesOrZero, Seed
from behavior_priors.data.shards import Shard
from behavior_priors.envs.guard import LARGEST_OBSERVATION
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.evaluation.adapt import policy_returns
from behavior_priors.keys import named_key
from behavior_priors.system.files import write_npz
from behavior_priors.training.meta.experience import tasks_of
from behavior_priors.types import Env, PRNGKey, Task

TASKS_FILE = "tasks.npz"


@dataclass(frozen=True)
class TasksConfig:
    """Which tasks of an environment that has many.

    Attributes:
      train: how many there are to learn from.
      test: others, to be judged by; 0 to be judged by the same ones.
      seed: of the tasks.
      oracle_episodes: episodes of whoever knows the task in each test task; 0 for none.
    """

    train: Episodes = 80
    test: EpisodesOrZero = 20
    seed: Seed = 0
    oracle_episodes: EpisodesOrZero = 20


def task_env(config: Any) -> Env:
    """The environment of an experiment's task, or of its tasks where they are inferred."""
    return make_env(config.env, engine=config.engine, reward=config.reward)


class SplitTasks(NamedTuple):
    """What a run learns from `[train, ...]`, and is judged by `[test, ...]`."""

    train: Task
    test: Task


def draw_tasks(env: Env, config: TasksConfig) -> SplitTasks:
    """Tasks to learn from, and others; without others, the same ones.

    Raises:
      UserError: the environment is but one task, or draws such as nothing can be learned from.
    """
    sample = jax.jit(tasks_of(env).sample, static_argnums=1)
    train, test = config.train, config.test
    tasks = sample(named_key(config.seed, "tasks"), train + test)
    if (wrong := _absurd(_named(tasks))) is not None:
        raise UserError(f"the tasks that {env.name} draws have {wrong}")
    first = jax.tree.map(lambda x: x[:train], tasks)
    return SplitTasks(first, jax.tree.map(lambda x: x[train:], tasks) if test else first)


def keep_tasks(workdir: Path, tasks: SplitTasks) -> SplitTasks:
    """Saves a run's tasks, or returns those that it began with."""
    path = workdir / TASKS_FILE
    if path.is_file():
        return read_tasks(workdir, tasks)
    write_npz(path, _named(tasks))
    return tasks


def read_tasks(workdir: Path, like: SplitTasks) -> SplitTasks:
    """The tasks that a run was begun with.

    Args:
      workdir: of the run.
      like: has their structure.

    Raises:
      UserError: they are missing, of another environment, or damaged.
    """
    path = workdir / TASKS_FILE
    try:
        stored = Shard(path)
    except UserError as error:
        raise UserError(f"{path} cannot be read; it belongs to the run") from error
    names = _named(like)
    ours, theirs = (
        {n: (x.shape, x.dtype) for n, x in arrays.items()} for arrays in (names, stored.arrays)
    )
    if ours != theirs:
        raise UserError(f"{path} has the tasks of another run; choose another --workdir")
    kept = {name: stored.read(name) for name in names}
    if (wrong := _absurd(kept)) is not None:
        raise UserError(f"{path} has {wrong}; it is damaged, and belongs to the run")
    leaves = [jnp.asarray(x) for x in kept.values()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def oracle_returns(env: Env, tasks: Task, episodes: int, key: PRNGKey) -> np.ndarray | None:
    """Returns `[tasks]` of whoever is told the task; None where nothing demonstrates.

    Args:
      env: whose demonstrator it is.
      tasks: `[tasks, ...]`.
      episodes: of each task, averaged.
      key: consumed.
    """
    oracle = env.demonstrate
    if oracle is None:
        return None
    run = jax.jit(lambda tasks, key: policy_returns(env, oracle, tasks, episodes, key))
    return np.asarray(run(tasks, key)).mean(axis=1)


def _absurd(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Says which number no task can have: one that is not finite, or beyond all observations."""
    for name, x in arrays.items():
        if x.dtype.kind == "f":
            wrong = x[~(np.abs(x.astype(float)) <= LARGEST_OBSERVATION)]
            if wrong.size:
                most = f"numbers of tasks are finite, at most {LARGEST_OBSERVATION:g}"
                return f"{float(wrong[0]):.4g} in {name or 'them'}; {most}"
    return None


def _named(tasks: Any) -> dict[str, np.ndarray]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(x)
        for path, x in jax.tree.leaves_with_path(tasks)
    }
