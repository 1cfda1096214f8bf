"""Encoders of what has been seen of a task, whatever network reads it.

Rakelly et al. 2019, section 4 and figure 7. A description of the task is inferred from transitions;
the policy that is given it knows the task as well as they tell it. `product_of_gaussians.py` and
`gru.py` are two ways to read them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_observation, check_ranges
from behavior_priors.config.ranges import Width
from behavior_priors.networks import flatten_observation, observation_size
from behavior_priors.objectives.context import SMALLEST_VARIANCE, divergence_from_standard
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
      deterministic: no doubt, and one description; 0 without any transition, as the authors' code
        has it.
    """

    observation: tuple[str, ...] = ()
    next_observation: bool = False
    latent_size: Width = 5
    widths: tuple[Width, ...] = (200, 200, 200)
    deterministic: bool = False

    def outputs(self) -> int:
        """Numbers that a network says of a task, or of a transition of it."""
        return self.latent_size * (1 if self.deterministic else 2)


class Encoder(NamedTuple):
    """An encoder of contexts, as the registry has it.

    Attributes:
      config: what it infers, by default: its fields are the flags.
      make: `(config, observation_spec, action_spec) -> encoder`.
    """

    config: Any
    make: Callable[[Any, ObservationSpec, ActionSpec], ContextEncoder]


class Reader(NamedTuple):
    """A network that reads transitions, flattened to features.

    Attributes:
      init: `(key, features) -> params`.
      believe: `(params, transitions [..., n, features], counts [..., n]) -> belief` where at least
        one of them counts.
    """

    init: Callable[[PRNGKey, int], Params]
    believe: Callable[[Params, Array, Array], TaskBelief]


def make_context_encoder(
    name: str,
    config: ContextConfig,
    reader: Reader,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
) -> ContextEncoder:
    """The encoder that a network is for.

    Args:
      name: of the encoder.
      config: what is inferred, and from what.
      reader: the network.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    check_observation("observation", "the context encoder", config.observation, observation_spec)
    check_ranges(config)
    names = config.observation or tuple(observation_spec)
    seen = observation_size(observation_spec, names) * (1 + config.next_observation)

    def flatten(context: Context) -> Array:
        observations = [context.observation]
        if config.next_observation:
            observations.append(context.next_observation)
        flat = [flatten_observation(x, observation_spec, names) for x in observations]
        return jnp.concatenate([*flat, context.action, context.reward[..., None]], axis=-1)

    def init(key: PRNGKey) -> Params:
        return reader.init(key, seen + action_spec.size + 1)

    def infer(params: Params, context: Context) -> TaskBelief:
        belief = reader.believe(params, flatten(context), context.counts)
        anything = context.counts.any(axis=-1)[..., None]
        return TaskBelief(
            jnp.where(anything, belief.mean, 0.0),
            jnp.where(anything, belief.variance, 0.0 if config.deterministic else 1.0),
        )

    def divergence(belief: TaskBelief) -> Array:
        if config.deterministic:
            return jnp.zeros(belief.mean.shape[:-1])
        return divergence_from_standard(*belief)

    return ContextEncoder(
        name=name,
        latent_size=config.latent_size,
        init=init,
        infer=infer,
        divergence=divergence,
    )


def as_gaussian(said: Array) -> tuple[Array, Array]:
    """Means and variances `[..., size]` from a network's outputs `[..., 2 * size]`."""
    mean, raw = jnp.split(said, 2, axis=-1)
    return mean, jnp.maximum(jax.nn.softplus(raw), SMALLEST_VARIANCE)
