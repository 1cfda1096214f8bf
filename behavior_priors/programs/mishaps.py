"""What can befall every program, and the one line that it then ends with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from behavior_priors.errors import UserError
from behavior_priors.system import xla
from behavior_priors.system.files import NO_SPACE

_AVERAGES = "in metrics NaN says that there was nothing to average"

SETTINGS: dict[str, tuple[Any, str]] = {
    "jax_enable_x64": (False, "programs compute in 32 bits"),
    "jax_numpy_dtype_promotion": ("standard", "libraries that programs use mix dtypes"),
    "jax_numpy_rank_promotion": ("allow", "libraries that programs use mix ranks"),
    "jax_debug_nans": (False, _AVERAGES),
    "jax_debug_infs": (False, _AVERAGES),
    "jax_transfer_guard": ("allow", "programs read their metrics"),
}
"""What JAX may be told by the environment, what programs need instead, and why."""


def prepare_jax() -> None:
    """Refuses a JAX that computes wrong sums, and sets back what programs cannot run with.

    Raises:
      UserError: JAX had used a device before `behavior_priors` was imported.
    """
    jax = sys.modules.get("jax")
    if jax is None:  # a program that has not imported JAX by now only starts others
        return
    if xla.complaint is not None:
        raise UserError(xla.complaint)
    for name, (needed, reason) in SETTINGS.items():
        given = getattr(jax.config, name, None)
        if given is not None and given != needed:
            jax.config.update(name, needed)
            line = f"{name.upper()}={given} is set back to {needed}: {reason}"
            print(f"note: {line}", file=sys.stderr)
    if getattr(jax.config, "jax_default_matmul_precision", PRECISION) is None:
        jax.config.update("jax_default_matmul_precision", PRECISION)


PRECISION = "highest"
"""Products of float32 matrices, unless `JAX_DEFAULT_MATMUL_PRECISION` has its own word on them.

By default a GPU keeps 10 bits of each factor and a TPU 7; a CPU always keeps all 23. On an H200,
likelihoods of a fitted real-NVP were wrong by up to 0.24 nats with 10, and fitting was a fifth
faster.
"""


def explain(error: Exception, flags: Mapping[str, Any]) -> str | None:
    """The line for an error that is none of the program's; None for one that is.

    Args:
      error: that the program ended with.
      flags: what the command line gave, by name.
    """
    if isinstance(error, OSError):
        return _of_path(error, flags)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"out of memory ({' '.join(str(error).split())[:200]}); fewer environments, episodes "
            "or examples side by side and smaller networks take less"
        )
    return _of_devices()


def _of_path(error: OSError, flags: Mapping[str, Any]) -> str | None:
    if error.errno in NO_SPACE:
        return f"no space left on device while writing {error.filename or 'a file'}"
    if error.filename is None:
        return None
    path = str(error.filename)
    begins = (name for name, x in flags.items() if isinstance(x, str) and x and path.startswith(x))
    flag = next((f"--{name}=" for name in begins), "")
    return f"{flag}{path}: {error.strerror}"


def _of_devices() -> str | None:
    """Says which platform JAX does not have here, if that is so."""
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    try:
        jax.devices()
    except Exception as error:
        # JAX itself may fail without a word
        wanted = jax.config.jax_platforms  # type: ignore[attr-defined]
        reason = " ".join(str(error).partition(" (set JAX_")[0].split()).rstrip(".")
        return (
            f"JAX_PLATFORMS={wanted}: {reason or 'JAX finds no such device here'}; leave it out, "
            "or set it to cpu"
        )
    return None
