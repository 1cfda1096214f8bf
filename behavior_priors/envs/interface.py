"""How an environment looks from outside, as a file: enough to act in it without making it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypedDict

import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec, ArraySpec, Env

_DTYPES = ("float32", "uint8")
_MOST_NUMBERS = 1 << 28
"""Of an observation; more would not fit a policy's memory."""


class Observed(TypedDict):
    """One array of an observation.

    `path` leads to it in what an environment of another library returns, where its shape is
    `given`; its axes, in the order `axes`, become `shape`.
    """

    path: list[str | int]
    given: list[int]
    axes: list[int]
    shape: list[int]
    dtype: str
    location: float | list[Any]
    scale: float | list[Any]


class Acted(TypedDict):
    """Actions: numbers within `bound` here, an array within `low` and `high` outside."""

    size: int
    bound: float
    low: list[float]
    high: list[float]
    shape: list[int]
    dtype: str


class Interface(TypedDict):
    """An environment from outside."""

    name: str
    engine: str
    episode_length: int
    observation: dict[str, Observed]
    action: Acted


def interface_of(env: Env) -> Interface:
    """An environment from outside, as JSON can say it.

    Raises:
      UserError: its actions are unbounded.
    """
    size, bound = env.action_spec
    if bound is None:
        raise UserError(f"{env.name} has actions without bounds")
    given = env.info.get("given", {})
    return Interface(
        name=env.name,
        engine=str(env.info.get("engine", "none")),
        episode_length=env.episode_length,
        observation={n: _observed(n, x, given.get(n)) for n, x in env.observation_spec.items()},
        action=Acted(
            size=size,
            bound=float(bound),
            low=env.info.get("action_low", [-float(bound)] * size),
            high=env.info.get("action_high", [float(bound)] * size),
            shape=env.info.get("action_shape", [size]),
            dtype=env.info.get("action_dtype", "float32"),
        ),
    )


def _observed(name: str, spec: ArraySpec, given: Mapping[str, Any] | None) -> Observed:
    shape = list(spec.shape)
    same: dict[str, Any] = {"path": [name], "given": shape, "axes": list(range(len(shape)))}
    given = given or same
    return Observed(
        path=given["path"],
        given=given["given"],
        axes=given["axes"],
        shape=shape,
        dtype=np.dtype(spec.dtype).name,
        location=np.asarray(spec.location).tolist(),
        scale=np.asarray(spec.scale).tolist(),
    )


def elsewhere(interface: Interface, where: str) -> Env:
    """An environment that can be looked at, and is not there to be acted in.

    Args:
      interface: of it.
      where: the file that has it, for messages.

    Raises:
      UserError: there can be no such environment.
    """

    def refuse(*_: Any) -> NoReturn:
        raise UserError(f"{interface['name']} has not been made here, only looked at in {where}")

    action = interface["action"]
    size = action["size"]
    if not 0 < size == math.prod(action["shape"]) == len(action["low"]) == len(action["high"]):
        raise UserError(f"{where}: its actions do not go together")
    return Env(
        name=interface["name"],
        observation_spec={n: _spec(n, x, where) for n, x in interface["observation"].items()},
        action_spec=ActionSpec(size, action["bound"]),
        episode_length=interface["episode_length"],
        reset=refuse,
        step=refuse,
        info={
            "engine": interface["engine"],
            "given": interface["observation"],
            "action_low": action["low"],
            "action_high": action["high"],
            "action_shape": action["shape"],
            "action_dtype": action["dtype"],
        },
    )


def _spec(name: str, observed: Observed, where: str) -> ArraySpec:
    shape, given = tuple(observed["shape"]), tuple(observed["given"])
    if observed["dtype"] not in _DTYPES:
        raise UserError(f"{where}: {name} is of {observed['dtype']}; it should be float32 or uint8")
    if min((*shape, *given), default=0) < 0 or not math.prod(shape) == math.prod(given):
        raise UserError(f"{where}: {name} cannot have the shape {list(given)}")
    if math.prod(shape) > _MOST_NUMBERS or sorted(observed["axes"]) != list(range(len(given))):
        raise UserError(f"{where}: {name} cannot have the shape {list(given)}")
    location, scale = (_typical(observed[x], shape) for x in ("location", "scale"))
    if location is None or scale is None:
        raise UserError(f"{where}: {name} has no location and scale that go with {list(shape)}")
    return ArraySpec(shape, np.dtype(observed["dtype"]).type, location, scale)


def _typical(value: Any, shape: tuple[int, ...]) -> Any:
    """A location or scale, a number or an array; None where it is neither."""
    if isinstance(value, int | float):
        return float(value)
    try:
        array = np.asarray(value, np.float32)
        np.broadcast_to(array, shape)
    except (ValueError, TypeError):
        return None
    return array
