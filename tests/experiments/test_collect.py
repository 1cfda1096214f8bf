"""The collecting program: what is there is never lost, and what is collected repeats."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeReader
from tests.experiments import runs
from tests.experiments.conftest import Refused
from tests.experiments.forks import Forks
from tests.experiments.runs import Program

EPISODES = 300
"""Two rounds, so that a kill can come between them."""

FLAGS = ("--env=grasp/train", f"--episodes={EPISODES}", "--seed=5", "--output=data")


@pytest.fixture(scope="module")
def whole(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, collected without a break."""
    folder = tmp_path_factory.mktemp("whole")
    result = forks.run("collect", *FLAGS, folder=folder)
    assert (result.status, result.stderr) == (0, "")
    *rounds, last = result.stdout.splitlines()
    assert len(rounds) == 2
    assert re.fullmatch(r"kept 2\d\d of 300 episodes  \d\d% of 256 usable  \d:\d\d", rounds[0])
    assert re.fullmatch(r"kept 300 of 300 episodes  \d\d% of 512 usable  \d:\d\d", rounds[1])
    assert re.fullmatch(r"300 episodes, \d+ steps in data", last)
    return folder


def test_what_was_collected(whole: Path) -> None:
    reader = EpisodeReader(whole / "data")
    assert reader.complete
    assert reader.num_episodes == EPISODES
    assert (reader.metadata.environment, reader.metadata.seed) == ("grasp/train", 5)
    assert (reader.metadata.engine, reader.metadata.policy) == ("c", "scripted")
    batch = reader.read()
    assert batch.success is not None
    assert batch.success.all()
    assert (batch.length == 25).all()
    assert np.abs(batch.action).max() <= 1.0
    assert len(np.unique(batch.scene)) > 100  # of 256, in 300 episodes


def test_collecting_never_overwrites(whole: Path, refused: Refused) -> None:
    names = ("data", "exists and is not empty", "give another directory")
    refused(whole, "collect", *FLAGS, names=names)
    refused(whole, "collect", *FLAGS, "--seed=6", names=names)


def test_only_the_same_collection_is_resumed(whole: Path, refused: Refused) -> None:
    names = ("data/metadata.json", "seed: 5 against 6", "give another directory")
    refused(whole, "collect", *FLAGS, "--seed=6", "--resume", names=names)


def test_a_killed_collection_is_valid_and_completed_identically(
    whole: Path, forks: Forks, tmp_path: Path
) -> None:
    program = Program("experiments.collect", FLAGS, folder=tmp_path, may_be_killed=True)
    first = tmp_path / "data" / "episodes-00000.npz"
    program.wait_until(first.exists)
    program.kill()
    part, complete = EpisodeReader(tmp_path / "data"), EpisodeReader(whole / "data")
    assert not part.complete
    assert 0 < part.num_episodes < EPISODES
    some = range(part.num_episodes)
    assert (part.read().action == complete.read(some).action).all()

    result = forks.run("collect", *FLAGS, "--resume", folder=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    assert runs.files(tmp_path / "data") == runs.files(whole / "data")


def test_every_episode_repeats(whole: Path, forks: Forks) -> None:
    before = runs.files(whole)
    result = forks.run("collect", "--verify", "--output=data", folder=whole)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "300 of 300 episodes repeat bit for bit"
    assert runs.files(whole) == before
