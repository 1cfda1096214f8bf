"""Small flows, observations, parameters and checks that the tests of coupling flows share."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.priors.coupling_flow import CouplingFlowConfig
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.priors.spline import SplineConfig, make_spline
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

SMALL_SPLINE = SplineConfig(
    observation=("pose", "gripper"), encoder_widths=(16,), conditioner_widths=(16,)
)

TINY_SPLINE = dataclasses.replace(SMALL_SPLINE, couplings=2)

SHAPES = {
    "default": SMALL,
    "unbounded": dataclasses.replace(SMALL, log_scale_bound=None, final_init="uniform"),
    "squashed": dataclasses.replace(SMALL, squash=True, squash_limit=0.9999, log_scale_bound=1.0),
    "raw observation": dataclasses.replace(SMALL, encoder_widths=(), couplings=3),
    "two hidden layers": dataclasses.replace(SMALL, conditioner_widths=(16, 16), couplings=2),
}

BOUND = 1.5

HALF_LOG_2PI = 0.9189385


def make_observation(seed: int, *batch: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=(*batch, *spec.shape)), jnp.float32)
        for name, spec in SPEC.items()
    }


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def make_flow(config: CouplingFlowConfig, size: int, bound: float | None = 1.0) -> Prior:
    make: Any = make_spline if isinstance(config, SplineConfig) else make_real_nvp
    return make(config, SPEC, ActionSpec(size, bound))


def make_prior(config: CouplingFlowConfig, size: int, bound: float | None = 1.0) -> Any:
    """A prior whose functions are compiled, which is faster than running them step by step."""
    prior = make_flow(config, size, bound)
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


def check_against_autodiff_jacobians(prior: Any, size: int, spread: float = 0.5) -> jax.Array:
    """Holds inverse and likelihood against autodiff, under twelve seeds' arbitrary parameters.

    Returns:
      The actions `[12, size]` that Gaussian latents with the given spread were decoded to.
    """

    @jax.jit
    @jax.vmap
    def check(params: Params, observation: Any, z: jax.Array) -> dict[str, jax.Array]:
        features = prior.encode(params, observation)
        action = prior.decode(params, z, features)
        jacobian = jax.jacfwd(lambda latent: prior.decode(params, latent, features))(z)
        latent = prior.invert(params, action, features)
        return {
            "action": action,
            "latent": latent,
            "restored": prior.decode(params, latent, features),
            "log_prob": prior.log_prob(params, action, features),
            "jacobian": jacobian,
        }

    seeds = range(12)
    params = stack([make_params(prior, seed) for seed in seeds])
    z = spread * normal(0, len(seeds), size)
    found = check(params, make_observation(1, len(seeds)), z)
    assert found["action"].shape == (12, size)
    assert not np.allclose(found["action"], z, atol=0.1)
    np.testing.assert_allclose(found["latent"], z, atol=2e-3)
    np.testing.assert_allclose(found["restored"], found["action"], atol=1e-4)
    log_base = -0.5 * (z**2).sum(-1) - size * HALF_LOG_2PI
    log_det = np.linalg.slogdet(np.asarray(found["jacobian"], np.float64))[1]
    np.testing.assert_allclose(found["log_prob"], log_base - log_det, atol=5e-3)
    return found["action"]


def total_probability(prior: Any, end: float) -> float:
    """What a density over two dimensions comes to from `-end` to `end`, by a sum over a grid."""
    params = make_params(prior, 2)
    edges = np.linspace(-end, end, 801)
    middles = jnp.asarray(0.5 * (edges[1:] + edges[:-1]), jnp.float32)
    grid = jnp.stack(jnp.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    log_prob = prior.log_prob(params, grid, prior.encode(params, make_observation(0)))
    return np.exp(np.asarray(log_prob, np.float64)).sum() * (edges[1] - edges[0]) ** 2
