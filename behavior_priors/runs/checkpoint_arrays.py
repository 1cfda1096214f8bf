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

from behavior_priors.errors import UserError

_LONGEST_REASON = 200


def hush() -> None:
    """Makes Orbax and TensorStore leave it to us to say what went wrong."""
    # Orbax narrates at length, and logs with tracebacks what it then raises anyway; asyncio tells
    # of the tasks that Orbax leaves behind when one of them fails.
    python_logging.getLogger("absl").addFilter(_is_not_from_orbax)
    python_logging.getLogger("asyncio").addFilter(_is_not_about_orbax)
    if not isinstance(sys.unraisablehook, _Quiet):
        sys.unraisablehook = _Quiet(sys.unraisablehook)


def write_arrays(path: Path, leaves: Mapping[str, jax.Array]) -> None:
    """Writes arrays by their names; those without elements are left out.

    Args:
      path: of a folder to make.
      leaves: arrays by name.

    Raises:
      OSError: the system refuses; `system_error` has its words.
    """
    context = ocp.Context()
    # Floats hardly compress, and trying takes longer than writing them.
    context.array.saving.use_compression = False
    with _quiet_leftovers():
        try:
            with context:
                ocp.save(path, {name: leaf for name, leaf in leaves.items() if leaf.size})
            return
        except (OSError, ValueError) as error:
            reason = system_error(error)
            if reason is None:
                raise
        gc.collect()
    # Its threads may hold some still, which are collected at the process's end.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    raise OSError(reason)


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
    with _quiet_leftovers():
        try:
            return _read_arrays(path, wanted)
        except Exception as error:  # whatever Orbax makes of them
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
        gc.collect()
    raise UserError(f"checkpoint {path.parent} cannot be read: {reason}")


@contextlib.contextmanager
def _quiet_leftovers() -> Iterator[None]:
    """Keeps what Orbax leaves behind where it fails, such as coroutines, from complaining.

    The failure's frames hold these things, so they can be collected once it has been caught.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
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
    """A hook for exceptions that nobody can catch, without those of TensorStore's threads.

    The first write that fails closes the event loop, on which the others then cannot report theirs.
    """

    def __init__(self, report: Callable[[Any], Any]) -> None:
        self._report = report

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            self._report(unraisable)


def _is_not_from_orbax(record: python_logging.LogRecord) -> bool:
    return f"{os.sep}orbax{os.sep}" not in record.pathname


def _is_not_about_orbax(record: python_logging.LogRecord) -> bool:
    return f"{os.sep}orbax{os.sep}" not in record.getMessage()
