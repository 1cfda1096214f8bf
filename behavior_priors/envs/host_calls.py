"""Calls from compiled programs to functions on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

from behavior_priors.envs.named_calls import call_named, can_call_named, stay
from behavior_priors.system.faults import remembered
from behavior_priors.types import Array


def call_host(
    function: Callable[[Any], np.ndarray], words: Array, result: Any, *, name: str | None = None
) -> Array:
    """Calls a function of one array on the host, once for all rows under any `vmap`s.

    On a CPU through XLA's own buffers, which costs 10 µs instead of `pure_callback`'s 40.

    Args:
      function: of an array with the leading axes of all `vmap`s.
      words: its argument.
      result: shape and dtype of what it returns, without those axes.
      name: of a function of float32 whose answer depends on its name and its argument only, as
        `named_calls` has it: two equal calls in one program may then be made into one, or one that
        nobody needs be left out, and JAX can keep the program on disk. None for all others, such
        as resets of gymnasium's environments.

    Raises:
      JaxRuntimeError: when the program runs and the function raises; `faults.fault_behind` has a
        `UserError` of it.
    """
    function = remembered(function)

    if jax.default_backend() != "cpu":
        return jax.pure_callback(function, result, words, vmap_method="broadcast_all")

    if name is not None and can_call_named():
        return call_named(name, function, words, result.shape)

    def fill(_: Any, out: Any, words: Any) -> None:
        stay()
        np.asarray(out)[...] = function(words)

    return buffer_callback(fill, result, has_side_effect=name is None, vmap_method="broadcast_all")(
        words
    )
