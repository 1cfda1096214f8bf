"""The threads in which gymnasium's environments live, and how they are closed in the end."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from behavior_priors.envs.adapters.gym.look import say
from behavior_priors.system.faults import fault

T = TypeVar("T")

CLOSE_SECONDS = 5.0
"""For what is under way in a home when the program ends, and then for each `close`."""


class Home:
    """The one thread in which everything is done to an environment's instances.

    A context of OpenGL's, a connection of SQLite's and an event loop belong to the thread that made
    them, and JAX calls from whatever thread it likes. Nor does Python raise a user's Ctrl-C here,
    so that a `KeyboardInterrupt` is the environment's own. It costs 20 µs a call.
    """

    def __init__(self, name: str):
        """Starts the thread.

        Args:
          name: of the environment, for messages.
        """
        self._name = name
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._is_left = False
        self._envs: list[Any] = []
        self._closed = 0
        self._is_empty = threading.Event()
        _homes.add(self)
        # no program waits for it at its end: an environment may hang
        threading.Thread(target=self._run, name=f"home of {name}", daemon=True).start()

    def do(self, work: Callable[[], T]) -> T:
        """Does something in the thread, after what was asked for before; raises what it raises.

        Raises:
          RuntimeError: the instances are closed.
        """
        outcome: list[Any] = []
        done = threading.Lock()
        done.acquire()
        with self._gate:
            if self._is_left:
                raise RuntimeError(f"{self._name}: its instances are closed")
            self._tasks.put((work, outcome, done))
        done.acquire()
        result, error = outcome
        if error is None:
            return result
        try:
            raise error
        finally:
            del error, outcome  # its traceback has this frame

    def keep(self, env: Any) -> None:
        """Takes in an environment that was made here, to be closed in the end."""
        self._envs.append(env)
        _close_at_exit()

    def leave(self) -> None:
        """Closes the environments as soon as what was asked for is done; does not wait for that.

        A garbage collector may call it, in whatever place.
        """
        self._tasks.put(None)

    def wait(self) -> None:
        """Waits until all of them are closed, or one of them does not come to an end."""
        closed = self._closed
        while not self._is_empty.wait(CLOSE_SECONDS):
            if self._closed == closed:
                say(f"{self._name}: close takes more than {CLOSE_SECONDS:g} s and is left at that")
                break
            closed = self._closed
        _homes.discard(self)

    def _run(self) -> None:
        # people's environments ask for the loop of the thread, which only a main one has by itself
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        while (task := self._tasks.get()) is not None:
            self._attend(*task)
            del task  # it may be all that keeps what has asked from being forgotten
        with self._gate:
            self._is_left = True
        while not self._tasks.empty():
            if (task := self._tasks.get()) is not None:
                self._attend(self._refuse, *task[1:])
        while self._envs:
            self._close(self._envs.pop())
            self._closed += 1
        with contextlib.suppress(Exception):
            loop.close()
        _homes.discard(self)
        self._is_empty.set()

    @staticmethod
    def _attend(work: Callable[[], Any], outcome: list[Any], done: Any) -> None:
        try:
            outcome[:] = work(), None
        except BaseException as error:  # whoever has asked is to have it
            outcome[:] = None, error
        done.release()

    def _refuse(self) -> None:
        raise RuntimeError(f"{self._name}: its instances are closed")

    def _close(self, env: Any) -> None:
        try:
            env.close()
        except BaseException as error:
            say(str(fault(self._name, "close", error)))


_homes: set[Home] = set()
"""Those whose environments are still to be closed."""

_waiting: list[threading.Thread] = []


def close_all() -> None:
    """Closes all environments that were made, each in its thread."""
    homes = list(_homes)
    for home in homes:
        home.leave()
    for home in homes:
        home.wait()


def _close_at_exit() -> None:
    """Has the environments closed before Python waits for the threads and processes they began.

    It waits for threads when the main one has come to its end, and for processes later, in what
    multiprocessing has asked for at its import; what was asked for last comes first there. A
    program that leaves threads alone calls the latter only.
    """
    atexit.unregister(close_all)
    atexit.register(close_all)
    if not _waiting:
        # a home begins it, and is a daemon; Python has to wait for this one
        thread = threading.Thread(target=_close_after_main, name="closes homes", daemon=False)
        _waiting.append(thread)
        thread.start()


def _close_after_main() -> None:
    threading.main_thread().join()
    close_all()


def _forget() -> None:
    _homes.clear()
    _waiting.clear()


# a child that an environment has forked has neither the threads nor what is to be closed
os.register_at_fork(after_in_child=_forget)
