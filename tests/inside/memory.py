"""A memory of what was built: the same command twice makes the same functions, compiled once."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from behavior_priors.methods import adapting, agent, learning, models, others
from behavior_priors.runs import run
from behavior_priors.training import fit


class Memory:
    """What pure functions have returned, by their arguments: the same objects again.

    Arrays are told apart by their bits, functions by their identity, everything else by its value;
    where a run lies changes nothing.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}
        self._kept: list[Any] = []
        """Arguments, so that no other object gets the identity of one."""

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with a memory."""

        def remembering(*args: Any, **kwargs: Any) -> Any:
            key = (function, _frozen((args, kwargs)))
            if key not in self._known:
                self._known[key] = function(*args, **kwargs)
                self._kept.append((args, kwargs))
            return self._known[key]

        return remembering


def _frozen(x: Any) -> Any:
    """What two equal arguments have in common, and no others."""
    if isinstance(x, jax.Array | np.ndarray):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        bits = hashlib.sha256(np.asarray(x).tobytes()).hexdigest()
        return (str(x.dtype), x.shape, bits)
    if isinstance(x, Mapping):
        return tuple((name, _frozen(value)) for name, value in sorted(x.items()))
    if isinstance(x, tuple | list):
        return (type(x), *map(_frozen, x))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        names = [field.name for field in dataclasses.fields(x) if field.name != "workdir"]
        # the class of an experiment's flags is made anew for each
        return (type(x).__name__, *((name, _frozen(getattr(x, name))) for name in names))
    return x if isinstance(x, str | int | float | bool | None | Path) else id(x)


PURE = (
    (models, "make_stage"),
    (others, "make_stage"),
    (fit, "make_fit"),
    (run, "make_fit"),
    (agent, "build"),
    (learning, "make_loop_of"),
    (learning, "make_evaluate"),
    (learning, "make_meta_evaluate"),
    (adapting, "make_adapt"),
)
"""Functions that return what is compiled, where they are called from."""


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Inside, a command that was run before compiles nothing.

    What it is given is compared by bits: where parameters that it restores are others, so is what
    it makes of them.
    """
    memory = Memory()
    with contextlib.ExitStack() as stack:
        for module, name in PURE:
            stack.enter_context(mock.patch.object(module, name, memory.of(getattr(module, name))))
        yield
