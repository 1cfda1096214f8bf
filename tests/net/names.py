"""What is called otherwise on the revision before: patterns, and what their matches are after.

Each is looked for in a name as a whole, as `re.sub` does; a rebuilding adds its own lines here and
takes them out when it is done.
"""

from __future__ import annotations

import re

FILES: dict[str, str] = {}
"""In paths of a run's folder."""

FLAGS: dict[str, str] = {}
"""In lines of `flags.txt`."""

NUMBERS: dict[str, str] = {}
"""In names of metrics and results."""

ARRAYS: dict[str, str] = {}
"""In the dotted paths of parameters and all else that checkpoints and files of arrays hold."""

ONLY_BEFORE: tuple[str, ...] = ()
"""Whole names, as the other tables have made them, that may be missing after: patterns."""

ONLY_AFTER: tuple[str, ...] = ()
"""Those that may be new."""


def renamed(name: str, table: dict[str, str]) -> str:
    """A name of before, as it is after."""
    for pattern, replacement in table.items():
        name = re.sub(pattern, replacement, name)
    return name


def allowed(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is the whole of a name."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)
