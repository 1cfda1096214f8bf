"""Environments that give NaN or absurd numbers now and then, on every path to a learner."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.data.collect import collect
from behavior_priors.errors import UserError
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.run import RunConfig, run_loop
from behavior_priors.training.experience import drop_zeros, explain_diverged
from behavior_priors.training.loop import make_loop
from behavior_priors.training.meta.experience import make_live
from behavior_priors.training.on_policy import make_on_policy_loop
from behavior_priors.types import Array, Env, State, TaskBelief
from tests.training import test_loop, test_on_policy
from tests.training.meta.tellers import numbered_tasks, teller
from tests.training.test_loop import filled, train
from tests.training.walk import make_averager, make_walk


def make_careless() -> Env:
    """The walk; in lucky episodes the second step observes NaN, in others it pays 1e38."""
    env = make_walk()

    def step(state: State, action: Array) -> State:
        stepped, lucky = env.step(state, action), state.simulation["lucky"]
        now = stepped.time == 2
        time = jnp.where(now & lucky, jnp.nan, stepped.observation["time"])
        return stepped._replace(
            observation={**stepped.observation, "time": time},
            reward=jnp.where(now & ~lucky, 1e38, stepped.reward),
        )

    return env._replace(step=step, name="probe/careless")


def check_metrics(metrics: list[dict[str, float]]) -> float:
    """Each episode is two steps long, and the second one diverged; returns how many did."""
    diverged = sum(epoch["episode/diverged"] for epoch in metrics)
    by_name = {n: sum(m[f"diverged/{n}"] for m in metrics) for n in ("time", "reward")}
    assert min(by_name.values()) > 0
    assert sum(by_name.values()) == diverged == sum(epoch["episode/count"] for epoch in metrics)
    nothing = ("action", "beginning", "all")
    assert all(m[f"diverged/{name}"] == 0 for m in metrics for name in nothing)
    assert all(epoch["episode/return"] == 1.0 for epoch in metrics)
    return diverged


def test_replay_never_sees_them() -> None:
    states, metrics = train(make_careless())
    diverged = check_metrics(metrics)
    assert diverged == 36  # of 72 steps
    assert states[-1].replay.size.sum() == 36
    data = filled(states[-1])
    np.testing.assert_array_equal(data.reward, np.ones(36))
    for x in jax.tree.leaves((data, states[-1].envs._replace(key=jnp.zeros(())))):
        assert np.isfinite(x).all()
        assert x.size == 0 or np.abs(np.asarray(x, np.float64)).max() < 1e6


def test_a_line_names_the_environment_and_the_arrays() -> None:
    metrics = {
        "episode/diverged": 3.0,
        "diverged/time": 2.0,
        "diverged/reward": 1.0,
        "diverged/action": 0.0,
        "diverged/all": 0.0,
    }
    line = explain_diverged("probe/careless", metrics)
    assert line == (
        "probe/careless gave NaN, infinity or numbers too large to learn from in the observation "
        "time (2), the reward (1): 3 steps of this epoch were left out, their episodes truncated"
    )
    assert set(drop_zeros(metrics)) == {"episode/diverged", "diverged/time", "diverged/reward"}
    assert explain_diverged("probe/walk", {"episode/diverged": 1.0, "diverged/time": 0.0}) is None


def test_a_run_says_it_once_or_stops_where_nothing_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(name: str, env: Env) -> None:
        run_loop(
            tmp_path / name,
            name,
            make_loop(env, make_averager(), test_loop.CONFIG),
            test_loop.CONFIG,
            lambda policy, key: {"success_rate": jnp.zeros(())},
            jax.random.key(0),
            run=RunConfig(eval_every=0),
            stopwatch=Stopwatch(),
            flags={},
        )

    with caplog.at_level(logging.WARNING):
        run("some", make_careless())
    said = [record.message for record in caplog.records if "probe/careless" in record.message]
    assert len(said) == 1
    rows = (tmp_path / "some" / "metrics.jsonl").read_text().splitlines()
    assert all('"diverged/time"' in row and '"diverged/action"' not in row for row in rows)

    walk = make_walk()
    hopeless = walk._replace(step=lambda s, a: walk.step(s, a)._replace(reward=jnp.float32("nan")))
    with pytest.raises(
        UserError, match=r"all: probe/walk gave .* in the reward \(24\).*nothing is"
    ):
        run("all", hopeless)


def test_what_is_learned_from_at_once_is_marked_and_finite() -> None:
    loop = make_on_policy_loop(
        make_careless(), test_on_policy.make_recorder(), test_on_policy.CONFIG
    )
    states, metrics = test_on_policy.run(loop)
    diverged = check_metrics(metrics)
    assert sum((row["train/valid"] == 0).sum() for row in metrics) == diverged
    assert np.isfinite(states[-1].episode_return).all()


@pytest.mark.parametrize("value", [jnp.nan, 1e38])
def test_experience_of_tasks_is_marked_and_finite(value: float) -> None:
    env = numbered_tasks()
    length = env.episode_length

    def step(state: State, action: Array) -> State:
        stepped = env.step(state, action)
        return stepped._replace(reward=jnp.where(stepped.time == 2, value, stepped.reward))

    live = make_live(env._replace(step=step), teller())
    belief = TaskBelief(jnp.zeros((3, 1)), jnp.ones((3, 1)))
    tasks = jnp.array([1.0, 2.0, 3.0])
    lived, episodes = live(jnp.float32(0), tasks, belief, jax.random.key(0))
    assert lived.transition.valid.tolist() == [[True, False] * (length // 2)] * 3
    assert episodes["diverged"].tolist() == [length // 2] * 3
    # the observations, the reward, that by which the task is told, and the beginning
    assert episodes["wrong"].tolist() == [[0, 0, length // 2, length // 2, 0]] * 3
    for x in jax.tree.leaves(lived):
        assert np.isfinite(x).all()
        assert np.abs(np.asarray(x, np.float64)).max() < 1e6


def test_datasets_never_hold_them(tmp_path: Path) -> None:
    env = make_walk()

    def step(state: State, action: Array) -> State:
        stepped, lucky = env.step(state, action), state.simulation["lucky"]
        reward: Any = jnp.where((stepped.time == 2) & ~lucky, 1e38, stepped.reward)
        return stepped._replace(reward=reward)

    spoiled = env._replace(step=step)
    reader = collect(spoiled, tmp_path / "data", 4, seed=0, round_size=16, keep_failures=True)
    batch = reader.read(slice(0, 4))
    np.testing.assert_array_equal(batch.reward, [1.0, 2.0, 3.0] * 4)
    assert batch.success.all()
