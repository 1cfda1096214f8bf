"""Variational autoencoder with batch normalisation, of which PARROT's rivals make their latents.

Ghadirzadeh et al. 2020 (arXiv:2007.13134), as in Singh, Liu et al. 2021, appendix D: three layers
each way, a divergence whose weight grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.ranges import CountOrZero, Positive, Width
from behavior_priors.distributions import gaussian_divergence
from behavior_priors.priors.annealing import logistic
from behavior_priors.priors.norm_mlp import NormMLP
from behavior_priors.priors.skill_networks import LIMITS
from behavior_priors.types import STATISTICS, Array, Metrics, Params


@dataclass(frozen=True)
class AutoencoderConfig:
    """What an autoencoder looks like and how it is learned.

    Attributes:
      latent_size: dimensions of a latent.
      widths: hidden layers of the encoder; the decoder has them in the opposite order.
      batch_norm: normalise them over the batch.
      beta: weight of the posterior's divergence from N(0, I), a sum in nats, beside the squared
        error of actions, a sum over their dimensions and steps.
      anneal_steps: gradient steps after which the weight, which grows from zero, is half of that; 0
        for the whole weight from the beginning.
    """

    latent_size: Width = 8
    widths: tuple[Width, ...] = (512, 256, 128)
    batch_norm: bool = True
    beta: Positive = 1e-3
    anneal_steps: CountOrZero = 25_000


class Autoencoder(nn.Module):
    """Encoder of an event beside features, and decoder of a latent beside the same features."""

    config: AutoencoderConfig
    event_size: int

    def setup(self) -> None:
        widths, norm = self.config.widths, self.config.batch_norm
        self.encoder = NormMLP(widths, 2 * self.config.latent_size, norm)
        self.decoder = NormMLP(widths[::-1], self.event_size, norm)

    def encode(
        self, event: Array, features: Array, *, learning: bool = False
    ) -> tuple[Array, Array]:
        """The posterior's mean and log standard deviation, `[..., latent_size]` each."""
        said = self.encoder(jnp.concatenate([event, features], axis=-1), learning=learning)
        mean, log_std = jnp.split(said, 2, axis=-1)
        return mean, jnp.clip(log_std, *LIMITS)

    def decode(self, latent: Array, features: Array, *, learning: bool = False) -> Array:
        """The event `[..., event_size]` that a latent stands for."""
        return self.decoder(jnp.concatenate([latent, features], axis=-1), learning=learning)

    def __call__(
        self, event: Array, features: Array, noise: Array, *, learning: bool
    ) -> tuple[Array, Array, Array]:
        """The posterior's mean and log standard deviation, and what a sample of it decodes to."""
        mean, log_std = self.encode(event, features, learning=learning)
        latent = mean + jnp.exp(log_std) * noise
        return mean, log_std, self.decode(latent, features, learning=learning)


def variables(params: Mapping[str, Any]) -> Params:
    """Parameters and statistics of batches, as Flax calls them, among other parameters."""
    return {name: params[name] for name in ("params", STATISTICS) if name in params}


def negative_bound(
    config: AutoencoderConfig, mean: Array, log_std: Array, error: Array, step: Array | None
) -> tuple[Array, Metrics]:
    """Loss of an autoencoder: squared error and weighted divergence, an evidence lower bound.

    Args:
      config: with the divergence's weight.
      mean: of posteriors `[batch, latent_size]`.
      log_std: likewise, logarithm of the standard deviations.
      error: `[batch]`, squared errors, summed.
      step: gradient steps before this one; None for the whole weight.

    Returns:
      The loss, and as metrics `reconstruction`, `divergence` (summed, in nats) and `beta`.
    """
    reconstruction = error.mean()
    divergence = gaussian_divergence(mean, log_std, 0.0 * mean, 0.0 * log_std).mean()
    beta = logistic(config.beta, config.anneal_steps, step)
    metrics = {"reconstruction": reconstruction, "divergence": divergence, "beta": beta}
    return reconstruction + beta * divergence, metrics
