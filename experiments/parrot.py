"""PARROT (Singh et al. 2021): collect, learn a prior, learn a new task through it, SAC beside it.

With `--methods=parrot,sac,bc_sac` also SAC that starts from a policy cloned from the same data.

    python -m experiments.parrot --flagfile=experiments/flags/parrot/quick.flags

The same command continues a run that was killed. Stages are folders of the workdir: `data/`,
`prior/`, `bc/`, and one for each method; results are in `summary.json`, `figures/` and `videos/`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Episodes, FewOrZero, Limit, LogStd, Nats, Seed, TwoOrMore
from behavior_priors.data.dataset import split_by_episode
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.wrappers.decode import decode_action, decoder
from behavior_priors.keys import named_key
from behavior_priors.learner import Learner
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.networks import StdLimit
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.programs import entry
from behavior_priors.programs.progress import Stopwatch, format_seconds
from behavior_priors.runs.run import RunConfig, check_run_config
from behavior_priors.runs.workdir import default_workdir, open_workdir, write_summary
from behavior_priors.training.fit import Data, FitConfig, make_fit
from behavior_priors.training.loop import LoopConfig
from behavior_priors.types import Env, Params, Prior, UserError
from experiments import cloning, pictures
from experiments.stages import (
    Trained,
    TrainedPrior,
    check_demonstrator,
    get_demonstrations,
    learn,
    load_for_fit,
    make_loop_of,
    mean_latent,
    random_latents,
    related_env,
    report_policies,
    restore_prior,
    restore_trained,
    train_prior,
    uniform_actions,
)

METHODS = ("parrot", "sac", "bc_sac")


@dataclass(frozen=True)
class ParrotConfig:
    """The experiment's flags.

    Attributes:
      env: the new task.
      data_env: where demonstrations are collected; none for the training tasks of env's family, or,
        where it has none, for env itself.
      report_env: where the prior's random actions are judged; none for the family's test tasks, or
        env itself.
      engine: physics engine; auto takes the fastest one of this machine.
      reward: of the new task, sparse or dense in grasp/; none for the environment's own.
      seed: of everything random.
      workdir: folder of the run; none for runs/parrot/PRESET/seedN.
      data: a dataset to use; none to collect one in the workdir.
      data_episodes: demonstrations to collect.
      methods: what to train, of parrot, sac and bc_sac.
      latent_bound: latents are this times tanh of a Gaussian; none for an unsquashed Gaussian.
      latent_mean_bound: means of the Gaussian over latents stay within this; none for no bound.
      latent_max_log_std: upper limit of that Gaussian's log standard deviations; at 0 the policy is
        never wider than the prior.
      latent_std_limit: how it is kept: clip, outside of which there is no gradient, or tanh, which
        never reaches it.
      latent_target_entropy: of the policy over latents, nats; none derives it from latent_bound.
      report_episodes: episodes in which the prior's random actions are judged.
      eval_episodes: episodes of the final evaluation.
      video_episodes: episodes in the video; 0 for no video.
      flow: the prior.
      fit: its training.
      bc: the policy that bc_sac starts from.
      sac: the learner, the same for every method.
      loop: the learner's experience, the same for every method.
      run: what is written, and when.
    """

    env: str = "grasp/mug"
    data_env: str | None = None
    report_env: str | None = None
    engine: str = "auto"
    reward: str | None = None
    seed: Seed = 0
    workdir: str | None = None
    data: str | None = None
    data_episodes: TwoOrMore = 3_000
    methods: tuple[str, ...] = ("parrot", "sac")
    latent_bound: Limit | None = None
    latent_mean_bound: Limit | None = 2.0
    latent_max_log_std: LogStd = 0.0
    latent_std_limit: StdLimit = "clip"
    latent_target_entropy: Nats | None = None
    report_episodes: Episodes = 500
    eval_episodes: Episodes = 400
    video_episodes: FewOrZero = 4
    flow: RealNVPConfig = field(default_factory=RealNVPConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    bc: cloning.CloningConfig = field(default_factory=cloning.CloningConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    run: RunConfig = field(default_factory=RunConfig)


CONFIG = ParrotConfig


def methods_of(config: ParrotConfig) -> tuple[str, ...]:
    """What a run trains."""
    return config.methods


def check_config(config: ParrotConfig, env: Env) -> None:
    """Refuses now what a stage would refuse minutes later, given data included."""
    choice = f"use some of: {', '.join(METHODS)}"
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise UserError(f"--methods={','.join(config.methods)} names none, or one twice; {choice}")
    for method in config.methods:
        if method not in METHODS:
            raise UserError(f"--methods={method} is unknown; {choice}")
    with flags.naming("", config):
        check_ranges(config)
    if config.latent_max_log_std < config.sac.min_log_std and needs_prior(config.methods):
        raise UserError(
            f"--latent_max_log_std={config.latent_max_log_std} should be at least "
            f"--sac.min_log_std={config.sac.min_log_std}"
        )
    with flags.naming("run", config.run):
        check_run_config(config.run)
    untrained = None
    if needs_prior(config.methods):
        with flags.naming("flow", config.flow):
            prior = make_prior(config, env)
        with flags.naming("fit", config.fit):
            make_fit(prior, config.fit)
        untrained = TrainedPrior(prior, params=None)
        if config.data is not None:
            load_data(config, env, EpisodeReader(config.data))
        else:
            split_by_episode(config.data_episodes, config.fit.validation_fraction, config.seed)
    for method in config.methods:
        with flags.naming("sac", config.sac):
            acted_env, learner = make_method(method, config, env, untrained)
        make_loop_of(config, acted_env, learner)
    if cloning.is_needed(config.methods):
        cloning.check_config(config, env)


def task_env(config: ParrotConfig) -> Env:
    """The new task."""
    return make_env(config.env, engine=config.engine, reward=config.reward)


def make_prior(config: ParrotConfig, env: Env) -> Prior:
    """The prior, untrained."""
    return make_real_nvp(config.flow, env.observation_spec, env.action_spec)


def load_data(config: ParrotConfig, env: Env, reader: EpisodeReader) -> tuple[Data, Data]:
    """The prior's training and validation data."""
    specs, fraction = (env.observation_spec, env.action_spec), config.fit.validation_fraction
    return load_for_fit(*specs, reader, config.flow.observation, fraction, config.seed, env.info)


def needs_prior(methods: Sequence[str]) -> bool:
    """Whether any of the methods acts through a prior."""
    return "parrot" in methods


def needs_data(methods: Sequence[str]) -> bool:
    """Whether any of the methods learns from demonstrations; SAC alone does not."""
    return needs_prior(methods) or cloning.is_needed(methods)


def make_method(
    method: str,
    config: ParrotConfig,
    env: Env,
    trained: TrainedPrior | None,
    cloned: Params | None = None,
) -> tuple[Env, Learner]:
    """What distinguishes one method from another: where it acts, and from where it starts."""
    sac = config.sac
    if method == "parrot":
        assert trained is not None
        env = decode_action(env, *trained, config.latent_bound)
        sac = dataclasses.replace(
            sac,
            mean_bound=config.latent_mean_bound,
            max_log_std=config.latent_max_log_std,
            std_limit=config.latent_std_limit,
            target_entropy=config.latent_target_entropy,
        )
    initial_policy = cloned if method == "bc_sac" else None
    return env, make_sac(sac, env.observation_spec, env.action_spec, initial_policy)


def restore(config: ParrotConfig, workdir: Path, methods: Sequence[str]) -> dict[str, Trained]:
    """What some of a run's methods have learned, from its folder."""
    env, prior = task_env(config), None
    if needs_prior(methods):
        prior = restore_prior(make_prior(config, env), workdir / "prior")
    trained = {}
    for method in methods:
        acted = make_method(method, config, env, prior)
        if method == "parrot":
            assert prior is not None
            trained[method] = restore_trained(workdir / method, *acted, decoder(*prior))
        else:
            trained[method] = restore_trained(workdir / method, *acted)
    return trained


def main() -> None:
    """Runs the experiment that the command line describes."""
    config = flags.read(ParrotConfig)
    # everything that can be refused is refused before anything is written
    env = task_env(config)
    check_config(config, env)
    data_env = None
    if needs_data(config.methods) and config.data is None:
        seen = [config.flow.observation] if needs_prior(config.methods) else []
        if cloning.is_needed(config.methods):
            seen.append(config.sac.policy_observation)
        data_env = related_env(env, "data_env", config.data_env, config.engine, *seen)
        check_demonstrator(data_env)
    if needs_prior(config.methods):
        report_env = related_env(
            env, "report_env", config.report_env, config.engine, config.flow.observation
        )
    workdir = open_workdir(
        config.workdir or default_workdir("parrot", flags.preset(), config.seed),
        experiment="parrot",
        flags_text=flags.to_text(config),
        may_differ=("workdir", "video_episodes", *cloning.unused_flags(config)),
    )
    watch = Stopwatch()
    results: dict[str, float] = {}

    prior = cloned = None
    if needs_data(config.methods):
        with watch.span("collect"):
            if config.data is not None:
                reader = EpisodeReader(config.data)
            else:
                assert data_env is not None
                folder = workdir / "data"
                reader = get_demonstrations(data_env, folder, config.data_episodes, config.seed)
    if needs_prior(config.methods):
        with watch.span("prior"):
            prior, facts = train_prior(
                make_prior(config, env),
                workdir / "prior",
                config.fit,
                load_data(config, env, reader),
                named_key(config.seed, "fit", "prior"),
                run=config.run,
                all_flags=dataclasses.asdict(config),
            )
        with watch.span("report"):
            latent = (decode_action(report_env, *prior, None), random_latents(prior[0].latent_size))
            mode = (decode_action(env, *prior, None), mean_latent(prior[0].latent_size))
            policies = {
                "prior": latent,
                "prior_mode": mode,
                "random": (report_env, uniform_actions(report_env)),
            }
            report = report_policies(
                policies, named_key(config.seed, "report"), config.report_episodes
            )
        results |= facts | {"prior/episodes": reader.num_episodes} | report
    if cloning.is_needed(config.methods):
        with watch.span("bc"):
            all_flags = dataclasses.asdict(config)
            cloned, scores = cloning.clone(config, env, reader, workdir / "bc", all_flags)
        results |= scores

    trained = {}
    for method in config.methods:
        acted_env, learner = make_method(method, config, env, prior, cloned)
        trained[method], scores = learn(method, config, acted_env, learner, workdir, watch)
        results |= scores

    with watch.span("pictures"):
        pictures.learning_curves([workdir], workdir / "figures", config.methods, env)
        if prior is not None:
            picture_key = named_key(config.seed, "picture")
            pictures.gripper_trajectories(workdir / "figures", env, *prior, picture_key)
        if config.video_episodes:
            video_key = named_key(config.seed, "video")
            pictures.videos(workdir / "videos", trained, video_key, config.video_episodes)
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    results["wall_seconds/total"] = sum(watch.seconds().values())
    path = write_summary(workdir, results, seed=config.seed, engine=env.info.get("engine", "none"))
    print(f"done in {format_seconds(results['wall_seconds/total'])}; see {path}", flush=True)


if __name__ == "__main__":
    flags.define(ParrotConfig)
    entry.run(main)
