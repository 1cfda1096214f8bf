"""What the contestants of `benchmarks.flow` have in common, in whatever library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]
"""Kernels `[inputs, outputs]` and biases `[outputs]`: the encoder's, then each conditioner's."""

REDUCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "log_prob": lambda log_probs: log_probs.mean(),
    "sample": lambda actions: actions.sum(),
}
"""By operation: the number, of JAX's arrays or torch's, that `grad` rows differentiate."""


class Entrant(NamedTuple):
    """A contestant whose result can be looked at.

    Attributes:
      run: does a call and returns its result when all of it is there.
      arrays: from that result to arrays that are alike for all libraries: the values, or the number
        that was differentiated and its gradient as `Layers`, flat.
    """

    run: Callable[[], Any]
    arrays: Callable[[Any], list[np.ndarray]]
