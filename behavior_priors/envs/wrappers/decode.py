"""Acting through a prior: the action is its latent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp

from behavior_priors.types import ActionSpec, Array, Env, Params, Prior, State

T = TypeVar("T")


def decoder(
    prior: Prior, params: Params, bound: float | None = None, residual: float | None = None
) -> Callable[[State, Array], Array]:
    """A prior as a function `(state, latent [latent_size]) -> action [action_size]`.

    With a `residual`, of `[latent_size + action_size]`: the latent and a correction of its action.
    """

    def decode(state: State, chosen: Array) -> Array:
        latent, rest = chosen[: prior.latent_size], chosen[prior.latent_size :]
        action = prior.decode(params, latent, prior.encode(params, state.observation))
        return action if residual is None else action + correction(rest, bound, residual)

    return decode


def correction(chosen: Array, bound: float | None, residual: float) -> Array:
    """The residual `[action_size]` of an action, within `residual`, that a policy has chosen.

    Residual policy learning (Silver et al. 2018, arXiv:1812.06298) on top of a prior.

    Args:
      chosen: `[action_size]`, within `bound`.
      bound: of what the policy chooses; None for the whole space, which a tanh then makes bounded.
      residual: the most that is added to an action.
    """
    return residual * (jnp.tanh(chosen) if bound is None else chosen / bound)


def decode_action(
    env: Env, prior: Prior, params: Params, bound: float | None, residual: float | None = None
) -> Env:
    """The environment whose action is a prior's latent: PARROT's way to act *through* a prior.

    The latent is decoded once, at the state in which it was chosen (Singh et al. 2021, algorithm 3,
    line 6); the learner stores and learns latents.

    Args:
      env: whose actions the prior generates.
      prior: can decode.
      params: the prior's, frozen.
      bound: of the latents, None for the whole space.
      residual: the most that the agent may add to each dimension of a decoded action, chosen beside
        the latent; None for nothing.

    Returns:
      An environment with the same states and another action.
    """
    decode = decoder(prior, params, bound, residual)
    size = prior.latent_size + (0 if residual is None else prior.action_size)

    def decoded(step: Callable[[State, Array], T]) -> Callable[[State, Array], T]:
        return lambda state, latent: step(state, decode(state, latent))

    return env._replace(
        step=decoded(env.step),
        step_then_reset=env.step_then_reset and decoded(env.step_then_reset),
        action_spec=ActionSpec(size, bound),
        demonstrate=None,
    )
