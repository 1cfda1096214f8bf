"""The Franka kitchen (Gupta et al. 2019), with the rules of SPiRL (Pertsch et al. 2020).

`kitchen/microwave+kettle+bottom_burner+light_switch`, or `kitchen/mixed` for just these. Each
subtask pays 1 when it is done; the episode terminates when all are, and is truncated after 280
steps. SPiRL's numbers come from a fork of D4RL in which a subtask counts only once all earlier
ones are done, those of D4RL itself from any order: `order` chooses, and both are measured.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

from behavior_priors.envs.adapters.gym.env import wrap_gym
from behavior_priors.envs.family import Family, refuse_engine
from behavior_priors.errors import UserError
from behavior_priors.types import Array, Env, State

SUBTASKS = (
    "microwave",
    "kettle",
    "bottom_burner",
    "top_burner",
    "light_switch",
    "slide_cabinet",
    "hinge_cabinet",
)
"""What can be done in the kitchen."""

MEMBERS = {"mixed": ("microwave", "kettle", "bottom_burner", "light_switch")}
"""Names for several subtasks; `mixed` is SPiRL's task, for D4RL's data of that name."""

EPISODE_LENGTH = 280
"""Steps, at 12.5 a second."""

NOISE = 0.1
"""D4RL's; gymnasium-robotics' own is a tenth of it for the robot."""


def make_kitchen(
    member: str,
    *,
    engine: str = "auto",
    order: Literal["required", "any"] = "required",
    episode_length: int = EPISODE_LENGTH,
    side_by_side: int = 16,
    noise: float = NOISE,
    render_mode: str | None = None,
) -> Env:
    """Builds a kitchen.

    Observes `robot` `[9]` and `robot_velocity` `[9]`, the arm's seven joints (rad, rad/s) and the
    fingers (m, m/s); `objects` `[21]` and `object_velocity` `[20]`, the doors', knobs' and
    switch's, then the kettle's position (m) and quaternion; `completed` `[subtasks]`, 1 for each
    that counts; and `subtasks` `[2]`, how many are done in order and in any order. The goal is
    left out, because a member's is always the same. Sensors are noisy.

    Args:
      member: subtasks joined by `+`, in their order, or one of `MEMBERS`.
      engine: there is no choice.
      order: `required`, and a subtask counts once all before it do; or `any`.
      episode_length: steps until the time limit.
      side_by_side: instances that a rollout makes at most; each takes some 60 MB.
      noise: half the range of a sensor's noise, as a share of what the robot's description says.
      render_mode: `rgb_array` for images.

    Raises:
      UserError: gymnasium-robotics is missing, or an option is none that there is.
    """
    name = f"kitchen/{member}"
    refuse_engine(engine, name)
    if order not in ("required", "any"):
        raise UserError(f"{name}: order={order} should be required or any")
    if episode_length < 1:
        raise UserError(f"{name}: episode_length must be at least 1, got {episode_length}")
    if not 0 <= noise < float("inf"):
        raise UserError(f"{name}: noise must be 0 or more, got {noise}")
    if render_mode not in (None, "rgb_array"):
        raise UserError(f"{name}: render_mode={render_mode} should be rgb_array, or left out")
    subtasks = read_member(member)
    make = functools.partial(
        _host(name, robotics=True).make_franka,
        [subtask.replace("_", " ") for subtask in subtasks],
        noise,
        max_episode_steps=episode_length,
        render_mode=render_mode,
    )
    return wrap_kitchen(make, name, subtasks, order=order, side_by_side=side_by_side)


def wrap_kitchen(
    make: Callable[[], Any],
    name: str,
    subtasks: Sequence[str],
    *,
    order: Literal["required", "any"] = "required",
    side_by_side: int = 16,
) -> Env:
    """Makes an environment of this library out of kitchens of gymnasium's.

    Args:
      make: makes one of them; see `kitchen.host.Kitchen` for what it has to be.
      name: of the environment made.
      subtasks: in their order.
      order: see `make_kitchen`.
      side_by_side: instances that a rollout makes at most.

    Raises:
      UserError: see `gym.env.wrap_gym`.
    """
    host = _host(name, robotics=False)
    names = [subtask.replace("_", " ") for subtask in subtasks]

    def make_counting() -> Any:
        return host.Kitchen(make(), names, order == "required")

    def in_order(state: State) -> Array:
        return state.observation["subtasks"][host.IN_ORDER]

    def any_order(state: State) -> Array:
        return state.observation["subtasks"][host.ANY_ORDER]

    env = wrap_gym(make_counting, name, side_by_side=side_by_side, measures_success=True)
    return env._replace(
        scores={"subtasks_in_order": in_order, "subtasks_any_order": any_order},
        info={**env.info, "subtasks": list(subtasks), "order": order},
    )


def read_member(member: str) -> tuple[str, ...]:
    """The subtasks of a member, in their order."""
    return MEMBERS.get(member) or tuple(member.split("+"))


def complaint(member: str) -> str | None:
    """What there is instead of a member that cannot be made."""
    subtasks = read_member(member)
    if set(subtasks) <= set(SUBTASKS) and len(set(subtasks)) == len(subtasks):
        return None
    return (
        f"kitchen/ has {', '.join(MEMBERS)}, and subtasks joined by +, each of them once: "
        f"{', '.join(SUBTASKS)}"
    )


def _host(name: str, *, robotics: bool) -> Any:
    """The module that needs gymnasium, after loading gymnasium-robotics too if that is wanted.

    Raises:
      UserError: one of them is not installed.
    """
    try:
        from behavior_priors.envs.adapters.kitchen import host

        if robotics:
            host.load_robotics()
    except ModuleNotFoundError as error:
        if error.name not in ("gymnasium", "gymnasium_robotics"):
            raise
        raise UserError(
            f"{name} needs gymnasium-robotics; pip install 'behavior-priors[kitchen]'"
        ) from error
    return host


FAMILY = Family(make_kitchen, complaint)
