"""ManiSkill's layout, as `RecordEpisode` of mani-skill 3.0.1 writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, Tally
from behavior_priors.errors import UserError
from tests.data.readers.files import action, observation, read, write_hdf5


def maniskill(lengths: tuple[int, ...], succeeded: tuple[bool, ...]) -> dict[str, dict[str, Any]]:
    """Trajectories with nested observations; each array of states is the observation, too."""
    trajectories = {}
    for e, n in enumerate(lengths):
        last = np.arange(n) == n - 1
        seen = observation(e, range(n + 1))
        trajectories[f"traj_{e}"] = {
            "obs/agent/qpos": seen,
            "obs/extra/tcp_pose": np.tile(seen[:, :1], (1, 7)),
            "obs/sensor_data/base_camera/rgb": np.full((n + 1, 16, 24, 3), e, np.uint8),
            "obs/sensor_data/base_camera/depth": np.full((n + 1, 16, 24, 1), 300 + e, np.int16),
            "obs/sensor_param/base_camera/intrinsic_cv": np.tile(
                np.eye(3, dtype=np.float32), (n + 1, 1, 1)
            ),
            "actions": action(e, range(n)),
            "terminated": last & succeeded[e],
            "truncated": last & (not succeeded[e]),
            "success": last & succeeded[e],
            "rewards": np.arange(n, dtype=np.float32) + 10 * e,
            "env_states/actors/cube": np.tile(seen[:, :1], (1, 13)),
            "env_states/articulations/panda": np.tile(seen[:, :1], (1, 31)),
        }
    return trajectories


def test_every_number_arrives(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "trajectory.h5", maniskill((2, 1), (True, False)))
    (tmp_path / "trajectory.json").write_text(
        json.dumps({"env_info": {"env_id": "PickCube-v1", "max_episode_steps": 50}, "episodes": []})
    )
    recording, batch, tally = read(path)
    assert (recording.format, recording.environment) == ("maniskill", "PickCube-v1")
    assert {name: (spec.shape, spec.dtype) for name, spec in recording.observation.items()} == {
        "agent.qpos": ((2,), np.float32),
        "extra.tcp_pose": ((7,), np.float32),
        "sensor_data.base_camera.rgb": ((16, 24, 3), np.uint8),
        "sensor_data.base_camera.depth": ((16, 24, 1), np.float32),
        "sensor_param.base_camera.intrinsic_cv": ((3, 3), np.float32),
    }
    assert recording.keys["agent.qpos"] == "obs/agent/qpos"
    assert batch.length.tolist() == [2, 1]
    assert batch.observation["agent.qpos"][:, 0].tolist() == [0, 1, 2, 100, 101]
    depth = batch.observation["sensor_data.base_camera.depth"]
    assert depth[:, 0, 0, 0].tolist() == [300, 300, 300, 301, 301]
    np.testing.assert_array_equal(
        batch.action, np.concatenate([action(0, range(2)), action(1, range(1))])
    )
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 10]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, False]
    assert batch.success is not None
    assert batch.success.tolist() == [True, False]
    assert set(batch.initial_state) == {"actors.cube", "articulations.panda"}
    assert batch.initial_state["actors.cube"][:, 12].tolist() == [0, 100]
    assert (recording.notes, tally) == ([], Tally())


def test_flat_observations_and_an_older_layout(tmp_path: Path) -> None:
    """ManiSkill 2's states are one array; a path without observations is said so."""
    trajectories = maniskill((2, 1), (True, True))
    for e, arrays in enumerate(trajectories.values()):
        for key in [key for key in arrays if key.startswith(("obs/", "env_states/"))]:
            del arrays[key]
        del arrays["terminated"], arrays["truncated"], arrays["rewards"]
        arrays["obs"] = observation(e, range((2, 1)[e] + 1))
        arrays["env_states"] = np.tile(arrays["obs"], (1, 4))
    path = write_hdf5(tmp_path / "trajectory.h5", trajectories)
    recording, batch, _ = read(path)
    assert recording.environment is None
    assert batch.observation["observation"][:, 0].tolist() == [0, 1, 2, 100, 101]
    assert batch.initial_state["env_states"][:, 0].tolist() == [0, 100]
    assert batch.success is not None
    assert batch.success.all()
    assert recording.notes == ["there are no 'terminated': every episode counts as truncated"]
    for arrays in trajectories.values():
        del arrays["obs"]
    path = write_hdf5(tmp_path / "states.h5", trajectories)
    with pytest.raises(UserError, match=r"no 'traj_0/obs'.*--obs-mode, or choose from env_states"):
        read(path)
    wanted = ReadConfig(observation=(Selection.parse("cube=env_states[0:2]"),))
    _, batch, _ = read(path, wanted)
    assert batch.observation["cube"][:, 0].tolist() == [0, 1, 2, 100, 101]


def test_actions_of_several_agents(tmp_path: Path) -> None:
    trajectories = maniskill((2,), (True,))
    for name in ("left", "right"):
        trajectories["traj_0"][f"actions/{name}"] = trajectories["traj_0"]["actions"]
    del trajectories["traj_0"]["actions"]
    path = write_hdf5(tmp_path / "trajectory.h5", trajectories)
    with pytest.raises(UserError, match="'traj_0/actions' are several arrays, of a dictionary"):
        read(path)
