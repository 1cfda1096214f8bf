"""Docstrings for packages that cannot do without, where Python drops them.

With `python -OO`, or `PYTHONOPTIMIZE=2`, TensorFlow Probability, which distrax is built on, fails
while it is imported: it joins docstrings that are not there.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

PACKAGES = ("tensorflow_probability",)


class _Loader(SourceFileLoader):
    """Compiles a module anew, as `python -O` does: what Python has cached is without docstrings."""

    def path_stats(self, path: Any) -> Any:
        raise OSError(f"nothing that is cached of {path} is of use")

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:  # type: ignore[override]
        return super().source_to_code(data, path, _optimize=1)  # type: ignore[call-arg]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules of these packages where Python does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def are_dropped() -> bool:
    """Whether this Python runs without docstrings."""
    return sys.flags.optimize >= 2


def keep() -> None:
    """Sees to it that these packages can be imported."""
    if are_dropped() and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
