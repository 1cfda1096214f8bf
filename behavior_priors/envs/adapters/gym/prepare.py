"""The first of gymnasium's environments of a kind: made, checked and looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from behavior_priors.envs.adapters.gym.actions import read_action
from behavior_priors.envs.adapters.gym.home import Home
from behavior_priors.envs.adapters.gym.host import Host
from behavior_priors.envs.adapters.gym.instance import draw
from behavior_priors.envs.adapters.gym.look import Look, look
from behavior_priors.envs.adapters.gym.reports import Reports
from behavior_priors.envs.adapters.gym.spaces import Layout
from behavior_priors.envs.adapters.gym.tasks import TaskList
from behavior_priors.envs.options import LONGEST_EPISODE
from behavior_priors.errors import UserError
from behavior_priors.system.faults import blaming, describe, is_theirs


def prepare(
    make: Callable[..., Any],
    name: str,
    told: bool | None,
    image_axes: str | None,
    leave_out: Sequence[str],
    home: Home,
    tasks: TaskList | None = None,
) -> tuple[Host, int, Look]:
    """Makes the first instance and looks at it, in the thread that is to be the instances' home.

    Args:
      make: makes one of gymnasium's environments, with the arguments of a task.
      name: of the environment made.
      told: whether it reports success, if the user says so.
      image_axes: see `observations.arrange`.
      leave_out: names of observations that are not looked at.
      home: whose thread this is.
      tasks: that it has; None for one that has but one.

    Returns:
      The host, with that instance; the time limit; and what was found.

    Raises:
      UserError: see `gym.env.wrap_gym`.
    """
    try:
        first = make(**({} if tasks is None else tasks.arguments(0)))
    except BaseException as error:
        if isinstance(error, UserError) or not is_theirs(error):
            raise
        raise UserError(f"{name} cannot be made: {describe(error)}") from error
    home.keep(first)
    with blaming(name, "what it says of itself"):
        spec, draws = first.spec, first.render_mode == "rgb_array"
        observed, acted = first.observation_space, first.action_space
    limit = _check_limit(None if spec is None else spec.max_episode_steps, name)
    action = read_action(acted, name)
    layout = Layout(observed, name, image_axes=image_axes, leave_out=leave_out)
    found = look(first, action, layout, name, told, limit, tasks)
    host = Host(
        name,
        make,
        action,
        layout,
        limit=limit,
        draws=draws,
        reports=Reports(name, measured=found.measures_success, is_told=told is not None),
        home=home,
        tasks=tasks,
    )
    if draws:
        _try_to_draw(first, name)
        fps = first.metadata.get("render_fps") if isinstance(first.metadata, Mapping) else None
        host.render_fps = float(fps) if isinstance(fps, int | float) and 0 < fps < 1e3 else None
    host.adopt(first)
    return host, limit, found


def _check_limit(limit: Any, name: str) -> int:
    if limit is None:
        raise UserError(f"{name} has no time limit; give it one, as in {name}?episode_length=200")
    if not 1 <= limit <= LONGEST_EPISODE:
        bound = "at least 1" if limit < 1 else f"at most {LONGEST_EPISODE}"
        raise UserError(
            f"{name} cannot be made: its own max_episode_steps={limit} should be {bound}; "
            f"{name}?episode_length=200 is another time limit"
        )
    return int(limit)


def _try_to_draw(env: Any, name: str) -> None:
    try:
        draw(env, name)
    except UserError as error:  # whatever a missing OpenGL leads to
        raise UserError(
            f"{error}; {name} cannot draw here: leave out render_mode, or set MUJOCO_GL"
        ) from error
