"""Everything that a folder of runs holds, by name, so that two revisions can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from behavior_priors.runs.kept import RESULTS_FILE
from tests.experiments import runs
from tests.net import names


def outcome(folder: Path, *, is_before: bool = False) -> dict[str, str]:
    """What must be the same: arrays, data, metrics, results, flags and pictures.

    Args:
      folder: that the commands ran in.
      is_before: whether it is of the revision whose names are of before.

    Returns:
      By `FILE: NAME`, what stands there: numbers in full, arrays and files by their bits.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        inner = str(path.relative_to(folder))
        for name, value in _contents(path).items():
            tables: tuple[dict[str, str], dict[str, str]] = (names.FILES, _table(path))
            place, part = (
                names.renamed(text, table) if is_before else text
                for text, table in zip((inner, name), tables, strict=True)
            )
            found[f"{place}: {part}" if part else place] = value
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is not the same, a line each."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one == other or (other is None and names.allowed(name, names.ONLY_BEFORE)):
            continue
        if one is None and names.allowed(name, names.ONLY_AFTER):
            continue
        lines.append(f"{name}: {_shown(one)} before, {_shown(other)} after")
    return lines


def _table(path: Path) -> dict[str, str]:
    if path.name == "flags.txt":
        return names.FLAGS
    return names.NUMBERS if path.suffix in (".json", ".jsonl") else names.ARRAYS


def _contents(path: Path) -> dict[str, str]:
    """What a file says, by name; a folder of checkpoints speaks for all that is in it."""
    if path.name == "checkpoints":
        return {name: f"{kind} {_bits(x)}" for name, (kind, x) in runs.arrays(path.parent).items()}
    if not path.is_file() or "checkpoints" in path.parts or path.name == ".lock":
        return {}
    if path.name == "metrics.jsonl":
        rows = runs.rows(path.parent)
        return {
            f"{name} at {row['step']}": repr(value)
            for row in rows
            for name, value in runs.without_seconds(row).items()
        }
    if path.name in ("summary.json", "evaluation.json"):
        values = runs.without_seconds(runs.read_json(path))
        return {name: repr(x) for name, x in values.items() if not name.startswith("versions/")}
    if path.name == RESULTS_FILE:
        return {
            f"{part}: {name}": repr(x)
            for part, kept in runs.kept_results(path.parent).items()
            for name, x in kept["results"].items()
        }
    if path.name == "flags.txt":
        return dict.fromkeys(path.read_text().splitlines(), "given")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {
                name: f"{x.dtype.str}{list(x.shape)} {_bits(x.tobytes())}"
                for name, x in arrays.items()
            }
    return {"": f"{path.stat().st_size} bytes {_bits(path.read_bytes())}"}


def _bits(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value[:60]
