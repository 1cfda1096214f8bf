"""Where numbers go while a run lasts: files and dashboards."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, SupportsFloat

from behavior_priors.data.names import shown
from behavior_priors.errors import UserError
from behavior_priors.system.files import append, reason, write_atomically
from behavior_priors.system.foreign_files import parse_json, read_lines

LARGEST = 3.4028234663852886e38
"""Of single precision, in which runs compute. What is beyond it can neither be averaged nor drawn;
no run has written it."""


class MetricWriter(Protocol):
    """Takes named numbers, step by step."""

    def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Records metrics; steps never go backwards."""

    def close(self) -> None:
        """Finishes what is still being written."""


class JsonlWriter:
    """One JSON object a line: `{"step": 1000, "train/loss": 0.5, ...}`.

    Every row is in the file before `write` returns, and rows may name different metrics. A number
    that is not finite in single precision is written as null.
    """

    def __init__(self, path: Path, *, last_step: int | None) -> None:
        """Opens the file to go on after a step.

        A run that was killed has written rows beyond the checkpoint that it goes on from, and will
        write them again: they are dropped here.

        Args:
          path: the file; made where it is missing.
          last_step: rows up to this step are kept; None keeps none.
        """
        self._path = path
        rows = [
            row for row in _read_rows(path) if last_step is not None and row["step"] <= last_step
        ]
        write_atomically(path, "".join(_to_line(row) for row in rows))
        # unbuffered, so that what could not be written is not tried again by `close`
        self._file = path.open("ab", buffering=0)

    def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Appends one row.

        Raises:
          UserError: the disk is full; the rows before are kept.
        """
        row = {"step": step} | {name: _finite(value) for name, value in metrics.items()}
        try:
            append(self._file, _to_line(row).encode())
        except OSError as error:
            raise UserError(
                f"{self._path} could not be written: {reason(error)}; the rows before are kept"
            ) from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Reads what `JsonlWriter` has written, as one dictionary a row.

    Raises:
      UserError: there is no such file, or a row is none of `JsonlWriter`'s.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; give the workdir of a run")
    return list(_read_rows(path))


class TensorBoardWriter:
    """Event files for TensorBoard, `folder/events.out.tfevents.*`."""

    def __init__(self, folder: Path, *, last_step: int | None) -> None:
        """Opens new event files; TensorBoard hides older points beyond `last_step`."""
        tensorboard = _import_writer("tensorboardX", "tensorboardX", "--tensorboard")
        purge_step = 0 if last_step is None else last_step + 1
        self._writer = tensorboard.SummaryWriter(str(folder), purge_step=purge_step)

    def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Records one point per metric; there is none where a number is not finite."""
        for name, value in metrics.items():
            if _finite(value) is not None:
                self._writer.add_scalar(name, float(value), step)

    def close(self) -> None:
        """Writes what is still in memory."""
        self._writer.close()


class WandbWriter:
    """A run of Weights & Biases; the workdir names it, so that a resumed run is the same one."""

    def __init__(self, workdir: Path, *, project: str, config: Mapping[str, Any]) -> None:
        """Starts the run, or goes on with it.

        Args:
          workdir: the run's folder.
          project: where the run is listed.
          config: the settings shown beside it.

        Raises:
          UserError: the package is not installed.
        """
        wandb = _import_writer("wandb", "behavior-priors[wandb]", "--wandb")
        name = "-".join(part for part in workdir.parts[-3:] if part not in ("/", ".", ".."))
        self._run = wandb.init(
            project=project,
            id=name,
            name=name,
            dir=str(workdir),
            config=dict(config),
            resume="allow",
            # a run may be gone on with for longer
            allow_val_change=True,
        )

    def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Records the metrics that are finite."""
        finite = {n: float(x) for n, x in metrics.items() if _finite(x) is not None}
        self._run.log(finite, step=step)

    def close(self) -> None:
        """Uploads what is still here."""
        self._run.finish()


class MultiWriter:
    """Several writers as one."""

    def __init__(self, writers: Sequence[MetricWriter]) -> None:
        self._writers = tuple(writers)

    def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Hands the metrics to every writer, in order."""
        for writer in self._writers:
            writer.write(step, metrics)

    def close(self) -> None:
        """Closes every writer."""
        for writer in self._writers:
            writer.close()


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    if not (path.exists() or path.is_symlink()):
        return
    before = 0
    for number, line in enumerate(read_lines(path), start=1):
        # A kill can leave one torn line; whatever it said is about to be written again.
        if not line.endswith("\n"):
            return
        row = parse_json(line, dict[str, float | None], f"{path}, line {number},")
        if not isinstance(row.get("step"), int) or row["step"] < 0:
            raise UserError(f"{path}, line {number}, has no step; leave the line out")
        if row["step"] < before:
            raise UserError(
                f"{path}, line {number}, has step {row['step']} after step {before}; steps never "
                "go backwards, leave the line out"
            )
        before = row["step"]
        for name, value in row.items():
            if value is not None and abs(value) > LARGEST:
                raise UserError(
                    f"{path}, line {number}, has {value:.4g} as {shown(name)}, which single "
                    "precision does not hold; leave the line out"
                )
        yield row


def _to_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _finite(value: SupportsFloat) -> float | None:
    number = float(value)
    return number if abs(number) <= LARGEST else None


def _import_writer(module: str, package: str, flag: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{flag} needs a package: pip install '{package}'") from error
