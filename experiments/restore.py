"""A finished run, or one under way, put together again from its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from behavior_priors.envs.wrappers import decoder
from behavior_priors.learner import Learner
from behavior_priors.training import flags
from behavior_priors.training.checkpoint import Checkpointer
from behavior_priors.training.evaluate import policy_of
from behavior_priors.training.workdir import FLAGS_FILE, read_owner
from behavior_priors.types import Array, DemonstrateFn, Env, Params, PRNGKey, State, UserError
from experiments.parrot import ParrotConfig, make_method, make_prior, needs_prior, task_env
from experiments.stages import TrainedPrior, restore_prior


class Trained(NamedTuple):
    """What a method has learned.

    Attributes:
      env: where it acts, which for PARROT is the task as seen through the prior.
      learner: what acts.
      policy: its parameters.
      step: environment steps that they come from.
    """

    env: Env
    learner: Learner
    policy: Params
    step: int


class RestoredRun(NamedTuple):
    """A run's flags, the task, and what each method has learned."""

    config: ParrotConfig
    env: Env
    prior: TrainedPrior | None
    methods: Mapping[str, Trained]


def restore_run(workdir: Path, methods: Sequence[str] = (), flag: str = "methods") -> RestoredRun:
    """Restores the newest checkpoints of a run.

    Args:
      workdir: its folder, `--checkpoint` to the user.
      methods: which of its methods; empty for all of them.
      flag: what the user calls these.

    Raises:
      UserError: there is no such run, method or checkpoint.
    """
    if not (workdir / FLAGS_FILE).is_file():
        raise UserError(f"--checkpoint={workdir} has no {FLAGS_FILE}; give the workdir of a run")
    owner = read_owner(workdir)
    if owner != "parrot":
        raise UserError(f"--checkpoint={workdir} is not a run of parrot but of {owner}; give one")
    config = flags.read_file(ParrotConfig, workdir / FLAGS_FILE)
    for method in methods:
        if method not in config.methods:
            raise UserError(
                f"--{flag}={method} is not in {workdir}; use some of: {', '.join(config.methods)}"
            )
    env, names = task_env(config), methods or config.methods
    prior = None
    if needs_prior(names):
        prior = restore_prior(make_prior(config, env), workdir / "prior")
    trained = {}
    for method in names:
        acted_env, learner = make_method(method, config, env, prior)
        target = jax.eval_shape(lambda k, init=learner.init: init(k).policy, jax.random.key(0))
        checkpoints = Checkpointer(workdir / method / "checkpoints")
        restored = checkpoints.restore_part("learner.policy", target)
        trained[method] = Trained(acted_env, learner, restored.state, restored.step)
    return RestoredRun(config, env, prior, trained)


def as_demonstrator(run: RestoredRun, method: str, *, explore: bool) -> DemonstrateFn:
    """A method's policy as one that acts in the task itself.

    Args:
      run: has the method.
      method: whose policy.
      explore: draw actions, instead of taking the most likely ones.
    """
    trained = run.methods[method]
    policy = policy_of(trained.learner, trained.policy, explore=explore)
    if method != "parrot":
        return policy
    assert run.prior is not None
    decode = decoder(*run.prior)

    def act(state: State, key: PRNGKey) -> Array:
        return decode(state, policy(state, key))

    return act
