"""A family of a user's, whose members do one thing wrong each."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.family import Family, one_of
from behavior_priors.types import Array, ArraySpec, State
from tests.training.walk import make_walk

walk = make_walk()


def _spoil(**changes: Any) -> Any:
    return walk._replace(step=lambda s, a: walk.step(s, a)._replace(**changes))


def _raise(*_: Any) -> Any:
    raise ZeroDivisionError("division by zero")


def _observe(name: str, x: Any) -> Any:
    def step(state: State, action: Array) -> State:
        stepped = walk.step(state, action)
        return stepped._replace(observation={**stepped.observation, name: x})

    return walk._replace(step=step)


def _spec(spec: ArraySpec) -> Any:
    return walk._replace(observation_spec={**walk.observation_spec, "time": spec})


MEMBERS = {
    "right": lambda: walk,
    "nothing": lambda: None,
    "raises in make": _raise,
    "raises in reset": lambda: walk._replace(reset=_raise),
    "raises in step": lambda: walk._replace(step=_raise),
    "tuple": lambda: walk._replace(step=lambda s, a: (walk.step(s, a), 1.0)),
    "reward vector": lambda: _spoil(reward=jnp.zeros(1)),
    "reward none": lambda: _spoil(reward=None),
    "terminated float": lambda: _spoil(terminated=jnp.zeros(())),
    "wide": lambda: _observe("time", jnp.zeros(3)),
    "whole": lambda: _observe("time", jnp.zeros(1, jnp.int32)),
    "nameless": lambda: walk._replace(
        reset=lambda key: walk.reset(key)._replace(observation=jnp.zeros(2))
    ),
    "lacking": lambda: walk._replace(
        observation_spec={**walk.observation_spec, "goal": ArraySpec((2,))}
    ),
    "simulation": lambda: _spoil(simulation=jnp.zeros(3)),
    "scale": lambda: _spec(ArraySpec((1,), scale=0.0)),
    "location": lambda: _spec(ArraySpec((1,), location=np.float32([0.0, 1.0]))),
    "image": lambda: _spec(ArraySpec((3, 16, 16), np.uint8)),
    "endless": lambda: walk._replace(episode_length=0),
}


def make(
    member: str,
    *,
    count: int = 1,
    width: float | None = None,
    flag: bool = False,
    label: str = "",
    any_: Any = None,
) -> Any:
    """Makes one; the options are of every plain kind."""
    made = MEMBERS[member]()
    given = (count, width, flag, label, any_)
    return made if made is None else made._replace(info={"given": given})


FAMILY = Family(make, one_of("odd", lambda: list(MEMBERS)))
