"""The hyper-parameters of soft actor-critic and of everything made from its parts."""

from __future__ import annotations

import dataclasses

from behavior_priors.config.checks import check_ranges, check_rules, check_std_limit
from behavior_priors.config.ranges import (
    Count,
    Few,
    LearningRate,
    Limit,
    LogStd,
    Nats,
    Positive,
    PositiveShare,
    Share,
    Weight,
    Width,
)
from behavior_priors.networks import StdLimit


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """Hyper-parameters of soft actor-critic.

    The target critic follows the critic a little after every update by default; PARROT copies it
    whole, with `target_rate=1.0` and `target_period=1000`.

    Attributes:
      policy_observation: names of the arrays that the policy sees; empty for all.
      critic_observation: names of the arrays that the critics see; empty for all.
      policy_widths: hidden layers of the policy; none for those of what it starts from, else two of
        256.
      critic_widths: hidden layers of each critic.
      critic_layer_norm: normalise the critics' hidden layers.
      num_critics: how many critics there are; targets use the lowest.
      policy_learning_rate: Adam's step size for the policy.
      critic_learning_rate: Adam's step size for the critics.
      temperature_learning_rate: Adam's step size for the temperature's logarithm.
      decay_updates: over so many updates all step sizes fall linearly to a tenth, and stay there;
        None keeps them as they are.
      discount: weight of the next step's value.
      target_rate: share of the critic that moves into the target critic.
      target_period: number of updates between movements of the target critic.
      initial_temperature: weight of the entropy at the start.
      fixed_temperature: keep the initial temperature.
      target_entropy: the policy's entropy, in nats, at which the temperature rests; None derives it
        from the action's size and bound.
      reward_scale: factor on rewards.
      min_log_std: lower limit of the policy's log standard deviations.
      max_log_std: upper limit of the policy's log standard deviations.
      std_limit: how they are kept: clip, outside of which there is no gradient, or tanh, smooth.
      mean_bound: the policy's means, before any squashing, stay within this; none for no bound.
      bound_once: count the logarithm of an action's bound once in the policy's entropy, and not for
        each dimension, as the public code of SPiRL does: a constant that makes the policy seem less
        random than it is.
      policy_decay: weight of the mean squares of the policy's means and of its log standard
        deviations.
    """

    policy_observation: tuple[str, ...] = ()
    critic_observation: tuple[str, ...] = ()
    policy_widths: tuple[Width, ...] | None = None
    critic_widths: tuple[Width, ...] = (256, 256)
    critic_layer_norm: bool = False
    num_critics: Few = 2
    policy_learning_rate: LearningRate = 3e-4
    critic_learning_rate: LearningRate = 3e-4
    temperature_learning_rate: LearningRate = 3e-4
    decay_updates: Count | None = None
    discount: Share = 0.99
    target_rate: PositiveShare = 0.005
    target_period: Count = 1
    initial_temperature: Positive = 1.0
    fixed_temperature: bool = False
    target_entropy: Nats | None = None
    reward_scale: Positive = 1.0
    min_log_std: LogStd = -5.0
    max_log_std: LogStd = 2.0
    std_limit: StdLimit = "clip"
    mean_bound: Limit | None = None
    bound_once: bool = False
    policy_decay: Weight = 0.0


def check_sac_config(config: SACConfig) -> None:
    """Refuses values outside their range.

    Raises:
      UserError: there is one.
    """
    check_ranges(config)
    is_kept = config.min_log_std <= config.max_log_std
    check_rules(config, {"min_log_std": (is_kept, "at most max_log_std")})
    check_std_limit(config)
