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

from behavior_priors.config.checks import check_ranges
from behavior_priors.priors.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    negative_bound,
    variables,
)
from behavior_priors.priors.model import Model
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
class ConditionalVAEConfig(AutoencoderConfig, FeaturesConfig):
    """What the autoencoder looks like, what it sees, and how it is learned."""


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
    network: Any = Autoencoder(config, size)

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
        return network.apply(variables(params), latent, features, method="decode")

    def run(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, *, learning: bool
    ) -> tuple[tuple[Array, Array, Array], Any]:
        features, action = encode(params, batch["observation"]), batch["action"]
        noise = jax.random.normal(key, (*action.shape[:-1], config.latent_size))
        mutable = [STATISTICS] if learning else []
        return network.apply(
            variables(params), action, features, noise, learning=learning, mutable=mutable
        )

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, step: Array | None
    ) -> tuple[Array, Metrics]:
        (mean, log_std, action), _ = run(params, batch, key, learning=step is not None)
        error = jnp.square(action - batch["action"]).sum(-1)
        return negative_bound(config, mean, log_std, error, step)

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


MODEL = Model(ConditionalVAEConfig(), make_conditional_vae, fit={"keep": "last"})
