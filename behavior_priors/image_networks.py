"""Linen modules that see images."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.types import Array

IMAGE_FEATURES = 32
"""Numbers that an image becomes before it meets other observations."""


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
