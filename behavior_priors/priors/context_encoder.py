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
from behavior_priors.objectives.context import SMALLEST_VARIANCE, divergence_from_standard
from behavior_priors.torso import Sight
from behavior_priors.types import (
    ActionSpec,
    Array,
    Context,
    ContextEncoder,
    Observation,
    ObservationSpec,
    Params,
    PRNGKey,
    TaskBelief,
)

NEXT = "next."
"""Goes before the names of what is observed after a transition."""


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


Transitions = tuple[Observation, Array, Array]
"""What is observed, of a transition's end by names that begin with `next.`; actions; rewards with
an axis of their own: arrays `[..., n, *shape]`."""


class Reader(NamedTuple):
    """A network that reads transitions.

    Attributes:
      init: `(key, transitions) -> params`.
      believe: `(params, transitions, counts [..., n]) -> belief`; where none of them counts, what
        `ContextEncoder.infer` says.
    """

    init: Callable[[PRNGKey, Transitions], Params]
    believe: Callable[[Params, Transitions, Array], TaskBelief]


def sight_of(config: ContextConfig, observation_spec: ObservationSpec) -> Sight:
    """What an encoder sees of a transition.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    check_observation("observation", "the context encoder", config.observation, observation_spec)
    check_ranges(config)
    names = config.observation or tuple(observation_spec)
    if not config.next_observation:
        return Sight(observation_spec, names)
    after = {f"{NEXT}{name}": observation_spec[name] for name in names}
    return Sight({**observation_spec, **after}, (*names, *after))


def make_context_encoder(
    name: str, config: ContextConfig, reader: Reader, sight: Sight, action_spec: ActionSpec
) -> ContextEncoder:
    """The encoder that a network is for.

    Args:
      name: of the encoder.
      config: what is inferred, and from what.
      reader: the network.
      sight: what it sees, from `sight_of`.
      action_spec: what actions look like.
    """

    def read(context: Context) -> Transitions:
        observation = dict(context.observation)
        if config.next_observation:
            observation |= {f"{NEXT}{n}": x for n, x in context.next_observation.items()}
        return observation, context.action, context.reward[..., None]

    def init(key: PRNGKey) -> Params:
        one = sight.blank(), jnp.zeros(action_spec.size), jnp.zeros(1)
        return reader.init(key, jax.tree.map(lambda x: x[None], one))

    def infer(params: Params, context: Context) -> TaskBelief:
        return reader.believe(params, read(context), context.counts)

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
