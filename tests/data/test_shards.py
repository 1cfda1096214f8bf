"""A shard is whole or absent, read in part, and never silently wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data import shards
from behavior_priors.data.shards import Shard, write_atomically, write_shard
from behavior_priors.errors import UserError

ARRAYS = {
    "observation/x": np.arange(12, dtype=np.float32).reshape(4, 3),
    "length": np.array([1, 2], np.int32),
    "success": np.array([True, False]),
    "empty": np.zeros((2, 0), np.float64),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "episodes-00000.npz"
    write_shard(path, ARRAYS)
    return path


def test_arrays_come_back(path: Path) -> None:
    shard = Shard(path)
    assert list(shard.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        back = shard.read(name)
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype
        assert back.flags.writeable
        assert (shard.arrays[name].shape, shard.arrays[name].dtype) == (array.shape, array.dtype)


def test_rows_are_chosen(path: Path) -> None:
    shard = Shard(path)
    assert shard.read("observation/x", slice(1, 3)).tolist() == [[3, 4, 5], [6, 7, 8]]
    assert shard.read("observation/x", [0, 3]).tolist() == [[0, 1, 2], [9, 10, 11]]


def test_numpy_reads_what_we_write_and_the_other_way_round(path: Path) -> None:
    with np.load(path) as file:
        np.testing.assert_array_equal(file["observation/x"], ARRAYS["observation/x"])
    np.savez(path, c=np.arange(6.0).reshape(2, 3), f=np.asfortranarray(np.arange(6).reshape(2, 3)))
    shard = Shard(path)
    assert shard.arrays["f"].order == "F"
    assert shard.read("c").tolist() == shard.read("f").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_only_the_array_that_is_asked_for_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def record(data: memoryview) -> int:
        checked.append(len(data))
        return 0

    monkeypatch.setattr(zlib, "crc32", record)
    shard = Shard(path)
    with pytest.raises(UserError, match="length"):
        shard.read("length")
    # A header of 128 bytes and two integers, of a file that is several times as long.
    assert checked == [128 + 8]


def test_damage_to_one_array_leaves_the_others_readable(path: Path) -> None:
    content = path.read_bytes()
    position = content.index(ARRAYS["observation/x"].tobytes())
    path.write_bytes(content[:position] + b"\xff" + content[position + 1 :])
    shard = Shard(path)
    np.testing.assert_array_equal(shard.read("length"), ARRAYS["length"])
    with pytest.raises(
        UserError, match=r"episodes-00000.npz: the array 'observation/x' is damaged"
    ):
        shard.read("observation/x", [3])


def test_any_flipped_or_missing_byte_is_noticed_or_harmless(path: Path) -> None:
    content = path.read_bytes()
    flips = [
        content[:i] + bytes([content[i] ^ 0x81]) + content[i + 1 :] for i in range(len(content))
    ]
    cuts = [content[:length] for length in range(0, len(content), 13)]
    messages = []
    for damaged in flips + cuts:
        path.write_bytes(damaged)
        try:
            shard = Shard(path)
            if set(shard.arrays) != set(ARRAYS):
                raise UserError(f"{path}: a reader of episodes refuses other names")
            for name, array in ARRAYS.items():
                np.testing.assert_array_equal(shard.read(name), array)
        except UserError as error:
            messages.append(str(error))
    # All cuts, and most of the flips: a time stamp or padding may change and does not matter.
    assert len(messages) > len(cuts) + len(flips) // 2
    assert all(str(path) in message and "\n" not in message for message in messages)


def test_a_compressed_file_is_refused(path: Path) -> None:
    np.savez_compressed(path, **ARRAYS)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"uncompressed"):
        Shard(path)


def test_equal_arrays_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "again.npz", ARRAYS)
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        UserError, match=r"episodes-00000.npz could not .*No space left.*free some space"
    ):
        write_atomically(path, b"new")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_system_that_takes_no_more(tmp_path: Path) -> None:
    """The kernel refuses the bytes beyond a limit, as it does on a full disk."""
    program = f"""
import pathlib, resource
from behavior_priors.data.shards import write_atomically
from behavior_priors.errors import UserError
directory = pathlib.Path({str(tmp_path)!r})
write_atomically(directory / "small", b"x" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_atomically(directory / "large", b"x" * 10000)
except UserError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "large could not be written: File too large; free some space" in result.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["small"]
    assert (tmp_path / "small").stat().st_size == 1000


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    write_shard(path, {"x": np.zeros(3)})

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shards, "_read_directory", refuse)
    with pytest.raises(
        UserError, match=r"cannot be read \(Permission denied\); ask for permission"
    ):
        Shard(path)
