"""Files are whole or as they were, and an error says which file and why."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.system import files


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    files.write_atomically(path, "one")
    files.write_atomically(path, b"two", sync=True)
    assert path.read_bytes() == b"two"
    files.write_npz(tmp_path / "a.npz", {"x": np.arange(3)})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored["x"].tolist() == [0, 1, 2]
    assert {p.name for p in tmp_path.rglob("*")} == {"new", "a.txt", "a.npz"}


@pytest.mark.parametrize(
    ("before", "kept"), [("old", "the file is as it was"), (None, "free some")]
)
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, before: str | None, kept: str) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)

    def write() -> None:
        with files.replacing(path) as partial:
            partial.write_text("half of")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=f"a.txt could not be written: No space left .*; {kept}"):
        write()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == (
        [] if before is None else [("a.txt", before)]
    )


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    for path in (Path(os.devnull), tmp_path):
        with pytest.raises(UserError, match=f"{path} is no regular file; give another place"):
            files.write_atomically(path, "x")
    assert not Path(os.devnull).is_file()


def test_a_link_does_not_lead_a_write_elsewhere(tmp_path: Path) -> None:
    """Such as one that a stranger has put into a run's folder."""
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".partial-a.txt").symlink_to("precious")
    files.write_atomically(tmp_path / "a.txt", "x")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "x"
    assert not (tmp_path / "a.txt").is_symlink()


def test_two_writers_write_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    program = f"""
import pathlib
from behavior_priors.system import files
path = pathlib.Path({str(path)!r})
with files.replacing(path) as partial:
    print(path.read_text())
    partial.write_text("second")
"""
    environment = {"PYTHONPATH": str(Path(files.__file__).parents[2])}
    with files.replacing(path) as partial:
        partial.write_text("fir")
        other = subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(3.0)
        with partial.open("a") as file:
            file.write("st")
    found, _ = other.communicate(timeout=30.0)
    assert (other.returncode, found.strip(), path.read_text()) == (0, "first", "second")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_many_threads_write_one_file(tmp_path: Path) -> None:
    texts = [str(i) * 10_000 for i in range(8)]
    threads = [
        threading.Thread(target=files.write_atomically, args=(tmp_path / "a.txt", text))
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.txt").read_text() in texts
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_has_no_room_is_not_appended_in_part(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("ab", buffering=0) as file:
        files.append(file, b"first")
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                files.append(file, b"second")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == b"first"
        files.append(file, b" and third")
    assert path.read_bytes() == b"first and third"
