"""What observations of a file are called, and what they become: numbers and images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from behavior_priors.data.readers import ReadConfig, Selection, open_recording
from behavior_priors.errors import UserError
from tests.data.readers.files import (
    d4rl,
    minari,
    observation,
    ogbench,
    read,
    robomimic,
    write_hdf5,
    write_npz,
)

DTYPES = (np.int64, np.int8, np.bool_, np.float16, np.uint16, np.uint8, np.float64, ">f4", ">i2")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_numbers_become_float32(tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    values = (np.arange(3 * int(np.prod(shape))) % 7).astype(dtype).reshape(3, *shape)
    expected = values.astype(np.float64)
    episodes = minari((2,), (True,))
    episodes["episode_0"]["observations"] = values
    paths = [write_hdf5(tmp_path / "main_data.hdf5", episodes)]
    table = {**ogbench((2,)), "observations": values}
    paths.append(write_npz(tmp_path / "a.npz", table))
    demos = robomimic((3,), following=False)
    demos["data/demo_0"]["obs/hand"] = values
    paths.append(write_hdf5(tmp_path / "demo.hdf5", demos))
    for path in paths:
        name = "hand" if path.stem == "demo" else "observation"
        # a small matrix of bytes may be a picture of a grid
        stored = np.uint8 if dtype is np.uint8 and len(shape) > 1 else np.float32
        recording, batch, _ = read(path)
        assert recording.observation[name].shape == shape
        assert recording.observation[name].dtype == stored
        assert batch.observation[name].dtype == stored
        np.testing.assert_array_equal(batch.observation[name], expected)


IMAGES = [
    ((4, 84, 84), (84, 84, 4), "chw"),
    ((3, 64, 64), (64, 64, 3), "chw"),
    ((7, 7, 3), (7, 7, 3), "hwc"),
    ((4, 64, 64, 3), (64, 64, 12), "fhwc"),
    ((12, 84, 84), (84, 84, 12), "chw"),
    ((84, 84), (84, 84, 1), "hw"),
]


@pytest.mark.parametrize(("shape", "becomes", "axes"), IMAGES)
def test_images_are_stored_channels_last(
    tmp_path: Path, shape: tuple[int, ...], becomes: tuple[int, ...], axes: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    order = [0] + [1 + axes.index(axis) for axis in "hwfc" if axis in axes]
    expected = pixels.transpose(order).reshape(3, *becomes)
    demos = robomimic((3,))
    demos["data/demo_0"]["obs/image"] = pixels
    demos["data/demo_0"]["next_obs/image"] = pixels
    path = write_hdf5(tmp_path / "demo.hdf5", demos)
    recording, batch, _ = read(path)
    assert recording.observation["image"].shape == becomes
    assert recording.observation["image"].dtype == np.uint8
    np.testing.assert_array_equal(batch.observation["image"], expected[[0, 1, 2, 2]])
    table = {**d4rl((3,), (True,)), "observations": pixels, "next_observations": pixels}
    _, batch, tally = read(write_npz(tmp_path / "a.npz", table))
    np.testing.assert_array_equal(batch.observation["observation"][-1], expected[2])
    assert tally.gaps == 2
    numbers = read(path, ReadConfig(image_axes="numbers"))[0].observation["image"]
    assert (numbers.shape, numbers.dtype) == ((int(np.prod(shape)),), np.float32)


def test_images_that_nobody_understands_are_told_or_refused(tmp_path: Path) -> None:
    table = {**ogbench((2,)), "observations": np.zeros((3, 5, 8, 8, 3, 2), np.uint8)}
    path = write_npz(tmp_path / "a.npz", table)
    with pytest.raises(UserError, match=r"a.npz: 'observations' has the shape \(5, 8, 8, 3, 2\)"):
        open_recording(path)
    table["observations"] = np.arange(3 * 8 * 8 * 8).astype(np.uint8).reshape(3, 8, 8, 8)
    path = write_npz(tmp_path / "b.npz", table)
    with pytest.raises(UserError, match=r"\(8, 8, 8\).*image_axes=hwc, chw"):
        open_recording(path)
    _, batch, _ = read(path, ReadConfig(image_axes="chw"))
    np.testing.assert_array_equal(
        batch.observation["observation"], table["observations"].transpose(0, 2, 3, 1)
    )
    with pytest.raises(UserError, match="image_axes=xyz should be one letter for each axis"):
        open_recording(path, ReadConfig(image_axes="xyz"))


def jpeg(value: int, size: int) -> np.ndarray:
    """A grey picture in so many bytes; zeros before its end do no harm."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 24, 3), value, np.uint8)).save(buffer, format="JPEG")
    data = buffer.getvalue()
    return np.frombuffer(data[:-2] + bytes(size - len(data)) + data[-2:], np.uint8)


def test_encoded_images_are_decoded(tmp_path: Path) -> None:
    demos = robomimic((2,))
    rows = np.empty(2, dtype=object)
    rows[:] = [jpeg(40, 700), jpeg(90, 720)]
    path = tmp_path / "demo.hdf5"
    write_hdf5(path, demos)
    with h5py.File(path, "a") as file:
        for group in ("obs", "next_obs"):
            del file[f"data/demo_0/{group}/image"]
            kind = h5py.vlen_dtype(np.uint8)
            file["data/demo_0"].create_dataset(f"{group}/image", data=rows, dtype=kind)
        file["data/demo_0/obs/equal"] = np.stack([jpeg(40, 700), jpeg(96, 700)])
        file["data/demo_0/next_obs/equal"] = np.stack([jpeg(96, 700), jpeg(40, 700)])
    recording, batch, _ = read(path)
    for name, values in (("image", [40, 90, 90]), ("equal", [40, 96, 40])):
        assert recording.observation[name].shape == (16, 24, 3)
        assert batch.observation[name][:, 8, 8, 0].tolist() == values
    assert "obs/equal, obs/image: stored as JPEG" in recording.notes[0]
    with h5py.File(path, "a") as file:
        file["data/demo_0/obs/equal"][1] = 0
    with pytest.raises(UserError, match="an encoded image is damaged"):
        read(path)


NESTED = {
    "observations/agent/pos": observation(0, range(3)),
    "observations/goal/pos": observation(1, range(3)),
    "observations/goal/size,m": observation(2, range(3)),
    "observations/top": observation(3, range(3)),
}


@pytest.mark.parametrize("layout", ["minari", "d4rl"])
def test_names_are_those_of_environments(tmp_path: Path, layout: str) -> None:
    if layout == "minari":
        episode = minari((2,), (True,))["episode_0"]
        del episode["observations"]
        path = write_hdf5(tmp_path / "main_data.hdf5", {"episode_0": {**episode, **NESTED}})
    else:
        table = {k: v for k, v in ogbench((2,)).items() if k != "observations"}
        path = write_hdf5(tmp_path / "a.hdf5", {**table, **NESTED})
    recording = open_recording(path)
    assert recording.keys == {
        "agent.pos": "observations/agent/pos",
        "goal.pos": "observations/goal/pos",
        "goal.size_m": "observations/goal/size,m",
        "top": "observations/top",
    }
    for text, name, first in (
        ("agent/pos", "agent.pos", 0),
        ("agent.pos", "agent.pos", 0),
        ("observations/goal/pos", "goal.pos", 100),
        ("goal.size_m", "goal.size_m", 200),
        ("top", "top", 300),
        ("x=goal.pos[1:2]", "x", -100),
    ):
        config = ReadConfig(observation=(Selection.parse(text),))
        _, batch, _ = read(path, config)
        assert {n: array.flat[0] for n, array in batch.observation.items()} == {name: first}
    with pytest.raises(UserError, match="'pos' may be observations/agent/pos or observations/goal"):
        open_recording(path, ReadConfig(observation=(Selection.parse("pos"),)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_discrete_actions_are_refused_in_a_line(tmp_path: Path, dtype: Any) -> None:
    episodes = minari((2,), (True,))
    episodes["episode_0"]["actions"] = np.zeros(2, dtype)
    path = write_hdf5(tmp_path / "main_data.hdf5", episodes)
    name = np.dtype(dtype).name
    with pytest.raises(UserError, match=f"'episode_0/actions' holds {name}, so actions are discr"):
        open_recording(path)
