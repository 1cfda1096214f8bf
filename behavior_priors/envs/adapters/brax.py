"""The environments of the brax library (Freeman et al. 2021), as `brax/<name>`."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp

from behavior_priors.envs.adapters.foreign import adapt, quiet
from behavior_priors.envs.family import Family, one_of
from behavior_priors.errors import UserError
from behavior_priors.types import Array, Env

ENGINES = ("generalized", "spring", "positional", "mjx")
"""What brax calls backends. Each is a physics of its own: numbers from two are two tasks'."""

EPISODE_LENGTH = 1000
"""Steps, in the descriptions of all of brax's environments."""


def make_brax(
    name: str,
    *,
    engine: str = "auto",
    episode_length: int = EPISODE_LENGTH,
    resets: int = 0,
    image_axes: str | None = None,
) -> Env:
    """Builds an environment of brax.

    Args:
      name: as in `brax.envs`, those that a user registered there included.
      engine: one of `ENGINES`; or `auto`, the environment's own choice, which is `generalized` for
        those that come with brax: the only one that all of them have.
      episode_length: steps until the time limit.
      resets: first states that there are; 0 for a new one each episode. See `foreign.adapt`.
      image_axes: what the axes of images are; None to look at shapes. See `observations.arrange`.

    Raises:
      UserError: an unknown environment or engine, one that the environment has not, or
        numbers that `foreign.adapt` refuses.
    """
    if engine not in ("auto", *ENGINES):
        raise UserError(
            f"--engine={engine} is not available here; use one of: auto, {', '.join(ENGINES)}"
        )
    if (hint := FAMILY.complaint(name)) is not None:
        raise UserError(f"brax/{name} is unknown; {hint}")
    try:
        with quiet():
            env = _brax_envs().get_environment(name, **_backend(engine))
    except ValueError as error:
        raise UserError(
            f"--engine={engine} is no choice that brax/{name} has; use --engine=auto"
        ) from error
    return wrap_brax(
        env, f"brax/{name}", episode_length=episode_length, resets=resets, image_axes=image_axes
    )


def wrap_brax(
    env: Any,
    name: str,
    *,
    episode_length: int = EPISODE_LENGTH,
    resets: int = 0,
    image_axes: str | None = None,
) -> Env:
    """Makes an environment of this library out of a `brax.envs.Env`.

    Args:
      env: in none of brax's wrappers.
      name: of the environment made.
      episode_length: steps until the time limit.
      resets: first states that there are; 0 for a new one each episode. See `foreign.adapt`.
      image_axes: what the axes of images are; None to look at shapes. See `observations.arrange`.

    Raises:
      UserError: see `foreign.adapt`.
    """
    _brax_envs()  # mends what the environment may need
    backend = getattr(env, "backend", None)  # one without physics raises AttributeError
    return adapt(
        env,
        name,
        engine=f"brax {backend}" if backend else "brax",
        episode_length=episode_length,
        motion=_motion,
        resets=resets,
        image_axes=image_axes,
    )


def brax_members() -> tuple[str, ...]:
    """Names of the environments that brax has."""
    return tuple(_brax_envs()._envs)  # no public name lists them


def _backend(engine: str) -> dict[str, str]:
    return {} if engine == "auto" else {"backend": engine}


def _motion(state: Any) -> tuple[Array, ...]:
    physics = state.pipeline_state
    return () if physics is None else (physics.q, physics.qd)


@functools.cache
def _brax_envs() -> Any:
    with quiet():
        from brax import envs, fluid
    # brax 0.14.2 calls `clip` with an argument that jax 0.10 no longer has, in `swimmer` only.
    fluid.jp = SimpleNamespace(**{**vars(jnp), "clip": _clip})
    return envs


def _clip(x: Array, *args: Any, a_min: Any = None, **kwargs: Any) -> Array:
    x = x if a_min is None else jnp.maximum(x, a_min)
    return jnp.clip(x, *args, **kwargs)


FAMILY = Family(make_brax, one_of("brax/", brax_members))
