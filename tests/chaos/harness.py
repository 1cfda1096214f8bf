"""Work that is ended again and again, at times drawn uniformly, and must come to the same.

Each end is one of `KINDS`. After it the same command goes on; once it has ended by itself its data,
parameters and metrics are compared with those of work that nobody disturbed, bit for bit.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.runs.kept import RESULTS_FILE
from tests.experiments import runs
from tests.experiments.forks import Forks

KINDS = ("KILL", "TERM", "TERM twice", "INT", "STOP and CONT", "full disk")

STATUSES = {
    "KILL": {-signal.SIGKILL},
    # the handler is installed when the flags have been read
    "TERM": {143, -signal.SIGTERM},
    "TERM twice": {143, -signal.SIGTERM},
    "INT": {130, -signal.SIGINT},
    "STOP and CONT": {0},
    "full disk": {2},
}

SMALLEST_DISK = 4096
"""Bytes that a file may have on the fullest disk."""

READS_CACHE = {"jax_persistent_cache_min_compile_time_secs": 1e9}
"""Whoever may be killed writes no cache of compiled programs."""


class Work(NamedTuple):
    """A command that works in the folder `run`.

    Attributes:
      name: for the reader.
      program: module of the command.
      arguments: its flags.
      prepare: makes what the command reads, in the folder that it is started in.
    """

    name: str
    program: str
    arguments: Sequence[str]
    prepare: Callable[[Path], None] = lambda folder: None


class Undisturbed(NamedTuple):
    """How work ends by itself.

    Attributes:
      outcome: what it leaves.
      seconds: that it takes once everything is compiled.
      largest: bytes of its largest file.
    """

    outcome: Mapping[str, Any]
    seconds: float
    largest: int


def outcome(run: Path) -> dict[str, Any]:
    """What must be the same: parameters and all other states, data, metrics, results and files."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.name == "checkpoints":
            found[name] = runs.arrays(path.parent)
        elif path.name == "metrics.jsonl":
            found[name] = [runs.without_seconds(row) for row in runs.rows(path.parent)]
        elif path.name == RESULTS_FILE:
            found[name] = runs.kept_results(path.parent)
        elif path.name == "summary.json":
            found[name] = runs.without_seconds(runs.read_json(path))
        elif path.suffix == ".npz" and path.parent == run:  # its zip has the time in it
            with np.load(path, allow_pickle=False) as arrays:
                found[name] = {key: (x.dtype.str, x.tobytes()) for key, x in arrays.items()}
        elif path.is_file() and "checkpoints" not in path.parts:
            # pictures hold no time, flags and shards neither
            found[name] = path.read_bytes()
    return found


def leave_alone(forks: Forks, work: Work, folder: Path) -> Undisturbed:
    """Runs work twice without disturbing it: to compile it, and to see how long it takes."""
    results = []
    for name in ("first", "second"):
        (folder / name).mkdir(parents=True)
        work.prepare(folder / name)
        result = forks.run(work.program, *work.arguments, folder=folder / name)
        assert result.status == 0, (work.name, result)
        results.append(result)
    first, second = (outcome(folder / name / "run") for name in ("first", "second"))
    assert first == second, f"{work.name} does not repeat"
    sizes = [
        path.stat().st_size for path in (folder / "first" / "run").rglob("*") if path.is_file()
    ]
    return Undisturbed(first, results[1].seconds, max(sizes))


def disturb(
    forks: Forks, work: Work, expected: Undisturbed, folder: Path, rng: random.Random, most: int
) -> Counter[str]:
    """Ends work until it has ended by itself, which it may after so many ends.

    Returns:
      How often it was ended, by kind.
    """
    folder.mkdir(parents=True)
    work.prepare(folder)
    ends: Counter[str] = Counter()
    history = []
    while True:
        kind = rng.choice(KINDS) if ends.total() < most else None
        at = rng.uniform(0.0, expected.seconds)
        number = {"KILL": signal.SIGKILL, "INT": signal.SIGINT}.get(kind or "", signal.SIGTERM)
        signals: list[tuple[float, int]] = [(at, number)]
        file_bytes = None
        if kind == "TERM twice":
            signals.append((at + rng.uniform(0.0, 0.2), signal.SIGTERM))
        elif kind == "STOP and CONT":
            signals = [(at, signal.SIGSTOP), (at + 0.3, signal.SIGCONT)]
        elif kind in ("full disk", None):
            signals = []
        if kind == "full disk":
            file_bytes = int(
                SMALLEST_DISK * (2.0 * expected.largest / SMALLEST_DISK) ** rng.random()
            )
        result = forks.run(
            work.program,
            *work.arguments,
            folder=folder,
            file_bytes=file_bytes,
            signals=signals,
            config=READS_CACHE,
        )
        history.append((kind, round(at, 2), file_bytes, result.status, result.stderr[-4000:]))
        allowed = {0} if kind is None else STATUSES[kind] | {0}
        assert result.status in allowed, (work.name, history)
        if kind == "full disk" and result.status:
            error = result.stderr.splitlines()[-1]
            assert error.startswith("error: "), (work.name, history)
            assert "run/" in error, (work.name, history)
            assert "File too large" in error, (work.name, history)
        assert "Traceback" not in result.stderr or kind == "INT", (work.name, history)
        if kind is not None and (result.status or kind == "STOP and CONT"):
            ends[kind] += 1
        if result.status == 0:
            break
    found = outcome(folder / "run")
    differing = [
        n
        for n in sorted(found.keys() | expected.outcome.keys())
        if found.get(n) != expected.outcome.get(n)
    ]
    assert not differing, (work.name, differing, history)
    shutil.rmtree(folder)
    return ends
