"""The one place where named observations become what networks compute with.

A network is told the names of the arrays that it sees, its `Sight`; its first module, a `Torso`,
makes features of a dictionary of observations. Images are entries of it like any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.image_networks import IMAGE_FEATURES, ImageEncoder
from behavior_priors.observations import is_image
from behavior_priors.types import Array, ArraySpec, Observation, ObservationSpec


@dataclass(frozen=True, eq=False)
class Sight:
    """The named arrays that a network sees, in this order.

    Attributes:
      spec: shapes and typical values.
      names: of the arrays.
    """

    spec: ObservationSpec
    names: tuple[str, ...]

    def images(self) -> tuple[str, ...]:
        """Those of the names that are images `[height, width, channels]`."""
        return tuple(n for n in self.names if is_image(self.spec[n].shape, self.spec[n].dtype))

    def vectors(self) -> tuple[str, ...]:
        """All others."""
        images = self.images()
        return tuple(n for n in self.names if n not in images)

    def inputs(self) -> list[tuple[str, int]]:
        """Names, and how many features a torso makes of each, in the order of its output."""
        vectors = [(name, math.prod(self.spec[name].shape)) for name in self.vectors()]
        return vectors + [(name, IMAGE_FEATURES) for name in self.images()]

    def blank(self) -> Observation:
        """An observation of zeros, to initialise a network with."""
        shapes = {name: self.spec[name] for name in self.names}
        return {name: jnp.zeros(x.shape, x.dtype) for name, x in shapes.items()}


class Torso(nn.Module):
    """Features `[..., size]` of an observation: vectors as they are, then what images show."""

    sight: Sight

    @nn.compact
    def __call__(self, observation: Observation) -> Array:
        """Returns the features, `Sight.inputs` of them."""
        vectors, images = self.sight.vectors(), self.sight.images()
        parts = [flatten_observation(observation, self.sight.spec, vectors)] if vectors else []
        parts += [ImageEncoder()(_standardised(observation[n], self.sight.spec[n])) for n in images]
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def see(sight: Sight | None, observation: Observation | Array) -> Array:
    """Features of what a network is given: an observation, or, without a sight, features.

    To be called from a compact module.
    """
    if sight is None:
        assert not isinstance(observation, Mapping)
        return jnp.asarray(observation)
    assert isinstance(observation, Mapping)
    return Torso(sight)(observation)


def observation_size(spec: ObservationSpec, names: Sequence[str]) -> int:
    """Length of the vector that `flatten_observation` makes."""
    return sum(math.prod(spec[name].shape) for name in names)


def flatten_observation(
    observation: Observation, spec: ObservationSpec, names: Sequence[str]
) -> Array:
    """Standardises the named arrays by their specs and joins them.

    Args:
      observation: arrays `[..., *spec[name].shape]`.
      spec: shapes and typical values.
      names: which arrays, in this order.

    Returns:
      `[..., observation_size(spec, names)]`, float32.

    Raises:
      KeyError: a name is not in the observation.
    """
    parts = []
    for name in names:
        array, array_spec = observation[name], spec[name]
        x = _standardised(array, array_spec)
        parts.append(x.reshape(*array.shape[: array.ndim - len(array_spec.shape)], -1))
    return jnp.concatenate(parts, axis=-1)


def flatten_things(observation: Observation, spec: ObservationSpec, names: Sequence[str]) -> Array:
    """Standardises arrays whose first axis lists the same things, and joins them thing by thing.

    Args:
      observation: arrays `[..., *spec[name].shape]` with equal `spec[name].shape[0]`.
      spec: shapes and typical values.
      names: which arrays, in this order.

    Returns:
      `[..., things, size]`, float32.
    """
    parts = []
    for name in names:
        array, array_spec = observation[name], spec[name]
        x = _standardised(array, array_spec)
        batch = array.shape[: array.ndim - len(array_spec.shape)]
        parts.append(x.reshape(*batch, array_spec.shape[0], -1))
    return jnp.concatenate(parts, axis=-1)


def _standardised(array: Array, spec: ArraySpec) -> Array:
    return (array.astype(jnp.float32) - spec.location) / spec.scale
