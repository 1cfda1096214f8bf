"""Takes a policy out of its run, for a robot, or a model, for other tasks.

    python -m experiments.export --checkpoint=RUN --method=parrot --output=mug
    python -m experiments.export --checkpoint=RUN --model=real_nvp --output=prior

A policy's folder has the weights (safetensors), a description (JSON), the policy as a program for
CPU, GPU and TPU, and `policy.py`, which runs it with jax and numpy alone. A model's folder may
stand wherever a model's name may, as in `--through=prior/`. See docs/deploy.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.ranges import Seed
from behavior_priors.deploy.export import PLATFORMS, export_model, export_policy
from behavior_priors.errors import UserError
from behavior_priors.programs import entry


@dataclass(frozen=True)
class ExportConfig:
    """The program's flags.

    Attributes:
      checkpoint: workdir of a run, finished or under way.
      output: folder to write; must not be there, or be empty.
      method: whose policy; none where the run has one method.
      model: the name of a model that the run has learned, instead of a policy.
      explore: the policy draws its actions, instead of taking the most likely ones.
      seed: of what it draws.
      platforms: kinds of devices it is for, of cpu, cuda, rocm and tpu.
      trust: modules that the run's flags.txt names and that may be imported; see docs/trust.md.
    """

    checkpoint: str
    output: str
    method: str | None = None
    model: str | None = None
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
    workdir, folder = Path(config.checkpoint), Path(config.output)
    if config.model is not None:
        if config.method is not None or config.explore:
            raise UserError("--model goes with neither --method nor --explore; leave these out")
        facts = export_model(workdir, folder, config.model, trust=config.trust)
        what, use = f"{facts['model']} for {facts['environment']}", f"--through={folder}/ takes it"
    else:
        facts = export_policy(
            workdir,
            folder,
            config.method,
            explore=config.explore,
            seed=config.seed,
            platforms=config.platforms,
            trust=config.trust,
        )
        what = f"{facts['name']} of {facts['environment']} after {facts['steps']} steps"
        use = "policy.py there says how to use it"
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{what} is in {folder} ({size / 1e6:.1f} MB); {use}")


if __name__ == "__main__":
    flags.define(ExportConfig)
    entry.run(main)
