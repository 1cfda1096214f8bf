"""The highest rate at which this machine multiplies matrices, and what share of it others reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.harness import Contestant, Plan, Row, race, rate_row

SIZES = (512, 1024, 2048)


class Peak(NamedTuple):
    """What multiplies at the highest rate.

    Attributes:
      run: does it, some times.
      size: side of its square matrices.
      gflop: 10^9 floating-point operations in a run.
    """

    run: Contestant
    size: int
    gflop: float


def find_peak(plan: Plan) -> Peak:
    """The best of some sizes."""
    found: dict[float, Peak] = {}
    for size in SIZES:
        calls = (max(SIZES) // size) ** 3
        peak = Peak(_matmul(size, calls), size, 1e-9 * calls * 2 * size**3)
        trial = Plan(rounds=5, seconds=0.2 * plan.seconds, clock=plan.clock)
        found[peak.gflop / min(race({"matmul": peak.run}, trial)["matmul"])] = peak
    return found[max(found)]


def peak_row(
    name: str, ours: tuple[float, Sequence[float]], peak: Peak, seconds: Sequence[float]
) -> Row:
    """The row of a share of the peak.

    Args:
      name: of what was raced against it.
      ours: 10^9 floating-point operations of its matrix products in a run, and seconds of each.
      peak: what it was raced against.
      seconds: of each of that one's runs.
    """
    return rate_row(
        f"{name} against {peak.size}x{peak.size} matmul",
        "GFLOP/s",
        ours,
        (peak.gflop, seconds),
        equal="nothing to compare: the ratio is the share of the peak",
    )


def _matmul(size: int, calls: int) -> Contestant:
    """Multiplies `calls` times, without dependence of one product on another."""
    key = jax.random.key(0)
    a, b = jax.random.normal(key, (2, size, size))
    multiply: Callable[..., jax.Array] = jax.jit(jnp.matmul)

    def run() -> None:
        jax.block_until_ready([multiply(a, b) for _ in range(calls)])

    return run
