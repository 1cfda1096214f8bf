"""MJX's line search on elliptic friction cones, kept from breaking off in float32.

Along the search, MJX computes the squared slip of a contact as `uu + a (2 uv + a vv)`, with step
`a`, and takes its root. Where a step brings a contact to rest, as Newton's method does in every
grip, rounding makes that square negative, the root NaN, and no step an improvement: the solver
stops wherever it happens to be (mujoco-mjx 3.17). On `grasp/mug`, scripted episodes then succeed in
6 % instead of all, and some simulations diverge.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Iterator
from typing import Any

_MARGIN = 1e-5
"""By how much `uu` is raised. By Cauchy and Schwarz the square is then at least this share of `uu`,
some hundred roundings; only the length of a step can feel it, not where the solver ends."""

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def sound_line_search() -> Iterator[None]:
    """While it is open, what traces `mjx.step` traces one whose line search yields no NaN.

    Whoever else uses MJX in this process is left alone, and so is an MJX whose line search has
    become another one.
    """
    from mujoco.mjx._src import solver

    point: Any = getattr(solver, "_LSPoint", None)
    names = list(inspect.signature(point.create).parameters) if hasattr(point, "create") else []
    if "uu" not in names:
        yield
        return
    which = names.index("uu")

    with _ONE_AT_A_TIME:
        original, evaluate = point.__dict__["create"], point.create

        def create(_: type, *args: Any) -> Any:
            raised = args[which] * (1.0 + _MARGIN)
            return evaluate(*args[:which], raised, *args[which + 1 :])

        point.create = classmethod(create)
        try:
            yield
        finally:
            point.create = original
