"""Soft actor-critic: what holds of any of its updates; `test_sac_by_hand` has single ones."""

from __future__ import annotations

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.distributions import policy_distribution
from behavior_priors.errors import UserError
from behavior_priors.learner import Learner
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.networks import Critic, Critics, GaussianPolicy
from behavior_priors.types import ActionSpec, ArraySpec, Transition
from tests.learners.compiled import compile_learner, quick_jit

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


@functools.cache
def compiled() -> Learner:
    """The learner that most tests can share; its batches have 16 transitions."""
    return compile_learner(make_small())


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

    mode = learner.act(policy, observation, jax.random.key(1), explore=False).action
    np.testing.assert_array_equal(mode, nothing)

    explored = learner.act(policy, observation, jax.random.key(1), explore=True).action
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
    together = learner.act(state.policy, observation, key, explore=False).action
    first = jax.tree.map(lambda x: x[0], observation)
    alone = learner.act(state.policy, first, key, explore=False).action
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


def test_networks_see_only_the_names_they_are_given():
    learner = make_small(policy_observation=("y",), critic_observation=("y", "x"))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    assert state.policy["params"]["MLP_0"]["Dense_0"]["kernel"].shape == (2, 8)
    assert state.critic["params"]["Critic_0"]["Dense_0"]["kernel"].shape == (5 + 2, 8)
    act = functools.partial(learner.act, explore=True)
    only_y = {"y": jnp.ones((4, 2))}
    chosen = jax.eval_shape(act, state.policy, only_y, jax.random.key(0))
    assert chosen.action.shape == (4, 2)
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
        ({"std_limit": "hard"}, "std_limit=hard should be clip or tanh"),
        ({"std_limit": "tanh", "max_log_std": 0.0}, "between min_log_std=-5.0 and max_log_std=0.0"),
        ({"mean_bound": 0.0}, "mean_bound=0.0 should be positive, or none"),
        ({"policy_observation": ("x", "z")}, "policy_observation: .* z; there are x, y"),
        ({"critic_observation": ("q",)}, "critic_observation: .* q; there are x, y"),
    ],
)
def test_senseless_configs_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_small(**changes)
