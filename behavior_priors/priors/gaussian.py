"""Gaussian over actions, squashed where actions are bounded: behavioural cloning, the flat prior.

The density is the policy of soft actor-critic (Haarnoja et al. 2018), with the same network and
the same parameters: what is fitted here is a policy that `make_sac(..., initial_policy=params)`
starts from, as BC-SAC of Singh et al. 2021 does. As a prior it is the flow's simplest rival: one
action, one mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from behavior_priors.config.checks import (
    check_observation,
    check_ranges,
    check_rules,
    check_std_limit,
)
from behavior_priors.config.ranges import InnerShare, Limit, LogStd, ShareBelowOne, Width
from behavior_priors.distributions import ScaledTanh, policy_distribution, policy_mode
from behavior_priors.networks import (
    WIDTHS,
    GaussianPolicy,
    StdLimit,
)
from behavior_priors.priors.model import Model
from behavior_priors.torso import Sight
from behavior_priors.types import (
    ActionSpec,
    Array,
    Metrics,
    Observation,
    ObservationSpec,
    Params,
    Prior,
    PRNGKey,
)


@dataclass(frozen=True)
class GaussianConfig:
    """What the Gaussian looks like, and what it is fitted to.

    The network is that of a `SACConfig` with the same `policy_observation`, `policy_widths`,
    `min_log_std`, `max_log_std`, `std_limit` and `mean_bound`.

    Attributes:
      observation: names of the observation arrays that the prior sees; none means all of them.
      widths: hidden layers of the network; none for those of the policy that starts from it, else
        two of 256.
      min_log_std: lower limit of the log standard deviations.
      max_log_std: upper limit of the log standard deviations.
      std_limit: how they are kept: clip, outside of which there is no gradient, or tanh, smooth.
      mean_bound: means, before any squashing, stay within this; none for no bound.
      entropy_weight: of the entropy in the loss, from 0, which is maximum likelihood, to below 1.
      squash_limit: actions beyond this share of their bound count as being at it.
    """

    observation: tuple[str, ...] = ()
    widths: tuple[Width, ...] | None = None
    min_log_std: LogStd = -5.0
    max_log_std: LogStd = 2.0
    std_limit: StdLimit = "clip"
    mean_bound: Limit | None = None
    entropy_weight: ShareBelowOne = 0.0
    squash_limit: InnerShare = 0.999


def make_gaussian(
    config: GaussianConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Prior:
    """A Gaussian behaviour prior; every function accepts any leading batch axes.

    Features are the Gaussian's mean and log standard deviation, joined, `[2 * size]`. A latent `z`
    is decoded as `mean + std * z`, squashed by `bound * tanh` where the action has a bound, so that
    `z ~ N(0, I)` decodes to samples and `z = 0` to the policy's deterministic action.

    The loss is `mean(-log p(a | s)) - entropy_weight * mean(H(p(. | s)))` in nats and in the
    measure of the action itself, with metrics `nll` and `entropy`. The entropy is that of one
    sample a state, drawn with the loss's key; without a bound, of the closed form. A bonus of
    weight `w` makes the best unbounded Gaussian's variance `1 / (1 - w)` times the data's, which is
    why `w` stays below 1.

    Demonstrators saturate: an action at its bound has no preimage under the tanh, and is taken to
    be at `squash_limit` times the bound by `invert`, `log_prob` and the loss alike.

    Args:
      config: what the Gaussian looks like.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    _check(config, observation_spec)
    sight = Sight(observation_spec, config.observation or tuple(observation_spec))
    size, bound = action_spec
    network: Any = GaussianPolicy(
        WIDTHS if config.widths is None else config.widths,
        size,
        config.min_log_std,
        config.max_log_std,
        config.mean_bound,
        config.std_limit,
        sight,
    )

    def init(key: PRNGKey) -> Params:
        return network.init(key, sight.blank())

    def encode(params: Params, observation: Observation) -> Array:
        return jnp.concatenate(network.apply(params, observation), axis=-1)

    def decode(params: Params, latent: Array, features: Array) -> Array:
        mean, log_std = jnp.split(features, 2, axis=-1)
        return policy_mode(mean + jnp.exp(log_std) * latent, bound)

    def invert(params: Params, action: Array, features: Array) -> Array:
        mean, log_std = jnp.split(features, 2, axis=-1)
        x = action if bound is None else ScaledTanh(bound, config.squash_limit).inverse(action)
        return (x - mean) * jnp.exp(-log_std)

    def distribution(params: Params, features: Array) -> Any:
        mean, log_std = jnp.split(features, 2, axis=-1)
        return policy_distribution(mean, log_std, bound)

    def log_prob(params: Params, action: Array, features: Array) -> Array:
        if bound is not None:
            limit = config.squash_limit * bound
            action = jnp.clip(action, -limit, limit)
        return distribution(params, features).log_prob(action)

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        features = encode(params, batch["observation"])
        nll = -log_prob(params, batch["action"], features).mean()
        policy = distribution(params, features)
        if bound is None:
            entropy = policy.entropy().mean()
        else:
            entropy = -policy.sample_and_log_prob(seed=key)[1].mean()
        return nll - config.entropy_weight * entropy, {"nll": nll, "entropy": entropy}

    return Prior(
        name="gaussian",
        latent_size=size,
        action_size=size,
        init=init,
        encode=encode,
        decode=decode,
        loss=loss,
        invert=invert,
        log_prob=log_prob,
        distribution=distribution,
        observation=config.observation,
    )


def _check(config: GaussianConfig, observation_spec: ObservationSpec) -> None:
    """Raises a `UserError` where the config does not fit the spec or itself."""
    check_observation("observation", "the Gaussian", config.observation, observation_spec)
    check_ranges(config)
    is_kept = config.min_log_std <= config.max_log_std
    check_rules(config, {"min_log_std": (is_kept, "at most max_log_std")})
    check_std_limit(config)


MODEL = Model(GaussianConfig(), make_gaussian, fit={"keep": "best"})
