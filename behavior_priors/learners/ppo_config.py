"""Hyper-parameters of proximal policy optimisation, and what they may be."""

from __future__ import annotations

import dataclasses

from behavior_priors.config.checks import check_ranges, check_rules, check_std_limit
from behavior_priors.config.ranges import (
    Count,
    CountOrZero,
    InnerShare,
    LearningRate,
    Limit,
    LogStd,
    Positive,
    Share,
    SideBySide,
    Weight,
    Width,
)
from behavior_priors.networks import StdLimit


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of proximal policy optimisation.

    Attributes:
      policy_observation: names of the arrays that the policy sees; empty for all.
      value_observation: names of the arrays that the value sees; empty for all.
      policy_widths: hidden layers of the policy; none for those of what it starts from, else two of
        256.
      value_widths: hidden layers of the value.
      policy_learning_rate: Adam's step size for the policy.
      value_learning_rate: Adam's step size for the value.
      discount: weight of the next step's value.
      gae_lambda: weight of the next step's advantage, from 0 to 1.
      clip: how far from 1 a probability ratio may be pushed.
      change_limit: divergence from the policy that acted, in nats, beyond which an update takes no
        more steps of the policy; none for no limit, as in the paper, with which a narrow policy,
        such as a cloned one, can move by many of its standard deviations.
      epochs: how often an update goes through its experience.
      minibatches: parts of the experience, one gradient step each.
      entropy_weight: of the policy's entropy, in nats, in its loss.
      gradient_clip: largest norm of a network's gradient; none for no limit.
      standardize_advantages: give each round's advantages mean 0 and standard deviation 1.
      policy_delay: gradient steps of the value alone before the first update of the policy, so that
        a policy that is good already is not led by a value that knows nothing yet.
      reward_scale: factor on rewards.
      min_log_std: lower limit of the policy's log standard deviations.
      max_log_std: upper limit of the policy's log standard deviations.
      std_limit: how they are kept: clip, outside of which there is no gradient, or tanh, smooth.
      mean_bound: the policy's means, before any squashing, stay within this; none for no bound.
    """

    policy_observation: tuple[str, ...] = ()
    value_observation: tuple[str, ...] = ()
    policy_widths: tuple[Width, ...] | None = None
    value_widths: tuple[Width, ...] = (256, 256)
    policy_learning_rate: LearningRate = 3e-4
    value_learning_rate: LearningRate = 3e-4
    discount: Share = 0.99
    gae_lambda: Share = 0.95
    clip: InnerShare = 0.2
    change_limit: Limit | None = 0.05
    epochs: Count = 10
    minibatches: SideBySide = 8
    entropy_weight: Weight = 0.0
    gradient_clip: Limit | None = 0.5
    standardize_advantages: bool = True
    policy_delay: CountOrZero = 0
    reward_scale: Positive = 1.0
    min_log_std: LogStd = -5.0
    max_log_std: LogStd = 2.0
    std_limit: StdLimit = "clip"
    mean_bound: Limit | None = None


def check_ppo_config(config: PPOConfig) -> None:
    """Refuses values outside their range.

    Raises:
      UserError: there is one.
    """
    check_ranges(config)
    is_kept = config.min_log_std <= config.max_log_std
    check_rules(config, {"min_log_std": (is_kept, "at most max_log_std")})
    check_std_limit(config)
