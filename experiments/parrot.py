"""PARROT (Singh et al. 2021): collect, learn a prior, learn a new task through it, SAC beside it.

    python -m experiments.parrot --flagfile=experiments/flags/parrot/quick.flags

The same command continues a run that was killed. Stages are folders of the workdir: `data/`,
`prior/`, and one for each method; results are in `summary.json`, `figures/` and `videos/`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.data.collect import collect
from behavior_priors.data.dataset import check_compatible, load_transitions, split_by_episode
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.wrappers import decode_action
from behavior_priors.learner import Learner
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.training import flags
from behavior_priors.training.checkpoint import Checkpointer
from behavior_priors.training.evaluate import interaction_report, make_evaluate
from behavior_priors.training.fit import Data, FitConfig, make_fit
from behavior_priors.training.loop import LoopConfig, make_loop
from behavior_priors.training.metrics import Stopwatch, format_seconds
from behavior_priors.training.run import RunConfig, check_run_config, run_fit, run_loop
from behavior_priors.training.workdir import default_workdir, open_workdir, write_summary
from behavior_priors.types import Env, Params, Prior, PRNGKey, UserError
from experiments import pictures

METHODS = ("parrot", "sac")


@dataclass(frozen=True)
class ParrotConfig:
    """The experiment's flags.

    Attributes:
      env: the new task.
      data_env: where demonstrations are collected.
      report_env: where the prior's random actions are judged.
      engine: physics engine; auto takes the fastest one of this machine.
      reward: of the new task, sparse or dense.
      seed: of everything random.
      workdir: folder of the run; none for runs/parrot/PRESET/seedN.
      data: a dataset to use; none to collect one in the workdir.
      data_episodes: demonstrations to collect.
      methods: what to train, of parrot and sac.
      latent_bound: latents are this times tanh of a Gaussian; none for an unsquashed Gaussian.
      latent_target_entropy: of the policy over latents, nats; none derives it from latent_bound.
      report_episodes: episodes in which the prior's random actions are judged.
      eval_episodes: episodes of the final evaluation.
      video_episodes: episodes in the video; 0 for no video.
      flow: the prior.
      fit: its training.
      sac: the learner, the same for every method.
      loop: the learner's experience, the same for every method.
      run: what is written, and when.
    """

    env: str = "grasp/mug"
    data_env: str = "grasp/train"
    report_env: str = "grasp/test"
    engine: str = "auto"
    reward: str = "sparse"
    seed: int = 0
    workdir: str | None = None
    data: str | None = None
    data_episodes: int = 3_000
    methods: tuple[str, ...] = METHODS
    latent_bound: float | None = None
    latent_target_entropy: float | None = None
    report_episodes: int = 500
    eval_episodes: int = 400
    video_episodes: int = 4
    flow: RealNVPConfig = field(default_factory=RealNVPConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    run: RunConfig = field(default_factory=RunConfig)


class TrainedPrior(NamedTuple):
    """A prior and its parameters."""

    prior: Prior
    params: Params


def check_config(config: ParrotConfig, env: Env) -> None:
    """Refuses now what a stage would refuse minutes later, given data included."""
    for method in config.methods:
        if method not in METHODS:
            raise UserError(f"--methods={method} is unknown; use some of: {', '.join(METHODS)}")
    at_least = {
        "seed": 0,
        "data_episodes": 2,
        "report_episodes": 1,
        "eval_episodes": 1,
        "video_episodes": 0,
    }
    for name, least in at_least.items():
        if getattr(config, name) < least:
            raise UserError(f"--{name}={getattr(config, name)} should be at least {least}")
    if config.latent_bound is not None and config.latent_bound <= 0:
        raise UserError(f"--latent_bound={config.latent_bound} should be positive, or none")
    check_run_config(config.run)
    untrained = None
    if needs_prior(config.methods):
        prior = make_real_nvp(config.flow, env.observation_spec, env.action_spec)
        make_fit(prior, config.fit)
        untrained = TrainedPrior(prior, params=None)
        if config.data is not None:
            load_data(config, env, EpisodeReader(config.data))
        else:
            split_by_episode(config.data_episodes, config.fit.validation_fraction, config.seed)
    for method in config.methods:
        make_loop(*make_method(method, config, env, untrained), config.loop)


def get_data(config: ParrotConfig, workdir: Path, env: Env | None) -> EpisodeReader:
    """The dataset given, or one collected in the workdir (and completed if it was begun)."""
    if config.data is not None:
        return EpisodeReader(config.data)
    assert env is not None
    began = time.perf_counter()

    def say(kept: int, tried: int) -> None:
        seconds = time.perf_counter() - began
        print(
            f"collect  {kept}/{config.data_episodes} episodes  kept {kept / tried:.0%}  "
            f"{format_seconds(seconds)}",
            flush=True,
        )

    return collect(
        env, workdir / "data", config.data_episodes, config.seed, resume=True, on_round=say
    )


def task_env(config: ParrotConfig) -> Env:
    """The new task."""
    return make_env(config.env, engine=config.engine, reward=config.reward)


def stage_keys(config: ParrotConfig) -> dict[str, PRNGKey]:
    """One source of randomness a stage, so that stages do not depend on each other's draws."""
    names = ("fit", "report", "learn", "evaluate", "picture")
    keys = jax.random.split(jax.random.key(config.seed), len(names))
    return dict(zip(names, keys, strict=True))


def load_data(config: ParrotConfig, env: Env, reader: EpisodeReader) -> tuple[Data, Data]:
    """What the prior learns from, and what it is judged by: different episodes."""
    names = config.flow.observation or tuple(env.observation_spec)
    check_compatible(reader, {n: env.observation_spec[n] for n in names}, env.action_spec)
    parts = split_by_episode(reader.num_episodes, config.fit.validation_fraction, config.seed)
    train, validation = (
        jax.tree.map(jnp.asarray, load_transitions(reader, names, part)) for part in parts
    )
    return train, validation


def get_prior(
    config: ParrotConfig, workdir: Path, env: Env, reader: EpisodeReader, key: PRNGKey
) -> tuple[TrainedPrior, dict[str, Any]]:
    """The prior, its best parameters, and how likely they find held-out actions."""
    prior = make_real_nvp(config.flow, env.observation_spec, env.action_spec)
    state = run_fit(
        workdir / "prior",
        prior,
        config.fit,
        *load_data(config, env, reader),
        key,
        run=config.run,
        flags=dataclasses.asdict(config),
    )
    facts = {
        "prior/validation_nll": float(state.best_loss),
        "prior/best_step": int(state.best_step),
        "prior/episodes": reader.num_episodes,
    }
    return TrainedPrior(prior, state.best_params), facts


def restore_prior(config: ParrotConfig, workdir: Path, env: Env) -> TrainedPrior:
    """The prior of a run that has trained one."""
    prior = make_real_nvp(config.flow, env.observation_spec, env.action_spec)
    target = jax.eval_shape(prior.init, jax.random.key(0))
    restored = Checkpointer(workdir / "prior" / "checkpoints").restore_part("best_params", target)
    return TrainedPrior(prior, restored.state)


def report_prior(
    config: ParrotConfig, env: Env, trained: TrainedPrior, key: PRNGKey
) -> dict[str, float]:
    """How often random actions meet objects, with the prior and without."""
    latent_env = decode_action(env, *trained, None)
    size = env.action_spec.size

    def sample(_: Any, key: PRNGKey) -> jax.Array:
        return jax.random.normal(key, (trained.prior.latent_size,))

    def uniform(_: Any, key: PRNGKey) -> jax.Array:
        return jax.random.uniform(key, (size,), minval=-1.0, maxval=1.0)

    results: dict[str, float] = {}
    for label, acted_env, policy in (("prior", latent_env, sample), ("random", env, uniform)):
        report = interaction_report(acted_env, policy, key, config.report_episodes)
        results |= {f"{label}/{name}": float(x) for name, x in report.items()}
        print(
            f"{label:7s}  grasps {results[f'{label}/grasp_rate']:.1%}  "
            f"moves an object {results[f'{label}/interaction_rate']:.1%}  "
            f"({config.report_episodes} episodes, random actions)",
            flush=True,
        )
    return results


def needs_prior(methods: Sequence[str]) -> bool:
    """Whether any of the methods uses a prior; SAC alone needs neither prior nor data."""
    return "parrot" in methods


def make_method(
    method: str, config: ParrotConfig, env: Env, trained: TrainedPrior | None
) -> tuple[Env, Learner]:
    """What distinguishes one method from another: where it acts, and from where it starts."""
    sac = config.sac
    if method == "parrot":
        assert trained is not None
        env = decode_action(env, *trained, config.latent_bound)
        sac = dataclasses.replace(sac, target_entropy=config.latent_target_entropy)
    return env, make_sac(sac, env.observation_spec, env.action_spec)


def main() -> None:
    """Runs the experiment that the command line describes."""
    config = flags.read(ParrotConfig)
    # everything that can be refused is refused before anything is written
    env, keys = task_env(config), stage_keys(config)
    check_config(config, env)
    if needs_prior(config.methods):
        data_env = None
        if config.data is None:
            data_env = make_env(config.data_env, flag="data_env", engine=config.engine)
        report_env = make_env(config.report_env, flag="report_env", engine=config.engine)
    workdir = open_workdir(
        config.workdir or default_workdir("parrot", flags.preset(), config.seed),
        experiment="parrot",
        flags_text=flags.to_text(config),
        may_differ=("workdir", "video_episodes"),
    )
    watch = Stopwatch()
    results: dict[str, float] = {}

    prior = None
    if needs_prior(config.methods):
        with watch.span("collect"):
            reader = get_data(config, workdir, data_env)
        with watch.span("prior"):
            prior, facts = get_prior(config, workdir, env, reader, keys["fit"])
        with watch.span("report"):
            results |= facts | report_prior(config, report_env, prior, keys["report"])

    trained = {}
    for method in config.methods:
        acted_env, learner = make_method(method, config, env, prior)
        on_the_way = make_evaluate(acted_env, learner, config.run.eval_episodes, stochastic=False)
        seconds = Stopwatch()
        with watch.span(method):
            state = run_loop(
                workdir / method,
                method,
                make_loop(acted_env, learner, config.loop),
                config.loop,
                on_the_way,
                keys["learn"],
                run=config.run,
                stopwatch=seconds,
                flags=dataclasses.asdict(config),
            )
        with watch.span("evaluate"):
            final = make_evaluate(acted_env, learner, config.eval_episodes, stochastic=True)
            scores = final(state.learner.policy, keys["evaluate"])
        results |= {f"{method}/{name}": float(x) for name, x in scores.items()}
        results |= {
            f"{method}/steps": int(state.steps),
            f"{method}/updates": int(state.learner.step),
        }
        results |= {f"{method}/seconds/{name}": x for name, x in seconds.seconds().items()}
        trained[method] = (acted_env, learner, state.learner.policy)
        print(
            f"{method:7s}  success {results[f'{method}/success_rate']:.1%}  "
            f"({config.eval_episodes} episodes, deterministic policy)",
            flush=True,
        )

    with watch.span("pictures"):
        pictures.learning_curves([workdir], workdir / "figures", config.methods, config.env)
        if prior is not None:
            pictures.gripper_trajectories(workdir / "figures", env, *prior, keys["picture"])
        if config.video_episodes:
            pictures.videos(workdir / "videos", trained, keys["evaluate"], config.video_episodes)
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    results["wall_seconds/total"] = sum(watch.seconds().values())
    path = write_summary(workdir, results, seed=config.seed, engine=env.info["engine"])
    print(f"done in {format_seconds(results['wall_seconds/total'])}; see {path}", flush=True)


if __name__ == "__main__":
    flags.define(ParrotConfig)
    flags.run(main)
