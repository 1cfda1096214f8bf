"""Linen modules: perceptrons, policies, critics, and what looks at sets of things.

Where a network has a `sight`, it is given an observation; without one, features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.torso import Sight, see
from behavior_priors.types import Array, Observation

FEW_ROWS = 32
"""Of a product that is part of acting, not of an update."""

ONE_THREAD = 2**19
"""Multiplications in a product that XLA leaves to one thread on a CPU: of 300 by 300 weights and 6
rows, 540 000, it still does; 7 rows it shares."""

Activation = Callable[[Array], Array]
Initializer = nn.initializers.Initializer
StdLimit = Literal["clip", "tanh"]


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


WIDTHS = (256, 256)
"""Hidden layers of a network of which nothing else is said."""


class MLP(nn.Module):
    """Dense layers of the given widths; the last is linear unless `activate_final`.

    `final_init` initialises the last kernel; biases start at zero. What is given beside the first
    argument is joined with it.
    """

    widths: Sequence[int]
    activation: Activation = nn.relu
    activate_final: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()
    final_init: Initializer | None = None
    sight: Sight | None = None

    @nn.compact
    def __call__(self, observation: Observation | Array, *beside: Array) -> Array:
        x = see(self.sight, observation)
        if beside:
            x = jnp.concatenate([x, *beside], axis=-1)
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
    sight: Sight | None = None

    @nn.compact
    def __call__(
        self, observation: Observation | Array, things: Array, present: Array | None = None
    ) -> Array:
        """Maps what is shared and `[..., things, size]` to features `[..., widths[-1]]`.

        Things whose `present` `[..., things]` is not above a half change nothing.
        """
        shared = see(self.sight, observation)
        beside = jnp.broadcast_to(shared[..., None, :], (*things.shape[:-1], shared.shape[-1]))
        each = MLP(self.widths, activate_final=True, kernel_init=self.kernel_init)(
            jnp.concatenate([beside, things], axis=-1)
        )
        if present is None:
            count: Array | float = float(each.shape[-2])
        else:
            there = (present[..., None] > 0.5).astype(jnp.float32)
            each = there * each  # zero is the least there is, after a rectifier
            count = jnp.maximum(there.sum(axis=-2), 1.0)
        pooled = [shared, each.max(axis=-2), each.sum(axis=-2) / count]
        return MLP(self.widths[-1:], activate_final=True, kernel_init=self.kernel_init)(
            jnp.concatenate(pooled, axis=-1)
        )


class GaussianPolicy(nn.Module):
    """Mean and log standard deviation, each `[..., size]`, after an observation.

    The last layer starts at zero, so that the policy starts as a standard Gaussian whatever it
    sees: in a flow's latent space, as the base distribution (Singh et al. 2021, section 3.2). Means
    stay within `mean_bound`, by `mean_bound * tanh(mean / mean_bound)`, if there is one.

    Log standard deviations are clipped to their limits, outside of which they have no gradient, or,
    with `std_limit="tanh"`, are a tanh of the network's output that runs from one limit to the
    other and is zero at zero, where a policy starts.
    """

    widths: Sequence[int]
    size: int
    min_log_std: float
    max_log_std: float
    mean_bound: float | None = None
    std_limit: StdLimit = "clip"
    sight: Sight | None = None

    @nn.compact
    def __call__(self, observation: Observation | Array) -> tuple[Array, Array]:
        """Returns the mean and the log standard deviation."""
        x = see(self.sight, observation)
        head = MLP((*self.widths, 2 * self.size), final_init=nn.initializers.zeros)(x)
        mean, log_std = jnp.split(head, 2, axis=-1)
        if self.mean_bound is not None:
            mean = self.mean_bound * jnp.tanh(mean / self.mean_bound)
        if self.std_limit == "clip":
            return mean, jnp.clip(log_std, self.min_log_std, self.max_log_std)
        half = (self.max_log_std - self.min_log_std) / 2
        start = jnp.float32(math.atanh(1.0 - self.max_log_std / half))
        return mean, half * (jnp.tanh(log_std + start) - jnp.tanh(start))


class Critic(nn.Module):
    """Value `[...]` of an action `[..., size]` after an observation."""

    widths: Sequence[int]
    layer_norm: bool
    sight: Sight | None = None

    @nn.compact
    def __call__(self, observation: Observation | Array, action: Array) -> Array:
        """Returns the value."""
        x = jnp.concatenate([see(self.sight, observation), action], axis=-1)
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
    sight: Sight | None = None

    @nn.compact
    def __call__(self, observation: Observation | Array, action: Array) -> Array:
        """Returns the values."""
        critics = [Critic(self.widths, self.layer_norm, self.sight) for _ in range(self.size)]
        return jnp.stack([critic(observation, action) for critic in critics])


def count_parameters(params: object) -> int:
    """Number of scalars in a pytree."""
    return sum(x.size for x in jax.tree.leaves(params))
