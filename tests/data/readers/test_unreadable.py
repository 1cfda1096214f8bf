"""Files that are fine, or not what a reader reads: what the system said, and what helps."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import pytest

from behavior_priors.data.readers import open_recording
from behavior_priors.data.readers.base import reading
from behavior_priors.data.readers.convert import convert
from behavior_priors.errors import UserError
from tests.data.readers.files import d4rl, minari, read, write_hdf5


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_hdf5(tmp_path / "a.hdf5", d4rl((3, 2), (False, True)))


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        convert(open_recording(path), path.parent / "output")
    message = str(caught.value)
    assert "\n" not in message
    assert "get it again" not in message
    return message


def test_a_file_that_another_process_writes(table: Path) -> None:
    with table.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as HDF5 does
        assert re.search(r"unable to lock file.*; another process is writing it", refused(table))
    assert open_recording(table).num_episodes == 2


def test_a_file_whose_writer_was_killed(tmp_path: Path) -> None:
    writer = """
import os, sys, h5py
file = h5py.File(sys.argv[1], "w", libver="latest")
file["actions"] = [[0.0, 0.0]] * 3
file.swmr_mode = True
file.flush()
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", writer, str(tmp_path / "a.hdf5")], check=False)
    assert re.search(r"already open for.*; .*was killed.*h5clear -s", refused(tmp_path / "a.hdf5"))


@pytest.mark.parametrize(
    ("number", "helps"),
    [
        (errno.EACCES, "ask for permission"),
        (errno.EIO, "the file may be fine"),
        (errno.ESTALE, "the file may be fine"),
        (errno.EMFILE, "the file may be fine"),
    ],
)
def test_what_the_system_refuses(table: Path, number: int, helps: str) -> None:
    with pytest.raises(UserError) as caught, reading(table):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"{table}: cannot be read ({os.strerror(number)}); {helps}")


def test_a_filter_that_h5py_does_not_know(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("behavior_priors.data.readers.hdf5.register_filters", lambda: False)
    with h5py.File(table, "a") as file:
        del file["rewards"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((5,))
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (0,) * 7)  # Blosc's number
        space = h5py.h5s.create_simple((5,))
        array = h5py.h5d.create(file.id, b"rewards", h5py.h5t.NATIVE_DOUBLE, space, plan)
        array.write_direct_chunk((0,), bytes(20))
    assert re.search(
        r"in a way that h5py does not know: 'rewards' by filter 32001,.*; pip install hdf5plugin",
        refused(table),
    )


FILES: dict[str, tuple[bytes, str]] = {
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform", "is a MATLAB file; load it with scipy.io.loadmat"),
    "one array": (b"\x93NUMPY\1\0", "is one array (.npy); save observations, actions and"),
    "Parquet": (b"PAR1\x15\4", "is a table in Parquet or Arrow, as of LeRobot"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid", "run git lfs pull"),
    "a web page": (b"\n<!DOCTYPE html><html>", "is a web page in place of the file"),
    "gzip": (b"\x1f\x8b\x08", "is packed; unpack it"),
    "tar": (bytes(257) + b"ustar", "is packed; unpack it"),
    "ROS": (b"#ROSBAG V2.0\n", "is a ROS bag"),
    "JSON": (b'{"observations": []}', "is text (JSON, it seems)"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_other_programs(kind: str, tmp_path: Path) -> None:
    content, words = FILES[kind]
    (tmp_path / "a").write_bytes(content + bytes(20))
    assert words in refused(tmp_path / "a")


FOLDERS: dict[str, tuple[tuple[str, ...], str]] = {
    "LeRobot": (("meta/info.json", "data/chunk-000/a.parquet"), "meta/info.json cannot be read"),
    "Zarr": ((".zgroup", "data/action/.zarray"), "is a Zarr store, it seems; open it with the"),
    "Zarr 3": (("zarr.json",), "is a Zarr store, it seems; open it with the zarr"),
    "RLDS": (("1.0.0/features.json", "1.0.0/a.tfrecord-00000-of-00001"), "is a dataset of Tensor"),
    "Hugging Face": (("state.json", "data-00000-of-00001.arrow"), "is a dataset of Hugging Face's"),
    "ours": (("metadata.json", "episodes-00000.npz"), "this library's already; give it to --data"),
    "files": (("a.hdf5", "b.hdf5"), "is a folder of files; give one of them"),
    "several of Minari's": (
        ("x-v0/data/main_data.hdf5", "y-v0/data/main_data.hdf5"),
        "is a folder of Minari datasets; give one of them: x-v0, y-v0",
    ),
    "nothing": ((), "is an empty folder"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_of_other_programs(kind: str, tmp_path: Path) -> None:
    names, words = FOLDERS[kind]
    (tmp_path / "a").mkdir()
    for name in names:
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_text("{}")
    assert words in refused(tmp_path / "a")


def test_a_zipped_store_of_zarr(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as archive:
        archive.writestr("data/.zgroup", "{}")
    assert "is a zipped Zarr store" in refused(tmp_path / "a.zarr.zip")


def test_links_within_a_file_and_a_folder_are_followed(tmp_path: Path) -> None:
    arrays = minari((2,), (False,))
    path = write_hdf5(tmp_path / "kept/whole.hdf5", arrays)
    with h5py.File(path, "a") as file:
        file["shared"] = file["episode_0/observations"]
        del file["episode_0/observations"]
        file["episode_0/observations"] = h5py.SoftLink("/shared")
        file["also"] = h5py.SoftLink("/episode_0")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/main_data.hdf5").symlink_to("../kept/whole.hdf5")
    (tmp_path / "link").symlink_to(tmp_path)
    _, batch, _ = read(tmp_path / "link")
    assert batch.observation["observation"][:, 0].tolist() == [0, 1, 2]


def test_a_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "elsewhere.hdf5", minari((2,), (False,)))
    (tmp_path / "given/data").mkdir(parents=True)
    (tmp_path / "given/data/main_data.hdf5").symlink_to(path)
    assert f"is a link to {path}, outside of its folder" in refused(tmp_path / "given")
    (tmp_path / "mine.hdf5").symlink_to(path)  # the user's own word
    assert open_recording(tmp_path / "mine.hdf5").num_episodes == 1
