"""The conditional variational autoencoder: its annealing, its statistics, and what it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.methods.models import Stage
from behavior_priors.methods.others import restore_model
from behavior_priors.priors.annealing import logistic
from behavior_priors.priors.conditional_vae import ConditionalVAEConfig, make_conditional_vae
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import STATISTICS, Params, Prior
from tests.priors.modes import ACTION, SPEC, demonstrations, shares

SMALL = ConditionalVAEConfig(
    encoder_widths=(16,), latent_size=2, widths=(32, 16), beta=0.02, anneal_steps=300
)
FIT = FitConfig(steps=1500, steps_per_epoch=750, batch_size=128, learning_rate=3e-3, keep="last")


def make(**changes: Any) -> Prior:
    return make_conditional_vae(dataclasses.replace(SMALL, **changes), SPEC, ACTION)


@pytest.fixture(scope="module")
def learned() -> tuple[Prior, Params]:
    prior = make()
    data = demonstrations(0, 2000), demonstrations(1, 200)
    with jax.numpy_dtype_promotion("standard"):  # which Adam needs
        return prior, fit(prior, FIT, *data, jax.random.key(0)).best_params


def test_the_weight_begins_at_nothing_and_has_half_its_end_after_the_steps_of_the_paper() -> None:
    def weight(step: int | None, half: int = 25_000) -> float:
        return float(logistic(2.0, half, None if step is None else jnp.int32(step)))

    assert weight(0) < 1e-4
    assert weight(25_000) == 1.0
    assert weight(50_000) == pytest.approx(2.0, abs=1e-4)
    assert weight(None) == weight(0, half=0) == 2.0
    assert ConditionalVAEConfig().anneal_steps == 25_000


def test_the_loss_is_its_parts_under_the_weight_of_its_step() -> None:
    prior = make(batch_norm=False)
    params = jax.jit(prior.init)(jax.random.key(0))
    batch, loss = demonstrations(2, 64), jax.jit(prior.loss)
    for step, beta in ((None, 0.02), (jnp.int32(300), 0.01)):
        value, metrics = loss(params, batch, jax.random.key(1), step)
        assert float(metrics["beta"]) == pytest.approx(beta, rel=1e-5)
        expected = metrics["reconstruction"] + beta * metrics["divergence"]
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert prior.statistics is None
    assert STATISTICS not in params


def test_it_makes_both_modes(learned: tuple[Prior, Params]) -> None:
    one, other = shares(*learned)
    assert min(one, other) > 0.3
    assert one + other > 0.75  # the rest lie between them, which a decoder cannot leave out


def test_a_state_s_action_does_not_depend_on_those_beside_it(learned: tuple[Prior, Params]) -> None:
    """Running statistics normalise in acting; in learning the batch's own do."""
    prior, params = learned
    observation = demonstrations(4, 6)["observation"]
    latent = jax.random.normal(jax.random.key(5), (6, 2))

    @jax.jit
    def decode(latent: jax.Array, observation: Any) -> jax.Array:
        return prior.decode(params, latent, prior.encode(params, observation))

    together = decode(latent, observation)
    alone = decode(latent[3:4], jax.tree.map(lambda x: x[3:4], observation))
    np.testing.assert_allclose(together[3:4], alone, atol=1e-5)
    single = jax.jit(prior.decode)(
        params, latent[3], prior.encode(params, jax.tree.map(lambda x: x[3], observation))
    )
    np.testing.assert_allclose(together[3], single, atol=1e-5)


def test_statistics_follow_the_data_and_acting_leaves_them(learned: tuple[Prior, Params]) -> None:
    prior, params = learned
    fresh = jax.jit(prior.init)(jax.random.key(0))
    batch, key = demonstrations(6, 256), jax.random.key(1)
    assert prior.statistics is not None
    moved = jax.jit(prior.statistics)(fresh, batch, key)
    first = moved["encoder"]["BatchNorm_0"]
    # a tenth of the way from 0 to the batch's mean, and from 1 to its variance
    features = prior.encode(fresh, batch["observation"])
    layer = fresh["params"]["encoder"]["Dense_0"]
    x = jnp.concatenate([batch["action"], features], -1) @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(first["mean"], 0.1 * x.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first["var"], 0.9 + 0.1 * x.var(0), rtol=1e-4, atol=1e-5)
    # fitting has moved them far from where they began
    learned_mean = params[STATISTICS]["encoder"]["BatchNorm_0"]["mean"]
    assert float(jnp.abs(learned_mean).max()) > 0.05
    # and their gradient is zero, by the loss of learning
    gradient = jax.jit(jax.grad(lambda p: prior.loss(p, batch, key, jnp.int32(0))[0]))(params)
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(gradient[STATISTICS]))


def test_statistics_are_there_again_when_the_model_is(
    learned: tuple[Prior, Params], tmp_path: Path
) -> None:
    prior, params = learned
    Checkpointer(tmp_path / "conditional_vae" / "checkpoints").save(1, {"best_params": params})
    stage = Stage("conditional_vae", SMALL, prior, FIT)
    restored = restore_model(stage, tmp_path).params
    means = restored[STATISTICS]["encoder"]["BatchNorm_0"]["mean"]
    assert float(jnp.abs(means).max()) > 0.05
    assert jax.tree.structure(restored) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, restored, params)


def test_bad_configs() -> None:
    with pytest.raises(UserError, match="latent_size=0 should be at least 1"):
        make(latent_size=0)
    with pytest.raises(UserError, match="positon"):
        make(observation=("positon",))
