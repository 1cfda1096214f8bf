"""What gymnasium's environments return, checked: what is not as it should be is said in a line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.system.faults import text_of

SUCCESS_KEYS = ("success", "is_success")
"""Where `info` says that the task's condition holds; the first one that is not None counts."""


FINAL_OBSERVATIONS = ("final_observation", "final_obs", "terminal_observation")
"""Where `info` has an episode's last observation if the step has begun the next one already, as
gymnasium's and stable-baselines3's wrappers do."""


class Stepped(NamedTuple):
    """What a step returned; the observation is a copy, and still unchecked."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


def read_reset(result: Any, name: str) -> tuple[Any, Mapping[str, Any]]:
    """The observation and the info of a reset.

    Raises:
      UserError: it returned something else.
    """
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
        raise UserError(f"{name}: reset gave {_kinds(result)}; it should be (observation, info)")
    return result


def read_step(result: Any, name: str) -> Stepped:
    """What a step returned, as Python's numbers; arrays of one element are numbers too.

    The last observation of an episode is the episode's own, also where `info` alone has it.

    Raises:
      UserError: it returned something else.
    """
    if not isinstance(result, tuple) or len(result) != 5 or not isinstance(result[4], Mapping):
        raise UserError(
            f"{name}: step gave {_kinds(result)}; it should be (observation, reward, terminated, "
            "truncated, info)"
        )
    observation, reward, terminated, truncated, info = result
    # almost always, and the checks below cost more than the rest
    if type(reward) is not float:
        reward = _number(reward, "reward", name)
    if type(terminated) is not bool:
        terminated = _number(terminated, "terminated", name) != 0
    if type(truncated) is not bool:
        truncated = _number(truncated, "truncated", name) != 0
    if terminated or truncated:
        finals = (_element(info.get(key)) for key in FINAL_OBSERVATIONS)
        observation = next((x for x in finals if x is not None), observation)
    return Stepped(_copied(observation), reward, terminated, truncated, info)


def find_success(info: Mapping[str, Any], name: str) -> bool | None:
    """Whether an `info` says that the task's condition holds; None if it does not say.

    It is looked for in `final_info` first, where wrappers of gymnasium's put what an episode's last
    step said if the rest is about the next episode.

    Raises:
      UserError: it says something that is neither true nor false, such as a share.
    """
    for where in (_element(info.get("final_info")), info):
        if not isinstance(where, Mapping):
            continue
        for key in SUCCESS_KEYS:
            value = where.get(key)
            if value is None or (value := _unwrap(value)) is None:
                continue
            if isinstance(value, bool | np.bool_ | int | float | np.number) and value in (0, 1):
                return bool(value)
            raise UserError(
                f"{name}: info[{key!r}] is {_short(value)}; success should be true or false, or 1 "
                "or 0 (measures_success=false leaves it unread)"
            )
    return None


def _unwrap(value: Any) -> Any:
    """The element of an array or a list of one; anything else as it is."""
    if isinstance(value, np.ndarray) and value.size == 1:
        return value.reshape(-1)[0]
    if isinstance(value, list | tuple) and len(value) == 1:
        return value[0]
    # such as a scalar of another array library's
    try:
        return value.item() if value.size == 1 else value
    except Exception:  # whatever it says of attributes that it does not have
        return value


def _element(value: Any) -> Any:
    """What is in an array of one object, as vector environments have it; else the value itself."""
    is_wrapped = isinstance(value, np.ndarray) and value.dtype == object and value.size == 1
    return value.reshape(-1)[0] if is_wrapped else value


def _copied(observation: Any) -> Any:
    """An observation that stays what it is when the next one, or another instance's, is made."""
    if isinstance(observation, np.ndarray):
        return observation.copy()
    if isinstance(observation, Mapping):
        return {key: _copied(x) for key, x in observation.items()}
    if isinstance(observation, tuple | list):
        return [*map(_copied, observation)]
    return np.array(observation) if hasattr(type(observation), "__array__") else observation


def _number(value: Any, what: str, name: str) -> float:
    """A value as a float; a whole number that is too large for one is infinite."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if type(value) is int:  # of any size
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise UserError(f"{name}: step gave {what} {_short(value)}; it should be one number")
    return float(array.item())


def _kinds(result: Any) -> str:
    if isinstance(result, tuple):
        return f"{len(result)} values ({', '.join(type(x).__name__ for x in result)})"
    return f"one {type(result).__name__}, not a tuple"


def _short(value: Any) -> str:
    text = " ".join(text_of(value, repr).split()) or f"one {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."
