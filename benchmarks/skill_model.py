"""Gradient steps of SPiRL's skill model per second, against the same networks in torch.

The closed-loop model at the sizes of the authors' kitchen, without their batch normalisation: an
LSTM encoder, a decoder that sees each step's observation, a Gaussian prior; Adam with clipped
gradients. Ours is an epoch of `make_fit`, a jitted scan of updates, and one look at one piece of
validation data. The peer is the same in plain eager torch. Both draw their batches, pieces of
episodes in memory, and their noise.

Before the race two steps from the same weights on the same pieces with the same noise have to give
the same losses, gradients and weights. torch's LSTM has two biases that are only ever added up:
one is zero and not trained, or else Adam would move their sum twice as far.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.data.dataset import Windows
from behavior_priors.priors.skill_vae import SkillVAEConfig, make_skill_vae, summed_beta
from behavior_priors.training.fit import Fit, FitConfig, FitState, make_fit
from behavior_priors.types import ActionSpec, ArraySpec, Params, SkillModel
from benchmarks.harness import Contestant, Plan, Row, race
from benchmarks.peak import find_peak, peak_row
from benchmarks.spirl_entrants import (
    CORES,
    Arrays,
    Steps,
    compare,
    core_rows,
    draw_params,
    mlp_arrays,
)

PEERS = ("torch",)

OBSERVATION_SIZE = 60
ACTION_SIZE = 9
STEPS = 20_000
UPDATES = 20
"""Gradient steps in one call."""

CONFIG = SkillVAEConfig(
    horizon=10,
    latent_size=10,
    beta=summed_beta(5e-4, 10, ACTION_SIZE, 10),
    embedding_width=128,
    lstm_width=128,
    decoder_widths=(128,) * 5,
    prior_widths=(128,) * 6,
)
FIT = FitConfig(steps=UPDATES, steps_per_epoch=UPDATES, batch_size=128, gradient_clip=10.0)


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each number of cores, one for the best ones, and the share of the peak."""
    from benchmarks import torch_spirl

    data = make_data(CONFIG, OBSERVATION_SIZE, ACTION_SIZE, STEPS)
    params = draw_params(make_model(CONFIG, data).init(jax.random.key(0)), seed=0)
    equal = check(CONFIG, FIT, data, params)
    contestants: dict[tuple[str, int], Contestant] = {}
    for cores in CORES:
        contestants["ours", cores] = _trainer(CONFIG, FIT, data, params)
        model = torch_spirl.SkillTrainer(CONFIG, FIT, data, arrays(params))
        contestants["torch", cores] = functools.partial(torch_spirl.train, model, UPDATES, cores)
    name = f"skill_model/{FIT.batch_size}"
    yield from core_rows(name, "steps/s", UPDATES, contestants, plan, equal)
    peak = find_peak(plan)
    seconds = race({"ours": _trainer(CONFIG, FIT, data, params), "peak": peak.run}, plan)
    work = 1e-9 * UPDATES * flops_per_update(CONFIG, FIT.batch_size)
    yield peak_row(name, (work, seconds["ours"]), peak, seconds["peak"])


def flops_per_update(config: SkillVAEConfig, batch_size: int) -> float:
    """Floating-point operations of the matrix products in an update, counted as customary.

    One pass forward and twice as much backward. The encoder's first layer is one product with what
    the gates make of it, and the LSTM's first output is zero, so that it is multiplied by nothing.
    """
    pairs = itertools.pairwise
    rows, size, width = config.horizon, config.latent_size, config.lstm_width
    encoder = (rows * ACTION_SIZE + (rows - 1) * width) * 4 * width + width * 2 * size
    decoder = (OBSERVATION_SIZE + size, *config.decoder_widths, ACTION_SIZE)
    prior = (OBSERVATION_SIZE, *config.prior_widths, 2 * size)
    products = encoder + sum(rows * a * b for a, b in pairs(decoder))
    return 3 * 2.0 * batch_size * (products + sum(a * b for a, b in pairs(prior)))


def make_data(
    config: SkillVAEConfig, observation_size: int, action_size: int, steps: int
) -> dict[str, np.ndarray]:
    """One long episode `[steps, ...]`, and where pieces of it may start."""
    rng = np.random.default_rng(0)
    return {
        "observation": rng.normal(size=(steps, observation_size)).astype(np.float32),
        "action": rng.uniform(-1, 1, (steps, action_size)).astype(np.float32),
        "start": np.arange(steps - config.horizon + 1, dtype=np.int32),
    }


def make_model(config: SkillVAEConfig, data: Arrays) -> SkillModel:
    """Ours."""
    spec = {"observation": ArraySpec(data["observation"].shape[1:])}
    return make_skill_vae(config, spec, ActionSpec(data["action"].shape[1]))


def check(config: SkillVAEConfig, fit_config: FitConfig, data: Arrays, params: Params) -> str:
    """Two steps of both from the same weights: says how equal, or raises `BenchmarkError`."""
    from benchmarks import torch_spirl

    ours = _epoch(config, dataclasses.replace(fit_config, steps=1, steps_per_epoch=1), data)
    state = _start(ours, params)
    peer = torch_spirl.SkillTrainer(config, fit_config, data, arrays(params))
    losses: tuple[list, list] = ([], [])
    taken: list[tuple[Arrays, Arrays]] = []
    for _ in range(2):
        _, rows_key, noise_key = jax.random.split(state.key, 3)
        batch = (fit_config.batch_size,)
        rows = jax.random.randint(rows_key, batch, 0, len(data["start"]))
        noise = jax.random.normal(noise_key, (*batch, config.latent_size))
        state, metrics = ours.run_epoch(state, *_windows(config, data))
        losses[0].append(metrics["train/loss"])
        losses[1].append(peer.update(np.array(rows), np.array(noise)).item())
        if not taken:
            # the first moment after one step is a tenth of the gradient
            moment = _find_moment(state.opt_state)
            gradient = arrays(jax.tree.map(lambda x: 10.0 * x, moment))
            taken = [(gradient, arrays(state.params)), (peer.gradient(), peer.weights())]
    ours_took, peer_took = (Steps(loss, *x) for loss, x in zip(losses, taken, strict=True))
    return compare(ours_took, peer_took, fit_config.learning_rate)


def arrays(params: Params) -> dict[str, np.ndarray]:
    """Parameters of ours, or whatever is shaped like them, as torch has them."""
    encoder = params["encoder"]["params"]
    cell = encoder["OptimizedLSTMCell_0"]

    def gates(kind: str, what: str) -> np.ndarray:
        # torch, too, has them in the order: enter, keep, new, show
        return np.concatenate([np.asarray(cell[f"{kind}{gate}"][what]).T for gate in "ifgo"])

    return {
        "embedding.weight": np.asarray(encoder["Dense_0"]["kernel"]).T,
        "embedding.bias": np.asarray(encoder["Dense_0"]["bias"]),
        "lstm.weight_ih_l0": gates("i", "kernel"),
        "lstm.weight_hh_l0": gates("h", "kernel"),
        "lstm.bias_hh_l0": gates("h", "bias"),
        "head.weight": np.asarray(encoder["Dense_1"]["kernel"]).T,
        "head.bias": np.asarray(encoder["Dense_1"]["bias"]),
        **mlp_arrays("decoder", params["decoder"]["params"]),
        **mlp_arrays("prior", params["prior"]["params"]["MLP_0"]),
    }


def _trainer(
    config: SkillVAEConfig, fit_config: FitConfig, data: Arrays, params: Params
) -> Contestant:
    """Ours: an epoch in one program."""
    fit, windows = _epoch(config, fit_config, data), _windows(config, data)
    state = _start(fit, params)

    def run() -> None:
        nonlocal state
        state, metrics = fit.run_epoch(state, *windows)
        jax.block_until_ready((state, metrics))

    return run


def _epoch(config: SkillVAEConfig, fit_config: FitConfig, data: Arrays) -> Fit:
    return make_fit(make_model(config, data), fit_config)


def _start(fit: Fit, params: Params) -> FitState:
    """A state with the given parameters except for beta, which the config gives."""
    state = fit.init(jax.random.key(1))
    return dataclasses.replace(state, params={**params, "log_beta": state.params["log_beta"]})


def _windows(config: SkillVAEConfig, data: Arrays) -> tuple[Windows, Windows]:
    """All pieces to learn from, and one to validate with."""
    steps = {"observation": {"observation": jnp.asarray(data["observation"])}}
    every = Windows(
        **steps,
        action=jnp.asarray(data["action"]),
        start=jnp.asarray(data["start"]),
        length=config.horizon,
    )
    return every, dataclasses.replace(every, start=every.start[:1])


def _find_moment(optimizer_state: Any) -> Params:
    """Adam's mean of gradients, wherever in the state of a chain of optimisers it is."""
    is_adams = lambda x: hasattr(x, "mu")  # noqa: E731
    leaves = jax.tree.leaves(optimizer_state, is_leaf=is_adams)
    (moment,) = (leaf.mu for leaf in leaves if is_adams(leaf))
    return moment
