"""Encoders of what has been seen of a task: PEARL's product of factors, and a recurrent one.

Rakelly et al. 2019, sections 4 and 6.3 and figures 5 and 7. A description of the task is inferred
from transitions; the policy that is given it knows the task as well as they tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.checks import check_observation, check_ranges
from behavior_priors.config.ranges import Width
from behavior_priors.networks import MLP, flatten_observation, observation_size
from behavior_priors.objectives.context import (
    SMALLEST_VARIANCE,
    divergence_from_standard,
    product_of_gaussians,
)
from behavior_priors.types import (
    ActionSpec,
    Array,
    Context,
    ContextEncoder,
    ObservationSpec,
    Params,
    PRNGKey,
    TaskBelief,
)


@dataclass(frozen=True)
class ContextConfig:
    """What is inferred, and from what.

    Attributes:
      observation: names of the arrays that are seen of each transition; empty for all.
      next_observation: see them after the transition as well: where tasks differ in how things move
        and not in what is paid for.
      latent_size: dimensions of a description.
      widths: hidden layers, for each transition.
      encoder: product for a product of one Gaussian for each transition, whose order does not
        matter; recurrent for a network that reads them in order.
      recurrent_width: of the recurrent network.
      deterministic: no doubt, and one description: the mean of what transitions say, or the
        recurrent network's word; 0 without any transition, as the authors' code has it.
    """

    observation: tuple[str, ...] = ()
    next_observation: bool = False
    latent_size: Width = 5
    widths: tuple[Width, ...] = (200, 200, 200)
    encoder: Literal["product", "recurrent"] = "product"
    recurrent_width: Width = 200
    deterministic: bool = False


class Reader(nn.Module):
    """What a recurrent network has to say after the last transition that counts.

    It begins anew with each context: nothing is carried from one task to another.
    """

    widths: tuple[int, ...]
    recurrent_width: int
    size: int

    @nn.compact
    def __call__(self, transitions: Array, counts: Array) -> Array:
        """Maps `[..., transitions, features]` and `[..., transitions]` to `[..., size]`."""
        x = MLP(self.widths, activate_final=True)(transitions)
        cell = nn.GRUCell(self.recurrent_width)
        state = jnp.zeros((*x.shape[:-2], self.recurrent_width))

        def read(cell: nn.Module, state: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
            x, counts = step
            return jnp.where(counts[..., None], cell(state, x)[0], state), None

        steps = jnp.moveaxis(x, -2, 0), jnp.moveaxis(counts, -1, 0)
        scan = nn.scan(read, variable_broadcast="params", split_rngs={"params": False})
        state, _ = scan(cell, state, steps)
        return nn.Dense(self.size)(state)


def make_context_encoder(
    config: ContextConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> ContextEncoder:
    """The encoder.

    Args:
      config: what is inferred, and from what.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    _check(config, observation_spec)
    names = config.observation or tuple(observation_spec)
    seen = observation_size(observation_spec, names) * (1 + config.next_observation)
    size = config.latent_size * (1 if config.deterministic else 2)
    recurrent = config.encoder == "recurrent"
    network: Any = (
        Reader(config.widths, config.recurrent_width, size)
        if recurrent
        else MLP((*config.widths, size))
    )

    def flatten(context: Context) -> Array:
        observations = [context.observation]
        if config.next_observation:
            observations.append(context.next_observation)
        flat = [flatten_observation(x, observation_spec, names) for x in observations]
        return jnp.concatenate([*flat, context.action, context.reward[..., None]], axis=-1)

    def init(key: PRNGKey) -> Params:
        one = jnp.zeros((1, seen + action_spec.size + 1))
        return network.init(key, one, jnp.ones(1, bool)) if recurrent else network.init(key, one)

    def infer(params: Params, context: Context) -> TaskBelief:
        counts, x = context.counts, flatten(context)
        said = network.apply(params, x, counts) if recurrent else network.apply(params, x)
        if config.deterministic:
            mean = said if recurrent else _mean_of_those(said, counts)
            belief = TaskBelief(mean, jnp.zeros_like(mean))
        else:
            mean, raw = jnp.split(said, 2, axis=-1)
            variance = jnp.maximum(jax.nn.softplus(raw), SMALLEST_VARIANCE)
            if not recurrent:
                return TaskBelief(*product_of_gaussians(mean, variance, counts))
            belief = TaskBelief(mean, variance)
        anything = counts.any(axis=-1)[..., None]
        return TaskBelief(
            jnp.where(anything, belief.mean, 0.0),
            jnp.where(anything, belief.variance, 0.0 if config.deterministic else 1.0),
        )

    def divergence(belief: TaskBelief) -> Array:
        if config.deterministic:
            return jnp.zeros(belief.mean.shape[:-1])
        return divergence_from_standard(*belief)

    return ContextEncoder(
        name=f"{config.encoder} context encoder",
        latent_size=config.latent_size,
        init=init,
        infer=infer,
        divergence=divergence,
    )


def _mean_of_those(x: Array, counts: Array) -> Array:
    """Mean `[..., size]` over those of `x` `[..., transitions, size]` that count."""
    total = jnp.where(counts[..., None], x, 0.0).sum(axis=-2)
    return total / jnp.maximum(counts.sum(axis=-1), 1)[..., None].astype(x.dtype)


def _check(config: ContextConfig, observation_spec: ObservationSpec) -> None:
    """Raises a `UserError` where the config does not fit the spec or itself."""
    check_observation("observation", "the context encoder", config.observation, observation_spec)
    check_ranges(config)
