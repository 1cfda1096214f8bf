"""Calls from compiled programs to functions on the host that a program knows by name.

A program with one of JAX's own callbacks holds on to a function of this process and is never kept
on disk, so that every start compiles it again: half a minute for a learning run on the tabletop.
Here a program holds a name, and XLA's interface for foreign functions brings name and buffers
(`jaxlib/include/xla/ffi/api/c_api.h`, whose structures the formats below follow).
"""

from __future__ import annotations

import ctypes
import functools
import struct
import threading
import traceback
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.system import interrupts
from behavior_priors.types import Array

_TARGET = "behavior_priors_host"
_functions: dict[bytes, Callable[[np.ndarray], np.ndarray]] = {}
_thread = threading.local()

_API_VERSION = 0, 3
_FLOAT32 = 11
_INTERNAL = 13
_METADATA = 1
_EXECUTE = 3

# sizes, extensions and pointers are words of 64 bits, and so is whatever is padded to one
_FRAME = struct.Struct("QQ QQ i4x QQqQQ QQqQQ QQqQQQ")
_EXTENSION = struct.Struct("Q i4x Q Q")
_API = struct.Struct("QQ QQii QQ")
_VERSION_IN_METADATA = struct.Struct("ii")
_BUFFER = struct.Struct("QQ i4x QqQ")
_SPAN = struct.Struct("QQ")
_POINTER = struct.Struct("Q")
_ERROR = struct.Struct("QQ Q i")


def stay() -> None:
    """Makes Python remember the thread that it is called in, for as long as the program runs.

    XLA's threads are foreign to Python, which makes a state for one whenever it calls, and drops it
    when the call returns: 20 µs each time, most of what a call costs. One reference more, taken
    once a thread and never given back, keeps the state.
    """
    if not getattr(_thread, "stays", False):
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.stays = True


def call_named(
    name: str, function: Callable[[np.ndarray], np.ndarray], words: Array, shape: tuple[int, ...]
) -> Array:
    """Calls a function of one array on the host, once for all rows under any `vmap`s.

    Args:
      name: of everything that the function's answer depends on but its argument, in this process
        and in others. Of several functions with a name the first is called.
      function: of a float32 array with the leading axes of all `vmap`s; without effects.
      words: its argument, float32.
      shape: that of the float32 array that it returns, without those axes.

    Returns:
      Its answer; NaN where Ctrl-C has kept it from being called, and comes again.

    Raises:
      RuntimeError: this jaxlib takes no calls by name.
      JaxRuntimeError: when the program runs and the function raises.
    """
    if not can_call_named():
        raise RuntimeError("this jaxlib takes no calls by name")
    if words.dtype != jnp.float32:
        raise TypeError(f"words are {words.dtype} and should be float32")
    _functions.setdefault(name.encode(), function)
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    # what is not written must not be what happened to be in memory
    unwritten = jnp.full(shape, jnp.nan, jnp.float32)
    call = jax.ffi.ffi_call(
        _TARGET, result, vmap_method="broadcast_all", input_output_aliases={1: 0}
    )
    return call(words, unwritten, name=name)


@functools.cache
def can_call_named() -> bool:
    """Whether this jaxlib takes calls by name; registers them where it does."""
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype = ctypes.py_object
    new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    # an exception before the handler's first line comes out of nothing
    interrupts.bring_back()
    address = ctypes.cast(_handler, ctypes.c_void_p).value
    try:
        jax.ffi.register_ffi_target(_TARGET, new_capsule(address, None, None), platform="cpu")
    except Exception:
        return False
    return True


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def _handler(frame: int) -> int | None:
    """XLA's call: nothing, or the address of an error."""
    fields = _read(_FRAME, frame)
    _, extension, api, _, stage, *_ = fields
    try:
        stay()
        if extension:
            _tell_version(extension)
        elif stage == _EXECUTE:
            arguments, results, attributes = fields[9], fields[14], fields[20]
            (span,) = _read(_POINTER, attributes)
            function = _functions[ctypes.string_at(*_read(_SPAN, span))]
            _array(results)[...] = function(_array(arguments))
    except BaseException:
        return _error(api, traceback.format_exc())
    return None


def _read(layout: struct.Struct, address: int) -> tuple[Any, ...]:
    return layout.unpack(ctypes.string_at(address, layout.size))


def _array(buffers: int) -> np.ndarray:
    """The first of a call's buffers, where it lies in XLA's memory."""
    (buffer,) = _read(_POINTER, buffers)
    _, _, dtype, data, rank, dims = _read(_BUFFER, buffer)
    if dtype != _FLOAT32:
        raise TypeError(f"XLA gave a buffer of type {dtype} instead of float32")
    shape = struct.unpack(f"{rank}q", ctypes.string_at(dims, 8 * rank))
    size = 4
    for length in shape:
        size *= length
    memory: Any = (ctypes.c_char * size).from_address(data)
    return np.ndarray(shape, np.float32, memory)


def _tell_version(extension: int) -> None:
    """XLA's question when the handler is registered: which version of its interface is meant."""
    _, kind, _, metadata = _read(_EXTENSION, extension)
    if kind == _METADATA:
        # behind the metadata's size, and the version's size and extension
        ctypes.memmove(metadata + 24, _VERSION_IN_METADATA.pack(*_API_VERSION), 8)


def _error(api: int, text: str) -> int:
    """XLA's own copy of an error."""
    create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(_read(_API, api)[-1])
    # both names keep what they point to until the call is over
    message = ctypes.create_string_buffer(text.replace("\0", "").encode("utf-8", "replace"))
    fields = _ERROR.pack(_ERROR.size, 0, ctypes.addressof(message), _INTERNAL)
    arguments = ctypes.create_string_buffer(fields, len(fields))
    return create(ctypes.addressof(arguments))
