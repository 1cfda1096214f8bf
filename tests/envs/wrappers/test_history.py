"""Environments that remember: what a policy meets is what a prior was shown of recordings."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.rollout import rollout
from behavior_priors.envs.wrappers.history import with_history
from behavior_priors.errors import UserError
from behavior_priors.history import HISTORY, History, past_steps
from behavior_priors.types import ActionSpec, ArraySpec, Env
from tests.training.walk import LENGTH, make_walk

SPEC = {"time": ArraySpec((1,), location=1.0, scale=2.0), "action": ArraySpec((1,))}


def walk(bound: float | None = None) -> Env:
    """A walk that observes the time and where it is, with scales of its own."""
    env = make_walk()
    return env._replace(observation_spec=SPEC, action_spec=ActionSpec(1, bound))


def test_past_steps_by_hand() -> None:
    observation = {"x": np.array([[1.0], [2.0], [3.0], [7.0], [8.0]], np.float32)}
    action = np.array([[10.0], [20.0], [30.0], [70.0], [80.0]], np.float32)
    spec = {"x": ArraySpec((1,), location=1.0, scale=2.0)}
    past = past_steps(History(("x",), 2), spec, observation, action, [3, 2])
    nothing = [0.0, 0.0]
    assert past.tolist() == [
        [nothing, nothing],
        [nothing, [0.0, 10.0]],
        [[0.0, 10.0], [0.5, 20.0]],
        [nothing, nothing],  # another episode
        [nothing, [3.0, 70.0]],
    ]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_what_is_met_is_what_recordings_show(length: int) -> None:
    history = History(("action", "time"), length)
    env = with_history(walk(), history)
    policy = lambda _, key: jax.random.uniform(key, (1,))  # noqa: E731
    episodes = jax.jit(lambda key: rollout(env, policy, key, 6))(jax.random.key(0))
    recorded = {n: np.asarray(x[:, :LENGTH]) for n, x in episodes.observation.items()}
    flat = {n: x.reshape(-1, *x.shape[2:]) for n, x in recorded.items()}
    action = np.asarray(episodes.action).reshape(-1, 1)
    own = {n: flat[n] for n in SPEC}
    expected = past_steps(history, SPEC, own, action, [LENGTH] * 6)
    np.testing.assert_allclose(flat[HISTORY], expected, atol=1e-6)
    assert np.abs(expected).max() > 0.1


def test_actions_are_remembered_as_they_are_executed() -> None:
    env = with_history(walk(bound=0.5), History(("time",), 1))
    state = env.step(env.reset(jax.random.key(0)), jnp.array([3.0]))
    assert state.observation[HISTORY].tolist() == [[-0.5, 0.5]]


@pytest.mark.parametrize("on_the_host", [False, True])
def test_a_new_episode_remembers_nothing_of_the_last(on_the_host: bool) -> None:
    plain = walk()
    if on_the_host:

        def both(state: Any, action: Any) -> Any:
            stepped = plain.step(state, action)
            over = stepped.terminated | stepped.truncated
            first = plain.reset(stepped.key)
            return stepped, jax.tree.map(
                lambda a, b: (
                    b if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else jnp.where(over, a, b)
                ),
                first,
                stepped,
            )

        plain = plain._replace(step_then_reset=both)
    env = with_history(plain, History(("time",), 2))
    states = reset_many(env, jax.random.key(1), 3)
    step = jax.jit(jax.vmap(lambda s, a: step_and_reset(env, s, a)))
    seen = []
    for _ in range(LENGTH + 1):
        states, transition, _ = step(states, jnp.full((3, 1), 0.25))
        seen.append(np.asarray(transition.observation[HISTORY])[0, :, 1].tolist())
        last = np.asarray(transition.next_observation[HISTORY])
    assert seen == [[0.0, 0.0], [0.0, 0.25], [0.25, 0.25], [0.0, 0.0]]
    assert last[0, :, 1].tolist() == [0.0, 0.25]


def test_images_and_names_that_are_not_there_are_refused() -> None:
    with pytest.raises(UserError, match="there is no observation 'wind'"):
        with_history(walk(), History(("wind",), 2))
    spec = SPEC | {"camera": ArraySpec((8, 8, 3), np.uint8)}
    with pytest.raises(UserError, match="camera is an image"):
        with_history(walk()._replace(observation_spec=spec), History(("camera",), 2))
    again = with_history(walk(), History(("time",), 2))
    with pytest.raises(UserError, match="has an observation of that name already"):
        with_history(again, History(("time",), 2))
