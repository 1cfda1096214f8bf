"""What may be said of a few runs: aggregates with intervals.

The rules are those of rliable (Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", 2021): the interquartile mean over runs and tasks together, with a bootstrap
interval that is stratified by task. They need enough runs to resample, so that a handful of them is
summed up by its mean and its range instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

FEWEST_RUNS_FOR_BOOTSTRAP = 12


class Estimate(NamedTuple):
    """A number with an interval.

    Attributes:
      value: the estimate.
      low: lower end of the interval.
      high: upper end.
      meaning: what value and interval are, for legends and tables.
    """

    value: float
    low: float
    high: float
    meaning: str


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean of what is left of the last axis without its lowest and highest quarter.

    A quarter is rounded down to whole scores, as `scipy.stats.trim_mean` does.

    Args:
      scores: `[..., n]`.

    Returns:
      `[...]`.
    """
    count = scores.shape[-1]
    cut = count // 4
    return np.sort(scores, axis=-1)[..., cut : count - cut].mean(axis=-1)


def stratified_bootstrap_interval(
    scores: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray] = interquartile_mean,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic when each task's runs are drawn anew, with replacement.

    Args:
      scores: `[runs, tasks]`; one run gives an interval of no width.
      statistic: `[..., runs * tasks] -> [...]`.
      confidence: share of the resampled statistics within the interval.
      resamples: how often to draw.
      seed: of the draws; equal seeds give equal intervals.
    """
    runs, tasks = scores.shape
    drawn = np.random.default_rng(seed).integers(runs, size=(resamples, runs, tasks))
    resampled = scores[drawn, np.arange(tasks)].reshape(resamples, runs * tasks)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(statistic(resampled), [tail, 1.0 - tail])
    return float(low), float(high)


def summarize(scores: np.ndarray, *, seed: int = 0) -> Estimate:
    """The estimate that the number of runs allows.

    Args:
      scores: `[runs]` of one task or `[runs, tasks]`.
      seed: of the bootstrap.

    Returns:
      From 12 scores on, and two runs a task, the interquartile mean with its 95 % stratified
      bootstrap interval; below that, the mean with the lowest and the highest score.
    """
    table = scores[:, None] if scores.ndim == 1 else scores
    if table.size >= FEWEST_RUNS_FOR_BOOTSTRAP and len(table) > 1:
        low, high = stratified_bootstrap_interval(table, seed=seed)
        meaning = f"interquartile mean, 95% bootstrap interval of {table.size} runs"
        return Estimate(float(interquartile_mean(table.ravel())), low, high, meaning)
    meaning = "one run" if table.size == 1 else f"mean and range of {table.size} runs"
    return Estimate(float(table.mean()), float(table.min()), float(table.max()), meaning)


def wilson_interval(
    successes: int, trials: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of a share (Wilson, 1927).

    It stays within 0 and 1 and keeps a width where all trials went alike.

    Args:
      successes: how many trials succeeded.
      trials: how many there were, at least one.
      confidence: how often such an interval holds the true share.
    """
    share = successes / trials
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    shrinkage = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / shrinkage
    half_width = math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) * z / shrinkage
    # rounding must not push the share itself out where all trials went alike
    return max(0.0, min(share, centre - half_width)), min(1.0, max(share, centre + half_width))


def success_rate(successes: int, trials: int) -> Estimate:
    """The share of successes with its 95 % Wilson interval."""
    low, high = wilson_interval(successes, trials)
    return Estimate(successes / trials, low, high, f"95% Wilson interval of {trials} episodes")
