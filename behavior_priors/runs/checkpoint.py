"""Checkpoints of a whole run, which survive a kill at any time and say so when they are damaged.

    checkpoints/0000012000/
      arrays/          the state's leaves, in Orbax's format
      metadata.json    what is not an array, and the leaves' names, dtypes and shapes
      manifest.json    a checksum of every other file

A checkpoint is written under a hidden name and renamed when it is complete, so every visible one is
complete. Nothing is synced to the device: after a power cut the manifest finds out which checkpoint
is whole. One process writes; nothing is pickled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging

from behavior_priors.errors import UserError
from behavior_priors.runs.checkpoint_arrays import hush, read_arrays, system_error, write_arrays
from behavior_priors.runs.checkpoint_files import (
    ARRAYS,
    MANIFEST,
    METADATA,
    find_damage,
    make_manifest,
    read_description,
    stored_bytes,
)
from behavior_priors.system import interrupts

_LEFTOVER = re.compile(r"\.\d{10,}(\.old)?\.tmp")
_MAX_NAMED = 2
_SLACK_BYTES = 4096
"""A small array's, which is compressed with others."""


class Restored(NamedTuple):
    """A checkpoint's step, its state (or the part asked for) and its metadata."""

    step: int
    state: Any
    metadata: dict[str, Any]


class Checkpointer:
    """Saves the state of a run in one folder, newest first to be restored."""

    def __init__(self, directory: str | Path, *, keep: int = 2) -> None:
        """Looks at a folder, which is made by the first save.

        Args:
          directory: holds one folder per checkpoint.
          keep: how many checkpoints to keep; with two, one is left when the newest is damaged.
        """
        self._directory = Path(directory).absolute()
        self._keep = keep
        hush()

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, damaged ones too, oldest first."""
        if not self._directory.is_dir():
            return []
        names = (path.name for path in self._directory.iterdir())
        return sorted(int(name) for name in names if re.fullmatch(r"[0-9]{10,18}", name))

    def save(self, step: int, state: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Saves a state; it is complete, and older ones are removed, when this returns.

        Checkpoints of later steps are removed as well: a run that saves an earlier one has been
        set back behind them.

        Args:
          step: names the checkpoint.
          state: a pytree whose leaves are JAX arrays, typed keys included.
          metadata: whatever else the run needs, as JSON can say it.

        Raises:
          UserError: the disk is full or fails; the checkpoints before are kept.
        """
        unfinished = self._directory / f".{step:010d}.tmp"
        leaves = _name_leaves(state)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self.clean()
            write_arrays(unfinished / ARRAYS, leaves)
            description = {
                "step": step,
                "metadata": dict(metadata or {}),
                "leaves": {name: _describe(leaf) for name, leaf in leaves.items()},
            }
            (unfinished / METADATA).write_text(json.dumps(description), encoding="utf-8")
            manifest = json.dumps(make_manifest(unfinished))
            (unfinished / MANIFEST).write_text(manifest, encoding="utf-8")
            interrupts.check()
            self._publish(unfinished, step)
        except (OSError, ValueError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            reason = system_error(error)
            if reason is None:
                raise
            steps = self.steps()
            kept = f"that of step {steps[-1]} is kept" if steps else "there is none before it"
            raise UserError(f"{self._path(step)} could not be saved: {reason}; {kept}") from error

    def clean(self) -> None:
        """Removes what killed processes have left half written; only for the one that writes."""
        for leftover in self._directory.glob(".*.tmp"):
            if _LEFTOVER.fullmatch(leftover.name) and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)

    def restore_latest(self, target: Any, *, growing: str | None = None) -> Restored | None:
        """Restores the newest checkpoint that is intact, bit for bit; None where there is none.

        Args:
          target: a pytree of the state's structure. Its leaves, arrays or `jax.ShapeDtypeStruct`s,
            say which dtypes and shapes to expect and, by their shardings, where to put them.
          growing: path of a part whose arrays may be shorter in the checkpoint along their second
            axis, as the rings of a replay are in a run that is to be longer now; they are restored
            as they were.

        Raises:
          UserError: all checkpoints are damaged, or the newest intact one is of another structure.
        """
        step = self._newest_intact()
        return None if step is None else self._load(step, target, part=None, growing=growing)

    def restore_part(self, part: str, target: Any) -> Restored:
        """Restores a part of the newest checkpoint that is intact, and reads only that.

        Args:
          part: path of the part in the state, such as `"learner.policy"`.
          target: as for `restore_latest`, for that part.

        Raises:
          UserError: there is no checkpoint, all are damaged, or the part is of another structure.
        """
        while True:
            step = self._newest_intact()
            if step is None:
                raise UserError(
                    f"{self._directory} holds no checkpoint; give a workdir that has one"
                )
            try:
                return self._load(step, target, part)
            except (OSError, ValueError, UserError):
                if self._path(step).exists():
                    raise

    def _path(self, step: int) -> Path:
        return self._directory / f"{step:010d}"

    def _publish(self, unfinished: Path, step: int) -> None:
        """Makes a complete checkpoint visible, then removes those that it makes needless."""
        if step in self.steps():
            self._hide(step)
        unfinished.replace(self._path(step))
        for later in (other for other in self.steps() if other > step):
            self._remove(later)
        for old in self.steps()[: -self._keep]:
            self._remove(old)
        self.clean()

    def _remove(self, step: int) -> None:
        shutil.rmtree(self._hide(step))

    def _hide(self, step: int) -> Path:
        """Hides a checkpoint before it is removed: a kill must not leave half of a visible one."""
        hidden = self._directory / f".{step:010d}.old.tmp"
        self._path(step).replace(hidden)
        return hidden

    def _newest_intact(self) -> int | None:
        damages: list[str] = []
        for step in reversed(self.steps()):
            damage = find_damage(self._path(step))
            if damage is None:
                if damages:
                    logging.warning(
                        "%s; going on from the older %s", "; ".join(damages), self._path(step)
                    )
                return step
            if not self._path(step).exists():  # a run under way has saved newer ones meanwhile
                return self._newest_intact()
            damages.append(f"checkpoint {self._path(step)} is damaged ({damage})")
        if damages:
            raise UserError(
                f"{'; '.join(damages)}; no intact one is left, remove them to start anew"
            )
        return None

    def _load(
        self, step: int, target: Any, part: str | None, growing: str | None = None
    ) -> Restored:
        path = self._path(step)
        description = read_description(path)
        wanted = _name_leaves(target, part)
        saved = {
            name: text
            for name, text in description["leaves"].items()
            if part is None or name == part or name.startswith(f"{part}.")
        }
        if growing is not None:
            wanted = {
                name: _shortened(leaf, saved.get(name, "")) if name.startswith(growing) else leaf
                for name, leaf in wanted.items()
            }
        _check_structure(path, saved, {name: _describe(leaf) for name, leaf in wanted.items()})
        declared = sum(leaf.size * leaf.dtype.itemsize for leaf in wanted.values())
        if declared > (stored := stored_bytes(path)) + _SLACK_BYTES * len(wanted):
            raise UserError(
                f"checkpoint {path} has {stored} bytes of arrays that should have {declared}; it "
                "is damaged, or made to exhaust memory"
            )
        leaves = read_arrays(path / ARRAYS, wanted)
        state = jax.tree.unflatten(jax.tree.structure(target), leaves.values())
        return Restored(step, state, description["metadata"])


def _name_leaves(tree: Any, part: str | None = None) -> dict[str, Any]:
    """Leaves by their dotted paths, in the tree's order.

    Raises:
      TypeError: a leaf is no array.
      ValueError: two paths are spelled alike.
    """
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if part is not None:
            name = f"{part}.{name}" if name else part
        if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
            raise TypeError(
                f"{name} is {type(leaf).__name__}, not a JAX array; use metadata for it"
            )
        if name in leaves:
            raise ValueError(f"two leaves are called {name}")
        leaves[name] = leaf
    return leaves


def _describe(leaf: Any) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _shortened(leaf: Any, saved: str) -> Any:
    """A leaf as it was saved, where it differs in a second axis that was shorter; else itself."""
    shape, length = leaf.shape, re.fullmatch(r"\w+\[\d+,(\d{1,10})[,\d]*\]", saved)
    if length is None or len(shape) < 2 or not 0 < int(length[1]) < shape[1]:
        return leaf
    shorter = jax.ShapeDtypeStruct(
        (shape[0], int(length[1]), *shape[2:]), leaf.dtype, sharding=leaf.sharding
    )
    return shorter if _describe(shorter) == saved else leaf


def _check_structure(path: Path, saved: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    differences = [
        f"{name} is {saved.get(name, 'absent')} there and {wanted.get(name, 'absent')} here"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]
    if differences:
        named = ", ".join(differences[:_MAX_NAMED])
        raise UserError(
            f"checkpoint {path} belongs to other settings: {named}; "
            "use the flags that it was made with, or another --workdir"
        )
