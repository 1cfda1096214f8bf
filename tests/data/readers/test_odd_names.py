"""Names and texts in others' files that nobody expects: the rest of such a file is fine."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, open_recording
from behavior_priors.errors import UserError
from tests.data.readers.files import d4rl, minari, ogbench, read, robomimic, write_hdf5, write_npz


def test_an_array_called_data(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {**d4rl((3, 2), (True, True)), "data": np.zeros((5, 2))})
    assert open_recording(path).format == "d4rl"
    with pytest.raises(UserError, match="has no 'data/demo_0'; it has nothing"):
        open_recording(path, format_name="robomimic")
    path = write_hdf5(tmp_path / "b.hdf5", {"data": np.zeros((5, 2)), "label": np.zeros(5)})
    with pytest.raises(UserError, match=r"is HDF5 of no known layout; .* has data, label"):
        open_recording(path)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", d4rl((3, 2), (True, True)))
    with h5py.File(path, "a") as file:
        file.create_dataset("größe".encode("latin1"), data=np.zeros(20))
    assert read(path)[1].length.tolist() == [3, 2]
    path = write_hdf5(tmp_path / "demo.hdf5", robomimic((2,)))
    with h5py.File(path, "a") as file:
        file["data/demo_0/obs"].create_dataset(b"\xff\xfe", data=np.zeros((2, 2)))
    assert list(open_recording(path).observation) == ["hand", "image"]


@pytest.mark.parametrize("number", ["²", "7" * 5000, "٣", ""])
def test_numbers_that_are_none(tmp_path: Path, number: str) -> None:
    episodes: dict[str, Any] = {**minari((1, 2), (True, True)), f"episode_{number}": np.zeros(3)}
    path = write_hdf5(tmp_path / "main_data.hdf5", episodes)
    assert read(path)[1].length.tolist() == [1, 2]


def test_an_archive_with_a_text_beside_its_arrays(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", ogbench((3,)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "hi")
    assert read(path)[1].length.tolist() == [3]


def test_filter_keys_that_are_no_lists(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        **robomimic((2, 3)),
        "mask/train": np.array([b"demo_1"]),
        "mask/gone": h5py.SoftLink("/gone"),
        "mask/more/inside": np.array([b"demo_0"]),
    }
    path = write_hdf5(tmp_path / "demo.hdf5", arrays)
    assert read(path, ReadConfig(filter="train"))[1].length.tolist() == [3]
    for name in ("gone", "more"):
        with pytest.raises(UserError, match=f"has no filter key '{name}'; it has train"):
            open_recording(path, ReadConfig(filter=name))


def test_columns_of_thousands_of_digits() -> None:
    with pytest.raises(UserError, match="should be NAME=KEY or NAME=KEY"):
        Selection.parse(f"a=obs/pos[0:{'9' * 5000}]")


def test_environments_of_endless_names(tmp_path: Path) -> None:
    for name, expected in (("Lift", "Lift"), ("x" * 10_000, None), ("", None), (7, None)):
        path = write_hdf5(tmp_path / f"{len(str(name))}.hdf5", robomimic((2,)))
        with h5py.File(path, "a") as file:
            file["data"].attrs["env_args"] = json.dumps({"env_name": name})
        assert open_recording(path).environment == expected


def trajectories(folder: Path) -> Path:
    arrays = {
        "traj_0": {
            "obs": np.zeros((3, 2), np.float32),
            "actions": np.zeros((2, 2), np.float32),
            "terminated": np.array([False, True]),
        }
    }
    return write_hdf5(folder / "t.hdf5", arrays)


@pytest.mark.parametrize("kind", ["a link out", "a link to nothing", "a folder"])
def test_a_text_beside_the_data_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    path, beside = trajectories(tmp_path / "data"), tmp_path / "data" / "t.json"
    (tmp_path / "blob").write_text('{"env_info": {"env_id": "secret"}}')
    if kind == "a folder":
        beside.mkdir()
    else:
        beside.symlink_to(tmp_path / ("blob" if kind == "a link out" else "gone"))
    recording, batch, _ = read(path)
    assert batch.length.tolist() == [2]
    assert recording.environment is None
    (note,) = recording.notes
    assert note.startswith(f"which environment it was is not known: {beside}: ")


def space(low: Any, high: Any) -> str:
    return json.dumps({"type": "Box", "shape": [3], "low": low, "high": high})


def test_a_description_of_another_dataset_is_not_believed(tmp_path: Path) -> None:
    said = {"action_space": space([-0.1] * 3, [0.1] * 3)}
    (tmp_path / "metadata.json").write_text(json.dumps(said))
    episodes = minari((2,), (True,))
    own = open_recording(write_hdf5(tmp_path / "main_data.hdf5", episodes)).action_bounds
    assert own is not None
    assert own.high.tolist() == [0.1] * 3
    assert open_recording(write_hdf5(tmp_path / "door.hdf5", episodes)).action_bounds is None


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("[-3.4028234663852886e38, -1, -1]", "[3.4028234663852886e38, 1, 1]"),
        ("[-1e308, -1, -1]", "[1e308, 1, 1]"),
        (f"[-{'9' * 400}, -1, -1]", "[1, 1, 1]"),
        ("[0, 0, 0]", "[1e-46, 1, 1]"),
    ],
)
def test_bounds_that_nobody_can_mean(tmp_path: Path, low: str, high: str) -> None:
    path = write_hdf5(tmp_path / "main_data.hdf5", minari((2,), (True,)))
    with h5py.File(path, "a") as file:
        file.attrs["action_space"] = f'{{"type": "Box", "low": {low}, "high": {high}}}'
    assert open_recording(path).action_bounds is None
