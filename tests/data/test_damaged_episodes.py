"""Datasets that something has happened to are named, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.errors import UserError
from tests.data.examples import with_value


def edit_metadata(**changes: Any) -> Callable[[Path], None]:
    def edit(directory: Path) -> None:
        path = directory / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def edit_shard(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def edit(directory: Path) -> None:
        path = directory / "episodes-00001.npz"
        with np.load(path) as file:
            arrays = dict(file)
        arrays[name] = change(arrays[name])
        np.savez(path, **arrays)

    return edit


def truncate(directory: Path) -> None:
    path = directory / "episodes-00001.npz"
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "metadata.json").unlink(), "metadata.json: no such file; give a"),
        (lambda path: (path / "metadata.json").write_text("{"), "metadata.json cannot be read"),
        (
            lambda path: (path / "metadata.json").write_text("[]"),
            r"it is \[\]; it should be an object",
        ),
        (edit_metadata(format="hdf5"), 'does not say "format"'),
        (edit_metadata(version=2), "version 2 .* unknown; this package reads version 1"),
        (edit_metadata(action_size="two"), "'action_size' is 'two'; it should be an integer"),
        (edit_metadata(observation={"pose": 3}), "'observation.pose' is 3; it should be an object"),
        (edit_metadata(action_size=7), r"00000.npz: .*float32\[2\]; they should be float32\[7\]"),
        (edit_metadata(totals=None), "a complete dataset has 'totals'"),
        (lambda path: (path / "episodes-00001.npz").unlink(), "00001.npz: is missing"),
        (lambda path: (path / "episodes-00002.npz").unlink(), "holds 3 episodes in 2 shards"),
        (truncate, "episodes-00001.npz: is truncated, damaged"),
        (edit_shard("action", lambda x: x[:, :1]), r"00001.npz: rows of 'action' are float32\[1\]"),
        (edit_shard("action", lambda x: x[1:]), "00001.npz: 'action' has shape"),
        (edit_shard("length", lambda x: x - 2), "00001.npz: 'length' holds 0"),
        (edit_shard("length", lambda x: x[0]), "00001.npz: 'length' is a single value"),
        (edit_shard("action", lambda x: with_value(x, np.nan)), "00001.npz: 'action' holds nan"),
        (
            edit_shard("observation/pose", lambda x: with_value(x, -np.inf)),
            "00001.npz: 'observation/pose' holds -inf in row 6; values must be finite",
        ),
    ],
)
def test_a_damaged_dataset_is_named_in_one_line(
    dataset: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(dataset)
    with pytest.raises(UserError, match=message) as error:
        EpisodeReader(dataset).read()
    assert "\n" not in str(error.value)
    assert str(dataset) in str(error.value)


def test_a_place_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/metadata.json: no such file"):
        EpisodeReader(tmp_path / "nowhere")
