"""Many ends: `python -m tests.chaos --stage_ends=500 --program_ends=150`."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count, CountOrZero, Seed
from behavior_priors.programs import entry
from tests.chaos.harness import Work, disturb, leave_alone
from tests.chaos.works import EXPERIMENTS, PROGRAMS, STAGES
from tests.experiments.forks import Forks


@dataclass(frozen=True)
class ChaosConfig:
    """The program's flags.

    Attributes:
      stage_ends: how often stages are ended, all together.
      program_ends: how often whole programs are.
      most: ends of one run, after which it is left alone.
      seed: of kinds and times.
      works: names of stages and programs to disturb; empty for all.
    """

    stage_ends: CountOrZero = 500
    program_ends: CountOrZero = 150
    most: Count = 8
    seed: Seed = 0
    works: tuple[str, ...] = ()


def disturb_all(
    forks: Forks, works: Sequence[Work], ends: int, folder: Path, seed: int, most: int
) -> Counter[str]:
    """Disturbs works in turn until they have been ended so often; says how each goes on."""
    rng, total, completed = random.Random(seed), Counter[str](), 0
    expected = {}
    for work in works:
        expected[work.name] = leave_alone(forks, work, folder / work.name)
        print(f"{work.name}: {expected[work.name].seconds:.1f} s undisturbed", flush=True)
    while works and total.total() < ends:
        work = works[completed % len(works)]
        place = folder / f"{work.name}-{completed}"
        total += disturb(forks, work, expected[work.name], place, rng, most)
        completed += 1
        print(f"{total.total()} ends, {completed} whole runs: {dict(total)}", flush=True)
    return total


def main() -> None:
    """Ends what the command line says as often as it says."""
    config, began = flags.read(ChaosConfig), time.monotonic()
    stages, experiments = (
        [work for work in works if work.name in config.works or not config.works]
        for works in (STAGES, EXPERIMENTS)
    )
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.closing(Forks(Path(name) / "forks", PROGRAMS)) as forks,
    ):
        for label, works, ends in (
            ("stages", stages, config.stage_ends),
            ("programs", experiments, config.program_ends),
        ):
            if not ends:
                continue
            total = disturb_all(forks, works, ends, Path(name) / label, config.seed, config.most)
            seconds = time.monotonic() - began
            print(f"{label}: {total.total()} ends, all equal, {dict(total)}; {seconds:.0f} s")


if __name__ == "__main__":
    flags.define(ChaosConfig)
    entry.run(main)
