"""Replay of many tasks, a ring for each, as pure functions over any pytree of arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.replay import Element, ReplayState, advance
from behavior_priors.types import Array, PRNGKey, UserError

SampleFn = Callable[[ReplayState, PRNGKey, Array, int], tuple[Element, Array]]
"""`(state, key, task [m], count) -> (elements [m, count, ...], counts [m, count])`; the key is
consumed. What does not count is not there: nothing does in a ring that is empty."""


class TaskReplay(NamedTuple):
    """A ring for each task, whose state is a `ReplayState` with a leading axis of tasks.

    Attributes:
      init: `(example) -> state`, empty rings for elements with the example's shapes and dtypes.
      insert: `(state, task [k], elements [k, n, ...], valid [k, n]) -> state`, adds the elements
        whose `valid` is True to the rings of the tasks, of which no two are the same. Works in
        place when the state is donated.
      sample: elements drawn independently, with replacement, uniformly over a ring's filled rows.
      sample_in_order: elements that follow each other, from a place drawn uniformly; all of them,
        and fewer than were asked for, where a ring has no more.
      clear: `(state, task [k]) -> state`, forgets what is known of the tasks.
    """

    init: Callable[[Element], ReplayState]
    insert: Callable[[ReplayState, Array, Element, Array], ReplayState]
    sample: SampleFn
    sample_in_order: SampleFn
    clear: Callable[[ReplayState, Array], ReplayState]


def make_task_replay(tasks: int, capacity: int) -> TaskReplay:
    """A ring of `capacity` elements for each of so many tasks.

    Raises:
      UserError: there are no tasks, the capacity is not positive, or (by `insert`, when it is
        traced) smaller than the number of elements inserted at once.
    """
    if tasks < 1 or capacity < 1:
        raise UserError(
            f"a replay of tasks needs at least one of each, got {tasks} tasks and "
            f"a capacity of {capacity}"
        )

    def init(example: Element) -> ReplayState:
        return ReplayState(
            data=jax.tree.map(lambda x: jnp.zeros((tasks, capacity, *x.shape), x.dtype), example),
            position=jnp.zeros(tasks, jnp.int32),
            size=jnp.zeros(tasks, jnp.int32),
        )

    def insert(state: ReplayState, task: Array, elements: Element, valid: Array) -> ReplayState:
        count = valid.shape[1]
        if count > capacity:
            raise UserError(
                f"replay capacity {capacity} is too small for {count} elements inserted at once"
            )
        rows = jax.vmap(functools.partial(advance, capacity=capacity))
        row, position, size = rows(state.position[task], state.size[task], valid)
        return ReplayState(
            data=jax.tree.map(
                lambda rows, new: rows.at[task[:, None], row].set(new, mode="drop"),
                state.data,
                elements,
            ),
            position=state.position.at[task].set(position),
            size=state.size.at[task].set(size),
        )

    def take(state: ReplayState, task: Array, row: Array) -> Element:
        return jax.tree.map(
            lambda rows: rows.at[task[:, None], row].get(mode="promise_in_bounds"), state.data
        )

    def sample(state: ReplayState, key: PRNGKey, task: Array, count: int) -> tuple[Element, Array]:
        size = state.size[task][:, None]
        row = jax.random.randint(key, (len(task), count), 0, size)
        return take(state, task, row), jnp.broadcast_to(size > 0, row.shape)

    def sample_in_order(
        state: ReplayState, key: PRNGKey, task: Array, count: int
    ) -> tuple[Element, Array]:
        def places(key: PRNGKey, position: Array, size: Array) -> tuple[Array, Array]:
            first = jax.random.randint(key, (), 0, jnp.maximum(size - count, 0) + 1)
            place = first + jnp.arange(count)
            return (position - size + place) % capacity, place < size

        keys = jax.random.split(key, len(task))
        row, counts = jax.vmap(places)(keys, state.position[task], state.size[task])
        return take(state, task, row), counts

    def clear(state: ReplayState, task: Array) -> ReplayState:
        nothing = jnp.zeros_like(task)
        return ReplayState(
            data=state.data,
            position=state.position.at[task].set(nothing),
            size=state.size.at[task].set(nothing),
        )

    return TaskReplay(init, insert, sample, sample_in_order, clear)
