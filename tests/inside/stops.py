"""Runs as SIGKILL would leave them, without a process to kill: copies that are made on the way."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from behavior_priors.runs.metrics import JsonlWriter


class Stop(NamedTuple):
    """Where a stage is stopped: after a row of metrics, before its state is saved.

    Attributes:
      rows: how many the stage has written then.
      target: a folder that is not there yet, for the copy of the run.
    """

    rows: int
    target: Path


@contextmanager
def stopped(workdir: Path, stops: Mapping[str, Stop]) -> Iterator[None]:
    """Inside, stages leave copies of the run.

    Args:
      workdir: of the run.
      stops: by the stage's name.
    """

    def look(stage: str, rows: int) -> None:
        if stage in stops and rows == stops[stage].rows:
            shutil.copytree(workdir, stops[stage].target)

    with counted(workdir, look):
        yield


@contextmanager
def counted(
    workdir: Path, look: Callable[[str, int], None] = lambda *_: None
) -> Iterator[Counter[str]]:
    """Inside, rows of metrics are counted by their stages.

    Args:
      workdir: of the run.
      look: called with the stage and its number of rows, after each row.
    """
    rows, write = Counter[str](), JsonlWriter.write

    def writing(self: JsonlWriter, *args: Any, **kwargs: Any) -> None:
        write(self, *args, **kwargs)
        stage = (Path.cwd() / self._path).parent
        if stage.parent == workdir:
            rows[stage.name] += 1
            look(stage.name, rows[stage.name])

    with mock.patch.object(JsonlWriter, "write", writing):
        yield rows
