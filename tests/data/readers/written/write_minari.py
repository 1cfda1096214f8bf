"""Writes `minari-0.5.3.zip`: one dataset in each of Minari's three formats, by Minari itself.

    pip install 'minari[hdf5,arrow]==0.5.3'
    python tests/data/readers/written/write_minari.py

It was run with minari 0.5.3, gymnasium 1.4.0, h5py 3.16.0, pyarrow 26.0.1 and numpy 2.4.6.
"""

from __future__ import annotations

import os
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LENGTHS = (3, 2)
"""Steps of the episodes; the first one ends the task, the second one is truncated."""


class Told(gymnasium.Env):
    """Observes the number `n` = 100 times the episode plus the step, in every kind of space."""

    observation_space = spaces.Dict(
        {
            "agent": spaces.Dict({"pos": spaces.Box(-1e3, 1e3, (2,), np.float64)}),
            "camera": spaces.Box(0, 255, (32, 32, 3), np.uint8),
            "cells": spaces.Box(-1000, 1000, (2, 2), np.int16),
            "lamps": spaces.MultiBinary(3),
            "level": spaces.Discrete(1000),
            "pair": spaces.MultiDiscrete([1000, 4]),
            "parts": spaces.Tuple((spaces.Discrete(1000), spaces.Box(-1, 1, (1,), np.float32))),
        }
    )
    action_space = spaces.Box(-2, 2, (2,), np.float32)

    def __init__(self) -> None:
        self.episode, self.time = -1, 0

    def observe(self) -> dict[str, Any]:
        """The current observation."""
        n = 100 * self.episode + self.time
        return {
            "agent": {"pos": np.array([n, -n], np.float64)},
            "camera": np.full((32, 32, 3), n, np.uint8),
            "cells": np.array([[n, n + 1], [n + 2, n + 3]], np.int16),
            "lamps": np.array([n % 2, 1, 0], np.int8),
            "level": np.int64(n),
            "pair": np.array([n, n % 4], np.int64),
            "parts": (np.int64(n), np.array([n / 256], np.float32)),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins the next episode."""
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self.observe(), {"success": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Goes on by one; the reward is 10 times the episode plus the step."""
        reward = 10.0 * self.episode + self.time
        self.time += 1
        is_last = self.time == LENGTHS[self.episode]
        ended = is_last and self.episode == 0
        return self.observe(), reward, ended, is_last and not ended, {"success": ended}


def write(folder: Path, data_format: str) -> None:
    """Records the episodes into `folder/told/FORMAT-v0`, with actions `[t, -e] / 4`."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    import minari

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recorder = minari.DataCollector(Told(), data_format=data_format, record_infos=True)
        for episode, length in enumerate(LENGTHS):
            recorder.reset(seed=episode)
            for t in range(length):
                recorder.step(np.array([t, -episode], np.float32) / 4)
        recorder.create_dataset(f"told/{data_format}-v0", algorithm_name="none")


def main() -> None:
    """Writes the archive beside this file."""
    with tempfile.TemporaryDirectory() as name:
        for data_format in ("hdf5", "arrow", "parquet"):
            write(Path(name), data_format)
        place = Path(__file__).with_name("minari-0.5.3.zip")
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted((Path(name) / "told").rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(Path(name) / "told"))


if __name__ == "__main__":
    main()
