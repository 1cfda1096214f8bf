"""Soft actor-critic that stays close to a prior instead of staying random.

Pertsch et al. 2020, "Accelerating Reinforcement Learning with Learned Skill Priors" (SPiRL),
section 3.3: where soft actor-critic pays the policy for its entropy, this one charges it for its
divergence from a prior, `KL(pi(. | s) || p(. | s))`. The prior may be over anything that the policy
chooses: skills, PARROT's latents, or actions (the paper's flat prior). With a prior that is
uniform it is soft actor-critic.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from behavior_priors import distributions
from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Few, Limit, Nats
from behavior_priors.learner import Learner
from behavior_priors.learners.kind import PriorFn
from behavior_priors.learners.sac import Penalty, make_update
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.learners.sac_value import make_steps_of
from behavior_priors.types import (
    ActionSpec,
    Array,
    Observation,
    ObservationSpec,
    Params,
    PRNGKey,
)


@dataclasses.dataclass(frozen=True)
class DivergenceConfig:
    """How the distance to the prior is measured, and how large it may become.

    Attributes:
      target: divergence, in nats, at which the temperature rests.
      per_dimension: the target is for each dimension of the action, not for all together.
      samples: estimate the divergence with so many samples; none for the closed form, and for 10
        where there is none.
      limit: the divergence counts as at most this, and at least minus this; none for no limit.
    """

    target: Nats = 1.0
    per_dimension: bool = False
    samples: Few | None = None
    limit: Limit | None = None


def make_kl_sac(
    config: SACConfig,
    divergence: DivergenceConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    prior: PriorFn,
    initial_policy: Params | None = None,
) -> Learner:
    """KL-regularised soft actor-critic.

    The temperature starts at `config.initial_temperature`, and stays there if it is fixed;
    otherwise it rises while the divergence is above its target. `config.target_entropy` is not
    read.

    Args:
      config: of the actor and its critics.
      divergence: of the distance to the prior.
      observation_spec: of the observations in batches.
      action_spec: as for `make_sac`.
      prior: what the policy is to stay close to.
      initial_policy: parameters to start the policy from, such as the prior's own
        (`start_from_prior`).

    Returns:
      The learner. Its metrics are those of `make_sac`, with `divergence`, in nats, for
      `entropy`.

    Raises:
      UserError: as `make_steps`, or as `check_divergence`.
    """
    check_divergence(divergence)
    target = divergence.target * (action_spec.size if divergence.per_dimension else 1)

    def draw(_: Params, policy: Any, observation: Observation, key: PRNGKey) -> tuple[Array, Array]:
        action, distance = distributions.divergence(
            policy, prior(observation), key, samples=divergence.samples
        )
        if divergence.limit is not None:
            distance = jnp.clip(distance, -divergence.limit, divergence.limit)
        return action, distance

    penalty = Penalty(draw, target, metrics=lambda distance: {"divergence": distance})
    steps = make_steps_of(config, observation_spec, action_spec, penalty, initial_policy)
    return Learner(steps.init, make_update(steps), steps.act)


def check_divergence(config: DivergenceConfig) -> None:
    """Refuses values outside their range.

    Raises:
      UserError: there is one.
    """
    check_ranges(config)
