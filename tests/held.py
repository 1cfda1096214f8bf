"""A lock that another process has, as far as this one can tell."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """A lock that another process has, as far as this one can tell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("process 42 on there since then\n")
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
