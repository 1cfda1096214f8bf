"""Minari's layout: a group an episode, with one observation more than there are actions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, Tally
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
        "place": "observations/goal/place",
        "observation": "observations/observation",
    }
    assert batch.observation["place"].tolist() == [[0.5], [1.5], [2.5], [100.5], [101.5]]
    wanted = (Selection.parse("y=observation[1:2]"),)
    recording, batch, _ = read(path, ReadConfig(observation=wanted, rewards=False))
    assert recording.keys == {"y": "observations/observation[1:2]"}
    assert batch.observation["y"].tolist() == [[0], [-1], [-2], [-100], [-101]]
    assert batch.reward is None


def test_episodes_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "main_data.hdf5", minari((1,) * 12, (False,) * 12))
    _, batch, _ = read(path)
    assert batch.observation["observation"][::2, 0].tolist() == [100 * e for e in range(12)]
