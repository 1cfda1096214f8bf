"""Calls from compiled programs to functions on the host."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

from behavior_priors.system.faults import remembered
from behavior_priors.types import Array

_thread = threading.local()


def call_host(
    function: Callable[[Any], np.ndarray], words: Array, result: Any, *, is_pure: bool = False
) -> Array:
    """Calls a function of one array on the host, once for all rows under any `vmap`s.

    On a CPU through XLA's own buffers, which costs 10 µs instead of `pure_callback`'s 40.

    Args:
      function: of an array with the leading axes of all `vmap`s.
      words: its argument.
      result: shape and dtype of what it returns, without those axes.
      is_pure: whether two equal calls in one program may be made into one, or one that nobody needs
        be left out; resets of gymnasium's environments may not.

    Raises:
      JaxRuntimeError: when the program runs and the function raises; `faults.fault_behind` has a
        `UserError` of it.
    """
    function = remembered(function)

    if jax.default_backend() != "cpu":
        return jax.pure_callback(function, result, words, vmap_method="broadcast_all")

    def fill(_: Any, out: Any, words: Any) -> None:
        stay()
        np.asarray(out)[...] = function(words)

    return buffer_callback(fill, result, has_side_effect=not is_pure, vmap_method="broadcast_all")(
        words
    )


def stay() -> None:
    """Makes Python remember the thread that it is called in, for as long as the program runs.

    XLA's threads are foreign to Python, which makes a state for one whenever it calls, and drops it
    when the call returns: 20 µs each time, most of what a call costs. One reference more, taken
    once a thread and never given back, keeps the state.
    """
    if not getattr(_thread, "stays", False):
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.stays = True
