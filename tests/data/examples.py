"""A small dataset with everything in it, the same for equal numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.data.episodes import EpisodeBatch, EpisodeMetadata, EpisodeWriter
from behavior_priors.types import ArraySpec

METADATA = EpisodeMetadata(
    observation={"pose": ArraySpec((3,)), "image": ArraySpec((4, 4, 3), np.uint8)},
    action_size=2,
    environment="table",
    environment_config={"task": "grasp", "horizon": 3, "bounds": np.array([0.1, 0.25])},
    policy="scripted",
    engine="c",
    scenes=(["mug", "bar"], ["bowl", "cap"]),
    seed=7,
    versions={"mujoco": "4.0.0", "jax": "0.10.2", "behavior_priors": "0.1.0"},
    extra={"note": "made up"},
)


def make_batch(number: int, lengths: tuple[int, ...] = (2, 3, 1)) -> EpisodeBatch:
    """Random episodes that depend on `number` only."""
    random = np.random.default_rng(number)
    length = np.array(lengths, np.int32)
    steps, episodes = int(length.sum()), len(length)
    return EpisodeBatch(
        observation={
            "pose": random.normal(size=(steps + episodes, 3)).astype(np.float32),
            "image": random.integers(0, 256, (steps + episodes, 4, 4, 3), np.uint8),
        },
        action=random.uniform(-1, 1, (steps, 2)).astype(np.float32),
        length=length,
        reward=random.normal(size=steps).astype(np.float32),
        terminated=random.random(episodes) < 0.5,
        success=random.random(episodes) < 0.5,
        scene=random.integers(0, 2, episodes, np.int32),
        initial_state={"physics": random.normal(size=(episodes, 5))},
        info={"shard_seed": np.full(episodes, number, np.int64)},
    )


def write_dataset(directory: Path, shards: int = 3) -> Path:
    writer = EpisodeWriter.create(directory, METADATA)
    for number in range(shards):
        writer.write(make_batch(number, lengths=(2, 3, 1)[: number + 1]))
    writer.finish()
    return directory


def with_value(array: np.ndarray, value: Any) -> np.ndarray:
    array = array.copy()
    array[-1] = value
    return array
