"""A prior of one's own: a conditional variational autoencoder over actions.

The latent action policy of Zhou et al. 2020 (PLAS, arXiv:2011.07213): `a = d(z, s)` with a learned
`q(z | s, a)`, trained by the evidence lower bound. Unlike a flow it cannot be inverted and has no
density, so these capabilities are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.ranges import Positive, Weight, Width
from behavior_priors.networks import MLP
from behavior_priors.priors.model import Model
from behavior_priors.torso import flatten_observation, observation_size
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
class CVAEConfig:
    """What the autoencoder looks like.

    Attributes:
      latent_size: dimensions of the latent; none for as many as the action has.
      widths: hidden layers of the encoder and of the decoder.
      action_std: standard deviation of the action given its latent.
      kl_weight: of the latent's divergence from `N(0, I)`; 1 for the evidence lower bound.
    """

    latent_size: Width | None = None
    widths: tuple[Width, ...] = (128, 128)
    action_std: Positive = 0.1
    kl_weight: Weight = 1.0


class CVAE(nn.Module):
    """The encoder and the decoder."""

    config: CVAEConfig
    latent_size: int
    action_size: int

    def setup(self) -> None:
        """Names the two networks."""
        self.encoder = MLP((*self.config.widths, 2 * self.latent_size))
        self.decoder = MLP((*self.config.widths, self.action_size))

    def encode(self, features: Array, action: Array) -> tuple[Array, Array]:
        """Mean and log standard deviation of the latent, `[..., latent_size]` each."""
        mean, log_std = jnp.split(self.encoder(jnp.concatenate([features, action], -1)), 2, -1)
        return mean, jnp.clip(log_std, -5.0, 1.0)

    def decode(self, features: Array, latent: Array) -> Array:
        """The most likely action, `[..., action_size]` in [-1, 1]."""
        return jnp.tanh(self.decoder(jnp.concatenate([features, latent], -1)))

    def __call__(self, features: Array, action: Array) -> Array:
        """Touches all parameters, for their initialisation."""
        return self.decode(features, self.encode(features, action)[0])


def make_cvae(
    config: CVAEConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Prior:
    """A behaviour prior that decodes `z ~ N(0, I)` to actions; it can neither invert nor weigh.

    Args:
      config: what it looks like.
      observation_spec: what observations look like; it sees all of them.
      action_spec: what actions look like.
    """
    names, size, bound = tuple(observation_spec), action_spec.size, action_spec.bound or 1.0
    latent_size = config.latent_size or size
    network: Any = CVAE(config, latent_size, size)

    def init(key: PRNGKey) -> Params:
        return network.init(
            key, jnp.zeros(observation_size(observation_spec, names)), jnp.zeros(size)
        )

    def encode(params: Params, observation: Observation) -> Array:
        del params
        return flatten_observation(observation, observation_spec, names)

    def decode(params: Params, latent: Array, features: Array) -> Array:
        return bound * network.apply(params, features, latent, method="decode")

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        features, action = encode(params, batch["observation"]), batch["action"]
        mean, log_std = network.apply(params, features, action / bound, method="encode")
        latent = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        error = (decode(params, latent, features) - action) / config.action_std
        reconstruction = 0.5 * jnp.square(error).sum(-1).mean()
        kl = 0.5 * (jnp.exp(2 * log_std) + jnp.square(mean) - 1 - 2 * log_std).sum(-1).mean()
        metrics = {"reconstruction": reconstruction, "kl": kl}
        return reconstruction + config.kl_weight * kl, metrics

    return Prior("cvae", latent_size, size, init, encode, decode, loss)


cvae = Model(CVAEConfig(), make_cvae)
"""`--through=examples.own_parts.cvae_prior:cvae`."""
