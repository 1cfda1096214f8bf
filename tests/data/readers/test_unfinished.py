"""A conversion that fails or is killed leaves nothing that the next one does not clear away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.readers import open_recording
from behavior_priors.data.readers.convert import convert
from behavior_priors.data.readers.unfinished import whole_or_nothing
from behavior_priors.errors import UserError
from tests.data.readers.files import ogbench, write_npz
from tests.held import held


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "a.npz", ogbench((2,)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


KILLED = """
import os, sys
from behavior_priors.data.readers import open_recording
from behavior_priors.data.readers.convert import convert
from behavior_priors.data.readers.unfinished import whole_or_nothing

convert(open_recording(sys.argv[1]), sys.argv[2], on_shard=lambda *_: os._exit(9))
"""


def killed(table: Path, output: Path) -> None:
    """A conversion that ends without a word once it has written a shard."""
    # no fork of this process: whichever test came before may have started JAX's threads
    assert (
        subprocess.run([sys.executable, "-c", KILLED, table, output], check=False).returncode == 9
    )


def test_what_a_killed_conversion_left_is_overwritten(table: Path, tmp_path: Path) -> None:
    killed(table, tmp_path / "output")
    assert names(tmp_path) == [".output.lock", ".partial-output", "a.npz"]
    convert(open_recording(table), tmp_path / "output")
    assert EpisodeReader(tmp_path / "output").num_episodes == 1
    assert names(tmp_path) == ["a.npz", "output"]
    assert names(tmp_path / "output") == ["episodes-00000.npz", "metadata.json"]


def test_a_dataset_is_converted_by_one_process_at_a_time(table: Path, tmp_path: Path) -> None:
    killed(table, tmp_path / "output")
    shard = tmp_path / ".partial-output" / "episodes-00000.npz"
    before = shard.read_bytes()
    with held(tmp_path / ".output.lock"), pytest.raises(UserError) as error:
        convert(open_recording(table), tmp_path / "output")
    assert "output: is being written by process 42 on there since then; wait" in str(error.value)
    assert shard.read_bytes() == before
    convert(open_recording(table), tmp_path / "output")
    assert names(tmp_path) == ["a.npz", "output"]


def test_a_file_of_the_users_is_no_lock(table: Path, tmp_path: Path) -> None:
    (tmp_path / ".output.lock").write_text("theirs")
    with pytest.raises(UserError, match=r"\.output\.lock: is in the way"):
        convert(open_recording(table), tmp_path / "output")
    assert (tmp_path / ".output.lock").read_text() == "theirs"


def test_a_folder_of_the_users_stays(table: Path, tmp_path: Path) -> None:
    theirs = tmp_path / ".partial-output"
    theirs.mkdir()
    (theirs / "episodes-00000.npz").write_text("theirs")
    convert(open_recording(table), tmp_path / "output")
    assert (theirs / "episodes-00000.npz").read_text() == "theirs"
    assert names(tmp_path) == [".partial-output", "a.npz", "output"]
    killed(table, tmp_path / "again")
    (tmp_path / ".partial-again").rename(tmp_path / "kept")
    (tmp_path / ".partial-again").symlink_to("kept")
    convert(open_recording(table), tmp_path / "again")
    assert (tmp_path / "kept" / "episodes-00000.npz").exists()


def test_places_where_no_folder_can_be(table: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    for place, words in (
        ("/dev/null", "is a device"),
        ("/", "no name for a new folder"),
        ("", "no name for a new folder"),
        (".", "no name for a new folder"),
        (tmp_path / "..", "no name for a new folder"),
        (tmp_path / "link", "is a link"),
        (tmp_path / "dangling", "is a link"),
        (tmp_path / "pipe", "is a pipe"),
        (table, "exists and is not empty"),
        (table / "x", "cannot be made a folder"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "a\0b", "null"),
        (tmp_path / "new" / ("x" * 300), "File name too long"),
        ("/proc/behavior_priors", "cannot be made a folder"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            convert(open_recording(table), place)
        assert str(caught.value).count("; ") == 1
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == before


def test_two_conversions_whose_folders_would_be_called_alike(table: Path, tmp_path: Path) -> None:
    (tmp_path / ".partial-out").mkdir()  # the user's
    with whole_or_nothing(tmp_path / "out") as first:
        assert first.name == ".partial-out-2"
        with whole_or_nothing(tmp_path / "out-2") as second:
            assert (first.is_dir(), second.name) == (True, ".partial-out-2-2")
    assert names(tmp_path) == [".partial-out", "a.npz", "out", "out-2"]
