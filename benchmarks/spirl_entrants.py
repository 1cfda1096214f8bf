"""What `benchmarks.skill_model` and `benchmarks.kl_sac` have in common: steps, cores, rows."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
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

AVAILABLE = tuple(sorted(os.sched_getaffinity(0)))
"""Cores of this process."""

CORES = tuple(sorted({1, len(AVAILABLE)}))
"""Numbers of cores that everybody is tried on: products this small may not gain by a second."""

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


def on_cores(cores: int, run: Contestant) -> Contestant:
    """A contestant whose process is kept to that many cores while it runs.

    All threads of the process are, because XLA has no option that counts: what was its switch for
    several threads leaves a program of jaxlib 0.10 with 1.7 cores busy.
    """

    def keep_to(mine: Iterable[int]) -> None:
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(thread.name), mine)

    def kept() -> None:
        keep_to(AVAILABLE[:cores])
        try:
            run()
        finally:
            keep_to(AVAILABLE)

    return kept


def core_rows(
    name: str,
    unit: str,
    work: float,
    contestants: Mapping[tuple[str, int], Contestant],
    plan: Plan,
    equal: str,
) -> Iterator[Row]:
    """Yields a row for each number of cores, and one for everybody's best number.

    Args:
      name: of the rows.
      unit: of the work, per second.
      work: in one call.
      contestants: by `ours` or `torch`, and the number of cores, which they are kept to here.
      plan: how long they are watched.
      equal: what was found equal.
    """
    keys = {f"{who} on {cores}": (who, cores) for who, cores in contestants}
    kept = {label: on_cores(key[1], contestants[key]) for label, key in keys.items()}
    raced = race(kept, plan)
    seconds = {keys[label]: found for label, found in raced.items()}

    def best_of(who: str) -> int:
        return min(CORES, key=lambda cores: statistics.median(seconds[who, cores]))

    best = {who: best_of(who) for who in ("ours", "torch")}
    pairs = [(str(cores), {"ours": cores, "torch": cores}) for cores in CORES]
    if len(CORES) > 1:
        pairs.append((f"best, {best['ours']} and {best['torch']}", best))
    for label, cores in pairs:
        yield rate_row(
            f"{name} against torch (cores: {label})",
            unit,
            (work, seconds["ours", cores["ours"]]),
            (work, seconds["torch", cores["torch"]]),
            equal=equal,
            packages=("torch",),
        )
