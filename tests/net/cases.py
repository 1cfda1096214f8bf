"""What both revisions run: every preset and method at a tiny size, and what reads its runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from behavior_priors.methods.presets import PEARL
from tests.experiments import runs
from tests.experiments.settings import config_of

PRESETS = runs.ROOT / "experiments" / "flags"

Command = tuple[str, ...]
"""A module, and its arguments."""


class Case(NamedTuple):
    """Commands that follow each other in one folder.

    Attributes:
      name: for the reader, and for `--cases`.
      commands: of the revision after.
      before: those of the revision before, where they are spelled otherwise there.
      needs: a package without which it is left out.
    """

    name: str
    commands: tuple[Command, ...]
    before: tuple[Command, ...] | None = None
    needs: str = "jax"


_SMALL = (
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--loop.num_envs=4",
    "--loop.batch_size=16",
    "--loop.updates_per_step=0.25",
    "--run.eval_every=1",
    "--run.eval_episodes=2",
    "--run.checkpoint_every=1",
    "--report_episodes=2",
    "--eval_episodes=2",
    "--video_episodes=0",
)
_FIT = ("--fit.steps=20", "--fit.steps_per_epoch=10", "--fit.batch_size=16")

_PARROT = (
    *_SMALL,
    *_FIT,
    "--bc.fit.steps=20",
    "--bc.fit.steps_per_epoch=10",
    "--bc.fit.batch_size=16",
    "--flow.encoder_widths=8",
    "--flow.conditioner_widths=8",
    "--loop.steps=480",
    "--loop.epoch_steps=240",
    "--loop.warmup_steps=240",
)
_SPIRL = (
    *_SMALL,
    *_FIT,
    "--data_episodes=64",
    "--clone_fit.steps=20",
    "--clone_fit.steps_per_epoch=10",
    "--clone.widths=8",
    "--skill.lstm_width=8",
    "--skill.embedding_width=8",
    "--skill.decoder_widths=8",
    "--skill.prior_widths=8",
    "--ppo.policy_widths=8",
    "--ppo.value_widths=8",
    "--loop.steps=1600",
    "--loop.epoch_steps=800",
    "--loop.warmup_steps=800",
    "--loop.updates_per_step=0.1",
    "--loop.replay_capacity=none",
    "--on_policy.steps=800",
    "--on_policy.epoch_steps=400",
    "--on_policy.num_envs=4",
    "--on_policy.unroll_length=10",
)
_PEARL = (
    "--context.widths=8",
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--loop.iterations=2",
    "--loop.epoch_iterations=1",
    "--loop.tasks_per_iteration=2",
    "--loop.updates_per_iteration=2",
    "--loop.batch_size=8",
    "--adapt.repeats=1",
    "--oracle_episodes=1",
    "--run.eval_every=0",
    "--run.checkpoint_every=1",
)
_METHODS = ("spirl", "ssp", "flat_prior", "bc_sac", "sac", "bc_ppo")
_EVALUATE = ("experiments.evaluate", "--checkpoint=run", "--episodes=2")


def cases() -> list[Case]:
    """All of them."""
    return [*_parrot(), *_spirl(), *_pearl(), *_programs()]


def _preset(experiment: str, name: str) -> tuple[str, ...]:
    return (f"experiments.{experiment}", f"--flagfile=experiments/flags/{experiment}/{name}.flags")


def _names(experiment: str) -> list[str]:
    return sorted(path.stem for path in (PRESETS / experiment).glob("*.flags"))


def _parrot() -> Iterator[Case]:
    foreign = {"pusher": "brax", "halfcheetah": "gymnasium", "ogbench_cube": "ogbench"}
    for name in _names("parrot"):
        command = (*_preset("parrot", name), *_PARROT)
        if name in foreign:
            # data of a policy that was trained there
            sac = (*command, "--methods=sac", "--workdir=expert")
            collect = ("--checkpoint=expert", "--episodes=4", "--side_by_side=2", "--output=data")
            data = (sac, ("experiments.collect", *collect, "--keep_failures"))
            source = "--data=data"
        else:
            data, source = (), "--data_episodes=40"
        whole = (*command, source, "--methods=parrot,bc_sac,sac", "--workdir=run")
        trust = ("--trust=examples.push.push_env",) if name == "few_push" else ()
        yield Case(
            f"parrot/{name}",
            (*data, whole, (*_EVALUATE, *trust)),
            needs=foreign.get(name, "jax"),
        )


def _spirl() -> Iterator[Case]:
    for name in _names("spirl"):
        command = (*_preset("spirl", name), *_SPIRL)
        whole = (*command, "--method=spirl", "--workdir=run")
        yield Case(f"spirl/{name}", (whole, _EVALUATE))
    command = (*_preset("spirl", "maze_quick"), *_SPIRL)
    data = ("experiments.collect", "--env=maze/train", "--episodes=64", "--output=data")
    for method in _METHODS[1:]:
        # a skill counts as its ten steps, an action as one
        rate = () if method == "ssp" else ("--loop.updates_per_step=0.25",)
        whole = (*command, *rate, f"--method={method}", "--data=data", "--workdir=run")
        yield Case(f"spirl/{method}", (data, whole, _EVALUATE))


def _pearl() -> Iterator[Case]:
    for name in _names("pearl"):
        config = _read(name)
        env = config.env
        # those of a tabletop are as long as they are
        length = 25 if env.startswith("grasp/") else 10
        if length == 10:
            env += f"{'&' if '?' in env else '?'}episode_length=10"
        steps = [f"--loop.initial_steps={length}"]
        for part in ("prior", "posterior", "extra"):
            has_some = getattr(config.meta_loop, f"{part}_steps") > 0
            steps.append(f"--loop.{part}_steps={length if has_some else 0}")
        tasks = () if "direction" in name else ("--train_tasks=3", "--test_tasks=2")
        whole = (*_preset("pearl", name), *_PEARL, *steps, *tasks, f"--env={env}", "--workdir=run")
        yield Case(f"pearl/{name}", (whole, _EVALUATE))


def _read(name: str) -> Any:
    return config_of(PEARL, f"--flagfile={PRESETS / 'pearl' / name}.flags")


def _programs() -> Iterator[Case]:
    for env in ("grasp/train", "place/train", "maze/train?image=true", "blocks/train"):
        name = re.sub(r"\W", "_", env)
        collect = ("experiments.collect", f"--env={env}", "--episodes=16", "--output=run/data")
        fit = ("experiments.fit", "--data=run/data", "--priors=real_nvp,gaussian", *_FIT)
        yield Case(f"collect/{name}", (collect, (*fit, "--workdir=run/fit")))
    convert = ("experiments.convert", "--output=run/data", "--input=tests/data/readers/written")
    ogbench = (*convert[:-1], f"{convert[-1]}/ogbench-1.2.2.npz")
    yield Case("convert/ogbench", (ogbench,))
