"""The polite end of a program: SIGTERM, which a machine sends that is about to take its place away.

A program that works on something worth saving defers its end until that is saved, at the end of the
epoch under way. Where that takes long and nothing would be lost but the epoch itself, it ends after
`PATIENCE`; and a second SIGTERM ends it at once.

Python runs handlers of signals between two of its own instructions, and an epoch is one program on
the device that may take minutes. A thread therefore waits beside it for the signal.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from behavior_priors.system import interrupts

STATUS = 128 + signal.SIGTERM
"""Exit status of a program that SIGTERM has ended, as a shell reports it."""

PATIENCE = 5.0
"""Seconds that an epoch may take to its end: half of what Docker waits before it kills."""

MESSAGE = "terminated by SIGTERM"

_POLL = 0.05


class Terminated(BaseException):
    """SIGTERM has come, and what there was to save is saved."""


@dataclass
class _State:
    requested: bool = False
    deferring: int = 0
    unsaved: bool = False
    swallowed: bool = False


_state = _State()


def requested() -> bool:
    """Whether SIGTERM has come."""
    return _state.requested


def check() -> None:
    """Ends the program if that has been asked for; to be called when all is saved.

    Raises:
      Terminated: it has.
    """
    if _state.requested:
        raise Terminated


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, SIGTERM ends nothing until `check` is called, unless that takes too long.

    Raises:
      Terminated: at the block's end, where SIGTERM has come inside.
    """
    _state.deferring += 1
    try:
        yield
    finally:
        _state.deferring -= 1
        if _state.deferring == 0:
            _state.unsaved = False
    check()


def must_save(unsaved: bool) -> None:
    """Says whether something in memory is worth waiting for, however long it takes to be saved."""
    _state.unsaved = unsaved


def install() -> None:
    """Lets SIGTERM end this process politely from now on; unless it is one that ignores SIGTERM."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, _handle)
    os.register_at_fork(after_in_child=_uninstall)  # its end is not ours
    interrupts.bring_back()
    report = sys.unraisablehook

    def look(unraisable: Any) -> None:
        if unraisable.exc_type is Terminated:
            _state.swallowed = True
        else:
            report(unraisable)

    sys.unraisablehook = look
    threading.Thread(target=_watch, args=(reader,), name="termination", daemon=True).start()


def _uninstall() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(*_: Any) -> None:
    """Runs in the main thread as soon as that runs Python.

    Where that is a callback out of which no exception comes, `_watch` ends the program.
    """
    _state.requested = True
    if not _state.deferring:
        raise Terminated


def _watch(reader: int) -> None:
    """Waits for signals in a thread, which runs also while the main thread waits for a device."""
    while signal.SIGTERM not in os.read(reader, 1):
        pass  # another signal that Python handles
    _state.requested = True
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        ready, _, _ = select.select([reader], [], [], _POLL)
        if ready and signal.SIGTERM in os.read(reader, 1):
            break
        if _state.swallowed and not _state.deferring:
            break
        if _state.unsaved:
            end = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError, ValueError):  # nobody may be able to read it
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"error: {MESSAGE}\n".encode())
    os._exit(STATUS)
