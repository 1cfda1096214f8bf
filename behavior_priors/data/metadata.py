"""What a dataset says about itself: `metadata.json`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import behavior_priors
from behavior_priors.data.names import check_name
from behavior_priors.data.shards import write_atomically
from behavior_priors.types import ArraySpec, ObservationSpec, UserError

FORMAT = "behavior_priors.episodes"
VERSION = 1
METADATA_FILE = "metadata.json"


def installed_versions() -> dict[str, str]:
    """Versions of this package and of those that decide what a simulation computes."""
    versions = {"behavior_priors": behavior_priors.__version__}
    for package in ("mujoco", "jax", "numpy"):
        versions[package] = importlib.metadata.version(package)
    return versions


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeMetadata:
    """What the episodes are made of, and what made them.

    Anything that JSON can say may stand in the mappings and the scene table, and NumPy values too.

    Attributes:
      observation: shape and dtype of every observation array (their other fields are not stored).
      action_size: length of an action.
      environment: name of the environment, or of the robot.
      policy: who acted, such as "scripted_grasp" or "human".
      environment_config: what the environment was made with.
      engine: physics engine; None for a real robot or an unknown origin.
      scenes: what `scene` indexes, such as the names of each scene's objects.
      seed: from which everything random was drawn; None where that is not known.
      versions: of the packages that made the data.
      extra: anything else.
    """

    observation: ObservationSpec
    action_size: int
    environment: str
    policy: str
    environment_config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    engine: str | None = None
    scenes: Sequence[Any] = ()
    seed: int | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=installed_versions)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values, equal for equal metadata."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["observation"] = {
            name: {"shape": list(spec.shape), "dtype": np.dtype(spec.dtype).name}
            for name, spec in self.observation.items()
        }
        return json.loads(json.dumps(fields, default=lambda value: value.tolist()))

    def difference(self, other: EpisodeMetadata) -> str | None:
        """The first entry in which `other` differs, as `name: ours against theirs`, or None."""
        return _first_difference("", self.to_json(), other.to_json())


class Totals(NamedTuple):
    """How much a dataset holds."""

    num_shards: int
    num_episodes: int
    num_steps: int


def write_metadata(directory: Path, metadata: EpisodeMetadata, totals: Totals | None) -> None:
    """Writes `metadata.json`; totals mark the dataset as complete.

    Raises:
      UserError: the disk is full or refuses the file, or an observation's name cannot be kept.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        **metadata.to_json(),
        "complete": totals is not None,
        "totals": totals._asdict() if totals else None,
    }
    _check_names(directory, metadata.observation)
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_atomically(directory / METADATA_FILE, text.encode())


def read_metadata(directory: Path) -> tuple[EpisodeMetadata, Totals | None]:
    """Reads `metadata.json`; totals are None where the dataset is not complete.

    Raises:
      UserError: there is no such file, or it is not one of this format and version.
    """
    path = directory / METADATA_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{path}: no such file; give a directory that experiments.collect wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); give a directory that experiments.collect wrote"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f'{path}: does not say "format": "{FORMAT}"; give a dataset of that format')
    if content.get("version") != VERSION:
        raise UserError(
            f"{path}: version {content.get('version')!r} of the format is unknown; this package "
            f"reads version {VERSION}"
        )
    for name, kinds in _JSON_TYPES.items():
        if not isinstance(content.get(name), kinds):
            raise UserError(
                f"{path}: {name!r} is missing or of a wrong type; see docs/data_format.md"
            )
    try:
        observation = {
            name: ArraySpec(tuple(map(int, entry["shape"])), np.dtype(entry["dtype"]))
            for name, entry in content["observation"].items()
        }
        totals = Totals(**content["totals"]) if content["complete"] else None
    except (KeyError, TypeError, ValueError, OverflowError, SyntaxError) as error:
        raise UserError(
            f"{path}: 'observation' needs a shape and a dtype for every name, and a complete "
            f"dataset its three totals ({error}); see docs/data_format.md"
        ) from error
    _check_names(path, observation)
    fields = {field.name: content[field.name] for field in dataclasses.fields(EpisodeMetadata)}
    return EpisodeMetadata(**{**fields, "observation": observation}), totals


def _check_names(where: Path, observation: ObservationSpec) -> None:
    for name in observation:
        check_name(str(where), name)


_JSON_TYPES: dict[str, Any] = {
    "observation": dict,
    "action_size": int,
    "environment": str,
    "policy": str,
    "environment_config": dict,
    "engine": str | None,
    "scenes": list,
    "seed": int | None,
    "versions": dict,
    "extra": dict,
    "complete": bool,
}


def _first_difference(name: str, ours: Any, theirs: Any) -> str | None:
    if ours == theirs:
        return None
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            inner = f"{name}.{key}" if name else key
            if found := _first_difference(inner, ours.get(key), theirs.get(key)):
                return found
    return f"{name}: {reprlib.repr(ours)} against {reprlib.repr(theirs)}"
