"""Videos of LeRobot datasets: where an episode is in them, and its frames."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.data.paths import check_inside, check_regular
from behavior_priors.data.readers.base import reading
from behavior_priors.data.readers.images import MOST_PIXELS
from behavior_priors.errors import UserError
from behavior_priors.system.foreign_files import read_lines


class Clip(NamedTuple):
    """Where an episode is.

    Attributes:
      file: a video.
      start: seconds at which it begins.
    """

    file: Path
    start: float


def find(path: Path, version: str, cameras: Collection[str]) -> dict[str, dict[int, Clip]]:
    """Clips by camera and number of the episode.

    Args:
      path: of the dataset.
      version: of its format.
      cameras: names of features.

    Raises:
      UserError: a video is missing, or lies elsewhere.
    """
    found: dict[str, dict[int, Clip]] = {}
    for camera in cameras:
        clips = _old(path, camera) if version.startswith("v2") else _new(path, camera)
        for clip in set(clips.values()):
            check_inside(path, clip.file)
            check_regular(clip.file)
        found[camera] = clips
    return found


def _new(path: Path, camera: str) -> dict[int, Clip]:
    """Version 3: many episodes a file."""
    import pyarrow.parquet

    clips = {}
    prefix = f"videos/{camera}/"
    wanted = [prefix + x for x in ("chunk_index", "file_index", "from_timestamp")]
    files = sorted(path.glob("meta/episodes/chunk-*/file-*.parquet"))
    if not files:
        raise UserError(f"{path}: has no meta/episodes, which say where episodes are in videos")
    for file in files:
        check_inside(path, file)
        check_regular(file)
        with reading(file), contextlib.closing(pyarrow.parquet.ParquetFile(file)) as table:
            columns = table.read(columns=["episode_index", *wanted]).to_pydict()
            for number, chunk, index, start in zip(
                columns["episode_index"], *(columns[x] for x in wanted), strict=True
            ):
                name = f"chunk-{int(chunk):03d}/file-{int(index):03d}.mp4"
                clips[int(number)] = Clip(path / "videos" / camera / name, float(start))
    return clips


def _old(path: Path, camera: str) -> dict[int, Clip]:
    """Version 2: a file an episode."""
    clips = {}
    for line in read_lines(path / "meta" / "episodes.jsonl"):
        with reading(path):
            number = int(json.loads(line)["episode_index"])
        name = f"episode_{number:06d}.mp4"
        there = sorted(path.glob(f"videos/chunk-*/{camera}/{name}"))
        if not there:
            raise UserError(f"{path}: has no videos/chunk-000/{camera}/{name}; get it again")
        clips[number] = Clip(there[0], 0.0)
    return clips


def frame_shape(path: Path, camera: str, feature: Mapping[str, Any]) -> tuple[int, int, int]:
    """Height, width and channels of a camera's frames, whichever order its description has.

    Raises:
      UserError: it has none of an image.
    """
    shape, names = feature["shape"], feature.get("names")
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"{path}: {camera} has the shape {shape}, which is no image's")
    first = names[0] if isinstance(names, list) and names else None
    height, width, channels = (*shape[1:], shape[0]) if first in ("channels", "channel") else shape
    if channels != 3 or height * width > MOST_PIXELS:
        raise UserError(f"{path}: {camera} has the shape {shape}; 3 channels are read")
    return height, width, channels


def decode(
    clips: Mapping[int, Clip], episode: int, count: int, fps: float, shape: tuple[int, int, int]
) -> np.ndarray:
    """The frames of an episode, `[count, height, width, 3]` uint8.

    Raises:
      UserError: the video is damaged, or has fewer or other frames.
    """
    import imageio_ffmpeg

    if episode not in clips:
        raise UserError(f"episode {episode} has no video")
    clip = clips[episode]
    # from the middle of the frame before, so that rounding finds the right one
    start = max(0.0, clip.start - 0.5 / fps)
    size = count * math.prod(shape)
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-v", "error", "-nostdin"),
        # a video may not name other files
        *("-protocol_whitelist", "file", "-f", "mp4"),
        *("-ss", f"{start:.6f}", "-i", f"file:{clip.file}"),
        *("-map", "0:v:0", "-frames:v", str(count)),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-fs", str(size + 1), "-"),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if len(done.stdout) != size:
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise UserError(
            f"{clip.file}: has not the {count} frames of {shape[1]} by {shape[0]} pixels that "
            f"episode {episode} should have{': ' if said else ''}{said}; get it again"
        )
    return np.frombuffer(done.stdout, np.uint8).reshape(count, *shape)
