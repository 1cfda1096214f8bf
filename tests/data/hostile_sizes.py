"""Files of a few kilobytes whose arrays, taken one by one, are harmless, and together are not."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tests.data.hostile import Make, hdf5
from tests.data.readers.files import minari, write_hdf5


@functools.cache
def _jpeg(pixels: int) -> np.ndarray:
    """The bytes of a black image of so many pixels along each side."""
    data = io.BytesIO()
    Image.new("RGB", (pixels, pixels)).save(data, "JPEG", quality=1, optimize=True)
    return np.frombuffer(data.getvalue(), np.uint8)


def _images(sides: list[int], *, is_vlen: bool = False) -> Make:
    def make(folder: Path, _: Path) -> Path:
        episodes = minari((len(sides) - 1,), (False,))
        encoded = [_jpeg(side) for side in sides]
        del episodes["episode_0"]["observations"]
        path = write_hdf5(folder / "main_data.hdf5", episodes)
        with h5py.File(path, "a") as file:
            group = file["episode_0"]
            if is_vlen:
                kind = h5py.vlen_dtype(np.uint8)
                array = group.create_dataset("observations", (len(sides),), kind)
                for n, data in enumerate(encoded):
                    array[n] = data
            else:
                group.create_dataset(
                    "observations",
                    data=np.stack(encoded),
                    chunks=(1, len(encoded[0])),
                    compression="gzip",
                    compression_opts=9,
                )
        return path

    return make


def _many_empty(file: h5py.File, _: Path) -> None:
    """200 arrays of 60 MB each, of which nothing is stored."""
    for n in range(200):
        file.create_dataset(f"data/demo_0/obs/k{n}", (3, 5_000_000), "f4", chunks=(3, 5_000_000))


def _one_many_times(file: h5py.File, _: Path) -> None:
    """An array of 60 MB, as small as compression makes it, under a thousand names."""
    array = file.create_dataset(
        "data/demo_0/obs/k", data=np.zeros((3, 5_000_000), np.float32), compression="gzip"
    )
    for n in range(1000):
        file[f"data/demo_0/obs/k{n}"] = array


SIZES: dict[str, Make] = {
    "JPEG: each of 75 MB": _images([5_000] * 12),
    "JPEG: a thousand of 12 MB": _images([2_000] * 1000),
    "JPEG: of varying length, each of 75 MB": _images([5_000] * 3, is_vlen=True),
    "JPEG: one of 75 MB among small ones": _images([16, 5_000, 16], is_vlen=True),
    "HDF5: many arrays of which nothing is stored": hdf5(_many_empty, "robomimic"),
    "HDF5: one array a thousand times": hdf5(_one_many_times, "robomimic"),
}
"""By what they are, as `hostile.RECORDINGS`."""
