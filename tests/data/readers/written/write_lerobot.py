"""Writes `lerobot-0.6.1.zip`: a dataset of two episodes and two tasks, by LeRobot itself.

    pip install 'lerobot[dataset]==0.6.1'          (Python 3.12)
    python tests/data/readers/written/write_lerobot.py

It was run with lerobot 0.6.1, datasets 4.8.5, torch 2.11.0 and Python 3.12.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

LENGTHS = (5, 3)
"""Frames of the episodes."""

FPS = 10
SIDE = 64

TASKS = ("push the cube", "lift the cube")

FEATURES: dict[str, dict[str, Any]] = {
    "observation.state": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    "observation.level": {"dtype": "float32", "shape": (1,), "names": None},
    "observation.cells": {"dtype": "int64", "shape": (2, 2), "names": None},
    "observation.images.wrist": {
        "dtype": "image",
        "shape": (SIDE, SIDE, 3),
        "names": ["height", "width", "channels"],
    },
    "observation.images.top": {
        "dtype": "video",
        "shape": (SIDE, SIDE, 3),
        "names": ["height", "width", "channels"],
    },
    "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.done": {"dtype": "bool", "shape": (1,), "names": None},
}


def frame(episode: int, step: int) -> dict[str, Any]:
    """A frame, which tells the number `n` = 100 times the episode plus the step."""
    n = 100 * episode + step
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[: SIDE // 2], image[SIDE // 2 :] = 20 * step, 100 * episode
    return {
        "observation.state": np.array([n, -n], np.float32),
        "observation.level": np.array([n], np.float32),
        "observation.cells": np.array([[n, n + 1], [n + 2, n + 3]]),
        "observation.images.wrist": image,
        "observation.images.top": image,
        "action": np.array([n / 1000, -n / 1000], np.float32),
        "next.reward": np.array([n + 0.5], np.float32),
        "next.done": np.array([step == LENGTHS[episode] - 1]),
        "task": TASKS[episode],
    }


def write(folder: Path) -> None:
    """Writes the dataset into a folder."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset.create(
        "test/told", fps=FPS, features=FEATURES, root=folder, use_videos=True
    )
    for episode, length in enumerate(LENGTHS):
        for step in range(length):
            dataset.add_frame(frame(episode, step))
        dataset.save_episode()
    dataset.finalize()


def main() -> None:
    """Packs the dataset."""
    target = Path(__file__).with_name("lerobot-0.6.1.zip")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "told"
        write(folder)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))


if __name__ == "__main__":
    main()
