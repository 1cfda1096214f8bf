"""The environments of MuJoCo Playground (Zakka et al. 2025), an extra, as `playground/<name>`."""

from __future__ import annotations

import importlib
import subprocess
from typing import Any

from behavior_priors.envs.adapters.foreign import adapt, quiet
from behavior_priors.envs.family import Family, one_of
from behavior_priors.errors import UserError
from behavior_priors.types import Array, Env

IMPLEMENTATIONS = {"mjx": "jax", "warp": "warp"}
"""What Playground calls our engines."""


def make_playground(
    name: str,
    *,
    engine: str = "auto",
    episode_length: int | None = None,
    resets: int = 0,
    image_axes: str | None = None,
) -> Env:
    """Builds an environment of MuJoCo Playground.

    Args:
      name: as in `mujoco_playground.registry`.
      engine: `mjx`, for any device; `warp`, for GPUs of NVIDIA, whose sums may come out in another
        order each time; or `auto`, which is `mjx`.
      episode_length: steps until the time limit; None for what the environment's config says.
      resets: first states that there are; 0 for a new one each episode. See `foreign.adapt`.
      image_axes: what the axes of images are; None to look at shapes. See `observations.arrange`.

    Raises:
      UserError: Playground is not installed, an unknown environment or engine, one that the
        environment has not, a robot that could not be downloaded, or numbers that
        `foreign.adapt` refuses.
    """
    engine = "mjx" if engine == "auto" else engine
    if engine not in IMPLEMENTATIONS:
        raise UserError(
            f"--engine={engine} is not available here; use one of: auto, "
            f"{', '.join(IMPLEMENTATIONS)}"
        )
    if (hint := FAMILY.complaint(name)) is not None:
        raise UserError(f"playground/{name} is unknown; {hint}")
    registry = _registry()
    config = registry.get_default_config(name)
    if "impl" in config:
        config.impl = IMPLEMENTATIONS[engine]
    elif engine != "mjx":
        raise UserError(f"--engine={engine} is no choice that playground/{name} has; leave it out")
    try:
        with quiet():
            env = registry.load(name, config=config)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise UserError(
            f"playground/{name} needs files that Playground downloads with git at first use, and "
            f"that failed: {' '.join(str(error).split())}"
        ) from error
    return wrap_playground(
        env,
        f"playground/{name}",
        engine=engine,
        episode_length=config.episode_length if episode_length is None else episode_length,
        resets=resets,
        image_axes=image_axes,
    )


def wrap_playground(
    env: Any,
    name: str,
    *,
    engine: str = "mjx",
    episode_length: int,
    resets: int = 0,
    image_axes: str | None = None,
) -> Env:
    """Makes an environment of this library out of a `mujoco_playground.MjxEnv`.

    Args:
      env: in none of Playground's wrappers.
      name: of the environment made.
      engine: that it was built with, for `Env.info`.
      episode_length: steps until the time limit.
      resets: first states that there are; 0 for a new one each episode. See `foreign.adapt`.
      image_axes: what the axes of images are; None to look at shapes. See `observations.arrange`.

    Raises:
      UserError: see `foreign.adapt`.
    """
    return adapt(
        env,
        name,
        engine=f"playground {engine}",
        episode_length=episode_length,
        motion=_motion,
        resets=resets,
        image_axes=image_axes,
    )


def playground_members() -> tuple[str, ...]:
    """Names of the environments that Playground has.

    Raises:
      UserError: Playground is not installed.
    """
    return tuple(_registry().ALL_ENVS)


def _motion(state: Any) -> tuple[Array, ...]:
    return state.data.qpos, state.data.qvel


def _registry() -> Any:
    try:
        with quiet():
            return importlib.import_module("mujoco_playground").registry
    except ModuleNotFoundError as error:
        if error.name != "mujoco_playground":
            raise  # something that Playground itself imports
        raise UserError(
            "playground/ needs MuJoCo Playground: pip install 'behavior-priors[playground]'"
        ) from error


FAMILY = Family(make_playground, one_of("playground/", playground_members))
