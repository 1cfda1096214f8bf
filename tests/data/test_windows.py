"""Pieces of episodes: all inside of one, none lost, none glued together."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.data.dataset import join, load_episodes, load_windows
from behavior_priors.data.episodes import EpisodeReader, EpisodeWriter
from behavior_priors.errors import UserError
from tests.data.test_dataset import METADATA, count


@pytest.fixture
def reader(tmp_path: Path) -> EpisodeReader:
    """Episodes of 5, 1, 3 and 4 steps, whose times begin at 0, 10, 20 and 30."""
    writer = EpisodeWriter.create(tmp_path / "data", METADATA)
    writer.write(count(0, (5, 1)))
    writer.write(count(2, (3, 4)))
    return EpisodeReader(tmp_path / "data")


def test_every_piece_lies_within_an_episode(reader: EpisodeReader) -> None:
    """What is too short is left out, and is not joined to what follows it.

    An episode's last pieces are there, and one that is just long enough is one piece.
    """
    windows = load_windows(reader, ["time"], 3)
    pieces = windows.take(np.arange(len(windows.start)))
    assert pieces["observation"]["time"].tolist() == [
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
        [20, 21, 22],
        [30, 31, 32],
        [31, 32, 33],
    ]
    # the actions are the observations before them
    np.testing.assert_array_equal(pieces["action"][..., 0], pieces["observation"]["time"])


def test_pieces_without_overlap(reader: EpisodeReader) -> None:
    windows = load_windows(reader, ["time"], 2, stride=2)
    pieces = windows.take(np.arange(len(windows.start)))
    assert pieces["observation"]["time"][:, 0].tolist() == [0, 2, 20, 30, 32]


def test_pieces_of_several_datasets_are_those_of_each(reader: EpisodeReader) -> None:
    parts = [load_windows(reader, ["time"], 3, episodes) for episodes in ([0, 1], [2], [3])]
    joined, whole = join(parts), load_windows(reader, ["time"], 3)
    assert joined.start.dtype == np.int32
    every = np.arange(len(whole.start))
    jax.tree.map(np.testing.assert_array_equal, joined.take(every), whole.take(every))
    # the pieces of whole episodes, too, with what is missing of the short ones
    parts = [load_episodes(reader, 4, episodes) for episodes in ([0, 1], [2, 3])]
    joined, whole = join(parts), load_episodes(reader, 4)
    every = np.arange(4)
    jax.tree.map(np.testing.assert_array_equal, joined.take(every), whole.take(every))


def test_only_some_episodes(reader: EpisodeReader) -> None:
    windows = load_windows(reader, ["time"], 3, [2])
    assert windows.take(np.array([0]))["observation"]["time"].tolist() == [[20, 21, 22]]


def test_on_the_device_under_jit(reader: EpisodeReader) -> None:
    windows = jax.tree.map(jnp.asarray, load_windows(reader, ["time", "image"], 3))
    pieces = jax.jit(lambda w, rows: w.take(rows))(windows, jnp.array([4, 0]))
    assert pieces["observation"]["time"].tolist() == [[30, 31, 32], [0, 1, 2]]
    assert pieces["observation"]["image"].shape == (2, 3, 2, 2, 3)
    assert pieces["observation"]["image"].dtype == np.uint8


def test_episodes_that_are_all_too_short(reader: EpisodeReader) -> None:
    with pytest.raises(UserError, match="the longest episode has 5 steps, but pieces of 6"):
        load_windows(reader, ["time"], 6)


def test_episodes_from_their_beginnings_say_which_steps_there_are(reader: EpisodeReader) -> None:
    windows = load_episodes(reader, 4)
    pieces = windows.take(jnp.arange(4))
    assert pieces["observation"] == {}
    assert np.asarray(pieces["counts"]).astype(int).tolist() == [
        [1, 1, 1, 1],  # of five, the first four
        [1, 0, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]
    counted = np.where(pieces["counts"], pieces["action"][..., 0], -1)
    assert counted.tolist() == [
        [0, 1, 2, 3],
        [10, -1, -1, -1],
        [20, 21, 22, -1],
        [30, 31, 32, 33],
    ]
    alone = load_episodes(reader, 9, np.array([3]))
    assert alone.take(jnp.arange(1))["counts"].sum() == 4
