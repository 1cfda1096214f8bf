"""Environments of other JAX libraries, whose states have brax's fields.

A state has `obs`, `reward`, `done`, `metrics` and `info`, and can `replace` them. What such
libraries leave to wrappers is done here instead: theirs write the next episode's first observation
over the last one's, and make one number of the two ways in which an episode ends.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from behavior_priors.envs.base import first_state
from behavior_priors.errors import UserError
from behavior_priors.observations import Arrangement, arrange, name_of
from behavior_priors.system.faults import blaming
from behavior_priors.types import ActionSpec, Array, ArraySpec, Env, Observation, PRNGKey, State


class Foreign(Protocol):
    """The part of an environment that is used: pure, unbatched, actions in [-1, 1]."""

    @property
    def action_size(self) -> int:
        """How many numbers an action has."""

    def reset(self, rng: Array) -> Any:
        """Begins an episode from a key `[2]` of numbers, as older JAX had them."""

    def step(self, state: Any, action: Array) -> Any:
        """Advances by one action."""


def adapt(
    env: Foreign,
    name: str,
    *,
    engine: str,
    episode_length: int,
    motion: Callable[[Any], Any],
    resets: int = 0,
    image_axes: str | None = None,
) -> Env:
    """Makes an environment of this library out of another one's.

    Nothing of an episode is left in the next one, neither in the physics nor in `info`. The
    environment's own `done` terminates, the time limit truncates. A motion that is not finite, or
    an observation or a reward that cannot be learned from (`guard`), means that the simulation
    diverged: that truncates, with the last good observation and reward 0, whatever `done` says.
    Actions are limited to [-1, 1]. Observations are what `observations.arrange` makes of them.

    Args:
      env: bare, in none of its library's wrappers.
      name: of the environment made.
      engine: the physics engine, for `Env.info`.
      episode_length: steps until the time limit.
      motion: `state -> pytree`, the positions and velocities of the simulation.
      resets: 0, and every episode begins in a new first state; or how many first states there are
        in all, made here, of which each episode draws one. All runs then share them, training and
        evaluation too, so that nothing is learned of how well a policy does in others. It spares
        the reset that rides on every step.
      image_axes: see `observations.arrange`.

    Raises:
      UserError: the time limit is below 1, `resets` below 0, the environment raises, or a part of
        its state is not what it should be.
    """
    for option, value, least in (("episode_length", episode_length, 1), ("resets", resets, 0)):
        if value < least:
            raise UserError(f"{name}: {option} must be at least {least}, got {value}")
    env_reset, env_step = _without_deprecations(env.reset), _without_deprecations(env.step)
    with blaming(name, "reset"):
        template = jax.eval_shape(env_reset, jax.ShapeDtypeStruct((2,), jnp.uint32))
    parts: Any = jax.tree.structure(template)
    _check_template(template, name)
    named = _name(template.obs)
    names = list(named)  # in the order of the tree
    paths = {name_of(path): path for path in _paths(template.obs)}
    plans = {
        key: arrange(x.shape, x.dtype, f"{name}: observation {key}", image_axes)
        for key, x in named.items()
    }
    # what cannot be had back from what is observed has to be kept
    keeps_obs = any(
        not plans[key].is_trivial or plans[key].dtype != x.dtype for key, x in named.items()
    )

    def observe(obs: Any) -> dict[str, Array]:
        return {key: plans[key].apply(x) for key, x in _name(obs).items()}

    def put_away(state: Any) -> Any:
        obs = state.obs if keeps_obs else None
        return state.replace(obs=obs, reward=None, done=None)

    def like_template(state: Any) -> Any:
        """A state with the dtypes of every other, so that loops can carry it."""
        if parts != jax.tree.structure(state):
            raise UserError(f"{name}: a step must return a state of the same parts as a reset")
        for x, part in zip(*map(jax.tree.leaves, (state, template)), strict=True):
            if jnp.shape(x) != part.shape:
                raise UserError(
                    f"{name}: a step gave an array {jnp.shape(x)} where the reset gave {part.shape}"
                )
        return jax.tree.map(lambda x, t: jnp.asarray(x, t.dtype), state, template)

    def make_first(key: PRNGKey) -> Any:
        with blaming(name, "reset"):
            return like_template(env_reset(jax.random.key_data(key)))

    def draw_first(key: PRNGKey) -> Any:
        number = jax.random.randint(key, (), 0, resets)
        return jax.tree.map(lambda x: x[number], firsts)

    if resets:
        firsts = jax.jit(jax.vmap(make_first))(jax.random.split(jax.random.key(0), resets))

    def reset(key: PRNGKey) -> State:
        key, reset_key = jax.random.split(key)
        first = draw_first(reset_key) if resets else make_first(reset_key)
        return first_state(key, observe(first.obs), put_away(first))

    def step(state: State, action: Array) -> State:
        before = state.simulation.replace(
            reward=jnp.asarray(state.reward, template.reward.dtype),
            done=jnp.zeros((), template.done.dtype),
        )
        if not keeps_obs:
            observed = [state.observation[key] for key in names]
            structure = jax.tree.structure(template.obs)
            before = before.replace(obs=jax.tree.unflatten(structure, observed))
        # A step may write into the dictionaries of the state that it is given.
        before = jax.tree.map(lambda x: x, before)
        with blaming(name, "step"):
            after = like_template(env_step(before, jnp.clip(action, -1.0, 1.0)))
        diverged = ~_is_finite(motion(after))
        time = state.time + 1
        terminated = after.done.astype(bool) & ~diverged
        return State(
            key=state.key,
            observation=_either(diverged, state.observation, observe(after.obs)),
            reward=jnp.where(diverged, 0.0, after.reward.astype(jnp.float32)),
            terminated=terminated,
            truncated=((time >= episode_length) & ~terminated) | diverged,
            diverged=diverged,
            time=time,
            success=state.success,
            simulation=put_away(after),
        )

    return Env(
        name=name,
        observation_spec={key: _spec(plan) for key, plan in plans.items()},
        action_spec=ActionSpec(env.action_size),
        episode_length=episode_length,
        reset=reset,
        step=step,
        measures_success=False,
        info={
            "engine": engine,
            "given": {
                key: {
                    "path": paths[key],
                    "given": list(x.shape),
                    "axes": list(plans[key].axes),
                }
                for key, x in named.items()
            },
        },
    )


def _check_template(template: Any, name: str) -> None:
    """Refuses states of whose parts nothing can be made."""
    for part in ("obs", "reward", "done", "info"):
        if not hasattr(template, part):
            raise UserError(f"{name}: reset gave a state without {part}")
    named = _name(template.obs)
    if not named or len(named) != len(jax.tree.leaves(template.obs)):
        raise UserError(
            f"{name}: an observation must be an array, or arrays of different names; the names are "
            f"{', '.join(named) or 'none'}"
        )
    for part in ("reward", "done"):
        x = getattr(template, part)
        if getattr(x, "shape", None) != ():
            shape = getattr(x, "shape", type(x).__name__)
            raise UserError(f"{name}: reset gave {part} as {shape}; it should be one number, ()")


def _spec(plan: Arrangement) -> ArraySpec:
    """Bytes of images are standardised; other arrays are as typical as they come."""
    if plan.dtype == np.uint8:
        return ArraySpec(plan.shape, np.uint8, 127.5, 127.5)
    return ArraySpec(plan.shape, np.float32)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps libraries from telling, while they load, of parts that they lack or no longer tend.

    MuJoCo would also leave a log file in the working directory.
    """
    before, silent = mujoco.MjLogConfig.get(), mujoco.MjLogConfig.get()
    silent.logto_file = silent.logto_console = False
    silent.set()
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        before.set()


def _without_deprecations(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that may use what its own dependencies have deprecated: users cannot help it."""

    @functools.wraps(function)
    def tolerant(*args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return function(*args)

    return tolerant


def _name(observation: Any) -> dict[str, Any]:
    """The arrays of an observation, nested or not, in the order of JAX's trees."""
    leaves = jax.tree.leaves(observation)
    return {name_of(path): x for path, x in zip(_paths(observation), leaves, strict=True)}


def _paths(observation: Any) -> list[list[str]]:
    """The keys that lead to each array of an observation, in the order of JAX's trees."""
    return [
        [] if not path else jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        for path, _ in jax.tree_util.tree_flatten_with_path(observation)[0]
    ]


def _is_finite(tree: Any) -> Array:
    """`[]` bool: of all numbers in a pytree that could be something else."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    if not leaves:
        return jnp.ones((), bool)
    return jnp.stack([jnp.isfinite(x).all() for x in leaves]).all()


def _either(condition: Array, yes: Observation, no: Observation) -> Observation:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
