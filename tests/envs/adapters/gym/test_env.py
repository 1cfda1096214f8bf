"""gymnasium's environments: every transition of known ones, and the ones that we did not write."""

from __future__ import annotations

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.adapters.gym.env import episode_seed, wrap_gym
from behavior_priors.envs.base import step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.types import State
from tests.envs.adapters.gym.counting import GONE, LIMIT, NUM_ENVS, Counting, make_counting, run


@pytest.fixture(autouse=True)
def forget_instances() -> None:
    Counting.made.clear()


def numbered_actions(steps: int, size: int = 2) -> np.ndarray:
    """`[T, N, size]`: actions that can be told apart, multiples of 1/64."""
    count = np.arange(steps * NUM_ENVS, dtype=np.float32).reshape(steps, NUM_ENVS, 1)
    return np.broadcast_to(count / 64.0, (steps, NUM_ENVS, size))


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("terminate_at", [0, 3])
def test_every_transition_over_several_ends(
    terminate_at: int, backend: str, monkeypatch: pytest.MonkeyPatch
):
    """By either way to call the host."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    steps, length = 11, terminate_at or LIMIT
    actions = numbered_actions(steps)
    env = make_counting(f"terminate_at={terminate_at}")
    initial, transition, stepped, after = run(env, actions)
    assert env.episode_length == LIMIT
    assert len(Counting.made) == NUM_ENVS

    time = np.arange(steps)[:, None] % length
    last = np.broadcast_to(time == length - 1, (steps, NUM_ENVS))
    np.testing.assert_array_equal(transition.reward, np.ones((steps, NUM_ENVS)))
    np.testing.assert_array_equal(transition.terminated, last & bool(terminate_at))
    np.testing.assert_array_equal(transition.truncated, last & (terminate_at == 0))
    assert transition.valid.all()
    np.testing.assert_array_equal(stepped.time, np.broadcast_to(time + 1, last.shape))
    np.testing.assert_array_equal(after.time, np.where(last, 0, time + 1))

    before, seen = transition.observation["observation"], transition.next_observation["observation"]
    np.testing.assert_array_equal(before[..., 2], np.broadcast_to(time, last.shape))
    np.testing.assert_array_equal(seen[..., 2], np.broadcast_to(time + 1, last.shape))
    np.testing.assert_array_equal(seen[..., 3], actions[..., 0])
    # within an episode what was drawn stays; the next one draws anew
    np.testing.assert_array_equal(seen[..., 0], before[..., 0])
    draws = before[::length, :, 0]
    assert len(np.unique(draws)) == draws.size
    begun = after.observation["observation"]
    np.testing.assert_array_equal(begun[:-1], before[1:])
    np.testing.assert_array_equal(begun[last][:, 3], 0.0)
    # the first instance has seen an episode more, in which its values were looked at
    np.testing.assert_array_equal(
        begun[..., 1] - initial.observation["observation"][:, 1],
        np.broadcast_to((np.arange(steps)[:, None] + 1) // length, last.shape),
    )


def test_whatever_makes_instances():
    made = []

    def make() -> gymnasium.Env:
        inner = gymnasium.make("Counting-v0", max_episode_steps=3, says_success=True)
        made.append(gymnasium.wrappers.TransformReward(inner, lambda reward: 2 * reward))
        return made[-1]

    env = wrap_gym(make, "mine/counting", side_by_side=5)
    assert (env.name, env.episode_length, env.side_by_side) == ("mine/counting", 3, 5)
    assert env.measures_success
    _, transition, _, _ = run(env, numbered_actions(4))
    assert len(made) == NUM_ENVS
    np.testing.assert_array_equal(transition.truncated[:, 0], [False, False, True, False])
    np.testing.assert_array_equal(transition.reward, np.full((4, NUM_ENVS), 2.0))
    with pytest.raises(UserError, match="mine/counting: side_by_side=0"):
        wrap_gym(make, "mine/counting", side_by_side=0)


def test_seeds_make_episodes_repeatable():
    env = make_counting()
    first = run(env, numbered_actions(9), seed=1)
    seeds = [made.seeds[-3:] for made in Counting.made]
    again = run(env, numbered_actions(9), seed=1)
    other = run(env, numbered_actions(9), seed=2)

    def drawn(result) -> np.ndarray:
        return result[1].observation["observation"][..., 0]

    np.testing.assert_array_equal(drawn(first), drawn(again))
    assert not np.isin(drawn(other), drawn(first)).any()
    # what was drawn is what gymnasium draws from these seeds
    by_hand = [[np.float32(np.random.default_rng(s).uniform()) for s in row] for row in seeds]
    assert sorted(map(tuple, drawn(first)[[0, 4, 8]].T)) == sorted(map(tuple, by_hand))
    assert len({seed for row in seeds for seed in row}) == 9


def test_the_seed_is_that_of_the_key():
    env = make_counting()
    key = jax.random.key(12)
    state = env.reset(key)
    (seed,) = {made.seeds[-1] for made in Counting.made}
    assert seed == int(episode_seed(key))
    draw = np.random.default_rng(seed).uniform()
    np.testing.assert_array_equal(state.observation["observation"][0], np.float32(draw))


def test_nested_vmaps_give_every_row_its_own_episode():
    env = make_counting()
    reset = jax.jit(jax.vmap(jax.vmap(env.reset)))
    states = reset(jax.random.split(jax.random.key(0), (2, 3)))
    actions = jnp.arange(12, dtype=jnp.float32).reshape(2, 3, 2) / 16.0
    states, transition, _ = jax.jit(jax.vmap(jax.vmap(lambda s, a: step_and_reset(env, s, a))))(
        states, actions
    )
    assert transition.next_observation["observation"].shape == (2, 3, 4)
    np.testing.assert_array_equal(
        transition.next_observation["observation"][..., 3], actions[..., 0]
    )
    assert len(np.unique(transition.observation["observation"][..., 0])) == 6
    assert len(np.unique(states.simulation.instance)) == len(Counting.made) == 6


@pytest.mark.parametrize("spoil", ["observation", "reward"])
def test_what_is_no_number_diverges(spoil: str):
    env = make_counting(f"spoil_at=2&spoil={spoil}")
    _, transition, stepped, after = run(env, numbered_actions(4))
    for step, diverged in enumerate([False, True, False, True]):
        assert (stepped.diverged[step] == diverged).all()
        assert (transition.truncated[step] == diverged).all()
        assert (transition.valid[step] != diverged).all()
    assert not transition.terminated.any()
    np.testing.assert_array_equal(transition.reward[:, 0], [1.0, 0.0, 1.0, 0.0])
    # the last finite one
    np.testing.assert_array_equal(
        transition.next_observation["observation"][1], transition.observation["observation"][1]
    )
    np.testing.assert_array_equal(after.time[:, 0], [1, 0, 1, 0])


def test_a_simulation_that_mujoco_gave_up_diverges():
    name = "gym/Pusher-v5"
    env = make_env(name)
    state = env.reset(jax.random.key(0))
    stepped = env.step(state, jnp.zeros(7))
    assert not stepped.diverged

    def blow_up(self, ctrl, n_frames):
        self.data.qvel[:] = 1e12
        return original(self, ctrl, n_frames)

    pusher = gymnasium.envs.mujoco.pusher_v5.PusherEnv
    original = pusher.do_simulation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pusher, "do_simulation", blow_up)
        broken = env.step(stepped, jnp.zeros(7))
    assert broken.diverged
    assert broken.truncated
    # gymnasium returns the model's defaults, finite ones
    np.testing.assert_array_equal(
        broken.observation["observation"], stepped.observation["observation"]
    )


def test_success_is_what_info_says():
    env = make_counting("says_success=true")
    _, _, stepped, after = run(env, numbered_actions(4))
    np.testing.assert_array_equal(stepped.success[:, 0], [False, False, True, True])
    np.testing.assert_array_equal(after.success[:, 0], [False, False, True, False])
    assert env.measures_success
    assert not make_counting().measures_success


def test_a_state_is_good_for_one_step():
    env = make_counting()
    state = env.reset(jax.random.key(0))
    env.step(state, jnp.zeros(2))
    with pytest.raises(Exception, match=GONE):
        jax.block_until_ready(env.step(state, jnp.zeros(2)))


def test_two_rows_of_one_state_are_noticed():
    env = make_counting()
    state = env.reset(jax.random.key(0))
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    with pytest.raises(Exception, match=GONE):
        jax.block_until_ready(jax.vmap(env.step)(twice, jnp.zeros((2, 2))))


def test_a_state_of_another_process_is_noticed():
    """Which has made as many instances, and stepped them as often."""
    state, other = (make_counting().reset(jax.random.key(0)) for _ in range(2))
    env = make_counting()
    env.reset(jax.random.key(0))
    assert int(state.simulation.instance) == int(other.simulation.instance) == 0
    for foreign in (state, other):
        with pytest.raises(Exception, match=GONE):
            jax.block_until_ready(env.step(foreign, jnp.zeros(2)))


def test_a_state_whose_episode_is_over_is_left_alone():
    env = make_counting("terminate_at=2")
    looked = len(Counting.made[0].actions)
    step = jax.jit(env.step)
    states = [env.reset(jax.random.key(0))]
    for _ in range(4):
        states.append(step(states[-1], jnp.zeros(2)))
    assert [int(state.time) for state in states] == [0, 1, 2, 2, 2]
    assert [float(state.reward) for state in states] == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert len(Counting.made[0].actions) == looked + 2
    assert states[-1].terminated
    np.testing.assert_array_equal(
        states[-1].observation["observation"], states[2].observation["observation"]
    )
    # its instance is reused; the old state then begins an episode on another one
    env.reset(jax.random.key(1))
    assert len(Counting.made) == 1
    fresh, transition, _ = step_and_reset(env, states[-1], jnp.zeros(2))
    assert len(Counting.made) == 2
    assert int(fresh.simulation.instance) == 1
    assert float(transition.reward) == 0.0


def test_rollout_is_gymnasium_by_hand():
    """Bit for bit, with float64 rounded to float32 and actions rescaled to [-2, 2]."""
    env = make_env("gym/Pusher-v5?max_episode_steps=15")
    key, episodes = jax.random.key(3), 2

    def policy(state: State, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (7,), minval=-1.2, maxval=1.2)

    result = jax.device_get(jax.jit(lambda key: rollout(env, policy, key, episodes))(key))
    np.testing.assert_array_equal(result.length, [15, 15])
    reset_key, _ = jax.random.split(key)
    by_hand = gymnasium.make("Pusher-v5", max_episode_steps=15)
    for episode, key in enumerate(jax.random.split(reset_key, episodes)):
        observation, _ = by_hand.reset(seed=int(episode_seed(key)))
        seen, rewards = [observation], []
        for action in result.action[episode]:
            action = np.float32(2.0) * np.clip(action, -1.0, 1.0)
            observation, reward, terminated, truncated, _ = by_hand.step(action)
            seen.append(observation)
            rewards.append(reward)
        assert truncated
        assert not terminated
        np.testing.assert_array_equal(result.observation["observation"][episode], np.float32(seen))
        np.testing.assert_array_equal(result.reward[episode], np.float32(rewards))


def test_two_equal_resets_begin_two_episodes():
    """Also where one program could do with one of them, as XLA sees it."""
    env = make_counting()
    reset = jax.jit(env.reset)
    one, other = jax.jit(lambda key: (reset(key), reset(key)))(jax.random.key(0))
    assert int(one.simulation.instance) != int(other.simulation.instance)
    assert one.observation["observation"][0] == other.observation["observation"][0]


def test_episodes_go_on_under_any_kind_of_key():
    env = make_counting()
    states = [env.reset(jax.random.key(0, impl="rbg"))]
    for _ in range(LIMIT):
        states.append(step_and_reset(env, states[-1], jnp.zeros(2))[0])
    assert states[-1].key.dtype == states[0].key.dtype
    assert int(states[-1].time) == 0
    assert states[-1].observation["observation"][0] != states[0].observation["observation"][0]


def test_two_devices_at_the_same_time_keep_apart():
    env = make_counting()
    go = jax.jit(lambda key: rollout(env, lambda state, key: jnp.zeros(2), key, NUM_ENVS))
    keys = [jax.device_put(jax.random.key(7), device) for device in jax.devices()[:2]]
    for _ in range(5):
        results = jax.device_get([go(key) for key in keys])  # both run before either is awaited
        seen, other = (result.observation["observation"] for result in results)
        np.testing.assert_array_equal(seen[..., 0], other[..., 0])
        assert len(np.unique(seen[..., 0])) == NUM_ENVS
        np.testing.assert_array_equal(
            seen[..., 2], np.broadcast_to(np.arange(LIMIT + 1), seen.shape[:2])
        )
    assert NUM_ENVS <= len(Counting.made) <= 2 * NUM_ENVS
