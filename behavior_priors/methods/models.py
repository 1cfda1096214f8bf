"""Models of old behaviour, learned from data first, each in a stage with a folder of its own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.config import flags
from behavior_priors.data.dataset import (
    check_compatible,
    join,
    load_episodes,
    load_transitions,
    load_windows,
    split_by_episode,
)
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.wrappers.history import with_history
from behavior_priors.errors import UserError
from behavior_priors.history import HISTORY, History, past_steps
from behavior_priors.keys import key_shape, named_key
from behavior_priors.methods.settings import ExperimentConfig
from behavior_priors.priors.gaussian import GaussianConfig
from behavior_priors.priors.registry import find_model
from behavior_priors.priors.state_features import history_of
from behavior_priors.runs.run import run_fit
from behavior_priors.system.own_modules import part_name
from behavior_priors.training.fit import Data, FitConfig, make_fit
from behavior_priors.types import ActionSpec, Env, ObservationSpec, Params, Prior, SkillModel

KEYS = {"real_nvp": "prior", "skill_vae": "skills", "gaussian": "clone"}
"""What the keys of models' training are called where that is not the model's name."""


class Stage(NamedTuple):
    """A model that is to be learned, or that another run has learned.

    Attributes:
      name: of its folder.
      config: what the model looks like.
      model: untrained.
      fit: its training.
      source: the folder of the run that has it; None for this one.
    """

    name: str
    config: Any
    model: Prior | SkillModel
    fit: FitConfig
    source: Path | None = None


class Fitted(NamedTuple):
    """A model, its parameters, and what it looks like."""

    model: Prior | SkillModel
    params: Params
    config: Any


def make_stage(name: str, config: Any, env: Env, policy: Any = None) -> Stage:
    """A model by its name, with the flags that a config has for it.

    Args:
      name: of the model.
      config: of the experiment.
      env: the new task.
      policy: the config of a learner whose policy starts from the model, which then has its widths
        and sees what it sees, unless the model's own flags say otherwise.

    Raises:
      UserError: they do not fit the environment or themselves.
    """
    part, model = part_name(name), find_model(name, flag="through")
    own, fit = getattr(config, part), getattr(config, f"{part}_fit")
    if policy is not None and isinstance(own, GaussianConfig):
        own = dataclasses.replace(
            own,
            widths=policy.policy_widths if own.widths is None else own.widths,
            observation=own.observation or policy.policy_observation,
        )
    if getattr(own, "horizon", 0) is None:
        own = dataclasses.replace(own, horizon=env.episode_length)
    with flags.naming(part, own):
        spec = seen_by(env, own).observation_spec
        made = model.make(own, spec, env.action_spec)
        _check_whole(made, env)
    with flags.naming(f"{part}_fit", fit):
        make_fit(made, fit)
    return Stage(part, own, made, fit)


def seen_by(env: Env, *configs: Any) -> Env:
    """The environment as models of these configs have to see it: with a past, if one remembers it.

    Raises:
      UserError: one remembers something else than another.
    """
    history = remembered_by(env, *configs)
    return env if history is None else with_history(env, history)


def remembered_by(env: Env, *configs: Any) -> History | None:
    """The past that models of these configs see, if any does.

    Raises:
      UserError: one remembers something else than another.
    """
    spec = env.observation_spec
    every = {x for config in configs if (x := history_of(config, spec)) is not None}
    if len(every) > 1:
        raise UserError(
            "history: models of one method should remember the same observations of as many steps"
        )
    return every.pop() if every else None


def _check_whole(model: Prior | SkillModel, env: Env) -> None:
    """Refuses models of whole episodes that end before those of the environment."""
    if isinstance(model, SkillModel) and model.is_whole and model.horizon < env.episode_length:
        raise UserError(
            f"horizon={model.horizon} should be at least {env.episode_length}, the steps of an "
            f"episode in {env.name}; leave it out"
        )


def untrained(stage: Stage) -> Fitted:
    """A model with parameters of the right shapes, for checks."""
    shapes = jax.eval_shape(stage.model.init, key_shape())
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    return Fitted(stage.model, params, stage.config)


def load_data(
    stage: Stage, env: Env, readers: Sequence[EpisodeReader], seed: int
) -> tuple[Data, Data]:
    """What a model learns from, and what it is judged by: different episodes of each dataset.

    Raises:
      UserError: a dataset does not fit the environment, or is too small.
    """
    return as_one([_load(stage, env, reader, seed) for reader in readers])


def as_one(parts: Sequence[tuple[Data, Data]]) -> tuple[Data, Data]:
    """Data for training and for validation of several datasets as those of one, for the device."""
    train, validation = (jax.tree.map(jnp.asarray, join(x)) for x in zip(*parts, strict=True))
    return train, validation


def _load(stage: Stage, env: Env, reader: EpisodeReader, seed: int) -> tuple[Data, Data]:
    model, spec = stage.model, env.observation_spec
    names = model.observation or tuple(spec)
    if not isinstance(model, SkillModel):
        fraction, history = stage.fit.validation_fraction, history_of(stage.config, spec)
        return load_for_fit(spec, env.action_spec, reader, names, fraction, seed, env.info, history)
    seen = {} if model.is_whole else {n: spec[n] for n in names}
    for doubt in check_compatible(reader, seen, env.action_spec, env.info):
        warn_once(doubt)
    parts = split_by_episode(reader.num_episodes, stage.fit.validation_fraction, seed)
    if model.is_whole:
        train, validation = (load_episodes(reader, model.horizon, part) for part in parts)
        return train, validation
    # no two pieces of the validation data overlap
    train, validation = (
        load_windows(reader, names, model.horizon, part, stride)
        for part, stride in zip(parts, (1, model.horizon), strict=True)
    )
    return train, validation


def load_for_fit(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    reader: EpisodeReader,
    names: Sequence[str],
    validation_fraction: float,
    seed: int,
    info: Mapping[str, Any] | None = None,
    history: History | None = None,
) -> tuple[Data, Data]:
    """What a prior over single actions learns from, and what it is judged by; see `as_one`.

    Args:
      observation_spec: of what the prior is for.
      action_spec: likewise.
      reader: the dataset.
      names: the observations that the prior sees; empty for all of the spec's.
      validation_fraction: of the episodes.
      seed: of their choice.
      info: the environment's `Env.info`, which may say what its own actions are.
      history: what the prior remembers.

    Raises:
      UserError: the dataset does not fit the environment, or is too small.
    """
    names = tuple(names) or tuple(observation_spec)
    seen = {n: observation_spec[n] for n in names}
    for doubt in check_compatible(reader, seen, action_spec, info):
        warn_once(doubt)

    def load(part: np.ndarray) -> Data:
        steps = load_transitions(reader, names, part)
        if history is not None:
            lengths = reader.read_array("length", part)
            past = past_steps(history, observation_spec, **steps, lengths=lengths)
            steps["observation"][HISTORY] = past
        return steps

    train, validation = map(load, split_by_episode(reader.num_episodes, validation_fraction, seed))
    return train, validation


@functools.cache
def warn_once(text: str) -> None:
    """Prints a warning, but no second time: data are looked at before a run and in it."""
    print(f"warning: {text}", flush=True)


def learn_model(
    stage: Stage,
    env: Env,
    readers: Sequence[EpisodeReader],
    workdir: Path,
    config: ExperimentConfig,
) -> tuple[Fitted, dict[str, float]]:
    """Fits a model in its folder: the parameters that are kept, and how good they are."""
    state = run_fit(
        workdir / stage.name,
        stage.model,
        stage.fit,
        lambda: load_data(stage, env, readers, config.seed),
        named_key(config.seed, "fit", KEYS.get(stage.name, stage.name)),
        run=config.run,
        flags=dataclasses.asdict(config),
    )
    facts: dict[str, float] = {
        f"{stage.name}/validation_loss": float(state.best_loss),
        f"{stage.name}/kept_step": int(state.best_step),
    }
    return Fitted(stage.model, state.best_params, stage.config), facts
