"""Side by side with peers: a table, and the same rows in a file.

python -m benchmarks.run
python -m benchmarks.run --only=flow,sac --output=rows.json
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Count, Positive
from behavior_priors.errors import UserError
from behavior_priors.programs import entry
from behavior_priors.programs.progress import format_seconds
from behavior_priors.runs.workdir import write_json_atomic
from benchmarks import (
    brax_vector,
    engines,
    env,
    flow,
    gym_vector,
    kl_sac,
    maze,
    meta_collection,
    meta_env,
    meta_evaluation,
    pearl,
    readers,
    replay,
    sac,
    skill_model,
    startup,
)
from benchmarks.harness import BenchmarkError, Plan, Row, check_peers, table

MIN_ROUNDS = 6


class Benchmark(NamedTuple):
    """A benchmark: the modules that it needs, and what gives its rows one by one."""

    peers: tuple[str, ...]
    measure: Callable[[Plan], Iterator[Row]]


BENCHMARKS = {
    module.__name__.rpartition(".")[2]: Benchmark(module.PEERS, module.measure)
    for module in (
        env,
        engines,
        gym_vector,
        brax_vector,
        maze,
        replay,
        readers,
        sac,
        kl_sac,
        flow,
        skill_model,
        pearl,
        meta_env,
        meta_collection,
        meta_evaluation,
        startup,
    )
}
"""By name, in the order in which they run."""


@dataclass(frozen=True)
class RunConfig:
    """The program's flags.

    Attributes:
      only: names of the benchmarks to run; empty for all of them.
      output: JSON file that the rows are written to, after every benchmark.
      rounds: how often ours and each peer have their turn.
      seconds: about how long a turn lasts.
    """

    only: tuple[str, ...] = ()
    output: str = "runs/benchmarks.json"
    rounds: Count = MIN_ROUNDS
    seconds: Positive = 0.5


def main() -> None:
    """Runs what the command line describes; the exit status is 1 if a benchmark gave no result."""
    if not run(flags.read(RunConfig)):
        sys.exit(1)


def run(config: RunConfig) -> bool:
    """Runs benchmarks, prints their rows and writes them to a file.

    Returns:
      Whether all of them could compare ours with the peers.

    Raises:
      UserError: the config does not make sense, or peers are missing; nothing has run then.
    """
    names = _check(config)
    check_peers({name: BENCHMARKS[name].peers for name in names})
    output = _open_output(config.output)
    plan = Plan(rounds=config.rounds, seconds=config.seconds)
    began, rows, failures = time.perf_counter(), [], []
    for number, name in enumerate(names, start=1):
        elapsed = format_seconds(time.perf_counter() - began)
        print(f"{name}  {number} of {len(names)} benchmarks  {elapsed}", flush=True)
        try:
            for row in BENCHMARKS[name].measure(plan):
                rows.append(row)
                print(f"  {_line(row)}", flush=True)
        except BenchmarkError as error:
            failures.append(f"{name} failed: {' '.join(str(error).split())}")
            print(f"  {failures[-1]}", flush=True)
        write_json_atomic(output, [row.as_json() for row in rows])
    print(f"\n{table(rows)}\n")
    print(f"{len(rows)} rows in {output}  {format_seconds(time.perf_counter() - began)}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return not failures


def _check(config: RunConfig) -> list[str]:
    """The chosen benchmarks, each once, in the order in which they run."""
    unknown = [name for name in config.only if name not in BENCHMARKS]
    if unknown:
        raise UserError(
            f"--only: no benchmark is called {', '.join(unknown)}; there are "
            f"{', '.join(BENCHMARKS)}"
        )
    if config.rounds < MIN_ROUNDS:
        raise UserError(
            f"--rounds={config.rounds} is too few to compare; it should be at least {MIN_ROUNDS}"
        )
    with flags.naming("", config):
        check_ranges(config)
    return [name for name in BENCHMARKS if not config.only or name in config.only]


def _open_output(output: str) -> Path:
    """The file's path, in a folder that now exists; finds out early what cannot be written."""
    path = Path(output)
    if path.is_dir():
        raise UserError(f"--output={output} is a folder; give a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--output={output} cannot be written: {reason}") from error
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--output={output} cannot be written: {path.parent} is write-protected")
    return path


def _line(row: Row) -> str:
    low, high = row.ratio_range
    figures = f"{row.ours:.4g} against {row.peer:.4g} {row.unit}"
    return f"{row.name}: {figures}, ratio {row.ratio:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    flags.define(RunConfig)
    entry.run(main)
