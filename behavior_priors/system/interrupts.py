"""Ctrl-C where Python would say too much of it, or nothing at all."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

_PAUSE = 0.05
"""Seconds until a signal is sent again, so that whatever has swallowed it is over."""


@dataclass
class _State:
    swallowed: bool = False


_state = _State()


@functools.cache
def bring_back() -> None:
    """Has Ctrl-C come again that fell into a call out of which no exception comes.

    Python raises KeyboardInterrupt wherever the main thread happens to be, and what C has called,
    such as a function that a program on the device calls, may have nobody to raise to.
    """
    report = sys.unraisablehook

    def look(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            report(unraisable)
            return
        _state.swallowed = True
        again = threading.Timer(_PAUSE, _send)
        again.daemon = True
        again.start()

    sys.unraisablehook = look


def check() -> None:
    """Ends what is about to write a result, if Ctrl-C has spoiled it.

    Raises:
      KeyboardInterrupt: the one that was swallowed and has not come again yet.
    """
    if _state.swallowed:
        raise KeyboardInterrupt


def _send() -> None:
    _state.swallowed = False
    os.kill(os.getpid(), signal.SIGINT)


def in_one_line() -> None:
    """Makes a KeyboardInterrupt that nobody catches one line; the process ends by SIGINT as ever.

    For packages of programs, before they import anything that takes long.
    """
    report = sys.excepthook

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                print("error: interrupted", file=sys.stderr)
        else:
            report(kind, error, trace)

    sys.excepthook = say
