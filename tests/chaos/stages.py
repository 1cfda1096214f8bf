"""One small stage as a program: training, collecting or converting, to be killed and resumed.

    python -m tests.chaos.stages --stage=loop --folder=FOLDER

`FOLDER/done` is there when it has ended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.config import flags
from behavior_priors.data.collect import collect
from behavior_priors.data.readers import ReadConfig, open_recording
from behavior_priors.data.readers.convert import ConvertOptions, convert
from behavior_priors.envs.registry import make_env
from behavior_priors.learners.ppo import make_ppo
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.methods.agent import build
from behavior_priors.methods.learning import learn
from behavior_priors.methods.plan import prepare
from behavior_priors.methods.presets import PEARL
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.programs import entry, termination
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.kept import Kept
from behavior_priors.runs.run import RunConfig, run_fit, run_loop
from behavior_priors.training.fit import FitConfig
from behavior_priors.training.loop import Loop, LoopConfig, make_loop
from behavior_priors.training.on_policy import OnPolicyConfig, make_on_policy_loop
from tests.experiments.settings import config_of
from tests.training.walk import make_averager, make_walk

RUN = RunConfig(checkpoint_every=2, eval_every=3)


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """The program's flags.

    Attributes:
      stage: what to do.
      folder: where.
    """

    stage: str
    folder: str


def _fit(folder: Path) -> None:
    env = make_walk()
    prior = make_gaussian(GaussianConfig(widths=(8,)), env.observation_spec, env.action_spec)
    time = jnp.linspace(0.0, 3.0, 64)[:, None]
    data = {"observation": {"time": time, "action": time}, "action": jnp.sin(time)}
    config = FitConfig(steps=72, steps_per_epoch=6, batch_size=8)
    run_fit(
        folder / "stage", prior, config, lambda: (data, data), jax.random.key(3), run=RUN, flags={}
    )


def _run(folder: Path, loop: Loop[Any], config: Any) -> None:
    def evaluate(policy: Any, key: jax.Array) -> dict[str, jax.Array]:
        total = sum(jnp.sum(x) for x in jax.tree.leaves(policy))
        return {"success_rate": total + jax.random.uniform(key)}

    key, watch = jax.random.key(7), Stopwatch()
    run_loop(
        folder / "stage", "walk", loop, config, evaluate, key, run=RUN, stopwatch=watch, flags={}
    )


def _loop(folder: Path) -> None:
    config = LoopConfig(
        steps=384, epoch_steps=16, num_envs=4, warmup_steps=24, updates_per_step=0.5, batch_size=8
    )
    _run(folder, make_loop(make_walk(), make_averager(), config), config)


def _on_policy(folder: Path) -> None:
    env = make_walk()
    ppo = PPOConfig(policy_widths=(8,), value_widths=(8,))
    learner = make_ppo(ppo, env.observation_spec, env.action_spec)
    config = OnPolicyConfig(steps=1536, epoch_steps=64, num_envs=8, unroll_length=8)
    _run(folder, make_on_policy_loop(env, learner, config), config)


def _meta(folder: Path) -> None:
    config = config_of(PEARL, f"--flagfile={folder.parent / 'pearl.flags'}")
    env = make_env(config.env)
    plan = prepare(config, env)
    for name, method in plan.methods.items():
        agent, kept = build(name, method, config, env, {}), Kept(folder)
    learn(name, config, agent, plan.tasks, folder, Stopwatch(), kept)


def _collect(folder: Path) -> None:
    with termination.deferred():
        collect(
            make_walk(),
            folder / "data",
            1000,
            5,
            resume=True,
            round_size=16,
            on_round=lambda *_: termination.check(),
        )


def _convert(folder: Path) -> None:
    if (folder / "data").exists():
        return
    source = folder.parent / "source.npz"
    options = ConvertOptions(shard_bytes=1 << 14)
    convert(open_recording(source, ReadConfig()), folder / "data", options)


def write_source(path: Path) -> None:
    """What `convert` converts: 400 episodes of 50 steps in the layout of OGBench."""
    rng = np.random.default_rng(0)
    rows = 400 * 51
    np.savez(
        path,
        observations=rng.standard_normal((rows, 6), np.float32),
        actions=rng.uniform(-1.0, 1.0, (rows, 2)).astype(np.float32),
        terminals=(np.arange(rows) % 51 == 50).astype(np.float32),
    )


STAGES: dict[str, Callable[[Path], None]] = {
    "fit": _fit,
    "loop": _loop,
    "on_policy": _on_policy,
    "meta": _meta,
    "collect": _collect,
    "convert": _convert,
}


def main() -> None:
    """Does what the command line says."""
    config = flags.read(StageConfig)
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    STAGES[config.stage](folder)
    (folder / "done").write_text("")


if __name__ == "__main__":
    flags.define(StageConfig)
    entry.run(main)
