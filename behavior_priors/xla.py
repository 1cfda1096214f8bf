"""What XLA must not do on a CPU.

From 0.10.2 on, jaxlib fuses reductions by a new library, and some of its programs are silently
wrong: `jax.jit(lambda y: (jnp.log1p(y) - jnp.log1p(-y)).sum(-1))` gives zeros for a `[1024, 4]` of
halves, and sums of squares of matrix products lose terms (https://github.com/jax-ml/jax/issues/39103).
Without these fusions both are right, and training is as fast.
"""

from __future__ import annotations

import os
from importlib.metadata import version

FLAG = "--xla_cpu_experimental_ynn_fusion_type"

FIRST, AFTER = (0, 10, 2), (0, 13)
"""Versions of jaxlib that have the fusions and know the flag: XLA stops at flags unknown to it."""


def mended_flags(flags: str, jaxlib_version: str) -> str:
    """The value of `XLA_FLAGS` without the fusions, unless it has its own word on them."""
    release = tuple(int(x) for x in jaxlib_version.split(".")[:3] if x.isdigit())
    if FLAG in flags or not FIRST <= release < AFTER:
        return flags
    return f"{flags} {FLAG}=".strip()


def mend() -> None:
    """Sets `XLA_FLAGS`, which JAX reads when it first uses a device, not when it is imported."""
    flags = os.environ.get("XLA_FLAGS", "")
    mended = mended_flags(flags, version("jaxlib"))
    if mended != flags:
        os.environ["XLA_FLAGS"] = mended
