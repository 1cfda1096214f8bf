"""Soft actor-critic with twin critics and a tuned temperature.

Haarnoja et al. 2018b, "Soft Actor-Critic Algorithms and Applications", arXiv:1812.05905.
"""

from __future__ import annotations

import math
from typing import Any

from behavior_priors import distributions
from behavior_priors.learner import Learner
from behavior_priors.learners.actor_critic import Penalty, SACState
from behavior_priors.learners.kind import Guidance, LearnerKind
from behavior_priors.learners.kl_sac import make_kl_sac
from behavior_priors.learners.regularized import make_regularized
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.types import (
    ActionSpec,
    Array,
    Observation,
    ObservationSpec,
    Params,
    PRNGKey,
)

__all__ = ["SACConfig", "SACState", "entropy_penalty", "make_sac"]


def make_sac(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    initial_policy: Params | None = None,
) -> Learner:
    """Soft actor-critic: `make_regularized` with the policy's log-density for a penalty.

    Its metrics are those, and `entropy` (of the policy, in nats).

    Raises:
      UserError: as there.
    """
    penalty = entropy_penalty(config, action_spec)
    return make_regularized(config, observation_spec, action_spec, penalty, initial_policy)


def entropy_penalty(config: SACConfig, action_spec: ActionSpec) -> Penalty:
    """Soft actor-critic's: the policy's log-density, whose target is minus the target entropy."""
    target_entropy = config.target_entropy
    if target_entropy is None:
        target_entropy = distributions.default_target_entropy(*action_spec)
    extra = 0.0
    if config.bound_once and action_spec.bound is not None:
        extra = (action_spec.size - 1) * math.log(action_spec.bound)

    def draw(policy: Any, _: Observation, key: PRNGKey) -> tuple[Array, Array]:
        action, log_prob = policy.sample_and_log_prob(seed=key)
        return action, log_prob + extra if extra else log_prob

    return Penalty(draw, -target_entropy, metrics=lambda log_prob: {"entropy": -log_prob})


def _make(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    guidance: Guidance,
) -> Learner:
    """Soft actor-critic, which stays close to a prior instead of random where there is one."""
    specs = (observation_spec, action_spec)
    if guidance.prior is None:
        return make_sac(config, *specs, guidance.start)
    return make_kl_sac(config, guidance.divergence, *specs, guidance.prior, guidance.start)


KIND = LearnerKind(SACConfig(), _make, takes=("start", "prior"))
