"""LeRobot datasets of states: opening one and drawing random batches, against LeRobot's own loader.

    python -m benchmarks.lerobot_data --python=/path/to/an/interpreter/with/lerobot

The dataset is made up, of the size of a real one: 566 episodes, 128 685 frames, states of 59 and
actions of 9 numbers. LeRobot needs torch and Python 3.12, so that it runs in an interpreter of its
own; the two take turns. Batches of 256 have the same frames on either side.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count
from behavior_priors.data.episodes import EpisodeReader, EpisodeWriter
from behavior_priors.data.layout import EpisodeBatch
from behavior_priors.data.metadata import EpisodeMetadata
from behavior_priors.data.readers import Tally, open_recording
from behavior_priors.data.readers.base import join
from behavior_priors.data.writers import lerobot
from behavior_priors.errors import UserError
from behavior_priors.programs import entry
from behavior_priors.types import ArraySpec

EPISODES, FRAMES = 566, 128_685
STATE, ACTION = 59, 9
BATCH = 256


@dataclass(frozen=True)
class LeRobotBenchmarkConfig:
    """The program's flags.

    Attributes:
      python: an interpreter with `lerobot[dataset]`.
      rounds: how often each side has its turn.
      batches: in a round.
    """

    python: str
    rounds: Count = 6
    batches: Count = 4


def make_dataset(folder: Path) -> Path:
    """A dataset of LeRobot's layout."""
    random = np.random.default_rng(0)
    cuts = np.sort(random.choice(np.arange(1, FRAMES), EPISODES - 1, replace=False))
    length = np.diff(np.concatenate([[0], cuts, [FRAMES]])).astype(np.int32)
    metadata = EpisodeMetadata(
        observation={"state": ArraySpec((STATE,))},
        action_size=ACTION,
        environment="made up",
        policy="random",
    )
    writer = EpisodeWriter.create(folder / "ours", metadata)
    writer.write(
        EpisodeBatch(
            observation={
                "state": random.normal(size=(FRAMES + EPISODES, STATE)).astype(np.float32)
            },
            action=random.uniform(-1, 1, (FRAMES, ACTION)).astype(np.float32),
            length=length,
        )
    )
    writer.finish()
    lerobot.write(EpisodeReader(folder / "ours"), folder / "theirs", lerobot.Task(10, "nothing"))
    return folder / "theirs"


class Ours:
    """Reads all states at once, and draws transitions from them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> int:
        """Reads everything."""
        batch = join(list(open_recording(self._folder).batches(Tally())))
        before = np.arange(len(batch.action)) + np.repeat(
            np.arange(len(batch.length)), batch.length
        )
        self._arrays = batch.observation["state"], batch.action, before
        return len(batch.action)

    def batch(self, seed: int) -> list[float]:
        """A random batch; sums of its three arrays."""
        state, action, before = self._arrays
        index = np.random.default_rng(seed).integers(0, len(action), BATCH)
        rows = before[index]
        drawn = state[rows], state[rows + 1], action[index]
        return [float(x.sum(dtype=np.float64)) for x in drawn]


class Theirs:
    """LeRobot's loader, in another process."""

    def __init__(self, python: str, folder: Path) -> None:
        worker = Path(__file__).with_name("lerobot_worker.py")
        self._process = subprocess.Popen(
            [python, str(worker), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "cache")},
            text=True,
        )

    def ask(self, command: str) -> tuple[float, Any]:
        """Seconds of a command, and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise UserError("--python: its lerobot ended; it needs lerobot[dataset], version 0.6")
        seconds, answer = json.loads(line)
        return seconds, answer


def main() -> None:
    """Races the two, and says what came of it."""
    config = flags.read(LeRobotBenchmarkConfig)
    with tempfile.TemporaryDirectory() as place:
        folder = make_dataset(Path(place))
        ours, theirs = Ours(folder), Theirs(config.python, folder)
        opened: dict[str, list[float]] = {"ours": [], "lerobot": []}
        drawn: dict[str, list[float]] = {"ours": [], "lerobot": []}
        for turn in range(config.rounds):
            began = time.perf_counter()
            frames = ours.open()
            opened["ours"].append(time.perf_counter() - began)
            seconds, (known,) = theirs.ask("open")
            opened["lerobot"].append(seconds)
            if not frames == known == FRAMES:
                raise UserError(f"there are {frames} frames here and {known} there")
            for number in range(config.batches):
                seed = turn * config.batches + number
                began = time.perf_counter()
                sums = ours.batch(seed)
                drawn["ours"].append(time.perf_counter() - began)
                seconds, others = theirs.ask(f"batch {seed}")
                drawn["lerobot"].append(seconds)
                if not np.allclose(sums, others, rtol=1e-6, atol=1e-3):
                    raise UserError(f"batches differ: {sums} and {others}")
        for what, times in (("all states of 128 685 frames", opened), ("a batch of 256", drawn)):
            here, there = (statistics.median(times[who]) for who in ("ours", "lerobot"))
            print(f"{what}: ours {here:.4g} s, lerobot {there:.4g} s, ratio {there / here:.1f}")


if __name__ == "__main__":
    flags.define(LeRobotBenchmarkConfig)
    entry.run(main)
