"""Engines are compared as pairs, and poses only while the hand is near nothing."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from behavior_priors.envs.manipulation.poses import make_find_poses
from behavior_priors.envs.registry import make_env
from behavior_priors.types import Env
from experiments.compare_engines import NEAR, compare, paired_difference
from tests.experiments.conftest import Refused


def test_pairs_by_hand() -> None:
    """10 and 3 of 100: -7 / 102, and 1.96 sqrt(14 - 49 / 102) / 102 to either side."""
    difference, low, high = paired_difference(10, 3, 100)
    assert difference == pytest.approx(-0.07)
    assert (low, high) == (pytest.approx(-0.139280, abs=1e-6), pytest.approx(0.002026, abs=1e-6))


def test_pairs_that_all_agree_leave_some_doubt() -> None:
    difference, low, high = paired_difference(0, 0, 256)
    assert difference == 0.0
    assert -low == pytest.approx(high)
    assert 0.005 < high < 0.015
    assert paired_difference(2, 0, 2)[1] == -1.0  # an interval of shares ends at 1


@pytest.fixture(scope="module")
def env() -> Env:
    return make_env("place/can-in-pan", engine="c", demonstrator_noise=0.0)


def test_where_bodies_are_and_when_the_hand_is_near(env: Env) -> None:
    state = jax.jit(env.reset)(jax.random.key(0))
    find = make_find_poses(env.info["scenes"][0], NEAR)
    qpos = np.asarray(state.simulation.physics.qpos, np.float64)
    poses = find(qpos)
    for place in np.asarray(state.observation["object_position"]):
        assert np.linalg.norm(poses.position - place, axis=1).min() < 1e-6
    assert not poses.hand_is_near
    # the first object, into the hand: between the open fingers first, then into one of them
    qpos[8:11] = state.observation["ee_position"]
    assert not find(qpos).hand_is_near
    qpos[9] += 0.045
    assert find(qpos).hand_is_near


def test_an_engine_agrees_with_itself(env: Env) -> None:
    result = compare(env, env, 8, seed=100)
    assert result.difference == result.pose_difference == result.rotation_difference == 0.0
    assert result.only_first == result.only_second == 0
    assert result.both + result.neither == 8
    assert 8 <= result.pose_steps <= 80


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--env=grasp/nope",), ("--env=grasp/nope",)),
        (("--engines=c",), ("--engines=c", "two")),
        (("--engines=c,nope",), ("nope", "auto")),
        (("--episodes=0",), ("--episodes=0", "at least 1")),
    ],
)
def test_what_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
    refused: Refused,
    arguments: tuple[str, ...],
    names: tuple[str, ...],
) -> None:
    refused(tmp_path_factory.mktemp("compare"), "compare_engines", *arguments, names=names)
