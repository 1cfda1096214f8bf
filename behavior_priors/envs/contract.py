"""Whether an environment of the user's keeps what `types.Env` promises, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.keys import key_shape
from behavior_priors.observations import is_image
from behavior_priors.system.faults import blaming
from behavior_priors.types import ActionSpec, ArraySpec, Env, State

_SCALARS = {
    "reward": jnp.floating,
    "terminated": jnp.bool_,
    "truncated": jnp.bool_,
    "diverged": jnp.bool_,
    "time": jnp.integer,
    "success": jnp.bool_,
}
"""Parts of a state that are one number each, and of what kind."""


def check_env(env: Any, name: str) -> None:
    """Refuses an environment that loops and rollouts could not use.

    Its `reset`, `step` and tasks are traced with abstract values: nothing is computed.

    Args:
      env: what a family has made.
      name: that the user called it by.

    Raises:
      UserError: it is no `Env`, its specs make no sense, one of its functions raises, or a state is
        not of the shapes and dtypes that the specs, or the state before, have.
    """
    if not isinstance(env, Env):
        raise UserError(
            f"{name}: its family made a {type(env).__name__}; it should be a "
            "behavior_priors.types.Env"
        )
    _check_specs(env, name)
    key = key_shape()
    action = jax.ShapeDtypeStruct((env.action_spec.size,), jnp.float32)
    with blaming(name, "reset"):
        first = jax.eval_shape(env.reset, key)
    _check_state(env, first, f"{name}: reset")
    with blaming(name, "step"):
        stepped = jax.eval_shape(env.step, first, action)
    _check_state(env, stepped, f"{name}: step")
    _check_alike(first, stepped, f"{name}: step")
    if env.step_then_reset is not None:
        with blaming(name, "step_then_reset"):
            both = jax.eval_shape(env.step_then_reset, first, action)
        for state in both:
            _check_state(env, state, f"{name}: step_then_reset")
            _check_alike(first, state, f"{name}: step_then_reset")
    if env.tasks is not None:
        tasks, begin = env.tasks, env.tasks.begin
        with blaming(name, "tasks"):
            begun = jax.eval_shape(
                lambda key: begin(jax.tree.map(lambda x: x[0], tasks.sample(key, 1)), key), key
            )
        _check_state(env, begun, f"{name}: tasks.begin")
        _check_alike(first, begun, f"{name}: tasks.begin")


def _check_specs(env: Env, name: str) -> None:
    if not isinstance(env.episode_length, int | np.integer) or env.episode_length < 1:
        raise UserError(f"{name}: episode_length={env.episode_length} should be at least 1")
    if not isinstance(env.action_spec, ActionSpec) or env.action_spec.size < 1:
        raise UserError(f"{name}: action_spec={env.action_spec} should be an ActionSpec of numbers")
    if not isinstance(env.observation_spec, Mapping) or not env.observation_spec:
        raise UserError(f"{name}: observation_spec should be a dictionary of ArraySpec by name")
    for key, spec in env.observation_spec.items():
        if not isinstance(spec, ArraySpec):
            raise UserError(f"{name}: observation_spec[{key!r}] should be an ArraySpec")
        for part in ("location", "scale"):
            value = np.asarray(getattr(spec, part))
            try:
                fits = np.broadcast_shapes(value.shape, spec.shape) == tuple(spec.shape)
            except ValueError:
                fits = False
            if not fits or not np.isfinite(value).all():
                raise UserError(
                    f"{name}: {part} of the observation {key} should be finite numbers that "
                    f"broadcast against {tuple(spec.shape)}"
                )
        if (np.asarray(spec.scale) == 0).any():
            raise UserError(f"{name}: scale of the observation {key} should not be 0")
        shape = tuple(spec.shape)
        if is_image(shape, spec.dtype) and (0 in shape or shape[0] < min(shape[1:])):
            raise UserError(
                f"{name}: the observation {key} is an image of shape {shape}; it should be "
                "(height, width, channels)"
            )


def _check_state(env: Env, state: Any, where: str) -> None:
    if not isinstance(state, State):
        raise UserError(
            f"{where} gave a {type(state).__name__}; it should be a behavior_priors.types.State"
        )
    if not isinstance(state.observation, Mapping):
        raise UserError(f"{where} gave an observation that is no dictionary of arrays by name")
    for name, spec in env.observation_spec.items():
        if name not in state.observation:
            there = ", ".join(state.observation) or "nothing"
            raise UserError(f"{where} gave no observation {name}; it gave {there}")
        x = state.observation[name]
        if _shape(x) != tuple(spec.shape) or _dtype(x) != np.dtype(spec.dtype):
            raise UserError(
                f"{where} gave the observation {name} as {_dtype(x)} {_shape(x)}; its spec has "
                f"{np.dtype(spec.dtype)} {tuple(spec.shape)}"
            )
    for name, kind in _SCALARS.items():
        x = getattr(state, name)
        if _shape(x) != () or not jnp.issubdtype(_dtype(x), kind):
            raise UserError(
                f"{where} gave {name} as {_dtype(x)} {_shape(x)}; it should be one number of "
                f"{kind.__name__.rstrip('_')}"
            )


def _check_alike(first: State, state: State, where: str) -> None:
    """Loops carry states from step to step, so all of them have one structure."""
    parts: Any = jax.tree.structure(first)
    if parts != jax.tree.structure(state):
        raise UserError(f"{where} gave a state of other parts than reset does")
    before, now = (dict(jax.tree_util.tree_leaves_with_path(x)) for x in (first, state))
    for path, x in now.items():
        was = before[path]
        if _shape(x) != _shape(was) or _dtype(x) != _dtype(was):
            part = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(
                f"{where} gave {part} as {_dtype(x)} {_shape(x)}; reset gave {_dtype(was)} "
                f"{_shape(was)}"
            )


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(np.shape(x))


def _dtype(x: Any) -> Any:
    return x.dtype if hasattr(x, "dtype") else np.dtype(type(x))
