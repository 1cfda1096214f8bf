"""D4RL's tables."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, Tally
from behavior_priors.errors import UserError
from tests.data.readers.files import action, d4rl, read, write_hdf5


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


def test_states_and_rewards_in_the_way_of_a_table(tmp_path: Path) -> None:
    table = d4rl((3, 2), (False, True))
    del table["rewards"]
    table["infos/qpos"] = np.arange(6 * 4.0).reshape(6, 4)
    table["infos/qvel"] = np.arange(5 * 4.0).reshape(5, 4)
    table["qvel"] = np.array([b"a"] * 5)
    for key in ("qpos", "rewards", "infos/anything"):
        table[key] = h5py.SoftLink("/gone")
    recording, batch, _ = read(write_hdf5(tmp_path / "a.hdf5", table))
    assert batch.reward is None
    np.testing.assert_array_equal(batch.initial_state["qvel"], table["infos/qvel"][[0, 3]])
    assert list(batch.initial_state) == ["qvel"]
    gone = "it is a link to '/gone', which is not there"
    assert recording.notes == [
        f"'rewards' are left out, they cannot be read: {gone}",
        f"'qpos' is left out: {gone}",
        "'qvel' is left out: it holds |S1",
        "'infos/qpos' is left out: it has 6 rows where 'actions' has 5",
    ]
    with pytest.raises(UserError, match=f"'infos/anything' cannot be read: {gone}"):
        read(recording.path, ReadConfig(observation=(Selection.parse("infos/anything"),)))


def test_states_that_are_damaged_are_left_out(tmp_path: Path) -> None:
    table, path = d4rl((300, 400), (False, True)), tmp_path / "a.hdf5"
    with h5py.File(write_hdf5(path, table), "a") as file:
        file.create_dataset("qpos", data=np.zeros((700, 7)), chunks=(100, 7), fletcher32=True)
        block = file["qpos"].id.get_chunk_info(6)
    content = bytearray(path.read_bytes())
    content[block.byte_offset] ^= 255
    path.write_bytes(content)
    recording, batch, _ = read(path)
    assert batch.length.tolist() == [300, 400]
    assert batch.initial_state == {}
    assert "'qpos' is left out: it cannot be read" in recording.notes[0]
