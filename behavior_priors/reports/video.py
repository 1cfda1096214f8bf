"""Rollouts as films: mp4 where ffmpeg is there, else gif."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from behavior_priors.errors import UserError
from behavior_priors.system.files import replacing, write_atomically

BORDER_COLOR = 255
_LARGEST_FONT = 16
_SMALLEST_FONT = 7


def write_video(path: str | Path, frames: np.ndarray, fps: float = 10.0) -> Path:
    """Writes frames as H.264 in an mp4, or as a gif where ffmpeg is not available.

    H.264 wants even edges; a frame with odd ones gets its last row or column twice.

    Args:
      path: the file to write, ending in .mp4 or .gif.
      frames: `[time, height, width, 3]` uint8.
      fps: frames per second.

    Returns:
      The file that was written, which ends in .gif without ffmpeg.

    Raises:
      UserError: there is no frame, the ending is another one, or the disk is full.
    """
    path = Path(path)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise UserError(
            f"{path}: cannot be made of frames {frames.dtype}{list(frames.shape)}; "
            "at least one is needed, as uint8 [time, height, width, 3]"
        )
    if path.suffix not in (".mp4", ".gif"):
        raise UserError(f"{path}: a video ends in .mp4 or .gif")
    if path.suffix == ".mp4" and not _has_ffmpeg():
        logging.warning("%s: ffmpeg is not available, writing a gif instead", path)
        path = path.with_suffix(".gif")
    if path.suffix == ".mp4":
        with replacing(path) as partial, warnings.catch_warnings():
            # Python warns of the fork that starts ffmpeg; the child does nothing but execute it.
            warnings.filterwarnings("ignore", "os.fork.. was called", RuntimeWarning)
            _write_mp4(partial, frames, fps)
    else:
        write_atomically(path, _gif(frames, fps))
    return path


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


def _write_mp4(path: Path, frames: np.ndarray, fps: float) -> None:
    odd_height, odd_width = (size % 2 for size in frames.shape[1:3])
    frames = np.pad(frames, ((0, 0), (0, odd_height), (0, odd_width), (0, 0)), mode="edge")
    size = (frames.shape[2], frames.shape[1])
    writer = imageio_ffmpeg.write_frames(
        str(path), size, fps=fps, quality=8, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
    # ffmpeg's exit status is lost, so that only the file shows whether it was able to write it.
    try:
        written, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError:
        written = 0
    if written != len(frames):
        raise OSError(f"ffmpeg wrote {written} of {len(frames)} frames")


def _gif(frames: np.ndarray, fps: float) -> bytes:
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
