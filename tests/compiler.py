"""How the tests compile: code that is compiled fast rather than fast code.

Compiling is most of what the suite does, and what takes most of that is how XLA fuses on a CPU.
`tests/system/test_xla.py` compares with what is compiled as users have it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

_FLAGS = {
    "0.10": (
        "--xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_enable_concurrency_optimized_scheduler=false"
        " --xla_cpu_parallel_codegen_split_count=1"
    )
}
"""By releases of jaxlib, since XLA stops at flags that are unknown to it."""

DEVICES = 2
"""Devices of a CPU: one would hide whatever goes wrong between two."""

UNOPTIMIZED = {"jax_disable_most_optimizations": True, "jax_num_cpu_devices": DEVICES}
"""Settings of JAX for processes that compile much and compute little."""


def fast_flags(*others: str) -> str:
    """A value of `XLA_FLAGS`: the others, and those with which this jaxlib compiles fast."""
    release = ".".join(version("jaxlib").split(".")[:2])
    # each once: those of a process that another has started would differ otherwise
    return " ".join(dict.fromkeys(" ".join((*others, _FLAGS.get(release, ""))).split()))


VARIABLE = "BEHAVIOR_PRIORS_TESTS_COMPILED"
"""Tells a process that another has started where compiled programs are."""

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "behavior-priors"
"""Folder in which one suite leaves what it has compiled for the next one."""

_MOST_BYTES = 4e9
_ABANDONED_SECONDS = 24 * 3600


@functools.cache
def compiled() -> Path:
    """Folder of compiled programs, for all workers of a suite and all that they start.

    The first process takes what the last suite has left, which nobody else has meanwhile, and
    removes the folder in the end, unless `keep_compiled` has been called. So a suite that was
    killed while it wrote leaves nothing to the next.
    """
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    KEPT.mkdir(parents=True, exist_ok=True)
    for other in KEPT.glob("compiling-*"):
        with contextlib.suppress(OSError):
            if time.time() - other.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="compiling-", dir=KEPT))
    with contextlib.suppress(FileNotFoundError):
        (KEPT / "compiled").rename(folder)
    os.environ[VARIABLE] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def keep_compiled() -> None:
    """Leaves what a suite has compiled for the next one, once nothing writes any more."""
    folder = compiled()
    if sum(file.stat().st_size for file in folder.iterdir()) > _MOST_BYTES:
        return
    # another suite has left its own in the meantime: one is as good as the other
    with contextlib.suppress(OSError):
        folder.rename(KEPT / "compiled")


def cache_settings(*, writes: bool = True) -> dict[str, str | float]:
    """Settings of JAX with which what one process compiles is there for all.

    Args:
      writes: not for a process that may be killed while it writes a compiled program.
    """
    return {
        "jax_compilation_cache_dir": str(compiled()),
        "jax_persistent_cache_min_compile_time_secs": 0.0 if writes else 1e9,
        "jax_persistent_cache_min_entry_size_bytes": -1,
        # of GPUs: the folder would be part of every name
        "jax_persistent_cache_enable_xla_caches": "none",
    }
