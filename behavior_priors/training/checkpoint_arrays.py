"""The arrays of a checkpoint in Orbax's format, and what Orbax and TensorStore say of them."""

from __future__ import annotations

import contextlib
import gc
import logging as python_logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from behavior_priors.types import UserError

_LONGEST_REASON = 200


def hush() -> None:
    """Makes Orbax and TensorStore leave it to us to say what went wrong."""
    # Orbax narrates at length, and logs with tracebacks what it then raises anyway.
    python_logging.getLogger("absl").addFilter(_is_not_from_orbax)
    if not isinstance(sys.excepthook, _Quiet):
        sys.excepthook = _Quiet(sys.excepthook)


def write_arrays(path: Path, leaves: Mapping[str, jax.Array]) -> None:
    """Writes arrays by their names; those without elements are left out.

    Args:
      path: of a folder to make.
      leaves: arrays by name.

    Raises:
      OSError, ValueError: the system refuses; `system_error` has its words.
    """
    context = ocp.Context()
    # Floats hardly compress, and trying takes longer than writing them.
    context.array.saving.use_compression = False
    with context:
        ocp.save(path, {name: leaf for name, leaf in leaves.items() if leaf.size})


def read_arrays(path: Path, wanted: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Arrays in the order of `wanted`, from files that need not be as Orbax writes them.

    Args:
      path: of the folder that `write_arrays` made.
      wanted: arrays or `jax.ShapeDtypeStruct`s by name, which say what to expect and where to put
        it.

    Raises:
      UserError: they cannot be read.
    """
    reason = ""
    with warnings.catch_warnings(), _silent_endings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return _read_arrays(path, wanted)
        except Exception as error:  # whatever Orbax makes of them
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
        gc.collect()  # coroutines that Orbax leaves behind, which would complain later
    raise UserError(f"checkpoint {path.parent} cannot be read: {reason}")


@contextlib.contextmanager
def _silent_endings() -> Iterator[None]:
    """Keeps objects that die in pieces from saying so."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


def _read_arrays(path: Path, wanted: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Arrays in the order of `wanted`. Orbax has none of those without elements."""
    anywhere = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    targets = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding or anywhere)
        for name, leaf in wanted.items()
    }
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    with context:
        loaded = ocp.load(path, {name: leaf for name, leaf in targets.items() if leaf.size})
    return {
        name: loaded[name]
        if leaf.size
        else jax.device_put(jax.numpy.zeros(leaf.shape, leaf.dtype), leaf.sharding)
        for name, leaf in targets.items()
    }


def system_error(error: Exception) -> str | None:
    """The operating system's words for a failed write; TensorStore wraps them in a ValueError."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else None


class _Quiet:
    """Lets pass what threads of TensorStore say once a write of another one has failed.

    The first failure closes the event loop, on which the others then cannot report theirs.
    """

    def __init__(self, report: Callable[..., Any]) -> None:
        self._report = report

    def __call__(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not (kind is RuntimeError and str(error) == "Event loop is closed"):
            self._report(kind, error, trace)


def _is_not_from_orbax(record: python_logging.LogRecord) -> bool:
    return f"{os.sep}orbax{os.sep}" not in record.pathname
