"""Converting files of others, against a program that only reads all of their arrays.

`numpy.load` and h5py read every array whole. Ours also divides the rows into episodes, checks that
all numbers are finite, gathers statistics, and writes a dataset that survives a power cut, with
bounded memory: a ratio of 1 would mean that all of this costs nothing. The files are made up:
OGBench's layout, compressed as OGBench does; D4RL's with next observations, uncompressed; and
robomimic's with one image, 84 by 84. They are in the system's cache: reading an uncompressed one is
copying memory.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.data.readers import open_recording
from behavior_priors.data.readers.convert import convert
from benchmarks.harness import Plan, Row, largest_difference, race, rate_row

PEERS = ("h5py",)

EPISODES = 100
STEPS = 500
DEMONSTRATIONS = 20
DEMONSTRATION_STEPS = 60

Arrays = dict[str, np.ndarray]


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each layout, in megabytes (10^6 bytes) of arrays a second."""
    with tempfile.TemporaryDirectory() as folder:
        for layout, write, read in (
            ("npz", _write_npz, _load_npz),
            ("d4rl", _write_d4rl, _load_hdf5),
            ("robomimic", _write_robomimic, _load_hdf5),
        ):
            path, output = Path(folder) / layout, Path(folder) / "output"
            write(path)
            arrays = read(path)
            megabytes = sum(array.nbytes for array in arrays.values()) / 1e6

            def ours(path: Path = path, output: Path = output) -> None:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(output)
                convert(open_recording(path), output)

            def peer(path: Path = path, read: Callable[[Path], Any] = read) -> None:
                read(path)

            ours()
            equal = _check(layout, output, arrays)
            seconds = race({"ours": ours, "peer": peer}, plan)
            yield rate_row(
                f"readers/convert {layout} against {'h5py' if read is _load_hdf5 else 'numpy'}",
                "MB/s",
                (megabytes, seconds["ours"]),
                (megabytes, seconds["peer"]),
                equal=equal,
                packages=("h5py",),
            )


def _check(layout: str, output: Path, arrays: Arrays) -> str:
    """The converted actions are the file's."""
    from behavior_priors.data.episodes import EpisodeReader

    if layout == "robomimic":
        actions = np.concatenate([arrays[f"data/demo_{e}/actions"] for e in range(DEMONSTRATIONS)])
    else:
        actions = arrays["actions"]
    if layout == "npz":
        actions = actions[~arrays["terminals"]]
    return largest_difference("actions", EpisodeReader(output).read_array("action"), actions, 0.0)


def _table() -> Arrays:
    generator = np.random.default_rng(0)
    rows = EPISODES * STEPS
    return {
        "observations": generator.standard_normal((rows, 28)).astype(np.float32),
        "actions": generator.uniform(-1, 1, (rows, 5)).astype(np.float32),
        "terminals": np.arange(rows) % STEPS == STEPS - 1,
    }


def _write_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **_table())  # type: ignore[arg-type]


def _write_d4rl(path: Path) -> None:
    arrays = _table()
    following = np.roll(arrays["observations"], -1, axis=0)
    timeouts, terminals = arrays["terminals"], np.zeros_like(arrays["terminals"])
    rewards = np.ones(len(timeouts), np.float32)
    with _h5py().File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = terminals if key == "terminals" else array
        file["next_observations"], file["timeouts"] = following, timeouts
        file["rewards"] = rewards


def _write_robomimic(path: Path) -> None:
    generator = np.random.default_rng(0)
    with _h5py().File(path, "w") as file:
        for e in range(DEMONSTRATIONS):
            demo = file.create_group(f"data/demo_{e}")
            image = generator.integers(0, 256, (DEMONSTRATION_STEPS + 1, 84, 84, 3), np.uint8)
            hand = generator.standard_normal((DEMONSTRATION_STEPS + 1, 9))
            for key, array in (("image", image), ("hand", hand)):
                demo[f"obs/{key}"], demo[f"next_obs/{key}"] = array[:-1], array[1:]
            demo["actions"] = generator.uniform(-1, 1, (DEMONSTRATION_STEPS, 7)).astype(np.float32)


def _load_npz(path: Path) -> Arrays:
    with np.load(path) as file:
        return {key: file[key] for key in file}


def _load_hdf5(path: Path) -> Arrays:
    h5py, arrays = _h5py(), {}
    with h5py.File(path, "r") as file:

        def read(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[()]

        file.visititems(read)
    return arrays


def _h5py() -> Any:
    """Imported late, so that other benchmarks run without it."""
    import h5py  # type: ignore[import-untyped]

    return h5py
