"""The files of a checkpoint, which may be a stranger's: which there may be, and what they say.

The checksums tell damage and not malice: whoever writes files writes their checksums too. So
nothing is opened by Orbax before it is known that the files are those that it writes, that they lie
where they seem to, and that their JSON says nothing that would lead elsewhere. What is left are the
arrays in TensorStore's OCDBT format, whose references are names of files in the same folder; its
driver for files refuses others.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from behavior_priors.data.paths import remedy
from behavior_priors.errors import UserError
from behavior_priors.system.foreign_files import MEGABYTE, check_folder, open_file, read_json

ARRAYS, METADATA, MANIFEST = "arrays", "metadata.json", "manifest.json"

_STATE = f"{ARRAYS}/state"
_OCDBT = r"(manifest\.ocdbt|d/[0-9a-f]{32})"
_KNOWN = re.compile(
    rf"{METADATA}|{ARRAYS}/(_CHECKPOINT_METADATA|commit_success\.txt|orbax\.checkpoint|"
    rf"state/(_METADATA|_sharding|array_metadatas/process_0|{_OCDBT}|ocdbt\.process_0/{_OCDBT}))"
)
"""Names that files of a checkpoint can have, its manifest aside."""

_BLOCK_BYTES = 1 << 20
_LARGEST = 16 * MEGABYTE
"""Bytes of a JSON file; a leaf takes a few hundred in the longest."""


class Description(TypedDict):
    """The content of `metadata.json`; leaves are described by their dtypes and shapes."""

    step: int
    metadata: dict[str, Any]
    leaves: dict[str, str]


def read_description(checkpoint: Path) -> Description:
    """Reads `metadata.json`.

    Raises:
      UserError: it is not what it should be.
      OSError: it is missing or cannot be opened.
    """
    return read_json(checkpoint / METADATA, Description, limit=_LARGEST)


def make_manifest(checkpoint: Path) -> dict[str, int]:
    """The checksum of every file."""
    return {str(path.relative_to(checkpoint)): _checksum(path) for path in check_folder(checkpoint)}


def stored_bytes(checkpoint: Path) -> int:
    """Bytes of the files with arrays."""
    return sum(path.stat().st_size for path in check_folder(checkpoint / ARRAYS))


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None.

    Raises:
      UserError: the system does not let them be read, which says nothing about them.
    """
    if checkpoint.is_symlink():
        return "it is a link"
    try:
        found = {str(path.relative_to(checkpoint)) for path in check_folder(checkpoint)}
        manifest = read_json(checkpoint / MANIFEST, dict[str, int], limit=_LARGEST)
        for name in sorted(found - {MANIFEST}):
            if name not in manifest or not _KNOWN.fullmatch(name):
                return f"{name} does not belong there"
        for name, checksum in manifest.items():
            if name not in found:
                return f"{name[:100]} is missing"
            if _checksum(checkpoint / name) != checksum:
                return f"{name} has changed"
        step = read_description(checkpoint)["step"]
        if step != int(checkpoint.name):
            return f"{METADATA} is of step {step}"
        return _find_redirection(checkpoint)
    except UserError as error:
        return str(error)
    except OSError as error:
        name = Path(error.filename or MANIFEST).name
        if (helps := remedy(error)) is not None:
            raise UserError(
                f"checkpoint {checkpoint}: {name} cannot be read ({error.strerror}); {helps}"
            ) from error
        return f"{name} cannot be read: {error.strerror}"


class _Tree(TypedDict):
    tree_metadata: dict[str, Any]
    use_ocdbt: bool
    use_zarr3: bool


_LEADS = frozenset({"base", "bucket", "driver", "endpoint", "kvstore", "path", "spec", "url"})
"""Keys of TensorStore's specifications, by which they say where arrays are."""


def _find_redirection(checkpoint: Path) -> str | None:
    """What in Orbax's own files would lead it to other places or formats, or None."""
    folder = checkpoint / _STATE
    tree = read_json(folder / "_METADATA", _Tree, limit=_LARGEST)
    if not (tree["use_ocdbt"] and tree["use_zarr3"]):
        return "_METADATA says another format"
    others = (folder / "_sharding", folder / "array_metadatas" / "process_0")
    paths = (checkpoint / ARRAYS / "_CHECKPOINT_METADATA", *others)
    values = [tree, *(read_json(path, dict[str, Any], limit=_LARGEST) for path in paths)]
    for path, value in zip((folder / "_METADATA", *paths), values, strict=True):
        if leads := sorted(_LEADS.intersection(_keys(value))):
            return f"{path.name} says where arrays are, by {', '.join(leads)}"
    return None


def _keys(value: Any) -> Iterator[str]:
    """Keys in a value of JSON, but those of leaves, which may be called anything."""
    if isinstance(value, list):
        for part in value:
            yield from _keys(part)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if not name.startswith("("):
                yield name
            yield from _keys(part)


def _checksum(path: Path) -> int:
    checksum = 0
    with open_file(path) as file:
        while block := file.read(_BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum
