"""A program with the manners of an experiment and none of its costs, for tests of sweeps.

It counts, a line at a time, and goes on where a killed process has left off. Whoever works in its
folder at the same time would spoil the count.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count, CountOrZero, Real, Seed, Weight
from behavior_priors.errors import UserError
from behavior_priors.programs import entry, termination
from behavior_priors.runs.workdir import open_workdir, write_summary


@dataclass(frozen=True)
class CounterConfig:
    """Flags.

    Attributes:
      workdir: of the run.
      seed: is added to the result.
      scale: the result is this times the count.
      count: lines to write.
      pause: seconds after each.
      megabytes: of memory to fill.
      mode: how it ends; `slowly` if SIGTERM is to wait for the line under way.
    """

    workdir: str
    seed: Seed = 0
    scale: Real = 1.0
    count: Count = 20
    pause: Weight = 0.05
    megabytes: CountOrZero = 0
    mode: str = "well"


def main() -> None:
    config = flags.read(CounterConfig)
    if config.mode == "badly":
        raise UserError("--mode=badly is what was asked for")
    workdir = open_workdir(
        Path(config.workdir), experiment="counter", flags_text=flags.to_text(config)
    )
    cores = sorted(os.sched_getaffinity(0))
    print(f"cores {cores} threads {os.environ['OMP_NUM_THREADS']}", flush=True)
    print(f"compiled {os.environ.get('JAX_COMPILATION_CACHE_DIR')}", flush=True)
    ballast = b"x" * (config.megabytes * 10**6)
    path = workdir / "count.txt"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    deferred = termination.deferred if config.mode == "slowly" else contextlib.nullcontext
    with path.open("a") as file, deferred():
        for i in range(done, config.count):
            file.write(f"{i} {os.getpid()}\n")
            file.flush()
            time.sleep(config.pause)
            if config.mode == "slowly":
                (workdir / "saved.txt").write_text(str(i))
            termination.check()
    if config.mode == "silently":
        return
    result = config.scale * len(path.read_text().splitlines()) + config.seed
    write_summary(
        workdir,
        {"count/return_mean": result, "count/megabytes": len(ballast) / 10**6},
        seed=config.seed,
        engine="none",
    )


if __name__ == "__main__":
    flags.define(CounterConfig)
    entry.run(main)
