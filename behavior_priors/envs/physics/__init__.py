"""Physics engines behind one interface, chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from behavior_priors.envs.physics.base import Physics
from behavior_priors.types import UserError

ENGINES = ("c",)


def make_physics(engine: str, models: Sequence[Any], substeps: int) -> Physics:
    """Builds the engine of that name; `auto` takes the fastest one of this machine.

    Args:
      engine: `auto` or one of `ENGINES`.
      models: a `mujoco.MjModel` a scene, of equal layout.
      substeps: physics steps in one control step.

    Raises:
      UserError: no such engine here.
    """
    if engine in ("auto", "c"):
        from behavior_priors.envs.physics.c_engine import make_c_physics

        return make_c_physics(models, substeps)
    raise UserError(
        f"--engine={engine} is not available here; use one of: auto, {', '.join(ENGINES)}"
    )
