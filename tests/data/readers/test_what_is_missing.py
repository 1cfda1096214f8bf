"""Arrays that only some episodes or rows have, in every layout: only what is missing is missing."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, open_recording
from behavior_priors.data.readers.convert import convert
from behavior_priors.errors import UserError
from tests.data.readers.files import (
    d4rl,
    minari,
    ogbench,
    read,
    robomimic,
    write_hdf5,
    write_npz,
)

GONE = h5py.SoftLink("/gone")
WHY = "it is a link to '/gone', which is not there"


def jumps(lengths: tuple[int, ...], marked: tuple[int, ...] = ()) -> dict[str, Any]:
    """A table of parts that do not follow each other, of which some of the last rows are marked."""
    table = d4rl(lengths, (False,) * len(lengths))
    table["timeouts"][:] = False
    table["terminals"][[sum(lengths[: part + 1]) - 1 for part in marked]] = True
    return table


def test_gaps_are_found_whatever_is_chosen(tmp_path: Path) -> None:
    table = jumps((4, 3, 5), (2,))
    goal = np.repeat([7.0, 8.0, 9.0], (4, 3, 5))[:, None].astype(np.float32)
    path = write_hdf5(tmp_path / "a.hdf5", {**table, "infos/goal": goal})
    observations, of_goal = Selection.parse("observations"), Selection.parse("goal=infos/goal")
    recording, batch, tally = read(path, ReadConfig(observation=(observations,)))
    assert (batch.length.tolist(), tally.gaps) == ([4, 3, 5], 2)
    assert recording.num_episodes == 3
    for chosen in ((observations, of_goal), (of_goal,)):
        recording, batch, tally = read(path, ReadConfig(observation=chosen))
        # what the last actions of the goal led to is not known
        assert (batch.length.tolist(), tally.gaps) == ([3, 2, 4], 2)
        assert tally.lost_terminations == 1
        np.testing.assert_array_equal(
            batch.observation["goal"][:, 0], [7, 7, 7, 7, 8, 8, 8, 9, 9, 9, 9, 9]
        )
    (recording, _, _) = read(path, ReadConfig(observation=(observations, of_goal)))
    assert "'infos/goal' has no 'next_infos/goal': last actions are left out" in recording.notes


def test_a_time_limit_begins_anew_at_a_gap(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", jumps((6, 10, 10)))
    _, batch, tally = read(path, ReadConfig(episode_length=10))
    assert (batch.length.tolist(), tally.gaps) == ([6, 10, 10], 1)


@pytest.mark.parametrize("chunk_bytes", [1, 40, 10**6])
def test_gaps_between_two_pieces(tmp_path: Path, chunk_bytes: int) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", jumps((4, 3, 5), (2,)))
    _, batch, tally = read(path, ReadConfig(chunk_bytes=chunk_bytes))
    assert (batch.length.tolist(), tally.gaps) == ([4, 3, 5], 2)


@pytest.mark.parametrize("key", ["timeouts", "masks", "terminals"])
def test_marks_that_cannot_be_read(tmp_path: Path, key: str) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {**d4rl((3, 2), (True, False)), key: GONE})
    with pytest.raises(UserError, match=f"'{key}' cannot be read: it is a link to '/gone'"):
        open_recording(path)


def test_torn_masks_of_an_archive(tmp_path: Path) -> None:
    table = {**ogbench((3, 2)), "masks": np.ones(7)}
    path, torn = write_npz(tmp_path / "a.npz", table), tmp_path / "torn.npz"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(torn, "w") as part:
        for name in whole.namelist():
            data = whole.read(name)
            part.writestr(name, data[:-8] if name == "masks.npy" else data)
    with pytest.raises(UserError, match="'masks' cannot be read: it is truncated or damaged"):
        open_recording(torn)


def test_next_observations_that_cannot_be_read(tmp_path: Path) -> None:
    table = {**d4rl((3, 2), (True, False)), "next_observations": GONE}
    recording, batch, _ = read(write_hdf5(tmp_path / "a.hdf5", table))
    assert batch.length.tolist() == [2, 1]
    assert f"'next_observations' is left out, it cannot be read: {WHY}" in recording.notes


def test_nan_marks_nothing(tmp_path: Path) -> None:
    table = d4rl((3, 2), (True, True))
    table["terminals"] = np.where(np.arange(5) == 1, np.nan, table["terminals"])
    assert read(write_hdf5(tmp_path / "a.hdf5", table))[1].length.tolist() == [3, 2]
    demos = robomimic((3, 2))
    demos["data/demo_0"]["dones"] = np.array([0, 0, np.nan])
    recording, batch, _ = read(write_hdf5(tmp_path / "demo.hdf5", demos))
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, True]
    assert recording.notes == [
        "'dones' cannot be read (its last row is nan) in 1 of 2 episodes (data/demo_0): they count "
        "as truncated"
    ]


@pytest.mark.parametrize("where", [0, 2])
def test_an_observation_that_one_episode_cannot_show(tmp_path: Path, where: int) -> None:
    demos = robomimic((2, 3, 2))
    for n, demo in enumerate(demos.values()):
        demo["obs/extra"] = GONE if n == where else np.zeros((len(demo["actions"]), 2))
    recording, _, _ = read(write_hdf5(tmp_path / "demo.hdf5", demos))
    assert list(recording.observation) == ["hand", "image"]
    assert recording.notes == [
        f"'obs/extra' is left out, it cannot be read in 1 of 3 episodes (data/demo_{where}): {WHY}"
    ]


@pytest.mark.parametrize(
    "value", [np.array([b"pick", b"up"]), np.zeros(2, "c8"), np.zeros(2, [("x", "f4")])]
)
def test_what_is_no_number_is_left_out(tmp_path: Path, value: np.ndarray) -> None:
    demos = robomimic((2,))
    demos["data/demo_0"]["obs/lang"] = value
    demos["data/demo_0"]["next_obs/lang"] = value
    recording, _, _ = read(write_hdf5(tmp_path / "demo.hdf5", demos))
    assert list(recording.observation) == ["hand", "image"]
    assert recording.notes == ["'obs/lang' is left out, it holds no numbers"]
    table = d4rl((2,), (True,))
    table["observations/lang"], table["observations/x"] = value, table.pop("observations")
    table["next_observations/x"] = table.pop("next_observations")
    recording, _, _ = read(write_hdf5(tmp_path / "a.hdf5", table))
    assert list(recording.observation) == ["x"]
    assert "'observations/lang' is left out, it holds no numbers" in recording.notes


def successes(tmp_path: Path, *values: Any, keys: tuple[str, ...] = ()) -> tuple[Any, list[str]]:
    """Success of three episodes of two steps, and notes."""
    episodes = minari((2, 2, 2), (True, True, True))
    for n, (episode, value) in enumerate(zip(episodes.values(), values, strict=True)):
        if value is not None:
            episode[keys[n] if keys else "infos/success"] = value
    recording, batch, _ = read(write_hdf5(tmp_path / "main_data.hdf5", episodes))
    known = batch.info.get("has_success")
    success = None if batch.success is None else batch.success.tolist()
    return (success, None if known is None else known.tolist()), list(recording.notes)


def test_success_that_one_episode_does_not_know(tmp_path: Path) -> None:
    yes, no = np.array([0, 0, 1.0]), np.zeros(3)
    where = "in 1 of 3 episodes (episode_1): false there, as is 'info/has_success'"
    for value, why in (
        (np.array([0, 0, np.nan]), "cannot be read (its last row is nan)"),
        (np.zeros(7), "cannot be read (it has 7 rows of 2 steps)"),
        (GONE, f"cannot be read ({WHY})"),
        (None, "is missing"),
    ):
        read, notes = successes(tmp_path, yes, value, no)
        assert read == ([True, False, False], [True, False, True])
        assert notes == [f"'infos/success' {why} {where}"]


def test_success_under_two_keys(tmp_path: Path) -> None:
    yes, no = np.array([0, 1.0]), np.zeros(2)
    keys = ("infos/success", "infos/is_success", "infos/is_success")
    read, notes = successes(tmp_path, no, yes, yes, keys=keys)
    assert (read, notes) == (([False, True, True], None), [])


def test_success_that_nobody_can_read_is_said(tmp_path: Path) -> None:
    read, notes = successes(tmp_path, GONE, GONE, GONE)
    assert read == (None, None)
    assert notes == [f"'infos/success' is left out, it cannot be read: {WHY}"]


@pytest.mark.parametrize("key", ["rewards", "dones", "next_obs/hand"])
def test_a_damaged_piece_of_what_is_optional(tmp_path: Path, key: str) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", robomimic((4, 3)))
    with h5py.File(path, "r+") as file:
        values = file[f"data/demo_1/{key}"][()]
        del file[f"data/demo_1/{key}"]
        array = file.create_dataset(
            f"data/demo_1/{key}", data=values, chunks=values.shape, fletcher32=True
        )
        place = array.id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(place)
        byte = raw.read(1)
        raw.seek(place)
        raw.write(bytes([byte[0] ^ 1]))
    reader = convert(open_recording(path), tmp_path / "output")
    (note,) = reader.metadata.extra["report"]["notes"][:1]
    assert note.startswith(f"{key.split('/')[0]!r} cannot be read (")
    assert "in 1 of 2 episodes (data/demo_1)" in note
    batch = reader.read()
    lost = key == "next_obs/hand"
    assert batch.length.tolist() == [4, 2 if lost else 3]
    assert batch.reward is not None
    assert np.isnan(batch.reward).sum() == (3 if key == "rewards" else 0)
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, key == "rewards"]
