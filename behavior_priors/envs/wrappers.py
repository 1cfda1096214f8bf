"""Environments made of environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from behavior_priors.types import ActionSpec, Array, Env, Params, Prior, State

T = TypeVar("T")


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

    def decoded(step: Callable[[State, Array], T]) -> Callable[[State, Array], T]:
        def step_decoded(state: State, latent: Array) -> T:
            features = prior.encode(params, state.observation)
            return step(state, prior.decode(params, latent, features))

        return step_decoded

    return env._replace(
        step=decoded(env.step),
        step_then_reset=env.step_then_reset and decoded(env.step_then_reset),
        action_spec=ActionSpec(prior.latent_size, bound),
        demonstrate=None,
    )
