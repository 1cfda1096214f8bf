"""What SPiRL's methods know from data: a skill model, or a policy over single actions.

Each is a stage of an experiment with a folder of its own, `skills/` or `clone/`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp

from behavior_priors.config import flags
from behavior_priors.data.dataset import check_compatible, load_windows, split_by_episode
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.keys import named_key
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.skill_vae import SkillVAEConfig, make_skill_vae
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.run import RunConfig, run_fit
from behavior_priors.runs.workdir import FLAGS_FILE, WORKDIR_DEPTH, read_owner
from behavior_priors.system.foreign_files import check_folder
from behavior_priors.system.trust import allow_path
from behavior_priors.training.fit import Data, FitConfig, make_fit
from behavior_priors.types import Env, Params, Prior, SkillModel, UserError
from experiments.stages import load_for_fit, warn_once

WITH_SKILLS, WITH_CLONE = ("spirl", "ssp"), ("flat_prior", "bc_sac", "bc_ppo")
"""Methods that act through skills, and methods that know single actions of the data."""


class Experiment(Protocol):
    """What is asked of the config of an experiment that has these stages."""

    @property
    def method(self) -> str: ...
    @property
    def data(self) -> str | None: ...
    @property
    def skills(self) -> str | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def skill(self) -> SkillVAEConfig: ...
    @property
    def fit(self) -> FitConfig: ...
    @property
    def clone(self) -> GaussianConfig: ...
    @property
    def clone_fit(self) -> FitConfig: ...
    @property
    def run(self) -> RunConfig: ...


class Learned(NamedTuple):
    """What the data taught: a skill model, or a policy over single actions, or neither."""

    skills: tuple[SkillModel, Params] | None = None
    clone: tuple[Prior, Params] | None = None


def make_skills(config: Experiment, env: Env) -> SkillModel:
    """The skill model, untrained."""
    with flags.naming("skill", config.skill):
        return make_skill_vae(config.skill, env.observation_spec, env.action_spec)


def make_clone(config: Experiment, env: Env) -> Prior:
    """The policy over single actions, untrained."""
    with flags.naming("clone", config.clone):
        return make_gaussian(config.clone, env.observation_spec, env.action_spec)


def load_skill_data(config: Experiment, env: Env, reader: EpisodeReader) -> tuple[Data, Data]:
    """The skill model's training data, and its validation data, of which no two pieces overlap."""
    skill = config.skill
    every = tuple(env.observation_spec)
    seen = {*(skill.prior_observation or every), *(skill.decoder_observation or every)}
    names = tuple(name for name in every if name in seen)
    spec = {n: env.observation_spec[n] for n in names}
    for doubt in check_compatible(reader, spec, env.action_spec, env.info):
        warn_once(doubt)
    parts = split_by_episode(reader.num_episodes, config.fit.validation_fraction, config.seed)
    train, validation = (
        load_windows(reader, names, skill.horizon, part, stride)
        for part, stride in zip(parts, (1, skill.horizon), strict=True)
    )
    return jax.tree.map(jnp.asarray, train), jax.tree.map(jnp.asarray, validation)


def load_clone_data(config: Experiment, env: Env, reader: EpisodeReader) -> tuple[Data, Data]:
    """The training and validation data of the policy over single actions."""
    specs, fraction = (env.observation_spec, env.action_spec), config.clone_fit.validation_fraction
    return load_for_fit(*specs, reader, config.clone.observation, fraction, config.seed, env.info)


def learn_from_data(
    config: Experiment, env: Env, reader: EpisodeReader | None, workdir: Path
) -> tuple[Learned, dict[str, Any]]:
    """What the method needs to know from data, and how well that was learned."""
    everything = dataclasses.asdict(cast(Any, config))
    if config.method in WITH_SKILLS:
        skills = make_skills(config, env)
        if config.skills is not None:
            return Learned(skills=restore_skills(config, env)), {}
        assert reader is not None
        data = load_skill_data(config, env, reader)
        folder, fit = workdir / "skills", config.fit
        key = named_key(config.seed, "fit", "skills")
        state = run_fit(folder, skills, fit, *data, key, run=config.run, flags=everything)
        facts = {"validation_loss": float(state.best_loss), "kept_step": int(state.best_step)}
        facts = {f"skills/{name}": value for name, value in facts.items()}
        return Learned(skills=(skills, state.best_params)), facts
    if config.method in WITH_CLONE:
        assert reader is not None
        clone, data = make_clone(config, env), load_clone_data(config, env, reader)
        folder, fit = workdir / "clone", config.clone_fit
        key = named_key(config.seed, "fit", "clone")
        state = run_fit(folder, clone, fit, *data, key, run=config.run, flags=everything)
        facts = {"validation_loss": float(state.best_loss), "kept_step": int(state.best_step)}
        facts = {f"clone/{name}": value for name, value in facts.items()}
        return Learned(clone=(clone, state.best_params)), facts
    return Learned(), {}


def restore_skills(config: Experiment, env: Env) -> tuple[SkillModel, Params]:
    """The skill model of another run.

    Raises:
      UserError: there is no such run, or its skill model is another one.
    """
    assert config.skills is not None
    workdir = allow_path(config.skills)
    theirs = read_run(config, workdir)
    if theirs.skills is not None:
        raise UserError(f"--skills={workdir} uses those of {theirs.skills}; give that")
    ours, other = (flags.to_text(c.skill, "skill").splitlines() for c in (config, theirs))
    differing = [f"{a} here and {b} there" for a, b in zip(ours, other, strict=True) if a != b]
    if differing:
        raise UserError(f"--skills={workdir} has another skill model: {'; '.join(differing[:3])}")
    return read_skills(config, env, workdir)


def read_skills(config: Experiment, env: Env, workdir: Path) -> tuple[SkillModel, Params]:
    """The skill model in a folder."""
    skills = make_skills(config, env)
    target = jax.eval_shape(skills.init, jax.random.key(0))
    checkpoints = Checkpointer(workdir / "skills" / "checkpoints")
    return skills, checkpoints.restore_part("best_params", target).state


def read_clone(config: Experiment, env: Env, workdir: Path) -> tuple[Prior, Params]:
    """The policy over single actions in a folder."""
    clone = make_clone(config, env)
    target = jax.eval_shape(clone.init, jax.random.key(0))
    checkpoints = Checkpointer(workdir / "clone" / "checkpoints")
    return clone, checkpoints.restore_part("best_params", target).state


def read_run(config: Experiment, workdir: Path) -> Experiment:
    """The flags of another run of the experiment, `--skills` to the user.

    Raises:
      UserError: the folder is no such run.
    """
    if not (workdir / FLAGS_FILE).is_file():
        raise UserError(f"--skills={workdir} has no {FLAGS_FILE}; give the workdir of a run")
    try:
        check_folder(workdir, depth=WORKDIR_DEPTH)
        owner = read_owner(workdir)
    except UserError as error:
        raise UserError(f"--skills={workdir} cannot be read: {error}") from None
    if owner != "spirl":
        raise UserError(f"--skills={workdir} is not a run of spirl but of {owner}; give one")
    return flags.read_file(type(config), workdir / FLAGS_FILE)


def untrained(model: SkillModel | Prior) -> Params:
    """Parameters of the right shapes, for checks."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def check_and_imagine(config: Experiment, env: Env) -> Learned:
    """Refuses now what these stages would refuse later, given data included.

    Returns:
      What they will have learned, with parameters of the right shapes.
    """
    reader = EpisodeReader(config.data) if config.data is not None else None
    learned = Learned()
    if config.method in WITH_SKILLS:
        skills = make_skills(config, env)
        learned = Learned(skills=(skills, untrained(skills)))
        with flags.naming("fit", config.fit):
            make_fit(skills, config.fit)
        if config.skills is not None:
            restore_skills(config, env)
        elif reader is not None:
            load_skill_data(config, env, reader)
    elif config.method in WITH_CLONE:
        clone = make_clone(config, env)
        learned = Learned(clone=(clone, untrained(clone)))
        with flags.naming("clone_fit", config.clone_fit):
            make_fit(clone, config.clone_fit)
        if reader is not None:
            load_clone_data(config, env, reader)
    return learned
