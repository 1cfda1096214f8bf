"""PEARL's encoder: a product of one Gaussian for each transition, whose order does not matter.

Rakelly et al. 2019, section 4.1.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from behavior_priors.networks import MLP
from behavior_priors.objectives.context import product_of_gaussians
from behavior_priors.priors.context_encoder import (
    ContextConfig,
    Encoder,
    Reader,
    Transitions,
    as_gaussian,
    make_context_encoder,
    sight_of,
)
from behavior_priors.types import (
    ActionSpec,
    Array,
    ContextEncoder,
    ObservationSpec,
    Params,
    PRNGKey,
    TaskBelief,
)


def make_product_of_gaussians(
    config: ContextConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> ContextEncoder:
    """The encoder; a deterministic one has the mean of what transitions say.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    sight = sight_of(config, observation_spec)
    network: Any = MLP((*config.widths, config.outputs()), sight=sight)

    def init(key: PRNGKey, transitions: Transitions) -> Params:
        return network.init(key, *transitions)

    def believe(params: Params, transitions: Transitions, counts: Array) -> TaskBelief:
        said = network.apply(params, *transitions)
        if config.deterministic:
            mean = _mean_of_those(said, counts)
            return TaskBelief(mean, jnp.zeros_like(mean))
        # without any factor it is N(0, I) anyway
        return TaskBelief(*product_of_gaussians(*as_gaussian(said), counts))

    reader = Reader(init, believe)
    return make_context_encoder("product_of_gaussians", config, reader, sight, action_spec)


def _mean_of_those(x: Array, counts: Array) -> Array:
    """Mean `[..., size]` over those of `x` `[..., transitions, size]` that count."""
    total = jnp.where(counts[..., None], x, 0.0).sum(axis=-2)
    return total / jnp.maximum(counts.sum(axis=-1), 1)[..., None].astype(x.dtype)


ENCODER = Encoder(ContextConfig(), make_product_of_gaussians)
