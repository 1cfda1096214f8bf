"""What files and folders are that no reader reads, and what to do with them."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_HEAD = 512

_BYTES: tuple[tuple[bytes, str], ...] = (
    (
        rb"\x80[\x02-\x05]|\(dp0|\(lp0|c(numpy|copy_reg|__builtin__|builtins)",
        "a pickle, which can execute code and is not opened; load it where you trust it, and save "
        "its arrays with numpy.savez",
    ),
    (
        rb"MATLAB \d",
        "a MATLAB file; load it with scipy.io.loadmat (version 7.3: with h5py), and save its "
        "arrays with numpy.savez",
    ),
    (
        rb"\x93NUMPY",
        "one array (.npy); save observations, actions and terminals together with numpy.savez",
    ),
    (
        rb"PAR1|ARROW1",
        "a table in Parquet or Arrow, as of LeRobot or Hugging Face; give the folder of a LeRobot "
        "dataset, or load it with their library, and save its columns with numpy.savez",
    ),
    (
        rb"version https://git-lfs",
        "a pointer that Git LFS left in place of the file; run git lfs pull to get the file itself",
    ),
    (
        rb"\s*<(!doctype|html|\?xml)",
        "a web page in place of the file; download the file itself",
    ),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "packed; unpack it"),
    (rb".{257}ustar", "packed; unpack it"),
    (
        rb"#ROSBAG|\x89MCAP|SQLite format 3",
        "a ROS bag; read its topics with the rosbags package, and save them with numpy.savez",
    ),
    (
        rb"\s*[\[{]",
        "text (JSON, it seems); load it, and save its arrays with numpy.savez",
    ),
)
"""Patterns of a file's beginning, and what such a file is."""

_FOLDERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (".zgroup", ".zarray", ".zattrs", "zarr.json", "*/.zgroup", "*/.zarray"),
        "a Zarr store, it seems; open it with the zarr package, and save its arrays with "
        "numpy.savez",
    ),
    (
        ("features.json", "*/features.json", "*.tfrecord*", "*/*.tfrecord*"),
        "a dataset of TensorFlow Datasets (RLDS), it seems; load it with tensorflow_datasets, and "
        "save each episode's observations and actions with numpy.savez",
    ),
    (
        ("dataset_dict.json", "state.json", "*/state.json", "*.parquet", "*/*.parquet"),
        "a dataset of Hugging Face's, it seems; load it with the datasets package, and save its "
        "columns with numpy.savez",
    ),
    (("episodes-00000.npz",), "a dataset of this library's already; give it to --data"),
    (
        ("*.npz", "*.hdf5", "*.h5", "*.npy", "*.pkl", "*.mat"),
        "a folder of files; give one of them",
    ),
)
"""What a folder holds, of which one suffices, and what such a folder is."""


def describe_file(path: Path) -> str | None:
    """What a regular file seems to be, and what to do with it; None where that is not known."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for pattern, kind in _BYTES:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"is {kind}"
    if ".tfrecord" in path.name:
        return "is a part of a TensorFlow dataset; load that with tensorflow_datasets"
    return None


def describe_archive(names: list[str]) -> str | None:
    """What a zip seems to be whose members are not arrays alone; None where that is not known."""
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return (
            "is a PyTorch file, which holds a pickle, can execute code and is not opened; load it "
            "where you trust it, and save its arrays with numpy.savez"
        )
    if any(name.rpartition("/")[2] in (".zgroup", ".zarray", "zarr.json") for name in names):
        return "is a zipped Zarr store; open it with zarr, and save its arrays with numpy.savez"
    if names and not any(name.endswith(".npy") for name in names):
        return "is a zip of other files; unpack it, and give the one that holds the episodes"
    return None


def describe_folder(path: Path) -> str:
    """What a folder seems to be, and what to do with it."""
    with contextlib.suppress(OSError):
        for patterns, kind in _FOLDERS:
            found = next((p for pattern in patterns for p in path.glob(pattern)), None)
            if found is not None:
                return f"is {kind}"
        if not any(path.iterdir()):
            return "is an empty folder; give a file, or the folder of a Minari or LeRobot dataset"
        inside = sorted(p.parent.parent.name for p in path.glob("*/data/main_data.hdf5"))
        if inside:
            some = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
            return f"is a folder of Minari datasets; give one of them: {some}"
    return "is a folder without a Minari dataset; give a file"
