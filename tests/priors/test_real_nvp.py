"""The flow against autodiff, against distrax alone, and against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.networks import MLP, count_parameters
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.types import ActionSpec, ArraySpec, Params, Prior, UserError

HALF_LOG_2PI = 0.9189385
SPEC = {
    "pose": ArraySpec((2, 3), location=1.0, scale=2.0),
    "gripper": ArraySpec((1,)),
    "secret": ArraySpec((4,)),
}
SMALL = RealNVPConfig(
    observation=("pose", "gripper"), encoder_widths=(16,), conditioner_widths=(16, 16)
)
TINY = dataclasses.replace(SMALL, conditioner_widths=(16,), couplings=2)
SHAPES = {
    "default": SMALL,
    "unbounded": dataclasses.replace(SMALL, log_scale_bound=None, final_init="uniform"),
    "squashed": dataclasses.replace(SMALL, squash=True, squash_limit=0.9999, log_scale_bound=1.0),
    "raw observation": dataclasses.replace(SMALL, encoder_widths=(), couplings=3),
    "one hidden layer": TINY,
}
BOUND = 1.5


def _observation(seed: int, *batch: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=(*batch, *spec.shape)), jnp.float32)
        for name, spec in SPEC.items()
    }


def _normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _prior(config: RealNVPConfig, size: int, bound: float | None = 1.0) -> Any:
    """A prior whose functions are compiled, which is faster than running them step by step."""
    prior = make_real_nvp(config, SPEC, ActionSpec(size, bound))
    functions = ("init", "encode", "decode", "invert", "log_prob", "loss")
    present = {name: getattr(prior, name) for name in functions if getattr(prior, name)}
    return prior._replace(**{name: jax.jit(function) for name, function in present.items()})


def _params(prior: Prior, seed: int) -> Params:
    """Arbitrary parameters, since at the initial ones the flow is the identity."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(prior.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(0.2 * rng.normal(size=x.shape), x.dtype), shapes)


def _identity(prior: Prior) -> Params:
    return jax.tree.map(jnp.zeros_like, _params(prior, 0))


def _stacked(trees: list[Params]) -> Params:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        *(("default", size) for size in (2, 3, 5, 7, 8)),
        *(("squashed", size) for size in (3, 8)),
        *((shape, 7) for shape in ("unbounded", "raw observation", "one hidden layer")),
    ],
)
def test_inverse_and_likelihood_against_autodiff_jacobians(shape: str, size: int) -> None:
    prior = _prior(SHAPES[shape], size, BOUND)

    @jax.jit
    @jax.vmap
    def check(params: Params, observation: Any, z: jax.Array) -> dict[str, jax.Array]:
        features = prior.encode(params, observation)
        action = prior.decode(params, z, features)
        jacobian = jax.jacfwd(lambda latent: prior.decode(params, latent, features))(z)
        latent = prior.invert(params, action, features)
        return {
            "action": action,
            "latent": latent,
            "restored": prior.decode(params, latent, features),
            "log_prob": prior.log_prob(params, action, features),
            "jacobian": jacobian,
        }

    seeds = range(12)
    params = _stacked([_params(prior, seed) for seed in seeds])
    z = 0.5 * _normal(0, len(seeds), size)
    found = check(params, _observation(1, len(seeds)), z)
    assert found["action"].shape == (12, size)
    assert not np.allclose(found["action"], z, atol=0.1)
    np.testing.assert_allclose(found["latent"], z, atol=2e-3)
    np.testing.assert_allclose(found["restored"], found["action"], atol=1e-4)
    log_base = -0.5 * (z**2).sum(-1) - size * HALF_LOG_2PI
    log_det = np.linalg.slogdet(np.asarray(found["jacobian"], np.float64))[1]
    np.testing.assert_allclose(found["log_prob"], log_base - log_det, atol=5e-3)
    if SHAPES[shape].squash:
        assert jnp.abs(found["action"]).max() < BOUND


def _distrax_only(config: RealNVPConfig, params: Params, features: jax.Array, size: int) -> Any:
    """The same flow from distrax's own parts, each conditioner an MLP on the joined vector."""
    split = size // 2

    def coupling(layer: int) -> distrax.Bijector:
        swap = layer % 2 == 1
        network = MLP((*config.conditioner_widths, 2 * (split if swap else size - split)))

        def conditioner(half: jax.Array) -> list[jax.Array]:
            outputs = network.apply(
                params["conditioners"][layer], jnp.concatenate([features, half], axis=-1)
            )
            return jnp.split(outputs, 2, axis=-1)

        def affine(outputs: list[jax.Array]) -> distrax.Bijector:
            shift, raw = outputs
            bound = config.log_scale_bound
            log_scale = raw if bound is None else bound * jnp.tanh(raw / bound)
            return distrax.ScalarAffine(shift, log_scale=log_scale)

        return distrax.SplitCoupling(split, 1, conditioner, affine, swap=swap)

    chain: list[distrax.Bijector] = [coupling(i) for i in reversed(range(config.couplings))]
    if config.squash:
        squash = distrax.Chain([distrax.ScalarAffine(0.0, BOUND), distrax.Tanh()])
        chain.insert(0, distrax.Block(squash, 1))
    return distrax.Transformed(
        distrax.MultivariateNormalDiag(jnp.zeros(size)), distrax.Chain(chain)
    )


@pytest.mark.parametrize(("shape", "size"), [("default", 5), ("unbounded", 8), ("squashed", 7)])
def test_equals_a_distrax_only_construction(shape: str, size: int) -> None:
    config = SHAPES[shape]
    prior = _prior(config, size, BOUND)
    params = _params(prior, 3)

    @jax.jit
    def both(observation: Any, z: jax.Array) -> tuple[Any, Any]:
        features = prior.encode(params, observation)
        peer = _distrax_only(config, params, features, size)
        action = prior.decode(params, z, features)
        ours = action, prior.invert(params, action, features)
        theirs = peer.bijector.forward(z), peer.bijector.inverse(action)
        return (*ours, prior.log_prob(params, action, features)), (*theirs, peer.log_prob(action))

    ours, theirs = both(_observation(4, 32), 0.5 * _normal(5, 32, size))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_zeros_start_as_the_identity_with_a_standard_normal_likelihood() -> None:
    prior = _prior(TINY, 7)
    params = prior.init(jax.random.key(0))
    features = prior.encode(params, _observation(0, 2))
    z = _normal(1, 2, 7)
    np.testing.assert_array_equal(prior.decode(params, z, features), z)
    np.testing.assert_array_equal(prior.invert(params, z, features), z)
    actions = jnp.stack([jnp.zeros(7), jnp.ones(7)])
    # 7 log N(0; 0, 1), and 7 / 2 less.
    log_prob = prior.log_prob(params, actions, features)
    np.testing.assert_allclose(log_prob, [-6.4325697, -9.9325697], rtol=1e-6)
    batch = {"observation": _observation(0, 2), "action": actions}
    loss, metrics = prior.loss(params, batch, jax.random.key(1))
    assert loss == pytest.approx(8.1825697, rel=1e-6)
    assert metrics == {"nll": loss}


def test_squash_is_a_scaled_tanh_with_its_jacobian() -> None:
    prior = _prior(dataclasses.replace(TINY, squash=True), 2, BOUND)
    params = _identity(prior)
    features = prior.encode(params, _observation(0))
    action = prior.decode(params, jnp.array([0.0, 0.5493061]), features)
    np.testing.assert_allclose(action, [0.0, 0.75], atol=1e-6)
    # Base: 2 * -0.9189385 - 0.5493061^2 / 2. Slopes of 1.5 tanh: 1.5 and 1.5 * 0.75.
    expected = -1.8378770 - 0.1508686 - np.log(1.5) - np.log(1.125)
    assert prior.log_prob(params, action, features) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("squash", [False, True])
def test_likelihood_integrates_to_one(squash: bool) -> None:
    config = dataclasses.replace(TINY, squash=squash, squash_limit=1 - 1e-6)
    prior = _prior(config, 2)
    params = _params(prior, 2)
    end = 1.0 if squash else 12.0
    edges = np.linspace(-end, end, 801)
    middles = jnp.asarray(0.5 * (edges[1:] + edges[:-1]), jnp.float32)
    grid = jnp.stack(jnp.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    features = prior.encode(params, _observation(0))
    log_prob = prior.log_prob(params, grid, features)
    total = np.exp(np.asarray(log_prob, np.float64)).sum() * (edges[1] - edges[0]) ** 2
    assert total == pytest.approx(1.0, abs=5e-3)


def test_bounded_log_scales_bound_the_likelihood() -> None:
    """Every dimension is scaled twice, by at least exp(-1), and N(0, I) peaks at zero."""
    prior = _prior(dataclasses.replace(SMALL, log_scale_bound=1.0), 8)
    params = _identity(prior)
    for conditioner in params["conditioners"]:
        head = conditioner["params"]["Dense_2"]
        head["bias"] = head["bias"].at[4:].set(-100.0)
    features = prior.encode(params, _observation(0))
    # 8 * 0.9189385 - 2 * 8.
    least = -8.648492
    assert prior.log_prob(params, jnp.zeros(8), features) == pytest.approx(-least, abs=1e-5)

    @jax.jit
    @jax.vmap
    def nll(params: Params) -> jax.Array:
        return -prior.log_prob(params, jnp.zeros(8), features)

    wild = _stacked([jax.tree.map(lambda x: 20.0 * x, _params(prior, s)) for s in range(16)])
    assert (nll(wild) >= least - 1e-4).all()


def test_networks_run_once_for_value_and_likelihood() -> None:
    prior = make_real_nvp(SMALL, SPEC, ActionSpec(7))
    params = _params(prior, 0)
    observation, action = _observation(0, 5), _normal(0, 5, 7)
    features = prior.encode(params, observation)

    def products(function: Any, *arguments: Any) -> int:
        return str(jax.make_jaxpr(function)(*arguments)).count("dot_general")

    # One layer encodes. Each of four couplings has three.
    batch = {"observation": observation, "action": action}
    assert products(prior.encode, params, observation) == 1
    assert products(prior.decode, params, action, features) == 12
    assert products(prior.invert, params, action, features) == 12
    assert products(prior.log_prob, params, action, features) == 12
    assert products(prior.loss, params, batch, jax.random.key(0)) == 13


def test_features_are_the_named_arrays_standardised() -> None:
    prior = _prior(dataclasses.replace(TINY, encoder_widths=()), 3)
    params = _params(prior, 0)
    observation = _observation(0, 4)
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
    encode = jax.jit(functools.partial(prior.encode, _params(prior, 0)))
    features = encode(observation)
    assert features.shape == (5, 16)
    np.testing.assert_allclose(encode(reordered), features, atol=1e-5)
    # Which radius belongs to which offset matters.
    assert not np.allclose(encode(torn), features, atol=1e-2)


def test_sees_named_arrays_only_and_all_without_names() -> None:
    observation = _observation(0, 4)
    changed = observation | {"secret": observation["secret"] + 1.0}
    for names, is_seen in (("pose", "gripper"), False), ((), True):
        prior = _prior(dataclasses.replace(TINY, observation=names), 3)
        params = _params(prior, 0)
        z = _normal(1, 4, 3)
        before = prior.decode(params, z, prior.encode(params, observation))
        after = prior.decode(params, z, prior.encode(params, changed))
        assert np.allclose(before, after) != is_seen


def test_leading_axes() -> None:
    prior = _prior(TINY, 5)
    params = _params(prior, 1)
    observation, z = _observation(2, 3, 4), _normal(3, 3, 4, 5)
    features = prior.encode(params, observation)
    action = prior.decode(params, z, features)
    assert action.shape == (3, 4, 5)
    assert prior.log_prob(params, action, features).shape == (3, 4)
    one = jax.tree.map(lambda x: x[1, 2], (observation, z, action))
    one_features = prior.encode(params, one[0])
    np.testing.assert_allclose(prior.decode(params, one[1], one_features), one[2], atol=1e-5)


def test_latents_broadcast_against_features() -> None:
    prior = _prior(TINY, 5)
    params = _params(prior, 1)
    z = _normal(3, 6, 5)
    features = prior.encode(params, _observation(2, 3))
    actions = prior.decode(params, z, features[:, None])
    assert actions.shape == (3, 6, 5)
    repeated = jnp.broadcast_to(features[2], (6, features.shape[-1]))
    np.testing.assert_allclose(actions[2], prior.decode(params, z, repeated), atol=1e-5)
    # One action under many observations.
    assert prior.log_prob(params, z[0], features).shape == (3,)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_padding(size: int) -> None:
    config = dataclasses.replace(TINY, padding=2)
    prior = _prior(config, size)
    assert (prior.latent_size, prior.action_size) == (size + 2, size)
    with pytest.raises(UserError, match="needs a prior that can log_prob; real_nvp cannot"):
        prior.require("log_prob", "this test")

    params = _params(prior, 4)
    features = prior.encode(params, _observation(0, 6))
    action = _normal(1, 6, size)
    latent = prior.invert(params, action, features)
    assert latent.shape == (6, size + 2)
    np.testing.assert_allclose(prior.decode(params, latent, features), action, atol=1e-4)
    # Other dummy values would have come from other latents.
    assert not np.allclose(prior.invert(params, action + 0.1, features), latent)


def test_padding_is_filled_with_noise_in_the_loss() -> None:
    batch = {"observation": _observation(0, 20_000), "action": jnp.ones((20_000, 7))}

    def losses(noise: float) -> list[float]:
        config = dataclasses.replace(TINY, padding=1, padding_noise=noise)
        prior = _prior(config, 7)
        return [float(prior.loss(_identity(prior), batch, jax.random.key(k))[0]) for k in (0, 1)]

    # Under N(0, I): 8 * 0.9189385 + 7 / 2 for the action, + std^2 / 2 for the dummy dimension.
    assert losses(0.0) == pytest.approx([10.851508, 10.851508], rel=1e-6)
    noisy = losses(1.0)
    assert noisy == pytest.approx([11.351508, 11.351508], abs=0.02)
    assert noisy[0] != noisy[1]


def test_squash_takes_actions_beyond_the_limit_to_be_at_it() -> None:
    config = dataclasses.replace(TINY, squash=True, squash_limit=0.9)
    prior = _prior(config, 3, BOUND)
    params = _params(prior, 5)
    features = prior.encode(params, _observation(0))
    limit = jnp.array([0.9 * BOUND, -0.9 * BOUND, 0.1])
    beyond = jnp.array([BOUND, -BOUND, 0.1])
    for function in (prior.log_prob, prior.invert):
        found = function(params, beyond, features)
        assert jnp.isfinite(found).all()
        np.testing.assert_allclose(found, function(params, limit, features), rtol=1e-5)


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
    config = dataclasses.replace(RealNVPConfig.paper_code(), encoder_widths=(256,), couplings=2)
    prior = make_real_nvp(config, {"state": ArraySpec((20,))}, ActionSpec(7))
    params = jax.jit(prior.init)(jax.random.key(0))
    own = params["conditioners"][0]["params"]
    # 256 features joined with 4 dimensions, then 256 hidden units.
    for kernel, fan_in in (
        (own["Dense_0"]["kernel"], 260),
        (own["Dense_1"]["kernel"], 256),
        (own["Dense_2"]["kernel"], 256),
        (params["encoder"]["params"]["Dense_0"]["kernel"], 20),
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
        ({"couplings": 1}, ActionSpec(7), "couplings=1 .* at least 2"),
        ({"padding": -1}, ActionSpec(7), "padding=-1"),
        ({}, ActionSpec(1), "size 1 cannot be split .* padding=1"),
        ({"log_scale_bound": 0.0}, ActionSpec(7), "log_scale_bound=0.0 should be positive"),
        ({"squash": True}, ActionSpec(7, None), "squash=True needs bounded actions"),
        ({"squash_limit": 1.0}, ActionSpec(7), "squash_limit=1.0 should lie between 0 and 1"),
    ],
)
def test_bad_configs(changes: dict[str, Any], action_spec: ActionSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_real_nvp(dataclasses.replace(SMALL, **changes), SPEC, action_spec)
