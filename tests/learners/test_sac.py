"""Soft actor-critic: single updates by hand, then what holds of many."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.distributions import policy_distribution
from behavior_priors.learner import Learner
from behavior_priors.learners.sac import SACConfig, SACState, make_sac
from behavior_priors.networks import Critic, Critics, GaussianPolicy
from behavior_priors.types import ActionSpec, ArraySpec, Params, Transition, UserError

SPEC = {"x": ArraySpec((3,)), "y": ArraySpec((2,))}
SMALL = SACConfig(policy_widths=(8,), critic_widths=(8,))


def make_batch(seed: int, *axes: int) -> Transition:
    rng = np.random.default_rng(seed)

    def observation() -> dict[str, np.ndarray]:
        return {k: rng.normal(size=(*axes, *s.shape)).astype(np.float32) for k, s in SPEC.items()}

    return Transition(
        observation=observation(),
        action=rng.uniform(-1.0, 1.0, (*axes, 2)).astype(np.float32),
        reward=rng.normal(size=axes).astype(np.float32),
        terminated=rng.random(axes) < 0.3,
        truncated=rng.random(axes) < 0.3,
        next_observation=observation(),
        valid=np.ones(axes, bool),
    )


def make_small(bound: float | None = 1.0, **changes) -> Learner:
    return make_sac(dataclasses.replace(SMALL, **changes), SPEC, ActionSpec(2, bound))


# Compiling is nearly all that these tests do.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def compile_learner(learner: Learner) -> Learner:
    act = quick_jit(learner.act, static_argnames="explore")
    return Learner(quick_jit(learner.init), quick_jit(learner.update), act)


@functools.cache
def compiled() -> Learner:
    """The learner that most tests can share; its batches have 16 transitions."""
    return compile_learner(make_small())


def linear_critics(*rows: tuple[float, float, float]) -> Params:
    """Critics `Q(x, a) = w_x x + w_a a + b`, one from each `(w_x, w_a, b)`."""
    return {
        "params": {
            f"Critic_{i}": {
                "Dense_0": {"kernel": jnp.array([[row[0]], [row[1]]]), "bias": jnp.array([row[2]])}
            }
            for i, row in enumerate(rows)
        }
    }


@functools.cache
def make_linear(**changes) -> tuple[Learner, SACState]:
    """A learner without hidden layers: one observed number, one unbounded action."""
    config = SACConfig(policy_widths=(), critic_widths=(), **changes)
    learner = compile_learner(make_sac(config, {"x": ArraySpec((1,))}, ActionSpec(1, None)))
    return learner, learner.init(jax.random.key(0))


def linear_batch(x, action, reward, terminated, truncated, next_x) -> Transition:
    def column(values) -> np.ndarray:
        return np.asarray(values, np.float32)[:, None]

    return Transition(
        observation={"x": column(x)},
        action=column(action),
        reward=np.asarray(reward, np.float32),
        terminated=np.asarray(terminated),
        truncated=np.asarray(truncated),
        next_observation={"x": column(next_x)},
        valid=np.ones(len(x), bool),
    )


def two_last_steps() -> Transition:
    return linear_batch(
        x=[1.0, 3.0],
        action=[0.5, -1.0],
        reward=[3.0, -1.0],
        terminated=[True, True],
        truncated=[False, False],
        next_x=[7.0, 7.0],
    )


def test_all_step_sizes_decay_where_they_are_asked_to() -> None:
    """The second of two updates is the same, but for the length of its steps: a tenth."""
    rates = {
        "critic_learning_rate": 0.1,
        "policy_learning_rate": 0.01,
        "temperature_learning_rate": 0.2,
    }
    batch = two_last_steps()

    def second_steps(**decay: int) -> Any:
        learner, state = make_linear(**rates, **decay)
        first, _ = learner.update(state, batch)
        second, _ = learner.update(first, batch)
        return [
            jax.tree.map(lambda a, b: b - a, getattr(first, name), getattr(second, name))
            for name in ("critic", "log_temperature", "policy")
        ]

    (*whole, policy), (*tenth, small) = second_steps(), second_steps(decay_updates=1)
    for step in jax.tree.leaves(whole):
        assert np.abs(step).max() > 1e-3
    chex.assert_trees_all_close(tenth, jax.tree.map(lambda x: 0.1 * x, whole), rtol=1e-4)
    # critics that have moved less want something else of the policy, but for the direction
    largest = [max(np.abs(x).max() for x in jax.tree.leaves(tree)) for tree in (policy, small)]
    assert largest[1] == pytest.approx(0.1 * largest[0], rel=0.1)


def test_one_update_by_hand():
    """Adam's first step is the learning rate against the gradient's sign: all signs are known."""
    learner, state = make_linear(
        critic_learning_rate=0.1,
        policy_learning_rate=0.01,
        temperature_learning_rate=0.2,
        target_rate=0.25,
        reward_scale=2.0,
        initial_temperature=0.5,
        target_entropy=100.0,
    )
    state = dataclasses.replace(
        state,
        critic=linear_critics((1.0, -0.05, 0.0), (0.0, -0.05, 1.0)),
        target_critic=linear_critics((0.0, 0.0, 0.0), (0.0, 0.0, 4.0)),
    )
    batch = two_last_steps()
    state, metrics = learner.update(state, batch)

    # Values are (0.975, 3.05) and (0.975, 1.05), the targets (6, -2), the errors therefore
    # (-5.025, 5.05) and (-5.025, 3.05).
    np.testing.assert_allclose(metrics["q_mean"], 1.5125, rtol=1e-6)
    np.testing.assert_allclose(metrics["critic_loss"], 21.3265625, rtol=1e-6)
    # Gradients by (w_x, w_a, b): (+, -, +) and (+, -, -).
    chex.assert_trees_all_close(
        state.critic, linear_critics((0.9, 0.05, -0.1), (-0.1, 0.05, 1.1)), atol=1e-6
    )
    chex.assert_trees_all_close(
        state.target_critic,
        linear_critics((0.225, 0.0125, -0.025), (-0.025, 0.0125, 3.275)),
        atol=1e-6,
    )
    # The critics just updated value a larger action more; those before it, a smaller one.
    head = state.policy["params"]["MLP_0"]["Dense_0"]
    np.testing.assert_allclose(head["bias"][0], 0.01, atol=1e-6)
    np.testing.assert_allclose(head["kernel"][0, 0], 0.01, atol=1e-6)
    # The entropy is below its target, so the temperature rises; the metric is the one used.
    np.testing.assert_allclose(state.log_temperature, math.log(0.5) + 0.2, atol=1e-5)
    np.testing.assert_allclose(metrics["temperature"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(
        metrics["temperature_loss"], math.log(0.5) * (metrics["entropy"] - 100.0), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["policy_std"], 1.0)
    assert int(state.step) == 1


FIXED = {
    "discount": 0.5,
    "fixed_temperature": True,
    "initial_temperature": 1e-9,
    "target_rate": 1.0,
    "target_period": 3,
}


def test_truncation_bootstraps_and_termination_does_not():
    learner, state = make_linear(**FIXED)
    state = dataclasses.replace(
        state,
        critic=linear_critics((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        target_critic=linear_critics((2.0, 0.0, 0.0), (3.0, 0.0, 0.0)),
    )

    def loss(terminated: bool, truncated: bool) -> float:
        batch = linear_batch([0.0], [0.0], [1.0], [terminated], [truncated], [2.0])
        return float(learner.update(state, batch)[1]["critic_loss"])

    # Two critics at zero make the loss the squared target: 1 + 0.5 min(4, 6) = 3, or 1.
    np.testing.assert_allclose(loss(False, False), 9.0, rtol=1e-5)
    np.testing.assert_allclose(loss(False, True), 9.0, rtol=1e-5)
    np.testing.assert_allclose(loss(True, False), 1.0, rtol=1e-5)
    np.testing.assert_allclose(loss(True, True), 1.0, rtol=1e-5)


def test_the_entropy_of_the_next_action_is_part_of_the_target():
    learner, state = make_linear(discount=1.0, target_entropy=-100.0)
    zero = linear_critics((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    state = dataclasses.replace(state, critic=zero, target_critic=zero)
    n = 50_000
    nothing, never = np.zeros(n, np.float32), np.zeros(n, bool)
    batch = linear_batch(nothing, nothing, nothing, never, never, nothing)
    after, metrics = learner.update(state, batch)
    # Targets are -log N(e; 0, 1) = e^2 / 2 + log(2 pi) / 2, whose mean is the entropy 1.4189 and
    # whose variance is 1/2; two critics at zero make the loss their mean square.
    np.testing.assert_allclose(metrics["critic_loss"], 1.4189**2 + 0.5, rtol=0.02)
    np.testing.assert_allclose(metrics["entropy"], 1.4189, rtol=0.01)
    # Which is more than was asked for.
    np.testing.assert_allclose(after.log_temperature, -3e-4, rtol=1e-3)


@pytest.mark.parametrize("bound", [None, 2.0])
def test_the_policy_starts_as_a_standard_gaussian_whatever_it_sees(bound):
    learner = compile_learner(make_small(bound))
    policy = learner.init(jax.random.key(3)).policy
    observation = make_batch(0, 5000).observation
    observation = {name: 100.0 * array for name, array in observation.items()}
    flat = np.concatenate([observation["x"], observation["y"]], axis=-1)
    mean, log_std = GaussianPolicy((8,), 2, -5.0, 2.0).apply(policy, flat)
    nothing = np.zeros((5000, 2), np.float32)
    np.testing.assert_array_equal(mean, nothing)
    np.testing.assert_array_equal(log_std, nothing)

    mode = learner.act(policy, observation, jax.random.key(1), explore=False)
    np.testing.assert_array_equal(mode, nothing)

    explored = learner.act(policy, observation, jax.random.key(1), explore=True)
    standard = policy_distribution(nothing, nothing, bound).sample(seed=jax.random.key(1))
    np.testing.assert_allclose(explored, standard, rtol=1e-5)
    latent = np.asarray(explored) if bound is None else np.arctanh(explored / bound)
    np.testing.assert_allclose(latent.mean(axis=0), [0.0, 0.0], atol=0.05)
    np.testing.assert_allclose(np.cov(latent.T), np.eye(2), atol=0.08)
    if bound is not None:
        assert 1.9 < np.abs(explored).max() <= 2.0


def test_act_on_one_observation_and_on_many():
    learner = compiled()
    state, _ = learner.update(learner.init(jax.random.key(0)), make_batch(0, 16))
    observation, key = make_batch(1, 4).observation, jax.random.key(0)
    together = learner.act(state.policy, observation, key, explore=False)
    first = jax.tree.map(lambda x: x[0], observation)
    alone = learner.act(state.policy, first, key, explore=False)
    assert np.abs(together).min() > 0.0
    assert alone.shape == (2,)
    np.testing.assert_allclose(together[0], alone, atol=1e-6)


def test_seeds_under_vmap_equal_separate_seeds():
    keys, batches = jax.random.split(jax.random.key(0), 3), make_batch(7, 4, 3, 16)
    learner = make_small()
    update_many = quick_jit(jax.vmap(learner.update))
    many = quick_jit(jax.vmap(learner.init))(keys)
    ones = [compiled().init(key) for key in keys]
    for step in range(4):
        batch = jax.tree.map(lambda x, i=step: x[i], batches)
        many, metrics_of_many = update_many(many, batch)
        for seed in range(3):
            ones[seed], metrics = compiled().update(ones[seed], row(batch, seed))
            chex.assert_trees_all_close(row(metrics_of_many, seed), metrics, atol=1e-5, rtol=1e-5)
    for seed in range(3):
        chex.assert_trees_all_close(row(many, seed), row(ones[seed]), atol=1e-5)


def row(tree, index: int | tuple[()] = ()):
    """One element of a tree on the host, with keys as the numbers that they hold."""

    def numbers(x) -> np.ndarray:
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if is_key else x)

    return jax.tree.map(lambda x: numbers(x)[index], tree)


def test_update_is_deterministic_and_advances_its_key():
    learner = compiled()
    state, batch = learner.init(jax.random.key(0)), make_batch(0, 16)
    first, metrics = learner.update(state, batch)
    again, _ = learner.update(state, batch)
    chex.assert_trees_all_equal(first.policy, again.policy)
    assert not (jax.random.key_data(first.key) == jax.random.key_data(state.key)).all()
    _, other = learner.update(dataclasses.replace(state, key=first.key), batch)
    assert metrics["critic_loss"] != other["critic_loss"]


def test_a_fixed_temperature_stays():
    learner, before = make_linear(**FIXED)
    batch = linear_batch([0.0], [0.0], [1.0], [False], [False], [2.0])
    middle, _ = learner.update(before, batch)
    after, metrics = learner.update(middle, batch)
    assert float(after.log_temperature) == float(before.log_temperature)
    np.testing.assert_allclose(metrics["temperature"], 1e-9, rtol=1e-5)
    chex.assert_trees_all_equal(after.temperature_optimizer, before.temperature_optimizer)


@pytest.mark.parametrize("config", [FIXED, {"target_rate": 0.25, "target_period": 2}])
def test_the_target_moves_after_every_period(config):
    rate, period = config["target_rate"], config["target_period"]
    learner, state = make_linear(**config)
    chex.assert_trees_all_equal(state.target_critic, state.critic)
    for step in range(1, 7):
        before = jax.device_get(state.target_critic)
        batch = linear_batch([1.0], [0.5], [float(step)], [False], [False], [2.0])
        state, _ = learner.update(state, batch)
        if step % period:
            chex.assert_trees_all_equal(state.target_critic, before)
        elif rate == 1.0:
            chex.assert_trees_all_equal(state.target_critic, state.critic)
        else:
            moved = jax.tree.map(
                lambda t, c: t + rate * (c - t), before, jax.device_get(state.critic)
            )
            chex.assert_trees_all_close(state.target_critic, moved, atol=1e-6)


def test_networks_see_only_the_names_they_are_given():
    learner = make_small(policy_observation=("y",), critic_observation=("y", "x"))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    assert state.policy["params"]["MLP_0"]["Dense_0"]["kernel"].shape == (2, 8)
    assert state.critic["params"]["Critic_0"]["Dense_0"]["kernel"].shape == (5 + 2, 8)
    act = functools.partial(learner.act, explore=True)
    only_y = {"y": jnp.ones((4, 2))}
    assert jax.eval_shape(act, state.policy, only_y, jax.random.key(0)).shape == (4, 2)
    jax.eval_shape(learner.update, state, make_batch(0, 16))


def test_the_number_of_critics():
    learner = make_small(num_critics=5)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    q = jax.eval_shape(
        Critics(5, (8,), False).apply, state.critic, np.ones((16, 5)), np.ones((16, 2))
    )
    assert q.shape == (5, 16)
    jax.eval_shape(learner.update, state, make_batch(0, 16))


def test_critics_start_differently():
    critics = compiled().init(jax.random.key(0)).critic["params"]
    kernels = [critics[f"Critic_{i}"]["Dense_0"]["kernel"] for i in range(2)]
    assert np.abs(kernels[0] - kernels[1]).min() > 0.0


def test_critic_layer_norm_forgets_the_scale_of_a_hidden_layer():
    critic = Critic((16,), layer_norm=True)
    observation = np.arange(10, dtype=np.float32).reshape(2, 5) - 3.0
    action = np.ones((2, 2), np.float32)
    params = quick_jit(critic.init)(jax.random.key(0), observation, action)
    apply = quick_jit(critic.apply)
    small = apply(params, observation, action)
    large = apply(params, 10.0 * observation, 10.0 * action)
    np.testing.assert_allclose(small, large, atol=1e-3)
    state = jax.eval_shape(make_small(critic_layer_norm=True).init, jax.random.key(0))
    assert "LayerNorm_0" in state.critic["params"]["Critic_1"]


def test_an_initial_policy_is_started_from_and_survives_donation():
    source = compiled()
    trained = source.update(source.init(jax.random.key(0)), make_batch(0, 16))[0].policy
    learner = make_sac(SMALL, SPEC, ActionSpec(2, 1.0), initial_policy=trained)
    update = quick_jit(learner.update, donate_argnums=0)
    started = learner.init(jax.random.key(9))
    chex.assert_trees_all_equal(started.policy, trained)
    # A state whose arrays shared memory could not be donated, whether or not init was compiled.
    for state in (started, compiled().init(jax.random.key(9))):
        state, _ = update(state, make_batch(0, 16))
        state, metrics = update(state, make_batch(1, 16))
        assert int(state.step) == 2
        chex.assert_tree_all_finite((state.policy, state.critic, metrics))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_critics": 0}, "num_critics=0 should be at least 1"),
        ({"target_rate": 0.0}, r"target_rate=0.0 should be in \(0, 1\]"),
        ({"target_period": 0}, "target_period=0 should be at least 1"),
        ({"discount": 1.01}, "discount=1.01 should be in"),
        ({"initial_temperature": 0.0}, "initial_temperature=0.0 should be positive"),
        ({"min_log_std": 3.0}, "min_log_std=3.0 should be at most max_log_std"),
        ({"mean_bound": 0.0}, "mean_bound=0.0 should be positive, or none"),
        ({"policy_observation": ("x", "z")}, "policy_observation: .* z; there are x, y"),
        ({"critic_observation": ("q",)}, "critic_observation: .* q; there are x, y"),
    ],
)
def test_senseless_configs_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_small(**changes)
