"""What XLA must not do on a CPU.

From 0.10.2 on, jaxlib fuses reductions by a new library, and some of its programs are silently
wrong: `jax.jit(lambda y: (jnp.log1p(y) - jnp.log1p(-y)).sum(-1))` gives zeros for a `[1024, 4]` of
halves, and sums of squares of matrix products lose terms (https://github.com/jax-ml/jax/issues/39103).
Without these fusions both are right, and training is as fast.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version

import numpy as np

FLAG = "--xla_cpu_experimental_ynn_fusion_type"

FIRST, AFTER = (0, 10, 2), (0, 13)
"""Versions of jaxlib that have the fusions and know the flag: XLA stops at flags unknown to it."""

TOO_LATE = (
    "behavior_priors was imported after JAX had used a device, too late to turn off fusions with "
    "which this jaxlib computes wrong sums on a CPU; import it before that, or set "
    f"XLA_FLAGS={FLAG}= for the process"
)

complaint: str | None = None
"""The sentence to refuse with what depends on right sums; None while they are."""


def mended_flags(flags: str, jaxlib_version: str) -> str:
    """The value of `XLA_FLAGS` without the fusions, unless it has its own word on them."""
    release = tuple(int(x) for x in jaxlib_version.split(".")[:3] if x.isdigit())
    if FLAG in flags or not FIRST <= release < AFTER:
        return flags
    return f"{flags} {FLAG}=".strip()


def mend() -> None:
    """Sets `XLA_FLAGS`, which JAX reads when it first uses a device, not when it is imported.

    Warns:
      RuntimeWarning: JAX has used a device before, and computes wrong sums.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    mended = mended_flags(flags, version("jaxlib"))
    if mended == flags:
        return
    os.environ["XLA_FLAGS"] = mended
    if is_in_use() and not sums_are_right():
        global complaint
        complaint = TOO_LATE
        warnings.warn(TOO_LATE, RuntimeWarning, stacklevel=3)


def is_in_use() -> bool:
    """Whether JAX has used a device, from when on some of its settings cannot be changed."""
    if "jax" not in sys.modules:
        return False
    config = sys.modules["jax"].config
    devices = config.jax_num_cpu_devices
    try:
        config.update("jax_num_cpu_devices", 2 if devices == 1 else 1)
    except RuntimeError:
        return True
    config.update("jax_num_cpu_devices", devices)
    return False


def sums_are_right() -> bool:
    """Whether the sums of the example above are what they should be, on a CPU."""
    import jax
    import jax.numpy as jnp

    half = np.full((1024, 4), 0.5, np.float32)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        sums = jax.jit(lambda y: (jnp.log1p(y) - jnp.log1p(-y)).sum(-1))(half)
    return bool(np.allclose(sums, 4 * np.log(3.0), rtol=1e-3))
