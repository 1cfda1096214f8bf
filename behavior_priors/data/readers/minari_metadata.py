"""What a Minari dataset says about itself: JSON in `metadata.json`, or in the file's attributes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from behavior_priors.data.bounds import Bounds
from behavior_priors.data.paths import check_member

_FILE = "metadata.json"
_MAX_BYTES = 16 * 2**20
"""Of the file: spaces of images list a bound for each pixel."""


def read_metadata(path: Path, attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Everything that there is, what counts most first.

    Args:
      path: `main_data.hdf5`, with `metadata.json` beside it or in the folder above.
      attributes: of the file's root.

    Raises:
      UserError: `metadata.json` is a link out of its folder, or no regular file.
    """
    said: list[Mapping[str, Any]] = [
        {key: attributes.get(key) for key in ("env_spec", "action_space") if key in attributes}
    ]
    for folder in (path.parent, path.parent.parent):
        check_member(folder, _FILE)
        place = folder / _FILE
        if place.is_file() and place.stat().st_size <= _MAX_BYTES:
            value = _parse(place.read_bytes())
            if isinstance(value, dict):
                said.append(value)
    return said


def environment_id(metadata: list[Mapping[str, Any]]) -> str | None:
    """The environment's id in `env_spec`."""
    for spec in _objects(metadata, "env_spec"):
        if isinstance(spec.get("id"), str):
            return spec["id"]
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


def _objects(metadata: list[Mapping[str, Any]], key: str) -> Iterator[Mapping[str, Any]]:
    """The entries of a name, which may be JSON text in JSON."""
    for said in metadata:
        value = said.get(key)
        if isinstance(value, str | bytes):
            value = _parse(value)
        if isinstance(value, dict):
            yield value


def _parse(text: str | bytes) -> Any:
    """The value of a JSON text, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
