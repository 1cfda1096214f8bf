"""Calls from compiled programs to the host."""

from __future__ import annotations

import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.host_calls import call_host

WORD = jax.ShapeDtypeStruct((), jnp.int32)


def test_nested_vmaps_are_one_call() -> None:
    shapes = []

    def add_one(words: np.ndarray) -> np.ndarray:
        words = np.asarray(words)
        shapes.append(words.shape)
        return words[..., 0] + 1

    call = jax.jit(jax.vmap(jax.vmap(lambda x: call_host(add_one, x, WORD))))
    x = np.arange(6, dtype=np.int32).reshape(2, 3, 1)
    np.testing.assert_array_equal(call(x), x[..., 0] + 1)
    assert shapes == [(2, 3, 1)]


def test_equal_calls_are_all_made() -> None:
    calls = []

    def count(words: np.ndarray) -> np.ndarray:
        calls.append(1)
        return np.asarray(len(calls), np.int32)

    def twice(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return call_host(count, x, WORD), call_host(count, x, WORD)

    first, second = jax.jit(twice)(jnp.zeros(1, jnp.int32))
    assert sorted([int(first), int(second)]) == [1, 2]


def test_a_thread_is_remembered_from_call_to_call() -> None:
    """Python would make a new state for XLA's thread in each call, with nothing in it."""
    local, seen = threading.local(), {}

    def note(words: np.ndarray) -> np.ndarray:
        local.calls = getattr(local, "calls", 0) + 1
        seen[threading.get_ident()] = local.calls
        return np.asarray(words)[..., 0]

    def steps(x: jax.Array, matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[Any, None]:
            x, matrix = carry
            return (call_host(note, x[None], WORD), jnp.tanh(matrix @ matrix)), None

        return jax.lax.scan(step, (x, matrix), length=50)[0]

    # with enough to do for JAX not to run it in the thread that asks
    jax.block_until_ready(jax.jit(steps)(jnp.zeros((), jnp.int32), jnp.ones((300, 300))))
    assert sum(seen.values()) == 50
    assert set(seen) != {threading.get_ident()}
