"""What an episode lacks is missing of that episode only, and a note names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.readers import ReadConfig, Selection, Tally, open_recording
from behavior_priors.data.readers.convert import convert
from behavior_priors.data.report import lines
from behavior_priors.errors import UserError
from tests.data.readers.files import minari, read, robomimic, write_hdf5


def demos_without(key: str, *numbers: int, lengths: tuple[int, ...] = (2, 3, 2)) -> dict[str, Any]:
    demos = robomimic(lengths)
    for number in numbers:
        for name in list(demos[f"data/demo_{number}"]):
            if name.split("/")[0] == key:
                del demos[f"data/demo_{number}"][name]
    return demos


def test_rewards_missing_in_one_episode(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", demos_without("rewards", 1))
    reader = convert(open_recording(path), tmp_path / "output")
    expected = [0, 1, np.nan, np.nan, np.nan, 20, 21]
    np.testing.assert_array_equal(reader.read_array("reward"), expected)
    # a dataset that is opened again holds the same, some episodes alone too
    reader = EpisodeReader(tmp_path / "output")
    np.testing.assert_array_equal(reader.read_array("reward", episodes=[1, 2]), expected[2:])
    report = reader.metadata.extra["report"]
    assert report["notes"] == ["'rewards' is missing in 1 of 3 episodes (data/demo_1): NaN there"]
    assert (report["return_min"], report["return_max"]) == (1, 41)
    assert report["episodes_without_rewards"] == 1
    statistics = reader.metadata.extra["statistics"]
    assert (statistics["reward"]["min"], statistics["reward"]["max"]) == (0, 21)
    assert statistics["reward"]["mean"] == pytest.approx(42 / 4)
    assert "1 episodes have no rewards (NaN)" in lines(report, statistics)


def test_rewards_of_minari(tmp_path: Path) -> None:
    episodes = minari((2, 1, 2), (True, False, False))
    del episodes["episode_0"]["rewards"], episodes["episode_2"]["rewards"]
    recording, batch, _ = read(write_hdf5(tmp_path / "main_data.hdf5", episodes))
    assert batch.reward is not None
    np.testing.assert_array_equal(batch.reward, [np.nan, np.nan, 10, np.nan, np.nan])
    assert recording.notes == [
        "'rewards' is missing in 2 of 3 episodes (episode_0, episode_2): NaN there"
    ]
    assert read(recording.path, ReadConfig(rewards=False))[1].reward is None


def test_rewards_that_no_episode_has_are_not_missing(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", demos_without("rewards", 0, 1, 2))
    recording, batch, _ = read(path)
    assert batch.reward is None
    assert recording.notes == []


def test_some_rewards_of_an_episode_are_still_damage(tmp_path: Path) -> None:
    demos = demos_without("rewards", 1)
    demos["data/demo_0"]["rewards"][:] = np.nan
    path = write_hdf5(tmp_path / "demo.hdf5", demos)
    with pytest.raises(UserError, match="'rewards' holds nan in data/demo_0, row 0"):
        convert(open_recording(path), tmp_path / "output")


def test_many_are_counted(tmp_path: Path) -> None:
    path = write_hdf5(
        tmp_path / "demo.hdf5", demos_without("rewards", *range(1, 8), lengths=(1,) * 9)
    )
    demos = ", ".join(f"data/demo_{n}" for n in range(1, 6))
    assert open_recording(path).notes == [
        f"'rewards' is missing in 7 of 9 episodes ({demos} and 2 more): NaN there"
    ]


def test_next_observations_missing_in_one_episode(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", demos_without("next_obs", 1))
    recording, batch, tally = read(path)
    assert batch.length.tolist() == [2, 2, 2]
    assert batch.observation["hand"][:, 0].tolist() == [0, 1, 2, 100, 101, 102, 200, 201, 202]
    assert (64 * batch.action[:, 0]).tolist() == [0, 1, 1, 2, 2, 3]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, False, True]
    assert tally == Tally(lost_actions=1, lost_terminations=1)
    assert recording.notes == [
        "'next_obs' is missing in 1 of 3 episodes (data/demo_1): their last actions are left out"
    ]


def test_one_of_the_next_observations_is_missing(tmp_path: Path) -> None:
    demos = robomimic((2, 3))
    del demos["data/demo_0"]["next_obs/image"]
    _, batch, tally = read(write_hdf5(tmp_path / "demo.hdf5", demos))
    assert batch.length.tolist() == [1, 3]
    assert tally.lost_actions == 1


def test_flags_missing_in_one_episode(tmp_path: Path) -> None:
    recording, batch, _ = read(write_hdf5(tmp_path / "demo.hdf5", demos_without("dones", 2)))
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, True, False]
    assert recording.notes == [
        "'dones' is missing in 1 of 3 episodes (data/demo_2): they count as truncated"
    ]


def test_success(tmp_path: Path) -> None:
    episodes = minari((2, 1, 2), (False,) * 3)
    for name, success in (("episode_0", [0, 1, 1]), ("episode_2", [0, 1, 0])):
        episodes[name]["infos/success"] = np.array(success, bool)
    recording, batch, _ = read(write_hdf5(tmp_path / "main_data.hdf5", episodes))
    assert batch.success is not None
    assert batch.success.tolist() == [True, False, False]
    assert batch.info["has_success"].tolist() == [True, False, True]
    assert recording.notes == [
        "'infos/success' is missing in 1 of 3 episodes (episode_1): false there, as is "
        "'info/has_success'"
    ]
    episodes["episode_0"]["infos/success"] = np.array([0, 0.5, 0.25])
    recording, batch, _ = read(write_hdf5(tmp_path / "main_data.hdf5", episodes))
    assert batch.success is None
    assert recording.notes == ["'infos/success' is left out, because it is no yes or no: 0.25"]


def test_dtypes_that_differ_between_episodes(tmp_path: Path) -> None:
    demos = robomimic((2, 3))
    demo = demos["data/demo_1"]
    for key, dtype in (
        ("obs/hand", np.float32),
        ("next_obs/hand", np.int64),
        ("actions", np.float16),
        ("rewards", np.int32),
        ("dones", bool),
        ("states", np.float32),
    ):
        demo[key] = demo[key].astype(dtype)
    demo["rewards"] = demo["rewards"][:, None]
    recording, batch, _ = read(write_hdf5(tmp_path / "demo.hdf5", demos))
    assert recording.notes == []
    assert batch.observation["hand"].dtype == np.float32
    assert batch.observation["hand"][:, 0].tolist() == [0, 1, 2, 100, 101, 102, 103]
    assert (64 * batch.action[:, 0]).tolist() == [0, 1, 1, 2, 3]
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 10, 11, 12]
    assert batch.terminated is not None
    assert batch.terminated.all()
    assert batch.initial_state["states"].dtype == np.float64
    demo["obs/image"] = demo["obs/image"].astype(np.float32)
    path = write_hdf5(tmp_path / "images.hdf5", demos)
    with pytest.raises(
        UserError, match=r"demo_1/obs/image' are float32\[4, 5, 3\].*uint8\[4, 5, 3"
    ):
        open_recording(path)


STATES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "longer": (lambda array: np.zeros((5, 3)), "it has 5 rows where 3 are expected"),
    "wider": (lambda array: np.zeros((3, 4)), "it has the shape [4] a row, others [3]"),
    "text": (lambda array: np.array([b"a", b"b", b"c"]), "it holds |S1"),
    "a link to nothing": (
        lambda array: h5py.SoftLink("/gone"),
        "it cannot be read (it is a link to '/gone', which is not there)",
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_states_in_the_way(tmp_path: Path, case: str) -> None:
    demos, (spoil, reason) = robomimic((2, 3)), STATES[case]
    demos["data/demo_1"]["states"] = spoil(None)
    recording, batch, _ = read(write_hdf5(tmp_path / "one.hdf5", demos))
    assert recording.notes == [f"'states' is left out of 1 of 2 episodes (data/demo_1): {reason}"]
    np.testing.assert_array_equal(batch.initial_state["states"], [[0, 1, 2], [np.nan] * 3])
    assert batch.length.tolist() == [2, 3]
    for demo in demos.values():
        demo["states"] = np.zeros((7, 3))
    recording, batch, _ = read(write_hdf5(tmp_path / "all.hdf5", demos))
    assert batch.initial_state == {}
    assert recording.notes == [
        "'states' is left out of all episodes: it has 7 rows where 2 are expected"
    ]


def test_an_observation_that_only_the_first_lacks_is_not_dropped(tmp_path: Path) -> None:
    demos = robomimic((2, 3))
    del demos["data/demo_0"]["obs/hand"]
    path = write_hdf5(tmp_path / "demo.hdf5", demos)
    with pytest.raises(UserError, match="has no 'data/demo_0/obs/hand', as 'data/demo_1' has"):
        open_recording(path)
    _, batch, _ = read(path, ReadConfig(observation=(Selection.parse("image"),)))
    assert batch.length.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (h5py.SoftLink("/gone"), "'data/demo_2' cannot be read: it is a link to '/gone', which"),
        (np.zeros(3), "'data/demo_2' is an array; it should be a group"),
    ],
)
def test_an_episode_that_is_none(tmp_path: Path, value: Any, message: str) -> None:
    path = write_hdf5(tmp_path / "demo.hdf5", {**robomimic((2, 3)), "data/demo_2": value})
    with pytest.raises(UserError, match=message):
        open_recording(path)


def test_links_to_nothing(tmp_path: Path) -> None:
    demos = robomimic((2, 3))
    for demo in demos.values():
        demo["extra"] = h5py.SoftLink("/gone")
        demo["rewards"] = h5py.SoftLink("/gone")
        demo["obs/depth"] = h5py.SoftLink("/gone")
    path = write_hdf5(tmp_path / "demo.hdf5", demos)
    recording, batch, _ = read(path)
    assert list(recording.observation) == ["hand", "image"]
    assert batch.reward is None
    why = "it is a link to '/gone', which is not there"
    assert recording.notes == [
        f"'obs/depth' is left out, it cannot be read: {why}",
        f"'rewards' is left out, it cannot be read: {why}",
    ]
