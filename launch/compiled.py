"""A folder for compiled programs, which runs of a sweep share: most of them compile the same."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""JAX's own name for the folder; who has set it keeps it."""


def share_compiled(root: Path) -> None:
    """Has the processes that this one starts keep what they compile, and find it again.

    Args:
      root: of the sweep. Each kind of processor has a folder there, since one cannot run what was
        compiled for another.
    """
    os.environ.setdefault(VARIABLE, str(root.absolute() / "compiled" / _processor()))


def _processor() -> str:
    """A name for what this machine's processor is and can."""
    facts = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    facts += [
        next((x for x in lines if x.startswith(name)), "") for name in ("model name", "flags")
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
