"""A recurrent encoder, which reads transitions in order (Rakelly et al. 2019, figure 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.ranges import Width
from behavior_priors.networks import MLP
from behavior_priors.priors.context_encoder import (
    ContextConfig,
    Encoder,
    Reader,
    Transitions,
    as_gaussian,
    make_context_encoder,
    sight_of,
)
from behavior_priors.torso import Sight
from behavior_priors.types import (
    ActionSpec,
    Array,
    ContextEncoder,
    ObservationSpec,
    Params,
    PRNGKey,
    TaskBelief,
)


@dataclass(frozen=True)
class GRUConfig(ContextConfig):
    """What is inferred, and from what, by a network that reads in order.

    Attributes:
      recurrent_width: of the recurrent network.
    """

    recurrent_width: Width = 200


class Unroll(nn.Module):
    """What a recurrent network has to say after the last transition that counts.

    It begins anew with each context: nothing is carried from one task to another.
    """

    widths: tuple[int, ...]
    recurrent_width: int
    size: int
    sight: Sight

    @nn.compact
    def __call__(self, transitions: Transitions, counts: Array) -> Array:
        """Maps transitions and `[..., transitions]` to `[..., size]`."""
        x = MLP(self.widths, activate_final=True, sight=self.sight)(*transitions)
        cell = nn.GRUCell(self.recurrent_width)
        state = jnp.zeros((*x.shape[:-2], self.recurrent_width))

        def read(cell: nn.Module, state: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
            x, counts = step
            return jnp.where(counts[..., None], cell(state, x)[0], state), None

        steps = jnp.moveaxis(x, -2, 0), jnp.moveaxis(counts, -1, 0)
        scan = nn.scan(read, variable_broadcast="params", split_rngs={"params": False})
        state, _ = scan(cell, state, steps)
        return nn.Dense(self.size)(state)


def make_gru(
    config: GRUConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> ContextEncoder:
    """The encoder; a deterministic one has the network's word as it is.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    sight = sight_of(config, observation_spec)
    network: Any = Unroll(config.widths, config.recurrent_width, config.outputs(), sight)

    def init(key: PRNGKey, transitions: Transitions) -> Params:
        return network.init(key, transitions, jnp.ones(1, bool))

    def believe(params: Params, transitions: Transitions, counts: Array) -> TaskBelief:
        said = network.apply(params, transitions, counts)
        anything = counts.any(axis=-1)[..., None]
        if config.deterministic:
            return TaskBelief(jnp.where(anything, said, 0.0), jnp.zeros_like(said))
        mean, variance = as_gaussian(said)
        return TaskBelief(jnp.where(anything, mean, 0.0), jnp.where(anything, variance, 1.0))

    return make_context_encoder("gru", config, Reader(init, believe), sight, action_spec)


ENCODER = Encoder(GRUConfig(), make_gru)
