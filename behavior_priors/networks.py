"""Linen modules, and the one place where named observations become a vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.observations import is_image
from behavior_priors.types import Array, Observation, ObservationSpec

IMAGE_FEATURES = 32
"""Numbers that an image becomes before it meets other observations."""

FEW_ROWS = 32
"""Of a product that is part of acting, not of an update."""

ONE_THREAD = 2**19
"""Multiplications in a product that XLA leaves to one thread on a CPU: of 300 by 300 weights and 6
rows, 540 000, it still does; 7 rows it shares."""

Activation = Callable[[Array], Array]
Initializer = nn.initializers.Initializer


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
      names: which arrays the network sees, in this order.

    Returns:
      `[..., observation_size(spec, names)]`, float32.

    Raises:
      KeyError: a name is not in the observation.
    """
    parts = []
    for name in names:
        array, array_spec = observation[name], spec[name]
        x = (array.astype(jnp.float32) - array_spec.location) / array_spec.scale
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
        x = (array.astype(jnp.float32) - array_spec.location) / array_spec.scale
        batch = array.shape[: array.ndim - len(array_spec.shape)]
        parts.append(x.reshape(*batch, array_spec.shape[0], -1))
    return jnp.concatenate(parts, axis=-1)


class ImageSlot(NamedTuple):
    """Where an image lies in the vector that `flatten_observation` makes, and its shape."""

    start: int
    shape: tuple[int, ...]


def image_slots(spec: ObservationSpec, names: Sequence[str]) -> tuple[ImageSlot, ...]:
    """The images among the named arrays, `[height, width, channels]`."""
    slots, start = [], 0
    for name in names:
        shape = tuple(spec[name].shape)
        if is_image(shape, spec[name].dtype):
            slots.append(ImageSlot(start, shape))
        start += math.prod(shape)
    return tuple(slots)


class Halve(nn.Module):
    """A convolution of 4 x 4 pixels with a stride of 2 and a border of one: `nn.Conv`'s numbers.

    As one product of all patches, because XLA on a CPU makes a convolution in a loop, which is
    where training is, ten times slower than outside of one. Patches are put together from 2 x 2
    blocks, of which each is in four.
    """

    channels: int

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Maps `[N, height, width, c]` to `[N, height // 2, width // 2, channels]`."""
        count, height, width, depth = image.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (4, 4, depth, self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        rows, columns = (height + 2) // 2, (width + 2) // 2
        x = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, : 2 * rows, : 2 * columns]
        x = x.reshape(count, rows, 2, columns, 2, depth).swapaxes(2, 3)
        x = x.reshape(count, rows, columns, 4 * depth)
        patches = [x[:, i : rows - 1 + i, j : columns - 1 + j] for i in (0, 1) for j in (0, 1)]
        weights = kernel.reshape(2, 2, 2, 2, depth, self.channels).swapaxes(1, 2)
        product = jnp.concatenate(patches, axis=-1) @ weights.reshape(-1, self.channels)
        return product + bias


class ImageEncoder(nn.Module):
    """Features `[..., features]` of an image `[..., height, width, channels]`.

    Convolutions of 4 x 4 pixels with a stride of 2, as many as there are `channels`, then a dense
    layer: the encoder of SPiRL's public code, without its normalisation. An image whose shorter
    side is below 8 pixels has as many convolutions as leave something of it.
    """

    channels: Sequence[int] = (8, 16, 32)
    features: int = IMAGE_FEATURES

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Returns the features."""
        batch = image.shape[:-3]
        x = image.reshape(-1, *image.shape[-3:])
        halvings = min(image.shape[-3:-1]).bit_length() - 1
        for channels in self.channels[:halvings]:
            x = nn.relu(Halve(channels)(x))
        return nn.Dense(self.features)(x.reshape(*batch, -1))


class See(nn.Module):
    """A flat observation with its images replaced by their features, which come last."""

    images: Sequence[ImageSlot]

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        """Maps `[..., size]` to `[..., size without images + features]`."""
        rest, seen, at = [], [], 0
        for start, shape in self.images:
            stop = start + math.prod(shape)
            rest.append(observation[..., at:start])
            image = observation[..., start:stop].reshape(*observation.shape[:-1], *shape)
            seen.append(ImageEncoder()(image))
            at = stop
        return jnp.concatenate([*rest, observation[..., at:], *seen], axis=-1)


def few_rows_dot(x: Array, kernel: Array, dimensions: Any, precision: Any = None) -> Array:
    """`jax.lax.dot_general`, in slices on a CPU where few rows meet a wide layer.

    XLA shares a product of more than `ONE_THREAD` with another thread. Between two steps of an
    environment that thread is asleep, and to wake it takes longer than the product.
    """
    rows, most = len(x), ONE_THREAD // kernel.size
    whole = x.ndim != 2 or rows > FEW_ROWS or not 0 < most < rows
    if whole or jax.default_backend() != "cpu":
        return jax.lax.dot_general(x, kernel, dimensions, precision=precision)
    slices = [x[start : start + most] for start in range(0, rows, most)]
    return jnp.concatenate(
        [jax.lax.dot_general(part, kernel, dimensions, precision=precision) for part in slices]
    )


class MLP(nn.Module):
    """Dense layers of the given widths; the last is linear unless `activate_final`.

    `final_init` initialises the last kernel; biases start at zero.
    """

    widths: Sequence[int]
    activation: Activation = nn.relu
    activate_final: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()
    final_init: Initializer | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        last = len(self.widths) - 1
        for layer, width in enumerate(self.widths):
            is_linear_head = layer == last and not self.activate_final
            init = self.final_init if is_linear_head and self.final_init else self.kernel_init
            x = nn.Dense(width, kernel_init=init, dot_general=few_rows_dot)(x)
            if not is_linear_head:
                x = self.activation(x)
        return x


class SetEncoder(nn.Module):
    """Features of a state with interchangeable things in it, whatever their order.

    Deep Sets (Zaheer et al. 2017): one network looks at each thing beside what is shared, and its
    outputs are pooled by maximum and mean. Invariance is worth data: every scene stands for all of
    its permutations.
    """

    widths: Sequence[int]
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, shared: Array, things: Array) -> Array:
        """Maps `[..., shared]` and `[..., things, size]` to features `[..., widths[-1]]`."""
        beside = jnp.broadcast_to(shared[..., None, :], (*things.shape[:-1], shared.shape[-1]))
        each = MLP(self.widths, activate_final=True, kernel_init=self.kernel_init)(
            jnp.concatenate([beside, things], axis=-1)
        )
        pooled = [shared, each.max(axis=-2), each.mean(axis=-2)]
        return MLP(self.widths[-1:], activate_final=True, kernel_init=self.kernel_init)(
            jnp.concatenate(pooled, axis=-1)
        )


class GaussianPolicy(nn.Module):
    """Mean and log standard deviation, each `[..., size]`, from a flat observation.

    The last layer starts at zero, so that the policy starts as a standard Gaussian whatever it
    sees: in a flow's latent space, as the base distribution (Singh et al. 2021, section 3.2). Means
    stay within `mean_bound`, by `mean_bound * tanh(mean / mean_bound)`, if there is one.
    """

    widths: Sequence[int]
    size: int
    min_log_std: float
    max_log_std: float
    mean_bound: float | None = None
    images: Sequence[ImageSlot] = ()

    @nn.compact
    def __call__(self, observation: Array) -> tuple[Array, Array]:
        """Returns the mean and the log standard deviation."""
        if self.images:
            observation = See(self.images)(observation)
        head = MLP((*self.widths, 2 * self.size), final_init=nn.initializers.zeros)(observation)
        mean, log_std = jnp.split(head, 2, axis=-1)
        if self.mean_bound is not None:
            mean = self.mean_bound * jnp.tanh(mean / self.mean_bound)
        return mean, jnp.clip(log_std, self.min_log_std, self.max_log_std)


class Critic(nn.Module):
    """Value `[...]` of an action `[..., size]` after a flat observation."""

    widths: Sequence[int]
    layer_norm: bool
    images: Sequence[ImageSlot] = ()

    @nn.compact
    def __call__(self, observation: Array, action: Array) -> Array:
        """Returns the value."""
        if self.images:
            observation = See(self.images)(observation)
        x = jnp.concatenate([observation, action], axis=-1)
        for width in self.widths:
            x = nn.Dense(width)(x)
            x = nn.relu(nn.LayerNorm()(x) if self.layer_norm else x)
        return nn.Dense(1)(x).squeeze(axis=-1)


class Critics(nn.Module):
    """Values `[size, ...]` by critics that share nothing.

    They are separate modules, not a mapped or batched one, because two plain matrix products are
    faster on a CPU than a batched one, by about 7 % of an update.
    """

    size: int
    widths: Sequence[int]
    layer_norm: bool
    images: Sequence[ImageSlot] = ()

    @nn.compact
    def __call__(self, observation: Array, action: Array) -> Array:
        """Returns the values."""
        critics = [Critic(self.widths, self.layer_norm, self.images) for _ in range(self.size)]
        return jnp.stack([critic(observation, action) for critic in critics])


def count_parameters(params: object) -> int:
    """Number of scalars in a pytree."""
    return sum(x.size for x in jax.tree.leaves(params))
