"""Exploring with a prior: how many of the actions are its own, and that they are learned from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.training.exploring import ExploreConfig, make_explore
from behavior_priors.training.loop import LoopConfig, make_loop
from behavior_priors.types import Array, Observation, PRNGKey
from tests.training import test_loop
from tests.training.walk import make_averager, make_walk

ROWS = 40_000


def draw(observation: Observation, key: PRNGKey) -> Array:
    return 3.0 + 0.0 * jax.random.normal(key, (len(observation["x"]), 1))


def share(config: ExploreConfig, steps: int, bound: float | None = None) -> tuple[float, float]:
    """The share of the prior's actions, and what they are."""
    explore = make_explore(config, draw, bound)
    observation, chosen = {"x": jnp.zeros(ROWS)}, jnp.full((ROWS, 1), -1.0)
    action = np.asarray(explore(chosen, observation, jnp.int32(steps), jax.random.key(steps)))
    other = action[action[:, 0] != -1.0]
    return len(other) / ROWS, float(other.mean()) if len(other) else 0.0


@pytest.mark.parametrize(
    ("config", "steps", "expected"),
    [
        (ExploreConfig(share=0.0), 0, 0.0),
        (ExploreConfig(share=1.0), 10**6, 1.0),
        (ExploreConfig(share=0.3), 0, 0.3),
        (ExploreConfig(share=0.3), 10**6, 0.3),
        (ExploreConfig(share=0.8, decay_steps=1000), 0, 0.8),
        (ExploreConfig(share=0.8, decay_steps=1000), 250, 0.6),
        (ExploreConfig(share=0.8, decay_steps=1000), 5000, 0.0),
        (ExploreConfig(share=0.8, decay_steps=1000, end_share=0.2), 500, 0.5),
        (ExploreConfig(share=0.0, decay_steps=1000, end_share=1.0), 750, 0.75),
    ],
)
def test_the_share_is_what_is_asked_for(config: ExploreConfig, steps: int, expected: float) -> None:
    found, _ = share(config, steps)
    # four standard errors of a share of 40 000
    assert abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / ROWS)


def test_actions_of_the_prior_are_kept_within_bounds() -> None:
    assert share(ExploreConfig(), 0, bound=1.0)[1] == 1.0
    assert share(ExploreConfig(), 0, bound=None)[1] == 3.0


def test_shares_outside_of_0_and_1_are_refused() -> None:
    with pytest.raises(UserError, match=r"share=1\.5 should be in"):
        make_explore(ExploreConfig(share=1.5), draw, None)


def test_what_is_stored_is_what_was_done() -> None:
    """The walk observes the sum of its actions, which says what was executed."""
    config: LoopConfig = test_loop.CONFIG
    env = make_walk()
    size = env.action_spec.size

    def foreign(observation: Observation, key: PRNGKey) -> Array:
        del key
        rows = jax.tree.leaves(observation)[0].shape[0]
        return jnp.full((rows, size), 0.125)

    explore = make_explore(ExploreConfig(share=0.5), foreign, None)
    states, _ = test_loop.run(make_loop(env, make_averager(), config, explore), config)
    stored = test_loop.filled(states[-1])
    is_prior = (stored.action == 0.125).all(-1)
    assert 0.25 < is_prior.mean() < 0.75
    moved = stored.next_observation["action"] - stored.observation["action"]
    np.testing.assert_allclose(moved, stored.action, atol=1e-5)
    plain, _ = test_loop.run(make_loop(env, make_averager(), config), config)
    assert (test_loop.filled(plain[-1]).action != 0.125).all()
