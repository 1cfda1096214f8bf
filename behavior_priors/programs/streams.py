"""Standard output and error of a program, which may be closed, full, or read by nobody."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any, TextIO

_OUT, _ERR = 1, 2
_LABELS = {_OUT: "standard output", _ERR: "standard error"}


class _Standard(io.FileIO):
    """A stream that fails once, with its own name in the error, and goes nowhere after that.

    So nothing fails again while the program ends, and `failure` tells what whoever wrote has not.
    """

    failure: OSError | None = None

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            label = _LABELS[self.fileno()]
            self.failure = type(error)(error.errno, error.strerror, label)
            raise self.failure from None


_prepared: dict[int, _Standard] = {}


def prepare() -> None:
    """Makes of a closed stream one that goes nowhere, and lets the others name themselves.

    Cron jobs and daemons close them. A text that the encoding of one cannot say is escaped.
    """
    _occupy()
    before = sys.stderr
    sys.stdout = _prepare(sys.stdout, _OUT)
    sys.stderr = _prepare(sys.stderr, _ERR)
    for handler in logging.root.handlers:  # of what has been imported
        if isinstance(handler, logging.StreamHandler) and handler.stream is before:
            handler.stream = sys.stderr


def failure() -> OSError | None:
    """The first error of a stream, with the stream as its file name, or None if all is written."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # it is kept
            stream.flush()
    return next((x.failure for x in _prepared.values() if x.failure is not None), None)


def _occupy() -> None:
    """Opens what is closed of the first three descriptors.

    The next file would have its number otherwise, and what libraries print would be in that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _ERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _prepare(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # so Python tells that it was closed
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper) or descriptor in _prepared:
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    _prepared[descriptor] = _Standard(descriptor)
    return io.TextIOWrapper(
        io.BufferedWriter(_prepared[descriptor]),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )
