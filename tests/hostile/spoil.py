"""Ways to spoil a sound folder; each makes `(folder, outside) -> None`.

`outside` is a folder of the reader's with `secret` and `pipe`. Checksums are made to fit, because
whoever writes files can write those as well.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

SECRET = "the-words-of-a-secret-file"
DEEP = "[" * 100_000 + "]" * 100_000
HUGE = "9" * 400


def flag(line: str, replaces: str = "") -> Callable[[Path, Path], None]:
    """Puts a line into a run's flags, in the place of the flag of that name."""

    def spoil(run: Path, outside: Path) -> None:
        path = run / "flags.txt"
        lines = path.read_text().splitlines()
        kept = [x for x in lines if not (replaces and x.startswith(f"--{replaces}="))]
        text = line.replace("OUTSIDE", str(outside))
        path.write_text("\n".join([*kept, text]) + "\n")

    return spoil


def write(name: str, content: str | bytes) -> Callable[[Path, Path], None]:
    """Writes a file over the sound one."""

    def spoil(folder: Path, _: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)

    return spoil


def link(name: str, target: str = "secret") -> Callable[[Path, Path], None]:
    """Puts a link to a file of the reader's in the place of a file."""

    def spoil(folder: Path, outside: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            path.rename(outside / "moved")
            path.symlink_to(outside / "moved")
        else:
            path.unlink(missing_ok=True)
            path.symlink_to(outside / target)

    return spoil


def pipe(name: str) -> Callable[[Path, Path], None]:
    """Puts a pipe in the place of a file, at which a reader would wait for ever."""

    def spoil(folder: Path, _: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def edit(name: str, **changes: Any) -> Callable[[Path, Path], None]:
    """Changes entries of a JSON file; None removes one."""

    def spoil(folder: Path, _: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: x for k, x in content.items() if x is not None}))

    return spoil


def insert(name: str, pair: str) -> Callable[[Path, Path], None]:
    """Puts one more pair, as text, at the head of a JSON object."""

    def spoil(folder: Path, _: Path) -> None:
        path = folder / name
        path.write_text(path.read_text().replace("{", "{" + pair + ",", 1))

    return spoil


def sealed(spoil: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """Spoils a run's checkpoint and makes its checksums fit."""

    def spoil_and_seal(run: Path, outside: Path) -> None:
        checkpoint = checkpoint_of(run)
        spoil(checkpoint, outside)
        paths = [path for path in checkpoint.rglob("*") if path.is_file()]
        sums = {str(p.relative_to(checkpoint)): zlib.crc32(p.read_bytes()) for p in paths}
        sums.pop("manifest.json", None)
        (checkpoint / "manifest.json").write_text(json.dumps(sums))

    return spoil_and_seal


def in_checkpoint(spoil: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """Spoils a run's checkpoint and leaves its checksums."""
    return lambda run, outside: spoil(checkpoint_of(run), outside)


def checkpoint_of(run: Path) -> Path:
    (checkpoint,) = (run / "sac" / "checkpoints").glob("0*")
    return checkpoint


def both(
    one: Callable[[Path, Path], None], other: Callable[[Path, Path], None]
) -> Callable[[Path, Path], None]:
    def spoil(folder: Path, outside: Path) -> None:
        one(folder, outside)
        other(folder, outside)

    return spoil


def misname(run: Path, _: Path) -> None:
    """Calls a checkpoint by what is a digit to Python, and no number."""
    checkpoint_of(run).rename(run / "sac" / "checkpoints" / "²")


def point_data_outside(checkpoint: Path, _: Path) -> None:
    """Writes the arrays' table of contents anew, with its data in a folder above, where it is."""
    state = checkpoint / "arrays" / "state"
    shutil.copytree(state / "d", checkpoint.parent / "d")
    store = tensorstore.KvStore.open({"driver": "file", "path": f"{state}/"}).result()
    manifest = tensorstore.ocdbt.dump(store).result()
    root = manifest["versions"][-1]["root"]
    root["location"] = root["location"].replace("btreenode::d/", "btreenode:../../../:d/")
    (state / "manifest.ocdbt").write_bytes(tensorstore.ocdbt.undump_manifest(manifest))


def empty(checkpoint: Path, _: Path) -> None:
    """Takes the arrays' data away."""
    for path in (checkpoint / "arrays" / "state").glob("**/d/*"):
        path.write_bytes(b"")


def save(name: str, **arrays: Any) -> Callable[[Path, Path], None]:
    def spoil(folder: Path, _: Path) -> None:
        np.savez(folder / name, **arrays)

    return spoil
