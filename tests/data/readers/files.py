"""Files in others' layouts, with numbers that say where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from behavior_priors.data.episodes import EpisodeBatch
from behavior_priors.data.readers import ReadConfig, Recording, Tally, open_recording
from behavior_priors.data.readers.base import join

Arrays = dict[str, Any]


def observation(episode: int, times: range) -> np.ndarray:
    """Rows `[100 * episode + t, -(100 * episode + t)]`; exact in float32."""
    t = np.array(times, np.float32) + 100 * episode
    return np.stack([t, -t], axis=1)


def action(episode: int, times: range) -> np.ndarray:
    """Rows `[episode + t, t, -t] / 64`; exact in float32."""
    t = np.array(times, np.float32)
    return np.stack([episode + t, t, -t], axis=1) / 64


def ogbench(lengths: tuple[int, ...]) -> Arrays:
    """A table whose episodes have so many actions with an outcome, and one row more."""
    rows = [range(n + 1) for n in lengths]
    return {
        "observations": np.concatenate([observation(e, r) for e, r in enumerate(rows)]),
        "actions": np.concatenate([action(e, r) for e, r in enumerate(rows)]),
        "terminals": np.concatenate([np.array(r) == r[-1] for r in rows]),
    }


def d4rl(lengths: tuple[int, ...], terminated: tuple[bool, ...], following: bool = True) -> Arrays:
    """A table whose episodes have so many rows."""
    rows = [range(n) for n in lengths]
    last = np.concatenate([np.array(r) == r[-1] for r in rows])
    is_terminated = np.repeat(terminated, lengths)
    table = {
        "observations": np.concatenate([observation(e, r) for e, r in enumerate(rows)]),
        "actions": np.concatenate([action(e, r) for e, r in enumerate(rows)]),
        "rewards": np.concatenate([10.0 * e + np.array(r) for e, r in enumerate(rows)]),
        "terminals": last & is_terminated,
        "timeouts": last & ~is_terminated,
    }
    if following:
        table["next_observations"] = np.concatenate(
            [observation(e, range(1, n + 1)) for e, n in enumerate(lengths)]
        )
    return table


def robomimic(lengths: tuple[int, ...], following: bool = True) -> dict[str, Arrays]:
    """Demonstrations by name; they hold an array `hand`, one `image` and `states`."""
    demos = {}
    for e, n in enumerate(lengths):
        demos[f"data/demo_{e}"] = {
            "obs/hand": observation(e, range(n)).astype(np.float64),
            "obs/image": np.full((n, 4, 5, 3), e, np.uint8),
            "actions": action(e, range(n)).astype(np.float64),
            "rewards": np.arange(n) + 10.0 * e,
            "dones": (np.arange(n) == n - 1).astype(np.int64),
            "states": np.arange(n * 3.0).reshape(n, 3) + 1000 * e,
        }
        if following:
            demos[f"data/demo_{e}"] |= {
                "next_obs/hand": observation(e, range(1, n + 1)).astype(np.float64),
                "next_obs/image": np.full((n, 4, 5, 3), e, np.uint8),
            }
    return demos


def minari(lengths: tuple[int, ...], terminated: tuple[bool, ...]) -> dict[str, Arrays]:
    """Episodes by name, with an array of observations."""
    return {
        f"episode_{e}": {
            "observations": observation(e, range(n + 1)).astype(np.float64),
            "actions": action(e, range(n)),
            "rewards": np.arange(n) + 10.0 * e,
            "terminations": (np.arange(n) == n - 1) & terminated[e],
            "truncations": (np.arange(n) == n - 1) & (not terminated[e]),
        }
        for e, n in enumerate(lengths)
    }


def write_npz(path: Path, arrays: Arrays, *, compressed: bool = True) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def write_hdf5(path: Path, arrays: Arrays, **attributes: Any) -> Path:
    """Writes arrays, and mappings of arrays as groups; attributes as GROUP__NAME."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            if isinstance(value, dict):
                for inner, array in value.items():
                    file[f"{key}/{inner}"] = array
            else:
                file[key] = value
        for name, text in attributes.items():
            group, _, attribute = name.rpartition("__")
            (file[group] if group else file).attrs[attribute] = text
    return path


def read(path: Path, config: ReadConfig | None = None) -> tuple[Recording, EpisodeBatch, Tally]:
    """Everything in a file."""
    recording, tally = open_recording(path, config), Tally()
    return recording, join(list(recording.batches(tally))), tally
