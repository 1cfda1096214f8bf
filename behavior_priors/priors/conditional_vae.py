"""Conditional variational autoencoder over actions: HIRL's way to act through a prior.

Singh, Liu et al. 2021, section 5 and appendix D, after hierarchical imitation: a decoder
`a = d(z, s)` with an encoder `q(z | s, a)`, trained by the evidence lower bound with a weight on
the divergence that grows. Acting is closed loop, a latent for each action, as with PARROT's flow;
unlike a flow it cannot be inverted, reaches no action exactly and has no density.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import CountOrZero, Positive, Width
from behavior_priors.distributions import gaussian_divergence
from behavior_priors.priors.annealing import logistic
from behavior_priors.priors.model import Model
from behavior_priors.priors.norm_mlp import NormMLP
from behavior_priors.priors.skill_networks import LIMITS
from behavior_priors.priors.state_features import (
    FeaturesConfig,
    broadcast_batch,
    make_state_features,
)
from behavior_priors.types import (
    STATISTICS,
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
class ConditionalVAEConfig(FeaturesConfig):
    """What the autoencoder looks like, beside what it sees, and how it is learned.

    Attributes:
      latent_size: dimensions of a latent.
      widths: hidden layers of the encoder; the decoder has them in the opposite order.
      batch_norm: normalise them over the batch.
      beta: weight of the posterior's divergence from N(0, I), a sum in nats, beside the squared
        error of an action, a sum over its dimensions.
      anneal_steps: gradient steps after which the weight, which grows from zero, is half of that; 0
        for the whole weight from the beginning.
    """

    latent_size: Width = 8
    widths: tuple[Width, ...] = (512, 256, 128)
    batch_norm: bool = True
    beta: Positive = 1e-3
    anneal_steps: CountOrZero = 25_000


class _Autoencoder(nn.Module):
    config: ConditionalVAEConfig
    action_size: int

    def setup(self) -> None:
        widths, norm = self.config.widths, self.config.batch_norm
        self.encoder = NormMLP(widths, 2 * self.config.latent_size, norm)
        self.decoder = NormMLP(widths[::-1], self.action_size, norm)

    def decode(self, latent: Array, features: Array, *, learning: bool = False) -> Array:
        return self.decoder(jnp.concatenate([latent, features], axis=-1), learning=learning)

    def __call__(
        self, action: Array, features: Array, noise: Array, *, learning: bool
    ) -> tuple[Array, Array, Array]:
        """The posterior's mean and log standard deviation, and what a sample of it decodes to."""
        said = self.encoder(jnp.concatenate([action, features], axis=-1), learning=learning)
        mean, log_std = jnp.split(said, 2, axis=-1)
        log_std = jnp.clip(log_std, *LIMITS)
        latent = mean + jnp.exp(log_std) * noise
        return mean, log_std, self.decode(latent, features, learning=learning)


def make_conditional_vae(
    config: ConditionalVAEConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Prior:
    """A behaviour prior that decodes `z ~ N(0, I)` to actions; any leading batch axes.

    Decoded actions may lie outside of their bounds, and it is the environment that clips. The
    loss's metrics: `reconstruction`, `divergence` (summed, in nats) and `beta`.

    Args:
      config: what it looks like.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    check_ranges(config)
    size = action_spec.size
    state_features = make_state_features(config, "the conditional VAE", observation_spec)
    network: Any = _Autoencoder(config, size)

    def init(key: PRNGKey) -> Params:
        features_key, key = jax.random.split(key)
        psi, features = state_features.init(features_key)
        action, noise = jnp.zeros((1, size)), jnp.zeros((1, config.latent_size))
        variables = network.init(key, action, features[None], noise, learning=False)
        return {"features": psi, **variables}

    def encode(params: Params, observation: Observation) -> Array:
        return state_features.encode(params["features"], observation)

    def decode(params: Params, latent: Array, features: Array) -> Array:
        latent, features = broadcast_batch(latent, features)
        return network.apply(_variables(params), latent, features, method="decode")

    def run(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, *, learning: bool
    ) -> tuple[tuple[Array, Array, Array], Any]:
        features, action = encode(params, batch["observation"]), batch["action"]
        noise = jax.random.normal(key, (*action.shape[:-1], config.latent_size))
        mutable = [STATISTICS] if learning else []
        return network.apply(
            _variables(params), action, features, noise, learning=learning, mutable=mutable
        )

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        (mean, log_std, action), _ = run(params, batch, key, learning=step is not None)
        reconstruction = jnp.square(action - batch["action"]).sum(-1).mean()
        divergence = gaussian_divergence(mean, log_std, 0.0 * mean, 0.0 * log_std).mean()
        beta = logistic(config.beta, config.anneal_steps, step)
        metrics = {"reconstruction": reconstruction, "divergence": divergence, "beta": beta}
        return reconstruction + beta * divergence, metrics

    def statistics(params: Params, batch: Mapping[str, Any], key: PRNGKey) -> Any:
        return run(params, batch, key, learning=True)[1][STATISTICS]

    return Prior(
        name="conditional_vae",
        latent_size=config.latent_size,
        action_size=size,
        init=init,
        encode=encode,
        decode=decode,
        loss=loss,
        observation=config.observation,
        statistics=statistics if config.batch_norm else None,
    )


def _variables(params: Params) -> Params:
    """What Flax calls by these names."""
    return {name: params[name] for name in ("params", STATISTICS) if name in params}


MODEL = Model(ConditionalVAEConfig(), make_conditional_vae, fit={"keep": "last"})
