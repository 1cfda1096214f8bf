"""Datasets in our own format that somebody made to do harm; see `hostile`."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.data.examples import write_dataset
from tests.data.hostile import HUGE, Make, header

SHARD = "episodes-00001.npz"


def dataset(change: Callable[[Path, Path], Any]) -> Make:
    """A dataset, changed by one that may point at the secret."""

    def make(folder: Path, secret: Path) -> Path:
        path = write_dataset(folder / "data")
        change(path, secret)
        return path

    return make


def _replaced(name: str, put: Callable[[Path, Path], Any]) -> Make:
    def change(path: Path, secret: Path) -> None:
        (path / name).unlink()
        put(path / name, secret)

    return dataset(change)


def _metadata(**changes: Any) -> Make:
    def change(path: Path, _: Path) -> None:
        place = path / "metadata.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | changes))

    return dataset(change)


def _shard(name: str, data: bytes) -> Make:
    """A shard with one member put in the place of another."""

    def change(path: Path, _: Path) -> None:
        with zipfile.ZipFile(path / SHARD) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        members[name] = data
        with zipfile.ZipFile(path / SHARD, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)

    return dataset(change)


def _called(name: str) -> Make:
    return _metadata(observation={name: {"shape": [3], "dtype": "float32"}})


def _beyond(path: Path, _: Path) -> None:
    """A shard that is shorter than its directory says; sizes agree with each other."""
    content = (path / SHARD).read_bytes()
    begin = content.index(b"PK\3\4", 100)
    (path / SHARD).write_bytes(content[:100] + content[begin:])


DATASETS: dict[str, Make] = {
    "a shard is a link out of it": _replaced(SHARD, lambda path, secret: path.symlink_to(secret)),
    "a shard is a link to a device": _replaced(SHARD, lambda path, _: path.symlink_to("/dev/zero")),
    "a shard is a link to itself": _replaced(SHARD, lambda path, _: path.symlink_to(SHARD)),
    "a shard is a pipe": _replaced(SHARD, lambda path, _: os.mkfifo(path)),
    "a shard is a folder": _replaced(SHARD, lambda path, _: path.mkdir()),
    "a shard is cut in the middle": dataset(_beyond),
    "metadata are a link out of it": _replaced(
        "metadata.json", lambda path, secret: path.symlink_to(secret)
    ),
    "metadata are a pipe": _replaced("metadata.json", lambda path, _: os.mkfifo(path)),
    "an observation that leads elsewhere": _called("../../x"),
    "an observation from the root": _called("/etc/x"),
    "an observation without a name": _called(""),
    "an observation with a NUL": _called("a\0b"),
    "an observation with a line's end": _called("a\nb"),
    "an observation of half a letter": _called("\ud800"),
    "an observation of three hundred letters": _called("x" * 300),
    "rows that are not there": _shard("action.npy", header("'<f4'", f"({HUGE}, 2)")),
    "a length of many rows": _shard("length.npy", header("'<i4'", f"({HUGE},)")),
    "a dtype that ends too soon": _shard("action.npy", header("'f4,('", "(5, 2)") + bytes(40)),
    "objects": _shard("action.npy", header("'|O'", "(5, 2)") + bytes(40)),
    "records": _shard("action.npy", header("[('a', '<f4')]", "(5, 2)") + bytes(40)),
    "a member that leads elsewhere": _shard("info/../../x.npy", header("'<f4'", "(2,)") + bytes(8)),
    "a header of code": _shard("action.npy", header("open('executed', 'w')", "(5, 2)")),
    "a dtype in metadata that ends too soon": _metadata(
        observation={"pose": {"shape": [3], "dtype": "f4,("}}
    ),
    "a shape in metadata that is negative": _metadata(
        observation={"pose": {"shape": [-3], "dtype": "float32"}}
    ),
    "a shape in metadata of a word": _metadata(
        observation={"pose": {"shape": "abc", "dtype": "float32"}}
    ),
}
"""By what is wrong with it."""
