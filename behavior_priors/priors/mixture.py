"""Mixture of Gaussians: a prior with several modes (a mixture density network, Bishop 1994).

SPiRL's alternative to a single Gaussian over skills (`gmm` in the authors' code, 5 components).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_observation, check_ranges, check_rules
from behavior_priors.config.ranges import Few, InnerShare, LogStd, Width
from behavior_priors.distributions import mixture_distribution, policy_mode
from behavior_priors.networks import MLP
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
class MixtureConfig:
    """What the mixture looks like.

    Attributes:
      observation: names of the observation arrays that the prior sees; none means all of them.
      components: number of Gaussians.
      widths: hidden layers of the network.
      min_log_std: lower limit of the log standard deviations.
      max_log_std: upper limit of the log standard deviations.
      squash_limit: actions beyond this share of their bound count as being at it.
    """

    observation: tuple[str, ...] = ()
    components: Few = 5
    widths: tuple[Width, ...] = (256, 256)
    min_log_std: LogStd = -5.0
    max_log_std: LogStd = 2.0
    squash_limit: InnerShare = 0.999


def make_mixture(
    config: MixtureConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Prior:
    """A mixture of Gaussians as a prior; every function accepts any leading batch axes.

    Features are the network's output `[components * (1 + 2 * size)]`. Latents have one dimension
    more than actions: the first, through the Gaussian's cumulative distribution, chooses the
    component, the others are its noise, so that `N(0, I)` decodes to samples. Where the action has
    a bound, all of it is squashed by `bound * tanh`, as the Gaussian prior is. The loss is the mean
    negative log-likelihood, in nats and in the measure of the action itself, also its metric `nll`.

    Args:
      config: what the mixture looks like.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the specs or itself.
    """
    _check(config, observation_spec)
    sight = Sight(observation_spec, config.observation or tuple(observation_spec))
    (size, bound), components = action_spec, config.components
    network: Any = MLP((*config.widths, components * (1 + 2 * size)), sight=sight)

    def init(key: PRNGKey) -> Params:
        network_key, place_key = jax.random.split(key)
        # components that start in one place learn the same and never part
        return {
            "network": network.init(network_key, sight.blank()),
            "places": jax.random.normal(place_key, (components, size)),
        }

    def encode(params: Params, observation: Observation) -> Array:
        features = network.apply(params["network"], observation)
        places = jnp.pad(params["places"], ((0, 0), (0, size))).ravel()
        return features + jnp.pad(places, (components, 0))

    def parts(features: Array) -> tuple[Array, Array, Array]:
        logits = features[..., :components]
        rest = features[..., components:].reshape(*features.shape[:-1], components, 2 * size)
        mean, log_std = jnp.split(rest, 2, axis=-1)
        return logits, mean, jnp.clip(log_std, config.min_log_std, config.max_log_std)

    def distribution(params: Params, features: Array) -> Any:
        return mixture_distribution(*parts(features), bound)

    def decode(params: Params, latent: Array, features: Array) -> Array:
        logits, mean, log_std = parts(features)
        cumulative = jnp.cumsum(jax.nn.softmax(logits), axis=-1)
        chosen = (cumulative < jax.scipy.stats.norm.cdf(latent[..., :1])).sum(axis=-1)
        one = jax.nn.one_hot(jnp.minimum(chosen, components - 1), components)[..., None]
        std = jnp.exp((one * log_std).sum(axis=-2))
        return policy_mode((one * mean).sum(axis=-2) + std * latent[..., 1:], bound)

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
        return nll, {"nll": nll}

    return Prior(
        name="mixture",
        latent_size=size + 1,
        action_size=size,
        init=init,
        encode=encode,
        decode=decode,
        loss=loss,
        log_prob=log_prob,
        distribution=distribution,
        observation=config.observation,
    )


def _check(config: MixtureConfig, observation_spec: ObservationSpec) -> None:
    """Raises a `UserError` where the config does not fit the specs or itself."""
    check_observation("observation", "the mixture", config.observation, observation_spec)
    check_ranges(config)
    is_kept = config.min_log_std <= config.max_log_std
    check_rules(config, {"min_log_std": (is_kept, "at most max_log_std")})


MODEL = Model(MixtureConfig(), make_mixture)
