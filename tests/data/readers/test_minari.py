"""Minari's layout: a group an episode, with one observation more than there are actions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, Tally, open_recording
from behavior_priors.data.readers.convert import ConvertOptions, convert
from tests.data.readers.files import action, minari, read, write_hdf5


@pytest.mark.parametrize("given", [".", "data/main_data.hdf5", "data"])
def test_every_number_arrives(tmp_path: Path, given: str) -> None:
    lengths = (2, 1, 3)
    path = write_hdf5(tmp_path / "data/main_data.hdf5", minari(lengths, (True, False, False)))
    (tmp_path / "data/metadata.json").write_text(
        json.dumps({"env_spec": json.dumps({"id": "Pusher-v5"})})
    )
    recording, batch, tally = read(tmp_path / given)
    assert (recording.path, recording.format) == (path, "minari")
    assert recording.environment == "Pusher-v5"
    assert recording.keys == {"observation": "observations"}
    assert batch.length.tolist() == [2, 1, 3]
    assert batch.observation["observation"][:, 0].tolist() == [
        *(0, 1, 2),
        *(100, 101),
        *(200, 201, 202, 203),
    ]
    assert batch.observation["observation"].dtype == np.float32
    np.testing.assert_array_equal(
        batch.action, np.concatenate([action(e, range(n)) for e, n in enumerate(lengths)])
    )
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 10, 20, 21, 22]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, False, False]
    assert tally == Tally()


def test_groups_of_observations(tmp_path: Path) -> None:
    episodes = minari((2, 1), (False, False))
    for episode in episodes.values():
        hand = episode.pop("observations")
        episode["observations/observation"] = hand
        episode["observations/goal/place"] = hand[:, :1] + 0.5
        episode["infos/distance"] = hand[:, 0]
    path = write_hdf5(tmp_path / "main_data.hdf5", episodes, __env_spec='{"id": "Fetch-v4"}')
    recording, batch, _ = read(path)
    assert recording.environment == "Fetch-v4"
    assert recording.keys == {
        "goal.place": "observations/goal/place",
        "observation": "observations/observation",
    }
    assert batch.observation["goal.place"].tolist() == [[0.5], [1.5], [2.5], [100.5], [101.5]]
    wanted = (Selection.parse("y=observation[1:2]"),)
    recording, batch, _ = read(path, ReadConfig(observation=wanted, rewards=False))
    assert recording.keys == {"y": "observations/observation[1:2]"}
    assert batch.observation["y"].tolist() == [[0], [-1], [-2], [-100], [-101]]
    assert batch.reward is None


def test_episodes_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "main_data.hdf5", minari((1,) * 12, (False,) * 12))
    _, batch, _ = read(path)
    assert batch.observation["observation"][::2, 0].tolist() == [100 * e for e in range(12)]


@pytest.mark.parametrize("place", ["data/metadata.json", "metadata.json", "attribute"])
def test_bounds_of_actions_are_the_files(tmp_path: Path, place: str) -> None:
    """As Minari 0.5.4 writes them: JSON text in JSON, infinite bounds included."""
    space = '{"type": "Box", "dtype": "float32", "shape": [3], "low": %s, "high": %s}'
    spaces = {
        "action_space": space % ("[-4, -1, -2]", "[4.0, 1.0, 0.0]"),
        "observation_space": space % ("-Infinity", "Infinity"),
    }
    attributes = {"__action_space": spaces["action_space"]} if place == "attribute" else {}
    write_hdf5(tmp_path / "data/main_data.hdf5", minari((2, 1), (False, False)), **attributes)
    if place != "attribute":
        (tmp_path / place).write_text(json.dumps(spaces))
    reader = convert(open_recording(tmp_path), tmp_path / "output")
    expected = action(0, range(2)) / [4, 1, 1] + [0, 0, 1]
    assert reader.read_array("action")[:2].tolist() == expected.tolist()
    assert reader.metadata.extra["action_bounds"] == {
        "low": [-4, -1, -2],
        "high": [4, 1, 0],
        "from": "the file's action_space",
    }
    assert (
        "actions are in [-4, 4], [-1, 1], [-2, 0] by the file's action_space, which becomes [-1, 1]"
        in reader.metadata.extra["report"]["notes"]
    )
    by_hand = ConvertOptions(action_low=(-2.0,), action_high=(2.0,))
    reader = convert(open_recording(tmp_path), tmp_path / "by_hand", by_hand)
    assert reader.read_array("action")[:2].tolist() == (action(0, range(2)) / 2).tolist()


def test_bounds_that_are_none_leave_actions_as_they_are(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "data/main_data.hdf5", minari((2,), (False,)))
    for number, text in enumerate(
        (
            '{"type": "Box", "low": [-Infinity, 0, 0], "high": [1, 1, 1]}',
            '{"type": "Box", "low": [0, 0], "high": [1, 1]}',
            '{"type": "Discrete", "n": 3}',
            "[" * 100_000,
            "nothing",
        )
    ):
        (tmp_path / "metadata.json").write_text(json.dumps({"action_space": text}))
        reader = convert(open_recording(path), tmp_path / f"output{number}")
        assert reader.read_array("action").tolist() == action(0, range(2)).tolist()
        assert reader.metadata.extra["action_bounds"] is None
