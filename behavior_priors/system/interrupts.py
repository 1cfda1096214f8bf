"""Ctrl-C in the first seconds of a program, which it spends on imports."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType


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
