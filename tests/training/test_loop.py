"""The loop held to an environment whose every episode is known."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.envs.wrappers.decode import decode_action
from behavior_priors.errors import UserError
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.training.loop import Loop, LoopConfig, LoopState, make_loop
from behavior_priors.types import Env, Prior
from tests.training.walk import LENGTH, make_averager, make_walk

CONFIG = LoopConfig(
    steps=72,
    epoch_steps=24,
    num_envs=4,
    warmup_steps=32,
    updates_per_step=0.5,
    batch_size=8,
)


@pytest.fixture(scope="module")
def walked() -> tuple[list[LoopState], list[dict[str, Any]]]:
    """What training in the plain environment gives."""
    return train(make_walk())


def train(env: Env, config: LoopConfig = CONFIG, learner: Any = None) -> tuple[Any, list[Any]]:
    """The state after every epoch, on the host, and the metrics."""
    loop = make_loop(env, learner or make_averager(), config)
    return run(loop, config)


def run(loop: Loop, config: LoopConfig) -> tuple[list[LoopState], list[dict[str, Any]]]:
    state = jax.jit(loop.init)(jax.random.key(0))
    states, metrics = [], []
    for _ in range(config.steps // config.epoch_steps):
        state, epoch = loop.run_epoch(state)
        states.append(jax.tree.map(jnp.copy, state))  # the next epoch takes the buffers
        metrics.append({name: float(x) for name, x in epoch.items()})
    return states, metrics


def filled(state: LoopState) -> Any:
    """The transitions in replay, oldest first while it has not wrapped around."""
    rings = len(state.replay.size)
    there = np.arange(jax.tree.leaves(state.replay.data)[0].shape[1])[:, None] < state.replay.size

    def in_turns(x: Any) -> np.ndarray:
        """Rows of all rings in the order in which they were written, if none was left out."""
        rows = np.asarray(x).swapaxes(0, 1)
        return rows.reshape(-1, *rows.shape[2:])[np.asarray(there).reshape(-1)]

    assert there.shape[1] == rings
    return jax.tree.map(in_turns, state.replay.data)


def test_nothing_is_traced_after_the_first_epoch() -> None:
    traces = []
    env = make_walk(on_trace=lambda: traces.append(len(traces)))
    loop = make_loop(env, make_averager(), CONFIG)
    state = jax.jit(loop.init)(jax.random.key(0))
    state, _ = loop.run_epoch(state)
    after_first = len(traces)
    # Once for the buffer's shapes, once for the epoch itself.
    assert 1 <= after_first <= 2
    for _ in range(4):
        state, _ = loop.run_epoch(state)
    assert len(traces) == after_first


def test_a_learner_of_deep_networks_is_traced_no_more_often_either() -> None:
    traces = []
    env = make_walk(on_trace=lambda: traces.append(len(traces)))
    sac = SACConfig(policy_widths=(4,), critic_widths=(4,))
    learner = make_sac(sac, env.observation_spec, env.action_spec)
    updates = []

    def update(state: Any, batch: Any) -> Any:
        updates.append(len(updates))
        return learner.update(state, batch)

    loop = make_loop(env, learner._replace(update=update), CONFIG)
    state = jax.jit(loop.init)(jax.random.key(0))
    state, _ = loop.run_epoch(state)
    after_first = len(traces), len(updates)
    state, _ = loop.run_epoch(state)
    state, _ = loop.run_epoch(state)
    assert (len(traces), len(updates)) == after_first
    assert after_first[1] <= 2


def test_warm_up_makes_no_update_and_each_later_round_two(walked: Any) -> None:
    states, metrics = walked
    assert [int(s.steps) for s in states] == [24, 48, 72]
    # 32 steps of warm-up are 8 rounds of 4 environments; each of the other 10 updates twice.
    assert [int(s.learner.step) for s in states] == [0, 8, 20]
    assert make_loop(make_walk(), make_averager(), CONFIG).updates_per_epoch == 12
    assert states[0].learner.policy["mean"] == jax.random.normal(
        jax.random.split(jax.random.key(0), 3)[0]
    )
    assert math.isnan(metrics[0]["train/loss"])
    assert math.isnan(metrics[0]["train/mean"])
    # rewards are 1, 2 and 3
    assert 1.0 < metrics[1]["train/loss"] < 3.0


def test_metrics_are_means_over_updates_not_over_rounds() -> None:
    """The loss of update `n` is `n`: the second epoch makes the updates 0 to 7."""
    learner = make_averager(lambda step, mean, loss: (mean, step.astype(jnp.float32)))
    _, metrics = train(make_walk(), learner=learner)
    assert metrics[1]["train/loss"] == 3.5
    assert metrics[2]["train/loss"] == 13.5  # 8 to 19


def test_the_buffer_holds_every_transition_in_order(walked: Any) -> None:
    states, _ = walked
    assert [s.replay.size.tolist() for s in states] == [[6] * 4, [12] * 4, [18] * 4]
    data = filled(states[-1])
    time = data.observation["time"].reshape(18, 4)
    assert (time == (np.arange(18) % LENGTH)[:, None]).all()
    assert (data.next_observation["time"].reshape(18, 4) == time + 1).all()
    assert (data.reward.reshape(18, 4) == time + 1).all()
    assert (data.truncated.reshape(18, 4) == (time == LENGTH - 1)).all()
    assert not data.terminated.any()
    # what the action did is seen in the next observation, also where the episode ends
    place = data.next_observation["action"] - data.observation["action"]
    np.testing.assert_allclose(place, data.action, atol=1e-6)


def test_a_full_buffer_keeps_the_newest() -> None:
    config = LoopConfig(**{**CONFIG.__dict__, "replay_capacity": 20})
    states, _ = train(make_walk(), config)
    assert states[-1].replay.size.tolist() == [5] * 4
    # 18 = 3 * 5 + 3 rows of each ring were written: rows 0 to 2 are the newest
    rounds = np.concatenate([np.arange(15, 18), np.arange(13, 15)])
    time = states[-1].replay.data.observation["time"][..., 0]
    assert (np.asarray(time) == rounds % LENGTH).all()


def test_returns_and_successes_of_known_episodes(walked: Any) -> None:
    states, metrics = walked
    for epoch in metrics:
        assert epoch["episode/count"] == 8  # 6 steps of 4 environments are two episodes each
        assert epoch["episode/return"] == 6.0  # 1 + 2 + 3
        assert epoch["episode/diverged"] == 0
        assert epoch["episode/success"] * 8 in range(9)
    assert 0.2 < np.mean([epoch["episode/success"] for epoch in metrics]) < 0.8
    assert (np.asarray(states[-1].episode_return) == 0).all()


def test_an_epoch_without_an_end_says_so_and_returns_run_on() -> None:
    config = LoopConfig(
        steps=16, epoch_steps=8, num_envs=4, warmup_steps=16, updates_per_step=0.25, batch_size=2
    )
    states, metrics = train(make_walk(), config)
    assert metrics[0]["episode/count"] == 0
    assert math.isnan(metrics[0]["episode/return"])
    assert (np.asarray(states[0].episode_return) == 3).all()
    assert metrics[1]["episode/return"] == 6.0
    assert (np.asarray(states[1].episode_return) == 1).all()


def test_a_diverged_transition_is_counted_reset_and_never_learned_from() -> None:
    states, metrics = train(make_walk(diverges=True))
    diverged = sum(epoch["episode/diverged"] for epoch in metrics)
    ended = sum(epoch["episode/count"] for epoch in metrics)
    assert 0 < diverged < ended
    assert states[-1].replay.size.sum() == 72 - diverged
    data = filled(states[-1])
    for x in jax.tree.leaves(data):
        assert np.isfinite(x).all()
    assert data.valid.all()
    # lucky episodes end at their second step, which pays nothing and is no success
    total = sum(epoch["episode/return"] * epoch["episode/count"] for epoch in metrics)
    assert total == pytest.approx(1 * diverged + 6 * (ended - diverged))
    assert all(epoch["episode/success"] == 0 for epoch in metrics)
    # the next episode has begun
    assert np.isfinite(states[-1].envs.observation["time"]).all()
    assert not np.asarray(states[-1].envs.diverged).any()


def test_what_is_not_a_number_is_not_averaged_away() -> None:
    """One update of an epoch is enough, whatever the others say."""
    learner = make_averager(
        lambda step, mean, loss: (mean, jnp.where(step == 3, jnp.float32(jnp.nan), loss))
    )
    _, metrics = train(make_walk(), learner=learner)
    assert math.isnan(metrics[1]["train/loss"])
    assert math.isfinite(metrics[1]["train/mean"])
    assert math.isfinite(metrics[2]["train/loss"])


def test_termination_reaches_the_buffer() -> None:
    states, metrics = train(probes.deadline(2).env, learner=_cue_averager())
    data = filled(states[-1])
    assert (data.terminated == (data.observation["cue"][:, 0] == 0.5)).all()
    assert not data.truncated.any()
    assert metrics[0]["episode/return"] == 2.0


def _cue_averager() -> Any:
    learner = make_averager()

    def act(policy: Any, observation: Any, key: Any, *, explore: bool) -> Any:
        return learner.act(policy, {"time": observation["cue"]}, key, explore=explore)

    return learner._replace(act=act)


def test_replay_holds_the_latent_and_the_environment_executes_its_action() -> None:
    """`decode` is `2 latent + time + 1`; decoding twice, or acting by the latent, would differ."""

    def absent(*_: Any) -> Any:
        raise AssertionError("not needed to act")

    prior = Prior(
        name="affine",
        latent_size=1,
        action_size=1,
        init=absent,
        encode=lambda params, observation: params * observation["time"] + 1.0,
        decode=lambda params, latent, features: 2.0 * latent + params * features,
        loss=absent,
    )
    env = decode_action(make_walk(), prior, jnp.ones(()), None)
    states, _ = train(env)
    data = filled(states[-1])
    executed = data.next_observation["action"] - data.observation["action"]
    np.testing.assert_allclose(
        executed, 2.0 * data.action + data.observation["time"] + 1.0, atol=1e-5
    )
    # latents are noise around the policy's mean, actions are far from that
    assert abs(data.action.std() - 1.0) < 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 70}, "steps=70 should be a multiple of epoch_steps"),
        ({"epoch_steps": 18}, "epoch_steps=18 should be a multiple of num_envs"),
        ({"num_envs": 0}, "num_envs=0 should be at least 1"),
        ({"epoch_steps": 0}, "epoch_steps=0 should be at least 1"),
        ({"steps": -24}, "steps=-24 should be at least 1"),
        ({"batch_size": 0}, "batch_size=0 should be at least 1"),
        ({"warmup_steps": -1}, "warmup_steps=-1 should be at least 0"),
        ({"replay_capacity": 3}, "replay_capacity=3 should be at least num_envs, or none"),
        ({"replay_capacity": 0}, "replay_capacity=0 should be at least 1, or none"),
        ({"updates_per_step": 0.3}, "updates_per_step=0.3 should be such that times num_envs"),
        ({"updates_per_step": 0.0}, "updates_per_step=0.0 should be positive"),
        ({"updates_per_step": -1.0}, "updates_per_step=-1.0 should be positive"),
        ({"updates_per_step": math.inf}, "updates_per_step=inf should be a finite number"),
        ({"updates_per_step": math.nan}, "updates_per_step=nan should be a finite number"),
    ],
)
def test_a_config_that_does_not_fit_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make_loop(make_walk(), make_averager(), LoopConfig(**{**CONFIG.__dict__, **changes}))
    assert "\n" not in str(error.value)


def test_products_that_rounding_spoils_are_whole_all_the_same() -> None:
    assert 0.07 * 100 != 7  # else there is nothing to see here
    config = LoopConfig(steps=200, epoch_steps=200, num_envs=100, updates_per_step=0.07)
    assert make_loop(make_walk(), make_averager(), config).updates_per_epoch == 14
