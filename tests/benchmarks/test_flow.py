"""The flow benchmark's programs that need neither torch nor its libraries."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from behavior_priors.priors.real_nvp import RealNVPConfig
from behavior_priors.types import Params
from benchmarks import flow
from benchmarks.harness import BenchmarkError

CONFIG = RealNVPConfig(encoder_widths=(6,), conditioner_widths=(8, 5), couplings=3)
OBSERVATION_SIZE = 4
ACTION_SIZE = 5


def make_entrants(
    operation: str, gradient: bool, config: RealNVPConfig = CONFIG, params: Params = None
) -> tuple[flow.Entrant, flow.Entrant]:
    """Ours, and distrax's with the given config and parameters."""
    batch = flow.make_batch(3, OBSERVATION_SIZE, ACTION_SIZE)
    ours = flow.ours(CONFIG, OBSERVATION_SIZE, ACTION_SIZE)[operation]
    peer = flow.distrax_only(config, ACTION_SIZE)[operation]
    own = flow.make_params(CONFIG, OBSERVATION_SIZE, ACTION_SIZE)
    return (
        flow.jax_entrant(ours, own, batch, operation, gradient),
        flow.jax_entrant(peer, params or own, batch, operation, gradient),
    )


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("operation", list(flow.REDUCTIONS))
def test_equals_a_distrax_only_construction(operation: str, gradient: bool) -> None:
    found = flow.compare(*make_entrants(operation, gradient))
    assert ("gradients" in found) == gradient


@pytest.mark.parametrize("operation", list(flow.REDUCTIONS))
def test_another_bound_on_the_log_scale_is_noticed(operation: str) -> None:
    config = dataclasses.replace(CONFIG, log_scale_bound=1.8)
    with pytest.raises(BenchmarkError, match="values"):
        flow.compare(*make_entrants(operation, False, config))


def test_a_weight_that_is_off_is_noticed() -> None:
    params = flow.make_params(CONFIG, OBSERVATION_SIZE, ACTION_SIZE)
    kernel = params["conditioners"][2]["params"]["Dense_0"]["kernel"]
    params["conditioners"][2]["params"]["Dense_0"]["kernel"] = kernel + 0.01
    with pytest.raises(BenchmarkError, match="values"):
        flow.compare(*make_entrants("sample", False, params=params))


def test_a_small_gradient_that_is_off_by_a_thousandth_is_noticed() -> None:
    right = [np.float32(1.0), np.full(3, 1e-4)]
    wrong = [np.float32(1.0), np.array([1e-4, 1e-4, 1.001e-4])]
    entrants = [flow.Entrant(lambda: None, lambda _, x=x: x) for x in (wrong, right)]
    with pytest.raises(BenchmarkError, match="gradients"):
        flow.compare(*entrants)


def test_the_values_are_a_likelihood_and_a_shift_when_the_nets_have_only_biases() -> None:
    # every kernel zero, every shift 0.5 and every log-scale 2 tanh(1/2)
    params = jax.tree.map(np.zeros_like, flow.make_params(CONFIG, OBSERVATION_SIZE, ACTION_SIZE))
    for conditioner, moved in zip(params["conditioners"], (3, 2, 3), strict=True):
        conditioner["params"]["Dense_2"]["bias"] = np.repeat([0.5, 1.0], moved).astype(np.float32)
    scale = np.exp(0.924234315)
    observation, noise = flow.make_batch(3, OBSERVATION_SIZE, ACTION_SIZE)
    once, twice = noise * scale + 0.5, (noise * scale + 0.5) * scale + 0.5
    action = np.concatenate([once[:, :2], twice[:, 2:]], axis=1)
    programs = flow.ours(CONFIG, OBSERVATION_SIZE, ACTION_SIZE)
    np.testing.assert_allclose(
        programs["sample"](params, observation, noise), action, rtol=1e-5, atol=1e-5
    )
    # two dimensions are scaled once, three twice
    expected = -0.5 * (noise**2).sum(axis=1) - 5 * 0.9189385 - 8 * 0.924234315
    np.testing.assert_allclose(
        programs["log_prob"](params, observation, action.astype(np.float32)), expected, rtol=1e-5
    )


def test_layers_are_the_encoders_then_the_conditioners() -> None:
    params = flow.make_params(CONFIG, OBSERVATION_SIZE, ACTION_SIZE)
    shapes = [kernel.shape for kernel, _ in flow.layers(params)]
    assert shapes == [
        (4, 6),
        (8, 8),
        (8, 5),
        (5, 6),
        (9, 8),
        (8, 5),
        (5, 4),
        (8, 8),
        (8, 5),
        (5, 6),
    ]
    assert [bias.shape for _, bias in flow.layers(params)] == [(s[1],) for s in shapes]
