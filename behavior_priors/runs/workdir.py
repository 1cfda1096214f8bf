"""The folder of a run: where it lies, whose it is, and files that are never half written.

One process writes in it at a time; `.lock` is there as long as it lives.

runs/<experiment>/<preset>/seed<N>/
  flags.txt        the resolved flags; `--flagfile` of it repeats the run
  metrics.jsonl    one row of metrics a line
  summary.json     the results, flat
  checkpoints/     what a killed run goes on from
  figures/, videos/
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from behavior_priors.config.flag_file import OWNER, read_flag_file
from behavior_priors.errors import UserError
from behavior_priors.system import locks
from behavior_priors.system.files import reason, write_atomically
from behavior_priors.system.foreign_files import check_folder, read_text
from behavior_priors.version import __version__

FLAGS_FILE = "flags.txt"
SUMMARY_FILE = "summary.json"
ADAPTATION_FILE = "adaptation.npz"
ORACLE_FILE = "oracle.npz"

WORKDIR_DEPTH = 2
"""Levels of a run's folder in which there may be no links; checkpoints and data look on."""

_NAMED_DIFFERENCES = 3

_open: list[locks.Lock] = []
"""Locks of the folders of runs, which are this process's until it ends."""


def default_workdir(experiment: str, preset: str, seed: int) -> Path:
    """Where a run lies unless `--workdir` says otherwise: the same place for the same command."""
    return Path("runs", experiment, preset, f"seed{seed}")


def open_workdir(
    path: str | Path,
    *,
    experiment: str,
    flags_text: str,
    may_differ: Collection[str] = (),
    may_grow: Collection[str] = (),
) -> Path:
    """Creates the folder of a run, or opens the folder of the same run again.

    It is this process's from then on until the process ends.

    Args:
      path: the folder.
      experiment: who owns it.
      flags_text: the resolved flags, as `flags.to_text` writes them.
      may_differ: names of flags that a run may be continued with other values of.
      may_grow: likewise, with larger numbers.

    Returns:
      The folder, which now holds `flags.txt`.

    Raises:
      UserError: the folder cannot be written, another process works in it, or it belongs to
        another experiment, to a run with other flags, or to no run at all.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"--workdir={path} is a file; give a folder")
    text = f"{OWNER}{experiment}\n{flags_text}"
    flagfile = path / FLAGS_FILE
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = locks.hold(path / locks.LOCK_FILE)
        if lock is None:
            raise UserError(
                f"--workdir={path} is in use by {locks.holder(path / locks.LOCK_FILE)}; wait for "
                "it or stop it, or choose another --workdir"
            )
        if (old := _look_at(path)) is not None:
            _check_same_run(path, old, text, may_differ, may_grow)
        elif any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise UserError(
                f"--workdir={path} has files but no {FLAGS_FILE}; give a new or empty folder"
            )
        write_atomically(flagfile, text)
        _open.append(lock)
    except OSError as error:
        raise UserError(f"--workdir={path} cannot be used: {reason(error).lower()}") from error
    return path


def _look_at(path: Path) -> str | None:
    """The flags of the run whose folder it is; None where it is nobody's yet."""
    try:
        check_folder(path, depth=WORKDIR_DEPTH)
        flagfile = path / FLAGS_FILE
        return read_text(flagfile) if flagfile.exists() else None
    except UserError as error:
        raise UserError(
            f"--workdir={path} cannot be used: {error}; choose another --workdir"
        ) from None


def read_owner(workdir: Path) -> str:
    """The experiment that a run's folder belongs to; `unknown` where its flags do not say.

    Raises:
      UserError: its flags cannot be read.
    """
    return read_flag_file(workdir / FLAGS_FILE).owner


def owner_of(workdir: Path, given: str) -> str:
    """The experiment whose run a folder is, for a program that is to read it.

    Args:
      workdir: the folder.
      given: the flag that names it, for messages.

    Raises:
      UserError: it is no run's, or cannot be read.
    """
    if not (workdir / FLAGS_FILE).is_file():
        raise UserError(f"{given} has no {FLAGS_FILE}; give the workdir of a run")
    try:
        check_folder(workdir, depth=WORKDIR_DEPTH)
        return read_owner(workdir)
    except UserError as error:
        raise UserError(f"{given} cannot be read: {error}") from None


def write_json_atomic(path: Path, value: Any) -> None:
    """Writes a value as JSON, as `files.write_atomically` does.

    Raises:
      UserError: the file cannot be written; the old value is kept.
      ValueError: a number in it is not finite, which JSON cannot say.
    """
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_summary(workdir: Path, results: Mapping[str, Any], *, seed: int, engine: str) -> Path:
    """Writes `summary.json`: the results, and what they were obtained with, in one flat object.

    Args:
      workdir: the run's folder.
      results: scalars by name, such as `"parrot/success_rate"`; what is not finite becomes null.
      seed: the run's seed.
      engine: name of the physics engine.

    Returns:
      The file's path.

    Raises:
      TypeError: a result is not a scalar.
    """
    summary = {name: _plain_scalar(name, value) for name, value in results.items()}
    summary |= {"seed": seed, "engine": engine}
    summary |= {f"versions/{name}": version for name, version in versions().items()}
    path = workdir / SUMMARY_FILE
    write_json_atomic(path, summary)
    return path


def versions() -> dict[str, str]:
    """Versions of whatever can change a result."""
    packages = {name: metadata.version(name) for name in ("jax", "jaxlib", "mujoco", "numpy")}
    return {
        "python": platform.python_version(),
        "behavior_priors": __version__,
        **packages,
    }


def _check_same_run(
    path: Path, old: str, new: str, may_differ: Collection[str], may_grow: Collection[str]
) -> None:
    advice = "choose another --workdir"
    if not old.startswith(OWNER):
        raise UserError(f"--workdir={path} has a {FLAGS_FILE} that no experiment wrote; {advice}")
    old_owner, new_owner = (text.partition("\n")[0].removeprefix(OWNER) for text in (old, new))
    if old_owner != new_owner:
        raise UserError(f"--workdir={path} belongs to {old_owner}, not to {new_owner}; {advice}")
    old_flags, new_flags = _parse_flags(old), _parse_flags(new)
    names = sorted((old_flags.keys() | new_flags.keys()) - set(may_differ))
    values = [
        (name, old_flags.get(name, "absent"), new_flags.get(name, "absent")) for name in names
    ]
    differences = [
        f"--{name} is {there} there and {here} here"
        for name, there, here in values
        if there != here and not (name in may_grow and _is_larger(here, there))
    ]
    if differences:
        shrunk = [name for name, there, here in values if name in may_grow and there != here]
        if len(differences) == len(shrunk):
            advice = (
                f"--{shrunk[0]} can only grow: give {old_flags[shrunk[0]]} or more, or {advice}"
            )
        named = differences[:_NAMED_DIFFERENCES]
        if len(differences) > len(named):
            named.append(f"and {len(differences) - len(named)} more")
        raise UserError(
            f"--workdir={path} holds a run with other flags: {', '.join(named)}; {advice}"
        )


def _is_larger(new: str, old: str) -> bool:
    return new.isdigit() and old.isdigit() and int(new) > int(old)


def _parse_flags(text: str) -> dict[str, str]:
    lines = (line.removeprefix("--") for line in text.splitlines() if line.startswith("--"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _plain_scalar(name: str, value: Any) -> bool | int | float | str | None:
    """A scalar of numpy, JAX or Python as JSON can say it."""
    if getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"result {name!r} is {value!r}, not a scalar")
