"""Environments made of environments."""

from __future__ import annotations

from behavior_priors.types import ActionSpec, Array, Env, Params, Prior, State


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

    def step(state: State, latent: Array) -> State:
        features = prior.encode(params, state.observation)
        return env.step(state, prior.decode(params, latent, features))

    return env._replace(
        step=step, action_spec=ActionSpec(prior.latent_size, bound), demonstrate=None
    )
