"""Rings of several environments or tasks: each as one alone, and none mixed up with another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.replay import ReplayState, make_replay


def fill(state: ReplayState, replay, task: list[int], numbers: list[list[int]]) -> ReplayState:
    x = jnp.asarray(numbers)
    return replay.insert(state, jnp.asarray(task), {"x": x}, jnp.ones(x.shape, bool))


def empty(tasks: int, capacity: int):
    replay = make_replay(tasks, capacity)
    return replay, replay.init({"x": jnp.int32(0)})


def contents(state: ReplayState) -> list[list[int]]:
    return [
        np.asarray(rows)[: int(size)].tolist()
        for rows, size in zip(state.data["x"], state.size, strict=True)
    ]


def test_each_task_has_a_ring_of_its_own() -> None:
    replay, state = empty(3, 3)
    state = fill(state, replay, [2, 0], [[20, 21], [1, 2]])
    assert contents(state) == [[1, 2], [], [20, 21]]
    state = fill(state, replay, [2], [[22, 23]])
    assert contents(state) == [[1, 2], [], [23, 21, 22]]
    assert state.position.tolist() == [2, 0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_a_ring_is_what_it_would_be_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    replay, state = empty(2, 7)
    single = make_replay(1, 7)
    alone = [single.init({"x": jnp.int32(0)}) for _ in range(2)]
    for _ in range(6):
        order = rng.permutation(2)
        x = jnp.asarray(rng.integers(0, 1000, (2, 4)))
        valid = jnp.asarray(rng.random((2, 4)) < 0.7)
        state = replay.insert(state, jnp.asarray(order), {"x": x}, valid)
        for i, task in enumerate(order):
            zero = jnp.zeros(1, jnp.int32)
            alone[task] = single.insert(alone[task], zero, {"x": x[i : i + 1]}, valid[i : i + 1])
    together = jax.tree.map(lambda *x: jnp.concatenate(x), *alone)
    jax.tree.map(np.testing.assert_array_equal, state, together)


@pytest.mark.parametrize("inserted", [(6, 6, 6), (1, 9, 4), (0, 3, 0), (30, 2, 8)])
def test_samples_of_all_rings_are_uniform_over_their_rows(inserted: tuple[int, ...]) -> None:
    """Pearson's statistic stays under the 99.99th percentile of chi-squared (nu < 20: 51)."""
    replay, state = empty(3, 8)
    insert = jax.jit(replay.insert)
    for ring, count in enumerate(inserted):
        for number in range(count):
            x = jnp.asarray([[100 * ring + number]])
            state = insert(state, jnp.asarray([ring]), {"x": x}, jnp.ones((1, 1), bool))
    held = [100 * r + i for r, n in enumerate(inserted) for i in range(max(0, n - 8), n)]
    draws = 50_000
    drawn = np.asarray(replay.sample(state, jax.random.key(3), (50, draws // 50))["x"])
    assert drawn.shape == (50, 1000)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == held
    expected = draws / len(held)
    assert ((counts - expected) ** 2 / expected).sum() < 51


@pytest.mark.parametrize("length", [1, 3, 4])
def test_sequences_are_uniform_over_all_places_and_cross_seams(length: int) -> None:
    replay, state = empty(3, 5)
    for number in range(8):  # rings 0 and 2 wrap around; ring 1 has three rows
        for ring in (0, 2) if number > 2 else (0, 1, 2):
            state = fill(state, replay, [ring], [[100 * ring + number]])
    oldest_and_size = ((3, 5), (100, 3), (203, 5))
    begins = [oldest + i for oldest, size in oldest_and_size for i in range(size - length + 1)]
    sample = jax.jit(lambda key: replay.sample_sequences(state, key, (40, 500), length))
    drawn = np.asarray(sample(jax.random.key(1))["x"])
    assert drawn.shape == (40, 500, length)
    np.testing.assert_array_equal(drawn, drawn[..., :1] + np.arange(length))
    values, counts = np.unique(drawn[..., 0], return_counts=True)
    assert values.tolist() == begins
    expected = 20_000 / len(begins)
    assert ((counts - expected) ** 2 / expected).sum() < 45


def test_what_no_ring_holds_is_refused_or_zero() -> None:
    replay, state = empty(2, 4)
    with pytest.raises(UserError, match="capacity 4 holds no sequences of 5"):
        replay.sample_sequences(state, jax.random.key(0), (3,), 5)
    assert (replay.sample_sequences(state, jax.random.key(0), (3,), 4)["x"] == 0).all()
    assert (replay.sample(state, jax.random.key(0), (3,))["x"] == 0).all()


def test_clearing_forgets_the_named_tasks_only() -> None:
    replay, state = empty(3, 4)
    state = fill(state, replay, [0, 1, 2], [[1, 2], [11, 12], [21, 22]])
    state = replay.clear(state, jnp.array([0, 2]))
    assert contents(state) == [[], [11, 12], []]
    state = fill(state, replay, [0], [[5, 6]])
    assert contents(state) == [[5, 6], [11, 12], []]
    assert state.position.tolist() == [2, 2, 0]


def test_samples_are_of_the_task_asked_for_and_uniform_over_what_it_has() -> None:
    replay, state = empty(3, 8)
    state = fill(state, replay, [0, 2], [[1, 2, 3, 4], [21, 22, 23, 24]])
    drawn, counts = replay.sample_of(state, jax.random.key(0), jnp.array([2, 0, 2]), 4000)
    assert bool(counts.all())
    for row, first in zip(drawn["x"], (21, 1, 21), strict=True):
        values, times = np.unique(np.asarray(row), return_counts=True)
        assert values.tolist() == list(range(first, first + 4))
        # 1000 expected of each; the standard deviation is 27
        assert np.abs(times - 1000).max() < 140
    assert not bool((drawn["x"][0] == drawn["x"][2]).all())


def test_of_an_empty_ring_nothing_counts() -> None:
    replay, state = empty(2, 4)
    state = fill(state, replay, [1], [[11, 12]])
    for sample in (replay.sample_of, replay.sample_in_order):
        _, counts = sample(state, jax.random.key(0), jnp.array([0, 1]), 2)
        assert counts.tolist() == [[False, False], [True, True]]


def test_in_order_from_anywhere_across_the_seam_too() -> None:
    replay, state = empty(1, 5)
    state = fill(state, replay, [0], [[1, 2, 3]])
    state = fill(state, replay, [0], [[4, 5, 6, 7]])  # the ring now begins with 3
    seen = set()
    for seed in range(40):
        drawn, counts = replay.sample_in_order(state, jax.random.key(seed), jnp.array([0]), 3)
        assert bool(counts.all())
        seen.add(tuple(drawn["x"][0].tolist()))
    assert seen == {(3, 4, 5), (4, 5, 6), (5, 6, 7)}


def test_in_order_with_less_than_was_asked_for() -> None:
    replay, state = empty(1, 8)
    state = fill(state, replay, [0], [[1, 2, 3]])
    drawn, counts = replay.sample_in_order(state, jax.random.key(0), jnp.array([0]), 5)
    assert counts.tolist() == [[True, True, True, False, False]]
    assert drawn["x"][0, :3].tolist() == [1, 2, 3]


def test_what_makes_no_sense() -> None:
    for tasks, capacity in ((0, 4), (4, 0)):
        with pytest.raises(UserError, match="at least one"):
            make_replay(tasks, capacity)
    replay, state = empty(1, 2)
    with pytest.raises(UserError, match="too small for 3"):
        fill(state, replay, [0], [[1, 2, 3]])


def test_a_ring_that_was_full_goes_on_behind_its_newest() -> None:
    replay, state = empty(2, 3)
    state = fill(state, replay, [0, 1], [[1, 2, 3], [7, 8, 9]])
    state = fill(state, replay, [0], [[4]])
    larger = make_replay(2, 5)
    state = larger.grow(state)
    assert contents(state) == [[2, 3, 4], [7, 8, 9]]
    state = fill(state, larger, [0], [[5, 6, 10]])
    assert contents(state) == [[10, 3, 4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize("seed", range(4))
def test_a_ring_that_grew_is_one_that_was_always_so_large(seed: int) -> None:
    rng = np.random.default_rng(seed)
    replay, state = empty(3, 6)
    larger, always = empty(3, 16)
    for number in range(5):
        if number == 2:
            replay, state = larger, larger.grow(state)
        x = rng.integers(0, 1000, (3, 3)).tolist()
        state = fill(state, replay, [0, 1, 2], x)
        always = fill(always, larger, [0, 1, 2], x)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(always), strict=True):
        assert np.array_equal(ours, theirs)
    assert larger.grow(state) is state
