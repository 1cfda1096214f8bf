"""robomimic's demonstrations."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, Tally, open_recording
from behavior_priors.errors import UserError
from tests.data.readers.files import action, d4rl, observation, read, robomimic, write_hdf5


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


FILTERS = {"train": [b"demo_2", b"demo_0"], "valid": [b"demo_1"], "old": [b"demo_7"], "none": []}


def test_filter_keys(tmp_path: Path) -> None:
    demos = robomimic((2, 3, 4))
    masks = {f"mask/{key}": np.array(names, "S8") for key, names in FILTERS.items()}
    path = write_hdf5(tmp_path / "demo.hdf5", {**demos, **masks})
    recording, batch, _ = read(path, ReadConfig(filter="train"))
    assert (recording.num_episodes, recording.notes) == (2, [])
    assert batch.length.tolist() == [2, 4]
    assert batch.initial_state["states"][:, 0].tolist() == [0, 2000]
    assert read(path, ReadConfig(filter="valid"))[1].length.tolist() == [3]
    everything = open_recording(path)
    assert everything.num_episodes == 3
    assert everything.notes == [
        "all demonstrations are read; --filter takes those of one of the filter keys none, old, "
        "train, valid"
    ]
    for key, message in (
        ("test", "no filter key 'test'; it has none, old, train, valid"),
        ("old", "'old' lists 'demo_7' and 0 others that are not among its demonstrations"),
        ("none", "'none' lists no demonstration"),
    ):
        with pytest.raises(UserError, match=message):
            open_recording(path, ReadConfig(filter=key))
    table = write_hdf5(tmp_path / "table.hdf5", d4rl((2,), (True,)))
    with pytest.raises(
        UserError, match=r"--filter is for robomimic's filter keys and LeRobot's tasks; .* is d4rl"
    ):
        open_recording(table, ReadConfig(filter="train"))
