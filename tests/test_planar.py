"""The planar pusher of `examples/planar`: its recordings, and what they become here."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from behavior_priors.data.bounds import bounds_of
from behavior_priors.data.readers import ReadConfig, Selection, Tally, open_recording
from behavior_priors.data.readers.base import join
from behavior_priors.envs.registry import make_env
from examples.planar.planar import ACTION_HIGH, ACTION_LOW, CORNER, Planar
from examples.planar.record import ENV, episodes, write_robomimic

NAME = f"gym/{ENV}"


def test_a_puck_gives_way_and_stays_on_the_table() -> None:
    env = Planar()
    env.reset(seed=0)
    env.puck, env.finger = np.array([0.2, 0.2]), np.array([0.158, 0.2])
    env.step(np.array([0.01, 0.0]))
    # 0.042 apart is touching: the puck moves as the finger does
    np.testing.assert_allclose(env.finger, [0.168, 0.2])
    np.testing.assert_allclose(env.puck, [0.21, 0.2])
    for _ in range(100):
        seen, *_ = env.step(ACTION_HIGH)
    assert (seen["state"] <= 0.4).all()
    assert env.observation_space.contains(seen)


def test_recordings_have_no_goal_of_the_new_task() -> None:
    made = list(episodes(20, 0.2, seed=1))
    goals = np.stack([x["observations"][0]["goal"] for x in made])
    assert not (goals > CORNER[0] - 0.05).all(axis=1).any()
    assert all(x["rewards"][-1] == 1.0 for x in made)
    env = gymnasium.make(ENV)
    new = np.stack([env.reset(seed=i)[0]["goal"] for i in range(20)])
    assert ((new >= CORNER[0]) & (new <= CORNER[1])).all()


def test_recordings_are_read_as_they_are(tmp_path: Path) -> None:
    made = list(episodes(3, 0.2, seed=2))
    write_robomimic(iter(made), str(tmp_path / "planar.hdf5"))
    chosen = tuple(Selection.parse(f"{n}={n}") for n in ("state", "goal", "camera"))
    recording = open_recording(tmp_path / "planar.hdf5", ReadConfig(observation=chosen))
    batch = join(list(recording.batches(Tally())))
    for name, array in batch.observation.items():
        rows = np.concatenate([[x[name] for x in episode["observations"]] for episode in made])
        np.testing.assert_array_equal(array, rows)
    assert batch.terminated is not None
    assert batch.terminated.all()


def test_the_environment_says_its_own_units() -> None:
    env = make_env(NAME)
    own = bounds_of(env.info, 2)
    assert own is not None
    np.testing.assert_allclose(own.low, ACTION_LOW)
    np.testing.assert_allclose(own.high, ACTION_HIGH)
    assert env.measures_success
    assert {n: x.shape for n, x in env.observation_spec.items()} == {
        "camera": (32, 32, 3),
        "goal": (2,),
        "state": (4,),
    }
    with pytest.raises(ValueError, match="goals=x should be corner or elsewhere"):
        Planar("x")
