"""What is disturbed: every kind of stage, and whole programs of all three experiments."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import stages
from tests.chaos.harness import Work
from tests.experiments import runs, test_pearl, test_spirl

STAGES_PROGRAM = "tests.chaos.stages"

PROGRAMS = ("parrot", "spirl", "pearl", STAGES_PROGRAM)
"""What the process that starts them has to import."""


def _prepare(folder: Path) -> None:
    stages.write_source(folder / "source.npz")
    (folder / "pearl.flags").write_text("\n".join(test_pearl.TINY))


STAGES = tuple(
    Work(name, STAGES_PROGRAM, (f"--stage={name}", "--folder=run"), _prepare)
    for name in stages.STAGES
)

_PARROT = (*runs.TINY, "--workdir=run", "--bc.fit.steps=40", "--bc.fit.steps_per_epoch=10")
_SPIRL = (*test_spirl.TINY, "--workdir=run")

EXPERIMENTS = (
    Work("parrot", "parrot", (*_PARROT, "--methods=parrot,bc_sac")),
    Work("spirl", "spirl", (*_SPIRL, "--method=spirl")),
    Work("spirl, on policy", "spirl", (*_SPIRL, "--method=bc_ppo")),
    Work("pearl", "pearl", (*test_pearl.TINY, "--workdir=run")),
)
