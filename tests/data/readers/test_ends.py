"""Where tables end their episodes: by their marks, or after a fixed number of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Tally
from behavior_priors.errors import UserError
from tests.data.readers.files import d4rl, minari, ogbench, read, write_hdf5, write_npz

LENGTHS = (4, 2, 4, 4)
"""A time limit of 4 ends all but the second one, which reaches its goal."""


def table(timeouts: str, terminals: str = "the task's", following: bool = True) -> dict[str, Any]:
    arrays = d4rl(LENGTHS, (False, True, False, False), following)
    if timeouts == "absent":
        del arrays["timeouts"]
    elif timeouts == "zero":
        arrays["timeouts"][:] = False
    if terminals == "all":
        arrays["terminals"][np.cumsum(LENGTHS) - 1] = True
    elif terminals == "absent":
        del arrays["terminals"]
    return arrays


@pytest.mark.parametrize("timeouts", ["absent", "zero", "given"])
@pytest.mark.parametrize("following", [True, False])
def test_a_time_limit_truncates(tmp_path: Path, timeouts: str, following: bool) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", table(timeouts, following=following))
    recording, batch, tally = read(path, ReadConfig(episode_length=4))
    lost = 0 if following else 1
    assert batch.length.tolist() == [n - lost for n in LENGTHS]
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, following, False, False]
    assert tally == Tally(lost_actions=4 * lost, lost_terminations=lost)
    assert recording.notes == []


def test_marks_at_every_end_are_time_limits_where_they_fall_on_one(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", table("absent", "all"))
    recording, batch, _ = read(path, ReadConfig(episode_length=4))
    assert batch.terminated is not None
    assert batch.terminated.tolist() == [False, True, False, False]
    assert recording.notes == [
        "3 episodes of 4 rows count as truncated by the time limit, though their 'terminals' are "
        "set"
    ]
    recording, batch, _ = read(path)
    assert batch.terminated is not None
    assert batch.terminated.all()
    assert "there are no 'timeouts'" in recording.notes[0]
    assert "--episode_length" in recording.notes[0]


def test_timeouts_that_are_all_zero_are_said(tmp_path: Path) -> None:
    recording, _, _ = read(write_hdf5(tmp_path / "a.hdf5", table("zero", following=False)))
    assert recording.notes[0].startswith("no row of 'timeouts' is set: 'terminals' alone divide it")


def test_no_marks_at_all(tmp_path: Path) -> None:
    arrays = d4rl((4, 4, 3), (False,) * 3)
    del arrays["timeouts"], arrays["terminals"]
    path = write_npz(tmp_path / "a.npz", arrays)
    recording, batch, _ = read(path, ReadConfig(episode_length=4))
    assert batch.length.tolist() == [4, 4, 3]
    assert batch.terminated is not None
    assert not batch.terminated.any()
    assert "cut off" in recording.notes[0]
    assert read(write_npz(tmp_path / "b.npz", ogbench((3, 2))))[1].length.tolist() == [3, 2]


@pytest.mark.parametrize("timeouts", ["absent", "zero"])
def test_what_is_said_where_nothing_marks_an_end(tmp_path: Path, timeouts: str) -> None:
    arrays = table(timeouts)
    arrays["terminals"][:] = False
    path = write_hdf5(tmp_path / "a.hdf5", arrays)
    message = r"no row of 'terminals' or 'timeouts'.* ended, or give --episode_length"
    with pytest.raises(UserError, match=message):
        read(path)
    for length in (0, -1):
        with pytest.raises(UserError, match=f"--episode_length={length} should be at least 1"):
            read(path, ReadConfig(episode_length=length))
    groups = write_hdf5(tmp_path / "b.hdf5", minari((2,), (True,)))
    with pytest.raises(UserError, match="--episode_length is for tables"):
        read(groups, ReadConfig(episode_length=4))
