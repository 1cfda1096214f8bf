"""Conditional flow matching over actions: a velocity that carries noise to actions.

Lipman et al. 2023, "Flow Matching for Generative Modeling" (arXiv:2210.02747), with straight paths:
`x_t = (1 - t) z + t a` between `z ~ N(0, I)` and a demonstrated action, whose velocity `a - z` a
network learns to foresee from `x_t`, `t` and the state. To act is to follow it from `t = 0` to 1.
The latent is the noise that it begins at: DSRL (Wagenmaker et al. 2025, arXiv:2506.15799) learns to
choose it, which is acting through the prior as PARROT does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Few, Width
from behavior_priors.networks import MLP
from behavior_priors.priors.model import Model
from behavior_priors.priors.state_features import (
    FeaturesConfig,
    broadcast_batch,
    make_state_features,
)
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

FREQUENCIES = 4
"""Sines and cosines of time that the velocity sees, each twice as fast as the one before."""


@dataclass(frozen=True)
class FlowMatchingConfig(FeaturesConfig):
    """What the velocity looks like, beside what it sees, and how it is followed.

    Attributes:
      widths: hidden layers of the velocity.
      steps: of the integration from noise to an action, all of the same length.
      solver: euler for one look at the velocity in a step, at its beginning; midpoint for a second
        one in its middle, by which the step is then taken.
    """

    widths: tuple[Width, ...] = (256, 256)
    steps: Few = 10
    solver: Literal["euler", "midpoint"] = "euler"


def make_flow_matching(
    config: FlowMatchingConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Prior:
    """A behaviour prior that integrates noise to actions; any leading batch axes.

    `invert` follows the velocity backwards, with the same steps: what it finds decodes to the
    action up to the solver's error, which shrinks with the number of steps. The loss is the squared
    error of the velocity, summed over dimensions, at a time drawn uniformly. Decoded actions may
    lie outside of their bounds, and it is the environment that clips.

    Args:
      config: what it looks like.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    check_ranges(config)
    size = action_spec.size
    state_features = make_state_features(config, "the flow", observation_spec)
    network: Any = MLP((*config.widths, size))

    def init(key: PRNGKey) -> Params:
        features_key, key = jax.random.split(key)
        psi, features = state_features.init(features_key)
        params = network.init(key, jnp.zeros(size), _waves(jnp.zeros(())), features)
        return {"features": psi, "velocity": params}

    def encode(params: Params, observation: Observation) -> Array:
        return state_features.encode(params["features"], observation)

    def velocity(params: Params, x: Array, time: Array, features: Array) -> Array:
        waves = jnp.broadcast_to(_waves(time), (*x.shape[:-1], 2 * FREQUENCIES))
        return network.apply(params["velocity"], x, waves, features)

    def follow(params: Params, start: Array, features: Array, *, backwards: bool) -> Array:
        start, features = broadcast_batch(start, features)
        length = -1.0 / config.steps if backwards else 1.0 / config.steps

        def step(x: Array, number: Array) -> tuple[Array, None]:
            time = float(backwards) + length * number
            moved = velocity(params, x, time, features)
            if config.solver == "midpoint":
                half = x + 0.5 * length * moved
                moved = velocity(params, half, time + 0.5 * length, features)
            return x + length * moved, None

        return jax.lax.scan(step, start, jnp.arange(config.steps, dtype=jnp.float32))[0]

    def decode(params: Params, latent: Array, features: Array) -> Array:
        return follow(params, latent, features, backwards=False)

    def invert(params: Params, action: Array, features: Array) -> Array:
        return follow(params, action, features, backwards=True)

    def loss(
        params: Params, batch: Mapping[str, Any], key: PRNGKey, _: Array | None
    ) -> tuple[Array, Metrics]:
        action, features = batch["action"], encode(params, batch["observation"])
        noise_key, time_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, action.shape)
        time = jax.random.uniform(time_key, (*action.shape[:-1], 1))
        x = (1.0 - time) * noise + time * action
        foreseen = velocity(params, x, time[..., 0], features)
        error = jnp.square(foreseen - (action - noise)).sum(-1).mean()
        return error, {"velocity_error": error}

    return Prior(
        name="flow_matching",
        latent_size=size,
        action_size=size,
        init=init,
        encode=encode,
        decode=decode,
        loss=loss,
        invert=invert,
        observation=config.observation,
    )


def _waves(time: Array) -> Array:
    """Sines and cosines `[..., 2 * FREQUENCIES]` of times `[...]` from 0 to 1."""
    frequencies = 2.0 ** jnp.arange(FREQUENCIES, dtype=jnp.float32)
    angle = jnp.pi * jnp.tensordot(time, frequencies, axes=0)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


MODEL = Model(FlowMatchingConfig(), make_flow_matching)
