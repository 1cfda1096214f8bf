"""Training sees each step once, beside the observation that the action was chosen from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.dataset import (
    check_compatible,
    load_transitions,
    observation_spec_from_data,
    split_by_episode,
)
from behavior_priors.data.episodes import (
    EpisodeBatch,
    EpisodeMetadata,
    EpisodeReader,
    EpisodeWriter,
)
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec, ArraySpec

METADATA = EpisodeMetadata(
    observation={"time": ArraySpec(()), "image": ArraySpec((2, 2, 3), np.uint8)},
    action_size=1,
    environment="counter",
    policy="counter",
)
SPEC = METADATA.observation


def count(first: int, lengths: tuple[int, ...]) -> EpisodeBatch:
    """Episodes whose observations count up, and whose actions are the observations before them."""
    times = [np.arange(length + 1) + 10 * (first + i) for i, length in enumerate(lengths)]
    time = np.concatenate(times).astype(np.float32)
    return EpisodeBatch(
        observation={
            "time": time,
            "image": np.broadcast_to(time[:, None, None, None], (*time.shape, 2, 2, 3)).astype(
                np.uint8
            ),
        },
        action=np.concatenate([episode[:-1] for episode in times])[:, None],
        length=np.array(lengths),
    )


@pytest.fixture
def reader(tmp_path: Path) -> EpisodeReader:
    writer = EpisodeWriter.create(tmp_path / "data", METADATA)
    writer.write(count(0, (2, 1)))
    writer.write(count(2, (3,)))
    return EpisodeReader(tmp_path / "data")


def test_actions_stand_beside_their_observations(reader: EpisodeReader) -> None:
    batch = load_transitions(reader, ["time", "image"])
    assert batch["observation"]["time"].tolist() == [0, 1, 10, 20, 21, 22]
    assert batch["observation"]["image"][:, 1, 0, 2].tolist() == [0, 1, 10, 20, 21, 22]
    assert batch["action"].ravel().tolist() == [0, 1, 10, 20, 21, 22]
    assert batch["observation"]["image"].dtype == np.uint8
    assert batch["action"].dtype == np.float32


def test_some_episodes_and_names_are_loaded(reader: EpisodeReader) -> None:
    batch = load_transitions(reader, ["time"], episodes=[1, 2])
    assert list(batch["observation"]) == ["time"]
    assert batch["observation"]["time"].tolist() == [10, 20, 21, 22]
    assert batch["action"].ravel().tolist() == [10, 20, 21, 22]


def test_what_cannot_be_loaded_is_named(reader: EpisodeReader, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data: .* no observation 'touch'; there are image, time"):
        load_transitions(reader, ["touch"])
    EpisodeWriter.create(tmp_path / "none", METADATA)
    with pytest.raises(UserError, match="none: holds no episode"):
        load_transitions(EpisodeReader(tmp_path / "none"), ["time"])


@pytest.mark.parametrize("seed", range(20))
def test_a_split_has_every_episode_once(seed: int) -> None:
    train, validation = split_by_episode(50, 0.1, seed)
    assert len(validation) == 5
    assert sorted([*train, *validation]) == list(range(50))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    again = split_by_episode(50, 0.1, seed)
    assert again[1].tolist() == validation.tolist()
    assert split_by_episode(50, 0.1, seed + 1)[1].tolist() != validation.tolist()


def test_a_split_has_no_empty_part() -> None:
    train, validation = split_by_episode(2, 0.01, 0)
    assert (len(train), len(validation)) == (1, 1)
    for episodes, fraction in [(1, 0.5), (10, 0.0), (10, 1.0), (0, 0.5), (4, 0.99)]:
        with pytest.raises(UserError, match="cannot be split"):
            split_by_episode(episodes, fraction, 0)


def test_specs_hold_means_and_deviations() -> None:
    spec = observation_spec_from_data(
        {
            "scalar": np.array([1.0, 3.0], np.float32),
            "vector": np.array([[0, 5], [4, 5]], np.float32),
            "poses": np.array([[[0, 1], [2, 1]], [[4, 1], [6, 1]]], np.float32),
            "image": np.array([[[[0, 10]]], [[[255, 10]]]], np.uint8),
        },
        minimum_scale=0.5,
    )
    assert (spec["scalar"].location, spec["scalar"].scale) == (2, 1)
    assert spec["scalar"].shape == ()
    assert spec["vector"].location.tolist() == [2, 5]
    assert spec["vector"].scale.tolist() == [2, 0.5]
    # 0, 2, 4 and 6 deviate from 3 by 3, 1, 1 and 3.
    assert spec["poses"].shape == (2, 2)
    assert spec["poses"].location.tolist() == [3, 1]
    np.testing.assert_allclose(spec["poses"].scale, [np.sqrt(5), 0.5])
    assert (spec["image"].shape, spec["image"].dtype) == ((1, 1, 2), np.uint8)
    assert spec["image"].location.tolist() == [127.5, 10]
    assert spec["image"].scale.tolist() == [127.5, 0.5]
    assert spec["poses"].scale.dtype == np.float32


def test_specs_of_much_data_are_exact() -> None:
    random = np.random.default_rng(0)
    data = (1000 + random.normal(size=(200_000, 2))).astype(np.float32)
    spec = observation_spec_from_data({"x": data})["x"]
    np.testing.assert_allclose(spec.location, data.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(spec.scale, data.std(axis=0, dtype=np.float64), rtol=1e-5)


def test_a_dataset_fits_an_environment_or_says_why_not(reader: EpisodeReader) -> None:
    check_compatible(reader, SPEC, ActionSpec(1, bound=22.0))
    check_compatible(reader, {"time": SPEC["time"]}, ActionSpec(1, bound=None))
    for spec, size, message in [
        (SPEC, 7, "data: actions have 1 dimensions there, but 7"),
        ({**SPEC, "touch": ArraySpec((1,))}, 1, "data: there is no observation 'touch'"),
        ({"time": ArraySpec((1,))}, 1, r"'time' is float32\[\] there, .* has float32\[1\]"),
        ({"image": ArraySpec((2, 2, 3))}, 1, r"uint8\[2, 2, 3\] there, .* float32\[2, 2, 3\]"),
    ]:
        with pytest.raises(UserError, match=message):
            check_compatible(reader, spec, ActionSpec(size))


def test_versions_are_recorded_by_default() -> None:
    versions = dataclasses.asdict(METADATA)["versions"]
    assert versions.keys() == {"behavior_priors", "mujoco", "jax", "numpy"}
    assert versions["numpy"] == np.__version__
