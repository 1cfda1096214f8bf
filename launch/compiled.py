"""A folder for compiled programs, which runs of a sweep share: most of them compile the same."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""JAX's own name for the folder; who has set it keeps it."""


def share_compiled() -> None:
    """Has the processes that this one starts keep what they compile, and find it again.

    It is kept among the user's own caches and not in the folder of the sweep: that may come from
    somebody else, and what is found there would be executed. Each kind of processor has a folder,
    since one cannot run what was compiled for another.
    """
    own = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        own = own if own.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return  # a user without a home compiles again
    os.environ.setdefault(VARIABLE, str(own / "behavior_priors" / "compiled" / _processor()))


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
