"""The on-policy loop held to an environment whose every episode is known."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.learner import OnPolicyLearner
from behavior_priors.learners.ppo import PPOConfig, make_ppo
from behavior_priors.training.evaluate import make_evaluate
from behavior_priors.training.loop import Loop
from behavior_priors.training.metrics import Stopwatch, read_jsonl
from behavior_priors.training.on_policy import OnPolicyConfig, make_on_policy_loop
from behavior_priors.training.run import RunConfig, run_loop
from behavior_priors.types import Env, UserError
from tests.training.test_run import Killed, killer, same
from tests.training.walk import AverageState, make_averager, make_walk

CONFIG = OnPolicyConfig(steps=60, epoch_steps=20, num_envs=4, unroll_length=5)
PPO = PPOConfig(policy_widths=(4,), value_widths=(4,), epochs=2, minibatches=2)


def make_recorder() -> OnPolicyLearner:
    """Follows the mean of its actions, and gives what it has seen for metrics."""
    averager = make_averager()

    def choose(policy: Any, observation: Any, key: Any) -> tuple[Any, Any]:
        action = averager.act(policy, observation, key, explore=True)
        return action, {"time": observation["time"], "mean": policy["mean"]}

    def update(state: AverageState, transitions: Any, notes: Any) -> tuple[AverageState, Any]:
        after, _ = averager.update(state, transitions)
        return after, {"transitions": transitions, "notes": notes, "mean": after.policy["mean"]}

    # notes are of every environment
    def noted(policy: Any, observation: Any, key: Any) -> tuple[Any, Any]:
        action, notes = choose(policy, observation, key)
        return action, jax.tree.map(lambda x: jnp.broadcast_to(x, (4, 1)), notes)

    return OnPolicyLearner(averager.init, noted, update, averager.act, epochs=3, minibatches=2)


def run(
    loop: Loop, epochs: int = 3, key: jax.Array | None = None
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The state after every epoch, and the metrics, on the host."""
    state = jax.jit(loop.init)(jax.random.key(0) if key is None else key)
    states, metrics = [], []
    for _ in range(epochs):
        state, epoch = loop.run_epoch(state)
        states.append(jax.tree.map(jnp.copy, state))  # the next epoch takes the buffers
        metrics.append(jax.device_get(epoch))
    return states, metrics


@pytest.fixture(scope="module")
def walked() -> tuple[list[Any], list[dict[str, Any]]]:
    """Three epochs of one round each, of 5 steps of 4 environments."""
    return run(make_on_policy_loop(make_walk(), make_recorder(), CONFIG))


def test_steps_and_updates_are_counted(walked: Any) -> None:
    states, _ = walked
    assert [int(s.steps) for s in states] == [20, 40, 60]
    assert [int(s.learner.step) for s in states] == [1, 2, 3]
    loop = make_on_policy_loop(make_walk(), make_recorder(), CONFIG)
    assert loop.updates_per_epoch == 6  # 3 epochs of 2 minibatches
    halves = dataclasses.replace(CONFIG, epoch_steps=60)
    assert make_on_policy_loop(make_walk(), make_recorder(), halves).updates_per_epoch == 18
    env = make_walk()._replace(steps_per_action=5)
    five = dataclasses.replace(CONFIG, steps=300, epoch_steps=100)
    loop = make_on_policy_loop(env, make_recorder(), five)
    state, _ = jax.eval_shape(loop.run_epoch, jax.eval_shape(loop.init, jax.random.key(0)))
    assert state.steps.shape == ()
    assert loop.updates_per_epoch == 6


def test_a_round_is_what_happened_in_order(walked: Any) -> None:
    _, metrics = walked
    for epoch, row in enumerate(metrics):
        seen = row["train/transitions"]
        time = np.arange(5 * epoch, 5 * epoch + 5)[:, None] % 3
        assert (seen.observation["time"][..., 0] == time).all()
        # the terminal observation is kept, and the next row begins another episode
        assert (seen.next_observation["time"][..., 0] == time + 1).all()
        assert (seen.reward == time + 1).all()
        assert (seen.truncated == (time == 2)).all()
        assert not seen.terminated.any()
        moved = seen.next_observation["action"] - seen.observation["action"]
        np.testing.assert_allclose(moved, seen.action, atol=1e-6)
        assert (row["train/notes"]["time"] == seen.observation["time"]).all()


def test_a_round_is_made_by_the_policy_of_the_round_before(walked: Any) -> None:
    states, metrics = walked
    for before, row in zip(states, metrics[1:], strict=False):
        assert (row["train/notes"]["mean"] == before.learner.policy["mean"]).all()


def test_episodes_run_on_through_rounds(walked: Any) -> None:
    states, metrics = walked
    # 5, 10 and 15 steps are 1, 3 and 5 whole episodes of each environment
    assert [row["episode/count"] for row in metrics] == [4, 8, 8]
    assert [row["episode/return"] for row in metrics] == [6.0, 6.0, 6.0]  # 1 + 2 + 3
    assert [row["episode/diverged"] for row in metrics] == [0, 0, 0]
    assert all(0 <= row["episode/success"] <= 1 for row in metrics)
    returns = [np.asarray(s.episode_return).tolist() for s in states]
    assert returns == [[3.0] * 4, [1.0] * 4, [0.0] * 4]


def test_rounds_of_an_epoch_are_the_same_as_epochs_of_a_round(walked: Any) -> None:
    states, metrics = walked
    whole = dataclasses.replace(CONFIG, epoch_steps=60)
    (last,), (row,) = run(make_on_policy_loop(make_walk(), make_recorder(), whole), 1)
    assert int(last.steps) == 60
    np.testing.assert_allclose(last.learner.policy["mean"], states[-1].learner.policy["mean"])
    np.testing.assert_allclose(
        row["train/mean"], np.mean([m["train/mean"] for m in metrics]), rtol=1e-6
    )
    assert row["episode/count"] == 20
    assert row["episode/return"] == 6.0


def test_what_diverged_is_counted_and_marked() -> None:
    states, metrics = run(make_on_policy_loop(make_walk(diverges=True), make_recorder(), CONFIG))
    invalid = sum((~row["train/transitions"].valid).sum() for row in metrics)
    assert 0 < invalid == sum(row["episode/diverged"] for row in metrics)
    assert all(row["episode/success"] == 0 for row in metrics)
    assert np.isfinite(states[-1].envs.observation["time"]).all()
    assert np.isfinite(states[-1].episode_return).all()


def make_ppo_loop(env: Env, **changes: Any) -> tuple[OnPolicyLearner, Loop]:
    learner = make_ppo(PPO, env.observation_spec, env.action_spec, **changes)
    return learner, make_on_policy_loop(env, learner, CONFIG)


def test_ppo_survives_divergence_and_is_traced_once() -> None:
    traces: list[int] = []
    env = make_walk(diverges=True, on_trace=lambda: traces.append(len(traces)))
    _, loop = make_ppo_loop(env)
    state = jax.jit(loop.init)(jax.random.key(0))
    state, metrics = loop.run_epoch(state)
    after_first = len(traces)
    assert after_first == 1
    for _ in range(2):
        state, metrics = loop.run_epoch(state)
    assert len(traces) == after_first
    assert float(metrics["episode/diverged"]) > 0
    for x in jax.tree.leaves((state.learner.policy, state.learner.value)):
        assert np.isfinite(x).all()
    assert all(np.isfinite(x) for name, x in metrics.items() if name.startswith("train/"))
    assert int(state.learner.step) == 12  # 3 rounds of 2 epochs of 2 minibatches


def test_it_starts_from_a_given_policy() -> None:
    """One that knows the best action from the start, and is sure of it."""
    env = probes.rewarded_action().env
    learner, _ = make_ppo_loop(env)
    given = jax.jit(learner.init)(jax.random.key(5)).policy
    head = {**given["params"]["MLP_0"]["Dense_1"], "bias": jnp.array([np.arctanh(0.5), -4.0])}
    given = {"params": {"MLP_0": {**given["params"]["MLP_0"], "Dense_1": head}}}
    _, loop = make_ppo_loop(env, initial_policy=given)
    for (state,), (metrics,) in (run(loop, 1), run(loop, 1, jax.random.key(1))):
        assert float(metrics["episode/return"]) > 0.99
        assert float(metrics["episode/count"]) == 20
        assert int(state.learner.step) == 4


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_that_is_killed_ends_like_one_that_is_not(
    epoch: int, runnable: Any, tmp_path: Path
) -> None:
    learn, expected, text = runnable
    with pytest.raises(Killed):
        learn(tmp_path, kill_at=epoch)
    same(learn(tmp_path), expected)
    assert (tmp_path / "metrics.jsonl").read_text() == text


@pytest.fixture(scope="module")
def runnable(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that trains in a folder, what it ends with, and the metrics that it writes."""
    env = make_walk()
    learner, loop = make_ppo_loop(env)
    evaluate = make_evaluate(env, learner, 2, stochastic=False)

    def learn(folder: Path, kill_at: int | None = None) -> Any:
        return run_loop(
            folder,
            "walk",
            loop,
            CONFIG,
            evaluate if kill_at is None else killer(evaluate, kill_at, after=False),
            jax.random.key(7),
            run=RunConfig(checkpoint_every=1, eval_every=1, eval_episodes=2),
            stopwatch=Stopwatch(),
            flags={},
        )

    folder = tmp_path_factory.mktemp("uninterrupted")
    state = learn(folder)
    rows = read_jsonl(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [20, 40, 60]
    # every round is learned from
    assert all(np.isfinite(row["train/value_loss"]) for row in rows)
    assert all("eval/success_rate" in row for row in rows)
    return learn, state, (folder / "metrics.jsonl").read_text()


def test_a_round_without_sense_is_seen_by_the_run(tmp_path: Path) -> None:
    env = make_walk()
    learner = make_ppo(PPO, env.observation_spec, env.action_spec)

    def spoilt(state: Any, transitions: Any, notes: Any) -> Any:
        state, metrics = learner.update(state, transitions, notes)
        return state, metrics | {"value_loss": jnp.float32(jnp.nan)}

    loop = make_on_policy_loop(env, learner._replace(update=spoilt), CONFIG)
    arguments = {"run": RunConfig(eval_every=0), "stopwatch": Stopwatch(), "flags": {}}
    with pytest.raises(UserError, match="walk: train/value_loss became nan between steps 0 and 20"):
        run_loop(tmp_path, "walk", loop, CONFIG, None, jax.random.key(7), **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 50}, "steps must be a multiple of epoch_steps, got 50"),
        ({"epoch_steps": 30}, r"epoch_steps must be a multiple of num_envs \* unroll_length = 20"),
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"unroll_length": 0}, "unroll_length must be at least 1, got 0"),
        (
            {"num_envs": 3, "epoch_steps": 15},
            "unroll_length must be such that times num_envs it is a multiple of the learner's 2 "
            "minibatches, got 5",
        ),
    ],
)
def test_a_config_that_does_not_fit_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make_on_policy_loop(make_walk(), make_recorder(), dataclasses.replace(CONFIG, **changes))
    assert "\n" not in str(error.value)
