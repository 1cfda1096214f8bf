"""A stage of a run while a process works on it: its folder, its checkpoints, and when to save."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from behavior_priors.errors import UserError
from behavior_priors.programs import termination
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.system import locks
from behavior_priors.system.files import reason

SAVING_SHARE = 0.1
"""Of the time of a long epoch, what saving it may take."""


class Stage:
    """Checkpoints that are saved when they are due; `open_stage` makes one.

    They are due every so many epochs, when the process is asked to end, and after every epoch that
    takes longer than such a process can wait for, unless saving takes long as well. So a process
    that is to end in a long epoch has lost nothing but that.

    Attributes:
      checkpoints: of the stage.
    """

    def __init__(self, checkpoints: Checkpointer, every: int) -> None:
        """Only for `open_stage`."""
        self.checkpoints = checkpoints
        self._every = every
        self._began: float | None = None
        self._save_seconds = 0.0

    def is_due(self, epoch: int) -> bool:
        """Whether the epoch that has just ended, counted from 1, is to be saved."""
        now = time.monotonic()
        # the first one of a process compiles
        seconds = 0.0 if self._began is None else now - self._began
        self._began = now
        is_long = seconds > termination.PATIENCE and self._save_seconds <= SAVING_SHARE * seconds
        is_due = epoch % self._every == 0 or is_long or termination.requested()
        termination.must_save(True)
        return is_due

    def save(self, step: int, state: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Saves a state, and ends the process if that has been waited for.

        Raises:
          UserError: it cannot be saved.
          Terminated: the process is asked to end.
        """
        began = time.monotonic()
        self.checkpoints.save(step, state, metadata)
        termination.must_save(False)
        termination.check()
        self._began = time.monotonic()
        self._save_seconds = self._began - began

    def kept(self) -> str:
        """What is on disk, in words."""
        steps = self.checkpoints.steps()
        if steps:
            return f"the checkpoint of step {steps[-1]} is kept"
        return "nothing was saved before"


@contextlib.contextmanager
def open_stage(folder: Path, checkpoint_every: int = 1) -> Iterator[Stage]:
    """The stage in a folder, which is this process's inside; SIGTERM waits for the next save.

    Args:
      folder: made where it is missing.
      checkpoint_every: epochs between two checkpoints.

    Raises:
      UserError: the folder cannot be used, or another process works in it.
    """
    path = folder / locks.LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = locks.hold(path)
    except OSError as error:
        raise UserError(f"{folder} cannot be used: {reason(error).lower()}") from error
    if lock is None:
        raise UserError(f"{folder} is in use by {locks.holder(path)}; wait for it or stop it")
    try:
        checkpoints = Checkpointer(folder / "checkpoints")
        checkpoints.clean()
        with termination.deferred():
            yield Stage(checkpoints, checkpoint_every)
    finally:
        lock.release()
