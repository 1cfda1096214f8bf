"""A uniform replay buffer: three pure functions over any pytree of arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.types import Array, PRNGKey, UserError

Element = Any
"""A pytree of arrays: one element, or several along leading axes."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReplayState:
    """A ring of rows.

    Attributes:
      data: the elements, arrays `[capacity, ...]`.
      position: `[]` int32, the row that is written next.
      size: `[]` int32, how many rows are filled.
    """

    data: Element
    position: Array
    size: Array


class Replay(NamedTuple):
    """A buffer that forgets its oldest elements first and remembers the others equally well.

    Attributes:
      init: `(example) -> state`, an empty buffer for elements with the example's shapes and dtypes.
      insert: `(state, elements [n, ...], valid [n]) -> state`, adds the elements whose `valid` is
        True. Works in place when the state is donated; otherwise the whole buffer is copied.
      sample: `(state, key, shape) -> elements [*shape, ...]`, drawn independently, with
        replacement, uniformly over the filled rows. The key is consumed. An empty buffer gives
        zeros, since whether it is empty is not known when the program is traced.
    """

    init: Callable[[Element], ReplayState]
    insert: Callable[[ReplayState, Element, Array], ReplayState]
    sample: Callable[[ReplayState, PRNGKey, tuple[int, ...]], Element]


def make_replay(capacity: int) -> Replay:
    """A uniform replay buffer of `capacity` elements.

    Raises:
      UserError: the capacity is not positive, or (by `insert`, when it is traced) smaller than the
        number of elements inserted at once.
    """
    if capacity < 1:
        raise UserError(f"replay capacity must be at least 1, got {capacity}")

    def init(example: Element) -> ReplayState:
        return ReplayState(
            data=jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), example),
            position=jnp.zeros((), jnp.int32),
            size=jnp.zeros((), jnp.int32),
        )

    def insert(state: ReplayState, elements: Element, valid: Array) -> ReplayState:
        (count,) = valid.shape
        if count > capacity:
            raise UserError(
                f"replay capacity {capacity} is too small for {count} elements inserted at once"
            )
        row, position, size = advance(state.position, state.size, valid, capacity)
        return ReplayState(
            data=jax.tree.map(
                lambda rows, new: rows.at[row].set(new, mode="drop"), state.data, elements
            ),
            position=position,
            size=size,
        )

    def sample(state: ReplayState, key: PRNGKey, shape: tuple[int, ...]) -> Element:
        row = jax.random.randint(key, shape, 0, state.size)
        return jax.tree.map(
            lambda rows: rows.at[row].get(mode="promise_in_bounds"),
            state.data,
        )

    return Replay(init, insert, sample)


def advance(
    position: Array, size: Array, valid: Array, capacity: int
) -> tuple[Array, Array, Array]:
    """Where new elements go in a ring, and how it stands after them.

    Args:
      position: `[]`, the row that is written next.
      size: `[]`, how many rows are filled.
      valid: `[n]`, which of the new elements are to be kept.
      capacity: of the ring.

    Returns:
      Rows `[n]`, consecutive for valid elements and past the end for the others, to be dropped
      there; the position and the size afterwards.
    """
    order = jnp.cumsum(valid, dtype=jnp.int32)
    row = jnp.where(valid, (position + order - 1) % capacity, capacity)
    return row, (position + order[-1]) % capacity, jnp.minimum(size + order[-1], capacity)
