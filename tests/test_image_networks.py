"""Networks that see images: where those lie in a flat observation, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from behavior_priors.image_networks import (
    IMAGE_FEATURES,
    Halve,
    ImageEncoder,
    ImageSlot,
    See,
    image_slots,
)
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.networks import Critics, GaussianPolicy, flatten_observation
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.types import ActionSpec, ArraySpec, UserError

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
    assert image_slots(SPEC, ("a", "image", "grid")) == (ImageSlot(2, (8, 8, 2)),)
    assert image_slots(SPEC, ("grid", "image")) == (ImageSlot(9, (8, 8, 2)),)
    assert image_slots(SPEC, ("a", "b")) == ()
    wide = {"image": ArraySpec((16, 20, 3)), "numbers": ArraySpec((9, 3, 3))}
    assert image_slots(wide, ("numbers", "image")) == (ImageSlot(81, (16, 20, 3)),)


def test_features_take_the_images_place_at_the_end() -> None:
    names = ("a", "image", "b")
    see = See(image_slots(SPEC, names))
    observation = make_observation(0, 5, 3)
    flat = flatten_observation(observation, SPEC, names)
    seen, params = see.init_with_output(jax.random.key(0), flat)
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
    policy = GaussianPolicy((4,), 2, -5.0, 2.0)
    assert set(policy.init(jax.random.key(0), jnp.zeros(3))["params"]) == {"MLP_0"}
    seeing = GaussianPolicy((4,), 2, -5.0, 2.0, images=image_slots(SPEC, ("image",)))
    params = seeing.init(jax.random.key(0), jnp.zeros(128))["params"]
    assert set(params) == {"See_0", "MLP_0"}
    assert params["MLP_0"]["Dense_0"]["kernel"].shape == (IMAGE_FEATURES, 4)
    critics = Critics(2, (4,), layer_norm=False, images=image_slots(SPEC, ("image",)))
    values = critics.init_with_output(jax.random.key(0), jnp.zeros((7, 128)), jnp.zeros((7, 2)))[0]
    assert values.shape == (2, 7)


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
