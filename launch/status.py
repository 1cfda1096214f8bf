"""What has become of the runs of a sweep, told as it happens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from behavior_priors.programs import termination
from behavior_priors.programs.progress import format_seconds
from behavior_priors.runs.workdir import SUMMARY_FILE
from behavior_priors.system.files import NO_SPACE, reason
from behavior_priors.system.texts import printable
from launch.jobs import GIGABYTE, Event, Job, write_to_log

_TAIL = 1 << 16
"""Bytes at the end of a log in which its last line is looked for."""


class Planned(NamedTuple):
    """A run of the sweep: its process, its folder, and what it must have been started with."""

    job: Job
    workdir: Path
    record: Mapping[str, Any]

    def is_complete(self) -> bool:
        """Whether the run has written its results."""
        return (self.workdir / SUMMARY_FILE).is_file()


class Status:
    """A line for every change: how many runs are in which state, and what has changed.

    Attributes:
      failed: reasons by run.
      lost: why a line could not be written; runs are under way, so that this ends nothing by
        itself.
    """

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._runs = {run.job.name: run for run in planned}
        self._done = sum(run.is_complete() for run in planned)
        self._running: set[str] = set()
        self.failed: dict[str, str] = {}
        self.lost: OSError | None = None
        if self._done:
            self._say(f"{self._done} complete already")

    def should_stop(self) -> bool:
        """Whether the sweep has been told to end, or nobody can be told of it any more."""
        return termination.requested() or self.lost is not None

    def show(self, event: Event) -> None:
        """Counts an event and says it."""
        name = event.job.name
        if event.status is None:
            self._running.add(name)
            self._say(f"{name} started")
            return
        self._running.discard(name)
        taken = f"in {format_seconds(event.seconds)}"
        if event.memory:
            taken += f", {event.memory / GIGABYTE:.1f} GB"
        if event.status == 0 and self._runs[name].is_complete():
            self._done += 1
            self._say(f"{name} done {taken}")
            return
        if self.should_stop():
            self._say(f"{name} stopped {taken}; the same command continues it")
            return
        why = event.reason or _last_words(event.job.log, event.status)
        if event.status == 0:
            why = f"it ended without a {SUMMARY_FILE}"
        see = f"; see {event.job.log}" if event.job.log.is_file() else ""
        self.failed[name] = f"status {event.status} {taken}: {why}{see}"
        self._say(f"{name} failed, {self.failed[name]}")

    def _say(self, what: str) -> None:
        running = len(self._running)
        waiting = len(self._runs) - self._done - running - len(self.failed)
        counts = f"{self._done}/{len(self._runs)} done  {running} running  {waiting} waiting"
        try:
            print(f"sweep  {counts}  {len(self.failed)} failed  {what}", flush=True)
        except OSError as error:
            self.lost = self.lost or error


def _last_words(log: Path, status: int) -> str:
    """What a run that has failed has said last, as far as there was room to say it."""
    try:
        with log.open("r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            text = file.read(_TAIL)
            is_torn = text[-1:] not in (b"", b"\n")
            # only who writes there learns whether it could be written to
            begin = "\n" if is_torn else ""
            write_to_log(file, f"{begin}$ exit status {status}\n")
    except OSError as error:
        if error.errno in NO_SPACE:
            return f"no space left on device for what it said ({reason(error)})"
        return f"its log is not what it was ({reason(error)})"
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    if not lines or lines[-1].startswith("$ "):
        return "it said nothing"
    words = printable(lines[-1])
    return f"its log ends in the middle of a line: {words}" if is_torn else words
