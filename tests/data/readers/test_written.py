"""Files that other programs wrote: Minari 0.5.3 (`written/write_minari.py`) and OGBench 1.2.2.

OGBench's is the output of its own generator, `data_gen_scripts/generate_manipspace.py
--env_name=cube-single-v0 --num_episodes=2 --max_episode_steps=9`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, Tally, open_recording
from behavior_priors.data.readers.convert import convert
from behavior_priors.errors import UserError
from tests.data.readers.files import read
from tests.data.readers.written.write_minari import write

WRITTEN = Path(__file__).parent / "written"

FORMATS = ("hdf5", "arrow", "parquet")

SHAPES = {
    "agent.pos": (2,),
    "camera": (32, 32, 3),
    "cells": (2, 2),
    "lamps": (3,),
    "level": (),
    "pair": (2,),
    "parts.0": (),
    "parts.1": (1,),
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minari")
    shutil.unpack_archive(WRITTEN / "minari-0.5.3.zip", folder)
    return folder


def check(folder: Path) -> None:
    """Every number of the two episodes is there."""
    recording, batch, tally = read(folder)
    assert (recording.format, recording.num_episodes, recording.action_size) == ("minari", 2, 2)
    assert {name: spec.shape for name, spec in recording.observation.items()} == SHAPES
    for name, array in batch.observation.items():
        assert array.dtype == (np.uint8 if name == "camera" else np.float32), name
    n = np.array([0, 1, 2, 3, 100, 101, 102])
    expected = {
        "agent.pos": np.stack([n, -n], axis=1),
        "cells": np.stack([n, n + 1, n + 2, n + 3], axis=1).reshape(7, 2, 2),
        "lamps": [[x % 2, 1, 0] for x in n],
        "level": n,
        "pair": np.stack([n, n % 4], axis=1),
        "parts.0": n,
        "parts.1": n[:, None] / 256,
        "camera": np.broadcast_to(n[:, None, None, None], (7, 32, 32, 3)),
    }
    for name, numbers in expected.items():
        np.testing.assert_array_equal(batch.observation[name], numbers, name)
    assert (4 * batch.action).tolist() == [[0, 0], [1, 0], [2, 0], [0, -1], [1, -1]]
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 2, 10, 11]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [True, False]
    assert batch.success is not None
    assert batch.success.tolist() == [True, False]
    assert recording.notes == [
        "observations/camera: stored as JPEG, so the pixels are not exact",
    ]
    assert tally == Tally()


@pytest.mark.parametrize("data_format", FORMATS)
def test_minari_0_5_3(datasets: Path, data_format: str) -> None:
    if data_format != "hdf5":
        pytest.importorskip("pyarrow")
    check(datasets / f"{data_format}-v0")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Minari's folders
@pytest.mark.parametrize("data_format", FORMATS)
def test_minari_that_is_installed(tmp_path: Path, data_format: str) -> None:
    pytest.importorskip("minari", minversion="0.5")
    write(tmp_path, data_format)
    check(tmp_path / f"told/{data_format}-v0")


def test_minaris_arrow_as_a_dataset(datasets: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    wanted = ReadConfig(observation=(Selection.parse("pos"), Selection.parse("x=pair[0:1]")))
    reader = convert(open_recording(datasets / "arrow-v0/data", wanted), tmp_path / "output")
    assert reader.read_array("observation/x")[:, 0].tolist() == [0, 1, 2, 3, 100, 101, 102]
    assert reader.read_array("observation/pos")[:, 1].tolist() == [0, -1, -2, -3, -100, -101, -102]
    source = reader.metadata.extra["source"]
    assert source["bytes"] == sum(
        file.stat().st_size for file in (datasets / "arrow-v0/data").rglob("*") if file.is_file()
    )


def test_minaris_arrow_without_its_metadata_is_flat(datasets: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = shutil.copytree(datasets / "arrow-v0", tmp_path / "copy")
    (folder / "data/metadata.json").write_text("[" * 100_000)
    recording = open_recording(folder)
    assert recording.observation["cells"].shape == (4,)
    assert recording.observation["camera"].shape == (32, 32, 3)


def test_minaris_arrow_that_is_damaged_or_elsewhere(datasets: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = shutil.copytree(datasets / "arrow-v0", tmp_path / "copy")
    part = folder / "data/1/part-0.arrow"
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="copy/data: cannot be read"):
        open_recording(folder)
    part.unlink()
    part.symlink_to(datasets / "arrow-v0/data/1/part-0.arrow")
    with pytest.raises(UserError, match=r"part-0.arrow: is a link to .*, outside of its folder"):
        open_recording(folder)


def test_without_pyarrow(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.dataset", None)
    with pytest.raises(UserError, match=r"needs pyarrow; pip install 'behavior-priors\[arrow\]'"):
        open_recording(datasets / "arrow-v0")


def test_ogbench_1_2_2() -> None:
    path = WRITTEN / "ogbench-1.2.2.npz"
    recording, batch, tally = read(path)
    assert (recording.format, recording.num_episodes, recording.action_size) == ("npz", 2, 5)
    assert batch.length.tolist() == [8, 8]
    with np.load(path) as file:
        raw = dict(file)
    assert {key: array.shape for key, array in raw.items()} == {
        "observations": (18, 28),
        "actions": (18, 5),
        "terminals": (18,),
        "qpos": (18, 21),
        "qvel": (18, 20),
    }
    np.testing.assert_array_equal(batch.observation["observation"], raw["observations"])
    # OGBench's loader calls the action of a trajectory's last row invalid
    np.testing.assert_array_equal(batch.action, np.delete(raw["actions"], [8, 17], axis=0))
    np.testing.assert_array_equal(batch.initial_state["qpos"], raw["qpos"][[0, 9]])
    assert batch.terminated is not None
    assert not batch.terminated.any()
    assert tally == Tally(lost_actions=2)


def test_ogbenchs_own_loader_agrees() -> None:
    ogbench = pytest.importorskip("ogbench.utils")
    path = WRITTEN / "ogbench-1.2.2.npz"
    theirs, (_, batch, _) = ogbench.load_dataset(str(path)), read(path)
    seen = batch.observation["observation"]
    np.testing.assert_array_equal(np.delete(seen, [8, 17], axis=0), theirs["observations"])
    np.testing.assert_array_equal(np.delete(seen, [0, 9], axis=0), theirs["next_observations"])
    np.testing.assert_array_equal(batch.action, theirs["actions"])
