"""What `benchmarks.skill_model` and `benchmarks.kl_sac` have in common: steps, threads, rows."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.types import Params
from benchmarks.harness import (
    BenchmarkError,
    Contestant,
    Plan,
    Row,
    largest_difference,
    race,
    rate_row,
)

THREADS = tuple(sorted({1, os.cpu_count() or 1}))
"""Numbers of threads that everybody is tried on: products this small may not gain by a second."""

LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

STEP_TOLERANCE = 0.01
"""As a share of the learning rate, which is about Adam's first step, whatever the gradient."""

CLEAR = 1e-3
"""Weights are compared whose gradient is at least this share of their array's largest: at others
rounding decides the sign of the gradient, and so that of Adam's first step."""

Arrays = Mapping[str, np.ndarray]
"""By the name that torch's `state_dict` has for it, and in torch's layout."""


class Steps(NamedTuple):
    """What a few updates from given weights came to.

    Attributes:
      losses: of all updates, in order.
      gradient: of the first update, as the optimiser saw it.
      weights: after the first update.
    """

    losses: Sequence[Any]
    gradient: Arrays
    weights: Arrays


def compare(ours: Steps, peer: Steps, learning_rate: float) -> str:
    """Says how far two trainings are apart, or raises `BenchmarkError`.

    Gradients are compared array by array, as a share of the peer's largest entry; weights where the
    gradient is clear, as a share of the learning rate. That the second update's losses are equal
    says that whatever else the first one changed is, too.
    """
    found = [largest_difference("losses", ours.losses, peer.losses, LOSS_TOLERANCE)]
    if ours.gradient.keys() != peer.gradient.keys() or ours.weights.keys() != peer.weights.keys():
        raise BenchmarkError("ours and the peer's networks have other arrays")
    scales = {name: max(float(np.abs(x).max()), 1e-12) for name, x in peer.gradient.items()}
    mine, theirs = ([x.gradient[name] / scales[name] for name in scales] for x in (ours, peer))
    found.append(largest_difference("gradients", mine, theirs, GRADIENT_TOLERANCE))
    mine, theirs = [], []
    for name, weights in peer.weights.items():
        clear = np.ones(weights.shape, bool)
        if name in scales:
            clear = np.abs(peer.gradient[name]) >= CLEAR * scales[name]
        mine.append(ours.weights[name][clear])
        theirs.append(weights[clear])
    # weights are mostly below one, so that this is a difference and no share
    tolerance = STEP_TOLERANCE * learning_rate
    found.append(largest_difference("weights after a step", mine, theirs, tolerance))
    return ", ".join(found)


def draw_params(params: Params, seed: int) -> Params:
    """Arbitrary parameters, since some of the initial ones are zero."""
    rng = np.random.default_rng(seed)

    def draw(x: Any) -> jax.Array:
        spread = 0.1 if x.ndim < 2 else x.shape[0] ** -0.5
        return jax.numpy.asarray(rng.normal(scale=spread, size=x.shape), x.dtype)

    return jax.tree.map(draw, params)


def mlp_arrays(name: str, params: Params) -> dict[str, np.ndarray]:
    """Dense layers as those of a `torch.nn.Sequential` with a rectifier between any two."""
    arrays = {}
    for layer, (_, dense) in enumerate(sorted(params.items())):
        arrays[f"{name}.{2 * layer}.weight"] = np.asarray(dense["kernel"]).T
        arrays[f"{name}.{2 * layer}.bias"] = np.asarray(dense["bias"])
    return arrays


def compiled(
    program: Callable[..., Any], *arguments: Any, threads: int, donate: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """A program for one thread, or for all of them."""
    lowered = jax.jit(program, donate_argnums=donate).lower(*arguments)
    return lowered.compile(compiler_options={"xla_cpu_multi_thread_eigen": threads > 1})


def thread_rows(
    name: str,
    unit: str,
    work: float,
    contestants: Mapping[tuple[str, int], Contestant],
    plan: Plan,
    equal: str,
) -> Iterator[Row]:
    """Yields a row for each number of threads, and one for everybody's best number.

    Args:
      name: of the rows.
      unit: of the work, per second.
      work: in one call.
      contestants: by `ours` or `torch`, and the number of threads.
      plan: how long they are watched.
      equal: what was found equal.
    """
    keys = {f"{who} on {threads}": (who, threads) for who, threads in contestants}
    raced = race({label: contestants[key] for label, key in keys.items()}, plan)
    seconds = {keys[label]: found for label, found in raced.items()}

    def best_of(who: str) -> int:
        return min(THREADS, key=lambda threads: statistics.median(seconds[who, threads]))

    best = {who: best_of(who) for who in ("ours", "torch")}
    pairs = [(str(threads), {"ours": threads, "torch": threads}) for threads in THREADS]
    if len(THREADS) > 1:
        pairs.append((f"best, {best['ours']} and {best['torch']}", best))
    for label, threads in pairs:
        yield rate_row(
            f"{name} against torch (threads: {label})",
            unit,
            (work, seconds["ours", threads["ours"]]),
            (work, seconds["torch", threads["torch"]]),
            equal=equal,
            packages=("torch",),
        )
