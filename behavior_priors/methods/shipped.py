"""Models in folders of their own, apart from the runs that have learned them.

FOLDER/
  flags.txt            which model it is, and what it looks like
  model.json           what it sees, as typical values have it, what it acts on, whence it comes
  weights.safetensors  its parameters
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import jax
import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.flag_file import OWNER
from behavior_priors.config.sections import with_sections
from behavior_priors.envs.interface import Interface, elsewhere, interface_of
from behavior_priors.errors import UserError
from behavior_priors.keys import key_shape
from behavior_priors.methods.models import Fitted, Stage, untrained
from behavior_priors.policy import FORMAT, WEIGHTS_FILE, parse_safetensors, safetensors_bytes
from behavior_priors.priors.registry import find_model
from behavior_priors.priors.state_features import history_of
from behavior_priors.runs.workdir import FLAGS_FILE, write_json_atomic
from behavior_priors.system.files import write_atomically
from behavior_priors.system.foreign_files import check_folder, open_file, read_json
from behavior_priors.system.own_modules import part_name
from behavior_priors.system.trust import allow_path
from behavior_priors.training.fit import FitConfig
from behavior_priors.types import ActionSpec, Env, Params

MODEL_FILE = "model.json"

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""Models that come with this package."""

SHIPPED = "model"
"""The experiment that such a folder's flags name: none."""

_SEES = ("observation", "prior_observation", "decoder_observation")
"""Fields of models that list names of observations, where none means all."""

_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class ShippedConfig:
    """The flags of a model's folder.

    Attributes:
      model: its name, or MODULE:NAME.
    """

    model: str = ""


class Description(TypedDict):
    """What `model.json` says."""

    format: int
    interface: Interface


def find_folder(name: str) -> Path:
    """The folder that a name means: a path, or `pretrained/NAME` of this package.

    Raises:
      UserError: a file names it, and the user has not allowed that; or none is pretrained so.
    """
    group, _, own = name.partition("/")
    if group != PRETRAINED.name or Path(name).exists():
        return allow_path(name)
    known = sorted(path.parent.name for path in PRETRAINED.glob(f"*/{MODEL_FILE}"))
    if own.strip("/") not in known:
        raise UserError(
            f"{name} is not here, and none is pretrained so; there are: "
            f"{', '.join(f'{group}/{x}' for x in known)}"
        )
    return PRETRAINED / own.strip("/")


def is_shipped(folder: Path) -> bool:
    """Whether a folder holds a model by itself."""
    return (folder / MODEL_FILE).is_file()


def ship(folder: Path, name: str, fitted: Fitted, env: Env, facts: Mapping[str, Any]) -> None:
    """Writes a model into a folder.

    Args:
      folder: to be made.
      name: of the model, as `--through` takes it.
      fitted: what it looks like, and its parameters.
      env: what it was made for.
      facts: what else is to be known of it.

    Raises:
      UserError: it cannot be written.
    """
    own = {x.name for x in dataclasses.fields(fitted.config)}
    every = tuple(env.observation_spec)
    # another environment may have more to see
    changes = {x: every for x in _SEES if x in own and not getattr(fitted.config, x)}
    config = dataclasses.replace(fitted.config, **changes)
    part = part_name(name)
    chosen = with_sections(ShippedConfig, {part: config})(model=name)
    text = flags.to_text(dataclasses.replace(chosen, **{part: config}))
    write_atomically(folder / FLAGS_FILE, f"{OWNER}{SHIPPED}\n{text}")
    write_atomically(folder / WEIGHTS_FILE, safetensors_bytes(named_arrays(fitted.params)))
    description = Description(format=FORMAT, interface=interface_of(env))
    write_json_atomic(folder / MODEL_FILE, {**description, **facts})


def named_arrays(params: Params) -> dict[str, np.ndarray]:
    """Parameters by their paths."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(x)
        for path, x in jax.tree.leaves_with_path(params)
    }


def read_stage(given: str, folder: Path, env: Env, trust: Sequence[str]) -> Stage:
    """A model in a folder, for an environment.

    Args:
      given: the flag that names it, for messages.
      folder: that has it.
      env: the new task, whose observations have to have those that the model sees.
      trust: modules that its flags may name.

    Raises:
      UserError: the folder is damaged, or the model is not for such an environment.
    """
    try:
        check_folder(folder, depth=1)
        description = read_json(folder / MODEL_FILE, Description)
    except OSError as error:
        raise UserError(f"{given} cannot be read: {error.strerror}") from None
    if description["format"] > FORMAT:
        raise UserError(f"{given} is of format {description['format']}; {FORMAT} is known here")
    known = elsewhere(description["interface"], str(folder / MODEL_FILE))
    path = folder / FLAGS_FILE
    name = flags.read_file(ShippedConfig, path, trust, known_only=True).model
    model, part = find_model(name, flag="through"), part_name(name)
    chosen = with_sections(ShippedConfig, {part: model.config})
    config = getattr(flags.read_file(chosen, path, trust), part)
    seen = tuple(dict.fromkeys(n for x in _SEES for n in getattr(config, x, ())))
    spec = {n: known.observation_spec[n] for n in seen if n in known.observation_spec}
    for n in seen:
        theirs, ours = spec.get(n), env.observation_spec.get(n)
        if theirs is None or ours is None or (theirs[:2] != (ours.shape, np.dtype(ours.dtype))):
            there = "nothing of that name" if ours is None else f"{list(ours.shape)} {ours.dtype}"
            wants = "it" if theirs is None else f"{list(theirs.shape)} {np.dtype(theirs.dtype)}"
            raise UserError(f"{given} sees {n}, {wants}; {env.name} has {there}")
    size = known.action_spec.size
    if size != env.action_spec.size:
        raise UserError(
            f"{given} acts with {size} numbers; {env.name} takes {env.action_spec.size}"
        )
    if history_of(config, env.observation_spec) is not None:
        raise UserError(f"{given} remembers past steps, and such a model goes with its run only")
    made = model.make(
        config, {**env.observation_spec, **spec}, ActionSpec(size, known.action_spec.bound)
    )
    return Stage(part, config, made, FitConfig(**model.fit), folder)


def restore(stage: Stage) -> Fitted:
    """A model with the parameters in its folder.

    Raises:
      UserError: they are damaged, or another model's.
    """
    assert stage.source is not None
    path = stage.source / WEIGHTS_FILE
    shapes = jax.eval_shape(stage.model.init, key_shape())
    blank = named_arrays(untrained(stage).params)
    most = sum(x.nbytes for x in blank.values()) + _HEADER_BYTES
    try:
        with open_file(path) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise UserError(f"{path} is larger than the model's parameters; it is another model's")
    try:
        arrays = parse_safetensors(data, path)
    except ValueError as error:
        raise UserError(str(error)) from None
    ours, theirs = ({n: (x.shape, x.dtype) for n, x in a.items()} for a in (blank, arrays))
    if ours != theirs:
        wrong = next(n for n in sorted(ours | theirs) if ours.get(n) != theirs.get(n))
        raise UserError(f"{path} has other parameters than its flags say, such as {wrong}")
    leaves = [jax.device_put(arrays[name]) for name in blank]
    params = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    return Fitted(stage.model, params, stage.config)
