"""Demonstrations with two modes, of which a prior that averages them makes neither."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.types import ActionSpec, ArraySpec, Params, Prior

SPEC, ACTION = {"state": ArraySpec((2,))}, ActionSpec(2)


def demonstrations(seed: int, size: int) -> dict[str, Any]:
    """Actions at `m(s)` or `-m(s)`, evenly, with a standard deviation of 0.05 around each."""
    rng = np.random.default_rng(seed)
    state = rng.uniform(-1.0, 1.0, (size, 2))
    action = rng.choice([-1.0, 1.0], (size, 1)) * _mode(state)
    action = action + 0.05 * rng.normal(size=(size, 2))
    return {
        "observation": {"state": jnp.asarray(state, jnp.float32)},
        "action": jnp.asarray(action, jnp.float32),
    }


def shares(prior: Prior, params: Params) -> tuple[float, float]:
    """Of actions from `N(0, I)` those near the one mode, and those near the other."""
    state = np.random.default_rng(9).uniform(-1.0, 1.0, (2000, 2)).astype(np.float32)
    latent = jax.random.normal(jax.random.key(3), (2000, prior.latent_size))

    @jax.jit
    def act(params: Params) -> jax.Array:
        return prior.decode(params, latent, prior.encode(params, {"state": state}))

    action = np.asarray(act(params))
    near = [np.linalg.norm(action - sign * _mode(state), axis=1) < 0.25 for sign in (1, -1)]
    return float(near[0].mean()), float(near[1].mean())


def _mode(state: np.ndarray) -> np.ndarray:
    return np.stack([0.6 + 0.3 * state[:, 0], -0.6 + 0.3 * state[:, 1]], axis=-1)
