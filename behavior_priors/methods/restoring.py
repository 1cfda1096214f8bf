"""A run put together again from its folder: its flags, its environment, what it has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from behavior_priors.envs.interface import Interface, elsewhere, interface_of
from behavior_priors.errors import UserError
from behavior_priors.methods import others
from behavior_priors.methods.command_line import read_run
from behavior_priors.methods.method import Method
from behavior_priors.methods.models import Fitted
from behavior_priors.methods.plan import stages_of
from behavior_priors.methods.presets import PRESETS, find_preset
from behavior_priors.methods.settings import ExperimentConfig, chosen_methods
from behavior_priors.methods.tasks import task_env
from behavior_priors.runs.workdir import FLAGS_FILE, owner_of, write_json_atomic
from behavior_priors.system.foreign_files import read_json
from behavior_priors.types import Env

INTERFACE_FILE = "environment.json"
"""How the environment of a run looks from outside."""


def read_config(workdir: Path, given: str, trust: Sequence[str] = ()) -> ExperimentConfig:
    """The flags of a run.

    Args:
      workdir: its folder.
      given: what the user calls it, for messages.
      trust: modules, options and folders that the run's flags may name; see `trust.FromFile`.

    Raises:
      UserError: there is no such run, or its flags name what they may not.
    """
    owner = owner_of(workdir, given)
    preset = find_preset(owner)
    if preset is None:
        known = " or ".join(x.owner for x in PRESETS)
        raise UserError(f"{given} is not a run of {known} but of {owner}; give one")
    return read_run(preset, workdir / FLAGS_FILE, trust)


def choose_methods(
    config: ExperimentConfig, methods: Sequence[str], workdir: Path, flag: str
) -> dict[str, Method]:
    """Methods of a run, all of them where none is named.

    Raises:
      UserError: it has no such method.
    """
    every = chosen_methods(config)
    for method in methods:
        if method not in every:
            raise UserError(f"{flag}={method} is not in {workdir}; use some of: {', '.join(every)}")
    return {name: every[name] for name in methods or every}


def restore_models(
    methods: Mapping[str, Method], config: ExperimentConfig, env: Env, workdir: Path
) -> dict[str, Fitted]:
    """The models of methods, as a run has learned them."""
    stages = stages_of(methods, config, env)
    return {name: others.restore_model(stage, workdir) for name, stage in stages.items()}


def keep_interface(workdir: Path, env: Env) -> None:
    """Writes down how a run's environment looks from outside, for those who have only the run."""
    if env.action_spec.bound is not None:
        write_json_atomic(workdir / INTERFACE_FILE, interface_of(env))


def read_interface(workdir: Path) -> Env | None:
    """The environment of a run from outside; None where the run has not written that down.

    Raises:
      UserError: the file is damaged.
    """
    path = workdir / INTERFACE_FILE
    if not path.exists():
        return None
    return elsewhere(read_json(path, Interface), str(path))


def find_env(config: ExperimentConfig, workdir: Path) -> Env:
    """The environment of a run from outside, or, where a run is older than that, itself."""
    env = read_interface(workdir)
    return task_env(config) if env is None else env
