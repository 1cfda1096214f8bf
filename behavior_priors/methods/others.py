"""Models that other runs have learned: a run's folder where a model's name may stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from behavior_priors.errors import UserError
from behavior_priors.methods.command_line import read_run
from behavior_priors.methods.models import Stage, make_stage
from behavior_priors.methods.presets import find_preset
from behavior_priors.methods.settings import ExperimentConfig, chosen_methods, is_folder
from behavior_priors.runs.workdir import FLAGS_FILE, owner_of
from behavior_priors.system.trust import FromFile, allow_path
from behavior_priors.types import Env


def stage_of(way: str, folder: str, env: Env, trust: Sequence[str] = ()) -> Stage:
    """The model of another run that a flag names.

    Args:
      way: the flag: a run with several models is asked for the one that enters so there.
      folder: of the run.
      env: the new task.
      trust: modules that the run's flags may name; those that a file lists count for nothing.

    Raises:
      UserError: there is no such run, it has no such model, or its model does not fit the task.
    """
    given, workdir = f"--{way}={folder}", allow_path(folder)
    allowed = [name for name in trust if not isinstance(name, FromFile)]
    if isinstance(folder, FromFile):
        allowed += folder.trust
    config = read_experiment(workdir, given, allowed)
    methods = chosen_methods(config).values()
    every = {name for method in methods for _, name in method.parts()}
    names = every
    if len(every) > 1:
        names = {name for method in methods for there, name in method.parts() if there == way}
    if len(names) != 1:
        there = ", ".join(sorted(every)) or "no model"
        raise UserError(f"{given}: the run has {there}, and one has to be meant; give another run")
    (name,) = names
    if is_folder(name):
        raise UserError(f"{given} uses the model of {name}; give that")
    try:
        return make_stage(name, config, env)._replace(source=workdir)
    except UserError as error:
        raise UserError(f"{given}: {str(error).removeprefix('--')}") from None


def read_experiment(workdir: Path, given: str, trust: Sequence[str]) -> ExperimentConfig:
    """The flags of another run.

    Args:
      workdir: its folder.
      given: the flag that names it, for messages.
      trust: modules that its flags may name.

    Raises:
      UserError: the folder is no run of an experiment with methods.
    """
    owner = owner_of(workdir, given)
    preset = find_preset(owner)
    if preset is None:
        raise UserError(f"{given} is a run of {owner}, which has no such models; give another run")
    return read_run(preset, workdir / FLAGS_FILE, trust)
