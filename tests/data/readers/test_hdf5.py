"""D4RL's tables and robomimic's demonstrations."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, Tally, open_recording
from tests.data.readers.files import action, d4rl, observation, read, robomimic, write_hdf5


@pytest.mark.parametrize("chunk_bytes", [1, 150, 2**20])
def test_d4rl_with_next_observations(tmp_path: Path, chunk_bytes: int) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", d4rl((3, 1, 2), (False, True, True)))
    recording, batch, tally = read(path, ReadConfig(chunk_bytes=chunk_bytes))
    assert (recording.format, recording.num_episodes, recording.has_reward) == ("d4rl", 3, True)
    assert batch.length.tolist() == [3, 1, 2]
    np.testing.assert_array_equal(
        batch.observation["observation"][:, 0], [0, 1, 2, 3, 100, 101, 200, 201, 202]
    )
    np.testing.assert_array_equal(
        batch.action, np.concatenate([action(e, range(n)) for e, n in enumerate((3, 1, 2))])
    )
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 2, 10, 20, 21]
    assert batch.reward.dtype == np.float32
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, True, True]
    assert tally == Tally()


def test_d4rl_without_next_observations_loses_each_last_action(tmp_path: Path) -> None:
    table = d4rl((3, 1, 2), (False, True, True), following=False)
    _, batch, tally = read(write_hdf5(tmp_path / "a.hdf5", table))
    assert batch.length.tolist() == [2, 1]
    assert batch.observation["observation"][:, 0].tolist() == [0, 1, 2, 200, 201]
    assert (64 * batch.action[:, 0]).tolist() == [0, 1, 2]
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 20]
    # the action that ended the task is gone, so what is left did not end it
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, False]
    assert tally == Tally(empty_episodes=1, lost_actions=3, lost_terminations=2)


@pytest.mark.parametrize("chunk_bytes", [1, 2**20])
def test_an_unmarked_end_is_found_where_observations_do_not_follow(
    tmp_path: Path, chunk_bytes: int
) -> None:
    table = d4rl((2, 3, 2), (False, False, True))
    table["timeouts"][[1, 4]] = False, True  # of three episodes, the first end is not marked
    _, batch, tally = read(
        write_hdf5(tmp_path / "a.hdf5", table), ReadConfig(chunk_bytes=chunk_bytes)
    )
    assert tally == Tally(gaps=1)
    assert batch.length.tolist() == [2, 3, 2]
    assert batch.observation["observation"][:, 0].tolist() == [
        *(0, 1, 2, 100, 101, 102, 103),
        *(200, 201, 202),
    ]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, False, True]


def test_nan_is_no_gap_but_spoils_its_episode(tmp_path: Path) -> None:
    table = d4rl((3, 4), (False, True))
    table["observations"][5, 1] = np.nan
    path = write_hdf5(tmp_path / "a.hdf5", table)
    _, batch, tally = read(path, ReadConfig(drop_bad_episodes=True))
    assert tally == Tally(bad_episodes=1)
    assert batch.length.tolist() == [3]


def test_rounding_is_no_gap(tmp_path: Path) -> None:
    table = d4rl((4, 3), (False, True))
    table["next_observations"] = table["next_observations"] * np.float32(1 + 1e-6)
    _, batch, tally = read(write_hdf5(tmp_path / "a.hdf5", table))
    assert tally == Tally()
    assert batch.length.tolist() == [4, 3]


def test_d4rl_groups_and_states(tmp_path: Path) -> None:
    table = d4rl((3, 2), (False, True), following=False)
    table["infos/qpos"] = np.arange(5 * 4.0).reshape(5, 4)
    table["infos/goal"] = np.arange(5 * 2.0).reshape(5, 2)
    table["metadata/weight"] = np.zeros((17, 3))
    path = write_hdf5(tmp_path / "a.hdf5", table)
    recording, batch, _ = read(path)
    assert list(recording.observation) == ["observation"]
    np.testing.assert_array_equal(batch.initial_state["qpos"], table["infos/qpos"][[0, 3]])
    wanted = (Selection.parse("goal"), Selection.parse("x=observations[0:1]"))
    _, batch, _ = read(path, ReadConfig(observation=wanted, rewards=False))
    np.testing.assert_array_equal(batch.observation["goal"], table["infos/goal"])
    assert batch.observation["x"].tolist() == [[0], [1], [2], [100], [101]]
    assert batch.reward is None


def test_an_environment_in_bottomless_json_is_none(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", robomimic((2,)), data__env_args="[" * 60_000)
    assert read(path)[0].environment is None


def test_robomimic_with_next_observations(tmp_path: Path) -> None:
    demos = robomimic((2,) * 11)
    demos["data/demo_10"]["dones"][:] = 0
    text = json.dumps({"env_name": "Lift", "type": 1})
    path = write_hdf5(tmp_path / "demo.hdf5", demos, data__env_args=text)
    recording, batch, tally = read(path)
    assert (recording.format, recording.environment) == ("robomimic", "Lift")
    assert recording.keys == {"hand": "obs/hand", "image": "obs/image"}
    assert batch.length.tolist() == [2] * 11
    # demo_10 comes after demo_9, not after demo_1
    expected = np.concatenate([observation(e, range(3)) for e in range(11)])
    np.testing.assert_array_equal(batch.observation["hand"], expected)
    assert batch.observation["hand"].dtype == np.float32
    assert batch.observation["image"].shape == (33, 4, 5, 3)
    assert batch.observation["image"].dtype == np.uint8
    np.testing.assert_array_equal(batch.observation["image"][:, 0, 0, 0], np.repeat(range(11), 3))
    np.testing.assert_array_equal(
        batch.action, np.concatenate([action(e, range(2)) for e in range(11)])
    )
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True] * 10 + [False]
    assert batch.reward is not None
    assert batch.reward.tolist()[-4:] == [90, 91, 100, 101]
    assert batch.initial_state["states"][:, 0].tolist() == [1000 * e for e in range(11)]
    assert tally == Tally()


def test_robomimic_keys_with_and_without_their_group(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", robomimic((2, 3)))
    wanted = (Selection.parse("x=obs/hand[0:1]"), Selection.parse("y=hand[1:2]"))
    recording, batch, _ = read(path, ReadConfig(observation=wanted))
    assert recording.keys == {"x": "obs/hand[0:1]", "y": "obs/hand[1:2]"}
    np.testing.assert_array_equal(batch.observation["x"], -batch.observation["y"])
    assert batch.observation["x"][:, 0].tolist() == [0, 1, 2, 100, 101, 102, 103]


def test_robomimic_without_next_observations(tmp_path: Path) -> None:
    demos = robomimic((3, 1, 2), following=False)
    _, batch, tally = read(write_hdf5(tmp_path / "demo.hdf5", demos))
    assert batch.length.tolist() == [2, 1]
    assert batch.observation["hand"][:, 0].tolist() == [0, 1, 2, 200, 201]
    assert (64 * batch.action[:, 0]).tolist() == [0, 1, 2]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, False]
    assert tally == Tally(empty_episodes=1, lost_actions=3, lost_terminations=3)


def test_robomimic_without_what_is_optional(tmp_path: Path) -> None:
    demos = robomimic((2, 3))
    for demo in demos.values():
        del demo["rewards"], demo["dones"], demo["states"]
    recording, batch, _ = read(write_hdf5(tmp_path / "demo.hdf5", demos))
    assert recording.environment is None
    assert not recording.has_reward
    assert batch.reward is None
    assert batch.terminated is not None
    assert not batch.terminated.any()
    assert batch.initial_state == {}
    assert "dones" in recording.notes[0]


def test_one_demonstration_is_in_memory_at_a_time(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", robomimic((2, 3)))
    batches = open_recording(path).batches(Tally())
    with h5py.File(path) as file:
        rows = [file[f"data/demo_{e}/obs/hand"].shape[0] for e in range(2)]
    assert [int(batch.length.sum()) for batch in batches] == rows == [2, 3]
