"""Log-likelihoods and samples of the real-NVP, against distrax, nflows and zuko.

A call takes a batch of observations, with actions or with noise, to log-likelihoods or to actions,
the encoder included. Rows called `grad` also differentiate, with respect to all parameters, the
mean of the log-likelihoods or the sum of the actions. Everybody has the same nets with the same
weights, and log-scales bounded by the same function; each library's own couplings do the rest. The
noise of samples is given to all four, so that nobody draws any in the time that is taken. JAX's
programs are compiled; torch's run eagerly, on as many threads as there are cores, and in inference
mode where no gradient is asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.networks import MLP
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.types import ActionSpec, ArraySpec, Params
from benchmarks.flow_entrants import REDUCTIONS, Entrant, Layers
from benchmarks.harness import Plan, Row, largest_difference, race, rate_row

PEERS = ("distrax", "nflows", "torch", "zuko")
PACKAGES = {"distrax": ("distrax",), "nflows": ("nflows", "torch"), "zuko": ("zuko", "torch")}

CONFIG = RealNVPConfig()
OBSERVATION_SIZE = 56
ACTION_SIZE = 7
BATCH_SIZES = (1, 256, 4096)

VALUE_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

Program = Callable[[Params, jax.Array, jax.Array], jax.Array]
"""`(params, observation [B, ...], event [B, size])` to log-likelihoods `[B]` of the event, which is
an action, or to actions `[B, size]` from the event, which is noise."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields twelve times three rows: operation, gradient or not, batch size; then the peer."""
    from benchmarks import flow_peers

    params = make_params(CONFIG, OBSERVATION_SIZE, ACTION_SIZE)
    compiled = {
        "ours": ours(CONFIG, OBSERVATION_SIZE, ACTION_SIZE),
        "distrax": distrax_only(CONFIG, ACTION_SIZE),
    }
    models = {
        library: make(CONFIG, layers(params), ACTION_SIZE)
        for library, make in flow_peers.LIBRARIES.items()
    }
    for operation in REDUCTIONS:
        for gradient in (False, True):
            for batch_size in BATCH_SIZES:
                batch = make_batch(batch_size, OBSERVATION_SIZE, ACTION_SIZE)
                entrants = {
                    library: jax_entrant(programs[operation], params, batch, operation, gradient)
                    for library, programs in compiled.items()
                } | {
                    library: flow_peers.entrant(model, batch, operation, gradient)
                    for library, model in models.items()
                }
                name = f"flow/{operation}/{'grad' if gradient else 'forward'}/{batch_size}"
                yield from _race(name, entrants, batch_size, plan)


def _race(name: str, entrants: Mapping[str, Entrant], batch_size: int, plan: Plan) -> list[Row]:
    equal = {
        library: compare(entrants["ours"], entrant)
        for library, entrant in entrants.items()
        if library != "ours"
    }
    seconds = race({library: entrant.run for library, entrant in entrants.items()}, plan)
    return [
        rate_row(
            f"{name} against {library}",
            "actions/s",
            (batch_size, seconds["ours"]),
            (batch_size, seconds[library]),
            equal=equal[library],
            packages=PACKAGES[library],
        )
        for library in equal
    ]


def compare(mine: Entrant, other: Entrant) -> str:
    """Says how far two entrants' results are apart, or raises `BenchmarkError`.

    Gradients are compared array by array, as a share of the peer's largest entry.
    """
    ours, peer = (entrant.arrays(entrant.run()) for entrant in (mine, other))
    found = largest_difference("values", ours[0], peer[0], tolerance=VALUE_TOLERANCE)
    if len(peer) == 1:
        return found
    scales = [np.abs(gradient).max() for gradient in peer[1:]]
    ours_shares, peer_shares = (
        [gradient / scale for gradient, scale in zip(result[1:], scales, strict=True)]
        for result in (ours, peer)
    )
    gradients = largest_difference("gradients", ours_shares, peer_shares, GRADIENT_TOLERANCE)
    return f"{found}, {gradients}"


def make_params(config: RealNVPConfig, observation_size: int, action_size: int) -> Params:
    """Arbitrary parameters, since at the initial ones the flow is the identity."""
    rng = np.random.default_rng(0)
    prior = make_real_nvp(config, _spec(observation_size), ActionSpec(action_size))

    def draw(x: Any) -> jax.Array:
        spread = 0.1 if x.ndim == 1 else x.shape[0] ** -0.5
        return jnp.asarray(rng.normal(scale=spread, size=x.shape), jnp.float32)

    return jax.tree.map(draw, jax.eval_shape(prior.init, jax.random.key(0)))


def make_batch(size: int, observation_size: int, action_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Observations and events, which serve as actions and as noise."""
    rng = np.random.default_rng(1)
    observation = rng.normal(size=(size, observation_size)).astype(np.float32)
    return observation, rng.normal(size=(size, action_size)).astype(np.float32)


def layers(params: Params) -> Layers:
    """Parameters, or a gradient, layer by layer."""
    return [
        (np.asarray(layer["kernel"]), np.asarray(layer["bias"]))
        for net in [params["encoder"], *params["conditioners"]]
        for _, layer in sorted(net["params"].items())
    ]


def ours(config: RealNVPConfig, observation_size: int, action_size: int) -> dict[str, Program]:
    """The project's prior, by operation."""
    prior = make_real_nvp(config, _spec(observation_size), ActionSpec(action_size))
    evaluate = prior.log_prob
    assert evaluate is not None  # only padding takes it away

    def log_prob(params: Params, observation: jax.Array, action: jax.Array) -> jax.Array:
        return evaluate(params, action, prior.encode(params, {"observation": observation}))

    def sample(params: Params, observation: jax.Array, noise: jax.Array) -> jax.Array:
        return prior.decode(params, noise, prior.encode(params, {"observation": observation}))

    return {"log_prob": log_prob, "sample": sample}


def distrax_only(config: RealNVPConfig, action_size: int) -> dict[str, Program]:
    """The same flow of nothing but distrax's own parts, by operation."""
    encoder: Any = MLP(config.encoder_widths, activate_final=True)
    split = action_size // 2
    bound = config.log_scale_bound
    assert bound is not None

    def affine(outputs: jax.Array) -> distrax.Bijector:
        shift, raw = jnp.split(outputs, 2, axis=-1)
        return distrax.ScalarAffine(shift, log_scale=bound * jnp.tanh(raw / bound))

    def flow(params: Params, observation: jax.Array) -> distrax.Transformed:
        features = encoder.apply(params["encoder"], observation)

        def coupling(layer: int) -> distrax.Bijector:
            swap = layer % 2 == 1
            moved = split if swap else action_size - split
            network: Any = MLP((*config.conditioner_widths, 2 * moved))

            def conditioner(half: jax.Array) -> jax.Array:
                inputs = jnp.concatenate([features, half], axis=-1)
                return network.apply(params["conditioners"][layer], inputs)

            return distrax.SplitCoupling(split, 1, conditioner, affine, swap=swap)

        chain = distrax.Chain([coupling(layer) for layer in reversed(range(config.couplings))])
        return distrax.Transformed(distrax.MultivariateNormalDiag(jnp.zeros(action_size)), chain)

    return {
        "log_prob": lambda params, observation, x: flow(params, observation).log_prob(x),
        "sample": lambda params, observation, z: flow(params, observation).bijector.forward(z),
    }


def jax_entrant(
    program: Program,
    params: Params,
    batch: Sequence[np.ndarray],
    operation: str,
    gradient: bool,
) -> Entrant:
    """A compiled program on parameters and a batch that are on the device already."""
    reduce = REDUCTIONS[operation]
    observation, event = map(jnp.asarray, batch)
    function: Callable[..., Any] = program
    if gradient:
        function = jax.value_and_grad(lambda *arguments: reduce(program(*arguments)))
    compiled = functools.partial(jax.jit(function), params, observation, event)

    def arrays(result: Any) -> list[np.ndarray]:
        if not gradient:
            return [np.asarray(result)]
        value, gradients = result
        return [np.asarray(value), *(x for layer in layers(gradients) for x in layer)]

    return Entrant(lambda: jax.block_until_ready(compiled()), arrays)


def _spec(observation_size: int) -> dict[str, ArraySpec]:
    return {"observation": ArraySpec((observation_size,))}
