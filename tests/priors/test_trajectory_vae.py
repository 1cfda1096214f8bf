"""The autoencoder of whole episodes: what it counts, in which order it acts, and what it learns."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.data.dataset import Windows
from behavior_priors.errors import UserError
from behavior_priors.priors.trajectory_vae import TrajectoryVAEConfig, make_trajectory_vae
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import STATISTICS, ActionSpec, Params, SkillModel

HORIZON = 5
SMALL = TrajectoryVAEConfig(
    latent_size=2, widths=(32, 16), beta=0.01, anneal_steps=300, horizon=HORIZON
)


def make(**changes: Any) -> SkillModel:
    return make_trajectory_vae(dataclasses.replace(SMALL, **changes), {}, ActionSpec(2, 1.0))


def episodes(seed: int, count: int, lengths: Any = None) -> Windows:
    """Circles one way or the other, of any phase: episodes of five steps, one after the other."""
    rng = np.random.default_rng(seed)
    phase, way = rng.uniform(0, 2 * np.pi, (count, 1)), rng.choice([-1.0, 1.0], (count, 1))
    angle = phase + way * np.arange(HORIZON)
    action = 0.8 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return Windows(
        observation={},
        action=jnp.asarray(action.reshape(-1, 2), jnp.float32),
        start=jnp.arange(count) * HORIZON,
        length=HORIZON,
        steps=jnp.full(count, HORIZON) if lengths is None else jnp.asarray(lengths),
    )


@pytest.fixture(scope="module")
def learned() -> tuple[SkillModel, Params]:
    model = make()
    config = FitConfig(
        steps=2000, steps_per_epoch=1000, batch_size=128, learning_rate=3e-3, keep="last"
    )
    data = episodes(0, 1000), episodes(1, 100)
    with jax.numpy_dtype_promotion("standard"):  # which Adam needs
        return model, fit(model, config, *data, jax.random.key(0)).best_params


def act(model: SkillModel, params: Params, latent: jax.Array) -> np.ndarray:
    """The actions `[horizon, batch, 2]` of latents."""
    plan, actions = model.begin(params, latent, {}), []
    for _ in range(model.horizon):
        action, plan = model.advance(params, plan, {})
        actions.append(action)
    return np.stack(actions)


def test_episodes_come_back_in_their_order(learned: tuple[SkillModel, Params]) -> None:
    model, params = learned
    shown = episodes(2, 50).take(jnp.arange(50))["action"]
    latent = model.infer(params, {}, shown).mode()
    done = act(model, params, latent).swapaxes(0, 1)
    assert np.abs(done - shown).mean() < 0.12
    # other orders of the same actions are far from it
    assert np.abs(np.roll(done, 1, axis=1) - shown).mean() > 0.4
    assert np.abs(done[:, ::-1] - shown).mean() > 0.4


def test_an_episodes_actions_are_decided_when_it_begins(learned: tuple[SkillModel, Params]) -> None:
    model, params = learned
    one = act(model, params, jnp.array([0.3, -0.2]))
    many = act(model, params, jnp.array([[0.3, -0.2], [1.0, 1.0], [0.3, -0.2]]))
    np.testing.assert_allclose(one, many[:, 0], atol=1e-5)
    np.testing.assert_allclose(one, many[:, 2], atol=1e-5)
    assert model.prior is None  # N(0, I), whatever is seen
    assert model.is_whole


def test_steps_that_there_are_not_count_for_nothing() -> None:
    model = make(batch_norm=False)
    params = model.init(jax.random.key(0))
    whole, short = episodes(3, 8), episodes(3, 8, [2] * 8)
    batch = short.take(jnp.arange(8))
    loss = jax.jit(model.loss)
    value, metrics = loss(params, batch, jax.random.key(1), None)
    spoiled = dict(batch, action=batch["action"].at[:, 2:].set(77.0))
    assert loss(params, spoiled, jax.random.key(1), None)[0] == value
    assert loss(params, whole.take(jnp.arange(8)), jax.random.key(1), None)[0] != value
    expected = metrics["reconstruction"] + 0.01 * metrics["divergence"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_reconstruction_is_summed_over_steps_and_dimensions() -> None:
    """With a decoder of zeros it is the sum of the squared actions: 0.64 a step."""
    model = make(batch_norm=False)
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    batch = episodes(4, 4, [5, 3, 1, 2]).take(jnp.arange(4))
    _, metrics = model.loss(params, batch, jax.random.key(0), None)
    np.testing.assert_allclose(metrics["reconstruction"], 0.64 * 11 / 4, rtol=1e-5)
    np.testing.assert_allclose(metrics["divergence"], 0.0, atol=1e-6)


def test_sizes_and_training_are_the_papers() -> None:
    assert TrajectoryVAEConfig() == TrajectoryVAEConfig(
        latent_size=8, widths=(512, 256, 128), batch_norm=True, beta=1e-3, anneal_steps=25_000
    )
    model = make(latent_size=8, widths=(512, 256, 128), horizon=25)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    kernels = {
        part: [shapes["params"][part][f"Dense_{i}"]["kernel"].shape for i in range(4)]
        for part in ("encoder", "decoder")
    }
    assert kernels["encoder"] == [(50, 512), (512, 256), (256, 128), (128, 16)]
    assert kernels["decoder"] == [(8, 128), (128, 256), (256, 512), (512, 50)]
    assert STATISTICS in shapes


def test_it_has_to_know_how_long_an_episode_is() -> None:
    with pytest.raises(UserError, match="horizon should be the steps of an episode"):
        make(horizon=None)
