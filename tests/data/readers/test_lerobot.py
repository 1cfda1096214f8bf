"""LeRobot datasets: those that LeRobot 0.6.1 has written (`written/write_lerobot.py`), and ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeReader, EpisodeWriter
from behavior_priors.data.layout import EpisodeBatch
from behavior_priors.data.metadata import EpisodeMetadata
from behavior_priors.data.readers import ReadConfig, Selection, Tally, open_recording
from behavior_priors.data.readers.base import join
from behavior_priors.data.readers.lerobot import INFO_FILE
from behavior_priors.data.writers import lerobot as writer
from behavior_priors.errors import UserError
from behavior_priors.types import ArraySpec
from tests.data.readers.files import read
from tests.data.readers.written.write_lerobot import LENGTHS, SIDE, TASKS, frame

pyarrow = pytest.importorskip("pyarrow.parquet")

WRITTEN = Path(__file__).parent / "written" / "lerobot-0.6.1.zip"

CAMERAS = tuple(Selection.parse(f"{name}=observation.images.{name}") for name in ("wrist", "top"))


FILES = (
    "data/chunk-000/file-000.parquet",
    "videos/observation.images.top/chunk-000/file-000.mp4",
    "meta/episodes/chunk-000/file-000.parquet",
    "meta/tasks.parquet",
)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "told"
    shutil.unpack_archive(WRITTEN, folder)
    return folder


def test_every_number_is_there(written: Path) -> None:
    recording, batch, tally = read(written)
    assert (recording.format, recording.num_episodes, recording.action_size) == ("lerobot", 2, 2)
    # what the last action led to is not in the file
    assert list(batch.length) == [n - 1 for n in LENGTHS]
    assert tally.lost_actions == 2
    n = np.array([0, 1, 2, 3, 4, 100, 101, 102], np.float32)
    expected = {
        "state": np.stack([n, -n], axis=1),
        "level": n,
        "cells": np.stack([n, n + 1, n + 2, n + 3], axis=1).reshape(-1, 2, 2),
    }
    assert set(batch.observation) == set(expected)
    for name, array in expected.items():
        assert batch.observation[name].dtype == np.float32
        np.testing.assert_array_equal(batch.observation[name], array, err_msg=name)
    steps = np.array([0, 1, 2, 3, 100, 101], np.float32)
    np.testing.assert_array_equal(batch.action, np.stack([steps, -steps], axis=1) / np.float32(1e3))
    np.testing.assert_array_equal(batch.reward, steps + 0.5)
    notes = " ".join(recording.notes)
    assert "observation.images.wrist, observation.images.top: left out" in notes
    assert "--observation=wrist=observation.images.wrist" in notes
    assert "next.done of an episode's last row is taken for the end of its task" in notes
    assert f"of 2 tasks; --filter takes those of one, such as {TASKS[0]!r}" in notes


def test_images_and_videos_are_decoded_where_they_are_asked_for(written: Path) -> None:
    _, batch, _ = read(written, ReadConfig(observation=CAMERAS))
    wanted = np.stack(
        [
            frame(episode, step)["observation.images.wrist"]
            for episode, length in enumerate(LENGTHS)
            for step in range(length)
        ]
    )
    np.testing.assert_array_equal(batch.observation["wrist"], wanted)
    top = batch.observation["top"].astype(int)
    assert top.shape == (8, SIDE, SIDE, 3)
    # a video is not exact, but a frame is 20 darker or brighter than the next
    assert np.abs(top - wanted).max() < 8


def test_the_episodes_of_one_task(written: Path) -> None:
    _, batch, _ = read(written, ReadConfig(filter=TASKS[1]))
    assert list(batch.length) == [LENGTHS[1] - 1]
    assert batch.observation["level"][0] == 100
    with pytest.raises(UserError, match=rf"has no task 'x' for --filter; there are '{TASKS[0]}'"):
        open_recording(written, ReadConfig(filter="x"))


def test_an_incomplete_download_is_refused(written: Path) -> None:
    info = json.loads((written / INFO_FILE).read_text())
    (written / INFO_FILE).write_text(json.dumps(info | {"total_episodes": 3}))
    with pytest.raises(UserError, match=r"has 2 episodes, and meta/info.json says 3; the download"):
        open_recording(written)
    shutil.rmtree(written / "data")
    with pytest.raises(UserError, match=r"has no data/chunk-000/\*.parquet; get it again"):
        open_recording(written)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codebase_version": "v1.6"}, "versions 2 and 3 are read"),
        ({"codebase_version": 3}, "'codebase_version' is 3; it should be text"),
        ({"fps": 0}, "says 0 frames a second"),
        ({"features": []}, "'features' is .*; it should be an object"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(
    written: Path, change: dict[str, object], words: str
) -> None:
    info = json.loads((written / INFO_FILE).read_text())
    (written / INFO_FILE).write_text(json.dumps(info | change))
    with pytest.raises(UserError, match=words):
        open_recording(written)


def test_shapes_that_are_not_those_of_the_columns_are_refused(written: Path) -> None:
    info = json.loads((written / INFO_FILE).read_text())
    info["features"]["observation.state"]["shape"] = [3]
    (written / INFO_FILE).write_text(json.dumps(info))
    with pytest.raises(UserError, match="cannot be read"):
        list(open_recording(written).batches(Tally()))


@pytest.mark.parametrize("name", [*FILES, INFO_FILE])
def test_nothing_outside_of_the_folder_is_read(written: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (written / name).rename(elsewhere)
    (written / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link"):
        list(open_recording(written, ReadConfig(observation=CAMERAS)).batches(Tally()))


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused_in_a_line(written: Path, name: str) -> None:
    whole = (written / name).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], bytes(len(whole))):
        (written / name).write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            list(open_recording(written, ReadConfig(observation=CAMERAS)).batches(Tally()))
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(written))


def test_a_video_names_no_other_file(written: Path, tmp_path: Path) -> None:
    """A playlist, which ffmpeg would follow, is no video here."""
    secret = tmp_path / "secret.mp4"
    video = written / "videos/observation.images.top/chunk-000/file-000.mp4"
    shutil.copy(video, secret)
    for text in (
        f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    ):
        video.write_text(text)
        with pytest.raises(UserError, match="has not the 5 frames of 64 by 64 pixels"):
            list(open_recording(written, ReadConfig(observation=CAMERAS)).batches(Tally()))


def dataset(folder: Path, episodes: int = 5) -> EpisodeReader:
    """A dataset of this library with every kind of array, in two shards."""
    spec = {
        "pos": ArraySpec((3,)),
        "level": ArraySpec(()),
        "pair": ArraySpec((2, 2)),
        "camera": ArraySpec((9, 8, 3), np.uint8),
        "grey": ArraySpec((9, 8, 1), np.uint8),
    }
    random = np.random.default_rng(0)
    metadata = EpisodeMetadata(observation=spec, action_size=2, environment="mine", policy="human")
    out = EpisodeWriter.create(folder, metadata)
    for count in (episodes - 2, 2):
        length = random.integers(1, 6, count).astype(np.int32)
        steps = int(length.sum())
        observation = {
            n: random.integers(0, 256, (steps + count, *x.shape), np.uint8)
            if x.dtype == np.uint8
            else random.normal(size=(steps + count, *x.shape)).astype(np.float32)
            for n, x in spec.items()
        }
        out.write(
            EpisodeBatch(
                observation=observation,
                action=random.uniform(-1, 1, (steps, 2)).astype(np.float32),
                length=length,
                reward=random.normal(size=steps).astype(np.float32),
                terminated=random.integers(0, 2, count).astype(bool),
                success=random.integers(0, 2, count).astype(bool),
            )
        )
    out.finish()
    return EpisodeReader(folder)


def test_there_and_back_is_the_same_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # several files, several row groups
    monkeypatch.setattr(writer, "FILE_BYTES", 4000)
    monkeypatch.setattr(writer, "GROUP_BYTES", 1000)
    reader = dataset(tmp_path / "ours", 40)
    told: list[tuple[int, int]] = []
    task = writer.Task(24, "grasp it", "arm")
    writer.write(reader, tmp_path / "theirs", task, lambda *x: told.append(x))
    assert told[-1] == (reader.num_episodes, reader.num_steps)
    files = sorted((tmp_path / "theirs").glob("data/*/*.parquet"))
    assert len(files) > 2
    pictures = ReadConfig(
        observation=tuple(
            Selection.parse(f"{n}=observation.{n}") for n in reader.metadata.observation
        )
    )
    recording = open_recording(tmp_path / "theirs", pictures)
    back = join(list(recording.batches(Tally()))).to_arrays()
    expected = reader.read().to_arrays()
    assert back.keys() == expected.keys()
    for name, array in expected.items():
        assert back[name].dtype == array.dtype, name
        assert back[name].tobytes() == array.tobytes(), name


def test_it_says_what_lerobot_wants_to_know(tmp_path: Path) -> None:
    reader = dataset(tmp_path / "ours")
    writer.write(reader, tmp_path / "theirs", writer.Task(10, "grasp it"))
    info = json.loads((tmp_path / "theirs" / INFO_FILE).read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"]) == (5, reader.num_steps)
    assert info["features"]["observation.camera"]["dtype"] == "image"
    assert info["features"]["observation.level"]["shape"] == [1]
    stats = json.loads((tmp_path / "theirs" / "meta" / "stats.json").read_text())["action"]
    action = reader.read_array("action").astype(np.float64)
    np.testing.assert_allclose(stats["mean"], action.mean(0))
    np.testing.assert_allclose(stats["std"], action.std(0))
    np.testing.assert_array_equal(stats["max"], action.max(0))
    rows = pyarrow.read_table(tmp_path / "theirs/data/chunk-000/file-000.parquet")
    lengths = reader.lengths
    assert rows.column("episode_index").to_pylist() == list(np.repeat(np.arange(5), lengths))
    time = np.concatenate([np.arange(n) for n in lengths]) / 10
    np.testing.assert_allclose(rows.column("timestamp").to_numpy(), time, rtol=1e-6)
    with pytest.raises(UserError, match="is there already; give a new or empty folder"):
        writer.write(reader, tmp_path / "theirs", writer.Task(10, "grasp it"))


def test_version_2_has_a_file_an_episode(tmp_path: Path, written: Path) -> None:
    """The same dataset as version 2.1 lays it out."""
    old = tmp_path / "old"
    table = pyarrow.read_table(written / "data/chunk-000/file-000.parquet")
    (old / "meta").mkdir(parents=True)
    (old / "data/chunk-000").mkdir(parents=True)
    numbers = np.asarray(table.column("episode_index").to_numpy())
    for episode in range(2):
        rows = np.flatnonzero(numbers == episode)
        name = f"data/chunk-000/episode_{episode:06d}.parquet"
        pyarrow.write_table(table.take(rows), old / name)
    info = json.loads((written / INFO_FILE).read_text()) | {"codebase_version": "v2.1"}
    (old / INFO_FILE).write_text(json.dumps(info))
    _, ours, _ = read(old)
    _, theirs, _ = read(written)
    for name, array in theirs.to_arrays().items():
        np.testing.assert_array_equal(ours.to_arrays()[name], array, err_msg=name)
