"""Rollouts as films: mp4 where ffmpeg is there, else gif."""

from __future__ import annotations

import io
import itertools
import logging
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from behavior_priors.errors import UserError
from behavior_priors.system.files import replacing, write_atomically

BORDER_COLOR = 255
_LARGEST_FONT = 16
_SMALLEST_FONT = 7


def write_video(
    path: str | Path, frames: np.ndarray | Iterable[np.ndarray], fps: float = 10.0
) -> Path:
    """Writes frames as H.264 in an mp4, or as a gif where ffmpeg is not available.

    H.264 wants even edges; a frame with odd ones gets its last row or column twice.

    Args:
      path: the file to write, ending in .mp4 or .gif.
      frames: `[time, height, width, 3]` uint8, or pieces of a film, such arrays one after the
        other, of which only one at a time is in memory where an mp4 is written.
      fps: frames per second.

    Returns:
      The file that was written, which ends in .gif without ffmpeg.

    Raises:
      UserError: there is no frame, the ending is another one, or the disk is full.
    """
    path = Path(path)
    if path.suffix not in (".mp4", ".gif"):
        raise UserError(f"{path}: a video ends in .mp4 or .gif")
    others = _one_by_one(path, [frames] if isinstance(frames, np.ndarray) else frames)
    first = next(others, None)
    if first is None:
        raise UserError(f"{path}: a video needs at least one frame")
    single = itertools.chain([first], others)
    if path.suffix == ".mp4" and not _has_ffmpeg():
        logging.warning("%s: ffmpeg is not available, writing a gif instead", path)
        path = path.with_suffix(".gif")
    if path.suffix == ".mp4":
        with replacing(path) as partial, warnings.catch_warnings():
            # Python warns of the fork that starts ffmpeg; the child does nothing but execute it.
            warnings.filterwarnings("ignore", "os.fork.. was called", RuntimeWarning)
            _write_mp4(partial, single, first.shape[:2], fps)
    else:
        write_atomically(path, _gif(single, fps))
    return path


def _one_by_one(path: Path, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Single frames `[height, width, 3]`.

    Raises:
      UserError: a piece has none, or what is no frame.
    """
    for piece in pieces:
        if piece.ndim != 4 or piece.shape[-1] != 3 or piece.dtype != np.uint8 or not piece.size:
            raise UserError(
                f"{path}: cannot be made of frames {piece.dtype}{list(piece.shape)}; "
                "at least one is needed, as uint8 [time, height, width, 3]"
            )
        yield from piece


def tile_videos(
    videos: Sequence[np.ndarray],
    *,
    columns: int | None = None,
    border: int = 2,
    scale: int = 1,
    caption: str = "",
) -> np.ndarray:
    """Lays rollouts side by side in a grid; one that ends early shows its last frame.

    Args:
      videos: frames `[time, height, width, 3]` uint8 of each rollout, of one height and width.
      columns: of the grid; None for about as many as rows.
      border: width of the lines between rollouts, in pixels of the result.
      scale: how many pixels each pixel becomes in either direction, for small images.
      caption: a line above the grid.

    Returns:
      `[longest time, height, width, 3]` uint8 of the whole grid.

    Raises:
      UserError: there is no rollout, or one without frames.
    """
    if not videos or not all(len(video) for video in videos):
        raise UserError("a video needs at least one rollout, and each at least one frame")
    columns = columns or math.ceil(math.sqrt(len(videos)))
    rows = math.ceil(len(videos) / columns)
    length = max(len(video) for video in videos)
    height, width = (scale * size + border for size in videos[0].shape[1:3])
    grid = np.full(
        (length, rows * height + border, columns * width + border, 3), BORDER_COLOR, np.uint8
    )
    for index, video in enumerate(videos):
        top, left = (border + size for size in (index // columns * height, index % columns * width))
        times = np.minimum(np.arange(length), len(video) - 1)
        enlarged = video.repeat(scale, axis=1).repeat(scale, axis=2)[times]
        grid[:, top : top + height - border, left : left + width - border] = enlarged
    if caption:
        strip = _draw_caption(caption, grid.shape[2])
        grid = np.concatenate([np.broadcast_to(strip, (length, *strip.shape)), grid], axis=1)
    return grid


def _has_ffmpeg() -> bool:
    try:
        imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return False
    return True


def _write_mp4(path: Path, frames: Iterable[np.ndarray], size: tuple[int, ...], fps: float) -> None:
    """Writes frames of a size `[height, width]`."""
    height, width = size
    odd_edges = ((0, height % 2), (0, width % 2), (0, 0))
    even = (width + width % 2, height + height % 2)
    writer = imageio_ffmpeg.write_frames(
        str(path), even, fps=fps, quality=8, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    count = 0
    try:
        for frame in frames:
            count += 1
            writer.send(np.ascontiguousarray(np.pad(frame, odd_edges, mode="edge")))
    finally:
        writer.close()
    # ffmpeg's exit status is lost, so that only the file shows whether it was able to write it.
    try:
        written, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError:
        written = 0
    if written != count:
        raise OSError(f"ffmpeg wrote {written} of {count} frames")


def _gif(frames: Iterable[np.ndarray], fps: float) -> bytes:
    first, *others = [Image.fromarray(frame) for frame in frames]
    film = io.BytesIO()
    first.save(film, "GIF", save_all=True, append_images=others, duration=1000 / fps, loop=0)
    return film.getvalue()


def _draw_caption(text: str, width: int) -> np.ndarray:
    """Black on white `[height, width, 3]`, in the largest font in which the text fits."""
    for size in range(_LARGEST_FONT, _SMALLEST_FONT - 1, -1):
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width - 8:
            break
    image = Image.new("RGB", (width, round(1.6 * size)), "white")
    ImageDraw.Draw(image).text((width / 2, 0.8 * size), text, "black", font, anchor="mm")
    return np.asarray(image)
