"""LeRobot datasets, versions 2 and 3 (https://github.com/huggingface/lerobot), without torch.

    meta/info.json                     version, frames a second, shapes of the features
    meta/episodes/.../file-000.parquet where each episode is in the videos (2: episodes.jsonl)
    data/chunk-000/file-000.parquet    a row a frame, many episodes a file (2: one)
    videos/KEY/chunk-000/file-000.mp4  a camera

A row has `observation.KEY`, `action`, and perhaps `next.reward`, `next.done`, `next.success`. What
the last action of an episode led to is not there, unless `next.observation.KEY` are, as
`data.writers.lerobot` writes them. Videos and images are read only where they are asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.paths import check_inside, check_regular
from behavior_priors.data.readers import lerobot_video
from behavior_priors.data.readers.base import ReadConfig, Recording, reading
from behavior_priors.data.readers.group_reader import read_groups
from behavior_priors.data.readers.groups import Found, GroupLayout, Groups, ReadFn
from behavior_priors.data.readers.lerobot_columns import (
    INFO_FILE,
    Columns,
    Feature,
    Piece,
    open_parquet,
    rows_in,
)
from behavior_priors.errors import UserError
from behavior_priors.system.foreign_files import read_json

LAYOUT = GroupLayout(
    name="lerobot",
    observation="observation",
    following="next.observation",
    ended="terminations",
    success=("next.success",),
    without_observations="; name videos or images with --observation=NAME=KEY",
)

_OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that every dataset has, and that no policy sees."""

_VISUAL = ("video", "image")


class Info(TypedDict):
    """What of `info.json` is needed."""

    codebase_version: str
    fps: float
    total_episodes: int
    features: dict[str, Feature]


def is_lerobot(path: Path) -> bool:
    """Whether a folder is a dataset of this kind."""
    return (path / INFO_FILE).is_file()


def read(path: Path, config: ReadConfig) -> Recording:
    """Opens a dataset; reads which rows each episode has.

    Raises:
      UserError: pyarrow is missing, the dataset is damaged or incomplete, or of another version.
    """
    info = _read_info(path)
    files = _data_files(path)
    with reading(path):
        pieces = _pieces(files)
    if len(pieces) != info["total_episodes"]:
        raise UserError(
            f"{path}: has {len(pieces)} episodes, and {INFO_FILE} says {info['total_episodes']}; "
            "the download may be incomplete, get it again"
        )
    notes: list[str] = []
    # as LeRobot calls them, or as arrays of an episode are called here
    asked = (dataclasses.replace(x, key=_key(x.key)) for x in config.observation)
    config = dataclasses.replace(config, observation=tuple(asked))
    tasks = _tasks(path)
    pieces = _of_task(path, pieces, tasks, config.filter, notes)
    groups = _groups(path, info, pieces, config, notes)
    return read_groups(groups, LAYOUT, config, notes=notes)


def _read_info(path: Path) -> Info:
    try:
        info: Info = read_json(path / INFO_FILE, Info)
    except OSError as error:
        raise UserError(f"{path / INFO_FILE}: cannot be read ({error.strerror})") from None
    version = info["codebase_version"]
    if not re.match(r"v[23]\.", version):
        raise UserError(
            f"{path}: is a LeRobot dataset of version {version[:20]}; versions 2 and 3 are read, "
            "and lerobot's own scripts convert others"
        )
    if not 0 < info["fps"] <= 1e6:
        raise UserError(f"{path / INFO_FILE}: says {info['fps']} frames a second")
    return info


def _data_files(path: Path) -> list[Path]:
    files = sorted(path.glob("data/chunk-*/*.parquet"), key=lambda x: (x.parent.name, x.name))
    if not files:
        raise UserError(f"{path}: has no data/chunk-000/*.parquet; get it again")
    for file in files:
        check_inside(path, file)
        check_regular(file)
    return files


def _pieces(files: Sequence[Path]) -> dict[int, Piece]:
    """The rows of each episode, in the order of their numbers."""
    pieces: dict[int, Piece] = {}
    for file in files:
        with contextlib.closing(open_parquet(file)) as table:
            names = [x for x in ("episode_index", "task_index") if x in table.schema_arrow.names]
            columns = table.read(columns=names)
        episode = columns.column("episode_index").to_numpy()
        tasks = columns.column("task_index").to_numpy() if len(names) > 1 else None
        if not len(episode):
            continue
        starts = np.flatnonzero(np.r_[True, episode[1:] != episode[:-1]])
        for start, stop in zip(starts, np.r_[starts[1:], len(episode)], strict=True):
            number = int(episode[start])
            if number in pieces:
                raise UserError(f"{file}: has rows of episode {number}, which are elsewhere too")
            task = None if tasks is None else int(tasks[start])
            pieces[number] = Piece(file, slice(int(start), int(stop)), task)
    return dict(sorted(pieces.items()))


def _tasks(path: Path) -> dict[str, int]:
    """Numbers of tasks by their words; none where the dataset does not say."""
    file = path / "meta" / "tasks.parquet"
    if not file.exists():
        return {}
    check_inside(path, file)
    check_regular(file)
    with reading(file), contextlib.closing(open_parquet(file)) as table:
        columns = table.read().to_pydict()
    words: list[Any] = next((columns[x] for x in ("task", "__index_level_0__") if x in columns), [])
    numbers = columns.get("task_index", [])
    return {str(x): int(n) for x, n in zip(words, numbers, strict=False)}


def _of_task(
    path: Path,
    pieces: Mapping[int, Piece],
    tasks: Mapping[str, int],
    wanted: str | None,
    notes: list[str],
) -> dict[int, Piece]:
    """The episodes of the task that is wanted, or all."""
    if wanted is None:
        if len(tasks) > 1:
            notes.append(
                f"all episodes are read, of {len(tasks)} tasks; --filter takes those of one, such "
                f"as {next(iter(tasks))!r}"
            )
        return dict(pieces)
    if wanted not in tasks:
        there = ", ".join(map(repr, list(tasks)[:5])) or "none with words"
        raise UserError(f"{path}: has no task {wanted!r} for --filter; there are {there}")
    chosen = {n: x for n, x in pieces.items() if x.task == tasks[wanted]}
    if not chosen:
        raise UserError(f"{path}: no episode is of the task {wanted!r}")
    return chosen


def _groups(
    path: Path,
    info: Info,
    pieces: Mapping[int, Piece],
    config: ReadConfig,
    notes: list[str],
) -> Groups:
    """The episodes with the arrays that are read of them."""
    features = {k: x for k, x in info["features"].items() if k not in _OWN}
    visual = {k: x for k, x in features.items() if x["dtype"] in _VISUAL}
    asked = {k for k in visual if any(_means(s.key, k) for s in config.observation)}
    asked |= {k for k in visual if k.removeprefix("next.") in asked}
    if left := [k for k in visual if k not in asked and not k.startswith("next.")]:
        notes.append(
            f"{', '.join(left)}: left out, since images are read where they are asked for, as in "
            f"--observation={left[0].rpartition('.')[2]}={left[0]}"
        )
    cameras = {k for k in asked if visual[k]["dtype"] == "video"}
    videos = lerobot_video.find(path, info["codebase_version"], cameras) if cameras else {}
    columns = Columns(features)
    names = {_key(name): name for name in features}
    episodes: dict[str, dict[str, Found]] = {}
    rows: dict[Path, dict[str, Row]] = {}
    for number, piece in pieces.items():
        if piece.file not in rows:
            inside = rows_in(piece.file, features, asked - cameras)
            rows[piece.file] = {_key(name): row for name, row in inside.items()}
        found = {key: Found(piece.length, row) for key, row in rows[piece.file].items()}
        for camera in cameras:
            shape = lerobot_video.frame_shape(path, camera, visual[camera])
            found[_key(camera)] = Found(piece.length, Row(shape, np.dtype(np.uint8)))
        if found.pop("next.done", None) is not None:
            found["terminations"] = Found(piece.length, Row((), np.dtype(bool)))
        found.pop("next.truncated", None)
        episodes[f"episode_{number}"] = found
    if any("terminations" in x for x in episodes.values()) and "next.truncated" not in features:
        notes.append(
            "next.done of an episode's last row is taken for the end of its task; there is no "
            "next.truncated to tell a time limit"
        )

    def read_one(label: str, key: str, wanted: slice) -> np.ndarray:
        number = int(label.rpartition("_")[2])
        piece = pieces[number]
        if key == "terminations":
            done = columns.read(piece, "next.done").astype(bool)
            if "next.truncated" in features:
                done &= ~columns.read(piece, "next.truncated").astype(bool)
            return done[wanted]
        name = names[key]
        if name in cameras:
            shape = lerobot_video.frame_shape(path, name, visual[name])
            return lerobot_video.decode(videos[name], number, piece.length, info["fps"], shape)[
                wanted
            ]
        return columns.read(piece, name)[wanted]

    @contextlib.contextmanager
    def open_groups() -> Iterator[ReadFn]:
        yield read_one
        columns.forget()

    return Groups(path, episodes, open_groups)


def _key(name: str) -> str:
    """What a column is called among the arrays of an episode."""
    for group in (LAYOUT.following, LAYOUT.observation):
        assert group is not None
        if name == group or name.startswith(f"{group}."):
            return group + name.removeprefix(group).replace(".", "/")
    return {"action": "actions", "next.reward": "rewards"}.get(name, name)


def _means(given: str, name: str) -> bool:
    """Whether a user's key is that of a camera."""
    key = _key(name)
    return given in (key, key.partition("/")[2], name.rpartition(".")[2])
