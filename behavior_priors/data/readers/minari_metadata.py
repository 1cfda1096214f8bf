"""What a Minari dataset says about itself: JSON in `metadata.json`, or in the file's attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from behavior_priors.data.bounds import Bounds
from behavior_priors.data.readers.json_text import as_mapping, read_beside, text_in

DATA_FILE = "main_data.hdf5"
_FILE = "metadata.json"


def read_metadata(path: Path, attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Everything that there is, what counts most first.

    Args:
      path: a file of the data. If it is called as Minari calls it, `main_data.hdf5`, the
        `metadata.json` beside it or in the folder above is its own.
      attributes: of the file's root.

    Raises:
      UserError: `metadata.json` is a link out of its folder, or no regular file.
    """
    said: list[Mapping[str, Any]] = [
        {key: attributes.get(key) for key in ("env_spec", "action_space") if key in attributes}
    ]
    if path.name == DATA_FILE:
        said += [read_beside(folder, _FILE) for folder in (path.parent, path.parent.parent)]
    return said


def environment_id(metadata: list[Mapping[str, Any]]) -> str | None:
    """The environment's id in `env_spec`."""
    for spec in _objects(metadata, "env_spec"):
        if name := text_in(spec.get("id")):
            return name
    return None


def action_bounds(metadata: list[Mapping[str, Any]], size: int) -> Bounds | None:
    """The finite bounds of the `Box` in `action_space`, if there is one of that size."""
    for space in _objects(metadata, "action_space"):
        if space.get("type") == "Box":
            bounds = Bounds.read(
                space.get("low"), space.get("high"), size, "the file's action_space"
            )
            if bounds is not None:
                return bounds
    return None


def observation_space(metadata: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What `observation_space` says; empty for nothing."""
    return next(_objects(metadata, "observation_space"), {})


def _objects(metadata: list[Mapping[str, Any]], key: str) -> Iterator[Mapping[str, Any]]:
    """The entries of a name, which may be JSON text in JSON."""
    for said in metadata:
        value = as_mapping(said.get(key))
        if value:
            yield value
