"""gymnasium's environments, vectorised on the host: `gym/<id>` (see `gym_names`).

An episode lives in an instance on the host, and a state is a handle to it that is good for one
step. JAX sees pure functions; nothing but the handles keeps them in order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs import gym_host
from behavior_priors.envs.base import first_state, select
from behavior_priors.envs.family import Family
from behavior_priors.envs.gym_host import HEADER, Host
from behavior_priors.envs.gym_names import complaint, imports, require_gymnasium
from behavior_priors.envs.gym_spaces import BoxAction, Layout, read_action
from behavior_priors.envs.host_calls import call_host
from behavior_priors.types import ActionSpec, Array, Env, PRNGKey, State, UserError

_LOOK_STEPS = 1000
"""Random steps that show what is typical of an observation."""

_LOOK_EPISODE = 100
"""Of these at most so many in one episode, because beginnings differ most."""


class Handle(NamedTuple):
    """Where an episode lives.

    Attributes:
      instance: `[]` int32, number of the instance on the host.
      tick: `[]` int32, which of its states this is.
    """

    instance: Array
    tick: Array


def make_gym(
    id_: str,
    *,
    engine: str = "auto",
    side_by_side: int = 16,
    episode_length: int | None = None,
    **options: Any,
) -> Env:
    """Builds an environment of gymnasium's.

    Actions are rescaled from [-1, 1] to the environment's bounds, and limited to them. Observations
    are as in `gym_spaces.Layout`; where a space's bounds do not say what values are typical, 1000
    random steps do, the same ones every time. `info["success"]`, or `info["is_success"]`, is
    `State.success`. A step diverges where it gives NaN or infinity, or where MuJoCo has given the
    simulation up: it is then truncated, and the observation stays what it was.

    `render` is there if the environment is made with `render_mode=rgb_array`, which also draws the
    beginning of every episode.

    Args:
      id_: that gymnasium knows, or `module:id` (see `gym_names`).
      engine: there is no choice.
      side_by_side: instances that a rollout makes at most; some take more than 100 MB each.
      episode_length: instead of the environment's own time limit.
      **options: for `gymnasium.make`.

    Raises:
      UserError: gymnasium is missing, or cannot make it; or it has no time limit, or actions or
        observations that cannot be used.
    """
    name = f"gym/{id_}"
    if engine != "auto":
        raise UserError(f"--engine={engine} is not for {name}, which has its own; leave it out")
    gymnasium = require_gymnasium()
    if episode_length is not None:
        options["max_episode_steps"] = episode_length
    # instances need no checks of their own: what they return is checked against their spaces here
    options = {"disable_env_checker": True, **options}
    make = functools.partial(gymnasium.make, id_, **options)
    first = _make_first(make, name, options)
    env = wrap_gym(make, name, side_by_side=side_by_side, first=first)
    return env._replace(info={**env.info, "id": id_})


def wrap_gym(
    make: Callable[[], Any], name: str, *, side_by_side: int = 16, first: Any = None
) -> Env:
    """Makes an environment of this library out of some of gymnasium's, all alike.

    Args:
      make: makes one of them with `gymnasium.make`, in wrappers of its own if need be.
      name: of the environment made.
      side_by_side: instances that a rollout makes at most.
      first: what `make` has made already; None to call it.

    Raises:
      UserError: there is to be less than one, or it has no time limit, or actions or observations
        that cannot be used.
    """
    if side_by_side < 1:
        raise UserError(f"{name}: side_by_side={side_by_side} should be at least 1")
    gymnasium = require_gymnasium()
    first = make() if first is None else first
    limit = first.spec.max_episode_steps
    if limit is None:
        raise UserError(f"{name} has no time limit; give it one, as in {name}?episode_length=200")
    action = read_action(first.action_space, name)
    layout = Layout(first.observation_space, name)
    measures_success = _look(first, action, layout)
    draws = first.render_mode == "rgb_array"
    host = Host(name, make, action, layout, draws)
    if draws:
        _try_to_draw(host, first, name)
    host.adopt(first)
    return _make_env(host, name, layout, action, limit, draws)._replace(
        measures_success=measures_success,
        side_by_side=side_by_side,
        info={
            "engine": f"gymnasium {gymnasium.__version__}",
            "action_low": action.low.tolist(),
            "action_high": action.high.tolist(),
        },
    )


def episode_seed(key: PRNGKey) -> int:
    """What the episode of a key is seeded with: `env.reset(seed=...)` of gymnasium's."""
    return gym_host.draw_seed(np.asarray(jax.random.key_data(key)).view(np.int32))[0]


def _make_env(
    host: Host, name: str, layout: Layout, action: BoxAction, episode_length: int, draws: bool
) -> Env:
    size = HEADER + layout.size

    def call(function: Any, words: Array, size: int) -> Array:
        return call_host(function, words, jax.ShapeDtypeStruct((size,), jnp.int32))

    def reset(key: PRNGKey) -> State:
        words = _key_words(key)
        return _begun(layout, key, call(host.reset, words, size + words.size))

    def step(state: State, action: Array) -> State:
        return _stepped(layout, state, call(host.step, _request(state, action), size))

    def step_then_reset(state: State, action: Array) -> tuple[State, State]:
        key_size = _key_words(state.key).size
        both = call(host.step_then_reset, _request(state, action), 2 * size + key_size)
        return _stepped(layout, state, both[:size]), _following(layout, state, both[size:])

    def release(state: State) -> None:
        host.release(*(np.asarray(x) for x in state.simulation))

    def render(state: State, width: int, height: int) -> Array:
        draw = functools.partial(host.render, width=width, height=height)
        image = jax.ShapeDtypeStruct((height, width, 3), jnp.uint8)
        return call_host(draw, jnp.stack(state.simulation), image)

    return Env(
        name=name,
        observation_spec=layout.spec,
        action_spec=ActionSpec(action.size),
        episode_length=episode_length,
        reset=reset,
        step=step,
        render=render if draws else None,
        step_then_reset=step_then_reset,
        release=release,
    )


def _key_words(key: PRNGKey) -> Array:
    return jax.lax.bitcast_convert_type(jax.random.key_data(key), jnp.int32)


def _request(state: State, action: Array) -> Array:
    over = (state.terminated | state.truncated).astype(jnp.int32)
    header = jnp.stack([*state.simulation, over])
    bits = jax.lax.bitcast_convert_type(action.astype(jnp.float32), jnp.int32)
    return jnp.concatenate([header, bits, _key_words(state.key)])


def _begun(layout: Layout, key: PRNGKey, answer: Array) -> State:
    """The first state of an episode; its key is in the answer, of the given one's kind."""
    words = jax.lax.bitcast_convert_type(answer[HEADER + layout.size :], jnp.uint32)
    state = first_state(
        jax.random.wrap_key_data(words, impl=jax.random.key_impl(key)),
        layout.read(answer[HEADER:]),
        Handle(answer[gym_host.INSTANCE], answer[gym_host.TICK]),
    )
    return state._replace(success=answer[gym_host.FLAGS] & gym_host.SUCCESS != 0)


def _following(layout: Layout, state: State, answer: Array) -> State:
    """The state to go on from: where the step led, or the next episode's first."""
    begun = _begun(layout, state.key, answer)
    began = answer[gym_host.FLAGS] & gym_host.BEGAN != 0
    return begun._replace(
        reward=jax.lax.bitcast_convert_type(answer[gym_host.REWARD], jnp.float32),
        time=jnp.where(began, 0, state.time + 1),
    )


def _stepped(layout: Layout, state: State, answer: Array) -> State:
    """The state after a step; the same one, without another reward, where it was over before."""
    flags = answer[gym_host.FLAGS]
    diverged = flags & gym_host.DIVERGED != 0
    seen = layout.read(answer[HEADER:])
    stepped = state._replace(
        observation={n: jnp.where(diverged, state.observation[n], x) for n, x in seen.items()},
        reward=jax.lax.bitcast_convert_type(answer[gym_host.REWARD], jnp.float32),
        terminated=flags & gym_host.TERMINATED != 0,
        truncated=flags & gym_host.TRUNCATED != 0,
        diverged=diverged,
        time=state.time + 1,
        success=flags & gym_host.SUCCESS != 0,
        simulation=Handle(answer[gym_host.INSTANCE], answer[gym_host.TICK]),
    )
    over = state.terminated | state.truncated
    return select(over, state._replace(reward=jnp.zeros(())), stepped)


def _make_first(make: Any, name: str, options: dict[str, Any]) -> Any:
    import gymnasium

    try:
        return make()
    except (gymnasium.error.Error, TypeError, ValueError) as error:
        # without options of the user's, such an error is the environment's own
        if not isinstance(error, gymnasium.error.Error) and len(options) == 1:
            raise
        raise UserError(f"{name} cannot be made: {_one_line(error)}") from error


def _look(env: Any, action: BoxAction, layout: Layout) -> bool:
    """Takes random steps to settle the layout's typical values.

    Returns:
      Whether the environment says if its task's condition holds.
    """
    rng = np.random.default_rng(0)
    count = 1 if layout.is_settled() else _LOOK_STEPS
    numbers, words = np.zeros((count, layout.floats)), np.zeros((count, layout.size), np.int32)
    measures_success, steps_left = False, 0
    for step in range(count):
        if steps_left == 0:
            env.reset(seed=step)
            steps_left = _LOOK_EPISODE
        drawn = action.rescale(rng.uniform(-1.0, 1.0, (1, action.size)))[0]
        observation, _, terminated, truncated, info = env.step(drawn)
        measures_success |= "success" in info or "is_success" in info
        steps_left = 0 if terminated or truncated else steps_left - 1
        layout.write(numbers, words, [step], [observation])
    layout.settle(numbers)
    return measures_success


def _try_to_draw(host: Host, env: Any, name: str) -> None:
    try:
        image = host.draw(env)
    except Exception as error:  # whatever a missing OpenGL leads to
        raise UserError(
            f"{name} cannot draw here: {_one_line(error)}; leave out render_mode, or set MUJOCO_GL"
        ) from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"{name} draws {image.dtype} {image.shape}, not uint8 (height, width, 3)")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


FAMILY = Family(make_gym, complaint, imports)
