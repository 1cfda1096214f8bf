"""Small flows, observations and parameters that the tests of the real-NVP share."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.types import ActionSpec, ArraySpec, Params, Prior

SPEC = {
    "pose": ArraySpec((2, 3), location=1.0, scale=2.0),
    "gripper": ArraySpec((1,)),
    "secret": ArraySpec((4,)),
}

SMALL = RealNVPConfig(
    observation=("pose", "gripper"), encoder_widths=(16,), conditioner_widths=(16,)
)

TINY = dataclasses.replace(SMALL, couplings=2)

SHAPES = {
    "default": SMALL,
    "unbounded": dataclasses.replace(SMALL, log_scale_bound=None, final_init="uniform"),
    "squashed": dataclasses.replace(SMALL, squash=True, squash_limit=0.9999, log_scale_bound=1.0),
    "raw observation": dataclasses.replace(SMALL, encoder_widths=(), couplings=3),
    "two hidden layers": dataclasses.replace(SMALL, conditioner_widths=(16, 16), couplings=2),
}

BOUND = 1.5


def make_observation(seed: int, *batch: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=(*batch, *spec.shape)), jnp.float32)
        for name, spec in SPEC.items()
    }


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def make_prior(config: RealNVPConfig, size: int, bound: float | None = 1.0) -> Any:
    """A prior whose functions are compiled, which is faster than running them step by step."""
    prior = make_real_nvp(config, SPEC, ActionSpec(size, bound))
    functions = ("init", "encode", "decode", "invert", "log_prob", "loss")
    compiled: dict[str, Any] = {
        name: jax.jit(function) for name in functions if (function := getattr(prior, name))
    }
    return prior._replace(**compiled)


def make_params(prior: Prior, seed: int) -> Params:
    """Arbitrary parameters, since at the initial ones the flow is the identity."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(prior.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(0.2 * rng.normal(size=x.shape), x.dtype), shapes)


def identity_params(prior: Prior) -> Params:
    return jax.tree.map(jnp.zeros_like, make_params(prior, 0))


def stack(trees: list[Params]) -> Params:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
