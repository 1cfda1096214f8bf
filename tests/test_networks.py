"""Observations become vectors as their specs say, and things in a set have no order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.networks import (
    MLP,
    Critics,
    GaussianPolicy,
    SetEncoder,
    count_parameters,
    few_rows_dot,
)
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.torso import flatten_observation, flatten_things, observation_size
from behavior_priors.types import ActionSpec, ArraySpec, ObservationSpec

SPEC = {
    "pose": ArraySpec((2,), location=np.array([1.0, 2.0], np.float32), scale=np.float32(0.5)),
    "image": ArraySpec((1, 2), np.uint8, scale=np.float32(255.0)),
    "size": ArraySpec((3, 2), location=np.float32(1.0)),
    "offset": ArraySpec((3, 1), scale=np.float32(0.1)),
}


@pytest.fixture(autouse=True, scope="module")
def specs_broadcast() -> Iterator[None]:
    """A spec's location and scale have no batch axes; observations do."""
    with jax.numpy_rank_promotion("allow"):
        yield


def random_observation(spec: ObservationSpec, *batch: int) -> dict[str, jax.Array]:
    keys = jax.random.split(jax.random.key(0), len(spec))
    return {
        name: jax.random.normal(key, (*batch, *entry.shape))
        for key, (name, entry) in zip(keys, spec.items(), strict=True)
    }


def test_observations_are_standardised_and_joined_in_the_order_of_the_names() -> None:
    observation = {
        "pose": jnp.array([2.0, 1.0]),
        "image": jnp.array([[51, 255]], jnp.uint8),
        "unseen": jnp.full(7, jnp.nan),
    }
    flat = flatten_observation(observation, SPEC, ("image", "pose"))
    assert flat.dtype == jnp.float32
    np.testing.assert_allclose(flat, [0.2, 1.0, 2.0, -2.0], rtol=1e-6)
    assert observation_size(SPEC, ("image", "pose")) == 4
    assert observation_size(SPEC, tuple(SPEC)) == 13


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_batch_axes_stay_where_they_are(batch: tuple[int, ...]) -> None:
    observation = random_observation(SPEC, *batch)
    flat = flatten_observation(observation, SPEC, ("pose", "size"))
    assert flat.shape == (*batch, 8)
    np.testing.assert_allclose(
        flat[..., 2:], (observation["size"] - 1.0).reshape(*batch, 6), rtol=1e-6
    )
    assert flatten_things(observation, SPEC, ("size", "offset")).shape == (*batch, 3, 3)


def test_things_keep_their_own_rows() -> None:
    observation = {
        "size": jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        "offset": jnp.array([[0.1], [0.2], [0.3]]),
    }
    things = flatten_things(observation, SPEC, ("offset", "size"))
    np.testing.assert_allclose(things, [[1, 0, 1], [2, 2, 3], [3, 4, 5]], rtol=1e-6)


def test_a_missing_observation_is_no_silent_zero() -> None:
    with pytest.raises(KeyError):
        flatten_observation({"pose": jnp.zeros(2)}, SPEC, ("pose", "image"))


@pytest.mark.parametrize("activate_final", [False, True])
def test_a_perceptron_by_hand(activate_final: bool) -> None:
    """One input x: hidden units relu(x), relu(-x), the output minus their sum, -|x|."""
    module = MLP((2, 1), activate_final=activate_final)
    kernels = {"Dense_0": [[1.0, -1.0]], "Dense_1": [[-1.0], [-1.0]]}
    params = {
        "params": {
            name: {"kernel": jnp.array(kernel), "bias": jnp.zeros(len(kernel[0]))}
            for name, kernel in kernels.items()
        }
    }
    y = module.apply(params, jnp.array([[-3.0], [2.0]]))
    expected = [[0.0], [0.0]] if activate_final else [[-3.0], [-2.0]]
    np.testing.assert_array_equal(np.asarray(y), expected)


def test_a_set_encoder_hears_everything_but_the_order() -> None:
    encoder = SetEncoder((16, 8))
    shared, things = random_observation(SPEC, 6)["pose"], random_observation(SPEC, 6)["size"]
    params = encoder.init(jax.random.key(1), shared, things)
    features = np.asarray(encoder.apply(params, shared, things))
    assert features.shape == (6, 8)
    for order in itertools.permutations(range(3)):
        shuffled = encoder.apply(params, shared, things[:, jnp.array(order)])
        np.testing.assert_allclose(shuffled, features, rtol=1e-5, atol=1e-6)
    for other in (
        encoder.apply(params, shared + 1.0, things),
        encoder.apply(params, shared, things.at[:, 2].add(1.0)),
    ):
        assert (np.abs(other - features).max(-1) > 1e-3).all()


def test_a_set_encoder_takes_sets_of_any_size() -> None:
    """Doubling every thing changes neither the maximum nor the mean."""
    encoder = SetEncoder((16, 8))
    observation = random_observation(SPEC)
    params = encoder.init(jax.random.key(1), observation["pose"], observation["size"])
    doubled = jnp.concatenate([observation["size"], observation["size"]])
    np.testing.assert_allclose(
        encoder.apply(params, observation["pose"], doubled),
        encoder.apply(params, observation["pose"], observation["size"]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_set_encoder_leaves_out_what_is_absent() -> None:
    encoder = SetEncoder((16, 8))
    observation = random_observation(SPEC, 5)
    shared, things = observation["pose"], observation["size"]
    params = encoder.init(jax.random.key(1), shared, things)
    encode = jax.jit(encoder.apply)
    alone = encode(params, shared, things[:, 1:])
    for others in (things, things.at[:, 0].set(7.0)):
        seen = encode(params, shared, others, jnp.broadcast_to(jnp.array([0.0, 1, 1]), (5, 3)))
        np.testing.assert_allclose(seen, alone, rtol=1e-5, atol=1e-6)
    everything = encode(params, shared, things)
    assert np.abs(everything - alone).max() > 1e-2
    np.testing.assert_allclose(
        encode(params, shared, things, jnp.ones((5, 3))), everything, rtol=1e-5, atol=1e-6
    )
    assert np.isfinite(encode(params, shared, things, jnp.zeros((5, 3)))).all()


def test_a_flow_over_a_set_of_objects_does_not_depend_on_their_order() -> None:
    config = RealNVPConfig(
        observation=("pose", "size", "offset"),
        set_observation=("size", "offset"),
        encoder_widths=(16,),
        conditioner_widths=(16,),
        final_init="uniform",
    )
    prior = make_real_nvp(config, SPEC, ActionSpec(3))
    params = prior.init(jax.random.key(2))
    observation = random_observation(SPEC, 5)
    latent = jax.random.normal(jax.random.key(3), (5, 3))
    action = prior.decode(params, latent, prior.encode(params, observation))
    assert prior.log_prob is not None
    for order in itertools.permutations(range(3)):
        places = jnp.array(order)
        shuffled = observation | {n: observation[n][:, places] for n in ("size", "offset")}
        features = prior.encode(params, shuffled)
        np.testing.assert_allclose(
            prior.decode(params, latent, features), action, rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            prior.log_prob(params, action, features),
            prior.log_prob(params, action, prior.encode(params, observation)),
            rtol=1e-4,
            atol=1e-4,
        )
    # things are shuffled whole: sizes that change places without their offsets are another scene
    torn = observation | {"size": observation["size"][:, jnp.array([1, 2, 0])]}
    other = prior.decode(params, latent, prior.encode(params, torn))
    assert (np.abs(other - action).max(-1) > 1e-4).all()


def test_a_policy_starts_as_the_standard_gaussian_and_keeps_its_limits() -> None:
    policy = GaussianPolicy((8,), 3, min_log_std=-5.0, max_log_std=2.0)
    x = jax.random.normal(jax.random.key(0), (4, 6))
    params = policy.init(jax.random.key(1), x)
    mean, log_std = policy.apply(params, x)
    assert mean.shape == log_std.shape == (4, 3)
    assert (mean == 0).all()
    assert (log_std == 0).all()
    extreme = jax.tree.map(lambda p: p, params)
    extreme["params"]["MLP_0"]["Dense_1"]["bias"] = jnp.array([0.0, 0, 0, -9.0, 9.0, 1.0])
    assert policy.apply(extreme, x)[1][0].tolist() == [-5.0, 2.0, 1.0]


def test_a_tanh_keeps_standard_deviations_smoothly_and_starts_at_one() -> None:
    policy = GaussianPolicy((8,), 4, min_log_std=-3.0, max_log_std=1.0, std_limit="tanh")
    x = jax.random.normal(jax.random.key(0), (4, 6))
    params = policy.init(jax.random.key(1), x)
    assert (policy.apply(params, x)[1] == 0).all()
    bias = jnp.array([0.0, 0, 0, 0, -90.0, -math.atanh(0.5), 0.5, 90.0])

    def log_std(shift: jax.Array, policy: GaussianPolicy = policy) -> jax.Array:
        moved = jax.tree.map(lambda p: p, params)
        moved["params"]["MLP_0"]["Dense_1"]["bias"] = bias.at[4:].add(shift)
        return policy.apply(moved, x)[1][0]

    # -1 + 2 tanh(raw + atanh(1/2)): in the middle, and e^2 = 7.389 times e^(2 * 0.549) = 3
    exact = [-3.0, -1.0, -1.0 + 2.0 * (3 * math.e - 1) / (3 * math.e + 1), 1.0]
    np.testing.assert_allclose(log_std(jnp.zeros(4)), exact, rtol=1e-6)
    slope = jnp.diag(jax.jacobian(log_std)(jnp.zeros(4)))
    np.testing.assert_allclose(slope[1], 2.0, rtol=1e-6)
    # 2 (1 - tanh^2) = 8 * 3e / (3e + 1)^2, where clipping at the start has no slope at all
    np.testing.assert_allclose(slope[2], 24 * math.e / (3 * math.e + 1) ** 2, rtol=1e-5)
    clipped = GaussianPolicy((8,), 4, min_log_std=-3.0, max_log_std=0.0)
    assert jax.jacobian(log_std)(jnp.zeros(4), clipped)[2, 2] == 0.0


def test_bounded_means_start_at_zero_and_follow_a_tanh() -> None:
    policy = GaussianPolicy((8,), 3, min_log_std=-5.0, max_log_std=2.0, mean_bound=2.0)
    x = jax.random.normal(jax.random.key(0), (4, 6))
    params = policy.init(jax.random.key(1), x)
    assert (policy.apply(params, x)[0] == 0).all()
    params["params"]["MLP_0"]["Dense_1"]["bias"] = jnp.array([0.02, 2.0, -90.0, 0, 0, 0])
    # 2 tanh(0.01), 2 tanh(1), 2 tanh(-45)
    np.testing.assert_allclose(
        policy.apply(params, x)[0][0], [0.01999933, 1.5231883, -2.0], rtol=1e-6
    )


def test_critics_share_nothing() -> None:
    critics = Critics(2, (8,), layer_norm=False)
    x, action = jnp.ones((4, 3)), jnp.ones((4, 2))
    params = critics.init(jax.random.key(0), x, action)
    values = critics.apply(params, x, action)
    assert values.shape == (2, 4)
    assert (values[0] != values[1]).all()
    # each: (3 + 2) * 8 + 8 and 8 * 1 + 1
    assert count_parameters(params) == 2 * (48 + 9)
    changed = jax.tree.map(lambda p: p, params)
    changed["params"]["Critic_1"] = jax.tree.map(lambda p: p + 1.0, params["params"]["Critic_1"])
    again = critics.apply(changed, x, action)
    assert (again[0] == values[0]).all()
    assert (again[1] != values[1]).all()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="slices are for threads of a CPU")
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "products"),
    [
        (1, 300, 300, [1]),
        (5, 300, 300, [5]),
        (12, 300, 300, [5, 5, 2]),
        (32, 128, 128, [32]),
        (33, 300, 300, [33]),  # no longer few
        (3, 1024, 1024, [3]),  # not even a row is for one thread
    ],
)
def test_few_rows_meet_wide_layers_in_slices_that_one_thread_takes(
    rows: int, inputs: int, outputs: int, products: list[int]
) -> None:
    x = jax.random.normal(jax.random.key(0), (rows, inputs))
    kernel = jax.random.normal(jax.random.key(1), (inputs, outputs))
    over = (((1,), (0,)), ((), ()))
    made = jax.make_jaxpr(lambda x, kernel: few_rows_dot(x, kernel, over))(x, kernel)
    found = [e.outvars[0].aval.shape[0] for e in made.eqns if e.primitive.name == "dot_general"]
    assert found == products
    np.testing.assert_allclose(few_rows_dot(x, kernel, over), x @ kernel, rtol=1e-4, atol=1e-4)


def test_layers_of_a_network_slice_what_one_row_and_many_rows_agree_on() -> None:
    network = MLP((300, 300, 2))
    x = jax.random.normal(jax.random.key(0), (12, 4))
    params = network.init(jax.random.key(1), x)
    made = jax.make_jaxpr(network.apply)(params, x)
    assert sum(e.primitive.name == "dot_general" for e in made.eqns) == 1 + 3 + 1
    each = jax.vmap(lambda row: network.apply(params, row))(x)
    np.testing.assert_allclose(network.apply(params, x), each, rtol=1e-5, atol=1e-5)
