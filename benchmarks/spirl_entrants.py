"""What `benchmarks.skill_model` and `benchmarks.kl_sac` have in common: steps, threads, rows."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.types import Params
from benchmarks.harness import Contestant, Plan, Row, largest_difference, race, rate_row

THREADS = tuple(sorted({1, os.cpu_count() or 1}))
"""Numbers of threads that everybody is tried on: products this small may not gain by a second."""

LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

STEP_TOLERANCE = 0.05
"""Adam's first step is about the learning rate, whatever the gradient: as a share of that, how much
of it may be rounding. Entries whose gradient is all but zero have the most."""

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

    Gradients are compared array by array, as a share of the peer's largest entry; weights as a
    share of the step that the optimiser takes. That the second update's losses are equal says that
    whatever else the first one changed is, too.
    """
    found = [largest_difference("losses", ours.losses, peer.losses, LOSS_TOLERANCE)]
    names = sorted(peer.gradient)
    scales = [max(float(np.abs(peer.gradient[name]).max()), 1e-12) for name in names]
    shares = (
        [steps.gradient[name] / scale for name, scale in zip(names, scales, strict=True)]
        for steps in (ours, peer)
    )
    found.append(largest_difference("gradients", *shares, GRADIENT_TOLERANCE))
    names = sorted(peer.weights)
    # the largest entries are around one, so that this is the difference and no share
    weights = ([steps.weights[name] for name in names] for steps in (ours, peer))
    tolerance = STEP_TOLERANCE * learning_rate
    found.append(largest_difference("weights after a step", *weights, tolerance))
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
    best = {
        who: min(THREADS, key=lambda threads, who=who: statistics.median(seconds[who, threads]))
        for who in ("ours", "torch")
    }
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
