"""Files of flags that a sweep is given: regular ones of no great size, which each run reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from behavior_priors.errors import UserError
from launch.sweep import SweepConfig, plan


def planned_flags(path: Path) -> str:
    config = SweepConfig(root="sweep", flagfiles=(str(path),))
    (run,) = plan(config)
    return run.record["flagfile"]


def test_flags_are_recorded_without_comments(tmp_path: Path) -> None:
    (tmp_path / "a.flags").write_text("# quick\n\n  --seed=1 \n--count=2")
    (tmp_path / "link.flags").symlink_to("a.flags")
    for name in ("a.flags", "link.flags"):
        assert planned_flags(tmp_path / name) == "--seed=1\n--count=2"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_circle(path: Path) -> None:
    path.symlink_to(path.name)


def make_large(path: Path) -> None:
    path.write_text("--seed=1\n" * 120_000)


def make_bytes(path: Path) -> None:
    path.write_bytes(b"--seed=\xff\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_pipe, r"bad\.flags is not a regular file; put one there"),
        (make_endless, r"/dev/zero is not a regular file; put one there"),
        (Path.mkdir, r"bad\.flags is not a regular file; put one there"),
        (make_circle, r"bad\.flags is not a file of flags"),
        (make_large, r"bad\.flags is too large, more than 1048576 bytes; give another file"),
        (make_bytes, r"bad\.flags is not text \(invalid start byte in byte 7\)"),
        (lambda path: None, r"bad\.flags is not a file of flags"),
    ],
)
def test_what_is_no_file_of_flags_is_refused(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path / "bad.flags")
    with pytest.raises(UserError, match=rf"^--flagfiles: .*{said}"):
        planned_flags(tmp_path / "bad.flags")
