"""What was made to do harm is refused within a second, in one line, and shows nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.readers import open_recording
from behavior_priors.data.readers.convert import convert
from behavior_priors.errors import UserError
from tests.data.hostile import RECORDINGS, SECRET, Make
from tests.data.hostile_datasets import DATASETS
from tests.data.hostile_sizes import SIZES

SECONDS = 1.0

EVERY = RECORDINGS | SIZES


def refused(read: Callable[[], object]) -> str:
    """The line that says why."""
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read()
    assert time.process_time() - began < SECONDS
    message = str(caught.value)
    assert message.isprintable(), message
    assert len(message) < 1000
    return message


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a maker of the parameter makes."""
    make: Make = request.param
    folder, elsewhere = tmp_path / "given", tmp_path / "elsewhere"
    for place in (folder, elsewhere, tmp_path / "here"):
        place.mkdir()
    (elsewhere / "secret").write_bytes(100 * SECRET)
    monkeypatch.chdir(tmp_path / "here")
    return make(folder, elsewhere / "secret")


def check_nothing_came_of_it(folder: Path, message: str) -> None:
    """Nothing was written, executed or shown."""
    assert list(folder.glob("here/*")) == []
    assert not (folder / "output").exists()
    assert SECRET.decode()[:8] not in message


@pytest.mark.parametrize("made", EVERY.values(), ids=EVERY, indirect=True)
def test_recordings(made: Path, tmp_path: Path) -> None:
    message = refused(lambda: convert(open_recording(made), tmp_path / "output"))
    assert str(made) in message
    check_nothing_came_of_it(tmp_path, message)


@pytest.mark.parametrize("made", DATASETS.values(), ids=DATASETS, indirect=True)
def test_datasets(made: Path, tmp_path: Path) -> None:
    message = refused(lambda: EpisodeReader(made).read())
    assert str(made) in message
    check_nothing_came_of_it(tmp_path, message)
