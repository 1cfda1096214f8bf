"""Agents with random parameters, which act like trained ones as far as anyone can tell."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.methods.agent import Agent, build
from behavior_priors.methods.models import Fitted
from behavior_priors.methods.plan import stages_of
from behavior_priors.methods.presets import RUN
from behavior_priors.methods.settings import chosen_methods
from behavior_priors.methods.tasks import task_env
from behavior_priors.types import Env, Params
from tests.experiments.settings import config_of

SMALL = (
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
)


class Made(NamedTuple):
    """A method put together.

    Attributes:
      config: of the experiment.
      env: the task's own.
      agent: the method.
      policy: its parameters.
    """

    config: Any
    env: Env
    agent: Agent
    policy: Params


def make(*arguments: str) -> Made:
    """The one method of a command line, with models and a policy drawn at random."""
    learner = () if any("learner=" in x for x in arguments) else SMALL
    config = config_of(RUN, *learner, *arguments)
    env, methods = task_env(config), chosen_methods(config)
    fitted = {
        name: Fitted(stage.model, jax.jit(stage.model.init)(jax.random.key(1)), stage.config)
        for name, stage in stages_of(methods, config, env).items()
    }
    ((name, method),) = methods.items()
    agent = build(name, method, config, env, fitted)
    # last layers begin near zero, and nothing would move
    noise = np.random.default_rng(0)
    policy = jax.tree.map(
        lambda x: x + noise.normal(0.0, 0.5, x.shape).astype(x.dtype),
        jax.jit(agent.learner.init)(jax.random.key(2)).policy,
    )
    return Made(config, env, agent, policy)
