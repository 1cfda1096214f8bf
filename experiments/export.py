"""Takes a policy out of its run, for a robot or anybody else.

    python -m experiments.export --checkpoint=runs/parrot/quick/seed0 --method=parrot --output=mug

The folder has the weights (safetensors), a description (JSON), the policy as a program for CPU, GPU
and TPU, and `policy.py`, which runs it with jax and numpy alone; see docs/deploy.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.ranges import Seed
from behavior_priors.deploy.export import PLATFORMS, export_policy
from behavior_priors.errors import UserError
from behavior_priors.programs import entry


@dataclass(frozen=True)
class ExportConfig:
    """The program's flags.

    Attributes:
      checkpoint: workdir of a run, finished or under way.
      output: folder to write; must not be there, or be empty.
      method: whose policy; none where the run has one method.
      explore: the policy draws its actions, instead of taking the most likely ones.
      seed: of what it draws.
      platforms: kinds of devices it is for, of cpu, cuda, rocm and tpu.
      trust: modules that the run's flags.txt names and that may be imported; see docs/trust.md.
    """

    checkpoint: str
    output: str
    method: str | None = None
    explore: bool = False
    seed: Seed = 0
    platforms: tuple[str, ...] = PLATFORMS
    trust: tuple[str, ...] = ()


KNOWN = (*PLATFORMS, "rocm")


def main() -> None:
    """Writes what the command line asks for."""
    config = flags.read(ExportConfig)
    for platform in config.platforms or ("",):
        if platform not in KNOWN:
            raise UserError(f"--platforms={platform} is unknown; use some of: {', '.join(KNOWN)}")
    folder = Path(config.output)
    facts = export_policy(
        Path(config.checkpoint),
        folder,
        config.method,
        explore=config.explore,
        seed=config.seed,
        platforms=config.platforms,
        trust=config.trust,
    )
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(
        f"{facts['name']} of {facts['environment']} after {facts['steps']} steps is in {folder} "
        f"({size / 1e6:.1f} MB); policy.py there says how to use it"
    )


if __name__ == "__main__":
    flags.define(ExportConfig)
    entry.run(main)
