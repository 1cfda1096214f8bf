"""A disk that fills up while a program saves costs one line, and nothing that was saved before."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.runs.checkpoint import Checkpointer
from tests.experiments import runs
from tests.experiments.conftest import one_line
from tests.experiments.forks import Forks

LEARN = (
    *runs.TINY,
    "--env=point/dense",
    "--methods=sac",
    "--loop.steps=320",
    "--loop.epoch_steps=80",
    "--loop.warmup_steps=320",
    "--run.eval_every=0",
    "--run.checkpoint_every=1",
    "--workdir=run",
)


class Disk(NamedTuple):
    """Somewhere with little room.

    Attributes:
      folder: on it.
      file_bytes: size beyond which no file can grow, where the disk itself is large.
      reason: what the operating system says.
    """

    folder: Path
    file_bytes: int | None
    reason: str


MakeDisk = Callable[[int, int], Disk]
"""`(bytes in all, bytes in a file)`; one of the two is the limit."""


@pytest.fixture(params=["full", "limited"])
def make_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeDisk]:
    """A real full disk where one can be mounted, and a limit on the size of files anywhere."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with contextlib.ExitStack() as stack:

        def make(total_bytes: int, file_bytes: int) -> Disk:
            if request.param == "limited":
                return Disk(folder, file_bytes, "File too large")
            size = f"size={total_bytes}"
            mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
            if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
                pytest.skip(
                    "a small disk can be mounted by root only; a limit on files is tested anyway"
                )
            stack.callback(subprocess.run, ["umount", str(folder)], check=True)
            return Disk(folder, None, "No space left on device")

        yield make


def test_collecting(make_disk: MakeDisk, forks: Forks) -> None:
    """A shard has more than a megabyte; metadata.json is far smaller."""
    disk = make_disk(400_000, 400_000)
    arguments = ("--env=maze/train", "--output=data", "--episodes=200")
    folder, limit = disk.folder, disk.file_bytes
    result = forks.run("collect", *arguments, folder=folder, file_bytes=limit)
    one_line(result, ("data/episodes-00000.npz", disk.reason, "free some space", "intact"))
    assert [path.name for path in (folder / "data").iterdir()] == ["metadata.json"]
    reader = EpisodeReader(folder / "data")
    assert (reader.num_episodes, reader.complete) == (0, False)
    if limit is not None:  # with room again, it is completed
        result = forks.run("collect", *arguments, "--resume", folder=folder)
        assert (result.status, result.stderr) == (0, "")
        reader = EpisodeReader(folder / "data")
        assert (reader.num_episodes, reader.complete) == (200, True)


@pytest.fixture(scope="module")
def begun(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs, set back to the first of them."""
    folder = tmp_path_factory.mktemp("begun")
    result = forks.run("parrot", *LEARN, folder=folder)
    assert result.status == 0, result
    return folder


def test_learning(make_disk: MakeDisk, begun: Path, forks: Forks) -> None:
    checkpoints = begun / "run" / "sac" / "checkpoints"
    *_, before, last = sorted(checkpoints.iterdir())
    kept = {name: x for name, x in runs.files(begun).items() if last.name not in name}
    saved = runs.files(last)
    blocks = 4096 * sum(-(-len(x) // 4096) for x in kept.values())
    disk = make_disk(
        blocks + sum(map(len, saved.values())) // 2, max(map(len, saved.values())) // 2
    )
    for name, content in kept.items():
        path = disk.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    result = forks.run("parrot", *LEARN, folder=disk.folder, file_bytes=disk.file_bytes)
    error = result.stderr.splitlines(True)[-1]
    here = "run/sac/checkpoints"
    names = (f"{here}/{last.name} could not be saved", disk.reason, "that of step 240 is kept")
    one_line(result._replace(stderr=error), names)
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    assert Checkpointer(disk.folder / here).steps() == [int(before.name)] == [240]
    assert runs.files(disk.folder / here / before.name) == runs.files(before)

    if disk.file_bytes is not None:  # with room again, the same command goes on
        assert forks.run("parrot", *LEARN, folder=disk.folder).status == 0
        assert runs.arrays(disk.folder / "run" / "sac") == runs.arrays(begun / "run" / "sac")
