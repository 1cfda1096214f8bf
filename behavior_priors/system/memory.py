"""Whether what a run asks for has room on its device, before minutes are spent on the way there."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import jax
import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.types import Env


def transition_bytes(env: Env) -> int:
    """The bytes of one transition, as replay stores it."""
    specs = env.observation_spec.values()
    observed = sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)
    numbers, marks = 1 + env.action_spec.size, 3
    return 2 * observed + 4 * numbers + marks


def device_bytes() -> float:
    """The memory of the device that arrays are put on; infinite where nothing says how much."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def check_room(env: Env, transitions: Mapping[str, int]) -> None:
    """Refuses what has no room even if there were nothing else.

    Args:
      env: whose transitions they are.
      transitions: how many there will be at the same time, by the field that says so.

    Raises:
      UserError: there is such a field.
    """
    each, room = transition_bytes(env), device_bytes()
    for field, number in transitions.items():
        if number * each > room:
            raise UserError(
                f"{field} should be smaller: {number} transitions of {env.name} take "
                f"{number * each / 1e9:.1f} GB, and there are {room / 1e9:.1f} GB"
            )
