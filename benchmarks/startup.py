"""Seconds from the start of a process to its first update, against SBX.

Ours imports, builds models and compiles a whole epoch of PARROT, physics included; the peer updates
the same networks in an environment that does nothing. Both start a fresh interpreter without any
compilation cache.
"""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import BenchmarkError, Plan, Row, race, seconds_row

PEERS = ("gymnasium", "sbx")


def measure(plan: Plan) -> Iterator[Row]:
    """Yields one row."""
    contestants = {name: functools.partial(_start, name) for name in ("ours", "sbx")}
    seconds = race(contestants, plan)
    yield seconds_row(
        "startup against sbx",
        seconds["ours"],
        seconds["sbx"],
        equal="steps, updates, batch, sizes and networks; the peer has no physics and no flow",
        packages=("sbx-rl",),
    )


def _start(name: str) -> None:
    """Runs a program until it has updated.

    Raises:
      BenchmarkError: it made no update, or failed.
    """
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-m", "benchmarks.first_update", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        loss = process.stdout.readline()
        process.kill()  # what follows the update is not of interest
    if not (loss.strip() and math.isfinite(float(loss))):
        raise BenchmarkError(f"`{' '.join(command[1:])}` printed {loss!r} instead of a loss")
