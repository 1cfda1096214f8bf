"""Aggregates against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from behavior_priors.evaluation.statistics import (
    interquartile_mean,
    stratified_bootstrap_interval,
    success_rate,
    summarize,
    wilson_interval,
)


def mean(scores: np.ndarray) -> np.ndarray:
    return scores.mean(axis=-1)


def test_interquartile_mean_drops_a_quarter_at_either_end() -> None:
    # 3, 4, 5 and 6 are left.
    assert interquartile_mean(np.array([8, 3, 1, 6, 5, 2, 7, 4])) == 4.5
    # A quarter of 6 is rounded down to 1: 0, 1, 2 and 3 are left.
    assert interquartile_mean(np.array([0, 100, 1, 2, 3, 0])) == 1.5
    # Nothing is dropped of 3.
    assert interquartile_mean(np.array([0, 1, 5])) == 2
    assert interquartile_mean(np.array([[0, 0, 4, 9], [1, 2, 3, 8]])).tolist() == [2, 2.5]


def test_bootstrap_draws_runs_with_replacement() -> None:
    # Of 27 draws of three from 0, 3 and 9, one sums to 0 (3.7 %), three to 3 (14.8 % in all), ...,
    # three to 21, and one to 27. The tenth from either end are means of 1 and 7.
    scores = np.array([[0.0], [3.0], [9.0]])
    assert stratified_bootstrap_interval(scores, mean, confidence=0.8) == (1, 7)
    assert stratified_bootstrap_interval(scores, mean, confidence=0.95) == (0, 9)


def test_bootstrap_draws_within_each_task() -> None:
    # The tasks differ, their runs do not: nothing is uncertain.
    scores = np.array([[0.0, 10.0], [0.0, 10.0], [0.0, 10.0]])
    assert stratified_bootstrap_interval(scores, mean) == (5, 5)


def test_bootstrap_draws_for_each_task_apart() -> None:
    # Were runs drawn as a whole, every draw would sum to zero.
    scores = np.array([[-1.0, 1.0], [1.0, -1.0]])
    assert stratified_bootstrap_interval(scores, mean) == (-1, 1)


def test_bootstrap_of_many_runs_is_the_normal_interval() -> None:
    scores = np.random.default_rng(0).normal(size=(400, 1))
    low, high = stratified_bootstrap_interval(scores, mean)
    half_width = 1.96 * scores.std() / 20
    np.testing.assert_allclose(
        [low, high], scores.mean() + np.array([-1, 1]) * half_width, atol=4e-3
    )


def test_bootstrap_repeats_for_equal_seeds() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3))
    first = stratified_bootstrap_interval(scores, seed=1)
    assert first == stratified_bootstrap_interval(scores, seed=1)
    assert first != stratified_bootstrap_interval(scores, seed=2)


def test_few_runs_are_summed_up_by_mean_and_range() -> None:
    assert summarize(np.array([0.5])) == (0.5, 0.5, 0.5, "one run")
    assert summarize(np.array([1.0, 2.0, 6.0])) == (3, 1, 6, "mean and range of 3 runs")
    assert summarize(np.arange(11.0)) == (5, 0, 10, "mean and range of 11 runs")
    # Twelve tasks with one run each leave nothing to draw from.
    assert summarize(np.arange(12.0)[None]) == (5.5, 0, 11, "mean and range of 12 runs")


@pytest.mark.parametrize("shape", [(12,), (12, 1), (3, 4)])
def test_many_runs_are_summed_up_by_interquartile_mean_and_bootstrap(
    shape: tuple[int, ...],
) -> None:
    estimate = summarize(np.array([0.0] * 3 + [1, 2, 3, 4, 5, 6] + [100] * 3).reshape(shape))
    assert estimate.value == 3.5
    assert estimate.low < 3.5 < estimate.high
    assert estimate.meaning == "interquartile mean, 95% bootstrap interval of 12 runs"


def test_wilson_interval_against_published_numbers() -> None:
    np.testing.assert_allclose(wilson_interval(8, 10), (0.4901625, 0.9433178), atol=1e-7)
    # z^2 / (n + z^2) with z^2 = 3.8414588.
    np.testing.assert_allclose(wilson_interval(0, 10), (0.0, 0.2775328), atol=1e-7)
    np.testing.assert_allclose(wilson_interval(10, 10), (0.7224672, 1.0), atol=1e-7)


def test_wilson_interval_holds_the_share_itself() -> None:
    for trials in range(1, 300):
        assert wilson_interval(trials, trials)[1] == 1.0
        assert wilson_interval(0, trials)[0] == 0.0


@pytest.mark.parametrize(("successes", "trials"), [(1, 3), (50, 100), (399, 400)])
def test_wilson_interval_ends_where_the_score_test_rejects(successes: int, trials: int) -> None:
    for share in wilson_interval(successes, trials, confidence=0.9):
        z = abs(successes / trials - share) / np.sqrt(share * (1 - share) / trials)
        assert z == pytest.approx(1.6448536)


def test_success_rate_says_what_it_is() -> None:
    rate = success_rate(8, 10)
    assert rate[:3] == (0.8, *wilson_interval(8, 10))
    assert rate.meaning == "95% Wilson interval of 10 episodes"
