"""Recordings as datasets: statistics, scaled actions, bad episodes, shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.dataset import load_transitions
from behavior_priors.data.readers import ReadConfig, Tally, open_recording
from behavior_priors.data.readers.convert import ConvertOptions, convert
from behavior_priors.data.report import Report, Statistics, lines
from behavior_priors.errors import UserError
from tests.data.readers.files import d4rl, minari, ogbench, robomimic, write_hdf5, write_npz


def test_statistics_by_hand() -> None:
    statistics = Statistics((2,), np.float32)
    statistics.add(np.array([[1, 10]], np.float32))
    statistics.add(np.array([[2, 10], [6, 10]], np.float32))
    assert statistics.as_json() == {
        "shape": [2],
        "dtype": "float32",
        "min": [1, 10],
        "max": [6, 10],
        "mean": [3, 10],
        "std": [pytest.approx(np.sqrt(14 / 3)), 0],
    }


def test_statistics_of_images_are_by_channel_and_of_many_rows_exact() -> None:
    images = np.random.default_rng(0).integers(0, 256, (700, 10, 10, 3)).astype(np.uint8)
    statistics = Statistics((10, 10, 3), np.uint8)
    statistics.add(images[:3])
    statistics.add(images[3:])
    content = statistics.as_json()
    wide = images.astype(np.float64)
    np.testing.assert_allclose(content["mean"], wide.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(content["std"], wide.std(axis=(0, 1, 2)), rtol=1e-12)


def test_a_large_offset_does_not_swallow_the_deviation() -> None:
    statistics = Statistics((), np.float32)
    for _ in range(100):
        statistics.add(np.array([1e6, 1e6 + 1], np.float32))
    assert statistics.as_json()["std"] == pytest.approx(0.5, rel=1e-9)


def test_a_report(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", d4rl((3, 1, 2), (False, True, True)))
    report = Report(limit=2 / 64)
    for batch in open_recording(path, ReadConfig(chunk_bytes=1)).batches(Tally()):
        report.add(batch)
    content = report.as_json()
    arrays = report.statistics()
    assert content == {
        "episodes": 3,
        "steps": 6,
        "length_min": 1,
        "length_median": 2.0,
        "length_max": 3,
        "terminated": 2,
        "truncated": 1,
        # 2, 2, -2 in the first episode and 2, 3 in the last reach 0.99 x 2
        "action_saturation": 5 / 18,
        "return_min": 3.0,
        "return_mean": pytest.approx((3 + 10 + 41) / 3),
        "return_max": 41.0,
    }
    assert (64 * np.array(arrays["action"]["max"])).tolist() == [3, 2, 0]
    assert arrays["observation/observation"]["min"] == [0, -202]
    text = lines(content, arrays)
    assert text[0] == ("3 episodes, 6 steps; length 1 to 3, median 2; 2 terminated, 1 truncated")
    assert "returns from 3 to 41, mean 18" in text
    assert text[-1] == "27.78% of the action entries are saturated"


@pytest.mark.parametrize("layout", ["npz", "d4rl", "robomimic", "minari"])
def test_every_layout_becomes_a_dataset(tmp_path: Path, layout: str) -> None:
    lengths = (3, 2, 4)
    if layout == "npz":
        path = write_npz(tmp_path / "file", ogbench(lengths)).with_suffix(".npz")
    elif layout == "d4rl":
        path = write_hdf5(tmp_path / "file", d4rl(lengths, (False,) * 3))
    elif layout == "robomimic":
        path = write_hdf5(tmp_path / "file", robomimic(lengths))
    else:
        path = write_hdf5(tmp_path / "file", minari(lengths, (False,) * 3))
    seen = []
    reader = convert(
        open_recording(path),
        tmp_path / "new" / "output",
        ConvertOptions(policy="human", environment="desk", shard_bytes=1),
        on_shard=lambda episodes, steps: seen.append((episodes, steps)),
    )
    assert reader.complete
    assert reader.lengths.tolist() == [3, 2, 4]
    assert (reader.metadata.policy, reader.metadata.environment) == ("human", "desk")
    assert reader.metadata.extra["source"]["format"] == layout
    if layout in ("robomimic", "minari"):
        assert seen == [(1, 3), (2, 5), (3, 9)]
    name = "hand" if layout == "robomimic" else "observation"
    stored = reader.read_array(f"observation/{name}")
    expected = [0, 1, 2, 3, 100, 101, 102, 200, 201, 202, 203, 204]
    assert stored[:, 0].tolist() == expected
    # what a prior is trained on: the last observation of each episode has no action
    transitions = load_transitions(reader, [name])
    kept = [0, 1, 2, 100, 101, 200, 201, 202, 203]
    assert transitions["observation"][name][:, 0].tolist() == kept
    assert (64 * transitions["action"][:, 0]).tolist() == [0, 1, 2, 1, 2, 2, 3, 4, 5]
    statistics = reader.metadata.extra["statistics"][f"observation/{name}"]
    np.testing.assert_allclose(statistics["mean"], [np.mean(expected), -np.mean(expected)])
    np.testing.assert_allclose(statistics["std"], [np.std(expected)] * 2)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["output"]


def test_actions_are_divided_by_their_largest_magnitude(tmp_path: Path) -> None:
    table = ogbench((3, 2))
    table["actions"] = 64 * table["actions"]
    table["actions"][:, 2] = 0
    # the action of a last row has no outcome, so it does not count
    table["actions"][3] = 1000
    path = write_npz(tmp_path / "a.npz", table)
    reader = convert(open_recording(path), tmp_path / "scaled", ConvertOptions(action_scale="auto"))
    assert reader.metadata.extra["action_scale"] == [2, 2, 1]
    assert reader.read_array("action").tolist() == [
        *([0, 0, 0], [0.5, 0.5, 0], [1, 1, 0]),
        *([0.5, 0, 0], [1, 0.5, 0]),
    ]
    assert reader.metadata.extra["report"]["action_saturation"] == pytest.approx(3 / 15)
    plain = convert(open_recording(path), tmp_path / "plain")
    assert plain.metadata.extra["action_scale"] is None
    assert plain.metadata.extra["report"]["action_saturation"] == pytest.approx(7 / 15)
    options = ConvertOptions(action_scale="auto", action_limit=1.0)
    limited = convert(open_recording(path), tmp_path / "limited", options)
    assert limited.metadata.extra["report"]["action_saturation"] == pytest.approx(7 / 15)


def test_bounds_of_actions_become_one(tmp_path: Path) -> None:
    """From [-3, 1] and [0, 2] and [-1, 1]: -3, -1, 1 of the first are -1, 0, 1."""
    table = ogbench((3,))
    table["actions"] = np.array([[-3, 0, 0.5], [-1, 1, 0.5], [1, 2, -1], [9, 9, 9]], np.float32)
    path = write_npz(tmp_path / "a.npz", table)
    options = ConvertOptions(action_low=(-3, 0, -1), action_high=(1, 2, 1))
    reader = convert(open_recording(path), tmp_path / "output", options)
    assert reader.read_array("action").tolist() == [[-1, -1, 0.5], [0, 0, 0.5], [1, 1, -1]]
    extra = reader.metadata.extra
    assert (extra["action_offset"], extra["action_scale"]) == ([-1, 1, 0], [2, 1, 1])
    one = ConvertOptions(action_low=(-4,), action_high=(4,))
    quartered = convert(open_recording(path), tmp_path / "one", one)
    assert quartered.read_array("action")[0].tolist() == [-0.75, 0, 0.125]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_low": (-1, -1)}, "have 2 and 0 values; .* has actions of 3 dimensions"),
        ({"action_low": (0, 0), "action_high": (1,)}, "have 2 and 1 values"),
        ({"action_low": (0,), "action_high": (0,)}, "below action_high in every dimension"),
        ({"action_low": (-np.inf,), "action_high": (1,)}, "both within 1e30 of 0"),
        ({"action_low": (0,), "action_high": (1,), "action_scale": "auto"}, "give one of them"),
    ],
)
def test_bounds_that_are_none(tmp_path: Path, options: Any, message: str) -> None:
    path = write_npz(tmp_path / "a.npz", ogbench((3,)))
    with pytest.raises(UserError, match=message):
        convert(open_recording(path), tmp_path / "output", ConvertOptions(**options))
    assert not (tmp_path / "output").exists()


def test_bad_episodes_are_left_out_and_counted(tmp_path: Path) -> None:
    table = ogbench((2, 1, 3, 2))
    table["observations"][3, 0] = np.nan  # the first of the second episode
    table["actions"][7, 1] = np.inf  # in the third
    path = write_npz(tmp_path / "a.npz", table)
    for chunk_bytes in (1, 2**20):
        reader = convert(
            open_recording(path, ReadConfig(drop_bad_episodes=True, chunk_bytes=chunk_bytes)),
            tmp_path / f"output{chunk_bytes}",
        )
        assert reader.lengths.tolist() == [2, 2]
        stored = reader.read_array("observation/observation")
        assert stored[:, 0].tolist() == [0, 1, 2, 300, 301, 302]
        report = reader.metadata.extra["report"]
        assert report["left_out"]["bad_episodes"] == 2
        assert "2 episodes with NaN or infinity are left out" in report["notes"]
