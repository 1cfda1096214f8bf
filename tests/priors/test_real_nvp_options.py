"""What the real-NVP sees, the noise of its padding, its presets and its errors."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.networks import count_parameters
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.types import ActionSpec, ArraySpec
from tests.priors.flows import (
    SMALL,
    SPEC,
    TINY,
    identity_params,
    make_observation,
    make_params,
    make_prior,
    normal,
)


def test_features_are_the_named_arrays_standardised() -> None:
    prior = make_prior(dataclasses.replace(TINY, encoder_widths=()), 3)
    params = make_params(prior, 0)
    observation = make_observation(0, 4)
    features = prior.encode(params, observation)
    pose = (observation["pose"].reshape(4, 6) - 1.0) / 2.0
    np.testing.assert_allclose(features[:, :6], pose, rtol=1e-6)
    np.testing.assert_array_equal(features[:, 6:], observation["gripper"])


def test_features_of_sets_do_not_depend_on_order() -> None:
    spec = {
        "offset": ArraySpec((4, 3), scale=0.5),
        "radius": ArraySpec((4,)),
        "gripper": ArraySpec((1,)),
    }
    rng = np.random.default_rng(0)
    observation = {
        name: jnp.asarray(rng.normal(size=(5, *s.shape)), jnp.float32) for name, s in spec.items()
    }
    order = jnp.array([2, 0, 3, 1])
    reordered = observation | {name: observation[name][:, order] for name in ("offset", "radius")}
    torn = observation | {"radius": observation["radius"][:, order]}
    config = dataclasses.replace(TINY, observation=(), set_observation=("offset", "radius"))
    prior = make_real_nvp(config, spec, ActionSpec(3))
    encode = jax.jit(functools.partial(prior.encode, make_params(prior, 0)))
    features = encode(observation)
    assert features.shape == (5, 16)
    np.testing.assert_allclose(encode(reordered), features, atol=1e-5)
    present = dataclasses.replace(
        TINY, observation=(), set_observation=("offset",), set_present="radius"
    )
    prior = make_real_nvp(present, spec, ActionSpec(3))
    encode_present = jax.jit(functools.partial(prior.encode, make_params(prior, 0)))
    there = observation | {"radius": jnp.broadcast_to(jnp.array([1.0, 0.0, 1.0, 1.0]), (5, 4))}
    moved = there | {"offset": observation["offset"].at[:, 1].add(3.0)}
    np.testing.assert_array_equal(encode_present(moved), encode_present(there))
    # Which radius belongs to which offset matters.
    assert not np.allclose(encode(torn), features, atol=1e-2)


def test_sees_named_arrays_only_and_all_without_names() -> None:
    observation = make_observation(0, 4)
    changed = observation | {"secret": observation["secret"] + 1.0}
    for names, is_seen in (("pose", "gripper"), False), ((), True):
        prior = make_prior(dataclasses.replace(TINY, observation=names), 3)
        params = make_params(prior, 0)
        z = normal(1, 4, 3)
        before = prior.decode(params, z, prior.encode(params, observation))
        after = prior.decode(params, z, prior.encode(params, changed))
        assert np.allclose(before, after) != is_seen


def test_padding_is_filled_with_noise_in_the_loss() -> None:
    batch = {"observation": make_observation(0, 20_000), "action": jnp.ones((20_000, 7))}

    def losses(noise: float) -> list[float]:
        config = dataclasses.replace(TINY, padding=1, padding_noise=noise)
        prior = make_prior(config, 7)
        return [
            float(prior.loss(identity_params(prior), batch, jax.random.key(k), None)[0])
            for k in (0, 1)
        ]

    # Under N(0, I): 8 * 0.9189385 + 7 / 2 for the action, + std^2 / 2 for the dummy dimension.
    assert losses(0.0) == pytest.approx([10.851508, 10.851508], rel=1e-6)
    noisy = losses(1.0)
    assert noisy == pytest.approx([11.351508, 11.351508], abs=0.02)
    assert noisy[0] != noisy[1]


def test_preset_sizes_by_hand() -> None:
    def sizes(config: RealNVPConfig) -> tuple[int, list[int]]:
        prior = make_real_nvp(config, {"state": ArraySpec((20,))}, ActionSpec(7))
        params = jax.eval_shape(prior.init, jax.random.key(0))
        return count_parameters(params["encoder"]), [
            count_parameters(conditioner) for conditioner in params["conditioners"]
        ]

    # 20 -> 1024 -> 512 -> 256.
    encoder = 20 * 1024 + 1024 + 1024 * 512 + 512 + 512 * 256 + 256
    # 8 = 4 + 4: 260 -> 256 -> 256 -> 8.
    assert sizes(RealNVPConfig.paper_code()) == (encoder, [134_664] * 4)
    # 7 = 3 + 4: 259 -> 256 -> 256 -> 8, and 260 -> 256 -> 256 -> 6.
    assert sizes(RealNVPConfig.paper_text()) == (encoder, [134_408, 134_150] * 2)


def test_presets() -> None:
    code, text = RealNVPConfig.paper_code(("pose",)), RealNVPConfig.paper_text(("pose",))
    assert code.observation == text.observation == ("pose",)
    assert (code.squash, code.squash_limit, code.padding, code.log_scale_bound) == (
        True,
        0.9,
        1,
        1.0,
    )
    assert (text.squash, text.padding, text.log_scale_bound) == (False, 0, None)


def test_uniform_initialisation_is_pytorchs() -> None:
    config = dataclasses.replace(
        RealNVPConfig.paper_code(), encoder_widths=(256,), conditioner_widths=(128,), couplings=2
    )
    prior = make_real_nvp(config, {"state": ArraySpec((20,))}, ActionSpec(7))
    params = jax.jit(prior.init)(jax.random.key(0))
    conditioner = params["conditioners"][0]["params"]
    for kernel, fan_in in (
        (params["encoder"]["params"]["Dense_0"]["kernel"], 20),
        # 256 features joined with 4 dimensions, then 128 hidden units.
        (conditioner["Dense_0"]["kernel"], 260),
        (conditioner["Dense_1"]["kernel"], 128),
    ):
        limit = fan_in**-0.5
        assert jnp.abs(kernel).max() <= limit
        # A uniform variable has a standard deviation of its limit / sqrt(3).
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.06)


@pytest.mark.parametrize(
    ("changes", "action_spec", "message"),
    [
        ({"observation": ("pose", "camera")}, ActionSpec(7), "camera, but there is only pose"),
        ({"set_observation": ("secret",)}, ActionSpec(7), "secret; it should name some, but not"),
        (
            {"set_observation": ("pose", "gripper")},
            ActionSpec(7),
            "set_observation .* should name some, but not all",
        ),
        (
            {"observation": (), "set_observation": ("pose", "secret")},
            ActionSpec(7),
            "pose, secret should all list the same things",
        ),
        (
            {"observation": (), "set_present": "gripper"},
            ActionSpec(7),
            "set_present=gripper should be one of what the real-NVP sees beside set_obs.*none; it",
        ),
        (
            {"set_observation": ("pose",), "set_present": "secret"},
            ActionSpec(7),
            "set_present=secret .* which is pose; it sees pose, gripper",
        ),
        (
            {"set_observation": ("pose",), "set_present": "gripper"},
            ActionSpec(7),
            "pose, gripper should all list the same things",
        ),
        ({"couplings": 1}, ActionSpec(7), "couplings=1 should be at least 2"),
        ({"padding": -1}, ActionSpec(7), "padding=-1"),
        ({}, ActionSpec(1), "padding=0 should be 1 here: .* has size 1"),
        ({"log_scale_bound": 0.0}, ActionSpec(7), "log_scale_bound=0.0 should be positive"),
        ({"squash": True}, ActionSpec(7, None), "squash=True needs bounded actions"),
        ({"squash_limit": 1.0}, ActionSpec(7), "squash_limit=1.0 should be between 0 and 1"),
    ],
)
def test_bad_configs(changes: dict[str, Any], action_spec: ActionSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_real_nvp(dataclasses.replace(SMALL, **changes), SPEC, action_spec)
