"""gymnasium's environments, vectorised on the host: `gym/<id>` (see `gym.names`).

An episode lives in an instance on the host, and a state is a handle to it that is good for one
step. JAX sees pure functions; nothing but the handles keeps them in order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.adapters.gym import host
from behavior_priors.envs.adapters.gym.home import Home
from behavior_priors.envs.adapters.gym.host import HEADER, Host
from behavior_priors.envs.adapters.gym.instance import draw_seed
from behavior_priors.envs.adapters.gym.names import complaint, imports, require_gymnasium
from behavior_priors.envs.adapters.gym.prepare import prepare
from behavior_priors.envs.adapters.gym.spaces import Layout
from behavior_priors.envs.adapters.gym.tasks import ListedTask, TaskList
from behavior_priors.envs.base import first_state, select
from behavior_priors.envs.family import Family, refuse_engine
from behavior_priors.envs.guard import check_step
from behavior_priors.envs.host_calls import call_host
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec, Array, Env, PRNGKey, State, Tasks


class Handle(NamedTuple):
    """Where an episode lives.

    Attributes:
      instance: `[]` int32, number of the instance on the host.
      tick: `[]` int32, which of its states this is.
      task: `ListedTask` of the episode, where the environment has several.
      is_random: `[]` int32, 1 where the next episode is of a random task, likewise.
    """

    instance: Array
    tick: Array
    task: Any = ()
    is_random: Any = ()


def make_gym(
    id_: str,
    *,
    engine: str = "auto",
    side_by_side: int = 16,
    episode_length: int | None = None,
    measures_success: bool | None = None,
    image_axes: str | None = None,
    leave_out: Any = (),
    **options: Any,
) -> Env:
    """Builds an environment of gymnasium's.

    Actions are rescaled from [-1, 1] to the environment's bounds, and limited to them. Observations
    are as in `gym.spaces.Layout`; where a space's bounds do not say what values are typical, 1000
    random steps do, the same ones every time. `info["success"]`, or `info["is_success"]`, is
    `State.success`. A step diverges where it gives numbers that cannot be learned from (`guard`),
    or where MuJoCo has given the simulation up: it is then truncated, and the observation stays
    what it was.

    `render` is there if the environment is made with `render_mode=rgb_array`, which also draws the
    beginning of every episode.

    Args:
      id_: that gymnasium knows, or `module:id` (see `gym.names`).
      engine: there is no choice.
      side_by_side: instances that a rollout makes at most; some take more than 100 MB each.
      episode_length: instead of the environment's own time limit.
      measures_success: whether `info` reports success; None to find out (`gym.look.look`).
      image_axes: which axes of its images are which, see `observations.arrange`.
      leave_out: the name of an observation that is not looked at, or a list of them.
      **options: for `gymnasium.make`; but `tasks` is the path of a file, see `gym.tasks`.

    Raises:
      UserError: gymnasium is missing, or cannot make it; or it has no time limit, or actions or
        observations that cannot be used; or it raises, or returns what it should not.
    """
    name = f"gym/{id_}"
    refuse_engine(engine, name)
    # not among the parameters: it is a file, and so nothing that a stranger may say
    path = options.pop("tasks", None)
    tasks = None if path is None else TaskList(str(path), name)
    gymnasium = require_gymnasium()
    if episode_length is not None:
        options["max_episode_steps"] = episode_length
    # instances need no checks of their own: what they return is checked against their spaces here
    options = {"disable_env_checker": True, **options}
    make = functools.partial(gymnasium.make, id_, **options)
    env = wrap_gym(
        make,
        name,
        side_by_side=side_by_side,
        measures_success=measures_success,
        image_axes=image_axes,
        leave_out=_read_names(leave_out, name),
        tasks=tasks,
    )
    return env._replace(info={**env.info, "id": id_})


def wrap_gym(
    make: Callable[..., Any],
    name: str,
    *,
    side_by_side: int = 16,
    measures_success: bool | None = None,
    image_axes: str | None = None,
    leave_out: Sequence[str] = (),
    tasks: TaskList | None = None,
) -> Env:
    """Makes an environment of this library out of some of gymnasium's, all alike.

    Args:
      make: makes one of them with `gymnasium.make`, in wrappers of its own if need be, and with the
        arguments of a task.
      name: of the environment made.
      side_by_side: instances that a rollout makes at most.
      measures_success: see `make_gym`.
      image_axes: see `make_gym`.
      leave_out: names of observations that are not looked at.
      tasks: that it has; None for one that has but one.

    Raises:
      UserError: there is to be less than one, it cannot be made, or it has no time limit, or
        actions or observations that cannot be used.
    """
    if side_by_side < 1:
        raise UserError(f"{name}: side_by_side={side_by_side} should be at least 1")
    gymnasium = require_gymnasium()
    home = Home(name)
    try:
        host, limit, found = home.do(
            lambda: prepare(make, name, measures_success, image_axes, leave_out, home, tasks)
        )
    except BaseException:
        home.leave()
        raise
    return _make_env(host, limit)._replace(
        measures_success=found.measures_success,
        side_by_side=side_by_side,
        info={
            "engine": f"gymnasium {gymnasium.__version__}",
            "success_source": found.reason,
            **({} if host.render_fps is None else {"render_fps": host.render_fps}),
            "action_low": host.action.low.tolist(),
            "action_high": host.action.high.tolist(),
            "action_shape": list(host.action.shape),
            "action_dtype": host.action.dtype.name,
            "given": {
                part.name: {
                    "path": list(part.path),
                    "given": list(part.given),
                    "axes": list(part.plan.axes),
                }
                for part in host.layout.parts
            },
        },
    )


def _read_names(given: Any, name: str) -> list[str]:
    """Names of observations, one or several; elements of a tuple are called by their numbers."""
    names = [] if given is None else given if isinstance(given, list | tuple) else [given]
    for x in names:
        if isinstance(x, bool) or not isinstance(x, str | int | float):
            raise UserError(f"{name}: leave_out={given} should be a name, or a list of names")
    return [str(x) for x in names]


def episode_seed(key: PRNGKey) -> int:
    """What the episode of a key is seeded with: `env.reset(seed=...)` of gymnasium's."""
    return draw_seed(np.asarray(jax.random.key_data(key)).view(np.int32))[0]


def _make_env(host: Host, episode_length: int) -> Env:
    layout, size = host.layout, HEADER + host.layout.size

    def call(function: Any, words: Array, size: int) -> Array:
        return call_host(function, words, jax.ShapeDtypeStruct((size,), jnp.int32))

    def begin(task: ListedTask | None, key: PRNGKey) -> State:
        words = jnp.concatenate([_key_words(key), *_task_words(task, host)])
        return _begun(layout, key, call(host.reset, words, size + words.size), host.task_words)

    def reset(key: PRNGKey) -> State:
        return begin(None, key)

    def step(state: State, action: Array) -> State:
        stepped = _stepped(layout, state, call(host.step, _request(state, action), size))
        return check_step(env, state, stepped)[0]

    def step_then_reset(state: State, action: Array) -> tuple[State, State]:
        more = _key_words(state.key).size + host.task_words
        both = call(host.step_then_reset, _request(state, action), 2 * size + more)
        following = _following(layout, state, both[size:], host.task_words)
        return _stepped(layout, state, both[:size]), following

    def release(state: State) -> None:
        # also inside of a program, which it must not be left out of
        handles = jnp.stack(state.simulation[:2], axis=-1)
        call_host(host.release, handles, jax.ShapeDtypeStruct(handles.shape, jnp.int32))

    def render(state: State, width: int, height: int) -> Array:
        draw = functools.partial(host.render, width=width, height=height)
        image = jax.ShapeDtypeStruct((height, width, 3), jnp.uint8)
        return call_host(draw, jnp.stack(state.simulation[:2]), image)

    env = Env(
        name=host.name,
        observation_spec=layout.spec,
        action_spec=ActionSpec(host.action.size),
        episode_length=episode_length,
        reset=reset,
        step=step,
        render=render if host.draws else None,
        step_then_reset=step_then_reset,
        release=release,
        tasks=None
        if host.tasks is None
        else Tasks(host.tasks.sample, begin, lambda state: state.simulation.task),
    )
    return env


def _key_words(key: PRNGKey) -> Array:
    return jax.lax.bitcast_convert_type(jax.random.key_data(key), jnp.int32)


def _request(state: State, action: Array) -> Array:
    handle, over = state.simulation, (state.terminated | state.truncated).astype(jnp.int32)
    header = jnp.stack([handle.instance, handle.tick, over])
    task = [x[None] for x in jax.tree.leaves((handle.task, handle.is_random))]
    bits = jax.lax.bitcast_convert_type(action.astype(jnp.float32), jnp.int32)
    return jnp.concatenate([header, bits, _key_words(state.key), *task])


def _task_words(task: ListedTask | None, host: Host) -> list[Array]:
    """What says which task an episode is to be of, a random one unless there is one."""
    if host.tasks is None:
        return []
    if task is None:
        return [jnp.array([0, 0, 1], jnp.int32)]
    return [jnp.stack([task.number, task.digest, jnp.int32(0)])]


def _begun(layout: Layout, key: PRNGKey, answer: Array, task_words: int) -> State:
    """The first state of an episode; its key is in the answer, of the given one's kind."""
    end = answer.size - task_words
    words = jax.lax.bitcast_convert_type(answer[HEADER + layout.size : end], jnp.uint32)
    handle = Handle(answer[host.INSTANCE], answer[host.TICK])
    if task_words:
        number, digest, is_random = answer[end:]
        handle = handle._replace(task=ListedTask(number, digest), is_random=is_random)
    state = first_state(
        jax.random.wrap_key_data(words, impl=jax.random.key_impl(key)),
        layout.read(answer[HEADER:]),
        handle,
    )
    return state._replace(success=answer[host.FLAGS] & host.SUCCESS != 0)


def _following(layout: Layout, state: State, answer: Array, task_words: int) -> State:
    """The state to go on from: where the step led, or the next episode's first."""
    begun = _begun(layout, state.key, answer, task_words)
    began = answer[host.FLAGS] & host.BEGAN != 0
    return begun._replace(
        reward=jax.lax.bitcast_convert_type(answer[host.REWARD], jnp.float32),
        time=jnp.where(began, 0, state.time + 1),
    )


def _stepped(layout: Layout, state: State, answer: Array) -> State:
    """The state after a step; the same one, without another reward, where it was over before.

    Numbers that cannot be learned from are in it still, for `guard.check_step` to find.
    """
    flags = answer[host.FLAGS]
    diverged = flags & host.DIVERGED != 0
    seen = layout.read(answer[HEADER:])
    stepped = state._replace(
        observation={n: jnp.where(diverged, state.observation[n], x) for n, x in seen.items()},
        reward=jax.lax.bitcast_convert_type(answer[host.REWARD], jnp.float32),
        terminated=flags & host.TERMINATED != 0,
        truncated=flags & host.TRUNCATED != 0,
        diverged=diverged,
        time=state.time + 1,
        success=flags & host.SUCCESS != 0,
        simulation=state.simulation._replace(
            instance=answer[host.INSTANCE], tick=answer[host.TICK]
        ),
    )
    over = state.terminated | state.truncated
    return select(over, state._replace(reward=jnp.zeros(())), stepped)


FAMILY = Family(make_gym, complaint, imports)
