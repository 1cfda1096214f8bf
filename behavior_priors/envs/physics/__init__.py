"""Physics engines behind one interface, chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import mujoco

from behavior_priors.envs.physics.base import Physics
from behavior_priors.errors import UserError

ENGINES = ("c", "mjx", "warp")
"""MuJoCo in C, for the CPU; MJX, for any accelerator; MJX on Warp, for GPUs of NVIDIA."""

# a warning is reported through `State.diverged`, not in a file in the user's folder; those of other
# people's models are nothing that a user could mend
_LOG = mujoco.MjLogConfig.get()
_LOG.logto_file = False
_LOG.logto_console = False
_LOG.set()


def make_physics(engine: str, models: Sequence[Any], substeps: int) -> Physics:
    """Builds the engine of that name.

    Args:
      engine: one of `ENGINES`; or `auto`, which is `c` where JAX computes on the CPU and `mjx`
        elsewhere. `warp` is an extra whose sums may come out in another order each time, so that
        it is taken only where it is asked for.
      models: a `mujoco.MjModel` a scene, of equal layout.
      substeps: physics steps in one control step.

    Raises:
      UserError: no such engine here.
      ValueError: scenes that differ in more than numbers.
    """
    if engine == "auto":
        engine = "c" if jax.default_backend() == "cpu" else "mjx"
    if engine == "c":
        from behavior_priors.envs.physics.c_engine import make_c_physics

        return make_c_physics(models, substeps)
    if engine in ("mjx", "warp"):
        from behavior_priors.envs.physics.mjx_engine import make_mjx_physics

        return make_mjx_physics(models, substeps, impl="jax" if engine == "mjx" else "warp")
    raise UserError(
        f"--engine={engine} is not available here; use one of: auto, {', '.join(ENGINES)}"
    )
