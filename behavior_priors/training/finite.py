"""Whether the state of a run consists of numbers, and who is to blame where it does not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp

_MEMORIES = ("replay", "context")
_OF_THE_ENVIRONMENT = (*_MEMORIES, "envs", "episode_return")
"""Parts of a run's state that hold what an environment gave."""

_SIMULATION = "envs.simulation."
"""An environment's own notes, in which infinity may stand for something that is not there yet."""


def non_finite(state: Any) -> dict[str, jax.Array]:
    """The floating-point leaves of a pytree that hold NaN or infinity, by paths in it.

    One reduction on the device, however large the state is, and one transfer.
    """
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree.leaves_with_path(state)
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.size
    }
    if not leaves:
        return {}
    is_good = jax.device_get(_are_numbers(leaves))
    return {name: leaf for name, leaf in leaves.items() if not is_good[name]}


@jax.jit
def _are_numbers(leaves: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    return {
        name: ~jnp.isnan(x).any() if name.startswith(_SIMULATION) else jnp.isfinite(x).all()
        for name, x in leaves.items()
    }


def find_culprit(broken: Collection[str], environment: str) -> str | None:
    """What to say where the environment is at fault, None where it need not be.

    A learner that breaks chooses actions that are no numbers, and then no environment returns any.

    Args:
      broken: leaves of a run's state, by their paths.
      environment: its name.
    """
    given = [name for name in broken if name.partition(".")[0] in _OF_THE_ENVIRONMENT]
    is_remembered = any(name.partition(".")[0] in _MEMORIES for name in given)
    if any(name.endswith(".action") and "observation" not in name for name in given):
        return None
    if not given or not (is_remembered or len(given) == len(broken)):
        return None
    return (
        f"{given[0]} holds NaN or infinity, which {environment} returned; an environment should "
        "give finite numbers, or end the episode as diverged"
    )
