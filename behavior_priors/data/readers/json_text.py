"""JSON that says what a recording is; nothing depends on its being right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from behavior_priors.data.names import MAX_LENGTH
from behavior_priors.data.paths import check_member

_MAX_BYTES = 16 * 2**20
"""Of a file: spaces of images list a bound for each pixel."""


def read_beside(folder: Path, name: str) -> Mapping[str, Any]:
    """The mapping in a file of a folder; empty where there is no such file, or something else.

    Raises:
      UserError: it is a link out of its folder, or no regular file.
    """
    check_member(folder, name)
    place = folder / name
    if not place.is_file() or place.stat().st_size > _MAX_BYTES:
        return {}
    return as_mapping(place.read_bytes())


def text_in(value: Any) -> str | None:
    """A name that somebody has written down, if it is one and of a usual length."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_LENGTH else None


def as_mapping(text: Any) -> Mapping[str, Any]:
    """The mapping that a text says, or is already; empty where it is none."""
    try:
        content = json.loads(text) if isinstance(text, str | bytes) else text
    except (ValueError, RecursionError):  # also of a number with thousands of digits
        return {}
    return content if isinstance(content, dict) else {}
