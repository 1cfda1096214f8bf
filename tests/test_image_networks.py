"""Networks that see images: which arrays those are, and what becomes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from behavior_priors.errors import UserError
from behavior_priors.image_networks import IMAGE_FEATURES, Halve, ImageEncoder
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.learners.ppo import make_ppo
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.networks import Critics, GaussianPolicy
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.mixture import MixtureConfig, make_mixture
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.priors.registry import ENCODERS, find_encoder
from behavior_priors.priors.skill_vae import SkillVAEConfig, make_skill_vae
from behavior_priors.torso import Sight, Torso
from behavior_priors.types import ActionSpec, ArraySpec, Context

SPEC = {
    "a": ArraySpec((2,)),
    "image": ArraySpec((8, 8, 2), np.uint8, location=127.5, scale=127.5),
    "grid": ArraySpec((3, 3), np.uint8),
    "b": ArraySpec((1,)),
}


@pytest.fixture(autouse=True, scope="module")
def specs_broadcast() -> Iterator[None]:
    """A spec's location and scale have no batch axes; observations do."""
    with jax.numpy_rank_promotion("allow"):
        yield


def make_observation(seed: int, *batch: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.integers(0, 256, (*batch, *spec.shape)), jnp.uint8)
        if spec.dtype == np.uint8
        else jnp.asarray(rng.normal(size=(*batch, *spec.shape)), jnp.float32)
        for name, spec in SPEC.items()
    }


def test_images_are_bytes_with_three_axes_or_numbers_with_long_ones() -> None:
    assert Sight(SPEC, ("a", "image", "grid")).images() == ("image",)
    assert Sight(SPEC, ("grid", "image")).vectors() == ("grid",)
    assert Sight(SPEC, ("a", "b")).images() == ()
    wide = {"image": ArraySpec((16, 20, 3)), "numbers": ArraySpec((9, 3, 3))}
    assert Sight(wide, ("numbers", "image")).images() == ("image",)


def test_features_take_the_images_place_at_the_end() -> None:
    sight = Sight(SPEC, ("a", "image", "b"))
    assert sight.inputs() == [("a", 2), ("b", 1), ("image", IMAGE_FEATURES)]
    observation = make_observation(0, 5, 3)
    seen, params = Torso(sight).init_with_output(jax.random.key(0), observation)
    assert seen.shape == (5, 3, 2 + 1 + IMAGE_FEATURES)
    np.testing.assert_array_equal(seen[..., :2], observation["a"])
    np.testing.assert_array_equal(seen[..., 2:3], observation["b"])
    image = observation["image"].astype(jnp.float32) / 127.5 - 1.0
    encoder = {"params": params["params"]["ImageEncoder_0"]}
    np.testing.assert_allclose(
        seen[..., 3:], ImageEncoder().apply(encoder, image), rtol=1e-5, atol=1e-5
    )


def test_an_encoder_halves_the_image_for_each_convolution() -> None:
    """8 x 8 to 1 x 1 with 32 channels, then 32 features: `4 4 c_in c_out + c_out` weights each."""
    params = ImageEncoder().init(jax.random.key(0), jnp.zeros((8, 8, 2)))
    sizes = {name: layer["kernel"].shape for name, layer in params["params"].items()}
    assert sizes == {
        "Halve_0": (4, 4, 2, 8),
        "Halve_1": (4, 4, 8, 16),
        "Halve_2": (4, 4, 16, 32),
        "Dense_0": (32, IMAGE_FEATURES),
    }


@pytest.mark.parametrize(("side", "convolutions"), [(1, 0), (2, 1), (7, 2)])
def test_small_images_have_fewer_convolutions(side: int, convolutions: int) -> None:
    image = jnp.ones((5, side, 9, 3))
    features, params = ImageEncoder().init_with_output(jax.random.key(0), image)
    assert features.shape == (5, IMAGE_FEATURES)
    assert len(params["params"]) == convolutions + 1


def test_networks_without_images_have_the_parameters_that_they_had() -> None:
    blind, seeing = Sight(SPEC, ("a", "b")), Sight(SPEC, ("image",))
    policy = GaussianPolicy((4,), 2, -5.0, 2.0, sight=blind)
    assert set(policy.init(jax.random.key(0), blind.blank())["params"]) == {"MLP_0"}
    policy = GaussianPolicy((4,), 2, -5.0, 2.0, sight=seeing)
    params = policy.init(jax.random.key(0), seeing.blank())["params"]
    assert set(params) == {"Torso_0", "MLP_0"}
    assert params["MLP_0"]["Dense_0"]["kernel"].shape == (IMAGE_FEATURES, 4)
    critics = Critics(2, (4,), layer_norm=False, sight=seeing)
    observation = make_observation(0, 7)
    values, params = critics.init_with_output(jax.random.key(0), observation, jnp.zeros((7, 2)))
    assert values.shape == (2, 7)
    # each sees for itself
    assert {"Torso_0", "Dense_0"} < set(params["params"]["Critic_1"])


def sees_images(make: Any, config: Any, observation: Any) -> bool:
    """Whether another image is another loss, with a gradient for what sees it."""
    model = make(config, SPEC, ActionSpec(2, None))
    params = jax.jit(model.init)(jax.random.key(0))
    # networks whose last layer is zero would not show what they see
    noise = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + 0.1 * noise.normal(size=x.shape).astype(x.dtype), params)
    other = {**observation, "image": 255 - observation["image"]}
    action = jnp.asarray(noise.normal(size=(*observation["a"].shape[:-1], 2)), jnp.float32)

    def loss(params: Any, observation: Any) -> jax.Array:
        batch = {"observation": observation, "action": action}
        return model.loss(params, batch, jax.random.key(1), None)[0]

    value, gradient = jax.jit(jax.value_and_grad(loss))(params, observation)
    changed = jax.jit(loss)(params, other)
    torsos = [
        float(jnp.abs(x).max())
        for path, x in jax.tree.leaves_with_path(gradient)
        if "Torso_0" in jax.tree_util.keystr(path)
    ]
    return bool(value != changed) and len(torsos) > 0 and max(torsos) > 0


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (make_gaussian, GaussianConfig(("a", "image"), (8,))),
        (make_mixture, MixtureConfig(("a", "image"), 2, (8,))),
        (
            make_real_nvp,
            RealNVPConfig(("image",), couplings=2, encoder_widths=(8,), conditioner_widths=(8,)),
        ),
        (
            make_skill_vae,
            SkillVAEConfig(
                horizon=3,
                latent_size=2,
                prior_observation=("image",),
                decoder_observation=("image", "b"),
                embedding_width=4,
                lstm_width=4,
                decoder_widths=(8,),
                prior_widths=(8,),
            ),
        ),
    ],
    ids=["gaussian", "mixture", "real_nvp", "skill_vae"],
)
def test_an_image_is_an_entry_in_a_list_for_every_prior(make: Any, config: Any) -> None:
    axes = (4, 3) if make is make_skill_vae else (4,)
    assert sees_images(make, config, make_observation(2, *axes))


@pytest.mark.parametrize("name", ENCODERS)
def test_and_for_encoders_of_contexts(name: str) -> None:
    config = dataclasses.replace(
        find_encoder(name, flag="infer").config,
        observation=("image",),
        next_observation=True,
        latent_size=2,
        widths=(8,),
    )
    encoder = find_encoder(name, flag="infer").make(config, SPEC, ActionSpec(2))
    params, infer = jax.jit(encoder.init)(jax.random.key(0)), jax.jit(encoder.infer)
    observation = make_observation(3, 2, 5)
    other = {**observation, "image": 255 - observation["image"]}

    def mean(now: Any, after: Any) -> np.ndarray:
        counts = jnp.ones((2, 5), bool)
        context = Context(now, jnp.zeros((2, 5, 2)), jnp.zeros((2, 5)), after, counts)
        return np.asarray(infer(params, context).mean)

    plain = mean(observation, observation)
    assert not np.array_equal(plain, mean(other, observation))
    assert not np.array_equal(plain, mean(observation, other))


def test_and_for_values_of_a_policy_that_learns_from_what_it_did() -> None:
    config = PPOConfig(value_observation=("image",), value_widths=(4,), policy_widths=(4,))
    state = jax.eval_shape(make_ppo(config, SPEC, ActionSpec(2)).init, jax.random.key(0))
    assert set(state.value["params"]) == {"Torso_0", "Dense_0", "Dense_1"}


def test_a_policy_starts_as_a_prior_that_sees_images() -> None:
    prior_names, names = ("image", "b"), ("a", "image", "grid", "b")
    action = ActionSpec(2, None)
    prior = make_gaussian(GaussianConfig(prior_names, (8,)), SPEC, action)
    shapes = jax.eval_shape(prior.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype), shapes)
    wide = make_gaussian(GaussianConfig(names, (8,)), SPEC, action)
    policy = start_from_prior(params, prior_names, names, SPEC)
    observation = make_observation(1, 6)
    np.testing.assert_allclose(
        wide.encode(policy, observation), prior.encode(params, observation), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(UserError, match="has to see its images, none, and not image"):
        start_from_prior(params, ("b",), names, SPEC)


@pytest.mark.parametrize("shape", [(32, 32, 2), (7, 6, 3), (5, 8, 1)])
def test_halving_is_a_convolution(shape: tuple[int, ...]) -> None:
    """Against Flax's own, gradient included, with sides that are odd too."""
    ours, theirs = Halve(3), nn.Conv(3, (4, 4), strides=2, padding=1)
    image = jax.random.normal(jax.random.key(0), (5, *shape))
    params = ours.init(jax.random.key(1), image)
    params["params"]["bias"] = jnp.arange(3.0)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, theirs.init(jax.random.key(1), image)
    )

    def loss(network: Any, params: Any, image: jax.Array) -> jax.Array:
        return jnp.sin(network.apply(params, image)).sum()

    np.testing.assert_allclose(ours.apply(params, image), theirs.apply(params, image), atol=1e-5)
    for argument in (0, 1):
        mine, flax = (
            jax.grad(lambda p, x, n=n: loss(n, p, x), argument)(params, image)
            for n in (ours, theirs)
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4), mine, flax
        )
