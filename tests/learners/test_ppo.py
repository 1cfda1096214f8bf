"""Proximal policy optimisation: single updates by hand, then what holds of many."""

from __future__ import annotations

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from behavior_priors.errors import UserError
from behavior_priors.learner import OnPolicyLearner
from behavior_priors.learners.ppo import Draw, PPOState, make_ppo
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.types import ActionSpec, ArraySpec, Transition

SPEC = {"x": ArraySpec((3,)), "y": ArraySpec((2,))}
SMALL = PPOConfig(policy_widths=(8,), value_widths=(8,), epochs=2, minibatches=4)

# Compiling is nearly all that these tests do.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def make_small(bound: float | None = 1.0, **changes) -> OnPolicyLearner:
    return make_ppo(dataclasses.replace(SMALL, **changes), SPEC, ActionSpec(2, bound))


def compile_learner(learner: OnPolicyLearner) -> OnPolicyLearner:
    return learner._replace(
        init=quick_jit(learner.init),
        update=quick_jit(learner.update),
        act=quick_jit(learner.act, static_argnames="explore"),
    )


@functools.cache
def compiled() -> OnPolicyLearner:
    """The learner that most tests can share; its rounds are 4 steps of 6 environments."""
    return compile_learner(make_small())


def make_observation(seed: int, *axes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=(*axes, *s.shape)).astype(np.float32) for k, s in SPEC.items()}


def make_round(learner: OnPolicyLearner, state: PPOState, seed: int) -> Transition:
    """Experience of the state's policy, in a world of noise."""
    rng, axes = np.random.default_rng(seed), (4, 6)
    observation = make_observation(seed, *axes)
    action, draw = learner.act(state.policy, observation, jax.random.key(seed), explore=True)
    return Transition(
        observation=observation,
        action=action,
        reward=rng.normal(size=axes).astype(np.float32),
        terminated=rng.random(axes) < 0.2,
        truncated=rng.random(axes) < 0.2,
        next_observation=make_observation(seed + 1000, *axes),
        valid=np.ones(axes, bool),
        notes=draw,
    )


@functools.cache
def make_linear(bound: float | None = None, **changes) -> tuple[OnPolicyLearner, PPOState]:
    """A learner without hidden layers: one observed number, one action, whole batches."""
    config = PPOConfig(
        policy_widths=(),
        value_widths=(),
        epochs=1,
        minibatches=1,
        standardize_advantages=False,
        gradient_clip=None,
    )
    config = dataclasses.replace(config, **changes)
    learner = compile_learner(make_ppo(config, {"x": ArraySpec((1,))}, ActionSpec(1, bound)))
    return learner, learner.init(jax.random.key(0))


def linear_round(
    x, sample, reward, terminated, truncated, next_x, valid=None
) -> tuple[Transition, Draw]:
    """Steps of one environment, by a policy that is a standard Gaussian."""

    def column(values) -> np.ndarray:
        return np.asarray(values, np.float32)[:, None, None]

    def flags(values) -> np.ndarray:
        return np.asarray(values, bool)[:, None]

    log_prob = -0.5 * np.square(column(sample)) - 0.5 * math.log(2 * math.pi)
    return Transition(
        observation={"x": column(x)},
        action=column(sample),
        reward=column(reward)[..., 0],
        terminated=flags(terminated),
        truncated=flags(truncated),
        next_observation={"x": column(next_x)},
        valid=flags([True] * len(x) if valid is None else valid),
        notes=Draw(column(sample), log_prob[..., 0].astype(np.float32)),
    )


def linear_value(weight: float, bias: float):
    """A value `weight * x + bias`."""
    return {"params": {"Dense_0": {"kernel": jnp.array([[weight]]), "bias": jnp.array([bias])}}}


def test_one_update_by_hand():
    """Adam's first step is the learning rate against the gradient's sign: all signs are known."""
    learner, state = make_linear(
        policy_learning_rate=0.01, value_learning_rate=0.1, reward_scale=2.0
    )
    experience = linear_round(
        x=[1.0, 2.0],
        sample=[0.5, -2.0],
        reward=[1.5, -0.5],
        terminated=[True, True],
        truncated=[False, False],
        next_x=[7.0, 7.0],
    )
    state, metrics = learner.update(state, experience)

    # The value starts at 0, so that the advantages and targets are the scaled rewards 3 and -1.
    np.testing.assert_allclose(metrics["value_mean"], 0.0)
    np.testing.assert_allclose(metrics["value_loss"], 2.5)  # half of (9 + 1) / 2
    # Its gradients are -(3 * 1 - 1 * 2) / 2 and -(3 - 1) / 2.
    chex.assert_trees_all_close(state.value, linear_value(0.1, 0.1), atol=1e-6)

    # The ratio is 1: the loss is minus the mean advantage.
    np.testing.assert_allclose(metrics["policy_loss"], -1.0, rtol=1e-5)
    np.testing.assert_allclose(metrics["policy_change"], 0.0, atol=1e-6)
    np.testing.assert_allclose(metrics["clipped"], 0.0)
    # The log-density's slopes are x and x^2 - 1 by mean and log standard deviation. Weighed by the
    # advantages they are (1.5, 2) and (-2.25, -3): the mean rises, the deviation falls.
    head = state.policy["params"]["MLP_0"]["Dense_0"]
    np.testing.assert_allclose(head["bias"], [0.01, -0.01], atol=1e-6)
    np.testing.assert_allclose(head["kernel"], [[0.01, -0.01]], atol=1e-6)
    np.testing.assert_allclose(metrics["policy_std"], 1.0)
    np.testing.assert_allclose(metrics["entropy"], 0.5 * math.log(2 * math.pi * math.e), rtol=1e-5)
    assert int(state.step) == 1


def test_truncation_bootstraps_and_termination_does_not():
    learner, state = make_linear(discount=0.5, gae_lambda=0.5)
    state = dataclasses.replace(state, value=linear_value(2.0, 0.0))

    def advantage(terminated: bool, truncated: bool) -> float:
        """Of a step from 0 to 2, where a next step, if it is one, has an advantage of 8."""
        experience = linear_round(
            [0.0, 0.0], [0.0, 0.0], [1.0, 8.0], [terminated, True], [truncated, False], [2.0, 0.0]
        )
        # the ratio is 1: the loss is minus the mean advantage
        return -2.0 * float(learner.update(state, experience)[1]["policy_loss"]) - 8.0

    # 1 + 0.5 * 4 = 3, or 1; without an end 0.25 * 8 flows back.
    np.testing.assert_allclose(advantage(False, False), 5.0, rtol=1e-5)
    np.testing.assert_allclose(advantage(False, True), 3.0, rtol=1e-5)
    np.testing.assert_allclose(advantage(True, False), 1.0, rtol=1e-5)
    np.testing.assert_allclose(advantage(True, True), 1.0, rtol=1e-5)


def test_a_step_that_diverged_is_not_learned_from():
    learner, state = make_linear(discount=0.5, gae_lambda=0.5)
    nan = float("nan")
    spoilt = linear_round(
        [1.0, 2.0], [0.5, 9.0], [1.0, nan], [True, False], [False, True], [1.0, nan], [True, False]
    )
    clean = linear_round([1.0], [0.5], [1.0], [True], [False], [1.0])
    (with_it, metrics), (without, expected) = (learner.update(state, r) for r in (spoilt, clean))
    chex.assert_trees_all_close(with_it.policy, without.policy, atol=1e-6)
    chex.assert_trees_all_close(with_it.value, without.value, atol=1e-6)
    chex.assert_trees_all_close(metrics, expected, atol=1e-6)


def test_the_first_ratios_are_one():
    """Also after updates, when the policy is no standard Gaussian any more."""
    learner, state = make_linear(2.0, policy_learning_rate=0.1, standardize_advantages=True)
    x = np.random.default_rng(0).normal(size=(4, 6, 1)).astype(np.float32)
    for seed in range(3):
        action, draw = learner.act(state.policy, {"x": x}, jax.random.key(seed), explore=True)
        ends = np.ones((4, 6), bool)
        reward = jnp.square(action[..., 0])
        transition = Transition({"x": x}, action, reward, ends, ~ends, {"x": x}, ends, draw)
        state, metrics = learner.update(state, transition)
        np.testing.assert_allclose(metrics["policy_change"], 0.0, atol=1e-6)
        # standardised advantages have mean 0
        np.testing.assert_allclose(metrics["policy_loss"], 0.0, atol=1e-5)
        assert float(metrics["clipped"]) == 0.0
    assert abs(float(metrics["policy_std"]) - 1.0) > 0.01


def test_saturated_actions_have_exact_ratios():
    """The action says nothing of the sample any more: `tanh(12)` is all but 1 in 32 bits."""
    learner = compiled()
    state = learner.init(jax.random.key(0))
    policy = jax.tree.map(jnp.copy, state.policy)
    policy["params"]["MLP_0"]["Dense_1"]["bias"] = jnp.array([12.0, -12.0, -1.0, -1.0])
    state = dataclasses.replace(state, policy=policy)
    transition = make_round(learner, state, 0)
    assert np.unique(np.abs(transition.action)).size == 1
    np.testing.assert_allclose(
        transition.notes.sample.std(), math.sqrt(144 + math.exp(-2)), rtol=0.02
    )
    state, metrics = learner.update(state, transition)
    assert 0.0 < float(metrics["policy_change"]) < 0.1
    chex.assert_tree_all_finite((state.policy, state.value, metrics))


@pytest.mark.parametrize("bound", [None, 1.5])
def test_it_acts_as_soft_actor_critic_does_with_the_same_parameters(bound: float | None):
    """So that cloned policies and soft actor-critic's can be gone on from."""
    limits = {"mean_bound": 2.0, "min_log_std": -3.0, "max_log_std": 1.0, "std_limit": "tanh"}
    sac = make_sac(SACConfig(policy_widths=(8,), **limits), SPEC, ActionSpec(2, bound))
    ppo = make_small(bound, **limits)
    observation, key = make_observation(3, 5), jax.random.key(2)

    @quick_jit
    def actions(key):
        policy = jax.tree.map(lambda x: x + 0.3, sac.init(key).policy)
        acts = [learner.act for learner in (sac, ppo)]
        modes, samples = (
            [act(policy, observation, key, explore=explore) for act in acts]
            for explore in (False, True)
        )
        return modes, samples

    modes, samples = actions(key)
    (modes, samples), draw = ([[x.action for x in xs] for xs in (modes, samples)], samples[1].notes)
    np.testing.assert_allclose(*modes, rtol=1e-6)
    np.testing.assert_allclose(*samples, rtol=1e-6)
    chex.assert_shape(draw.log_prob, (5,))


def test_an_initial_policy_is_started_from_and_survives_donation():
    source = compiled()
    state = source.init(jax.random.key(0))
    trained = source.update(state, make_round(source, state, 0))[0].policy
    learner = make_ppo(SMALL, SPEC, ActionSpec(2, 1.0), initial_policy=trained)
    started = learner.init(jax.random.key(9))
    chex.assert_trees_all_equal(started.policy, trained)
    # A state whose arrays shared memory, with the given policy or with each other, could not be.
    pass_on = jax.jit(lambda state: jax.tree.map(lambda x: x, state), donate_argnums=0)
    for state in (started, source.init(jax.random.key(9))):
        state = pass_on(state)
        state, metrics = source.update(state, make_round(source, state, 0))
        chex.assert_tree_all_finite((state.policy, state.value, metrics, trained))
    assert int(state.step) == 8  # 2 epochs of 4 minibatches


def test_a_delayed_policy_waits_for_the_value():
    learner, before = make_linear(policy_delay=1, value_learning_rate=0.1)
    experience = linear_round([1.0], [0.5], [2.0], [True], [False], [0.0])
    first, _ = learner.update(before, experience)
    chex.assert_trees_all_equal(first.policy, before.policy)
    chex.assert_trees_all_equal(first.policy_optimizer, before.policy_optimizer)
    chex.assert_trees_all_close(first.value, linear_value(0.1, 0.1), atol=1e-6)
    second, _ = learner.update(first, experience)
    # Adam's first step, not its second
    head = second.policy["params"]["MLP_0"]["Dense_0"]
    np.testing.assert_allclose(head["bias"], [3e-4, -3e-4], rtol=1e-4)


def test_a_policy_that_has_changed_enough_waits_for_the_next_update():
    learner, state = make_linear(epochs=3, policy_learning_rate=0.5, change_limit=0.05)
    experience = linear_round([0.0], [0.5], [2.0], [True], [False], [0.0])
    state, metrics = learner.update(state, experience)
    # One step, to a mean of 0.5 and a deviation of exp(-0.5), is one too many already.
    head = state.policy["params"]["MLP_0"]["Dense_0"]
    np.testing.assert_allclose(head["bias"], [0.5, -0.5], atol=1e-5)
    np.testing.assert_allclose(metrics["policy_steps"], 1 / 3, rtol=1e-6)
    # the log-ratio is 0.5 + 0.125, of which two of the three steps have seen the change
    np.testing.assert_allclose(
        metrics["policy_change"], 2 / 3 * (math.expm1(0.625) - 0.625), rtol=1e-4
    )
    assert int(state.step) == 3
    draw = Draw(experience.notes.sample, np.full((1, 1), -0.919 + 0.5, np.float32))
    _, metrics = learner.update(state, experience._replace(notes=draw))
    assert float(metrics["policy_steps"]) > 0.3


@pytest.mark.parametrize("bound", [None, 1.0])
def test_the_entropy_bonus_widens_a_narrow_policy(bound: float | None):
    """Where all actions are as good. Adam's first step is the learning rate by a known sign."""
    learner, state = make_linear(
        bound, entropy_weight=1.0, policy_learning_rate=0.01, change_limit=None
    )
    policy = jax.tree.map(jnp.copy, state.policy)
    policy["params"]["MLP_0"]["Dense_0"]["bias"] = jnp.array([0.0, -3.0])
    state = dataclasses.replace(state, policy=policy)
    sample = np.linspace(-0.1, 0.1, 50)
    never, nothing = np.zeros(50, bool), np.zeros(50)
    experience = linear_round(nothing, sample, nothing, never, never, nothing)
    state, metrics = learner.update(state, experience)
    head = state.policy["params"]["MLP_0"]["Dense_0"]
    np.testing.assert_allclose(head["bias"][1], -2.99, atol=1e-5)
    # of the Gaussian; the tanh has a slope of 1 about its middle
    entropy = 0.5 * math.log(2 * math.pi * math.e) - 3.0
    np.testing.assert_allclose(metrics["entropy"], entropy, rtol=1e-5 if bound is None else 0.2)


def test_gradients_are_clipped():
    learner, state = make_linear(gradient_clip=1e-3)
    experience = linear_round([3.0], [0.5], [7.0], [True], [False], [0.0])
    state, _ = learner.update(state, experience)
    for optimizer in (state.policy_optimizer, state.value_optimizer):
        # Adam's first moment is a tenth of the gradient that it is given
        np.testing.assert_allclose(optax.tree.norm(optimizer[1][0].mu), 1e-4, rtol=1e-4)


def test_seeds_under_vmap_equal_separate_seeds():
    keys, learner = jax.random.split(jax.random.key(0), 3), make_small()
    ones = [compiled().init(key) for key in keys]
    rounds = [make_round(compiled(), state, seed) for seed, state in enumerate(ones)]
    stack = functools.partial(jax.tree.map, lambda *x: jnp.stack(x))
    many, _ = quick_jit(jax.vmap(learner.update))(stack(*ones), stack(*rounds))
    for seed in range(3):
        one, _ = compiled().update(ones[seed], rounds[seed])
        mine = jax.tree.map(lambda x, i=seed: x[i], (many.policy, many.value, many.step))
        chex.assert_trees_all_close(mine, (one.policy, one.value, one.step), atol=1e-5)


def test_update_is_deterministic_and_advances_its_key():
    learner = compiled()
    state = learner.init(jax.random.key(0))
    experience = make_round(learner, state, 0)
    first, _ = learner.update(state, experience)
    again, _ = learner.update(state, experience)
    chex.assert_trees_all_equal(first.policy, again.policy)
    assert not (jax.random.key_data(first.key) == jax.random.key_data(state.key)).all()
    # another order of the minibatches
    other, _ = learner.update(dataclasses.replace(state, key=first.key), experience)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(first.policy, other.policy)


def test_networks_see_only_the_names_they_are_given():
    learner = make_small(policy_observation=("y",), value_observation=("y", "x"))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    assert state.policy["params"]["MLP_0"]["Dense_0"]["kernel"].shape == (2, 8)
    assert state.value["params"]["Dense_0"]["kernel"].shape == (5, 8)
    act = functools.partial(learner.act, explore=True)
    only_y = {"y": jnp.ones((4, 2))}
    chosen = jax.eval_shape(act, state.policy, only_y, jax.random.key(0))
    assert chosen.action.shape == (4, 2)


def test_a_round_that_does_not_divide_is_refused():
    learner = make_small(minibatches=5)
    state = compiled().init(jax.random.key(0))
    with pytest.raises(UserError, match="minibatches must divide the 24 transitions of a round"):
        jax.eval_shape(learner.update, state, make_round(compiled(), state, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy_learning_rate": 0.0}, "policy_learning_rate=0.0 should be positive"),
        ({"discount": 1.01}, "discount=1.01 should be in"),
        ({"gae_lambda": -0.1}, "gae_lambda=-0.1 should be in"),
        ({"clip": 0.0}, "clip=0.0 should be between 0 and 1"),
        ({"epochs": 0}, "epochs=0 should be at least 1"),
        ({"minibatches": 0}, "minibatches=0 should be at least 1"),
        ({"entropy_weight": -1.0}, "entropy_weight=-1.0 should be at least 0"),
        ({"gradient_clip": 0.0}, "gradient_clip=0.0 should be positive, or none"),
        ({"change_limit": 0.0}, "change_limit=0.0 should be positive, or none"),
        ({"policy_delay": -1}, "policy_delay=-1 should be at least 0"),
        ({"min_log_std": 3.0}, "min_log_std=3.0 should be at most max_log_std"),
        ({"mean_bound": 0.0}, "mean_bound=0.0 should be positive, or none"),
        ({"policy_observation": ("x", "z")}, "policy_observation: .* z; there are x, y"),
        ({"value_observation": ("q",)}, "value_observation: .* q; there are x, y"),
    ],
)
def test_senseless_configs_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_small(**changes)
