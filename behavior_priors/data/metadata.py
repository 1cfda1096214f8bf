"""What a dataset says about itself: `metadata.json`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from behavior_priors.data.names import check_name
from behavior_priors.data.shards import write_atomically
from behavior_priors.errors import UserError
from behavior_priors.system.foreign_files import MEGABYTE, find_complaint, read_json
from behavior_priors.system.trust import FromFile
from behavior_priors.types import ArraySpec, ObservationSpec
from behavior_priors.version import __version__

FORMAT = "behavior_priors.episodes"
VERSION = 1
METADATA_FILE = "metadata.json"


def installed_versions() -> dict[str, str]:
    """Versions of this package and of those that decide what a simulation computes."""
    versions = {"behavior_priors": __version__}
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
        """The same as plain JSON values, equal for equal metadata.

        Raises:
          UserError: a number is not finite.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["observation"] = {
            name: {"shape": list(spec.shape), "dtype": np.dtype(spec.dtype).name}
            for name, spec in self.observation.items()
        }
        # what JSON has not, NaN and infinity, nobody could read again
        try:
            text = json.dumps(fields, default=lambda value: value.tolist(), allow_nan=False)
        except ValueError as error:
            raise UserError(
                f"what is known of the episodes of {self.environment} holds NaN or infinity, which "
                f"{METADATA_FILE} cannot say ({error}); give finite numbers"
            ) from error
        return json.loads(text)

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
    for name in metadata.observation:
        check_name(str(directory), name)
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_atomically(directory / METADATA_FILE, text.encode())


def read_metadata(
    directory: Path, trust: Sequence[str] = ()
) -> tuple[EpisodeMetadata, Totals | None]:
    """Reads `metadata.json`; totals are None where the dataset is not complete.

    Args:
      directory: the dataset.
      trust: what the environment, a `FromFile`, may make the library do.

    Raises:
      UserError: there is no such file, or it is not one of this format and version.
    """
    path = directory / METADATA_FILE
    advice = "give a directory that experiments.collect wrote"
    try:
        head = read_json(path, dict[str, Any], limit=_LARGEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file; {advice}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    except UserError as error:
        raise UserError(f"{error}; {advice}") from None
    if head.get("format") != FORMAT:
        raise UserError(f'{path}: does not say "format": "{FORMAT}"; give a dataset of that format')
    if head.get("version") != VERSION:
        raise UserError(
            f"{path}: version {reprlib.repr(head.get('version'))} of the format is unknown; this "
            f"package reads version {VERSION}"
        )
    if (complaint := find_complaint(head, _Content)) is not None:
        raise UserError(f"{path}: {complaint}; see docs/data_format.md")
    observation = {
        name: _read_spec(path, name, entry) for name, entry in head["observation"].items()
    }
    if not observation:
        raise UserError(f"{path}: 'observation' names no array; it should name one at least")
    if not 0 < head["action_size"] < _LARGEST_AXIS:
        raise UserError(f"{path}: 'action_size' is {head['action_size']}; it should be 1 or more")
    if head["complete"] != (head["totals"] is not None):
        raise UserError(
            f"{path}: a complete dataset has 'totals', and no other; see docs/data_format.md"
        )
    fields = {field.name: head[field.name] for field in dataclasses.fields(EpisodeMetadata)}
    said = f"{path} says that the environment is {reprlib.repr(head['environment'])}, which"
    fields |= {
        "observation": observation,
        "environment": FromFile(head["environment"], said, trust),
    }
    return EpisodeMetadata(**fields), Totals(**head["totals"]) if head["totals"] else None


def _read_spec(path: Path, name: str, entry: _Spec) -> ArraySpec:
    shape, dtype = entry["shape"], entry["dtype"]
    check_name(str(path), name)
    if not all(0 < n < _LARGEST_AXIS for n in shape) or len(shape) > _MOST_AXES:
        raise UserError(f"{path}: the observation {name!r} has a shape that no array can have")
    if dtype not in _DTYPES:
        raise UserError(
            f"{path}: the observation {name!r} has the dtype {reprlib.repr(dtype)}; use one of: "
            f"{', '.join(_DTYPES)}"
        )
    return ArraySpec(tuple(shape), np.dtype(dtype))


class _Spec(TypedDict):
    shape: list[int]
    dtype: str


class _Totals(TypedDict):
    num_shards: int
    num_episodes: int
    num_steps: int


class _Content(TypedDict):
    observation: dict[str, _Spec]
    action_size: int
    environment: str
    policy: str
    environment_config: dict[str, Any]
    engine: str | None
    scenes: list[Any]
    seed: int | None
    versions: dict[str, Any]
    extra: dict[str, Any]
    complete: bool
    totals: _Totals | None


_LARGEST = 64 * MEGABYTE
"""Bytes of the file; a scene takes some hundreds."""

_LARGEST_AXIS = 1 << 31
_MOST_AXES = 32
_DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
_DTYPES += ("float16", "float32", "float64")


def _first_difference(name: str, ours: Any, theirs: Any) -> str | None:
    if ours == theirs:
        return None
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            inner = f"{name}.{key}" if name else key
            if found := _first_difference(inner, ours.get(key), theirs.get(key)):
                return found
    return f"{name}: {reprlib.repr(ours)} against {reprlib.repr(theirs)}"
