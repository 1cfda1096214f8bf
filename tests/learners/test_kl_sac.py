"""Staying close to a prior: divergences in closed form, and when it is another method."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors import distributions
from behavior_priors.errors import UserError
from behavior_priors.learner import Learner
from behavior_priors.learners.kl_sac import DivergenceConfig, make_kl_sac
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.learners.sac import SACConfig, entropy_penalty, make_sac, make_steps
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.mixture import MixtureConfig, make_mixture
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.types import ActionSpec, ArraySpec, Transition
from tests.learners.test_sac import SMALL, SPEC, compile_learner, make_batch


class Uniform:
    """A prior that finds everything equally likely."""

    def log_prob(self, x: jax.Array) -> jax.Array:
        return jnp.zeros(x.shape[:-1])


def standard(_: Any) -> Any:
    """`N(0, I)` over two dimensions, for a batch of 16."""
    return distributions.policy_distribution(jnp.zeros((16, 2)), jnp.zeros((16, 2)), None)


def make(
    divergence: DivergenceConfig, prior: Any = standard, bound: float | None = None
) -> Learner:
    learner = make_kl_sac(SMALL, divergence, SPEC, ActionSpec(2, bound), prior)
    return compile_learner(learner)


@pytest.mark.parametrize("bound", [None, 1.0])
def test_with_a_uniform_prior_it_is_soft_actor_critic(bound: float | None) -> None:
    """Slide 11: the original objective is the divergence from a uniform policy.

    Three updates, bit for bit, of everything that either learner remembers.
    """
    spec = ActionSpec(2, bound)
    target = -distributions.default_target_entropy(2, bound)
    ours = compile_learner(
        make_kl_sac(
            SMALL, DivergenceConfig(target=target, samples=1), SPEC, spec, lambda _: Uniform()
        )
    )
    theirs = compile_learner(make_sac(SMALL, SPEC, spec))
    states = [learner.init(jax.random.key(0)) for learner in (ours, theirs)]
    for seed in range(3):
        batch = make_batch(seed, 16)
        (ours_state, metrics), (theirs_state, other) = (
            learner.update(state, batch)
            for learner, state in zip((ours, theirs), states, strict=True)
        )
        states = [ours_state, theirs_state]
        assert metrics["divergence"] == -other["entropy"]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def gaussian(mean: list[float], log_std: list[float], bound: float | None = None) -> Any:
    return distributions.policy_distribution(jnp.array(mean), jnp.array(log_std), bound)


@pytest.mark.parametrize("bound", [None, 2.0])
def test_divergences_in_closed_form_and_in_samples(bound: float | None) -> None:
    """`KL(N(1, 1) || N(0, 2)) = log 2 + 2 / 8 - 1 / 2`, `KL(N(0, 1) || N(0, 1)) = 0`.

    The same between tanhs of them.
    """
    ours = gaussian([1.0, 0.0], [0.0, 0.0], bound)
    prior = gaussian([0.0, 0.0], [math.log(2.0), 0.0], bound)
    expected = math.log(2.0) + 0.25 - 0.5
    key = jax.random.key(0)
    action, exact = distributions.divergence(ours, prior, key, samples=None)
    np.testing.assert_allclose(exact, expected, rtol=1e-6)
    assert action.shape == (2,)
    _, sampled = distributions.divergence(ours, prior, key, samples=100_000)
    # the log-ratio has a standard deviation of 1
    np.testing.assert_allclose(sampled, expected, atol=4 * 100_000**-0.5)
    _, nothing = distributions.divergence(ours, ours, key, samples=3)
    np.testing.assert_allclose(nothing, 0.0, atol=1e-6)


def test_the_sampled_divergence_has_the_gradient_of_the_exact_one() -> None:
    prior = gaussian([0.3, -0.2], [0.5, -0.1])

    def distance(mean: jax.Array, samples: int | None) -> jax.Array:
        ours = distributions.policy_distribution(mean, jnp.array([-0.5, 0.2]), None)
        return distributions.divergence(ours, prior, jax.random.key(1), samples=samples)[1]

    mean = jnp.array([1.0, 0.5])
    exact = jax.grad(distance)(mean, None)
    # (mean - prior's mean) / prior's variance
    np.testing.assert_allclose(exact, [0.7 / math.exp(1.0), 0.7 / math.exp(-0.2)], rtol=1e-5)
    np.testing.assert_allclose(jax.grad(distance)(mean, 40_000), exact, atol=0.03)


def test_a_mixture_of_one_is_a_gaussian_and_has_to_be_sampled() -> None:
    ours = gaussian([1.0, 0.0], [0.0, 0.0])
    one = distributions.mixture_distribution(
        jnp.zeros(1), jnp.array([[0.0, 0.0]]), jnp.array([[math.log(2.0), 0.0]]), None
    )
    _, sampled = distributions.divergence(ours, one, jax.random.key(0), samples=100_000)
    np.testing.assert_allclose(sampled, math.log(2.0) - 0.25, atol=0.02)
    _, few = distributions.divergence(ours, one, jax.random.key(0), samples=None)
    _, ten = distributions.divergence(ours, one, jax.random.key(0), samples=10)
    assert few == ten
    # squashed and not squashed are not alike either
    squashed = gaussian([0.1, 0.0], [-1.0, -1.0], 2.0)
    _, sampled = distributions.divergence(squashed, ours, jax.random.key(0), samples=1000)
    assert float(sampled) > 0.0


def test_the_public_codes_ten_samples_and_their_limit() -> None:
    """[9] Its estimate differs from the closed form, which is the default, and is clipped."""
    far = lambda _: distributions.policy_distribution(  # noqa: E731
        jnp.full((16, 2), 30.0), jnp.zeros((16, 2)), None
    )
    batch = make_batch(0, 16)
    values = {}
    for name, config in {
        "exact": DivergenceConfig(),
        "sampled": DivergenceConfig(samples=10),
        "limited": DivergenceConfig(samples=10, limit=100.0),
    }.items():
        learner = make(config, far)
        values[name] = float(
            learner.update(learner.init(jax.random.key(0)), batch)[1]["divergence"]
        )
    # a policy that starts as N(0, I): 2 * 30^2 / 2
    assert values["exact"] == pytest.approx(900.0, rel=1e-6)
    assert values["sampled"] == pytest.approx(900.0, abs=4 * 42.4 / math.sqrt(160))
    assert values["sampled"] != values["exact"]
    assert values["limited"] == 100.0


@pytest.mark.parametrize(("per_dimension", "target"), [(False, 3.0), (True, 1.5)])
def test_the_temperature_rises_above_the_target_and_falls_below(
    per_dimension: bool, target: float
) -> None:
    """The divergence from N(1.5, I) is 2.25: below 3, and above 2."""
    shifted = lambda _: distributions.policy_distribution(  # noqa: E731
        jnp.full((16, 2), 1.5), jnp.zeros((16, 2)), None
    )
    batch = make_batch(0, 16)
    for factor, sign in ((1.0, -1.0), (2.0 / 3.0, 1.0)):
        config = DivergenceConfig(target=factor * target, per_dimension=per_dimension)
        learner = make(config, shifted)
        state = learner.update(learner.init(jax.random.key(0)), batch)[0]
        assert np.sign(float(state.log_temperature)) == sign


def test_a_fixed_temperature_has_the_value_that_it_is_given() -> None:
    """[14] The public code's stays at 1."""
    config = dataclasses.replace(SMALL, initial_temperature=0.1, fixed_temperature=True)
    learner = make_kl_sac(config, DivergenceConfig(), SPEC, ActionSpec(2, None), standard)
    learner = compile_learner(learner)
    state, metrics = learner.update(learner.init(jax.random.key(0)), make_batch(0, 16))
    assert metrics["temperature"] == pytest.approx(0.1)
    assert float(state.log_temperature) == pytest.approx(math.log(0.1))


def test_the_prior_is_no_part_of_what_is_learned() -> None:
    """[11] A policy from the prior's parameters, and nothing beside it."""
    prior = make_gaussian(GaussianConfig(("x",), (8,)), SPEC, ActionSpec(2, None))
    params = prior.init(jax.random.key(3))
    config = dataclasses.replace(SMALL, policy_observation=("x",))
    learner = make_kl_sac(
        config,
        DivergenceConfig(),
        SPEC,
        ActionSpec(2, None),
        lambda o: prior.distribution(params, prior.encode(params, o)),
        params,
    )
    state = learner.init(jax.random.key(0))
    assert jax.tree.structure(state.policy) == jax.tree.structure(params)
    _, metrics = jax.jit(learner.update)(state, make_batch(0, 16))
    np.testing.assert_allclose(metrics["divergence"], 0.0, atol=1e-6)


@pytest.mark.parametrize("widths", [(8,), ()])
def test_a_policy_that_sees_more_starts_as_the_prior(widths: tuple[int, ...]) -> None:
    spec = {"a": ArraySpec((2,)), "b": ArraySpec((3,), scale=2.0), "c": ArraySpec((1,))}
    prior = make_gaussian(GaussianConfig(("c", "a"), widths), spec, ActionSpec(2, None))
    shapes = jax.eval_shape(prior.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)
    names = ("a", "b", "c")
    policy = start_from_prior(params, ("c", "a"), names, spec)
    wide = make_gaussian(GaussianConfig(names, widths), spec, ActionSpec(2, None))
    observation = {
        n: jnp.asarray(rng.normal(size=(4, *s.shape)), jnp.float32) for n, s in spec.items()
    }
    np.testing.assert_allclose(
        wide.encode(policy, observation), prior.encode(params, observation), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(UserError, match="but c is missing"):
        start_from_prior(params, ("c", "a"), ("a", "b"), spec)


def test_a_bound_that_is_counted_once() -> None:
    """[5] In ten dimensions with bound 2 the public code's log-density is 9 log 2 too high."""
    spec = ActionSpec(10, 2.0)
    policy = distributions.policy_distribution(jnp.zeros(10), jnp.zeros(10), 2.0)
    key = jax.random.key(0)
    right, wrong = (
        entropy_penalty(SACConfig(bound_once=once), spec).draw((), policy, {}, key)[1]
        for once in (False, True)
    )
    assert float(wrong - right) == pytest.approx(9 * math.log(2.0), rel=1e-5)
    exact = policy.sample_and_log_prob(seed=key)[1]
    assert right == exact
    unbounded = entropy_penalty(SACConfig(bound_once=True), ActionSpec(10, None))
    free = distributions.policy_distribution(jnp.zeros(10), jnp.zeros(10), None)
    assert unbounded.draw((), free, {}, key)[1] == free.sample_and_log_prob(seed=key)[1]


@pytest.mark.parametrize("family", ["mixture", "real_nvp"])
def test_a_flow_and_a_mixture_serve_as_priors(family: str) -> None:
    """N(0, I) is a mixture whose every component is that, and a flow that changes nothing."""
    if family == "mixture":
        prior = make_mixture(MixtureConfig(("x",), 3, (8,)), SPEC, ActionSpec(2, None))
    else:
        flow = RealNVPConfig(("x",), couplings=2, encoder_widths=(8,), conditioner_widths=(8,))
        prior = make_real_nvp(flow, SPEC, ActionSpec(2, None))
    params = jax.tree.map(jnp.zeros_like, prior.init(jax.random.key(0)))
    learner = compile_learner(
        make_kl_sac(
            SMALL,
            DivergenceConfig(samples=4),
            SPEC,
            ActionSpec(2, None),
            lambda o: prior.distribution(params, prior.encode(params, o)),
        )
    )
    batch: Transition = make_batch(0, 16)
    _, metrics = learner.update(learner.init(jax.random.key(0)), batch)
    np.testing.assert_allclose(metrics["divergence"], 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples=0 should be at least 1"),
        ({"limit": 0.0}, "limit=0.0 should be positive"),
    ],
)
def test_a_config_that_makes_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_kl_sac(SMALL, DivergenceConfig(**changes), SPEC, ActionSpec(2, None), standard)


def test_regularized_learners_share_their_checks() -> None:
    penalty = entropy_penalty(SMALL, ActionSpec(2))
    with pytest.raises(UserError, match="no observation is called z"):
        make_steps(
            dataclasses.replace(SMALL, critic_observation=("z",)), SPEC, ActionSpec(2), penalty
        )
