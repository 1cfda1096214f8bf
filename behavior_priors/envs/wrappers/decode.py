"""Acting through a prior: the action is its latent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from behavior_priors.types import ActionSpec, Array, Env, Params, Prior, State

T = TypeVar("T")


def decoder(prior: Prior, params: Params) -> Callable[[State, Array], Array]:
    """A prior as a function `(state, latent [latent_size]) -> action [action_size]`."""

    def decode(state: State, latent: Array) -> Array:
        return prior.decode(params, latent, prior.encode(params, state.observation))

    return decode


def decode_action(env: Env, prior: Prior, params: Params, bound: float | None) -> Env:
    """The environment whose action is a prior's latent: PARROT's way to act *through* a prior.

    The latent is decoded once, at the state in which it was chosen (Singh et al. 2021, algorithm 3,
    line 6); the learner stores and learns latents.

    Args:
      env: whose actions the prior generates.
      prior: can decode.
      params: the prior's, frozen.
      bound: of the latents, None for the whole space.

    Returns:
      An environment with the same states and another action.
    """
    decode = decoder(prior, params)

    def decoded(step: Callable[[State, Array], T]) -> Callable[[State, Array], T]:
        return lambda state, latent: step(state, decode(state, latent))

    return env._replace(
        step=decoded(env.step),
        step_then_reset=env.step_then_reset and decoded(env.step_then_reset),
        action_spec=ActionSpec(prior.latent_size, bound),
        demonstrate=None,
    )
