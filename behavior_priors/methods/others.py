"""Models that other runs have learned: a run's folder where a model's name may stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from behavior_priors.config import flags
from behavior_priors.errors import UserError
from behavior_priors.keys import key_shape
from behavior_priors.methods.command_line import read_run
from behavior_priors.methods.models import Fitted, Stage, make_stage
from behavior_priors.methods.presets import find_preset
from behavior_priors.methods.settings import ExperimentConfig, chosen_methods, is_folder
from behavior_priors.methods.shipped import find_folder, is_shipped, read_stage, restore
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.workdir import FLAGS_FILE, owner_of
from behavior_priors.system.own_modules import part_name
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
    given, workdir = f"--{way}={folder}", find_folder(folder)
    if is_shipped(workdir):
        return read_stage(given, workdir, env, _allowed(folder, trust))
    config = read_experiment(workdir, given, _allowed(folder, trust))
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


def read_models(folder: str, trust: Sequence[str] = ()) -> ExperimentConfig:
    """The flags of the run that `--models` names.

    Args:
      folder: of the run.
      trust: modules that the run's flags may name; those that a file lists count for nothing.

    Raises:
      UserError: there is no such run, or it has its models from another.
    """
    given = f"--models={folder}"
    config = read_experiment(allow_path(folder), given, _allowed(folder, trust))
    if config.models is not None:
        raise UserError(f"{given} has its models from {config.models}; give that")
    return config


def take(folder: str, known: Mapping[str, Stage], wanted: Mapping[str, Stage]) -> dict[str, Stage]:
    """The models of a run, with those taken from another that it has learned.

    Args:
      folder: of the other run.
      known: its models.
      wanted: those of the run.

    Raises:
      UserError: it has none of them, or one that was learned with other flags.
    """
    given = f"--models={folder}"
    shared = [x for x, it in wanted.items() if it.source is None and x in known]
    if not shared:
        raise UserError(
            f"{given}: the run has {', '.join(known) or 'no model'}, and "
            f"{', '.join(wanted) or 'no model'} is asked for; leave it out"
        )
    taken = dict(wanted)
    for name in shared:
        theirs, ours = known[name], wanted[name]
        for here, there in zip(_flags_of(ours), _flags_of(theirs), strict=True):
            if here != there:
                raise UserError(
                    f"{given}: the run's {name} was learned with {there}, and {here} is asked for; "
                    "give the same flags, or leave it out"
                )
        taken[name] = ours._replace(source=Path(folder))
    return taken


def restore_model(stage: Stage, workdir: Path) -> Fitted:
    """A model that has been learned.

    Args:
      stage: the model, which says in which folder it is.
      workdir: of the run that has it, where it says nothing.

    Raises:
      UserError: it is not there, or damaged.
    """
    if stage.source is not None and is_shipped(stage.source):
        return restore(stage)
    target = jax.eval_shape(stage.model.init, key_shape())
    folder = (stage.source or workdir) / stage.name
    restored = Checkpointer(folder / "checkpoints").restore_part("best_params", target)
    return Fitted(stage.model, restored.state, stage.config)


def _flags_of(stage: Stage) -> list[str]:
    """What a model was, or is to be, learned with."""
    part = part_name(stage.name)
    parts = ((part, stage.config), (f"{part}_fit", stage.fit))
    return [x for prefix, config in parts for x in flags.to_text(config, prefix).splitlines()]


def _allowed(folder: str, trust: Sequence[str]) -> list[str]:
    """What the flags of a run may name that stands in a folder."""
    allowed = [name for name in trust if not isinstance(name, FromFile)]
    return [*allowed, *folder.trust] if isinstance(folder, FromFile) else allowed


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
