"""The benchmarks of PEARL at tiny sizes: what is raced is the same, and what is not is noticed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.learners import pearl as learner
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.priors import product_of_gaussians
from behavior_priors.priors.context_encoder import ContextConfig
from behavior_priors.training.meta.schedule import MetaLoopConfig
from behavior_priors.types import Env, TaskBelief
from benchmarks import meta_collection, meta_env, meta_evaluation, pearl
from benchmarks.harness import BenchmarkError, Plan
from benchmarks.pearl_configs import Configs

CONFIGS = Configs(
    learner.PearlConfig(divergence_weight=0.3),
    SACConfig(policy_widths=(6, 5), critic_widths=(7, 6), reward_scale=2.0),
    ContextConfig(latent_size=2, widths=(5, 4)),
)
SIZE = pearl.Size(tasks=3, batch=8, context=5, updates=2)
LOOP = MetaLoopConfig(
    tasks_per_iteration=2, initial_steps=4, prior_steps=4, extra_steps=8, context_size=3
)


def ticking() -> Callable[[], float]:
    """A clock that passes a second between any two looks."""
    return map(float, itertools.count()).__next__


def short_plan() -> Plan:
    return Plan(rounds=2, seconds=1.0, clock=ticking())


def data() -> dict[str, np.ndarray]:
    return pearl.make_data(SIZE, observation_size=4, action_size=2)


def cheetahs(episode_length: int = 4) -> Env:
    pytest.importorskip("gymnasium")
    return make_env(f"locomotion/cheetah_velocity?episode_length={episode_length}", engine="c")


def test_meta_updates_are_equal() -> None:
    pytest.importorskip("torch")
    found = pearl.check(CONFIGS, data())
    assert [part.split(" within")[0].split(" exactly")[0] for part in found.split(", ")] == [
        "losses",
        "gradients",
        "weights after a step",
        "losses of all",
    ]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("pearl", {"divergence_weight": 0.31}),
        ("pearl", {"encoder_learning_rate": 3.3e-4}),
        ("sac", {"discount": 0.98}),
        ("sac", {"target_rate": 0.02}),
    ],
)
def test_another_algorithm_is_noticed(
    part: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_pearl = pytest.importorskip("benchmarks.torch_pearl", exc_type=ImportError)
    make = torch_pearl.PearlTrainer
    changed = dataclasses.replace(getattr(CONFIGS, part), **change)
    other = CONFIGS._replace(**{part: changed})
    monkeypatch.setattr(torch_pearl, "PearlTrainer", lambda _, *rest: make(other, *rest))
    with pytest.raises(BenchmarkError, match=r"losses|gradients|weights after a step"):
        pearl.check(CONFIGS, data())


def spread_by_variance(belief: TaskBelief, key: jax.Array) -> jax.Array:
    return belief.mean + belief.variance * jax.random.normal(key, belief.mean.shape)


def mean_of_all(mean: jax.Array, variance: jax.Array, _: jax.Array) -> tuple[jax.Array, jax.Array]:
    return mean.mean(-2), variance.mean(-2)


def join_to_the_next(batch: Any, description: jax.Array) -> Any:
    return JOIN(batch, jnp.roll(description, 1, axis=0))


def join_blindly(batch: Any, description: jax.Array) -> Any:
    return JOIN(batch, jax.lax.stop_gradient(description))


JOIN = learner.join


@pytest.mark.parametrize(
    ("module", "name", "defect", "message"),
    [
        (learner, "describe", spread_by_variance, "losses"),
        (learner, "join", join_to_the_next, "losses"),
        (learner, "join", join_blindly, "losses|gradients"),
        (product_of_gaussians, "product_of_gaussians", mean_of_all, "losses"),
    ],
)
def test_a_defect_of_ours_is_noticed(
    module: Any, name: str, defect: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(module, name, defect)
    with pytest.raises(BenchmarkError, match=message):
        pearl.check(CONFIGS, data())


def test_every_weight_has_an_array() -> None:
    state = pearl.make(CONFIGS, data())[1]
    counted = (
        state.policy,
        state.rest.critic,
        state.rest.target_critic,
        state.rest.log_temperature,
    )
    expected = sum(x.size for x in jax.tree.leaves(counted))
    assert sum(x.size for x in pearl.arrays(state).values()) == expected


def test_the_peer_takes_batches_in_turn() -> None:
    torch_pearl = pytest.importorskip("benchmarks.torch_pearl", exc_type=ImportError)
    torch_spirl = pytest.importorskip("benchmarks.torch_spirl", exc_type=ImportError)
    model = torch_pearl.PearlTrainer(CONFIGS, data(), pearl.arrays(pearl.make(CONFIGS, data())[1]))
    before = model.weights()
    torch_spirl.train(model, updates=SIZE.updates + 1, threads=1)
    assert all(np.isfinite(x).all() for x in model.weights().values())
    assert all((x != before[name]).any() for name, x in model.weights().items())


def test_there_are_rows_of_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(pearl, "RACES", (("tiny", SIZE, CONFIGS),))
    rows = list(pearl.measure(short_plan()))
    assert rows[0].name == "pearl/tiny against torch (cores: 1)"
    assert (rows[0].unit, rows[0].rounds) == ("updates/s", 2)


def test_cheetahs_move_as_envpools_do() -> None:
    pytest.importorskip("envpool")
    row = meta_env.measure_steps(cheetahs(10), 3, 12, short_plan())
    assert row.equal.startswith("positions within")
    env = cheetahs(10)
    halved = env._replace(step=lambda state, action: env.step(state, 0.5 * action))
    with pytest.raises(BenchmarkError, match=r"positions|velocities"):
        meta_env.measure_steps(halved, 3, 12, short_plan())


def test_ours_begins_in_given_states() -> None:
    qpos = np.linspace(-0.1, 0.1, 18).reshape(2, 9)
    ours = meta_env.Ours(cheetahs(), (qpos, 2.0 * qpos))
    physics = ours.states.simulation.physics
    np.testing.assert_allclose(physics.qpos, qpos, atol=1e-7)
    np.testing.assert_allclose(physics.qvel, 2.0 * qpos, atol=1e-7)
    positions, velocities = ours.run(np.zeros((3, 2, 6), np.float32))
    assert positions.shape == velocities.shape == (3, 2, 9)
    np.testing.assert_array_equal(positions[-1], ours.states.simulation.physics.qpos)
    np.testing.assert_array_equal(velocities[-1], ours.states.simulation.physics.qvel)


def test_collections_are_equal() -> None:
    pytest.importorskip("torch")
    row = meta_collection.measure_collection(cheetahs(), CONFIGS, LOOP, short_plan())
    assert [part.split(" within")[0] for part in row.equal.split(", ")] == [
        "actions",
        "observations",
        "rewards",
    ]


def break_the_peer(name: str, defect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a method of what collects in torch another one."""
    torch_collect = pytest.importorskip("benchmarks.torch_collect", exc_type=ImportError)
    collector = torch_collect.Collector
    monkeypatch.setattr(collector, name, defect(getattr(collector, name)))


@pytest.mark.parametrize(
    ("name", "defect", "message"),
    [
        ("observe", lambda make: lambda self, seen: make(self, seen)[::-1].copy(), "actions"),
        (
            "step",
            lambda make: lambda self, action, speed: make(self, action, speed + 0.1),
            "rewards",
        ),
    ],
)
def test_another_environment_is_noticed(
    name: str, defect: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_peer(name, defect, monkeypatch)
    with pytest.raises(BenchmarkError, match=message):
        meta_collection.measure_collection(cheetahs(), CONFIGS, LOOP, short_plan())


def test_the_peer_lives_through_all_its_episodes() -> None:
    torch_collect = pytest.importorskip("benchmarks.torch_collect", exc_type=ImportError)
    env = cheetahs()
    state = pearl.make_drawn(CONFIGS, env.observation_spec, env.action_spec)[1]
    peer = torch_collect.Collector(CONFIGS, pearl.arrays(state), np.ones(20), 4)
    seen: list[int] = []
    infer = peer.infer
    peer.infer = lambda memory, rows: (seen.extend(rows), infer(memory, rows))[1]
    (memory,) = peer.collect([1.0], [True, True, False], [True, False, False], context_size=50)
    assert memory.action.shape == (12, 6)
    assert all(np.isfinite(x).all() for x in memory)
    # an episode's steps follow each other, episodes do not
    follows = (memory.observation[1:] == memory.next_observation[:-1]).all(-1)
    assert follows.tolist() == [True] * 3 + [False] + [True] * 3 + [False] + [True] * 3
    # what is not for contexts is not seen
    assert set(seen) == {0, 1, 2, 3}


def test_evaluations_agree() -> None:
    pytest.importorskip("torch")
    rows = list(meta_evaluation.measure_evaluation(cheetahs(), CONFIGS, 5, short_plan()))
    assert [row.unit for row in rows] == ["evaluations/s"] * 2
    compared = ["actions", "observations", "rewards", "beliefs", "mean returns of each episode"]
    assert [part.split(" within")[0] for part in rows[0].equal.split(", ")] == compared
    assert rows[1].equal.startswith("mean returns")


@pytest.mark.parametrize(
    ("name", "defect", "message"),
    [
        (
            "act",
            lambda make: (
                lambda self, seen, description, noise: make(self, seen, 1.01 * description, noise)
            ),
            "actions",
        ),
        (
            "infer",
            lambda make: lambda self, memory, rows: make(self, memory, slice(1, rows.stop)),
            "beliefs",
        ),
    ],
)
def test_another_adaptation_is_noticed(
    name: str, defect: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_peer(name, defect, monkeypatch)
    with pytest.raises(BenchmarkError, match=message):
        list(meta_evaluation.measure_evaluation(cheetahs(), CONFIGS, 5, short_plan()))


def test_the_peer_adapts_to_what_it_has_seen_with_the_policys_mode() -> None:
    torch_collect = pytest.importorskip("benchmarks.torch_collect", exc_type=ImportError)
    env = cheetahs()
    state = pearl.make_drawn(CONFIGS, env.observation_spec, env.action_spec)[1]
    peer = torch_collect.Collector(CONFIGS, pearl.arrays(state), np.ones(20), 4)
    seen: list[Any] = []
    noises: list[Any] = []
    infer, act = peer.infer, peer.act
    peer.infer = lambda memory, rows: (seen.append(rows), infer(memory, rows))[1]
    peer.act = lambda o, d, noise: (noises.append(noise), act(o, d, noise))[1]
    returns = peer.adapt([1.0, 2.0], trajectories=4, exploration=2)
    assert returns.shape == (2, 4)
    assert np.isfinite(returns).all()
    assert seen == [slice(8), slice(12)] * 2
    assert noises == [None] * (2 * 4 * 4)


def test_other_returns_are_noticed() -> None:
    rng = np.random.default_rng(0)
    ours, peer = rng.normal(size=(2, 4, 30, 1, 3))
    meta_evaluation.agree(ours, peer)
    with pytest.raises(BenchmarkError, match="standard errors"):
        meta_evaluation.agree(ours, peer + np.array([0.0, 0.0, 1.0]))
    with pytest.raises(BenchmarkError, match="not finite"):
        meta_evaluation.agree(ours, peer * np.nan)
    with pytest.raises(BenchmarkError, match="the same"):
        meta_evaluation.agree(ours, ours)
