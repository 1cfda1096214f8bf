"""The memory of what was built takes nothing for the same that differs."""

from __future__ import annotations

import jax.numpy as jnp

from tests.inside.memory import Memory


def test_a_memory_compares_arrays_by_their_bits() -> None:
    calls = []

    def function(x: object) -> list[object]:
        calls.append(x)
        return [x]

    remembering = Memory().of(function)
    first = remembering({"a": jnp.arange(3.0), "f": len})
    assert remembering({"a": jnp.arange(3.0), "f": len}) is first
    assert remembering({"a": jnp.arange(3.0), "f": max}) is not first
    assert remembering({"a": jnp.arange(3.0) + 1e-7, "f": len}) is not first
    assert len(calls) == 3
