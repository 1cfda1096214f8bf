"""The skill model: who sees whose gradient, sums and averages, closed and open loop."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.data.dataset import Windows
from behavior_priors.distributions import gaussian_divergence
from behavior_priors.errors import UserError
from behavior_priors.priors.skill_vae import (
    SkillVAEConfig,
    make_skill_prior,
    make_skill_vae,
    summed_beta,
)
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import ActionSpec, ArraySpec, Params, SkillModel

SPEC = {"x": ArraySpec((3,), location=1.0, scale=2.0), "secret": ArraySpec((2,))}
HORIZON, SIZE, LATENT = 4, 2, 3

SMALL = SkillVAEConfig(
    horizon=HORIZON,
    latent_size=LATENT,
    prior_observation=("x",),
    decoder_observation=("x",),
    embedding_width=8,
    lstm_width=8,
    decoder_widths=(8,),
    prior_widths=(8,),
)


def make(**changes: Any) -> SkillModel:
    return make_skill_vae(dataclasses.replace(SMALL, **changes), SPEC, ActionSpec(SIZE))


def make_batch(seed: int, size: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "observation": {
            n: jnp.asarray(rng.normal(size=(size, HORIZON, *s.shape)), jnp.float32)
            for n, s in SPEC.items()
        },
        "action": jnp.asarray(rng.uniform(-1, 1, (size, HORIZON, SIZE)), jnp.float32),
    }


def make_params(skills: SkillModel, seed: int = 0) -> Params:
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(skills.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype), shapes)
    return {**params, "log_beta": jnp.log(jnp.float32(0.01))}


def first(observation: dict[str, Any]) -> dict[str, Any]:
    return {n: x[:, 0] for n, x in observation.items()}


@pytest.mark.parametrize("prior", ["gaussian", "mixture", "real_nvp"])
def test_the_priors_gradient_never_reaches_the_encoder(prior: Any) -> None:
    """The gradient of the rest does not depend on whether the prior learns."""
    skills = make(prior=prior)
    params, batch = make_params(skills), make_batch(0, 5)
    gradient = jax.jit(jax.grad(lambda p: skills.loss(p, batch, jax.random.key(1), None)[0]))
    whole = gradient(params)
    others = {**params, "prior": make_params(skills, seed=9)["prior"]}
    for part in ("encoder", "decoder"):
        for a, b in zip(
            jax.tree.leaves(whole[part]), jax.tree.leaves(gradient(others)[part]), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(whole["prior"])) > 1e-3
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(whole["encoder"])) > 1e-3


def test_the_loss_by_its_parts() -> None:
    """Sums over steps and dimensions; beta times a divergence that is summed as well."""
    skills = make()
    params, batch = make_params(skills), make_batch(0, 5)
    key = jax.random.key(2)
    loss, metrics = jax.jit(skills.loss)(params, batch, key, None)
    posterior = skills.infer(params, batch["observation"], batch["action"])
    mean, log_std = posterior.loc, jnp.log(posterior.scale_diag)
    divergence = gaussian_divergence(mean, log_std, 0 * mean, 0 * mean).mean()
    skill = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
    plan = skills.begin(params, skill, first(batch["observation"]))
    error = 0.0
    for step in range(HORIZON):
        seen = {n: x[:, step] for n, x in batch["observation"].items()}
        action, plan = skills.advance(params, plan, seen)
        error += 0.5 * jnp.square(action - batch["action"][:, step]).sum(-1).mean()
    prior_params = skills.prior_params(params)
    features = skills.prior.encode(prior_params, first(batch["observation"]))
    nll = -skills.prior.log_prob(prior_params, skill, features).mean()
    np.testing.assert_allclose(metrics["divergence"], divergence, rtol=1e-5)
    np.testing.assert_allclose(metrics["reconstruction"], error, rtol=1e-5)
    np.testing.assert_allclose(metrics["prior_nll"], nll, rtol=1e-5)
    # the entropy of a Gaussian, which makes a divergence of the likelihood
    entropy = (0.5 * jnp.log(2 * jnp.pi * jnp.e) + log_std).sum(-1).mean()
    np.testing.assert_allclose(metrics["prior_divergence"], nll - entropy, rtol=1e-5)
    np.testing.assert_allclose(loss, error + 0.01 * divergence + nll - entropy, rtol=1e-5)
    np.testing.assert_allclose(metrics["mse"], 2 * error / (HORIZON * SIZE), rtol=1e-5)


def test_averages_are_the_same_objective_in_other_units() -> None:
    """[10] With the weight converted, the loss in sums is the one in averages times 8."""
    beta = 5e-3
    averaged, summed = make(averaged=True), make()
    params, batch, key = make_params(summed), make_batch(0, 5), jax.random.key(2)
    params |= {"prior": jax.tree.map(jnp.zeros_like, params["prior"])}

    def gradient(skills: SkillModel, weight: float) -> Params:
        weighted = {**params, "log_beta": jnp.log(jnp.float32(weight))}
        whole = jax.jit(jax.grad(lambda p: skills.loss(p, batch, key, None)[0]))(weighted)
        return {part: whole[part] for part in ("encoder", "decoder")}

    ours = gradient(summed, summed_beta(beta, HORIZON, SIZE, LATENT))
    theirs = gradient(averaged, beta)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, HORIZON * SIZE * b, rtol=1e-3, atol=1e-6)


def test_the_public_codes_weights_in_sums() -> None:
    """Kitchen 5e-4 with 9 actions, image maze 1e-2 with 2, stacking 1e-2 with 3, office with 8."""
    weights = [(5e-4, 9, 4.5e-3), (1e-2, 2, 2e-2), (1e-2, 3, 3e-2), (1e-4, 3, 3e-4)]
    for beta, action_size, expected in [*weights, (5e-4, 8, 4e-3), (1e-3, 2, 2e-3)]:
        assert summed_beta(beta, 10, action_size, 10) == pytest.approx(expected)


@pytest.mark.parametrize("averaged", [False, True])
def test_beta_moves_towards_the_target_divergence(averaged: bool) -> None:
    """It rises where the divergence is above its target; the loss's value knows nothing of it."""
    batch, key = make_batch(0, 5), jax.random.key(2)
    plain = make(averaged=averaged)
    params = make_params(plain)
    loss, metrics = jax.jit(plain.loss)(params, batch, key, None)
    shown = float(metrics["divergence"]) / (LATENT if averaged else 1)
    for factor, sign in ((2.0, 1.0), (0.5, -1.0)):
        skills = make(averaged=averaged, target_divergence=factor * shown)
        value, gradient = jax.jit(
            jax.value_and_grad(lambda p, s=skills: s.loss(p, batch, key, None)[0])
        )(params)
        np.testing.assert_allclose(value, loss, rtol=1e-6)
        np.testing.assert_allclose(gradient["log_beta"], (factor - 1.0) * shown, rtol=1e-4)
        assert np.sign(gradient["log_beta"]) == sign
    still = jax.jit(jax.grad(lambda p: plain.loss(p, batch, key, None)[0]))(params)
    assert still["log_beta"] == 0.0


def test_an_open_loop_sees_nothing() -> None:
    """Its actions depend on the skill alone, its posterior on actions alone."""
    skills = make(decoder="open_loop")
    params = make_params(skills)
    batch, other = make_batch(0, 5), make_batch(1, 5)
    skill = jnp.ones((5, LATENT))

    def actions(observation: dict[str, Any]) -> list[Any]:
        plan, found = skills.begin(params, skill, first(observation)), []
        for step in range(HORIZON):
            action, plan = skills.advance(
                params, plan, {n: x[:, step] for n, x in observation.items()}
            )
            found.append(action)
        return found

    here, there = actions(batch["observation"]), actions(other["observation"])
    np.testing.assert_array_equal(here, there)
    assert not np.allclose(here[0], here[1])  # a sequence, not one action
    means = [skills.infer(params, o["observation"], batch["action"]).loc for o in (batch, other)]
    np.testing.assert_array_equal(*means)
    loss, _ = jax.jit(skills.loss)(params, batch, jax.random.key(0), None)
    assert np.isfinite(loss)
    gradient = jax.grad(lambda p: skills.loss(p, batch, jax.random.key(0), None)[0])(params)
    # the first action before, and the first state, are learned
    for name in ("first_action", "first_carry"):
        assert np.abs(gradient["decoder"]["params"][name]).max() > 0


def test_a_closed_loop_sees_what_it_is_given() -> None:
    skills = make()
    params, batch = make_params(skills), make_batch(0, 5)
    skill = jnp.ones((5, LATENT))
    seen = first(batch["observation"])
    action, _ = skills.advance(params, skills.begin(params, skill, seen), seen)
    hidden = {**seen, "secret": seen["secret"] + 1.0}
    same, _ = skills.advance(params, skills.begin(params, skill, hidden), hidden)
    np.testing.assert_array_equal(action, same)
    shown = {**seen, "x": seen["x"] + 1.0}
    another, _ = skills.advance(params, skills.begin(params, skill, shown), shown)
    assert not np.allclose(action, another)


@pytest.mark.parametrize("objective", ["forward", "reverse"])
def test_the_direction_of_the_priors_objective(objective: Any) -> None:
    """In closed form, with posteriors held fixed."""
    skills = make(prior_objective=objective)
    params, batch, key = make_params(skills), make_batch(0, 5), jax.random.key(2)
    loss, metrics = jax.jit(skills.loss)(params, batch, key, None)
    posterior = skills.infer(params, batch["observation"], batch["action"])
    q = (posterior.loc, jnp.log(posterior.scale_diag))
    prior_params = skills.prior_params(params)
    p = jnp.split(skills.prior.encode(prior_params, first(batch["observation"])), 2, axis=-1)
    pair = (*q, *p) if objective == "forward" else (*p, *q)
    expected = gaussian_divergence(*pair).mean()
    rest = metrics["reconstruction"] + 0.01 * metrics["divergence"]
    np.testing.assert_allclose(loss - rest, expected, rtol=1e-4)


def test_a_squashed_prior_has_the_same_parameters() -> None:
    """[6] The public code reads a prior over `z` as one over `u`, and executes `2 tanh(u)`."""
    free, squashed = (make_skill_prior(SMALL, SPEC, bound) for bound in (None, 2.0))
    params = make_params(make())["prior"]
    observation = {"x": jnp.ones((1, 3)), "secret": jnp.zeros((1, 2))}
    noise = jnp.zeros((1, LATENT))
    z = free.decode(params, noise, free.encode(params, observation))
    executed = squashed.decode(params, noise, squashed.encode(params, observation))
    np.testing.assert_allclose(executed, 2.0 * jnp.tanh(z), rtol=1e-6)


def test_it_learns_two_skills_and_when_they_come() -> None:
    """Actions are all 0.8 or all -0.8; which of them, the first observation says."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], (2000, 1, 1)).astype(np.float32)
    x = np.broadcast_to(sign, (2000, HORIZON, 3)) + 0.1 * rng.normal(size=(2000, HORIZON, 3))
    action = np.broadcast_to(0.8 * sign, (2000, HORIZON, SIZE))
    data = Windows(
        observation={
            "x": jnp.asarray(x.reshape(-1, 3), jnp.float32),
            "secret": jnp.zeros((2000 * HORIZON, 2)),
        },
        action=jnp.asarray(action.reshape(-1, SIZE)),
        start=jnp.arange(0, 2000 * HORIZON, HORIZON),
        length=HORIZON,
    )
    # the decoder sees nothing that tells them apart
    skills = make(decoder_observation=("secret",), beta=1e-2)
    train, validation = (
        dataclasses.replace(data, start=data.start[rows])
        for rows in (slice(1800), slice(1800, None))
    )
    config = FitConfig(steps=400, steps_per_epoch=200, batch_size=64, learning_rate=5e-3)
    with jax.numpy_dtype_promotion("standard"):  # which Adam needs
        state = fit(skills, config, train, validation, jax.random.key(0))
    params = state.best_params
    for side in (-1.0, 1.0):
        observation = {"x": jnp.full((64, 3), side), "secret": jnp.zeros((64, 2))}
        prior_params = skills.prior_params(params)
        features = skills.prior.encode(prior_params, observation)
        skill = skills.prior.decode(
            prior_params, jax.random.normal(jax.random.key(1), (64, LATENT)), features
        )
        action, _ = skills.advance(params, skills.begin(params, skill, observation), observation)
        np.testing.assert_allclose(action.mean(axis=0), [0.8 * side] * 2, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon=0 should be at least 1"),
        ({"beta": 0.0}, "beta=0.0 should be positive"),
        ({"prior_observation": ("y",)}, "prior_observation: the skill model is to see y"),
        ({"target_divergence": -1.0}, "should be positive, or none"),
        ({"prior_objective": "reverse", "prior": "mixture"}, "needs prior=gaussian"),
    ],
)
def test_a_config_that_makes_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)
