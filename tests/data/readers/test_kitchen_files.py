"""Kitchen recordings of D4RL and Minari become the arrays of the kitchen's environments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.dataset import load_transitions
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.readers import ReadConfig, Tally, open_recording
from behavior_priors.data.readers.base import join
from behavior_priors.data.readers.convert import convert
from behavior_priors.data.readers.kitchen import kitchen_arrays
from behavior_priors.envs.adapters.kitchen.columns import COLUMNS
from behavior_priors.errors import UserError
from tests.data.readers.files import Arrays, write_hdf5, write_npz
from tests.experiments.runs import Program

LENGTHS = (4, 1, 3)
"""Rows of the demonstrations; the one in the middle has no action whose outcome is known."""


def vectors(rows: int, size: int, first: int = 0) -> np.ndarray:
    """`[rows, size]`: 100 times the row's number, plus the column's; exact in float32."""
    return 100.0 * np.arange(first, first + rows)[:, None] + np.arange(size)


def d4rl_kitchen(size: int = 60, timeouts: bool = False) -> Arrays:
    """Frames one after the other; the last of each demonstration is marked."""
    rows = sum(LENGTHS)
    last = np.zeros(rows, bool)
    last[np.cumsum(LENGTHS) - 1] = True
    table = {
        "observations": vectors(rows, size),
        "actions": np.tile(np.arange(rows, dtype=np.float32)[:, None] / 64, 9),
        "rewards": np.arange(rows, dtype=np.float64),
        "terminals": last & (np.arange(rows) < 4) if timeouts else last,
    }
    if timeouts:
        table["timeouts"] = last & (np.arange(rows) >= 4)
    return table


def minari_kitchen(size: int = 59) -> dict[str, Arrays]:
    """Two episodes of three and two actions."""
    episodes = {}
    for episode, steps in enumerate((3, 2)):
        goals = {
            f"observations/{kind}/{task}": np.zeros((steps + 1, 1))
            for kind in ("achieved_goal", "desired_goal")
            for task in ("microwave", "bottom burner")
        }
        episodes[f"episode_{episode}"] = {
            "observations/observation": vectors(steps + 1, size, first=10 * episode),
            "actions": np.full((steps, 9), episode / 64),
            "rewards": np.zeros(steps),
            "terminations": np.arange(steps) == steps - 1,
            "truncations": np.zeros(steps, bool),
            **goals,
        }
    return episodes


def read(path: Path, **config: Any):
    recording = open_recording(path, ReadConfig(observation=kitchen_arrays(path), **config))
    tally = Tally()
    return recording, join(list(recording.batches(tally))), tally


@pytest.mark.parametrize("chunk_bytes", [1, 2**20])
@pytest.mark.parametrize("timeouts", [False, True])
def test_a_short_demonstration_is_not_glued_to_the_next_one(
    tmp_path: Path, timeouts: bool, chunk_bytes: int
):
    path = write_hdf5(tmp_path / "mixed.hdf5", d4rl_kitchen(timeouts=timeouts))
    recording, batch, tally = read(path, chunk_bytes=chunk_bytes)
    assert recording.keys == {"robot": "observations[0:9]", "objects": "observations[9:30]"}
    assert batch.length.tolist() == [3, 2]
    # rows 0 to 3 and 5 to 7: row 4 is in neither
    rows = np.array([0, 1, 2, 3, 5, 6, 7])
    np.testing.assert_array_equal(batch.observation["robot"], vectors(8, 60)[rows, 0:9])
    np.testing.assert_array_equal(batch.observation["objects"], vectors(8, 60)[rows, 9:30])
    assert (64 * batch.action[:, 0]).tolist() == [0, 1, 2, 5, 6]
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 2, 5, 6]
    assert tally == Tally(empty_episodes=1, lost_actions=3, lost_terminations=1 if timeouts else 3)


def test_files_without_the_goal(tmp_path: Path):
    table = d4rl_kitchen(size=30)
    expected = read(write_hdf5(tmp_path / "with.hdf5", d4rl_kitchen()))[1].to_arrays()
    for path in (
        write_hdf5(tmp_path / "without.hdf5", table),
        write_npz(tmp_path / "without.npz", table),
    ):
        arrays = read(path)[1].to_arrays()
        np.testing.assert_array_equal(
            arrays["observation/objects"], expected["observation/objects"]
        )
        assert arrays["length"].tolist() == [3, 2]


def test_minaris_dictionaries(tmp_path: Path):
    path = write_hdf5(
        tmp_path / "data/main_data.hdf5", minari_kitchen(), __env_spec='{"id": "FrankaKitchen-v1"}'
    )
    recording, batch, _ = read(tmp_path)
    assert (recording.path, recording.environment) == (path, "FrankaKitchen-v1")
    assert recording.keys["objects"] == "observations/observation[18:39]"
    assert batch.length.tolist() == [3, 2]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, True]
    seen = np.concatenate([vectors(4, 59), vectors(3, 59, first=10)])
    assert set(batch.observation) == set(COLUMNS)
    for name, columns in COLUMNS.items():
        np.testing.assert_array_equal(batch.observation[name], seen[:, columns])


def test_a_dataset_fits_the_environment(tmp_path: Path):
    path = write_hdf5(tmp_path / "mixed.hdf5", d4rl_kitchen())
    config = ReadConfig(observation=kitchen_arrays(path))
    reader = convert(open_recording(path, config), tmp_path / "output")
    for name in ("robot", "objects"):
        size = COLUMNS[name].stop - COLUMNS[name].start
        assert reader.layout[f"observation/{name}"].shape == (size,)
    data = load_transitions(reader, ["objects"])
    assert data["observation"]["objects"][:, 0].tolist() == [9, 109, 209, 509, 609]


def test_flat_vectors_of_the_newer_kitchen(tmp_path: Path):
    path = write_hdf5(tmp_path / "flat.hdf5", d4rl_kitchen(size=59))
    assert [selection.name for selection in kitchen_arrays(path)] == list(COLUMNS)


def test_other_files_are_refused(tmp_path: Path):
    path = write_hdf5(tmp_path / "other.hdf5", d4rl_kitchen(size=42))
    with pytest.raises(UserError, match=r"other.hdf5: .*\[42\].*\[60\], \[30\], \[59\]"):
        kitchen_arrays(path)
    with pytest.raises(UserError, match="no such file"):
        kitchen_arrays(tmp_path / "nothing.hdf5")


def test_the_program(tmp_path: Path):
    write_hdf5(tmp_path / "mixed.hdf5", d4rl_kitchen())
    arguments = ["--input=mixed.hdf5", "--output=data", "--arrays=kitchen"]
    refused = Program(
        "experiments.convert", [*arguments, "--observation=observations"], folder=tmp_path
    ).finish()
    assert refused.status == 2
    assert refused.stderr == (
        "error: --arrays and --observation contradict each other; give one of them\n"
    )
    result = Program("experiments.convert", arguments, folder=tmp_path).succeed()
    assert "objects is observations[9:30]" in result.stdout
    reader = EpisodeReader(tmp_path / "data")
    assert sorted(reader.metadata.observation) == ["objects", "robot"]
    assert reader.lengths.tolist() == [3, 2]
