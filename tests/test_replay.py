"""A ring of the replay against what a list of the newest elements would hold."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.replay import ReplayState, make_replay


class Element(NamedTuple):
    """A pytree with nested names, several dtypes and several shapes."""

    number: jax.Array
    arrays: dict[str, jax.Array]


def elements(numbers: list[int] | np.ndarray) -> Element:
    """One element a number; everything in it can be told from the number."""
    x = np.asarray(numbers, np.int32)
    return Element(
        number=jnp.asarray(x),
        arrays={
            "image": jnp.asarray(np.broadcast_to(x[:, None, None] % 256, (len(x), 2, 3)), np.uint8),
            "vector": jnp.asarray(x[:, None] + np.array([0.0, 0.25]), np.float32),
        },
    )


def example() -> Element:
    return jax.tree.map(lambda x: x[0], elements([0]))


class Ring(NamedTuple):
    """A replay of one ring, without the axis of rings in what is inserted."""

    init: Callable[[Element], ReplayState]
    insert: Callable[[ReplayState, Element, jax.Array], ReplayState]
    sample: Callable[[ReplayState, jax.Array, tuple[int, ...]], Element]


def make_ring(capacity: int) -> Ring:
    replay = make_replay(1, capacity)

    def insert(state: ReplayState, new: Element, valid: jax.Array) -> ReplayState:
        one = jax.tree.map(lambda x: x[None], (new, valid))
        return replay.insert(state, jnp.zeros(1, jnp.int32), *one)

    return Ring(replay.init, insert, replay.sample)


def data_of(state: ReplayState) -> Element:
    return jax.tree.map(lambda x: x[0], state.data)


def stands(state: ReplayState) -> tuple[int, int]:
    """Position and size."""
    return int(state.position[0]), int(state.size[0])


def contents(state: ReplayState) -> list[int]:
    return np.asarray(data_of(state).number)[: stands(state)[1]].tolist()


def all_valid(count: int) -> jax.Array:
    return jnp.ones(count, bool)


def test_empty():
    replay = make_ring(4)
    state = replay.init(example())
    assert stands(state) == (0, 0)
    chex.assert_trees_all_equal_shapes_and_dtypes(data_of(state), elements([0, 0, 0, 0]))
    sample = replay.sample(state, jax.random.key(0), (2, 3))
    chex.assert_trees_all_equal(sample, jax.tree.map(jnp.zeros_like, sample))


def test_partly_filled():
    replay = make_ring(5)
    state = replay.insert(replay.init(example()), elements([11, 12, 13]), all_valid(3))
    assert stands(state) == (3, 3)
    assert contents(state) == [11, 12, 13]


def test_exactly_filled():
    replay = make_ring(3)
    state = replay.insert(replay.init(example()), elements([11, 12, 13]), all_valid(3))
    assert stands(state) == (0, 3)
    assert contents(state) == [11, 12, 13]


def test_the_oldest_are_overwritten():
    replay = make_ring(5)
    state = replay.init(example())
    for batch in ([1, 2, 3], [4, 5, 6], [7, 8, 9]):
        state = replay.insert(state, elements(batch), all_valid(3))
    assert stands(state) == (4, 5)
    assert contents(state) == [6, 7, 8, 9, 5]
    chex.assert_trees_all_equal(data_of(state), elements([6, 7, 8, 9, 5]))


def test_invalid_rows_leave_no_holes():
    replay = make_ring(4)
    state = replay.init(example())
    state = replay.insert(state, elements([1, 2, 3]), jnp.array([False, True, False]))
    assert (stands(state)[0], contents(state)) == (1, [2])
    state = replay.insert(state, elements([4, 5, 6]), jnp.array([True, False, True]))
    assert (stands(state)[0], contents(state)) == (3, [2, 4, 6])
    state = replay.insert(state, elements([7, 8, 9]), jnp.array([True, True, False]))
    assert (stands(state)[0], contents(state)) == (1, [8, 4, 6, 7])


def test_nothing_valid_changes_nothing():
    replay = make_ring(4)
    before = replay.insert(replay.init(example()), elements([1, 2]), all_valid(2))
    after = replay.insert(before, elements([3, 4]), jnp.zeros(2, bool))
    chex.assert_trees_all_equal(before, after)


def test_invalid_values_do_not_leak():
    replay = make_ring(2)
    batch = elements([1, 2])
    batch.arrays["vector"] = batch.arrays["vector"].at[0].set(jnp.nan)
    state = replay.insert(replay.init(example()), batch, jnp.array([False, True]))
    assert np.isfinite(np.asarray(data_of(state).arrays["vector"])).all()


@pytest.mark.parametrize(("capacity", "counts"), [(1, [1]), (3, [1, 3]), (7, [2, 5, 7])])
def test_any_sequence_of_inserts_keeps_the_newest(capacity: int, counts: list[int]):
    """Property: the buffer holds what a deque of the same capacity would, in ring order."""
    replay = make_ring(capacity)
    insert = jax.jit(replay.insert)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model: collections.deque[int] = collections.deque(maxlen=capacity)
        state, seen, written = replay.init(example()), 0, 0
        for count in rng.choice(counts, size=10):
            numbers = np.arange(seen, seen + count)
            valid = rng.random(count) < rng.choice([0.0, 0.5, 1.0])
            state = insert(state, elements(numbers), jnp.asarray(valid))
            model.extend(numbers[valid].tolist())
            seen += count
            written += valid.sum()

            assert stands(state)[1] == len(model)
            assert stands(state)[0] == written % capacity
            oldest = written % capacity if len(model) == capacity else 0
            assert np.roll(contents(state), -oldest).tolist() == list(model)
        expected = elements(np.pad(contents(state), (0, capacity - len(model))))
        chex.assert_trees_all_equal(data_of(state), expected)


def test_more_rows_than_the_capacity_is_an_error():
    replay = make_ring(2)
    with pytest.raises(UserError, match="capacity 2 is too small for 3"):
        jax.eval_shape(replay.insert, replay.init(example()), elements([1, 2, 3]), all_valid(3))


def test_capacity_must_be_positive():
    with pytest.raises(UserError, match="one ring and one row, got 1 rings and a capacity of 0"):
        make_ring(0)


def test_samples_have_the_asked_shape_and_stay_whole():
    replay = make_ring(8)
    state = replay.insert(replay.init(example()), elements([7, 300, 5]), all_valid(3))
    sample = replay.sample(state, jax.random.key(1), (20, 16))
    chex.assert_shape(sample.number, (20, 16))
    chex.assert_shape(sample.arrays["image"], (20, 16, 2, 3))
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), sample)
    chex.assert_trees_all_equal(flat, elements(np.asarray(flat.number)))


def test_only_the_filled_part_is_sampled():
    replay = make_ring(1000)
    state = replay.insert(replay.init(example()), elements([7, 8, 9]), all_valid(3))
    numbers = np.asarray(replay.sample(state, jax.random.key(0), (5000,)).number)
    assert set(numbers.tolist()) == {7, 8, 9}


@pytest.mark.parametrize("inserted", [7, 10, 16])
def test_sampling_is_uniform(inserted: int):
    """Pearson's statistic stays under the 99.99th percentile of chi-squared (nu < 10: 33.7)."""
    replay = make_ring(10)
    state, insert = replay.init(example()), jax.jit(replay.insert)
    for number in range(inserted):
        state = insert(state, elements([number]), all_valid(1))
    draws, filled = 50_000, min(inserted, 10)
    numbers = np.asarray(replay.sample(state, jax.random.key(3), (50, draws // 50)).number)
    counts = np.bincount(numbers.ravel(), minlength=inserted)[-filled:]
    assert counts.sum() == draws
    expected = draws / filled
    assert ((counts - expected) ** 2 / expected).sum() < 33.7


def test_the_same_key_gives_the_same_sample_and_another_key_another():
    replay = make_ring(100)
    state = replay.insert(replay.init(example()), elements(np.arange(100)), all_valid(100))
    first = replay.sample(state, jax.random.key(0), (64,))
    chex.assert_trees_all_equal(first, replay.sample(state, jax.random.key(0), (64,)))
    other = replay.sample(state, jax.random.key(1), (64,))
    assert not np.array_equal(first.number, other.number)


def test_a_donated_insert_is_made_in_place_and_keeps_the_contents():
    replay = make_ring(6)
    insert = jax.jit(replay.insert, donate_argnums=0)
    state = replay.init(example())
    for number in range(8):
        rows = state.data.arrays["vector"]
        where = rows.unsafe_buffer_pointer()
        state = insert(state, elements([number]), all_valid(1))
        assert rows.is_deleted()
        assert state.data.arrays["vector"].unsafe_buffer_pointer() == where
    assert contents(state) == [6, 7, 2, 3, 4, 5]
    chex.assert_trees_all_equal(data_of(state), elements([6, 7, 2, 3, 4, 5]))


def test_one_buffer_per_seed_under_vmap():
    replay = make_ring(3)
    states = jax.vmap(lambda _: replay.init(example()))(jnp.arange(2))
    batches = jax.tree.map(lambda *x: jnp.stack(x), elements([1, 2]), elements([3, 4]))
    valid = jnp.array([[True, True], [False, True]])
    states = jax.vmap(replay.insert)(states, batches, valid)
    np.testing.assert_array_equal(states.size[:, 0], [2, 1])
    np.testing.assert_array_equal(states.data.number[:, 0], [[1, 2, 0], [4, 0, 0]])


def test_inside_a_scan():
    replay = make_ring(4)

    def body(state: ReplayState, number: jax.Array) -> tuple[ReplayState, jax.Array]:
        element = Element(
            number[None], {"image": jnp.zeros((1, 2, 3), jnp.uint8), "vector": jnp.zeros((1, 2))}
        )
        state = replay.insert(state, element, number[None] % 2 == 0)
        return state, state.size[0]

    state, sizes = jax.jit(lambda s, x: jax.lax.scan(body, s, x))(
        replay.init(example()), jnp.arange(10)
    )
    np.testing.assert_array_equal(sizes, [1, 1, 2, 2, 3, 3, 4, 4, 4, 4])
    assert contents(state) == [8, 2, 4, 6]
