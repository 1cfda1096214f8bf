"""What happens at an episode's end."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs import probes
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.types import Array, Env, PRNGKey, State

STEPS = 9


def counted(env: Env, keys: list[tuple[int, ...]]) -> Env:
    """Notes the key of every episode that begins."""

    def reset(key: PRNGKey) -> State:
        jax.debug.callback(lambda x: keys.append(tuple(x.tolist())), jax.random.key_data(key))
        return env.reset(key)

    return env._replace(reset=reset)


def run(env: Env, states: State) -> tuple[State, Array]:
    """Steps environments `[N]`; also says which began anew, `[T, N]`."""

    def step(states: State, _: None) -> tuple[State, Array]:
        states, _, _ = jax.vmap(lambda s, a: step_and_reset(env, s, a))(states, jnp.zeros((3, 1)))
        return states, states.time == 0

    return jax.lax.scan(step, states, length=STEPS)


def test_nothing_is_reset_while_no_episode_is_over() -> None:
    env, keys = probes.time_limit().env, []
    noting = counted(env, keys)
    states = reset_many(env, jax.random.key(0), 3)
    states = states._replace(time=jnp.array([0, 0, 1], jnp.int32))
    after, began = jax.block_until_ready(jax.jit(lambda s: run(noting, s))(states))
    jax.effects_barrier()
    began = np.asarray(began)
    assert began.any(1).sum() == len(keys) / 3
    assert 0 < began.any(1).sum() < STEPS
    assert (began.sum(0) == STEPS // env.episode_length).any()
    # one after the other they do the same
    for row in range(3):
        one = jax.tree.map(lambda x, row=row: x[row], states)
        for t in range(STEPS):
            one, _, _ = step_and_reset(env, one, jnp.zeros(1))
            assert bool(one.time == 0) == began[t, row]
        last = jax.tree.map(lambda x, row=row: x[row], after)
        jax.tree.map(np.testing.assert_array_equal, strip(one), strip(last))


def test_what_no_environment_has_of_its_own_may_be_shared() -> None:
    env = probes.time_limit().env
    states = reset_many(env, jax.random.key(0), 3)
    shared = states._replace(success=jnp.zeros((), bool))
    axes = jax.tree.map(lambda _: 0, states)._replace(success=None)
    step = jax.vmap(lambda s: step_and_reset(env, s, jnp.zeros(1))[0], in_axes=(axes,))
    jax.tree.map(
        np.testing.assert_array_equal,
        strip(step(shared)),
        strip(jax.vmap(lambda s: step_and_reset(env, s, jnp.zeros(1))[0])(states)),
    )


def strip(state: State) -> State:
    """With numbers for a key."""
    return state._replace(key=jax.random.key_data(state.key))
