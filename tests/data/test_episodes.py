"""Episodes come back as they went in, whatever happens to the process in between."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeBatch, EpisodeReader, EpisodeWriter
from behavior_priors.data.layout import pad, unpad
from behavior_priors.data.shards import Shard
from behavior_priors.errors import UserError
from behavior_priors.types import ArraySpec
from tests.data.examples import METADATA, make_batch, with_value
from tests.held import held


def assert_same(ours: EpisodeBatch, theirs: EpisodeBatch) -> None:
    left, right = ours.to_arrays(), theirs.to_arrays()
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)
        assert array.dtype == right[name].dtype


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_dataset_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    for make in (EpisodeWriter.create, EpisodeWriter.resume):
        with held(directory / ".lock"), pytest.raises(UserError) as error:
            make(directory, METADATA)
        assert str(error.value).startswith(
            f"{directory}: is being written by process 42 on there since then; wait for it or"
        )
        assert not (directory / "metadata.json").exists()
    writer = EpisodeWriter.create(directory, METADATA)
    writer.write(make_batch(0))
    assert EpisodeReader(directory).num_episodes == 3  # whoever reads asks nobody
    writer.finish()
    # complete, it is nobody's: also where nobody could write
    with held(directory / ".lock"):
        assert EpisodeWriter.resume(directory, METADATA).complete
    (directory / ".lock").unlink()
    assert {path.name for path in directory.iterdir()} == {"metadata.json", "episodes-00000.npz"}


# --- Round trips ---------------------------------------------------------------------------------


def test_a_dataset_comes_back(dataset: Path) -> None:
    reader = EpisodeReader(dataset)
    assert reader.complete
    assert reader.totals == (3, 6, 13)
    assert (reader.num_episodes, reader.num_steps) == (6, 13)
    assert reader.lengths.tolist() == [2, 2, 3, 2, 3, 1]
    assert reader.metadata.difference(METADATA) is None
    assert reader.metadata.observation["image"] == ArraySpec((4, 4, 3), np.dtype(np.uint8))
    for number, batch in enumerate(reader.shards()):
        assert_same(batch, make_batch(number, lengths=(2, 3, 1)[: number + 1]))


def test_episodes_are_read_across_shards(dataset: Path) -> None:
    reader = EpisodeReader(dataset)
    everything = reader.read()
    # Episode 2 is the second of shard 1, episode 3 the first of shard 2.
    some = reader.read(range(2, 4))
    assert some.length.tolist() == [3, 2]
    np.testing.assert_array_equal(some.action, everything.action[4:9])
    np.testing.assert_array_equal(some.observation["pose"], everything.observation["pose"][6:13])
    np.testing.assert_array_equal(
        some.initial_state["physics"], everything.initial_state["physics"][2:4]
    )
    assert_same(some, reader.read(slice(2, 4)))
    assert_same(some, reader.read([2, 3]))
    apart = reader.read(np.array([0, 4]))
    np.testing.assert_array_equal(apart.action, everything.action[[0, 1, 9, 10, 11]])
    assert apart.info["shard_seed"].tolist() == [0, 2]
    none = reader.read([])
    assert none.action.shape == (0, 2)
    assert none.observation["image"].shape == (0, 4, 4, 3)


def test_a_partial_read_touches_no_other_array(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = []
    read = Shard.read

    def spy(shard: Shard, name: str, rows: Any = slice(None)) -> np.ndarray:
        touched.append((shard.path.name, name))
        return read(shard, name, rows)

    reader = EpisodeReader(dataset)
    monkeypatch.setattr(Shard, "read", spy)
    reader.read_array("action", [1])
    assert touched == [("episodes-00001.npz", "action")]
    touched.clear()
    reader.read([5], names=["pose"])
    assert {shard for shard, _ in touched} == {"episodes-00002.npz"}
    assert "observation/image" not in {name for _, name in touched}


@pytest.mark.parametrize(
    ("episodes", "error"), [([1, 0], ValueError), ([1, 1], ValueError), ([6], IndexError)]
)
def test_a_wrong_selection_is_refused(
    dataset: Path, episodes: list[int], error: type[Exception]
) -> None:
    with pytest.raises(error):
        EpisodeReader(dataset).read(episodes)


def test_only_what_is_required_is_enough(tmp_path: Path) -> None:
    full = make_batch(0)
    bare = EpisodeBatch(observation=full.observation, action=full.action, length=full.length)
    writer = EpisodeWriter.create(tmp_path / "bare", METADATA)
    writer.write(bare)
    back = EpisodeReader(tmp_path / "bare").read()
    assert_same(back, bare)
    assert back.reward is None
    assert back.initial_state == {}


def test_padded_episodes_are_joined() -> None:
    observation = np.arange(8.0, dtype=np.float32).reshape(2, 4, 1)
    batch = EpisodeBatch.from_padded(
        observation={"pose": observation},
        action=np.array([[[1], [2], [-9]], [[3], [4], [5]]], np.float32),
        length=[2, 3],
        reward=np.array([[0, 1, -9], [0, 0, 1]]),
        success=np.array([True, True]),
    )
    assert batch.observation["pose"].ravel().tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert batch.action.ravel().tolist() == [1, 2, 3, 4, 5]
    assert batch.reward is not None
    assert batch.reward.tolist() == [0, 1, 0, 0, 1]
    assert pad(batch.action, batch.length).tolist() == [[[1], [2], [0]], [[3], [4], [5]]]
    np.testing.assert_array_equal(
        unpad(pad(batch.action, batch.length), batch.length), batch.action
    )


# --- Interruption and continuation ---------------------------------------------------------------

COLLECT = """
import os, signal, sys
from behavior_priors.data.episodes import EpisodeWriter
from tests.data.examples import METADATA, make_batch, with_value, write_dataset

directory, calls_left = sys.argv[1], int(sys.argv[2])
fsync = os.fsync

def fsync_or_die(descriptor):
    global calls_left
    if calls_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    calls_left -= 1
    fsync(descriptor)

os.fsync = fsync_or_die
writer = EpisodeWriter.resume(directory, METADATA)
for number in range(writer.totals.num_shards, 4):
    writer.write(make_batch(number))
writer.finish()
"""


# Each file is synced before its renaming and its directory after: first the metadata, then shards.
@pytest.mark.parametrize(("calls", "shards"), [(0, None), (1, 0), (6, 2), (7, 3), (10, 4)], ids=str)
def test_a_killed_writer_leaves_a_dataset_that_is_completed_identically(
    tmp_path: Path, calls: int, shards: int | None
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", COLLECT, str(killed), str(calls)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    if shards is None:
        with pytest.raises(UserError, match=r"metadata.json: no such file"):
            EpisodeReader(killed)
    else:
        reader = EpisodeReader(killed)
        assert not reader.complete
        assert reader.totals == (shards, 3 * shards, 6 * shards)
        for number, batch in enumerate(reader.shards()):
            assert_same(batch, make_batch(number))

    for directory, writer in (
        (killed, EpisodeWriter.resume(killed, METADATA)),
        (whole, EpisodeWriter.create(whole, METADATA)),
    ):
        for number in range(writer.totals.num_shards, 4):
            writer.write(make_batch(number))
        writer.finish()
        assert EpisodeReader(directory).totals == (4, 12, 24)
    assert contents(killed) == contents(whole)


def test_a_complete_dataset_is_not_extended(dataset: Path) -> None:
    writer = EpisodeWriter.resume(dataset, METADATA)
    assert writer.complete
    assert writer.totals == (3, 6, 13)
    with pytest.raises(ValueError, match="complete"):
        writer.write(make_batch(3))


def test_an_empty_shard_keeps_its_number(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path / "data", METADATA)
    for lengths in [(), (2,), ()]:
        writer.write(make_batch(0, lengths))
    reader = EpisodeReader(tmp_path / "data")
    assert reader.totals == (3, 1, 2)
    assert_same(reader.read(), make_batch(0, (2,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "seed: 7 against 8"),
        ({"versions": {**METADATA.versions, "mujoco": "4.1.0"}}, "versions.mujoco: '4.0.0' ag"),
        ({"engine": "mjx"}, "engine: 'c' against 'mjx'"),
        ({"observation": {"pose": ArraySpec((4,))}}, "observation.image"),
    ],
)
def test_other_metadata_cannot_be_continued(
    dataset: Path, change: dict[str, Any], message: str
) -> None:
    before = contents(dataset)
    with pytest.raises(UserError, match=message):
        EpisodeWriter.resume(dataset, dataclasses.replace(METADATA, **change))
    assert contents(dataset) == before


def test_nothing_is_overwritten(dataset: Path, tmp_path: Path) -> None:
    before = contents(dataset)
    with pytest.raises(UserError, match="data: exists and is not empty; give another directory"):
        EpisodeWriter.create(dataset, METADATA)
    assert contents(dataset) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file: cannot be made a directory"):
        EpisodeWriter.create(tmp_path / "file", METADATA)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        EpisodeWriter.resume(tmp_path / "foreign", METADATA)


# --- Input that cannot be used -------------------------------------------------------------------


def replaced(batch: EpisodeBatch, **changes: Any) -> EpisodeBatch:
    return dataclasses.replace(batch, **changes)


BATCH = make_batch(0)
POSE, IMAGE = BATCH.observation["pose"], BATCH.observation["image"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": with_value(BATCH.action, np.nan)}, r"'action' holds nan in row 5"),
        ({"observation": {"pose": with_value(POSE, np.inf), "image": IMAGE}}, "pose' holds inf"),
        ({"action": BATCH.action[:, :1]}, r"'action' are float32\[1\]; .* be float32\[2\]"),
        ({"action": BATCH.action[1:]}, r"'action' has shape \[5, 2\]; .* for 6 rows"),
        ({"observation": {"pose": POSE[:-3], "image": IMAGE}}, "for 9 rows"),
        ({"observation": {"pose": POSE}}, "'observation/image' is missing"),
        ({"observation": {"pose": POSE.astype(np.float64), "image": IMAGE}}, r"float64\[3\]"),
        ({"observation": {"pose": POSE, "image": IMAGE, "sound": POSE}}, "'observation/sound'"),
        ({"length": np.array([6, 0, 0])}, "'length' holds 0 in row 1; an episode has at least"),
        ({"scene": np.array([0, 1, 2])}, "'scene' holds 2 in row 2; metadata.json lists 2 scenes"),
        ({"info": {"name": np.array(["a", "b", "c"])}}, "'info/name'"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    writer = EpisodeWriter.create(tmp_path / "data", METADATA)
    with pytest.raises(UserError, match=message) as error:
        writer.write(replaced(BATCH, **changes))
    assert "episodes-00000.npz" in str(error.value)
    assert "\n" not in str(error.value)
    assert writer.totals == (0, 0, 0)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"metadata.json", ".lock"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": None}, "'reward' is missing"),
        ({"info": {"shard_seed": np.zeros(3, np.int32)}}, "'info/shard_seed' are int32"),
        ({"info": {**BATCH.info, "height": np.zeros(3)}}, "'info/height'"),
    ],
)
def test_shards_of_one_dataset_are_alike(
    dataset: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    writer = EpisodeWriter.create(tmp_path / "new", METADATA)
    writer.write(BATCH)
    with pytest.raises(UserError, match=message):
        writer.write(replaced(BATCH, **changes))
    # The same through the reader, which did not see them being written.
    (dataset / "metadata.json").write_bytes((tmp_path / "new" / "metadata.json").read_bytes())
    other = EpisodeWriter.create(tmp_path / "other", METADATA)
    other.write(replaced(BATCH, **changes))
    shard = tmp_path / "other" / "episodes-00000.npz"
    (dataset / "episodes-00003.npz").write_bytes(shard.read_bytes())
    with pytest.raises(UserError, match=message):
        EpisodeReader(dataset)
