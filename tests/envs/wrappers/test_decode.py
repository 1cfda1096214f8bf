"""Acting through a prior: what is chosen, what is executed, and where a policy starts."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.wrappers.decode import decode_action
from behavior_priors.envs.wrappers.film import FRAME, film
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.types import ActionSpec, Env, Prior

BOUNDS = (None, 1.0, 2.0)


def absent(*_: Any) -> Any:
    raise AssertionError("not needed to act")


def affine_prior() -> Prior:
    """Two latents become one action: `(first + 3 second) scale + cue`; twice would be another."""
    return Prior(
        name="affine",
        latent_size=2,
        action_size=1,
        init=absent,
        encode=lambda params, observation: params["shift"] * observation["cue"],
        decode=lambda params, latent, features: (
            params["scale"] * (latent[..., :1] + 3.0 * latent[..., 1:]) + features
        ),
        loss=absent,
    )


PARAMS = {"scale": jnp.float32(2.0), "shift": jnp.float32(1.0)}


def recording_env() -> Env:
    """The probe of a rewarded action, which pays the action itself."""
    env = probes.observed_reward(bound=None).env

    def step(state: Any, action: Any) -> Any:
        return env.step(state, action)._replace(reward=action[0])

    return env._replace(step=step, demonstrate=absent)


@pytest.mark.parametrize("bound", BOUNDS)
def test_the_executed_action_is_the_latent_decoded_once(bound: float | None) -> None:
    env = recording_env()
    acted = decode_action(env, affine_prior(), PARAMS, bound)
    state = jax.jit(lambda k: reset_many(acted, k, 16))(jax.random.key(0))
    latent = jax.random.normal(jax.random.key(1), (16, 2)) * 5.0
    stepped = jax.vmap(acted.step)(state, latent)
    cue = state.observation["cue"][:, 0]
    assert set(np.asarray(cue)) == {-1.0, 1.0}
    expected = 2.0 * (latent[:, 0] + 3.0 * latent[:, 1]) + cue
    np.testing.assert_allclose(stepped.reward, expected, rtol=1e-6)
    # the bound is one of the policy, not of the wrapper
    assert np.abs(expected).max() > 10


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_residual_is_added_to_the_decoded_action_and_keeps_within_its_limit(
    bound: float | None,
) -> None:
    acted = decode_action(recording_env(), affine_prior(), PARAMS, bound, residual=0.5)
    assert acted.action_spec == ActionSpec(2 + 1, bound)
    state = acted.reset(jax.random.key(0))
    cue = float(state.observation["cue"][0])
    for chosen in (-1.0, 0.0, 0.5, 1.0):
        step = acted.step(state, jnp.array([0.25, -1.5, chosen]))
        added = 0.5 * (np.tanh(chosen) if bound is None else chosen / bound)
        np.testing.assert_allclose(step.reward, 2.0 * (0.25 - 4.5) + cue + added, rtol=1e-6)


def test_the_transition_holds_the_latent() -> None:
    acted = decode_action(recording_env(), affine_prior(), PARAMS, None)
    state = acted.reset(jax.random.key(0))
    latent = jnp.array([0.25, -1.5])
    _, transition, _ = step_and_reset(acted, state, latent)
    assert transition.action.tolist() == [0.25, -1.5]
    assert transition.reward == 2.0 * (0.25 - 4.5) + state.observation["cue"][0]


def test_only_the_action_is_another() -> None:
    env = recording_env()
    acted = decode_action(env, affine_prior(), PARAMS, 2.0)
    assert acted.action_spec == ActionSpec(2, 2.0)
    assert acted.demonstrate is None  # a demonstrator's actions are no latents
    assert (
        acted._replace(step=env.step, action_spec=env.action_spec, demonstrate=env.demonstrate)
        == env
    )


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_policy_over_latents_starts_as_the_base_distribution(bound: float | None) -> None:
    """Exactly N(0, I) without a bound, else `bound tanh` of it, whatever is observed."""
    env = recording_env()
    acted = decode_action(env, affine_prior(), PARAMS, bound)
    config = SACConfig(policy_widths=(8,), critic_widths=(8,))
    learner = make_sac(config, acted.observation_spec, acted.action_spec)
    policy = jax.jit(lambda k: learner.init(k).policy)(jax.random.key(0))
    observation = {"cue": jnp.linspace(-3.0, 3.0, 4096)[:, None]}
    latent = np.asarray(learner.act(policy, observation, jax.random.key(1), explore=True).action)
    assert latent.shape == (4096, 2)
    gaussian = latent if bound is None else np.arctanh(np.clip(latent / bound, -1 + 1e-6, 1 - 1e-6))
    if bound is not None:
        assert np.abs(latent).max() <= bound
        assert np.abs(latent).max() > 0.95 * bound
    # standard errors: 1 / sqrt(8192) and 1 / sqrt(2 * 8192)
    assert abs(gaussian.mean()) < 4 * 0.011
    assert abs(gaussian.std() - 1.0) < 4 * 0.008
    # the observation is not heard yet
    assert abs(np.corrcoef(gaussian[:, 0], observation["cue"][:, 0])[0, 1]) < 4 / 64
    greedy = learner.act(policy, observation, jax.random.key(1), explore=False).action
    assert (np.asarray(greedy) == 0).all()


def test_a_filmed_environment_is_the_same_one_with_images_that_no_spec_tells_of() -> None:
    env = make_env("point/sparse")
    filmed = film(env, 12, 9)
    assert filmed.observation_spec is env.observation_spec
    assert env.tasks is not None
    assert filmed.tasks is not None
    goal, action = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.5])
    render = env.render
    assert render is not None
    for plain, shown in (
        (env.reset(jax.random.key(0)), filmed.reset(jax.random.key(0))),
        (env.tasks.begin(goal, jax.random.key(0)), filmed.tasks.begin(goal, jax.random.key(0))),
    ):
        for state, other in ((plain, shown), (env.step(plain, action), filmed.step(shown, action))):
            image = other.observation[FRAME]
            assert (image.shape, image.dtype) == ((9, 12, 3), jnp.uint8)
            np.testing.assert_array_equal(image, render(state, 12, 9))
            rest = {name: x for name, x in other.observation.items() if name != FRAME}
            chex.assert_trees_all_equal(other._replace(observation=rest), state)
