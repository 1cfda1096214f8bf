"""What is disturbed: every kind of stage, and whole programs of all three experiments."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import stages
from tests.chaos.harness import Work
from tests.experiments import test_pearl, test_spirl

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

_PARROT = (
    *test_spirl.TASK,
    "--data_episodes=300",
    f"--flow.observation={test_spirl.SEEN}",
    "--flow.couplings=2",
    "--flow.encoder_widths=8",
    "--flow.conditioner_widths=8",
    "--flow.squash=true",
    "--fit.steps=60",
    "--fit.steps_per_epoch=10",
    "--fit.batch_size=16",
    "--bc.fit.steps=40",
    "--bc.fit.steps_per_epoch=10",
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--loop.num_envs=5",
    "--loop.steps=1200",
    "--loop.epoch_steps=200",
    "--loop.warmup_steps=400",
    "--loop.updates_per_step=0.2",
    "--loop.batch_size=16",
    "--run.eval_every=2",
    "--run.eval_episodes=5",
    "--run.checkpoint_every=2",
    "--report_episodes=5",
    "--eval_episodes=7",
    "--video_episodes=0",
    "--workdir=run",
)
_SPIRL = (*test_spirl.TINY, "--figures", "--workdir=run")

EXPERIMENTS = (
    Work("parrot", "parrot", (*_PARROT, "--methods=parrot,bc_sac")),
    Work("spirl", "spirl", (*_SPIRL, "--method=spirl")),
    Work("spirl, on policy", "spirl", (*_SPIRL, "--method=bc_ppo")),
    Work("pearl", "pearl", (*test_pearl.TINY, "--figures", "--workdir=run")),
)
