"""Films decode into the frames that went in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from behavior_priors.errors import UserError
from behavior_priors.reports import video
from behavior_priors.reports.video import tile_videos, write_video


def ramp(length: int = 12, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames that get brighter by 20 each."""
    shades = np.arange(length, dtype=np.uint8) * 20
    return np.broadcast_to(shades[:, None, None, None], (length, height, width, 3)).copy()


def decode(path: Path, height: int, width: int) -> np.ndarray:
    """Frames `[time, height, width, 3]` of a film."""
    if path.suffix == ".gif":
        with Image.open(path) as image:
            return np.stack(
                [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
            )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize(
    ("name", "size", "decoded_size"),
    [("a.mp4", (48, 64), (48, 64)), ("a.mp4", (47, 51), (48, 52)), ("a.gif", (47, 51), (47, 51))],
)
def test_frames_come_back(
    tmp_path: Path, name: str, size: tuple[int, int], decoded_size: tuple[int, int]
) -> None:
    frames = ramp(12, *size)
    path = write_video(tmp_path / "videos" / name, frames, fps=10)
    assert path == tmp_path / "videos" / name
    assert path.stat().st_size > 500
    decoded = decode(path, *decoded_size)
    assert decoded.shape == (12, *decoded_size, 3)
    np.testing.assert_allclose(decoded.mean(axis=(1, 2, 3)), np.arange(12) * 20, atol=4)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_film_comes_in_pieces(tmp_path: Path, name: str) -> None:
    frames = ramp(12, 48, 64)
    one = write_video(tmp_path / f"one_{name}", frames)
    path = write_video(tmp_path / name, (frames[i : i + 5] for i in (0, 5, 10)))
    assert path.read_bytes() == one.read_bytes()
    with pytest.raises(UserError, match=r"a.mp4: cannot be made of frames float32"):
        write_video(tmp_path / "a.mp4", iter([frames, frames.astype(np.float32)]))
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UserError, match=r"a.mp4: a video needs at least one frame"):
        write_video(tmp_path / "a.mp4", iter(()))


def test_without_ffmpeg_a_gif_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(video.imageio_ffmpeg, "get_ffmpeg_exe", absent)
    path = write_video(tmp_path / "a.mp4", ramp())
    assert path == tmp_path / "a.gif"
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"]
    assert len(decode(path, 48, 64)) == 12
    assert "writing a gif instead" in caplog.text


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 48, 48, 3), np.uint8),
        np.zeros((4, 48, 48, 3), np.float32),
        np.zeros((48, 48, 3), np.uint8),
    ],
)
def test_frames_that_are_none_are_refused(tmp_path: Path, frames: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"a.mp4: cannot be made of frames .*; at least one"):
        write_video(tmp_path / "a.mp4", frames)
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.avi: a video ends in .mp4 or .gif"):
        write_video(tmp_path / "a.avi", ramp())


def test_a_film_that_ffmpeg_could_not_finish_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video.imageio_ffmpeg, "count_frames_and_secs", lambda _: (3, 0.3))
    with pytest.raises(UserError, match=r"a.mp4 could not be written: ffmpeg wrote 3 of 12 frames"):
        write_video(tmp_path / "a.mp4", ramp())
    assert not list(tmp_path.iterdir())


def test_rollouts_are_tiled() -> None:
    red = np.tile(np.array([200, 0, 0], np.uint8), (3, 2, 4, 1))
    short = np.stack([np.full((2, 4, 3), shade, np.uint8) for shade in (10, 20)])
    grid = tile_videos([red, short, red], border=1, scale=2)
    # Two columns of 8 pixels with 3 lines, two rows of 4 with 3 lines.
    assert grid.shape == (3, 11, 19, 3)
    assert (grid[:, 1:5, 1:9] == [200, 0, 0]).all()
    assert [grid[t, 3, 12, 0] for t in range(3)] == [10, 20, 20]
    assert (grid[:, 6:10, 1:9] == [200, 0, 0]).all()
    for line in (
        grid[:, 0],
        grid[:, 5],
        grid[:, 10],
        grid[:, :, 0],
        grid[:, :, 9],
        grid[:, 6:, 10:],
    ):
        assert (line == 255).all()


def test_a_caption_stands_above_the_grid() -> None:
    frames = ramp(2, 48, 64)
    plain = tile_videos([frames], border=0, scale=4)
    captioned = tile_videos([frames], border=0, scale=4, caption="PARROT, mug")
    strip = captioned.shape[1] - plain.shape[1]
    assert strip > 16
    np.testing.assert_array_equal(captioned[:, strip:], plain)
    dark = np.asarray(captioned[0, :strip]).max(axis=-1) < 100
    assert dark.sum() > 100
    assert not dark[:, :8].any()


@pytest.mark.parametrize("videos", [[], [np.zeros((0, 4, 4, 3), np.uint8)]])
def test_no_rollouts_are_refused(videos: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match="at least one rollout"):
        tile_videos(videos)
