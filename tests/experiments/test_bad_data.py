"""Data that a prior cannot learn from is refused, by name, before anything is written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeBatch, EpisodeMetadata, EpisodeWriter
from behavior_priors.data.shards import write_shard
from behavior_priors.envs.registry import make_env
from behavior_priors.types import ArraySpec
from tests.experiments import runs
from tests.experiments.conftest import Refused

EPISODES, LENGTH = 4, 3
SHARDS = ("episodes-00000.npz", "episodes-00001.npz")


@pytest.fixture(scope="module")
def metadata() -> EpisodeMetadata:
    env = make_env("grasp/mug")
    return EpisodeMetadata(
        observation=env.observation_spec,
        action_size=env.action_spec.size,
        environment="grasp/train",
        policy="random",
    )


def make_batch(metadata: EpisodeMetadata) -> EpisodeBatch:
    """Random episodes of whatever the metadata says."""
    random = np.random.default_rng(0)
    steps = EPISODES * LENGTH
    return EpisodeBatch(
        observation={
            name: random.normal(size=(steps + EPISODES, *spec.shape)).astype(spec.dtype)
            for name, spec in metadata.observation.items()
        },
        action=random.uniform(-1, 1, (steps, metadata.action_size)).astype(np.float32),
        length=np.full(EPISODES, LENGTH, np.int32),
    )


def write(folder: Path, metadata: EpisodeMetadata) -> Path:
    """Two shards of such episodes."""
    writer = EpisodeWriter.create(folder, metadata)
    for _ in SHARDS:
        writer.write(make_batch(metadata))
    writer.finish()
    return folder


def change_shard(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Writes what `EpisodeWriter` refuses to."""
    path = folder / SHARDS[1]
    with np.load(path) as stored:
        arrays = {name: stored[name].copy() for name in stored.files}
    change(arrays)
    write_shard(path, arrays)


def set_to(name: str, row: int, value: float) -> Callable[[Path], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name].reshape(len(arrays[name]), -1)[row, 0] = value

    return lambda folder: change_shard(folder, change)


def cut(share: float) -> Callable[[Path], None]:
    def truncate(folder: Path) -> None:
        path = folder / SHARDS[1]
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return truncate


def flip(folder: Path) -> None:
    """One bit of an action's value."""
    path = folder / SHARDS[1]
    with np.load(path) as stored:
        value = stored["action"].tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(value) + 5] ^= 1
    path.write_bytes(content)


def edit_metadata(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "metadata.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


SHARD = f"data/{SHARDS[1]}"


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (cut(0.999), (SHARD, "truncated", "restore it")),
        (cut(0.5), (SHARD, "truncated", "restore it")),
        (cut(0.0), (SHARD, "truncated", "restore it")),
        (flip, (SHARD, "'action'", "checksum", "restore the file")),
        (lambda f: (f / SHARDS[1]).unlink(), ("data:", "8 in 2", "restore the missing files")),
        (lambda f: (f / SHARDS[0]).unlink(), (f"data/{SHARDS[0]}", "is missing", "restore it")),
        (set_to("action", 7, np.nan), (SHARD, "'action'", "nan in row 7", "finite", "leave out")),
        (set_to("action", 0, -np.inf), (SHARD, "'action'", "-inf in row 0", "finite")),
        (
            set_to("observation/object_offset", 2, np.nan),
            (SHARD, "'observation/object_offset'", "nan in row 2", "finite"),
        ),
        (set_to("length", 1, 0), (SHARD, "'length'", "at least one step")),
        (lambda f: (f / "metadata.json").unlink(), ("data/metadata.json", "experiments.collect")),
        (
            lambda f: (f / "metadata.json").write_text("{"),
            ("data/metadata.json", "cannot be read", "experiments.collect"),
        ),
        (
            lambda f: (f / "metadata.json").write_text("{}"),
            ("data/metadata.json", "behavior_priors.episodes"),
        ),
        (edit_metadata(version=99), ("data/metadata.json", "version 99", "reads version 1")),
        (edit_metadata(action_size=6), (f"data/{SHARDS[0]}", "'action'", "float32[6]")),
    ],
)
def test_damaged_data(
    damage: Callable[[Path], Any],
    names: tuple[str, ...],
    metadata: EpisodeMetadata,
    refused: Refused,
    tmp_path: Path,
) -> None:
    damage(write(tmp_path / "data", metadata))
    refused(tmp_path, "parrot", *runs.TINY, "--workdir=run", "--data=data", names=names)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"action_size": 6}, ("data:", "6 dimensions", "7 in the environment", "use data")),
        (
            {"observation": {"ee_position": ArraySpec((4,))}},
            ("data:", "'ee_position'", "float32[4]", "float32[3]", "use data"),
        ),
        (
            {"observation": {"ee_position": ArraySpec((3,), np.float64)}},
            ("data:", "'ee_position'", "float64[3]", "float32[3]", "use data"),
        ),
        ({"observation": {"object_offset": None}}, ("data:", "'object_offset'", "gripper")),
    ],
)
def test_data_of_another_environment(
    changes: dict[str, Any],
    names: tuple[str, ...],
    metadata: EpisodeMetadata,
    refused: Refused,
    tmp_path: Path,
) -> None:
    if "observation" in changes:
        merged = {**metadata.observation, **changes["observation"]}
        changes = {"observation": {name: spec for name, spec in merged.items() if spec}}
    write(tmp_path / "data", dataclasses.replace(metadata, **changes))
    refused(tmp_path, "parrot", *runs.TINY, "--workdir=run", "--data=data", names=names)


def test_data_in_other_units(metadata: EpisodeMetadata, refused: Refused, tmp_path: Path) -> None:
    write(tmp_path / "data", metadata)
    for shard in SHARDS:
        path = tmp_path / "data" / shard
        with np.load(path) as stored:
            arrays = {name: stored[name].copy() for name in stored.files}
        write_shard(path, arrays | {"action": arrays["action"] * np.float32(0.05)})
    names = ("data: its actions are within 0.0", "of [-1, 1]", "--bounds_of=ENV", "--action_low")
    refused(tmp_path, "parrot", *runs.TINY, "--workdir=run", "--data=data", names=names)


def test_what_was_converted_cannot_be_verified(
    metadata: EpisodeMetadata, refused: Refused, tmp_path: Path
) -> None:
    extra = {"source": {"file": "a.npz"}}
    write(tmp_path / "data", dataclasses.replace(metadata, environment="unknown", extra=extra))
    names = ("data: was converted from a file", "--verify is for data that this program collected")
    refused(tmp_path, "collect", "--verify", "--output=data", names=names)


def test_what_is_no_dataset(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "text").write_text("not data")
    for name in ("nowhere", "data", "text"):
        names = (f"{name}/metadata.json", "give a directory that experiments.collect wrote")
        refused(tmp_path, "parrot", *runs.TINY, "--workdir=run", f"--data={name}", names=names)
        refused(tmp_path, "collect", "--verify", f"--output={name}", names=names)


def test_data_that_is_fine_is_not_what_is_refused(
    metadata: EpisodeMetadata, refused: Refused, tmp_path: Path
) -> None:
    """So the damages above are what their messages are about."""
    write(tmp_path / "data", metadata)
    arguments = (*runs.TINY, "--workdir=run", "--data=data", "--loop.batch_size=0")
    assert "data" not in refused(tmp_path, "parrot", *arguments, names=("batch_size",))
