"""SPiRL (Pertsch et al. 2020): learn skills and a prior over them, learn a new task with both.

    python -m experiments.spirl --flagfile=experiments/flags/spirl/maze_quick.flags
    python -m experiments.spirl --flagfile=... --method=ssp --skills=WORKDIR_OF_THE_RUN_ABOVE

Its baselines are the other values of `--method`. The same command continues a run that was killed.
Stages are folders of the workdir: `data/`, `skills/`, `clone/`, and one for the method; results
are in `summary.json`, `figures/` and `videos/`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.data.dataset import check_compatible, load_windows, split_by_episode
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.skills import execute_skill
from behavior_priors.learner import Learner
from behavior_priors.learners.kl_sac import DivergenceConfig, PriorFn, make_kl_sac
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.learners.sac import SACConfig, entropy_penalty, make_regularized
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.skill_vae import SkillVAEConfig, make_skill_prior, make_skill_vae
from behavior_priors.training import flags
from behavior_priors.training.checkpoint import Checkpointer
from behavior_priors.training.fit import Data, FitConfig, make_fit
from behavior_priors.training.loop import LoopConfig, make_loop
from behavior_priors.training.metrics import Stopwatch, format_seconds
from behavior_priors.training.run import RunConfig, check_run_config, run_fit
from behavior_priors.training.workdir import FLAGS_FILE, open_workdir, read_owner, write_summary
from behavior_priors.types import Env, Observation, Params, Prior, SkillModel, UserError
from experiments import pictures
from experiments.stages import (
    check_demonstrator,
    get_demonstrations,
    learn,
    load_for_fit,
    related_env,
    stage_keys,
)

METHODS = ("spirl", "ssp", "flat_prior", "bc_sac", "sac")

WITH_SKILLS, WITH_CLONE = ("spirl", "ssp"), ("flat_prior", "bc_sac")
"""Methods that act through skills, and methods that know single actions of the data."""


@dataclass(frozen=True)
class SpirlConfig:
    """The experiment's flags.

    Attributes:
      env: the new task.
      method: spirl; ssp, through skills without their prior; flat_prior, close to a prior over
        single actions; bc_sac, from a cloned policy; or sac.
      data_env: where demonstrations are collected; none for the training tasks of env's family.
      engine: physics engine; auto takes the fastest one of this machine.
      seed: of everything random.
      workdir: folder of the run; none for runs/spirl/PRESET/METHOD/seedN.
      data: a dataset to use; none to collect one in the workdir.
      data_episodes: demonstrations to collect.
      skills: workdir of a run whose data and skill model to use; none to make them.
      start_from_prior: the policy starts as the prior; else from N(0, I), or as it is initialised.
      stay_close: the policy pays for its divergence from the prior; else it is paid for its
        entropy.
      skill_bound: skills that the policy chooses are this times tanh of a Gaussian; none for the
        Gaussian itself, which the decoder has learned from.
      squash_actions: execute the tanh of decoded actions.
      bound_once: where the policy is paid for its entropy, count the logarithm of skill_bound once
        and not for each dimension.
      eval_episodes: episodes of the final evaluation.
      video_episodes: episodes in the video; 0 for no video.
      skill: the skill model.
      fit: its training.
      clone: the policy over single actions that flat_prior and bc_sac start from.
      clone_fit: its training.
      divergence: how close spirl stays to the prior over skills.
      flat_divergence: how close flat_prior stays to the prior over actions.
      sac: the actor and the critics of every method.
      loop: the experience of every method.
      run: what is written, and when.
    """

    env: str = "maze/test"
    method: str = "spirl"
    data_env: str | None = None
    engine: str = "auto"
    seed: int = 0
    workdir: str | None = None
    data: str | None = None
    data_episodes: int = 4_096
    skills: str | None = None
    start_from_prior: bool = True
    stay_close: bool = True
    skill_bound: float | None = None
    squash_actions: bool = False
    bound_once: bool = False
    eval_episodes: int = 100
    video_episodes: int = 4
    skill: SkillVAEConfig = field(default_factory=SkillVAEConfig)
    fit: FitConfig = field(default_factory=lambda: FitConfig(batch_size=128, gradient_clip=10.0))
    clone: GaussianConfig = field(default_factory=GaussianConfig)
    clone_fit: FitConfig = field(default_factory=FitConfig)
    divergence: DivergenceConfig = field(default_factory=DivergenceConfig)
    flat_divergence: DivergenceConfig = field(default_factory=DivergenceConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    run: RunConfig = field(default_factory=RunConfig)


class Learned(NamedTuple):
    """What the data taught: a skill model, or a policy over single actions, or neither."""

    skills: tuple[SkillModel, Params] | None = None
    clone: tuple[Prior, Params] | None = None


def make_skills(config: SpirlConfig, env: Env) -> SkillModel:
    """The skill model, untrained."""
    with flags.naming("skill"):
        return make_skill_vae(config.skill, env.observation_spec, env.action_spec)


def make_clone(config: SpirlConfig, env: Env) -> Prior:
    """The policy over single actions, untrained."""
    with flags.naming("clone"):
        return make_gaussian(config.clone, env.observation_spec, env.action_spec)


def load_skill_data(config: SpirlConfig, env: Env, reader: EpisodeReader) -> tuple[Data, Data]:
    """The skill model's training data, and its validation data, of which no two pieces overlap."""
    skill = config.skill
    every = tuple(env.observation_spec)
    seen = {*(skill.prior_observation or every), *(skill.decoder_observation or every)}
    names = tuple(name for name in every if name in seen)
    check_compatible(reader, {n: env.observation_spec[n] for n in names}, env.action_spec)
    parts = split_by_episode(reader.num_episodes, config.fit.validation_fraction, config.seed)
    train, validation = (
        load_windows(reader, names, skill.horizon, part, stride)
        for part, stride in zip(parts, (1, skill.horizon), strict=True)
    )
    return jax.tree.map(jnp.asarray, train), jax.tree.map(jnp.asarray, validation)


def load_clone_data(config: SpirlConfig, env: Env, reader: EpisodeReader) -> tuple[Data, Data]:
    """The training and validation data of the policy over single actions."""
    specs, fraction = (env.observation_spec, env.action_spec), config.clone_fit.validation_fraction
    return load_for_fit(*specs, reader, config.clone.observation, fraction, config.seed)


def learn_from_data(
    config: SpirlConfig, env: Env, reader: EpisodeReader | None, workdir: Path
) -> tuple[Learned, dict[str, Any]]:
    """What the method needs to know from data, and how well that was learned."""
    key, everything = stage_keys(config.seed)["fit"], dataclasses.asdict(config)
    if config.method in WITH_SKILLS:
        skills = make_skills(config, env)
        if config.skills is not None:
            return Learned(skills=restore_skills(config, env)), {}
        assert reader is not None
        data = load_skill_data(config, env, reader)
        folder, fit = workdir / "skills", config.fit
        state = run_fit(folder, skills, fit, *data, key, run=config.run, flags=everything)
        facts = {"validation_loss": float(state.best_loss), "best_step": int(state.best_step)}
        facts = {f"skills/{name}": value for name, value in facts.items()}
        return Learned(skills=(skills, state.best_params)), facts
    if config.method in WITH_CLONE:
        assert reader is not None
        clone, data = make_clone(config, env), load_clone_data(config, env, reader)
        folder, fit = workdir / "clone", config.clone_fit
        state = run_fit(folder, clone, fit, *data, key, run=config.run, flags=everything)
        facts = {"validation_loss": float(state.best_loss), "best_step": int(state.best_step)}
        facts = {f"clone/{name}": value for name, value in facts.items()}
        return Learned(clone=(clone, state.best_params)), facts
    return Learned(), {}


def restore_skills(config: SpirlConfig, env: Env) -> tuple[SkillModel, Params]:
    """The skill model of another run.

    Raises:
      UserError: there is no such run, or its skill model is another one.
    """
    assert config.skills is not None
    workdir = Path(config.skills)
    theirs = read_run(workdir, "skills")
    ours, other = (flags.to_text(c.skill, "skill").splitlines() for c in (config, theirs))
    differing = [f"{a} here and {b} there" for a, b in zip(ours, other, strict=True) if a != b]
    if differing:
        raise UserError(f"--skills={workdir} has another skill model: {'; '.join(differing[:3])}")
    skills = make_skills(config, env)
    target = jax.eval_shape(skills.init, jax.random.key(0))
    checkpoints = Checkpointer(workdir / "skills" / "checkpoints")
    return skills, checkpoints.restore_part("best_params", target).state


def read_run(workdir: Path, flag: str) -> SpirlConfig:
    """The flags of a run of this experiment.

    Raises:
      UserError: the folder is no such run.
    """
    if not (workdir / FLAGS_FILE).is_file():
        raise UserError(f"--{flag}={workdir} has no {FLAGS_FILE}; give the workdir of a run")
    owner = read_owner(workdir)
    if owner != "spirl":
        raise UserError(f"--{flag}={workdir} is not a run of spirl but of {owner}; give one")
    return flags.read_file(SpirlConfig, workdir / FLAGS_FILE)


def make_method(config: SpirlConfig, env: Env, learned: Learned) -> tuple[Env, Learner]:
    """What distinguishes one method from another.

    That is where it acts, what it stays close to, and from where it starts.
    """
    prior_fn: PriorFn | None = None
    initial = None
    names: tuple[str, ...] = ()
    if learned.skills is not None:
        skills, params = learned.skills
        env = execute_skill(
            env, skills, params, bound=config.skill_bound, squash=config.squash_actions
        )
        if config.method == "spirl":
            prior = make_skill_prior(config.skill, env.observation_spec, config.skill_bound)
            prior_params = skills.prior_params(params)
            names = config.skill.prior_observation
            prior_fn = as_function(prior, prior_params)
            initial = prior_params if config.skill.prior == "gaussian" else None
    if learned.clone is not None:
        prior, prior_params = learned.clone
        names = config.clone.observation
        prior_fn = as_function(prior, prior_params) if config.method == "flat_prior" else None
        initial = prior_params
    if initial is not None:
        spec = env.observation_spec
        seen = config.sac.policy_observation or tuple(spec)
        initial = start_from_prior(initial, names or tuple(spec), seen, spec)
    if not config.start_from_prior:
        initial = None
    specs = (env.observation_spec, env.action_spec)
    if prior_fn is None or not config.stay_close:
        penalty = entropy_penalty(config.sac, env.action_spec, bound_once=config.bound_once)
        return env, make_regularized(config.sac, *specs, penalty, initial)
    divergence = config.divergence if config.method == "spirl" else config.flat_divergence
    return env, make_kl_sac(config.sac, divergence, *specs, prior_fn, initial)


def as_function(prior: Prior, params: Params) -> PriorFn:
    """A prior as a function from observations to distributions."""
    distribution = prior.require("distribution", "KL-regularised soft actor-critic")

    def prior_fn(observation: Observation) -> Any:
        return distribution(params, prior.encode(params, observation))

    return prior_fn


def untrained(model: SkillModel | Prior) -> Params:
    """Parameters of the right shapes, for checks."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def check_config(config: SpirlConfig, env: Env) -> None:
    """Refuses now what a stage would refuse minutes later, given data included."""
    if config.method not in METHODS:
        raise UserError(f"--method={config.method} is unknown; use one of: {', '.join(METHODS)}")
    at_least = {"seed": 0, "data_episodes": 2, "eval_episodes": 1, "video_episodes": 0}
    for name, least in at_least.items():
        if getattr(config, name) < least:
            raise UserError(f"--{name}={getattr(config, name)} should be at least {least}")
    if config.skill_bound is not None and config.skill_bound <= 0:
        raise UserError(f"--skill_bound={config.skill_bound} should be positive, or none")
    with flags.naming("run"):
        check_run_config(config.run)
    reader = EpisodeReader(config.data) if config.data is not None else None
    learned = Learned()
    if config.method in WITH_SKILLS:
        skills = make_skills(config, env)
        learned = Learned(skills=(skills, untrained(skills)))
        with flags.naming("fit"):
            make_fit(skills, config.fit)
        if config.skills is not None:
            restore_skills(config, env)
        elif reader is not None:
            load_skill_data(config, env, reader)
    elif config.method in WITH_CLONE:
        clone = make_clone(config, env)
        learned = Learned(clone=(clone, untrained(clone)))
        with flags.naming("clone_fit"):
            make_fit(clone, config.clone_fit)
        if reader is not None:
            load_clone_data(config, env, reader)
    with flags.naming("sac"):
        acted_env, learner = make_method(config, env, learned)
    with flags.naming("loop"):
        make_loop(acted_env, learner, config.loop)


def main() -> None:
    """Runs the experiment that the command line describes."""
    config = flags.read(SpirlConfig)
    # everything that can be refused is refused before anything is written
    env, keys = make_env(config.env, engine=config.engine), stage_keys(config.seed)
    check_config(config, env)
    needs_data = config.method != "sac" and (config.skills is None or config.method in WITH_CLONE)
    data_env = None
    if needs_data and config.data is None:
        data_env = related_env(env, "data_env", config.data_env, config.engine)
        check_demonstrator(data_env)
    default = Path("runs", "spirl", flags.preset(), config.method, f"seed{config.seed}")
    workdir = open_workdir(
        config.workdir or default,
        experiment="spirl",
        flags_text=flags.to_text(config),
        may_differ=("workdir", "video_episodes"),
    )
    watch = Stopwatch()
    reader = None
    with watch.span("collect"):
        if needs_data and config.data is not None:
            reader = EpisodeReader(config.data)
        elif data_env is not None:
            reader = get_demonstrations(
                data_env, workdir / "data", config.data_episodes, config.seed
            )
    with watch.span("data"):
        learned, results = learn_from_data(config, env, reader, workdir)
    acted_env, learner = make_method(config, env, learned)
    trained, scores = learn(config.method, config, acted_env, learner, workdir, watch)
    results |= scores
    with watch.span("pictures"):
        pictures.learning_curves([workdir], workdir / "figures", (config.method,), env)
        if config.video_episodes:
            pictures.videos(
                workdir / "videos",
                {config.method: trained},
                keys["evaluate"],
                config.video_episodes,
            )
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    results["wall_seconds/total"] = sum(watch.seconds().values())
    path = write_summary(workdir, results, seed=config.seed, engine=env.info["engine"])
    print(f"done in {format_seconds(results['wall_seconds/total'])}; see {path}", flush=True)


if __name__ == "__main__":
    flags.define(SpirlConfig)
    flags.run(main)
