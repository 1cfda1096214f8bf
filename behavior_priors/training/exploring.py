"""Exploring with a prior: some actions of a run are the prior's, and all are learned from.

Prior-explore, a rival of PARROT's in Singh, Liu et al. 2021: the prior makes experience in which
something happens, and the policy learns in the space of actions itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import CountOrZero, Share
from behavior_priors.types import Array, Observation, PRNGKey

ExploreFn = Callable[[Array, Observation, Array, PRNGKey], Array]
"""`(actions [num_envs, size], observations [num_envs, ...], steps [], key) -> actions`: what is
done instead of what a learner has chosen to explore with, after so many environment steps."""


@dataclass(frozen=True)
class ExploreConfig:
    """How much of the exploring is the prior's.

    Attributes:
      share: of a run's first steps in which the prior chooses.
      decay_steps: environment steps over which the share falls evenly to end_share; 0 for a share
        that stays as it is.
      end_share: of the steps after those.
    """

    share: Share = 0.5
    decay_steps: CountOrZero = 0
    end_share: Share = 0.0


DrawFn = Callable[[Observation, PRNGKey], Array]
"""`(observations [num_envs, ...], key) -> actions [num_envs, size]` of a prior's."""


def make_explore(config: ExploreConfig, draw: DrawFn, bound: float | None) -> ExploreFn:
    """Actions of which some, each by chance, are those of a prior.

    Args:
      config: how many.
      draw: the prior's actions.
      bound: of actions; beyond it a prior's are clipped, since what learns stores what was chosen,
        and neither its policy nor its critics are at home there.

    Raises:
      UserError: the config does not fit itself.
    """
    check_ranges(config)

    def explore(action: Array, observation: Observation, steps: Array, key: PRNGKey) -> Array:
        draw_key, choice_key = jax.random.split(key)
        drawn = draw(observation, draw_key)
        if bound is not None:
            drawn = drawn.clip(-bound, bound)
        share = jnp.float32(config.share)
        if config.decay_steps:
            done = jnp.minimum(steps.astype(jnp.float32) / config.decay_steps, 1.0)
            share = share + done * (config.end_share - share)
        is_prior = jax.random.bernoulli(choice_key, share, (len(action), 1))
        return jnp.where(is_prior, drawn, action)

    return explore
