"""A finished run, or one under way, put together again from its folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from behavior_priors.evaluation.evaluate import EvaluateFn, make_evaluate, policy_of
from behavior_priors.methods.learning import Trained
from behavior_priors.runs.workdir import FLAGS_FILE, owner_of
from behavior_priors.types import Array, DemonstrateFn, Env, PRNGKey, State, UserError
from experiments import pearl, pictures, run

EXPERIMENTS: Mapping[str, Any] = {"run": run, "parrot": run, "spirl": run, "pearl": pearl}
"""Programs by what their runs are called. Each has `METHODS`, `read(owner, path, trust)`,
`task_env(config)` and `restore`; and where a number of episodes of one task is not what it is
judged and shown by, `evaluation(config, workdir, trained, episodes)` and `videos(config, workdir,
folder, trained, key, episodes)`."""


class RestoredRun(NamedTuple):
    """A run's flags, the task, what each method has learned, how that is judged and shown."""

    config: Any
    env: Env
    methods: Mapping[str, Trained]
    evaluation: Callable[[Trained, int], EvaluateFn]
    videos: Callable[[Path, Mapping[str, Trained], PRNGKey, int], None]


def restore_run(
    workdir: Path,
    methods: Sequence[str] = (),
    flag: str = "methods",
    trust: Sequence[str] = (),
) -> RestoredRun:
    """Restores the newest checkpoints of a run.

    Args:
      workdir: its folder, `--checkpoint` to the user.
      methods: which of its methods; empty for all of them.
      flag: what the user calls these.
      trust: modules, options and folders that the run's flags may name; see `trust.FromFile`.

    Raises:
      UserError: there is no such run, method or checkpoint, or its flags name what they may not.
    """
    owner = owner_of(workdir, f"--checkpoint={workdir}")
    if owner not in EXPERIMENTS:
        raise UserError(
            f"--checkpoint={workdir} is not a run of {' or '.join(EXPERIMENTS)} but of {owner}; "
            "give one"
        )
    experiment = EXPERIMENTS[owner]
    config = experiment.read(owner, workdir / FLAGS_FILE, trust)
    known = experiment.methods_of(config)
    for method in methods:
        if method not in known:
            raise UserError(
                f"--{flag}={method} is not in {workdir}; use some of: {', '.join(known)}"
            )
    trained = experiment.restore(config, workdir, tuple(methods) or known)
    evaluation, videos = _episodes_of, _videos_of
    if hasattr(experiment, "evaluation"):
        evaluation = functools.partial(experiment.evaluation, config, workdir)
        videos = functools.partial(experiment.videos, config, workdir)
    return RestoredRun(config, experiment.task_env(config), trained, evaluation, videos)


def _episodes_of(trained: Trained, episodes: int) -> EvaluateFn:
    return make_evaluate(trained.env, trained.learner, episodes, stochastic=True)


def _videos_of(folder: Path, trained: Mapping[str, Trained], key: PRNGKey, episodes: int) -> None:
    policies = {name: (x.env, x.learner, x.policy) for name, x in trained.items()}
    pictures.videos(folder, policies, key, episodes)


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
    policy, decode = policy_of(trained.learner, trained.policy, explore=explore), trained.decode
    if decode is None:
        raise UserError(
            f"--method={method} does not choose single actions from observations alone; only a "
            "policy that does can demonstrate"
        )

    def act(state: State, key: PRNGKey) -> Array:
        return decode(state, policy(state, key))

    return act
