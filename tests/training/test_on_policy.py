"""The on-policy loop held to an environment whose every episode is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.evaluation.evaluate import make_evaluate
from behavior_priors.learner import Choice, OnPolicyLearner
from behavior_priors.learners.ppo import make_ppo
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.metrics import read_jsonl
from behavior_priors.runs.run import RunConfig, run_loop
from behavior_priors.training.loop import Loop
from behavior_priors.training.on_policy import OnPolicyConfig, make_on_policy_loop
from tests.runs.test_run import Killed, killer, same
from tests.training.walk import AverageState, make_averager, make_walk

CONFIG = OnPolicyConfig(steps=60, epoch_steps=20, num_envs=4, unroll_length=5)
PPO = PPOConfig(policy_widths=(), value_widths=(), epochs=2, minibatches=2)


def make_follower(spoil: Any = lambda step, mean, loss: (mean, loss)) -> OnPolicyLearner:
    """Follows the mean of its actions; its notes are the policy that it acted by."""
    averager = make_averager(spoil)

    def act(policy: Any, observation: Any, key: Any, *, explore: bool) -> Choice:
        action, _ = averager.act(policy, observation, key, explore=explore)
        return Choice(action, jnp.broadcast_to(policy["mean"], action.shape[:1]))

    return OnPolicyLearner(averager.init, averager.update, act, epochs=3, minibatches=2)


def make_recorder() -> OnPolicyLearner:
    """Gives what it has seen for metrics."""
    follower = make_follower()

    def update(state: AverageState, transitions: Any) -> tuple[AverageState, Any]:
        state, metrics = follower.update(state, transitions)
        seen = {name: getattr(transitions, name) for name in SEEN}
        seen["time"] = transitions.observation["time"][..., 0]
        seen["place"] = transitions.observation["action"][..., 0]
        seen["next_time"] = transitions.next_observation["time"][..., 0]
        seen["next_place"] = transitions.next_observation["action"][..., 0]
        return state, {**metrics, **seen, "notes": transitions.notes}

    return follower._replace(update=update)


SEEN = ("action", "reward", "terminated", "truncated", "valid")


def run(loop: Loop, epochs: int = 3) -> tuple[list[Any], list[dict[str, Any]]]:
    """The state after every epoch, and the metrics, on the host."""
    state = jax.jit(loop.init)(jax.random.key(0))
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
    # a skill of five steps counts as five steps
    env = make_walk()._replace(steps_per_action=5)
    five = dataclasses.replace(CONFIG, steps=200, epoch_steps=100)
    loop = make_on_policy_loop(env, make_follower(), five)
    states, _ = run(loop, 2)
    assert [int(s.steps) for s in states] == [100, 200]
    assert loop.updates_per_epoch == 6


def test_a_round_is_what_happened_in_order(walked: Any) -> None:
    _, metrics = walked
    for epoch, row in enumerate(metrics):
        seen = {name.removeprefix("train/"): x for name, x in row.items()}
        time = np.arange(5 * epoch, 5 * epoch + 5)[:, None] % 3
        assert (seen["time"] == time).all()
        # the terminal observation is kept, and the next row begins another episode
        assert (seen["next_time"] == time + 1).all()
        assert (seen["reward"] == time + 1).all()
        assert (seen["truncated"] == (time == 2)).all()
        assert not seen["terminated"].any()
        moved = seen["next_place"] - seen["place"]
        np.testing.assert_allclose(moved, seen["action"][..., 0], atol=1e-6)


def test_a_round_is_made_by_the_policy_of_the_round_before(walked: Any) -> None:
    states, metrics = walked
    for before, row in zip(states, metrics[1:], strict=False):
        assert row["train/notes"].shape == (5, 4)
        assert (row["train/notes"] == before.learner.policy["mean"]).all()


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
    (last,), (row,) = run(make_on_policy_loop(make_walk(), make_follower(), whole), 1)
    assert int(last.steps) == 60
    np.testing.assert_allclose(last.learner.policy["mean"], states[-1].learner.policy["mean"])
    np.testing.assert_allclose(
        row["train/mean"], np.mean([m["train/mean"] for m in metrics]), rtol=1e-6
    )
    assert row["episode/count"] == 20
    assert row["episode/return"] == 6.0


def test_what_diverged_is_counted_and_marked() -> None:
    states, metrics = run(make_on_policy_loop(make_walk(diverges=True), make_recorder(), CONFIG))
    invalid = sum((row["train/valid"] == 0).sum() for row in metrics)
    assert 0 < invalid == sum(row["episode/diverged"] for row in metrics)
    assert all(row["episode/success"] == 0 for row in metrics)
    assert np.isfinite(states[-1].envs.observation["time"]).all()
    assert np.isfinite(states[-1].episode_return).all()


def test_nothing_is_traced_after_the_first_epoch() -> None:
    traces: list[int] = []
    env = make_walk(on_trace=lambda: traces.append(len(traces)))
    run(make_on_policy_loop(env, make_follower(), CONFIG))
    assert len(traces) == 1


class Runnable(NamedTuple):
    """A run of PPO: what does it in a folder, what it starts from, ends with and writes."""

    loop: Loop
    learn: Any
    given: Any
    final: Any
    text: str


@pytest.fixture(scope="module")
def runnable(tmp_path_factory: pytest.TempPathFactory) -> Runnable:
    """Some of the experience diverges, which is not to be learned from."""
    env = make_walk(diverges=True)
    given = {
        "params": {
            "MLP_0": {
                "Dense_0": {
                    "kernel": jnp.array([[0.5, 0.25], [-0.25, 0.0]]),
                    "bias": jnp.array([0.0, -1.0]),
                }
            }
        }
    }
    learner = make_ppo(PPO, env.observation_spec, env.action_spec, initial_policy=given)
    loop = make_on_policy_loop(env, learner, CONFIG)
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
    assert sum(row["episode/diverged"] for row in rows) > 0
    assert int(state.learner.step) == 12  # 3 rounds of 2 epochs of 2 minibatches
    return Runnable(loop, learn, given, state, (folder / "metrics.jsonl").read_text())


def test_it_starts_from_a_given_policy(runnable: Runnable) -> None:
    for seed in range(2):
        state = jax.jit(runnable.loop.init)(jax.random.key(seed))
        same(state.learner.policy, runnable.given)
    # and goes on from there, which leaves what was given as it was
    kernel = runnable.final.learner.policy["params"]["MLP_0"]["Dense_0"]["kernel"]
    given = runnable.given["params"]["MLP_0"]["Dense_0"]["kernel"]
    assert 0.0 < np.abs(kernel - given).max() < 0.1


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_that_is_killed_ends_like_one_that_is_not(
    epoch: int, runnable: Runnable, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        runnable.learn(tmp_path, kill_at=epoch)
    same(runnable.learn(tmp_path), runnable.final)
    assert (tmp_path / "metrics.jsonl").read_text() == runnable.text


def test_a_round_without_sense_is_seen_by_the_run(tmp_path: Path) -> None:
    learner = make_follower(lambda step, mean, loss: (mean, jnp.float32(jnp.nan)))
    loop = make_on_policy_loop(make_walk(), learner, CONFIG)
    arguments = {"run": RunConfig(eval_every=0), "stopwatch": Stopwatch(), "flags": {}}
    with pytest.raises(UserError, match="walk: train/loss became nan between steps 0 and 20"):
        run_loop(tmp_path, "walk", loop, CONFIG, None, jax.random.key(7), **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 50}, "steps=50 should be a multiple of epoch_steps"),
        (
            {"epoch_steps": 30},
            r"epoch_steps=30 should be .* num_envs \* unroll_length = 20",
        ),
        ({"num_envs": 0}, "num_envs=0 should be at least 1"),
        ({"unroll_length": 0}, "unroll_length=0 should be at least 1"),
        (
            {"num_envs": 3, "epoch_steps": 15},
            "unroll_length=5 should be such that times num_envs it is a multiple of the learner's "
            "2 minibatches",
        ),
    ],
)
def test_a_config_that_does_not_fit_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make_on_policy_loop(make_walk(), make_recorder(), dataclasses.replace(CONFIG, **changes))
    assert "\n" not in str(error.value)
