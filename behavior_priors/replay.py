"""Replay of several environments or tasks, a ring for each, as pure functions over any pytree.

Each environment writes into a ring of its own, so that what follows each other there did so in an
episode too: single transitions, sequences and the transitions of one task are drawn from the same
memory, and a ring may live on the device that its environment lives on.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.errors import UserError
from behavior_priors.types import Array, PRNGKey

Element = Any
"""A pytree of arrays: one element, or several along leading axes."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReplayState:
    """Rings of rows.

    Attributes:
      data: the elements, arrays `[rings, capacity, ...]`.
      position: `[rings]` int32, the row that is written next.
      size: `[rings]` int32, how many rows are filled.
    """

    data: Element
    position: Array
    size: Array


SampleFn = Callable[[ReplayState, PRNGKey, Array, int], tuple[Element, Array]]
"""`(state, key, ring [m], count) -> (elements [m, count, ...], counts [m, count])`; the key is
consumed. What does not count is not there: nothing does in a ring that is empty."""


class Replay(NamedTuple):
    """Rings that forget their oldest elements first and remember the others equally well.

    Attributes:
      init: `(example) -> state`, empty rings for elements with the example's shapes and dtypes.
      insert: `(state, ring [k], elements [k, n, ...], valid [k, n]) -> state`, adds the elements
        whose `valid` is True to the rings, of which no two are the same. Works in place when the
        state is donated; otherwise all of it is copied.
      sample: `(state, key, shape) -> elements [*shape, ...]`, drawn independently, with
        replacement, uniformly over the filled rows of all rings. The key is consumed. Empty rings
        give zeros, since whether they are empty is not known when the program is traced.
      sample_sequences: `(state, key, shape, length) -> elements [*shape, length, ...]`, elements
        that follow each other in a ring, uniformly over all places where such a sequence begins;
        zeros, or what there is, where no ring holds so many.
      sample_of: elements of the rings asked for, drawn independently, with replacement, uniformly
        over a ring's filled rows.
      sample_in_order: likewise, elements that follow each other, from a place drawn uniformly; all
        of them, and fewer than were asked for, where a ring has no more.
      clear: `(state, ring [k]) -> state`, forgets what is in the rings.
      grow: `(state) -> state`, rings of this capacity from those of a smaller one, with all that
        they remember.
    """

    init: Callable[[Element], ReplayState]
    insert: Callable[[ReplayState, Array, Element, Array], ReplayState]
    sample: Callable[[ReplayState, PRNGKey, tuple[int, ...]], Element]
    sample_sequences: Callable[[ReplayState, PRNGKey, tuple[int, ...], int], Element]
    sample_of: SampleFn
    sample_in_order: SampleFn
    clear: Callable[[ReplayState, Array], ReplayState]
    grow: Callable[[ReplayState], ReplayState]


def make_replay(rings: int, capacity: int) -> Replay:
    """So many rings of `capacity` elements each.

    Raises:
      UserError: there is no ring, the capacity is not positive, or (by `insert`, when it is traced)
        smaller than the number of elements inserted at once.
    """
    if rings < 1 or capacity < 1:
        raise UserError(
            f"replay needs at least one ring and one row, got {rings} rings and a capacity of "
            f"{capacity}"
        )

    def init(example: Element) -> ReplayState:
        return ReplayState(
            data=jax.tree.map(lambda x: jnp.zeros((rings, capacity, *x.shape), x.dtype), example),
            position=jnp.zeros(rings, jnp.int32),
            size=jnp.zeros(rings, jnp.int32),
        )

    def insert(state: ReplayState, ring: Array, elements: Element, valid: Array) -> ReplayState:
        count = valid.shape[1]
        if count > capacity:
            raise UserError(
                f"replay capacity {capacity} is too small for {count} elements inserted at once"
            )
        rows = jax.vmap(functools.partial(_advance, capacity=capacity))
        row, position, size = rows(state.position[ring], state.size[ring], valid)
        return ReplayState(
            data=jax.tree.map(
                lambda rows, new: rows.at[ring[:, None], row].set(new, mode="drop"),
                state.data,
                elements,
            ),
            position=state.position.at[ring].set(position),
            size=state.size.at[ring].set(size),
        )

    def take(state: ReplayState, ring: Array, row: Array) -> Element:
        return jax.tree.map(
            lambda rows: rows.at[ring, row].get(mode="promise_in_bounds"), state.data
        )

    def draw(key: PRNGKey, shape: tuple[int, ...], places: Array) -> tuple[Array, Array]:
        """A ring and a place in it, uniformly over all places of all rings, `places` `[rings]`."""
        ends = jnp.cumsum(places)
        number = jax.random.randint(key, shape, 0, ends[-1])
        each = jnp.maximum(places[0], 1)

        def search() -> tuple[Array, Array]:
            ring = jnp.searchsorted(ends, number, side="right", method="scan_unrolled")
            ring = jnp.minimum(ring, rings - 1)  # which it is not only where there is no place
            return ring, jnp.maximum(number - (ends - places)[ring], 0)

        # rings are equally full unless steps were left out, and a division is faster than a search
        is_even = (places == places[0]).all()
        return jax.lax.cond(is_even, lambda: (number // each, number % each), search)

    def sample(state: ReplayState, key: PRNGKey, shape: tuple[int, ...]) -> Element:
        return take(state, *draw(key, shape, state.size))

    def sample_sequences(
        state: ReplayState, key: PRNGKey, shape: tuple[int, ...], length: int
    ) -> Element:
        if length > capacity:
            raise UserError(f"replay capacity {capacity} holds no sequences of {length}")
        ring, first = draw(key, shape, jnp.maximum(state.size - length + 1, 0))
        oldest = (state.position - state.size)[ring]
        steps = jnp.arange(length).reshape(*(1 for _ in shape), length)
        row = (oldest + first)[..., None] + steps
        return take(state, jnp.broadcast_to(ring[..., None], row.shape), row % capacity)

    def sample_of(
        state: ReplayState, key: PRNGKey, ring: Array, count: int
    ) -> tuple[Element, Array]:
        size = state.size[ring][:, None]
        row = jax.random.randint(key, (len(ring), count), 0, size)
        return take(state, ring[:, None], row), jnp.broadcast_to(size > 0, row.shape)

    def sample_in_order(
        state: ReplayState, key: PRNGKey, ring: Array, count: int
    ) -> tuple[Element, Array]:
        def places(key: PRNGKey, position: Array, size: Array) -> tuple[Array, Array]:
            first = jax.random.randint(key, (), 0, jnp.maximum(size - count, 0) + 1)
            place = first + jnp.arange(count)
            return (position - size + place) % capacity, place < size

        keys = jax.random.split(key, len(ring))
        row, counts = jax.vmap(places)(keys, state.position[ring], state.size[ring])
        return take(state, ring[:, None], row), counts

    def clear(state: ReplayState, ring: Array) -> ReplayState:
        nothing = jnp.zeros_like(ring)
        return ReplayState(
            data=state.data,
            position=state.position.at[ring].set(nothing),
            size=state.size.at[ring].set(nothing),
        )

    def grow(state: ReplayState) -> ReplayState:
        smaller = jax.tree.leaves(state.data)[0].shape[1]
        if smaller == capacity:
            return state
        # from the oldest row on, since a ring that was full goes on behind its newest
        first = state.position - state.size
        empty = init(jax.tree.map(lambda x: x[0, 0], state.data)).data
        roll = jax.vmap(lambda rows, shift: jnp.roll(rows, -shift, axis=0))
        return ReplayState(
            data=jax.tree.map(
                lambda new, old: new.at[:, :smaller].set(roll(old, first)), empty, state.data
            ),
            position=state.size % capacity,  # not the same buffer twice
            size=state.size,
        )

    return Replay(init, insert, sample, sample_sequences, sample_of, sample_in_order, clear, grow)


def _advance(
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
