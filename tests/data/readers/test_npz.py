"""OGBench's layout: each row has an observation and an action, `terminals` marks the last row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, open_recording
from tests.data.readers import files
from tests.data.readers.files import action, observation, ogbench, read, write_npz

LENGTHS = (3, 1, 4)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("chunk_bytes", [1, 150, 2**20])
def test_every_number_arrives(tmp_path: Path, compressed: bool, chunk_bytes: int) -> None:
    path = write_npz(tmp_path / "play.npz", ogbench(LENGTHS), compressed=compressed)
    recording, batch, tally = read(path, ReadConfig(chunk_bytes=chunk_bytes))
    assert (recording.format, recording.num_episodes, recording.action_size) == ("npz", 3, 3)
    assert not recording.has_reward
    assert recording.keys == {"observation": "observations"}
    assert batch.length.tolist() == [3, 1, 4]
    np.testing.assert_array_equal(
        batch.observation["observation"],
        [
            *([0, 0], [1, -1], [2, -2], [3, -3]),
            *([100, -100], [101, -101]),
            *([200, -200], [201, -201], [202, -202], [203, -203], [204, -204]),
        ],
    )
    np.testing.assert_array_equal(
        64 * batch.action,
        [
            *([0, 0, 0], [1, 1, -1], [2, 2, -2]),
            [1, 0, 0],
            *([2, 0, 0], [3, 1, -1], [4, 2, -2], [5, 3, -3]),
        ],
    )
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, False, False]
    assert batch.reward is None
    assert (tally.lost_actions, tally.lost_terminations, tally.empty_episodes) == (3, 0, 0)


def test_it_is_streamed_in_bounded_pieces(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "play.npz", ogbench((9,) * 50))
    row_bytes = 4 * (2 + 3)
    recording = open_recording(path, ReadConfig(chunk_bytes=25 * row_bytes))
    sizes = [len(batch.length) for batch in recording.batches(files.Tally())]
    assert sizes == [2] * 25


def test_masks_say_which_episodes_ended_the_task(tmp_path: Path) -> None:
    table = ogbench((2, 2))
    # the mask of the row whose action is the last one with an outcome
    table["masks"] = np.array([1, 0, 1, 1, 1, 0], np.float32)
    table["rewards"] = np.array([-1, 5, -3, -4, 7, -6], np.float32)
    recording, batch, _ = read(write_npz(tmp_path / "task.npz", table))
    assert recording.has_reward
    assert batch.reward is not None
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, False]
    assert batch.reward.tolist() == [-1, 5, -4, 7]


def test_next_observations_keep_the_last_action(tmp_path: Path) -> None:
    table = ogbench((2, 3))
    table["next_observations"] = table["observations"] + np.array([1, -1], np.float32)
    _, batch, tally = read(write_npz(tmp_path / "task.npz", table))
    assert batch.length.tolist() == [3, 4]
    expected = [observation(0, range(4)), observation(1, range(5))]
    np.testing.assert_array_equal(batch.observation["observation"], np.concatenate(expected))
    np.testing.assert_array_equal(
        batch.action, np.concatenate([action(0, range(3)), action(1, range(4))])
    )
    assert tally == files.Tally()


def test_the_state_of_the_first_row_is_kept(tmp_path: Path) -> None:
    table = ogbench((2, 1))
    table["qpos"] = np.arange(5 * 7, dtype=np.float64).reshape(5, 7)
    table["qvel"] = table["qpos"][:, :6] + 0.5
    _, batch, _ = read(write_npz(tmp_path / "play.npz", table))
    np.testing.assert_array_equal(batch.initial_state["qpos"], table["qpos"][[0, 3]])
    np.testing.assert_array_equal(batch.initial_state["qvel"], table["qvel"][[0, 3]])


def test_columns_get_names(tmp_path: Path) -> None:
    table = ogbench((2, 1))
    table["qpos"] = np.arange(5 * 7, dtype=np.float64).reshape(5, 7)
    wanted = ("first=observations[:1]", "joints=qpos[2:5]", "second=observations[1:]", "qpos")
    config = ReadConfig(observation=tuple(map(Selection.parse, wanted)))
    recording, batch, _ = read(write_npz(tmp_path / "play.npz", table), config)
    assert recording.keys == {
        "first": "observations[0:1]",
        "joints": "qpos[2:5]",
        "second": "observations[1:2]",
        "qpos": "qpos",
    }
    assert batch.observation["first"].tolist() == [[0], [1], [2], [100], [101]]
    assert batch.observation["second"].tolist() == [[0], [-1], [-2], [-100], [-101]]
    assert batch.observation["joints"].tolist()[3] == [23, 24, 25]
    assert batch.observation["joints"].dtype == np.float32
    assert recording.observation["qpos"].shape == (7,)
    assert recording.observation["joints"].shape == (3,)


def test_dtypes(tmp_path: Path) -> None:
    table = ogbench((2, 1))
    table["actions"] = table["actions"].astype(">f8")
    table["observations"] = np.arange(5 * 48, dtype=np.uint8).reshape(5, 4, 4, 3)
    _, batch, _ = read(write_npz(tmp_path / "pixels.npz", table))
    assert batch.action.dtype == np.float32
    assert batch.observation["observation"].dtype == np.uint8
    np.testing.assert_array_equal(batch.observation["observation"], table["observations"])
    np.testing.assert_array_equal(64 * batch.action, [[0, 0, 0], [1, 1, -1], [1, 0, 0]])


def test_column_major_arrays(tmp_path: Path) -> None:
    table = ogbench(LENGTHS)
    expected = read(write_npz(tmp_path / "c.npz", table))[1].to_arrays()
    table = {key: np.asfortranarray(array) for key, array in table.items()}
    config = ReadConfig(chunk_bytes=100)
    arrays = read(write_npz(tmp_path / "f.npz", table), config)[1].to_arrays()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_an_episode_of_one_row_has_no_action_to_learn_from(tmp_path: Path) -> None:
    _, batch, tally = read(write_npz(tmp_path / "play.npz", ogbench((0, 2, 0))))
    assert batch.length.tolist() == [2]
    assert batch.observation["observation"][:, 0].tolist() == [100, 101, 102]
    assert 64 * batch.action[0, 0] == 1
    assert tally.empty_episodes == 2


def test_what_the_end_of_the_file_cuts_off_is_truncated(tmp_path: Path) -> None:
    table = {key: array[:-2] for key, array in ogbench((3, 4)).items()}
    recording, batch, _ = read(write_npz(tmp_path / "play.npz", table))
    assert batch.length.tolist() == [3, 2]
    assert batch.terminated is not None
    assert not batch.terminated.any()
    assert "cut off" in recording.notes[0]


def test_a_damaged_array_that_nobody_asked_for_is_left_out(tmp_path: Path) -> None:
    table = {**ogbench((30, 40)), "qpos": np.arange(72 * 7.0).reshape(72, 7), "image": np.ones(72)}
    path = write_npz(tmp_path / "play.npz", table, compressed=False)
    content = path.read_bytes()
    for key in ("qpos", "image"):
        # the last number of the array, and a place in the header of another
        place = content.index(table[key].tobytes()) + (
            table[key].nbytes - 1 if key == "qpos" else -9
        )
        content = content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
    path.write_bytes(content)
    recording, batch, _ = read(path)
    assert batch.length.tolist() == [30, 40]
    assert batch.initial_state == {}
    assert "'qpos' is left out: it cannot be read (Bad CRC-32" in recording.notes[0]
