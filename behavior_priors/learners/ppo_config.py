"""Hyper-parameters of proximal policy optimisation, and what they may be."""

from __future__ import annotations

import dataclasses

from behavior_priors.checks import check_rules, check_std_limit
from behavior_priors.networks import StdLimit


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of proximal policy optimisation.

    Attributes:
      policy_observation: names of the arrays that the policy sees; empty for all.
      value_observation: names of the arrays that the value sees; empty for all.
      policy_widths: hidden layers of the policy.
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
    policy_widths: tuple[int, ...] = (256, 256)
    value_widths: tuple[int, ...] = (256, 256)
    policy_learning_rate: float = 3e-4
    value_learning_rate: float = 3e-4
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    change_limit: float | None = 0.05
    epochs: int = 10
    minibatches: int = 8
    entropy_weight: float = 0.0
    gradient_clip: float | None = 0.5
    standardize_advantages: bool = True
    policy_delay: int = 0
    reward_scale: float = 1.0
    min_log_std: float = -5.0
    max_log_std: float = 2.0
    std_limit: StdLimit = "clip"
    mean_bound: float | None = None


def check_ppo_config(config: PPOConfig) -> None:
    """Refuses values outside their range.

    Raises:
      UserError: there is one.
    """
    rates = ("policy_learning_rate", "value_learning_rate")
    widths = ("policy_widths", "value_widths")
    largest, change = config.gradient_clip, config.change_limit
    check_rules(
        config,
        {
            **{name: (getattr(config, name) > 0, "positive") for name in rates},
            **{name: (min(getattr(config, name), default=1) > 0, "positive") for name in widths},
            "discount": (0 <= config.discount <= 1, "in [0, 1]"),
            "gae_lambda": (0 <= config.gae_lambda <= 1, "in [0, 1]"),
            "clip": (0 < config.clip < 1, "between 0 and 1"),
            "epochs": (config.epochs >= 1, "at least 1"),
            "minibatches": (config.minibatches >= 1, "at least 1"),
            "entropy_weight": (config.entropy_weight >= 0, "at least 0"),
            "gradient_clip": (largest is None or largest > 0, "positive, or none"),
            "change_limit": (change is None or change > 0, "positive, or none"),
            "policy_delay": (config.policy_delay >= 0, "at least 0"),
            "min_log_std": (config.min_log_std <= config.max_log_std, "at most max_log_std"),
            "mean_bound": (config.mean_bound is None or config.mean_bound > 0, "positive, or none"),
        },
    )
    check_std_limit(config)
